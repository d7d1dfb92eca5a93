/*
 * worker_cache.c
 *		The background worker that brings one database's cache keys to Redis.
 *
 * It works in rounds: all that is ready when a round begins has reached Redis when it ends.
 * Commits wake it; under load it lets a millisecond pass between rounds, in which keys gather.
 * It holds no transaction while it speaks to Redis, and looks at the database only to take over
 * what two-phase transactions have left in their table and to see whether all triggers are on.
 *
 * The heartbeat comes after a whole round, so while there is one, nothing older than it is
 * missing in Redis.  If Redis fails, the worker tries again, later and later up to BACKOFF_MAX;
 * it says so in the log once and then at most every LOG_PAUSE.  While it is away keys wait in the
 * ring (cache_ring.c).
 *
 * A trigger that is off, or does not fire always, leaves writes unseen: then there is no
 * heartbeat. Where nothing is watched the worker leaves.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cache_commit.h"
#include "cache_publish.h"
#include "cache_trigger.h"
#include "cache_xact.h"
#include "guc.h"
#include "worker.h"

#define MILLISECONDS (USECS_PER_SEC / 1000)
#define BEAT_EVERY	 (500 * MILLISECONDS)
#define BEAT_RETRY	 (20 * MILLISECONDS)
#define SURVEY_EVERY (10 * USECS_PER_SEC)
#define ROUND_PAUSE	 (2 * MILLISECONDS)
#define BACKOFF_MIN	 (50 * MILLISECONDS)
#define BACKOFF_MAX	 (1000 * MILLISECONDS)
#define LOG_PAUSE	 (60 * USECS_PER_SEC)

typedef struct HfCacheWorker
{
	HfPublisher publisher;
	HfCacheDatabase *db;
	TimestampTz beat_at; /* when the next one is due */
	TimestampTz survey_at;
	TimestampTz retry_at;
	TimestampTz round_ended_at;
	Oid function; /* of the triggers that were looked at */
	int64 backoff;
	bool troubled; /* the failure was logged, and success is not yet */
	TimestampTz logged_at;
} HfCacheWorker;

static void
hf_cache_begin_transaction(const char *activity)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
	hf_worker_stay_if_needed();
}

static void
hf_cache_end_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

static void
hf_cache_note_error(HfCacheWorker *w, const char *error)
{
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	strlcpy(w->db->report.error, error, HF_CACHE_ERROR_MAX);
	w->db->report.error_at = GetCurrentTimestamp();
	LWLockRelease(hf_cache_ring_lock);
}

/* Redis has failed: closes the connection, and says so if it was not said lately. */
static void
hf_cache_fail(HfCacheWorker *w, const char *error)
{
	TimestampTz now = GetCurrentTimestamp();

	hf_cache_note_error(w, error);
	if (!w->troubled && now - w->logged_at > LOG_PAUSE)
	{
		ereport(LOG,
				(errmsg("holdfast cannot reach Redis: %s", error),
				 errdetail("Readers of the cache turn to the database.")));
		w->troubled = true;
		w->logged_at = now;
	}
	if (w->publisher.redis != NULL)
		hf_publisher_disconnect(&w->publisher);
	w->backoff = Min(Max(w->backoff * 2, BACKOFF_MIN), BACKOFF_MAX);
	w->retry_at = now + w->backoff;
}

static bool
hf_cache_connect(HfCacheWorker *w)
{
	char error[HF_REDIS_ERROR_MAX];

	if (w->publisher.redis != NULL)
		return true;
	if (GetCurrentTimestamp() < w->retry_at)
		return false;
	if (hf_publisher_connect(&w->publisher, error))
		return true;
	hf_cache_fail(w, error);
	return false;
}

/* Is there anything that a round would do? */
static bool
hf_cache_has_work(HfCacheWorker *w)
{
	HfCacheDatabase *db = w->db;

	return w->publisher.adrift || pg_atomic_read_u32(&db->ready) != 0 || db->taken_first != 0 ||
		pg_atomic_read_u32(&db->abandon) != 0 || pg_atomic_read_u32(&db->prepared) != 0 ||
		pg_atomic_read_u64(&db->round_wanted) > pg_atomic_read_u64(&db->round_done) ||
		GetCurrentTimestamp() >= w->beat_at;
}

/*
 * The heartbeat, unless a trigger is off, or a transaction is over and has not told its keys.
 * False if Redis failed.
 */
static bool
hf_cache_beat(HfCacheWorker *w, bool told)
{
	bool good = true;

	if (w->publisher.blocked)
		good = hf_publisher_stop_beating(&w->publisher);
	else if (told)
		good = hf_publisher_beat(&w->publisher);
	w->beat_at = GetCurrentTimestamp() + (told ? BEAT_EVERY : BEAT_RETRY);
	return good;
}

