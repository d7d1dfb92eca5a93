/*
 * call.c
 *		Calls of rest functions: arguments in, one row out.
 *
 * Each request comes to one statement, or a few one after another; it holds no transaction in
 * between. A statement whose client has left runs to its end, and nobody hears of it.
 */
#include "kore.h"

#include "call.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "reply.h"

#include <ctype.h>

#define ID_DIGITS 19

/* A call under way. */
typedef struct Pending
{
	HfRequest *request;
	HfStep step;
	const char *function;
} Pending;

HfText
hf_text(const char *text)
{
	return (HfText){text, text != NULL ? strlen(text) : 0};
}

/* Copies a text and ends it with a NUL; one that does not fit is left out as a whole. */
void
hf_text_copy(char *to, size_t room, const HfText *from)
{
	size_t length = from->length < room ? from->length : 0;

	if (length > 0)
		memcpy(to, from->data, length);
	to[length] = '\0';
}

HfText
hf_number(HfNumber *number, int64_t value)
{
	int length = snprintf(number->text, sizeof(number->text), "%lld", (long long) value);

	return (HfText){number->text, (size_t) length};
}

/* The text of a bytea; there is room for 2 * length + 3 bytes. */
HfText
hf_bytea(char *text, const void *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *from = bytes;
	char *to = text;

	*to++ = '\\';
	*to++ = 'x';
	for (size_t i = 0; i < length; i++)
	{
		*to++ = digits[from[i] >> 4];
		*to++ = digits[from[i] & 15];
	}
	*to = '\0';
	return (HfText){text, 2 * length + 2};
}

/* Who is logged in, as an argument: NULL if nobody is. */
HfText
hf_actor(const HfRequest *request, HfNumber *number)
{
	return request->account != 0 ? hf_number(number, request->account) : (HfText){NULL, 0};
}

static int
read_int(HfText text)
{
	int value = 0;

	for (size_t i = 0; i < text.length && i < 9; i++)
		value = value * 10 + (text.data[i] - '0');
	return value;
}

/* Takes the one row of an answer apart; false if it is another kind of answer. */
bool
hf_call_row(const HfPgAnswer *answer, HfRow *row)
{
	if (answer->outcome != HF_PG_ROWS || answer->rows != 1)
		return false;
	row->status = read_int(hf_pg_value(answer, 0, 0));
	row->etag = hf_pg_value(answer, 0, 1);
	row->location = hf_pg_value(answer, 0, 2);
	row->replayed = hf_pg_value(answer, 0, 3).length == 1 && *hf_pg_value(answer, 0, 3).data == 't';
	row->body = hf_pg_value(answer, 0, 4);
	return row->status >= 200 && row->status <= 599;
}

/* Of a detail what is for the client: of what is only for the moment it tells of the server. */
const char *
hf_call_detail(const HfProblem *problem, const char *detail)
{
	return problem->status < 500 ? detail : NULL;
}

/* Answers that there was no answer, with a problem that says so. */
void
hf_call_unknown(HfRequest *request, HfProblemCode code)
{
	hf_reply_problem(request, code, NULL,
					 request->route->method == HF_GET
						 ? NULL
						 : "whether it was done is not known; an Idempotency-Key makes it safe to "
						   "send again");
}

/* Answers what was no row: a refusal, or that nothing is known. */
void
hf_call_refused(HfRequest *request, const char *function, const HfPgAnswer *answer)
{
	const HfProblem *problem;

	if (answer->outcome == HF_PG_LOST)
	{
		hf_call_unknown(request, HF_PROBLEM_UNAVAILABLE);
		return;
	}
	problem = answer->outcome == HF_PG_REFUSED ? hf_problem_of_sqlstate(answer->sqlstate) : NULL;
	if (problem == NULL)
	{
		hf_log(HF_LOG_ERROR, "statement_failed", "rest.%s: %s %s (request %s)", function,
			   answer->sqlstate, answer->message, request->id);
		problem = hf_problem(HF_PROBLEM_INTERNAL);
		hf_reply_refusal(request, problem, NULL, NULL);
		return;
	}
	hf_reply_refusal(request, problem, answer->column, hf_call_detail(problem, answer->detail));
}

