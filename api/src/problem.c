/*
 * problem.c
 *		Problem documents (RFC 9457), and what each SQLSTATE means over HTTP.
 *
 * There is one table of refusals, shop.problem; rest.problems() gives it to us when a worker
 * starts. Here stand only those that no database is asked about.  A SQLSTATE that is in no table
 * is a fault of ours, and the client learns no more than that.
 *
 * Once read, the table lives as long as the worker.
 */
#include "problem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQLSTATE_LENGTH 5

typedef struct Known
{
	char sqlstate[SQLSTATE_LENGTH + 1];
	HfProblem problem;
} Known;

static const HfProblem own[HF_PROBLEMS] = {
	[HF_PROBLEM_MALFORMED] = {400, "malformed", "the input cannot be read"},
	[HF_PROBLEM_INVALID_BODY] = {400, "invalid_body", "the body is not a JSON object"},
	[HF_PROBLEM_INVALID_GRANT] = {400, "invalid_grant",
								  "the credentials or the token are not valid, or not any more"},
	[HF_PROBLEM_GRANT_TYPE] = {400, "unsupported_grant_type", "wanted: password or refresh_token"},
	[HF_PROBLEM_INVALID_TOKEN] = {401, "invalid_token",
								  "the access token is not valid, or not any more"},
	[HF_PROBLEM_UNAUTHENTICATED] = {401, "unauthenticated", "nobody is logged in"},
	[HF_PROBLEM_INVALID_TICKET] =
		{403, "invalid_ticket",
		 "the ticket is not valid for this account and sale, or not any more"},
	[HF_PROBLEM_NOT_FOUND] = {404, "not_found", "there is no such thing"},
	[HF_PROBLEM_METHOD_NOT_ALLOWED] = {405, "method_not_allowed", "not a method of this resource"},
	[HF_PROBLEM_REQUEST_TIMEOUT] = {408, "request_timeout", "the request came too slowly"},
	[HF_PROBLEM_LENGTH_REQUIRED] = {411, "length_required", "Content-Length is missing"},
	[HF_PROBLEM_TOO_LARGE] = {413, "payload_too_large", "the body is too large"},
	[HF_PROBLEM_URI_TOO_LONG] = {414, "uri_too_long", "the URI is too long"},
	[HF_PROBLEM_MEDIA_TYPE] = {415, "unsupported_media_type", "not a media type that is read here"},
	[HF_PROBLEM_EXPECTATION] = {417, "expectation_failed", "not an expectation that can be met"},
	[HF_PROBLEM_UNKNOWN_FIELD] = {422, "unknown_field", "unknown field"},
	[HF_PROBLEM_MISSING_FIELD] = {422, "missing_field", "missing field"},
	[HF_PROBLEM_WRONG_TYPE] = {422, "wrong_type", "wrong type"},
	[HF_PROBLEM_INVALID_LENGTH] = {422, "invalid_length", "too long or too short"},
	[HF_PROBLEM_INVALID_PICTURE] = {422, "invalid_picture",
									"not a picture of the type that it is said to be"},
	[HF_PROBLEM_WRONG_PASSWORD] = {422, "wrong_password", "that is not the password"},
	[HF_PROBLEM_TOO_MANY_REQUESTS] = {429, "too_many_requests",
									  "too many requests; try again later"},
	[HF_PROBLEM_HEADERS_TOO_LARGE] = {431, "headers_too_large", "the header section is too large"},
	[HF_PROBLEM_INTERNAL] = {500, "internal_error", "a fault of ours"},
	[HF_PROBLEM_NOT_IMPLEMENTED] = {501, "not_implemented", "not something this server does"},
	[HF_PROBLEM_UNAVAILABLE] = {503, "unavailable", "not available at the moment; try again"},
	[HF_PROBLEM_TIMED_OUT] = {503, "timed_out", "it took too long; try again"},
	[HF_PROBLEM_HTTP_VERSION] = {505, "http_version_not_supported",
								 "not a version of HTTP that is read here"},
};

static Known *known;
static size_t knowns;

const HfProblem *
hf_problem(HfProblemCode code)
{
	return &own[code];
}

/* The problem that is told by its status alone. */
const HfProblem *
hf_problem_of_status(int status)
{
	for (size_t i = 0; i < HF_PROBLEMS; i++)
		if (own[i].status == status)
			return &own[i];
	return &own[HF_PROBLEM_INTERNAL];
}

