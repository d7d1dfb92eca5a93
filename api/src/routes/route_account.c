/*
 * route_account.c
 *		Accounts, and whatever needs a password's hash.
 *
 * A password goes no further than to the threads that hash it; the database sees hashes.
 */
#include "kore.h"

#include "body.h"
#include "call.h"
#include "password.h"
#include "reply.h"
#include "token.h"
#include "upload.h"

#define HASH_MAX 128 /* bytes of a hash as libsodium writes it */

/* What a request that hashes passwords remembers. */
typedef struct Hashing
{
	char current[HASH_MAX]; /* the hash that the current password was found good against */
} Hashing;

/* The password in a field of the body; false if that was answered with a problem. */
static bool
read_password(HfRequest *request, const char *name, const char *pointer, HfText *password)
{
	json_t *field = json_object_get(request->json, name);

	if (field == NULL || json_is_null(field))
		hf_reply_problem(request, HF_PROBLEM_MISSING_FIELD, pointer, NULL);
	else if (!json_is_string(field))
		hf_reply_problem(request, HF_PROBLEM_WRONG_TYPE, pointer, "wanted: a string");
	else
	{
		*password = (HfText){json_string_value(field), json_string_length(field)};
		if (hf_password_check(password) == HF_PASSWORD_GOOD)
			return true;
		hf_reply_problem(request, HF_PROBLEM_INVALID_LENGTH, pointer,
						 "wanted: 8 characters to 256 bytes");
	}
	return false;
}

/* Hashes a new password, and goes on with done. */
static void
start_hash(HfRequest *request, const HfText *password, HfPasswordDone done)
{
	hf_request_hold(request);
	if (hf_password_hash(password, done, request))
		return;
	hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	hf_request_release(request);
}

/* Is there somebody to go on for? Else the hold of the hash is given back. */
static bool
goes_on(HfRequest *request, const char *hash)
{
	if (hf_request_is_open(request) && hash != NULL)
		return true;
	hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	hf_request_release(request);
	return false;
}

static void
create_hashed(void *arg, bool good, const char *hash)
{
	HfRequest *request = arg;
	HfText values[3] = {{NULL, 0}, {NULL, 0}, hf_text(hash)};
	char *body;

	(void) good;
	if (!goes_on(request, hash))
		return;
	json_object_del(request->json, "password");
	body = json_dumps(request->json, JSON_COMPACT);
	json_decref(request->json);
	request->json = NULL;
	values[1] = hf_text(body);
	hf_call(request, &request->route->call, values, hf_call_reply);
	free(body);
	hf_request_release(request);
}

void
hf_route_account_create(HfRequest *request)
{
	HfText password;

	if (read_password(request, "password", "/password", &password))
		start_hash(request, &password, create_hashed);
}

/* The secret of a reset goes into a mail, and its hash into the database. */
void
hf_route_password_reset_request(HfRequest *request)
{
	char text[2 * HF_TOKEN_HASH_LENGTH + 3];
	HfTokenOpaque opaque;
	HfText values[4] = {{NULL, 0}, request->body};

	hf_token_new_opaque(&opaque, 0);
	values[2] = hf_text(strchr(opaque.text, '.') + 1);
	values[3] = hf_bytea(text, opaque.hash, sizeof(opaque.hash));
	hf_call(request, &request->route->call, values, hf_call_reply);
}

static void
reset_hashed(void *arg, bool good, const char *hash)
{
	HfRequest *request = arg;
	HfTokenOpaque *opaque = request->state;
	char text[2 * HF_TOKEN_HASH_LENGTH + 3];
	HfNumber number;
	HfText values[4] = {{NULL, 0}};

	(void) good;
	if (!goes_on(request, hash))
		return;
	values[1] = hf_number(&number, opaque->account);
	values[2] = hf_bytea(text, opaque->hash, sizeof(opaque->hash));
	values[3] = hf_text(hash);
	hf_call(request, &request->route->call, values, hf_call_reply);
	hf_request_release(request);
}

void
hf_route_password_reset_finish(HfRequest *request)
{
	const HfProblem *unknown = hf_problem_of_sqlstate("HS104");
	HfText password;

	if (!hf_body_only(request, "password", NULL) ||
		!read_password(request, "password", "/password", &password))
		return;
	request->state = malloc(sizeof(HfTokenOpaque));
	if (request->state == NULL || unknown == NULL)
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	else if (!hf_token_read_opaque(request->state, &request->capture[0]))
		hf_reply_refusal(request, unknown, NULL, NULL);
	else
		start_hash(request, &password, reset_hashed);
}

static void
password_hashed(void *arg, bool good, const char *hash)
{
	HfRequest *request = arg;
	const Hashing *hashing = request->state;
	HfNumber number;
	HfText values[3] = {{NULL, 0}};

	(void) good;
	if (!goes_on(request, hash))
		return;
	values[0] = hf_actor(request, &number);
	values[1] = hf_text(hashing->current);
	values[2] = hf_text(hash);
	hf_call(request, &request->route->call, values, hf_call_reply);
	hf_request_release(request);
}

static void
current_verified(void *arg, bool good, const char *hash)
{
	HfRequest *request = arg;
	HfText password;

	if (!goes_on(request, hash))
		return;
	if (!good)
		hf_reply_problem(request, HF_PROBLEM_WRONG_PASSWORD, "/current_password", NULL);
	else if (read_password(request, "password", "/password", &password))
		start_hash(request, &password, password_hashed);
	hf_request_release(request);
}

/* The hash is known: is it that of the current password? */
static void
current_found(HfRequest *request, const HfRow *row)
{
	Hashing *hashing = request->state;
	json_t *login = json_loadb(row->body.data, row->body.length, 0, NULL);
	const char *found = json_string_value(json_object_get(login, "password_hash"));
	HfText password;

	snprintf(hashing->current, sizeof(hashing->current), "%s", found != NULL ? found : "");
	json_decref(login);
	if (!read_password(request, "current_password", "/current_password", &password))
		return;
	hf_request_hold(request);
	if (hf_password_verify(&password, hashing->current, current_verified, request))
		return;
	hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	hf_request_release(request);
}

/* The account's address is known, by which its hash is found. */
static void
me_found(HfRequest *request, const HfRow *row)
{
	json_t *me = json_loadb(row->body.data, row->body.length, 0, NULL);
	HfText values[2] = {{NULL, 0}, hf_text(json_string_value(json_object_get(me, "email")))};

	hf_call(request, &hf_call_login_find, values, current_found);
	json_decref(me);
}

void
hf_route_me_password_set(HfRequest *request)
{
	HfNumber number;
	HfText actor = hf_actor(request, &number), password;

	if (!hf_body_only(request, "current_password", "password") ||
		!read_password(request, "current_password", "/current_password", &password) ||
		!read_password(request, "password", "/password", &password))
		return;
	request->state = calloc(1, sizeof(Hashing));
	if (request->state == NULL)
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	else
		hf_call(request, &hf_call_me_get, &actor, me_found);
}

static void
avatar_stored(HfRequest *request, const char *name)
{
	HfNumber number;
	HfText values[2] = {hf_actor(request, &number), hf_text(name)};

	hf_call(request, &request->route->call, values, hf_call_reply);
}

static void
may_set_avatar(HfRequest *request, const HfRow *row)
{
	(void) row;
	hf_upload(request, avatar_stored);
}

/* Whoever is suspended leaves no file. */
void
hf_route_me_avatar_set(HfRequest *request)
{
	HfNumber number;
	HfText actor = hf_actor(request, &number);

	hf_call(request, &hf_call_me_get, &actor, may_set_avatar);
}
