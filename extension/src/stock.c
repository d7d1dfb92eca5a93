/*
 * stock.c
 *		SQL functions about a SKU's units: receive(), adjust(), available(), set_lanes(), reap().
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "errors.h"
#include "guc.h"
#include "lane.h"
#include "lane_set.h"
#include "movement.h"
#include "reaper.h"

PG_FUNCTION_INFO_V1(holdfast_receive);
PG_FUNCTION_INFO_V1(holdfast_adjust);
PG_FUNCTION_INFO_V1(holdfast_available);
PG_FUNCTION_INFO_V1(holdfast_set_lanes);
PG_FUNCTION_INFO_V1(holdfast_reap);

static int64
hf_stock_available(HfStore *store, int64 sku)
{
	int64 units;
	int lanes;

	return hf_lane_total(store, sku, &units, &lanes) ? units : 0;
}

Datum
holdfast_receive(PG_FUNCTION_ARGS)
{
	HfStore *store;
	int64 sku, quantity, available;

	hf_argument_not_null(fcinfo, 0, "p_sku");
	hf_argument_not_null(fcinfo, 1, "p_quantity");
	sku = PG_GETARG_INT64(0);
	quantity = PG_GETARG_INT64(1);
	hf_argument_quantity(quantity, "p_quantity");
	hf_argument_units(quantity, "p_quantity");

	store = hf_row_begin("holdfast.receive()");
	hf_lane_receive(store, sku, quantity);
	hf_movement_insert(store, HF_RECEIVED, sku, quantity, GetCurrentTimestamp(), NULL,
					   PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2));
	available = hf_stock_available(store, sku);
	hf_row_end(store);
	PG_RETURN_INT64(available);
}

/* Takes units out of stock that no longer exist, or refuses to go below zero. */
static void
hf_stock_shrink(HfStore *store, int64 sku, int64 units)
{
	int64 left;
	int lane;

	switch (hf_lane_take(store, sku, units, HF_ALL_OR_NONE, &left, &lane))
	{
		case HF_TAKEN:
			return;
		case HF_UNKNOWN_SKU:
			hf_raise_unknown_sku(sku);
			break;
		case HF_SHORT:
			ereport(ERROR,
					(errcode(ERRCODE_HF_STOCK_BELOW_ZERO), errmsg("stock would fall below zero"),
					 errdetail("SKU %lld has %lld units available; %lld are to be taken away.",
							   (long long) sku, (long long) left, (long long) units),
					 errhint(
						 "Units that are held must be released before they can be written off.")));
	}
}

Datum
holdfast_adjust(PG_FUNCTION_ARGS)
{
	HfStore *store;
	int64 sku, delta, available;

	hf_argument_not_null(fcinfo, 0, "p_sku");
	hf_argument_not_null(fcinfo, 1, "p_delta");
	hf_argument_not_null(fcinfo, 2, "p_reason");
	sku = PG_GETARG_INT64(0);
	delta = PG_GETARG_INT64(1);
	if (delta == 0)
		ereport(ERROR, (errcode(ERRCODE_HF_INVALID_QUANTITY), errmsg("p_delta is zero")));
	hf_argument_units(delta, "p_delta");

	store = hf_row_begin("holdfast.adjust()");
	if (delta < 0)
		hf_stock_shrink(store, sku, -delta);
	else if (!hf_lane_give(store, sku, delta))
		hf_raise_unknown_sku(sku);
	hf_movement_insert(store, HF_ADJUSTED, sku, delta, GetCurrentTimestamp(), NULL,
					   PG_GETARG_DATUM(2));
	available = hf_stock_available(store, sku);
	hf_row_end(store);
	PG_RETURN_INT64(available);
}

Datum
holdfast_available(PG_FUNCTION_ARGS)
{
	HfStore *store = hf_row_begin_reading();
	int64 units;
	int lanes;
	bool known = hf_lane_total(store, PG_GETARG_INT64(0), &units, &lanes);

	hf_row_end(store);
	if (!known)
		PG_RETURN_NULL();
	PG_RETURN_INT64(units);
}

/* Remembers, or forgets, how many lanes the reaper must leave the SKU. */
static void
hf_stock_set_lane_floor(HfStore *store, int64 sku, int lanes)
{
	HfTable *table = hf_row_table(store, HF_LANE_FLOOR);
	Datum values[2] = {Int64GetDatum(sku), Int16GetDatum(lanes)};
	ScanKeyData key;
	HfScan scan;
	ItemPointerData tid;
	HfWrite result = HF_WRITTEN;
	bool found;

	hf_row_key_int8(&key, 1, BTEqualStrategyNumber, F_INT8EQ, sku);
	hf_row_scan(&scan, table, table->primary, &key, 1, NULL);
	found = hf_row_next(&scan, ForwardScanDirection);
	tid = table->found->tts_tid;
	hf_row_stop(&scan);
	if (found && lanes == 1)
		result = hf_row_delete(store, table, &tid);
	else if (found)
		result = hf_row_update(store, table, &tid, values, NULL, true);
	else if (lanes > 1)
		hf_row_insert(store, table, values, NULL);
	if (result != HF_WRITTEN)
		hf_raise_changed();
}

Datum
holdfast_set_lanes(PG_FUNCTION_ARGS)
{
	HfStore *store;
	int64 sku;
	int lanes;

	hf_argument_not_null(fcinfo, 0, "p_sku");
	hf_argument_not_null(fcinfo, 1, "p_lanes");
	sku = PG_GETARG_INT64(0);
	lanes = PG_GETARG_INT32(1);
	if (lanes < 1 || lanes > hf_lane_max)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_LANES), errmsg("invalid number of lanes"),
				 errdetail("It is %d; it must be from 1 to %d.", lanes, hf_lane_max),
				 errhint("The setting holdfast.lane_max is the limit.")));

	store = hf_row_begin("holdfast.set_lanes()");
	if (hf_lane_spread(store, sku, lanes) == 0)
		hf_raise_unknown_sku(sku);
	hf_stock_set_lane_floor(store, sku, lanes);
	hf_row_end(store);
	PG_RETURN_INT32(lanes);
}

Datum
holdfast_reap(PG_FUNCTION_ARGS)
{
	int limit = PG_ARGISNULL(0) ? hf_reaper_batch : PG_GETARG_INT32(0);
	HfStore *store;
	int64 ended = 0;
	int64 sku = PG_INT64_MIN;

	hf_argument_quantity(limit, "p_limit");
	store = hf_row_begin("holdfast.reap()");
	while (hf_reaper_expire(store, &sku, limit - ended, &ended) && ended < limit)
		;
	sku = PG_INT64_MIN;
	(void) hf_reaper_merge(store, &sku);
	hf_row_end(store);
	PG_RETURN_INT64(ended);
}