static int
compare(const void *sqlstate, const void *entry)
{
	return strcmp(sqlstate, ((const Known *) entry)->sqlstate);
}

/* What a SQLSTATE means; NULL if nobody foresaw it. */
const HfProblem *
hf_problem_of_sqlstate(const char *sqlstate)
{
	const Known *found = bsearch(sqlstate, known, knowns, sizeof(Known), compare);

	return found != NULL ? &found->problem : NULL;
}

/*
 * The problem of this name, or NULL. Those of one name differ in their titles; the first is
 * taken.
 */
const HfProblem *
hf_problem_of_name(const char *name, size_t length)
{
	for (size_t i = 0; i < HF_PROBLEMS; i++)
		if (strlen(own[i].name) == length && memcmp(own[i].name, name, length) == 0)
			return &own[i];
	for (size_t i = 0; i < knowns; i++)
		if (strlen(known[i].problem.name) == length &&
			memcmp(known[i].problem.name, name, length) == 0)
			return &known[i].problem;
	return NULL;
}

/* Takes what rest.problems() answers, in the order of the codes; false if it is not that. */
bool
hf_problem_load(const HfText *json)
{
	json_t *all = json_loadb(json->data, json->length, 0, NULL);
	size_t n = json_array_size(all);
	Known *table = n > 0 ? calloc(n, sizeof(Known)) : NULL;
	bool good = table != NULL;

	for (size_t i = 0; good && i < n; i++)
	{
		const char *code, *name, *title;

		good = json_unpack(json_array_get(all, i), "{s:s,s:i,s:s,s:s}", "code", &code, "status",
						   &table[i].problem.status, "name", &name, "title", &title) == 0 &&
			strlen(code) == SQLSTATE_LENGTH && (table[i].problem.name = strdup(name)) != NULL &&
			(table[i].problem.title = strdup(title)) != NULL;
		if (good)
			memcpy(table[i].sqlstate, code, sizeof(table[i].sqlstate));
		good = good && (i == 0 || strcmp(table[i - 1].sqlstate, code) < 0);
	}
	json_decref(all);
	if (!good)
	{
		free(table);
		return false;
	}
	known = table;
	knowns = n;
	return true;
}

bool
hf_problem_loaded(void)
{
	return knowns > 0;
}

/* Appends a string of JSON; bytes of no UTF-8 never come here. What does not fit is left out. */
static size_t
write_string(char *at, size_t room, const char *text)
{
	size_t used = 0;

	for (; *text != '\0' && used + 8 < room; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c == '"' || c == '\\')
			at[used++] = '\\';
		if (c < 0x20 || c == 0x7f)
			used += (size_t) sprintf(at + used, "\\u%04x", c);
		else
			at[used++] = (char) c;
	}
	while (used > 0 && *text != '\0' && ((unsigned char) at[used - 1] & 0xC0) == 0x80)
		used--; /* a character that was cut in two */
	if (used > 0 && *text != '\0' && (unsigned char) at[used - 1] >= 0xC0)
		used--;
	return used;
}

static size_t
write_member(char *at, size_t room, const char *name, const char *value)
{
	size_t used;

	if (value == NULL || *value == '\0' || room < strlen(name) + 16)
		return 0;
	used = (size_t) sprintf(at, ",\"%s\":\"", name);
	used += write_string(at + used, room - used - 1, value);
	at[used++] = '"';
	return used;
}

/* Writes a problem document and returns its length; members that are NULL or empty are left out. */
size_t
hf_problem_write(char *document, size_t room, const HfProblem *problem, const char *pointer,
				 const char *detail, const char *request_id)
{
	size_t used = (size_t) snprintf(document, room,
									"{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%d,"
									"\"code\":\"%s\"",
									problem->name, problem->title, problem->status, problem->name);

	if (used + 2 > room)
		return 0;
	used += write_member(document + used, room - used - 1, "detail", detail);
	used += write_member(document + used, room - used - 1, "pointer", pointer);
	used += write_member(document + used, room - used - 1, "request_id", request_id);
	document[used++] = '}';
	return used;
}

/* As above, in the form of RFC 6749, section 5.2. */
size_t
hf_problem_write_oauth(char *document, size_t room, const char *error, const char *description)
{
	size_t used = (size_t) snprintf(document, room, "{\"error\":\"%s\"", error);

	if (used + 2 > room)
		return 0;
	used += write_member(document + used, room - used - 1, "error_description", description);
	document[used++] = '}';
	return used;
}
