/*
 * cached.c
 *		Requests that the read cache answers.
 *
 * What is cached is what nobody in particular is shown.  Whoever may see more (merchants, of
 * their own things, and admins) asks the database.  A payload is a line, "ETAG TAB NEXT TAB
 * LENGTH", a body of that length, and the same compressed, if that pays; or what the database
 * refused, which is told to those who wait for the same but never stored: "!SQLSTATE NUL POINTER
 * NUL DETAIL", where a pointer may name what somebody has made up.
 *
 * A load belongs to nobody: it goes on for those who wait when the client it began with has left.
 */
#include "kore.h"

#include "cached.h"
#include "call.h"
#include "gzip.h"
#include "metrics.h"
#include "reply.h"

#define NEXT_MAX		 1024
#define PAYLOAD_LINE_MAX 1400

typedef struct Loading
{
	HfCacheLoad *load;
	HfRequest *request;
	unsigned ttl;
} Loading;

/* What a request that asks the cache remembers. */
typedef struct Asking
{
	HfRequest *request;
	unsigned ttl;
} Asking;

/* An entry that is read before anybody wants it. */
typedef struct Warming
{
	HfCacheLoad *load;
	const HfCall *call;
	HfNumber id;
	HfCachedWarm done;
	void *arg;
} Warming;

/* Splits off what stands before a character; false if it is not there. */
static bool
split(HfText *rest, char at, HfText *part)
{
	const char *end = memchr(rest->data, at, rest->length);

	if (end == NULL)
		return false;
	part->data = rest->data;
	part->length = (size_t) (end - rest->data);
	rest->length -= part->length + 1;
	rest->data = end + 1;
	return true;
}

/*
 * Nobody in particular was refused.  Whoever is logged in may have become more since his token was
 * made, which only the database knows.  True if it is asked.
 */
static bool
ask_for_himself(HfRequest *request)
{
	if (request->account == 0 || !hf_request_is_open(request))
		return false;
	hf_call_route(request);
	return true;
}

/* Answers with what was refused. */
static bool
reply_refused(HfRequest *request, HfText rest)
{
	const HfProblem *problem;
	char sqlstate[8], pointer[200], detail[400];
	HfText part;

	if (ask_for_himself(request))
		return true;
	if (!split(&rest, '\0', &part))
		return false;
	hf_text_copy(sqlstate, sizeof(sqlstate), &part);
	if (!split(&rest, '\0', &part))
		return false;
	hf_text_copy(pointer, sizeof(pointer), &part);
	hf_text_copy(detail, sizeof(detail), &rest);
	problem = hf_problem_of_sqlstate(sqlstate);
	if (problem == NULL)
		problem = hf_problem(HF_PROBLEM_INTERNAL);
	hf_reply_refusal(request, problem, pointer, hf_call_detail(problem, detail));
	return true;
}

/* Answers with a payload; false if it is none. */
static bool
reply_payload(HfRequest *request, const HfText *payload)
{
	HfText rest = *payload, line, etag, next, plain, gzip;
	char cursor[NEXT_MAX];
	size_t length;

	if (rest.length > 0 && *rest.data == '!')
		return reply_refused(request, (HfText){rest.data + 1, rest.length - 1});
	if (!split(&rest, '\n', &line) || !split(&line, '\t', &etag) || !split(&line, '\t', &next))
		return false;
	length = strtoul(line.data, NULL, 10); /* the line feed ends it */
	if (length > rest.length)
		return false;
	plain = (HfText){rest.data, length};
	gzip = (HfText){rest.length > length ? rest.data + length : NULL, rest.length - length};
	hf_text_copy(request->reply.etag, sizeof(request->reply.etag), &etag);
	hf_text_copy(cursor, sizeof(cursor), &next);
	hf_call_link(request, cursor);
	hf_reply_packed(request, 200, &plain, &gzip);
	return true;
}

/* Makes the payload of a row, in memory that the caller frees; NULL data if there is none. */
static HfText
make_payload(const HfRow *row, bool is_list)
{
	char next[NEXT_MAX] = "", etag[HF_REPLY_ETAG_MAX + 1], line[PAYLOAD_LINE_MAX], *payload;
	HfText gzip = hf_gzip(&row->body);
	int length;

	hf_text_copy(etag, sizeof(etag), &row->etag);
	if (row->etag.length == 0)
		hf_reply_etag(etag, &row->body);
	if (is_list)
		hf_call_next(&row->body, next, sizeof(next));
	length = snprintf(line, sizeof(line), "%s\t%s\t%zu\n", etag, next, row->body.length);
	payload = malloc((size_t) length + row->body.length + gzip.length);
	if (payload == NULL)
		return (HfText){NULL, 0};
	memcpy(payload, line, (size_t) length);
	memcpy(payload + length, row->body.data, row->body.length);
	if (gzip.length > 0)
		memcpy(payload + length + row->body.length, gzip.data, gzip.length);
	return (HfText){payload, (size_t) length + row->body.length + gzip.length};
}

