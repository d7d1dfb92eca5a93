/*
 * route_token.c
 *		The token endpoint (RFC 6749) and revocation (RFC 7009).
 *
 * A login takes as long whether there is such an account or not: a password is always compared, if
 * need be with a hash that is nobody's.
 */
#include "kore.h"

#include "call.h"
#include "password.h"
#include "reply.h"
#include "token.h"

#define HASH_MAX 128

/* What a request for a token remembers. */
typedef struct Granting
{
	int64_t account;
	char hash[HASH_MAX];
	HfTokenOpaque spent, refresh;
} Granting;

/* A parameter of the form.  One without a value is as good as none (RFC 6749, section 3.2). */
static const char *
parameter(const HfRequest *request, const char *name)
{
	const char *value = hf_parameter(&request->form, name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static void
refuse(HfRequest *request)
{
	hf_reply_refusal(request, hf_problem(HF_PROBLEM_INVALID_GRANT), NULL, NULL);
}

/* May the account see more than the public does? It has a role besides user. */
static bool
is_staff(json_t *grant)
{
	return json_array_size(json_object_get(grant, "roles")) > 1;
}

/* The tokens are good from now on: here they are. */
static void
granted(HfRequest *request, const HfRow *row)
{
	Granting *granting = request->state;
	char access[HF_TOKEN_ACCESS_MAX + 1] = "", text[HF_TOKEN_ACCESS_MAX + 512];
	HfText body = {text, 0};
	json_t *grant;

	if (row->status != 200)
	{
		refuse(request);
		return;
	}
	grant = json_loadb(row->body.data, row->body.length, 0, NULL);
	if (!hf_token_issue(access, granting->account, is_staff(grant)))
		hf_reply_problem(request, HF_PROBLEM_INTERNAL, NULL, NULL);
	json_decref(grant);
	body.length = (size_t) snprintf(text, sizeof(text),
									"{\"access_token\":\"%s\",\"token_type\":\"Bearer\","
									"\"expires_in\":%u,\"refresh_token\":\"%s\"}",
									access, hf_config.token_ttl / 1000, granting->refresh.text);
	request->reply.no_store = true;
	hf_reply(request, 200, &body);
}

/* The password was compared. */
static void
verified(void *arg, bool good, const char *computed)
{
	HfRequest *request = arg;
	Granting *granting = request->state;
	char hash[2 * HF_TOKEN_HASH_LENGTH + 3], ttl[32];
	HfNumber number;
	HfText values[5] = {{NULL, 0}};

	if (computed == NULL)
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	else if (!good || granting->account == 0)
		refuse(request);
	else if (hf_request_is_open(request))
	{
		hf_token_new_opaque(&granting->refresh, granting->account);
		snprintf(ttl, sizeof(ttl), "%u s", hf_config.refresh_ttl / 1000);
		values[1] = hf_number(&number, granting->account);
		values[2] = hf_text(granting->hash);
		values[3] = hf_bytea(hash, granting->refresh.hash, HF_TOKEN_HASH_LENGTH);
		values[4] = hf_text(ttl);
		hf_call(request, &hf_call_token_issue, values, granted);
	}
	hf_request_release(request);
}

/* Somebody was found, or nobody. */
static void
found(HfRequest *request, const HfRow *row)
{
	Granting *granting = request->state;
	json_t *login = json_loadb(row->body.data, row->body.length, 0, NULL);
	const char *account = json_string_value(json_object_get(login, "account_id"));
	const char *hash = json_string_value(json_object_get(login, "password_hash"));
	HfText password = hf_text(hf_parameter(&request->form, "password"));

	granting->account = account != NULL && hash != NULL ? strtoll(account, NULL, 10) : 0;
	snprintf(granting->hash, sizeof(granting->hash), "%s", hash != NULL ? hash : "");
	json_decref(login);
	hf_request_hold(request);
	if (hf_password_verify(&password, granting->account != 0 ? granting->hash : NULL, verified,
						   request))
		return;
	hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	hf_request_release(request);
}

static void
grant_password(HfRequest *request)
{
	const char *username = parameter(request, "username");
	const char *password = parameter(request, "password");
	HfText values[2] = {{NULL, 0}, hf_text(username)};

	if (username == NULL || password == NULL)
		hf_reply_problem(request, HF_PROBLEM_MALFORMED, NULL, "wanted: username and password");
	else if (strlen(password) > HF_PASSWORD_MAX)
		refuse(request);
	else
		hf_call(request, &hf_call_login_find, values, found);
}

static void
grant_refresh(HfRequest *request)
{
	Granting *granting = request->state;
	HfText token = hf_text(parameter(request, "refresh_token"));
	char spent[2 * HF_TOKEN_HASH_LENGTH + 3], next[2 * HF_TOKEN_HASH_LENGTH + 3];
	HfNumber number;
	HfText values[4] = {{NULL, 0}};

	if (token.data == NULL)
		hf_reply_problem(request, HF_PROBLEM_MALFORMED, NULL, "wanted: refresh_token");
	else if (!hf_token_read_opaque(&granting->spent, &token))
		refuse(request);
	else
	{
		granting->account = granting->spent.account;
		hf_token_new_opaque(&granting->refresh, granting->account);
		values[1] = hf_number(&number, granting->account);
		values[2] = hf_bytea(spent, granting->spent.hash, HF_TOKEN_HASH_LENGTH);
		values[3] = hf_bytea(next, granting->refresh.hash, HF_TOKEN_HASH_LENGTH);
		hf_call(request, &hf_call_token_refresh, values, granted);
	}
}

/* POST /v1/oauth/token */
void
hf_route_token(HfRequest *request)
{
	const char *grant = parameter(request, "grant_type");

	request->reply.no_store = true;
	request->state = calloc(1, sizeof(Granting));
	if (request->state == NULL)
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	else if (grant == NULL)
		hf_reply_problem(request, HF_PROBLEM_MALFORMED, NULL, "wanted: grant_type");
	else if (strcmp(grant, "password") == 0)
		grant_password(request);
	else if (strcmp(grant, "refresh_token") == 0)
		grant_refresh(request);
	else
		hf_reply_problem(request, HF_PROBLEM_GRANT_TYPE, NULL, NULL);
}

/*
 * POST /v1/oauth/revoke: a token that is none, or an access token, is revoked by being left to
 * expire.
 */
void
hf_route_revoke(HfRequest *request)
{
	HfText token = hf_text(parameter(request, "token")), nothing = {NULL, 0};
	char hash[2 * HF_TOKEN_HASH_LENGTH + 3];
	HfTokenOpaque opaque;
	HfNumber number;
	HfText values[3] = {{NULL, 0}};

	if (token.data == NULL)
		hf_reply_problem(request, HF_PROBLEM_MALFORMED, NULL, "wanted: token");
	else if (!hf_token_read_opaque(&opaque, &token))
		hf_reply(request, 200, &nothing);
	else
	{
		values[1] = hf_number(&number, opaque.account);
		values[2] = hf_bytea(hash, opaque.hash, HF_TOKEN_HASH_LENGTH);
		hf_call(request, &hf_call_token_revoke, values, hf_call_reply);
	}
}