static void
answered(void *arg, const HfPgAnswer *answer)
{
	Pending *pending = arg;
	HfRequest *request = pending->request;
	HfRow row;

	if (hf_request_is_open(request))
	{
		if (hf_call_row(answer, &row))
			pending->step(request, &row);
		else
			hf_call_refused(request, pending->function, answer);
	}
	hf_request_release(request);
	free(pending);
}

/* Calls a function for a request, which waits, and goes on with step if it is not refused. */
void
hf_call(HfRequest *request, const HfCall *call, const HfText *values, HfStep step)
{
	Pending *pending;

	if (!hf_problem_loaded())
	{
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		return;
	}
	pending = malloc(sizeof(Pending));
	if (pending == NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		return;
	}
	pending->request = request;
	pending->step = step;
	pending->function = call->function;
	hf_request_hold(request);
	if (!hf_pg_send(call->lane, call->statement, values, call->parameters, answered, pending))
	{
		hf_metrics_add(HF_METRIC_PG_FULL, 1);
		free(pending);
		hf_request_release(request);
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	}
}

/* Reads the query into JSON; false if that was answered with a problem. */
bool
hf_call_read_query(HfRequest *request)
{
	const char *text = request->http->query_string;
	HfParameters parameters;
	json_t *json;
	bool good;

	good = hf_parameters_read(&parameters, text, text != NULL ? strlen(text) : 0);
	json = json_object();
	for (size_t i = 0; good && i < parameters.n; i++)
		good = json_object_set_new(json, parameters.of[i].name,
								   json_string(parameters.of[i].value)) == 0;
	hf_parameters_free(&parameters);
	request->query = good ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	json_decref(json);
	if (request->query == NULL)
		hf_reply_problem(request, HF_PROBLEM_MALFORMED, NULL,
						 "wanted: a query in UTF-8, with each parameter once");
	return request->query != NULL;
}

static bool
is_id(const HfText *text)
{
	if (text->length == 0 || text->length > ID_DIGITS || text->data[0] < '1' || text->data[0] > '9')
		return false;
	for (size_t i = 1; i < text->length; i++)
		if (!isdigit((unsigned char) text->data[i]))
			return false;
	return text->length < ID_DIGITS || memcmp(text->data, "9223372036854775807", ID_DIGITS) <= 0;
}

/* Reads an id out of a path; false if it is none, and so there is no such thing. */
bool
hf_call_read_id(const HfText *text, int64_t *id)
{
	if (!is_id(text))
		return false;
	*id = strtoll(text->data, NULL, 10);
	return true;
}

static bool
is_uuid(const HfText *text)
{
	if (text->length != 36)
		return false;
	for (size_t i = 0; i < text->length; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? text->data[i] != '-'
													: !isxdigit((unsigned char) text->data[i]))
			return false;
	return true;
}

/* If-Match, with the ETags of compressed bodies put right, in memory of ours. */
static HfText
read_match(const HfRequest *request)
{
	static char match[8192];
	const char *header = hf_request_header(request, "if-match");
	char *suffix;

	if (header == NULL || strlen(header) >= sizeof(match))
		return hf_text(header);
	snprintf(match, sizeof(match), "%s", header);
	while ((suffix = strstr(match, "-gzip\"")) != NULL)
		memmove(suffix, suffix + 5, strlen(suffix + 5) + 1);
	return hf_text(match);
}

/* The value of one argument; false if what the path says is none, and so there is no such thing. */
static bool
take_argument(HfRequest *request, HfArgument argument, int *captures, HfText *value)
{
	switch (argument)
	{
		case HF_ARGUMENT_ID:
			*value = request->capture[(*captures)++];
			return is_id(value);
		case HF_ARGUMENT_UUID:
			*value = request->capture[(*captures)++];
			return is_uuid(value);
		case HF_ARGUMENT_WORD:
			*value = request->capture[(*captures)++];
			return true;
		case HF_ARGUMENT_KEY:
			*value = hf_text(hf_request_header(request, "idempotency-key"));
			return true;
		case HF_ARGUMENT_MATCH:
			*value = read_match(request);
			return true;
		case HF_ARGUMENT_QUERY:
			*value = hf_text(request->query);
			return true;
		case HF_ARGUMENT_BODY:
			*value = request->body.length > 0 ? request->body : hf_text("{}");
			return true;
		case HF_ARGUMENT_TRUE:
			*value = hf_text("true");
			return true;
		case HF_ARGUMENT_FALSE:
			*value = hf_text("false");
			return true;
		case HF_ARGUMENT_HANDLER:
			*value = (HfText){NULL, 0};
			return true;
		default:
			return false;
	}
}