/* A round, and the heartbeat if it is time. False if Redis failed. */
static bool
hf_cache_round(HfCacheWorker *w)
{
	HfCacheDatabase *db = w->db;
	bool beat = GetCurrentTimestamp() >= w->beat_at;
	uint64 wanted = pg_atomic_read_u64(&db->round_wanted);
	uint64 round = pg_atomic_fetch_add_u64(&db->round_begun, 1) + 1;
	bool told;

	hf_publisher_begin_round(&w->publisher);
	told = !beat || hf_cache_commit_all_told();
	if (pg_atomic_exchange_u32(&db->prepared, 0) != 0 || beat || wanted >= round)
	{
		hf_cache_begin_transaction("taking over the keys of two-phase transactions");
		hf_cache_collect_prepared();
		/* The extension may have been dropped and made again. */
		if (w->function != hf_cache_trigger_function())
			w->survey_at = 0;
		hf_cache_end_transaction();
	}
	if (!hf_publisher_work(&w->publisher))
		return false;
	if (beat && w->survey_at != 0 && !hf_cache_beat(w, told))
		return false;
	pg_atomic_write_u64(&db->round_done, round);
	if (wanted != 0)
		ConditionVariableBroadcast(&db->round_end);
	return true;
}

/* One round, and what follows from its end. */
static void
hf_cache_work(HfCacheWorker *w)
{
	bool good = hf_cache_round(w);

	w->round_ended_at = GetCurrentTimestamp();
	if (!good)
	{
		hf_cache_fail(w, hf_redis_error(w->publisher.redis));
		return;
	}
	w->backoff = 0;
	if (w->troubled)
		ereport(LOG, (errmsg("holdfast has reached Redis again")));
	w->troubled = false;
}

/* Nothing is watched any more: takes the heartbeat back, if Redis can be reached, and exits. */
static void
hf_cache_leave(HfCacheWorker *w)
{
	w->beat_at = 0;
	if (w->publisher.redis != NULL)
		hf_cache_work(w);
	hf_worker_leave();
}

/* Looks whether all triggers are on, and leaves if there are none. */
static void
hf_cache_look_at_triggers(HfCacheWorker *w)
{
	char trouble[HF_CACHE_ERROR_MAX];
	bool was_blocked = w->publisher.blocked;
	int triggers;

	hf_worker_begin_looking();
	pg_atomic_write_u32(&w->db->recheck, 0);
	hf_cache_begin_transaction("looking at the triggers of watched tables");
	triggers = hf_cache_survey(trouble, sizeof(trouble));
	w->function = hf_cache_trigger_function();
	hf_cache_end_transaction();
	w->survey_at = GetCurrentTimestamp() + SURVEY_EVERY;
	w->publisher.blocked = triggers == 0 || trouble[0] != '\0';
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	w->db->report.blocked = w->publisher.blocked;
	LWLockRelease(hf_cache_ring_lock);
	if (trouble[0] != '\0')
		hf_cache_note_error(w, trouble);
	if (w->publisher.blocked && !was_blocked && trouble[0] != '\0')
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the cache is off until all watched tables are watched"),
				 errdetail("%s.", trouble)));
	if (was_blocked && !w->publisher.blocked)
		hf_publisher_drift(&w->publisher, "a trigger was off");
	if (triggers == 0)
		hf_cache_leave(w);
}

/* Lets keys gather: nobody wakes us for a moment. */
static void
hf_cache_pause(HfCacheWorker *w)
{
	if (GetCurrentTimestamp() - w->round_ended_at >= ROUND_PAUSE)
		return;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ROUND_PAUSE / MILLISECONDS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Waits until there is something to do, or something is due. */
static void
hf_cache_wait(HfCacheWorker *w)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = Min(w->survey_at, w->publisher.redis ? w->beat_at : w->retry_at);

	pg_atomic_write_u32(&w->db->asleep, 1);
	pg_memory_barrier();
	if (!(w->publisher.redis != NULL && hf_cache_has_work(w)) &&
		pg_atomic_read_u32(&w->db->recheck) == 0 && until > now)
		hf_worker_wait((until - now) / MILLISECONDS + 1);
	pg_atomic_write_u32(&w->db->asleep, 0);
}

/* The worker's main function. */
void
hf_cache_main(Datum slot)
{
	HfCacheWorker w = {0};

	hf_worker_begin(slot);
	hf_redis_prepare();
	hf_cache_begin_transaction("starting");
	w.db = hf_cache_ring_database(true);
	if (w.db != NULL)
		hf_publisher_init(&w.publisher, w.db);
	hf_cache_end_transaction();
	if (w.db == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases have watched tables"),
				 errdetail("There can be %d.", HF_CACHE_DATABASES)));
	hf_cache_ring_serve(w.db);
	for (;;)
	{
		hf_worker_take_settings();
		hf_publisher_reload(&w.publisher);
		if (GetCurrentTimestamp() >= w.survey_at || pg_atomic_read_u32(&w.db->recheck) != 0)
			hf_cache_look_at_triggers(&w);
		if (hf_cache_connect(&w) && hf_cache_has_work(&w))
		{
			hf_cache_pause(&w);
			hf_cache_work(&w);
		}
		else
			hf_cache_wait(&w);
	}
}
