/*
 * hold.c
 *		Rows of _holdfast.hold: finding, writing and expiring them.
 *
 * A hold in state 'h' whose deadline has passed is due: its units count as available from that
 * instant, but the row still says 'h' until somebody tidies it up: reserve() when it needs the
 * units, or the reaper.  Only hf_hold_expire() does that, with the lock on the SKU's set of lanes
 * held (lane.c), so that two never do it for one SKU at a time.
 *
 * Lock order: the owner's hold rows come before lanes.  Expiring is the one place that goes from
 * lanes to hold rows; it passes over rows that somebody is changing, and waits for them only when
 * units are needed that it cannot find elsewhere.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "hold.h"

/* Columns of _holdfast.hold, as sql/stock.sql creates them. */
enum
{
	COL_OWNER = 1,
	COL_SKU,
	COL_QUANTITY,
	COL_RETURNED,
	COL_HELD_AT,
	COL_EXPIRES_AT,
	COL_ENDED_AT,
	COL_STATE
};
#define COLUMNS COL_STATE

/* Columns of the two indexes. */
enum
{
	KEY_OWNER = 1,
	KEY_SKU
};
enum
{
	DUE_SKU = 1,
	DUE_EXPIRES_AT
};

static void
hf_hold_read(TupleTableSlot *slot, HfHold *hold)
{
	slot_getallattrs(slot);
	hold->tid = slot->tts_tid;
	hold->owner = *DatumGetUUIDP(slot->tts_values[COL_OWNER - 1]);
	hold->sku = DatumGetInt64(slot->tts_values[COL_SKU - 1]);
	hold->quantity = DatumGetInt64(slot->tts_values[COL_QUANTITY - 1]);
	hold->returned = DatumGetInt64(slot->tts_values[COL_RETURNED - 1]);
	hold->held_at = DatumGetTimestampTz(slot->tts_values[COL_HELD_AT - 1]);
	hold->expires_at = DatumGetTimestampTz(slot->tts_values[COL_EXPIRES_AT - 1]);
	hold->ended_at = DatumGetTimestampTz(slot->tts_values[COL_ENDED_AT - 1]);
	hold->state = DatumGetChar(slot->tts_values[COL_STATE - 1]);
}

static void
hf_hold_form(const HfHold *hold, Datum *values)
{
	values[COL_OWNER - 1] = UUIDPGetDatum(&hold->owner);
	values[COL_SKU - 1] = Int64GetDatum(hold->sku);
	values[COL_QUANTITY - 1] = Int64GetDatum(hold->quantity);
	values[COL_RETURNED - 1] = Int64GetDatum(hold->returned);
	values[COL_HELD_AT - 1] = TimestampTzGetDatum(hold->held_at);
	values[COL_EXPIRES_AT - 1] = TimestampTzGetDatum(hold->expires_at);
	values[COL_ENDED_AT - 1] = TimestampTzGetDatum(hold->ended_at);
	values[COL_STATE - 1] = CharGetDatum(hold->state);
}

static void
hf_hold_key(ScanKeyData *keys, const pg_uuid_t *owner, int64 sku)
{
	ScanKeyInit(&keys[0], KEY_OWNER, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(owner));
	hf_row_key_int8(&keys[1], KEY_SKU, BTEqualStrategyNumber, F_INT8EQ, sku);
}

/* Reads the hold as of now; false if there is none. */
bool
hf_hold_find(HfStore *store, const pg_uuid_t *owner, int64 sku, HfHold *hold)
{
	HfTable *table = hf_row_table(store, HF_HOLD);
	ScanKeyData keys[2];
	HfScan scan;
	bool found;

	hf_hold_key(keys, owner, sku);
	hf_row_scan(&scan, table, table->primary, keys, 2, NULL);
	found = hf_row_next(&scan, ForwardScanDirection);
	if (found)
		hf_hold_read(table->found, hold);
	hf_row_stop(&scan);
	return found;
}

/*
 * Reads the hold and locks its row until the transaction ends; waits for whoever is making or
 * changing it. False if there is none (known: as in row_wait.c).
 */
bool
hf_hold_find_and_lock(HfStore *store, const pg_uuid_t *owner, int64 sku, bool known, HfHold *hold)
{
	HfTable *table = hf_row_table(store, HF_HOLD);
	ScanKeyData keys[2];

	hf_hold_key(keys, owner, sku);
	if (!hf_row_find_and_lock(store, table, keys, 2, known))
		return false;
	hf_hold_read(table->found, hold);
	return true;
}

/* Is there a hold, or is one being made? Waits for nobody. */
bool
hf_hold_exists(HfStore *store, const pg_uuid_t *owner, int64 sku)
{
	HfTable *table = hf_row_table(store, HF_HOLD);
	ScanKeyData keys[2];
	TransactionId rival;

	hf_hold_key(keys, owner, sku);
	return hf_row_peek(table, table->primary, keys, 2, &rival);
}

/* All holds of the owner, by SKU; palloc'd. */
int
hf_hold_list(HfStore *store, const pg_uuid_t *owner, HfHold **holds)
{
	HfTable *table = hf_row_table(store, HF_HOLD);
	ScanKeyData key;
	HfScan scan;
	int n = 0, room = 8;

	*holds = palloc(sizeof(HfHold) * room);
	ScanKeyInit(&key, KEY_OWNER, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(owner));
	hf_row_scan(&scan, table, table->primary, &key, 1, NULL);
	while (hf_row_next(&scan, ForwardScanDirection))
	{
		if (n == room)
			*holds = repalloc(*holds, sizeof(HfHold) * (room *= 2));
		hf_hold_read(table->found, &(*holds)[n++]);
	}
	hf_row_stop(&scan);
	return n;
}

