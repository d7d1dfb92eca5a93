/*
 * claim.c
 *		Claims due calls from the database, has them made, and records what has come of them.
 *
 * A source is a provider whose calls are due in the database; pace.c says when to look at it.  The
 * simulated provider lives in the database: to look at it is to have it do its work.
 *
 * Invariants: a claim is committed before its calls are made, so no transaction is open meanwhile,
 * and a process that dies loses nothing but time: its leases run out.  No more calls are held than
 * may be made at once, so each is made as soon as it is claimed, well within its lease.
 */
#include "claim.h"

#include "answer.h"
#include "clock.h"
#include "config.h"
#include "database.h"
#include "pace.h"
#include "record.h"

#include <jansson.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX (HF_PROVIDERS_MAX + 1)
#define AWAY_MOST	10000 /* milliseconds */

typedef struct Source
{
	HfPace pace;				/* of calls */
	const HfProvider *provider; /* NULL: the simulated one */
	int64_t claimed_at;			/* when the claim that is under way was sent */
} Source;

static Source sources[SOURCES_MAX];
static unsigned source_count;
static unsigned turn; /* whose it is */
static bool recorded_last;
static bool stopping;

/* Takes calls of this provider, so many at a time; provider NULL: of the simulated one. */
void
hf_claim_add(const char *name, const HfProvider *provider, unsigned most)
{
	sources[source_count++] = (Source){.pace = {.label = name,
												.away = "provider_away",
												.back = "provider_back",
												.most = most,
												.away_most = AWAY_MOST},
									   .provider = provider};
}

/* How many calls are held: claimed, and not recorded yet. */
static unsigned
held(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < source_count; i++)
		n += sources[i].pace.held;
	return n;
}

/* Claims nothing any more. */
static void
stop(void)
{
	stopping = true;
}

/* What the provider is asked for, the same at every attempt; NULL if there is no memory. */
static char *
call_body(const HfRows *rows, int row)
{
	const char *amount = hf_rows_value(rows, row, 5);
	json_t *body =
		json_pack("{s:s, s:s, s:I, s:s, s:s?, s:s?, s:s?}", "key", hf_rows_value(rows, row, 3),
				  "kind", hf_rows_value(rows, row, 4), "amount",
				  (json_int_t) strtoll(amount, NULL, 10), "currency", hf_rows_value(rows, row, 6),
				  "method", hf_rows_value(rows, row, 7), "order", hf_rows_value(rows, row, 8),
				  "original", hf_rows_value(rows, row, 9));
	char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);

	json_decref(body);
	return text;
}

static HfCall *
read_call(Source *source, const HfRows *rows, int row)
{
	HfCall *call = calloc(1, sizeof(HfCall));

	if (call == NULL)
		return NULL;
	call->source = source;
	call->until = source->claimed_at + hf_config.lease;
	snprintf(call->account, sizeof(call->account), "%s", hf_rows_value(rows, row, 0));
	snprintf(call->payment, sizeof(call->payment), "%s", hf_rows_value(rows, row, 1));
	snprintf(call->number, sizeof(call->number), "%s", hf_rows_value(rows, row, 2));
	snprintf(call->key, sizeof(call->key), "%s", hf_rows_value(rows, row, 3));
	snprintf(call->currency, sizeof(call->currency), "%s", hf_rows_value(rows, row, 6));
	call->amount = strtoll(hf_rows_value(rows, row, 5), NULL, 10);
	call->is_lookup = strcmp(hf_rows_value(rows, row, 4), "lookup") == 0;
	call->attempt = atoi(hf_rows_value(rows, row, 10));
	if (call->is_lookup)
		call->given_up_for = strtoll(hf_rows_value(rows, row, 11), NULL, 10);
	call->body = call_body(rows, row);
	if (call->body != NULL)
		return call;
	free(call);
	return NULL;
}

