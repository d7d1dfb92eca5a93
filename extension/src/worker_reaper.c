/*
 * worker_reaper.c
 *		The background worker that tidies up one database (reaper.c), sweep after sweep.
 *
 * Besides holds and lanes it looks after idempotency keys, and that watched tables have a cache
 * worker.  An error ends the process; the launcher
 * starts it again.  Between sweeps it holds nothing: no transaction, no snapshot, no lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "cache_trigger.h"
#include "guc.h"
#include "reaper.h"
#include "worker.h"

static bool
hf_reaper_expire_step(HfStore *store, int64 *sku)
{
	int64 ended = 0;

	return hf_reaper_expire(store, sku, hf_reaper_batch, &ended);
}

static bool
hf_reaper_merge_step(HfStore *store, int64 *sku)
{
	return hf_reaper_merge(store, sku);
}

/* Repeats a bounded step, each in a transaction of its own, until it has come through all SKUs. */
static void
hf_reaper_sweep(const char *activity, bool (*step)(HfStore *, int64 *))
{
	int64 sku = PG_INT64_MIN;
	bool more = true;

	while (more)
	{
		HfStore *store;

		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, activity);
		hf_worker_stay_if_needed();
		store = hf_row_begin("holdfast reaper");
		more = step(store, &sku);
		hf_row_end(store);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
}

/* Asks for a cache worker if tables are watched. Whoever watches one asks for it too. */
static void
hf_reaper_look_at_watches(void)
{
	char trouble[1];

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	hf_worker_stay_if_needed();
	if (hf_cache_survey(trouble, sizeof(trouble)) > 0)
		hf_launcher_want_cache();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/*
 * Drops old idempotency keys if it is time, by the function that does so for everybody: it runs
 * with its owner's rights, and is looked up without those of the worker, which has none.
 */
static void
hf_reaper_rotate_keys(void)
{
	Oid function;

	StartTransactionCommand();
	/* Whatever the default of the cluster: what is read after a lock must be new. */
	XactIsoLevel = XACT_READ_COMMITTED;
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "dropping old idempotency keys");
	hf_worker_stay_if_needed();
	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("rotate_keys"),
							   PointerGetDatum(buildoidvector(NULL, 0)),
							   ObjectIdGetDatum(get_namespace_oid("holdfast", true)));
	if (OidIsValid(function))
		(void) OidFunctionCall0(function);
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* The worker's main function. */
void
hf_reaper_main(Datum slot)
{
	TimestampTz rotate_at = 0;
	TimestampTz look_at = 0;

	hf_worker_begin(slot);
	for (;;)
	{
		TimestampTz start = GetCurrentTimestamp();
		int64 took;

		if (start >= look_at)
		{
			hf_reaper_look_at_watches();
			look_at = start + 60 * USECS_PER_SEC;
		}
		hf_reaper_sweep("ending expired holds", hf_reaper_expire_step);
		hf_reaper_sweep("merging calm lanes", hf_reaper_merge_step);
		/* Not at every sweep: if somebody has the old keys open, others wait a moment behind us. */
		if (start >= rotate_at)
		{
			hf_reaper_rotate_keys();
			rotate_at = start + Min(hf_key_retention, 60) * USECS_PER_SEC;
		}
		took = (GetCurrentTimestamp() - start) / 1000;
		hf_worker_wait(Max(hf_reaper_interval, Min(took, PG_INT32_MAX) * 10));
	}
}
