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
#include "lane_set.h"
#include "lane_lock.h"
#include "lane_row.h"
#include "reaper.h"

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
 * number. 0 if the SKU is busy.
 */
static int
hf_reaper_expire_sku(HfStore *store, int64 sku, int limit)
{
	int ended = 0;
	int64 units;

	if (!hf_lane_lock(sku, HF_LANE_SET, false))
		return 0;
	if (hf_lane_lock_free(store, sku) < 0)
	{
		hf_lane_unlock(sku, HF_LANE_SET);
		return 0;
	}
	/* The free lane is now ours, and so the first that giving tries. */
	units = hf_hold_expire(store, sku, PG_INT64_MAX, limit, false, &ended);
	if (units > 0)
		(void) hf_lane_give(store, sku, units);
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

	while (done < limit && hf_hold_next_due_sku(store, sku, GetCurrentTimestamp()))
	{
		done += hf_reaper_expire_sku(store, *sku, limit - done);
		/* At the limit there may be more of this SKU. */
		if (done < limit && hf_reaper_is_last(sku))
			break;
	}
	*ended += done;
	return done >= limit;
}

/* Merges lanes of calm SKUs from *sku on, up to `limit` of them. True if there may be more. */
bool
hf_reaper_merge(HfStore *store, int64 *sku, int limit)
{
	TimestampTz calm_before = GetCurrentTimestamp() - hf_lane_calm * USECS_PER_SEC;

	for (int merged = 0; merged < limit;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!hf_lane_row_next_spread_sku(store, sku))
			return false;
		if (hf_lane_merge(store, *sku, calm_before))
			merged++;
		if (hf_reaper_is_last(sku))
			return false;
	}
	return true;
}
