/*
 * reaper.c
 *		Tidying up: ending due holds and merging calm lanes, SKU by SKU.
 *
 * Nothing depends on it being done: reserve() and available() count from the deadline.  It waits
 * for nobody: a SKU whose set of lanes is locked, or a row that is being changed, is left for the
 * next sweep.  Work is bounded per transaction and resumes after the SKU it came to, so that one
 * busy SKU cannot starve the others.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "hold.h"
#include "lane.h"
#include "lane_lock.h"
#include "lane_row.h"
#include "lane_set.h"
#include "reaper.h"

/* Bounds of one transaction, for the sake of the shared lock table. */
#define SKUS_MAX  256
#define LOCKS_MAX 256

/* Moves on to the next SKU; true if there is none. */
static bool
hf_reaper_is_last(int64 *sku)
{
	if (*sku == PG_INT64_MAX)
		return true;
	(*sku)++;
	return false;
}

/*
 * Ends due holds of one SKU and puts their units into a lane that nobody is using; returns their
 * number. 0 if the SKU is busy, or has no lanes: a dump is being restored, which writes holds
 * first.
 */
static int
hf_reaper_expire_sku(HfStore *store, int64 sku, int limit)
{
	int ended = 0;
	int lane = -1;
	int64 units;

	if (!hf_lane_lock(store, sku, HF_LANE_SET, false))
		return 0;
	if (hf_lane_row_count(store, sku) > 0)
		lane = hf_lane_lock_free(store, sku);
	if (lane < 0)
	{
		hf_lane_unlock(sku, HF_LANE_SET);
		return 0;
	}
	units = hf_hold_expire(store, sku, PG_INT64_MAX, limit, false, &ended);
	if (units > 0)
		hf_lane_put(store, sku, lane, units);
	return ended;
}

/*
 * Ends due holds of SKUs from *sku on, up to `limit`; adds their number to *ended. True if it
 * stopped at the limit: call again, in another transaction, to go on at *sku.
 */
bool
hf_reaper_expire(HfStore *store, int64 *sku, int limit, int64 *ended)
{
	int done = 0;
	int skus = 0;

	while (done < limit && skus++ < SKUS_MAX &&
		   hf_hold_next_due_sku(store, sku, GetCurrentTimestamp()))
	{
		done += hf_reaper_expire_sku(store, *sku, limit - done);
		/* At the limit there may be more of this SKU. */
		if (done < limit && hf_reaper_is_last(sku))
			break;
	}
	*ended += done;
	return done >= limit || skus > SKUS_MAX;
}

/*
 * Merges lanes of calm SKUs from *sku on, until some LOCKS_MAX lanes are locked. True if there may
 * be more: call again, in another transaction, to go on at *sku.
 */
bool
hf_reaper_merge(HfStore *store, int64 *sku)
{
	for (int locks = 0; locks < LOCKS_MAX;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!hf_lane_row_next_spread_sku(store, sku))
			return false;
		locks += hf_lane_merge(store, *sku, GetCurrentTimestamp() - hf_lane_calm * USECS_PER_SEC);
		if (hf_reaper_is_last(sku))
			return false;
	}
	return true;
}
