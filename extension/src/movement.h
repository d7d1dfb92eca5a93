/*
 * movement.h
 *		The stock ledger: one line for every change of the units in the house.
 */
#ifndef HF_MOVEMENT_H
#define HF_MOVEMENT_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "row.h"

#define HF_RECEIVED	  'r'
#define HF_ADJUSTED	  'a'
#define HF_SOLD		  's'
#define HF_GIVEN_BACK 'b'

/* owner and reference (a text datum) may be NULL or 0. */
extern void hf_movement_insert(HfStore *store, char kind, int64 sku, int64 quantity,
							   TimestampTz moved_at, const pg_uuid_t *owner, Datum reference);

#endif
