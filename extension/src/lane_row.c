/*
 * lane_row.c
 *		Rows of _holdfast.stock_lane: the conditional update that cannot oversell.
 *
 * hf_lane_row_add() is the guarantee.  It computes from the row version it has read with a fresh
 * snapshot, refuses to go below zero, and is written only if that version is still the current one;
 * otherwise it reads again.  The CHECK constraint stands behind it.  Neither needs the lane lock.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "guc.h"
#include "lane_row.h"

/* Columns of _holdfast.stock_lane, as sql/stock.sql creates them. */
enum
{
	COL_SKU = 1,
	COL_LANE,
	COL_AVAILABLE,
	COL_CONTENDED_AT
};
#define COLUMNS COL_CONTENDED_AT

static void
hf_lane_row_read(TupleTableSlot *slot, HfLane *row)
{
	slot_getallattrs(slot);
	row->tid = slot->tts_tid;
	row->sku = DatumGetInt64(slot->tts_values[COL_SKU - 1]);
	row->lane = DatumGetInt16(slot->tts_values[COL_LANE - 1]);
	row->available = DatumGetInt64(slot->tts_values[COL_AVAILABLE - 1]);
	row->contended_at = DatumGetTimestampTz(slot->tts_values[COL_CONTENDED_AT - 1]);
}

static void
hf_lane_row_form(const HfLane *row, Datum *values)
{
	values[COL_SKU - 1] = Int64GetDatum(row->sku);
	values[COL_LANE - 1] = Int16GetDatum(row->lane);
	values[COL_AVAILABLE - 1] = Int64GetDatum(row->available);
	values[COL_CONTENDED_AT - 1] = TimestampTzGetDatum(row->contended_at);
}

/* Where this session has last found a lane, so that it need not ask the index again. */
typedef struct HfSpot
{
	Oid relid; /* 0: empty */
	int64 sku;
	int lane;
	ItemPointerData root;
} HfSpot;

#define SPOT_BITS 8
static HfSpot spots[1 << SPOT_BITS];

/* Reads one lane with a fresh snapshot; false if there is none. */
bool
hf_lane_row_find(HfStore *store, int64 sku, int lane, HfLane *row)
{
	HfTable *table = hf_row_table(store, HF_LANE);
	HfSpot *spot =
		&spots[(((uint64) sku * 31 + lane) * UINT64CONST(0x9E3779B97F4A7C15)) >> (64 - SPOT_BITS)];
	ScanKeyData keys[2];
	HfScan scan;
	bool found;

	if (spot->relid == RelationGetRelid(table->rel) && spot->sku == sku && spot->lane == lane &&
		hf_row_fetch(table, spot->root))
	{
		hf_lane_row_read(table->found, row);
		if (row->sku == sku && row->lane == lane)
			return true;
	}
	hf_row_key_int8(&keys[0], COL_SKU, BTEqualStrategyNumber, F_INT8EQ, sku);
	ScanKeyInit(&keys[1], COL_LANE, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(lane));
	hf_row_scan(&scan, table, table->primary, keys, 2, NULL);
	found = hf_row_next(&scan, ForwardScanDirection);
	if (found)
	{
		hf_lane_row_read(table->found, row);
		*spot = (HfSpot){RelationGetRelid(table->rel), sku, lane, scan.root};
	}
	hf_row_stop(&scan);
	return found;
}

/*
 * Reads all lanes of the SKU in one snapshot, ascending, into room for HF_LANE_LIMIT rows; 0 if the
 * SKU is unknown.
 */
int
hf_lane_row_list(HfStore *store, int64 sku, Snapshot snapshot, HfLane *rows)
{
	HfTable *table = hf_row_table(store, HF_LANE);
	ScanKeyData key;
	HfScan scan;
	int n = 0;

	hf_row_key_int8(&key, COL_SKU, BTEqualStrategyNumber, F_INT8EQ, sku);
	hf_row_scan(&scan, table, table->primary, &key, 1, snapshot);
	while (n < HF_LANE_LIMIT && hf_row_next(&scan, ForwardScanDirection))
		hf_lane_row_read(table->found, &rows[n++]);
	hf_row_stop(&scan);
	return n;
}

