/*
 * hold.h
 *		Rows of _holdfast.hold.
 */
#ifndef HF_HOLD_H
#define HF_HOLD_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "row.h"

#define HF_HELD		 'h'
#define HF_CONFIRMED 'c'
#define HF_RELEASED	 'r'
#define HF_EXPIRED	 'x'

typedef struct HfHold
{
	ItemPointerData tid; /* the version that was read */
	pg_uuid_t owner;
	int64 sku;
	int64 quantity;
	int64 returned;
	TimestampTz held_at;
	TimestampTz expires_at; /* infinity: pinned */
	TimestampTz ended_at;	/* infinity: live, or expired and not yet tidied up */
	char state;
} HfHold;

/* Whether the hold has units at this instant. */
static inline bool
hf_hold_is_live(const HfHold *hold, TimestampTz now)
{
	return hold->state == HF_HELD && hold->expires_at > now;
}

static inline bool
hf_hold_is_due(const HfHold *hold, TimestampTz now)
{
	return hold->state == HF_HELD && hold->expires_at <= now;
}

static inline bool
hf_hold_is_pinned(const HfHold *hold)
{
	return hold->state == HF_HELD && TIMESTAMP_IS_NOEND(hold->expires_at);
}

extern bool hf_hold_find(HfStore *store, const pg_uuid_t *owner, int64 sku, HfHold *hold);
extern bool hf_hold_find_and_lock(HfStore *store, const pg_uuid_t *owner, int64 sku, bool known,
								  HfHold *hold);
extern int hf_hold_list(HfStore *store, const pg_uuid_t *owner, HfHold **holds);
extern void hf_hold_insert(HfStore *store, const HfHold *holds, int n);
extern bool hf_hold_exists(HfStore *store, const pg_uuid_t *owner, int64 sku);
extern HfWrite hf_hold_update(HfStore *store, const HfHold *hold, bool wait);
extern int64 hf_hold_due_units(HfStore *store, int64 sku, TimestampTz now, Snapshot snapshot);
extern int64 hf_hold_expire(HfStore *store, int64 sku, int64 units, int limit, bool wait,
							int *ended);
extern bool hf_hold_next_due_sku(HfStore *store, int64 *sku, TimestampTz now);
extern int hf_hold_ending(const HfHold *hold);
extern const char *hf_hold_ending_name(const HfHold *hold);

#endif