/* Makes the calls that were claimed. One that there is no memory for waits for its lease. */
static void
claimed(void *context, const HfRows *rows, const char *code, const char *message)
{
	Source *source = context;
	int n = rows == NULL ? 0 : hf_rows_count(rows);

	if (rows == NULL)
	{
		hf_pace_failed(&source->pace, code, message);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		HfCall *call = read_call(source, rows, i);

		if (call == NULL)
			continue;
		source->pace.held++;
		if (stopping)
		{
			hf_answer_none(call, true, "the worker was stopped");
			hf_record_add(call);
		}
		else
			hf_provider_call(source->provider, call);
	}
	hf_pace_found(&source->pace, (unsigned) n);
}

static void
simulated(void *context, const HfRows *rows, const char *code, const char *message)
{
	Source *source = context;

	if (rows == NULL)
		hf_pace_failed(&source->pace, code, message);
	else
		hf_pace_found(&source->pace, (unsigned) strtoul(hf_rows_value(rows, 0, 0), NULL, 10));
}

/* Looks whether a source has calls that are due. The connection is ready. */
static void
look(Source *source)
{
	char limit[16], lease[32];
	const char *values[] = {source->pace.label, limit, lease};

	source->pace.wanted = hf_pace_room(&source->pace);
	source->claimed_at = hf_clock();
	snprintf(limit, sizeof(limit), "%u", source->pace.wanted);
	snprintf(lease, sizeof(lease), "%u milliseconds", hf_config.lease);
	if (source->provider == NULL)
		hf_database_send("SELECT holdfast.simulate_provider($1)", 1, &values[1], simulated, source);
	else
		hf_database_send(
			"SELECT c.account_id, c.payment, c.call, c.key, c.kind, c.amount,"
			" c.currency, c.method, c.owner, c.original, c.attempt,"
			" floor(extract(epoch FROM clock_timestamp() - c.given_up_at) * 1000)::bigint"
			" FROM holdfast.claim_calls($1, $2, $3) AS c",
			3, values, claimed, source);
}

/* What the answer says about the provider itself. */
static void
judge(Source *source, const HfAnswer *answer)
{
	if (answer->is_away)
		hf_pace_away(&source->pace, answer->reason);
	else if (answer->outcome != HF_RETRY)
		hf_pace_back(&source->pace);
}

/* Takes a call that was made, or not, to be recorded. */
static void
answered(HfCall *call)
{
	judge(call->source, &call->answer);
	hf_record_add(call);
}

/* Forgets a call that is recorded. */
static void
forget(HfCall *call)
{
	((Source *) call->source)->pace.held--;
	free(call->body);
	free(call);
}

/* Begins in a worker process; the sources are there. */
static bool
begin(void)
{
	hf_provider_begin(answered);
	hf_record_begin(forget);
	return true;
}

/* The source whose turn it is, of those that are due; NULL if none is. */
static Source *
due_source(int64_t now)
{
	for (unsigned i = 0; i < source_count && !stopping; i++)
	{
		Source *source = &sources[(turn + i) % source_count];

		if (hf_pace_next(&source->pace) > now)
			continue;
		turn = (turn + i + 1) % source_count;
		return source;
	}
	return NULL;
}

/* Records what was answered, or looks for calls: they take turns. */
static bool
send(int64_t now)
{
	bool has_answers = hf_record_is_waiting();
	Source *source = has_answers && !recorded_last ? NULL : due_source(now);

	if (source == NULL && !has_answers)
		return false;
	recorded_last = source == NULL;
	if (source != NULL)
		look(source);
	else
		hf_record_send();
	return true;
}

/* When there is something to do again, as far as it is known by now. */
static int64_t
deadline(bool database_is_ready)
{
	int64_t next = HF_NEVER;

	if (!database_is_ready)
		return HF_NEVER;
	if (hf_record_is_waiting())
		return 0;
	if (stopping)
		return HF_NEVER;
	for (unsigned i = 0; i < source_count; i++)
		if (hf_pace_next(&sources[i].pace) < next)
			next = hf_pace_next(&sources[i].pace);
	return next;
}

const HfPart hf_claim_part = {.begin = begin,
							  .send = send,
							  .deadline = deadline,
							  .held = held,
							  .stop = stop,
							  .cut = hf_provider_cancel};
