/*
 * cache_status.c
 *		What callers can ask about the cache, and of it: cache_status, cache_sync(), cache_flush().
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "cache_ring.h"
#include "cache_trigger.h"
#include "cache_xact.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(holdfast_cache_report);
PG_FUNCTION_INFO_V1(holdfast_cache_sync);
PG_FUNCTION_INFO_V1(holdfast_cache_flush);

#define REASON_LONGEST (HF_CACHE_REASON_MAX - 1)

/* A reader leaves the cache when it has had no heartbeat for so long (docs/cache-protocol.md). */
#define BEAT_LIFE (1500 * INT64CONST(1000))

static bool
hf_cache_nothing_is_watched(void)
{
	char trouble[1];

	return hf_cache_survey(trouble, sizeof(trouble)) == 0;
}

static const char *
hf_cache_state(const HfCacheDatabase *db, const HfCacheReport *report)
{
	if (hf_cache_ring_lock == NULL)
		return "not preloaded";
	if (db == NULL || db->latch == NULL)
		return hf_cache_nothing_is_watched() ? "nothing watched" : "no worker";
	if (report->blocked)
		return "trigger off";
	if (!report->connected)
		return "no redis";
	return GetCurrentTimestamp() - report->beat_at > BEAT_LIFE ? "behind" : "on";
}

static Datum
hf_cache_time(TimestampTz time, bool *isnull)
{
	*isnull = time == 0;
	return TimestampTzGetDatum(time);
}

static Datum
hf_cache_text(const char *text, bool *isnull)
{
	*isnull = text[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

/* _holdfast.cache_report(): the row of holdfast.cache_status, in its order. */
Datum
holdfast_cache_report(PG_FUNCTION_ARGS)
{
	HfCacheDatabase *db = hf_cache_ring_database(false);
	HfCacheReport report = {0};
	TimestampTz oldest = 0;
	const char *state;
	TupleDesc desc;
	Datum values[14];
	bool nulls[14] = {false};
	int n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "return type must be the row of cache_status");
	if (db != NULL)
		hf_cache_ring_report(db, &report, &oldest);
	state = hf_cache_state(db, &report);
	if (oldest != 0)
		report.lag = Max(report.lag, GetCurrentTimestamp() - oldest);
	values[n++] = CStringGetTextDatum(state);
	values[n++] = Float8GetDatum(report.lag / 1000.0);
	values[n++] = Int64GetDatum(db ? (int64) pg_atomic_read_u64(&db->ready_keys) : 0);
	values[n++] = Int64GetDatum(report.published);
	values[n++] = Int64GetDatum(report.coalesced);
	values[n++] = Int64GetDatum(report.lost);
	nulls[n] = report.generation == 0;
	values[n++] = Int64GetDatum(report.generation);
	values[n] = hf_cache_text(report.reason, &nulls[n]);
	n++;
	values[n] = hf_cache_time(report.raised_at, &nulls[n]);
	n++;
	values[n++] = Int64GetDatum(report.raised);
	values[n] = hf_cache_time(report.beat_at, &nulls[n]);
	n++;
	values[n] = hf_cache_text(report.error, &nulls[n]);
	n++;
	values[n] = hf_cache_time(report.error_at, &nulls[n]);
	n++;
	values[n++] = Float8GetDatum(hf_cache_ring_fullness());
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

static void
hf_cache_raise_behind(HfCacheDatabase *db)
{
	HfCacheReport report;
	TimestampTz oldest;

	hf_cache_ring_report(db, &report, &oldest);
	ereport(ERROR,
			(errcode(ERRCODE_HF_CACHE_BEHIND), errmsg("the cache has not caught up in time"),
			 errdetail("State: %s%s%s.", hf_cache_state(db, &report),
					   report.error[0] != '\0' ? "; last error: " : "", report.error),
			 errhint("See holdfast.cache_status.")));
}

/* Tells the worker that somebody waits for a round, and wakes it. */
static void
hf_cache_want(HfCacheDatabase *db, uint64 round)
{
	uint64 wanted = pg_atomic_read_u64(&db->round_wanted);

	while (wanted < round && !pg_atomic_compare_exchange_u64(&db->round_wanted, &wanted, round))
		;
	hf_cache_ring_wake(db);
}

/*
 * cache_sync(timeout interval): waits for the end of a round of the worker that began after now.
 * What this session has committed is in the ring, or counted as lost, since before, so it is in
 * Redis then.
 */
Datum
holdfast_cache_sync(PG_FUNCTION_ARGS)
{
	HfCacheDatabase *db = hf_cache_ring_database(false);
	TimestampTz deadline;
	uint64 round;

	hf_argument_not_null(fcinfo, 0, "p_timeout");
	deadline = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													   TimestampTzGetDatum(GetCurrentTimestamp()),
													   PG_GETARG_DATUM(0)));
	if (db == NULL)
		PG_RETURN_VOID();
	round = pg_atomic_read_u64(&db->round_begun) + 1;
	hf_cache_want(db, round);
	ConditionVariablePrepareToSleep(&db->round_end);
	while (pg_atomic_read_u64(&db->round_done) < round)
	{
		int64 left = (deadline - GetCurrentTimestamp()) / 1000;

		/* The worker has taken the heartbeat with it. */
		if (db->latch == NULL && hf_cache_nothing_is_watched())
			break;
		if (left <= 0)
		{
			ConditionVariableCancelSleep();
			hf_cache_raise_behind(db);
		}
		(void) ConditionVariableTimedSleep(&db->round_end, Min(left + 1, 100), PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	PG_RETURN_VOID();
}

/* cache_flush(reason text): abandons the whole cache when the transaction commits. */
Datum
holdfast_cache_flush(PG_FUNCTION_ARGS)
{
	char *reason;

	hf_argument_not_null(fcinfo, 0, "p_reason");
	reason = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (reason[0] == '\0' || strlen(reason) > REASON_LONGEST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("p_reason is too %s", reason[0] == '\0' ? "short" : "long"),
				 errdetail("It has %zu bytes; 1 to %d are allowed.", strlen(reason),
						   REASON_LONGEST)));
	PreventCommandIfReadOnly("holdfast.cache_flush()");
	if (!hf_cache_is_there())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is nobody to bring changes to the cache"),
				 errhint("Add holdfast to shared_preload_libraries and restart the server.")));
	hf_cache_add_everything(reason);
	PG_RETURN_VOID();
}