/* What a refusal is told to all who wait with; never stored.  What is too long is left out. */
static HfText
make_refusal(char line[PAYLOAD_LINE_MAX], const HfPgAnswer *answer)
{
	int length = snprintf(line, PAYLOAD_LINE_MAX, "!%s%c%s%c%s", answer->sqlstate, '\0',
						  answer->column, '\0', answer->detail);

	if (length >= PAYLOAD_LINE_MAX)
		length = snprintf(line, PAYLOAD_LINE_MAX, "!%s%c%c", answer->sqlstate, '\0', '\0');
	return (HfText){line, (size_t) length};
}

static void
loaded(void *arg, const HfPgAnswer *answer)
{
	Loading *loading = arg;
	HfRequest *request = loading->request;
	char line[PAYLOAD_LINE_MAX];
	HfText payload = {NULL, 0};
	HfRow row;

	if (hf_call_row(answer, &row) && row.status == 200)
	{
		payload = make_payload(&row, request->query != NULL);
		if (hf_request_is_open(request))
			hf_call_reply(request, &row);
		hf_cache_loaded(loading->load, payload.data != NULL ? &payload : NULL, loading->ttl);
		free((char *) payload.data);
	}
	else
	{
		if (answer->outcome == HF_PG_REFUSED)
			payload = make_refusal(line, answer);
		if (hf_request_is_open(request) &&
			(answer->outcome != HF_PG_REFUSED || !ask_for_himself(request)))
			hf_call_refused(request, request->route->call.function, answer);
		hf_cache_loaded(loading->load, payload.data != NULL ? &payload : NULL, 0);
	}
	hf_request_release(request);
	free(loading);
}

/* Reads the database for all who wait. */
static void
start_load(HfRequest *request, HfCacheLoad *load, unsigned ttl)
{
	Loading *loading = malloc(sizeof(Loading));
	HfText values[HF_ROUTE_ARGUMENTS];
	HfNumber number;

	/* The arguments were good when the cache was asked, and are ours, not the client's. */
	if (loading != NULL && hf_problem_loaded() && hf_call_arguments(request, true, values, &number))
	{
		*loading = (Loading){load, request, ttl};
		hf_request_hold(request);
		if (hf_pg_send(request->route->call.lane, request->route->call.statement, values,
					   request->route->call.parameters, loaded, loading))
			return;
		hf_metrics_add(HF_METRIC_PG_FULL, 1);
		hf_request_release(request);
	}
	free(loading);
	hf_cache_loaded(load, NULL, 0);
	hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
}

static void
asked(void *arg, const HfCacheResult *result)
{
	Asking *asking = arg;
	HfRequest *request = asking->request;

	if (result->load != NULL)
		start_load(request, result->load, asking->ttl);
	else if (result->payload == NULL || !hf_request_is_open(request) ||
			 !reply_payload(request, result->payload))
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	hf_request_release(request);
}

/*
 * Answers with the entry, which lives so many milliseconds; on a miss with what the route's
 * function says to nobody in particular.
 */
void
hf_cached(HfRequest *request, const HfCacheEntry *entry, unsigned ttl)
{
	HfText values[HF_ROUTE_ARGUMENTS];
	HfNumber number;
	Asking *asking;

	if (request->staff)
	{
		hf_call_route(request);
		return;
	}
	if (!hf_call_arguments(request, true, values, &number))
		return;
	asking = malloc(sizeof(Asking));
	if (asking == NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		return;
	}
	*asking = (Asking){request, ttl < hf_config.cache_ttl ? ttl : hf_config.cache_ttl};
	free(request->state);
	request->state = asking;
	hf_request_hold(request);
	hf_cache_get(entry, asked, asking);
}

static void
end_warming(Warming *warming, bool good)
{
	warming->done(warming->arg, good);
	free(warming);
}

static void
warmed(void *arg, const HfPgAnswer *answer)
{
	Warming *warming = arg;
	HfText payload = {NULL, 0};
	HfRow row;

	if (hf_call_row(answer, &row) && row.status == 200)
		payload = make_payload(&row, false);
	hf_cache_loaded(warming->load, payload.data != NULL ? &payload : NULL, hf_config.cache_ttl);
	end_warming(warming, payload.data != NULL);
	free((char *) payload.data);
}

static void
warm(void *arg, const HfCacheResult *result)
{
	Warming *warming = arg;
	HfText values[] = {{NULL, 0}, hf_text(warming->id.text)};

	if (result->load == NULL)
	{
		end_warming(warming, result->payload != NULL && result->payload->data[0] != '!');
		return;
	}
	warming->load = result->load;
	if (hf_pg_send(warming->call->lane, warming->call->statement, values, 2, warmed, warming))
		return;
	hf_metrics_add(HF_METRIC_PG_FULL, 1);
	hf_cache_loaded(result->load, NULL, 0);
	end_warming(warming, false);
}

/*
 * Puts one thing into the cache as nobody in particular sees it, unless it is there: `call` reads
 * it by its id.
 */
void
hf_cached_warm(const HfCall *call, const HfCacheEntry *entry, const HfText *id, HfCachedWarm done,
			   void *arg)
{
	Warming *warming = malloc(sizeof(Warming));

	if (warming == NULL)
	{
		done(arg, false);
		return;
	}
	*warming = (Warming){.call = call, .done = done, .arg = arg};
	hf_text_copy(warming->id.text, sizeof(warming->id.text), id);
	hf_cache_get(entry, warm, warming);
}