/* How many lanes the SKU has, by one look at the last; 0 if the SKU is unknown. */
int
hf_lane_row_count(HfStore *store, int64 sku)
{
	HfTable *table = hf_row_table(store, HF_LANE);
	ScanKeyData key;
	HfScan scan;
	HfLane last = {.lane = -1};

	hf_row_key_int8(&key, COL_SKU, BTEqualStrategyNumber, F_INT8EQ, sku);
	hf_row_scan(&scan, table, table->primary, &key, 1, NULL);
	if (hf_row_next(&scan, BackwardScanDirection))
		hf_lane_row_read(table->found, &last);
	hf_row_stop(&scan);
	return last.lane + 1;
}

/*
 * Adds delta units to a lane, or takes -delta from it if it has as many. *left is what the lane
 * has afterwards, or has if it is too few.
 */
HfLaneChange
hf_lane_row_add(HfStore *store, int64 sku, int lane, int64 delta, bool contended, int64 *left)
{
	for (;;)
	{
		HfLane row;
		Datum values[COLUMNS];

		CHECK_FOR_INTERRUPTS();
		if (!hf_lane_row_find(store, sku, lane, &row))
			return HF_LANE_GONE;
		*left = row.available;
		if (row.available + Min(delta, 0) < 0)
			return HF_LANE_TOO_FEW;
		if (pg_add_s64_overflow(row.available, delta, &row.available))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("stock out of range"),
					 errdetail("SKU %lld has %lld units available in a lane; %lld more do not "
							   "fit.",
							   (long long) sku, (long long) *left, (long long) delta)));
		if (contended)
			row.contended_at = GetCurrentTimestamp();
		hf_lane_row_form(&row, values);
		if (hf_row_update(store, hf_row_table(store, HF_LANE), &row.tid, values, NULL, true) ==
			HF_WRITTEN)
		{
			*left = row.available;
			return HF_LANE_DONE;
		}
	}
}

/* Raises what a writer without the lane lock has made of a row that we hold the lane lock of. */
static void
hf_lane_row_expect(HfWrite result)
{
	if (result != HF_WRITTEN)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to lanes due to concurrent update"),
				 errhint("Try again.")));
}

/* Writes a lane that was read under its lock. */
void
hf_lane_row_set(HfStore *store, const HfLane *row)
{
	ItemPointerData tid = row->tid;
	Datum values[COLUMNS];

	hf_lane_row_form(row, values);
	hf_lane_row_expect(
		hf_row_update(store, hf_row_table(store, HF_LANE), &tid, values, NULL, true));
}

/*
 * Makes a lane; the caller holds its lock or that of the SKU's set of lanes.  A lane that our
 * snapshot could not see means: try again.
 */
void
hf_lane_row_insert(HfStore *store, int64 sku, int lane, int64 available)
{
	HfLane row = {.sku = sku, .lane = lane, .available = available, .contended_at = DT_NOBEGIN};
	Datum values[COLUMNS];

	hf_lane_row_form(&row, values);
	hf_row_insert(store, hf_row_table(store, HF_LANE), values, NULL);
}

/* Deletes a lane that was read under its lock. */
void
hf_lane_row_delete(HfStore *store, const HfLane *row)
{
	ItemPointerData tid = row->tid;

	hf_lane_row_expect(hf_row_delete(store, hf_row_table(store, HF_LANE), &tid));
}

/*
 * Moves *sku to the lowest SKU, not below it, that has more than one lane; false if there is none.
 */
bool
hf_lane_row_next_spread_sku(HfStore *store, int64 *sku)
{
	HfTable *table = hf_row_table(store, HF_LANE);
	ScanKeyData key;
	HfScan scan;
	HfLane row;
	bool found;

	hf_row_key_int8(&key, COL_SKU, BTGreaterEqualStrategyNumber, F_INT8GE, *sku);
	hf_row_scan(&scan, table, table->second, &key, 1, NULL);
	found = hf_row_next(&scan, ForwardScanDirection);
	if (found)
		hf_lane_row_read(table->found, &row);
	hf_row_stop(&scan);
	if (found)
		*sku = row.sku;
	return found;
}