/* The arguments of the route's function; false if that was answered with a problem. */
bool
hf_call_arguments(HfRequest *request, bool as_nobody, HfText *values, HfNumber *numbers)
{
	const HfRoute *route = request->route;
	int captures = 0;

	for (int i = 0; i < route->call.parameters; i++)
	{
		if (route->argument[i] == HF_ARGUMENT_ACTOR)
			values[i] = as_nobody ? (HfText){NULL, 0} : hf_actor(request, numbers);
		else if (route->argument[i] == HF_ARGUMENT_QUERY && request->query == NULL &&
				 !hf_call_read_query(request))
			return false;
		else if (!take_argument(request, route->argument[i], &captures, &values[i]))
		{
			hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
			return false;
		}
	}
	return true;
}

/* Calls the route's function and answers with its reply. */
void
hf_call_route(HfRequest *request)
{
	HfText values[HF_ROUTE_ARGUMENTS];
	HfNumber number;

	if (hf_call_arguments(request, false, values, &number))
		hf_call(request, &request->route->call, values, hf_call_reply);
}

/* Copies the cursor of the next page out of a list; 0 if it has none. */
size_t
hf_call_next(const HfText *body, char *next, size_t room)
{
	json_t *json = json_loadb(body->data, body->length, 0, NULL);
	const char *cursor = json_string_value(json_object_get(json, "next"));
	size_t length = cursor != NULL ? strlen(cursor) : 0;

	if (length >= room)
		length = 0;
	if (length > 0)
		memcpy(next, cursor, length);
	next[length] = '\0';
	json_decref(json);
	return length;
}

/*
 * Appends a name or a value of a query, encoded, after a separator; `room` if there is not
 * enough.
 */
static size_t
append_encoded(char *to, size_t room, char separator, const char *text)
{
	size_t used = 0;

	if (room < 5)
		return room;
	to[used++] = separator;
	for (; *text != '\0' && used + 4 < room; text++)
		if (isalnum((unsigned char) *text) || strchr("-._~", *text) != NULL)
			to[used++] = *text;
		else
			used += (size_t) sprintf(to + used, "%%%02X", (unsigned char) *text);
	return *text == '\0' ? used : room;
}

/*
 * Links to the next page (RFC 8288): this list with that cursor. A link that is too long is left
 * out.
 */
void
hf_call_link(HfRequest *request, const char *next)
{
	char *link = request->reply.link;
	size_t room = sizeof(request->reply.link) - 16, used;
	const char *name;
	json_t *query, *value;
	char separator = '?';

	if (*next == '\0' || request->query == NULL)
		return;
	used = (size_t) snprintf(link, room, "<%s", request->route->pattern);
	query = json_loads(request->query, 0, NULL);
	json_object_set_new(query, "cursor", json_string(next));
	json_object_foreach(query, name, value)
	{
		used += append_encoded(link + used, room - used, separator, name);
		used += append_encoded(link + used, room - used, '=', json_string_value(value));
		separator = '&';
	}
	json_decref(query);
	if (used >= room)
		link[0] = '\0';
	else
		snprintf(link + used, sizeof(request->reply.link) - used, ">; rel=\"next\"");
}

/* Answers with the row. */
void
hf_call_reply(HfRequest *request, const HfRow *row)
{
	HfReply *reply = &request->reply;
	char next[1024];

	hf_text_copy(reply->etag, sizeof(reply->etag), &row->etag);
	hf_text_copy(reply->location, sizeof(reply->location), &row->location);
	if (reply->etag[0] == '\0' && row->status == 200 && request->route->method == HF_GET)
		hf_reply_etag(reply->etag, &row->body);
	reply->replayed = row->replayed;
	if (request->query != NULL && row->body.data != NULL &&
		hf_call_next(&row->body, next, sizeof(next)) > 0)
		hf_call_link(request, next);
	hf_reply(request, row->status, &row->body);
}
