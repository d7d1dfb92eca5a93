/*
 * movement.c
 *		The stock ledger, _holdfast.stock_movement: append-only.
 *
 * Units enter the house when they are received, adjusted up or given back, and leave it when they
 * are sold or adjusted down.  Holding, releasing and expiring moves no unit, so it writes no line:
 * the hold rows themselves are that record.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "movement.h"
#include "uuid7.h"

/* Columns of _holdfast.stock_movement, as sql/stock.sql creates them. */
enum
{
	COL_SKU = 1,
	COL_ID,
	COL_QUANTITY,
	COL_MOVED_AT,
	COL_KIND,
	COL_OWNER,
	COL_REFERENCE
};
#define COLUMNS COL_REFERENCE

/* Writes one line; quantity is what the house gains. */
void
hf_movement_insert(HfStore *store, char kind, int64 sku, int64 quantity, TimestampTz moved_at,
				   const pg_uuid_t *owner, Datum reference)
{
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = {0};
	pg_uuid_t id;

	hf_uuid7_make(&id);
	values[COL_SKU - 1] = Int64GetDatum(sku);
	values[COL_ID - 1] = UUIDPGetDatum(&id);
	values[COL_QUANTITY - 1] = Int64GetDatum(quantity);
	values[COL_MOVED_AT - 1] = TimestampTzGetDatum(moved_at);
	values[COL_KIND - 1] = CharGetDatum(kind);
	values[COL_OWNER - 1] = UUIDPGetDatum(owner);
	values[COL_REFERENCE - 1] = reference;
	nulls[COL_OWNER - 1] = owner == NULL;
	nulls[COL_REFERENCE - 1] = reference == (Datum) 0;
	hf_row_insert(store, hf_row_table(store, HF_MOVEMENT), values, nulls);
}
