/*
 * lane_set.c
 *		Changing how many lanes a SKU has: splitting, spreading, merging.
 *
 * Whoever does it holds the lock on the SKU's set of lanes.  New lanes are numbered on from the
 * last, and the last go first, so there are no gaps.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "lane_lock.h"
#include "lane_row.h"
#include "lane_set.h"

/*
 * Splits a contended lane, whose lock and row the caller has, into as many new lanes as buyers wait
 * for it, if its units allow.  Nobody waits for it: if another transaction is changing the set of
 * lanes, that will do.
 */
void
hf_lane_split(HfStore *store, int64 sku, int lane, int64 units, int waiters)
{
	int lanes, added;
	int64 share, left;

	if (units < 2 * HF_LANE_UNITS_MIN || !hf_lane_lock(store, sku, HF_LANE_SET, false))
		return;
	lanes = hf_lane_row_count(store, sku);
	added = Min(Min(Max(waiters, 1), hf_lane_max - lanes), units / HF_LANE_UNITS_MIN - 1);
	if (added < 1)
	{
		hf_lane_unlock(sku, HF_LANE_SET);
		return;
	}
	share = units / (added + 1);
	if (hf_lane_row_add(store, sku, lane, -share * added, true, &left) != HF_LANE_DONE)
		return;
	for (int i = 0; i < added; i++)
		hf_lane_row_insert(store, sku, lanes + i, share);
}

/* Writes the n lanes in `old`, all there are and all locked, as `lanes` equal ones. */
static void
hf_lane_share_out(HfStore *store, int64 sku, HfLane *old, int n, int lanes)
{
	int64 total = 0;

	for (int i = 0; i < n; i++)
		total += old[i].available;
	for (int i = 0; i < Max(lanes, n); i++)
	{
		int64 share = total / lanes + (i < total % lanes ? 1 : 0);

		if (i >= n)
			hf_lane_row_insert(store, sku, i, share);
		else if (i >= lanes)
			hf_lane_row_delete(store, &old[i]);
		else if (old[i].available != share)
		{
			old[i].available = share;
			hf_lane_row_set(store, &old[i]);
		}
	}
}

/* Spreads the SKU's units evenly over that many lanes; waits for buyers. 0 if it is unknown. */
int
hf_lane_spread(HfStore *store, int64 sku, int lanes)
{
	HfLane *old = palloc(sizeof(HfLane) * HF_LANE_LIMIT);
	int n;

	(void) hf_lane_lock(store, sku, HF_LANE_SET, true);
	n = hf_lane_row_count(store, sku);
	for (int i = 0; i < n; i++)
		(void) hf_lane_lock(store, sku, i, true);
	n = hf_lane_row_list(store, sku, NULL, old);
	if (n > 0)
		hf_lane_share_out(store, sku, old, n, lanes);
	else
		lanes = 0;
	pfree(old);
	return lanes;
}

/* The number of lanes that set_lanes() asked for, or 1. */
static int
hf_lane_floor(HfStore *store, int64 sku)
{
	HfTable *table = hf_row_table(store, HF_LANE_FLOOR);
	ScanKeyData key;
	HfScan scan;
	bool isnull;
	int lanes = 1;

	hf_row_key_int8(&key, 1, BTEqualStrategyNumber, F_INT8EQ, sku);
	hf_row_scan(&scan, table, table->primary, &key, 1, NULL);
	if (hf_row_next(&scan, ForwardScanDirection))
		lanes = DatumGetInt16(slot_getattr(table->found, 2, &isnull));
	hf_row_stop(&scan);
	return lanes;
}

/* Takes the locks of lanes 0 to n - 1, all or none, without waiting. */
static bool
hf_lane_lock_all(HfStore *store, int64 sku, int n)
{
	for (int locked = 0; locked < n; locked++)
	{
		if (hf_lane_lock(store, sku, locked, false))
			continue;
		while (locked > 0)
			hf_lane_unlock(sku, --locked);
		return false;
	}
	return true;
}

/* Halves the lanes if all are free and calm, and returns their number; if not, 0 and no locks. */
static int
hf_lane_merge_locked(HfStore *store, int64 sku, TimestampTz calm_before)
{
	int floor = hf_lane_floor(store, sku);
	int n = hf_lane_row_count(store, sku);
	HfLane *old;
	bool calm;

	if (n <= floor || !hf_lane_lock_all(store, sku, n))
		return 0;
	old = palloc(sizeof(HfLane) * HF_LANE_LIMIT);
	calm = hf_lane_row_list(store, sku, NULL, old) == n;
	for (int i = 0; i < n && calm; i++)
		calm = old[i].contended_at <= calm_before;
	if (calm)
		hf_lane_share_out(store, sku, old, n, Max(floor, n / 2));
	else
		while (n > 0)
			hf_lane_unlock(sku, --n);
	pfree(old);
	return n;
}

/*
 * Halves the lanes of a SKU that saw no contention since calm_before. Waits for nobody: a lane in
 * use is not calm. The number of locks it took, if it merged; else 0, and none are kept.
 */
int
hf_lane_merge(HfStore *store, int64 sku, TimestampTz calm_before)
{
	int locks;

	if (!hf_lane_lock(store, sku, HF_LANE_SET, false))
		return 0;
	locks = hf_lane_merge_locked(store, sku, calm_before);
	if (locks == 0)
		hf_lane_unlock(sku, HF_LANE_SET);
	return locks;
}