/* Inserts holds, best in key order. 40001 if one is there. */
void
hf_hold_insert(HfStore *store, const HfHold *holds, int n)
{
	HfTable *table = hf_row_table(store, HF_HOLD);
	Datum *values = palloc(sizeof(Datum) * COLUMNS * n);

	for (int i = 0; i < n; i++)
		hf_hold_form(&holds[i], values + (Size) i * COLUMNS);
	if (n == 1)
		hf_row_insert(store, table, values, NULL);
	else
		hf_row_insert_many(store, table, values, n);
	pfree(values);
}

/* Writes the hold in place of the version it was read from. */
HfWrite
hf_hold_update(HfStore *store, const HfHold *hold, bool wait)
{
	Datum values[COLUMNS];
	ItemPointerData tid = hold->tid;

	hf_hold_form(hold, values);
	return hf_row_update(store, hf_row_table(store, HF_HOLD), &tid, values, NULL, wait);
}

static void
hf_hold_scan_due(HfScan *scan, HfTable *table, int64 sku, TimestampTz now, Snapshot snapshot)
{
	ScanKeyData keys[2];

	hf_row_key_int8(&keys[0], DUE_SKU, BTEqualStrategyNumber, F_INT8EQ, sku);
	ScanKeyInit(&keys[1], DUE_EXPIRES_AT, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(now));
	hf_row_scan(scan, table, table->second, keys, 2, snapshot);
}

/* Units of the SKU in holds that are due and not yet tidied up. */
int64
hf_hold_due_units(HfStore *store, int64 sku, TimestampTz now, Snapshot snapshot)
{
	HfTable *table = hf_row_table(store, HF_HOLD);
	HfScan scan;
	int64 units = 0;

	hf_hold_scan_due(&scan, table, sku, now, snapshot);
	while (hf_row_next(&scan, ForwardScanDirection))
	{
		bool isnull;

		units += DatumGetInt64(slot_getattr(table->found, COL_QUANTITY, &isnull));
	}
	hf_row_stop(&scan);
	return units;
}

/*
 * Ends due holds of the SKU, earliest deadline first, until at least `units` units have come
 * together or `limit` holds have ended; returns the units, which now are the caller's to put into
 * a lane.  Rows that another transaction is changing are passed over, unless `wait`.  The caller
 * holds the lock on the SKU's set of lanes.
 */
int64
hf_hold_expire(HfStore *store, int64 sku, int64 units, int limit, bool wait, int *ended)
{
	HfTable *table = hf_row_table(store, HF_HOLD);
	TimestampTz now = GetCurrentTimestamp();
	HfScan scan;
	int n = 0, room = 64;
	HfHold *due = palloc(sizeof(HfHold) * room);
	int64 planned = 0, got = 0;

	hf_hold_scan_due(&scan, table, sku, now, NULL);
	while (n < limit && planned < units && hf_row_next(&scan, ForwardScanDirection))
	{
		if (n == room)
			due = repalloc(due, sizeof(HfHold) * (room *= 2));
		hf_hold_read(table->found, &due[n]);
		planned += due[n++].quantity;
	}
	hf_row_stop(&scan);

	*ended = 0;
	for (int i = 0; i < n; i++)
	{
		due[i].state = HF_EXPIRED;
		due[i].ended_at = due[i].expires_at;
		/* Changed or busy: its owner is ending or extending it, and that decides. */
		if (hf_hold_update(store, &due[i], wait) == HF_WRITTEN)
		{
			got += due[i].quantity;
			(*ended)++;
		}
	}
	pfree(due);
	return got;
}

/*
 * Moves *sku to the lowest SKU, not below it, that has a due hold; false if there is none. Skips
 * from SKU to SKU through the index.
 */
bool
hf_hold_next_due_sku(HfStore *store, int64 *sku, TimestampTz now)
{
	HfTable *table = hf_row_table(store, HF_HOLD);

	for (;;)
	{
		ScanKeyData key;
		HfScan scan;
		HfHold hold;
		bool found;

		CHECK_FOR_INTERRUPTS();
		hf_row_key_int8(&key, DUE_SKU, BTGreaterEqualStrategyNumber, F_INT8GE, *sku);
		hf_row_scan(&scan, table, table->second, &key, 1, NULL);
		found = hf_row_next(&scan, ForwardScanDirection);
		if (found)
			hf_hold_read(table->found, &hold);
		hf_row_stop(&scan);
		if (!found)
			return false;
		*sku = hold.sku;
		if (hold.expires_at <= now)
			return true;
		if (*sku == PG_INT64_MAX)
			return false;
		(*sku)++;
	}
}

/* The SQLSTATE that tells how a hold that is no longer live has ended. */
int
hf_hold_ending(const HfHold *hold)
{
	switch (hold->state)
	{
		case HF_CONFIRMED:
			return ERRCODE_HF_HOLD_CONFIRMED;
		case HF_RELEASED:
			return ERRCODE_HF_HOLD_RELEASED;
		default:
			return ERRCODE_HF_HOLD_EXPIRED;
	}
}

/* The same in words: "hold has ...". */
const char *
hf_hold_ending_name(const HfHold *hold)
{
	switch (hold->state)
	{
		case HF_CONFIRMED:
			return "been confirmed";
		case HF_RELEASED:
			return "been released";
		default:
			return "expired";
	}
}
