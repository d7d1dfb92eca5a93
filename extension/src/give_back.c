/*
 * give_back.c
 *		The SQL function give_back(): sold units come back.
 *
 * The hold row counts what has come back, so that no more can than was sold.
 *
 * Locks: the hold row, then lanes.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "arguments.h"
#include "errors.h"
#include "hold.h"
#include "lane.h"
#include "movement.h"

PG_FUNCTION_INFO_V1(holdfast_give_back);

/* Refuses what was not sold, or has come back already; settles the quantity, 0 for all. */
static int64
hf_give_back_check(const HfHold *hold, int64 quantity)
{
	int64 left = hold->quantity - hold->returned;

	if (hold->state != HF_CONFIRMED)
		ereport(ERROR,
				(errcode(ERRCODE_HF_NOT_CONFIRMED), errmsg("hold has not been confirmed"),
				 errdetail("Owner %s has bought none of SKU %lld.", hf_uuid_text(&hold->owner),
						   (long long) hold->sku),
				 errhint("Units that are only held go back with holdfast.release().")));
	if (quantity > left || left == 0)
		ereport(ERROR,
				(errcode(ERRCODE_HF_EXCEEDS_SOLD), errmsg("more units than were sold"),
				 errdetail("Owner %s bought %lld of SKU %lld and has given back %lld.",
						   hf_uuid_text(&hold->owner), (long long) hold->quantity,
						   (long long) hold->sku, (long long) hold->returned)));
	return quantity == 0 ? left : quantity;
}

Datum
holdfast_give_back(PG_FUNCTION_ARGS)
{
	HfStore *store;
	HfHold hold;
	pg_uuid_t owner;
	int64 sku;
	int64 quantity = 0;
	int64 units;

	hf_argument_not_null(fcinfo, 0, "p_owner");
	hf_argument_not_null(fcinfo, 1, "p_sku");
	owner = *PG_GETARG_UUID_P(0);
	sku = PG_GETARG_INT64(1);
	if (!PG_ARGISNULL(2))
	{
		quantity = PG_GETARG_INT64(2);
		hf_argument_quantity(quantity, "p_quantity");
	}
	store = hf_row_begin("holdfast.give_back()");
	do
	{
		if (!hf_hold_find(store, &owner, sku, &hold))
			hf_raise_unknown_hold(&owner, &sku);
		units = hf_give_back_check(&hold, quantity);
		hold.returned += units;
	} while (hf_hold_update(store, &hold, true) != HF_WRITTEN);
	if (!hf_lane_give(store, sku, units))
		hf_raise_unknown_sku(sku);
	hf_movement_insert(store, HF_GIVEN_BACK, sku, units, GetCurrentTimestamp(), &owner,
					   PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3));
	hf_row_end(store);
	PG_RETURN_INT64(units);
}
