/*
 * claim.c
 *		Claims due calls from the database, has them made, and records what has come of them.
 *
 * A source is a provider whose calls are due in the database.  Each is looked at over and over: at
 * once while there is more than was taken, soon after there was something, and rarely while there
 * is nothing.  The simulated provider lives in the database: to look at it is to have it do its
 * work.
 *
 * Invariants: a claim is committed before its calls are made, so no transaction is open meanwhile,
 * and a process that dies loses nothing but time: its leases run out.  No more calls are held than
 * may be made at once, so each is made as soon as it is claimed, well within its lease.  A provider
 * that is away is asked for one call at a time, with growing pauses, so that its other calls keep
 * their attempts.
 */
#include "claim.h"

#include "clock.h"
#include "config.h"
#include "database.h"
#include "log.h"
#include "record.h"

#include <jansson.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX	 (HF_PROVIDERS_MAX + 1)
#define SOON		 20 /* milliseconds until the next look while there is something */
#define AWAY_LEAST	 500
#define AWAY_MOST	 10000
#define FAULT_PAUSE	 2000
#define SAY_INTERVAL 10000

typedef struct Source
{
	const char *name;
	const HfProvider *provider; /* NULL: the simulated one */
	unsigned most;				/* calls at a time */
	unsigned held;				/* claimed and not recorded yet */
	unsigned wanted;			/* by the claim that is under way */
	int64_t next_at;			/* when to look again */
	int64_t pause_ms;
	int64_t claimed_at; /* when the claim that is under way was sent */
	int64_t away_ms;	/* 0: the provider takes calls */
	int64_t away_until;
	int64_t said_at; /* when that it is away was logged */
	bool said_away;
	bool is_faulty; /* the database refuses to give us its calls */
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
	sources[source_count++] =
		(Source){.name = name, .provider = provider, .most = most, .pause_ms = SOON};
}

/* How many calls are held: claimed, and not recorded yet. */
static unsigned
held(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < source_count; i++)
		n += sources[i].held;
	return n;
}

/* Claims nothing any more. */
static void
stop(void)
{
	stopping = true;
}

/* How many calls may be claimed now. */
static unsigned
room(const Source *source)
{
	unsigned most = source->most < hf_config.batch ? source->most : hf_config.batch;
	unsigned left = source->most - source->held;

	if (source->away_ms > 0)
		return source->held == 0 ? 1 : 0;
	return left < most ? left : most;
}

/* When to look for calls of a source, if there is room for them. */
static int64_t
due_at(const Source *source)
{
	if (source->away_ms > 0 && source->away_until > source->next_at)
		return source->away_until;
	return source->next_at;
}

/* When to look again after there were so many calls. */
static void
plan(Source *source, unsigned found)
{
	int64_t now = hf_clock();

	source->is_faulty = false;
	if (found > 0)
		source->pause_ms = SOON;
	else
		source->pause_ms = source->pause_ms * 2 < hf_config.poll_interval ? source->pause_ms * 2
																		  : hf_config.poll_interval;
	source->next_at = found > 0 && found >= source->wanted ? now : now + source->pause_ms;
}

/* A look that has failed. Only what is not over by itself is logged, once. */
static void
plan_after_fault(Source *source, const char *code, const char *message)
{
	bool is_lasting = *code != '\0' && strncmp(code, "40", 2) != 0 && strcmp(code, "55P03") != 0;

	if (is_lasting && !source->is_faulty)
		hf_log(HF_LOG_ERROR, "no_claim", "%s: %s (SQLSTATE %s)", source->name, message, code);
	source->is_faulty = source->is_faulty || is_lasting;
	source->next_at = hf_clock() + (is_lasting ? FAULT_PAUSE : SOON);
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
		plan_after_fault(source, code, message);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		HfCall *call = read_call(source, rows, i);

		if (call == NULL)
			continue;
		source->held++;
		hf_provider_call(source->provider, call);
	}
	plan(source, (unsigned) n);
}

static void
simulated(void *context, const HfRows *rows, const char *code, const char *message)
{
	Source *source = context;

	if (rows == NULL)
		plan_after_fault(source, code, message);
	else
		plan(source, (unsigned) strtoul(hf_rows_value(rows, 0, 0), NULL, 10));
}

/* Looks whether a source has calls that are due. The connection is ready. */
static void
look(Source *source)
{
	char limit[16], lease[32];
	const char *values[] = {source->name, limit, lease};

	source->wanted = room(source);
	source->claimed_at = hf_clock();
	snprintf(limit, sizeof(limit), "%u", source->wanted);
	snprintf(lease, sizeof(lease), "%u milliseconds", hf_config.lease);
	if (source->provider == NULL)
		hf_database_send("SELECT holdfast.simulate_provider($1)", 1, &values[1], simulated, source);
	else
		hf_database_send("SELECT c.account_id, c.payment, c.call, c.key, c.kind, c.amount,"
						 " c.currency, c.method, c.owner, c.original, c.attempt"
						 " FROM holdfast.claim_calls($1, $2, $3) AS c",
						 3, values, claimed, source);
}

/* Logs that a provider is away: now and then, however often that happens. */
static void
say_away(Source *source, const char *reason)
{
	int64_t now = hf_clock();

	if (source->said_at > 0 && now - source->said_at < SAY_INTERVAL)
		return;
	source->said_at = now;
	source->said_away = true;
	hf_log(HF_LOG_WARNING, "provider_away", "%s: %s", source->name, reason);
}

/* Logs that a provider is back, if it was logged that he is away. */
static void
say_back(Source *source)
{
	if (source->said_away)
		hf_log(HF_LOG_INFO, "provider_back", "%s takes calls", source->name);
	source->said_away = false;
}

/* What the answer says about the provider itself. */
static void
judge(Source *source, const HfAnswer *answer)
{
	int64_t now = hf_clock();

	if (answer->outcome == HF_RETRY && !answer->is_away)
		return;
	if (answer->is_away)
	{
		/* Of those that fail together the first one counts. */
		if (source->away_ms > 0 && now < source->away_until)
			return;
		say_away(source, answer->reason);
		source->away_ms = source->away_ms == 0 ? AWAY_LEAST
			: source->away_ms * 2 < AWAY_MOST  ? source->away_ms * 2
											   : AWAY_MOST;
		source->away_until = now + source->away_ms / 2 + random() % source->away_ms;
	}
	else if (source->away_ms > 0)
	{
		say_back(source);
		source->away_ms = 0;
		source->next_at = now;
	}
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
	((Source *) call->source)->held--;
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

		if (due_at(source) > now || room(source) == 0)
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
		if (room(&sources[i]) > 0 && due_at(&sources[i]) < next)
			next = due_at(&sources[i]);
	return next;
}

const HfPart hf_claim_part = {.begin = begin,
							  .send = send,
							  .deadline = deadline,
							  .held = held,
							  .stop = stop,
							  .cut = hf_provider_cancel};
