/*
 * worker_reaper.c
 *		The background worker that tidies up one database (reaper.c), sweep after sweep.
 *
 * An error ends the process; the launcher starts it again.  Between sweeps it holds nothing: no
 * transaction, no snapshot, no lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

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
		if (!hf_worker_is_needed())
			proc_exit(0);
		store = hf_row_begin("holdfast reaper");
		more = step(store, &sku);
		hf_row_end(store);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
}

/* The worker's main function. */
void
hf_reaper_main(Datum slot)
{
	hf_worker_begin(slot);
	for (;;)
	{
		TimestampTz start = GetCurrentTimestamp();
		int64 took;

		hf_reaper_sweep("ending expired holds", hf_reaper_expire_step);
		hf_reaper_sweep("merging calm lanes", hf_reaper_merge_step);
		took = (GetCurrentTimestamp() - start) / 1000;
		hf_worker_wait(Max(hf_reaper_interval, Min(took, PG_INT32_MAX) * 10));
	}
}
