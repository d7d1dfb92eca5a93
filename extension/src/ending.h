/*
 * ending.h
 *		What a payment does to the holds it pays for.
 */
#ifndef HF_ENDING_H
#define HF_ENDING_H

#include "hold.h"

extern int64 hf_ending_pin(HfStore *store, const pg_uuid_t *owner);
extern void hf_ending_unpin(HfStore *store, const pg_uuid_t *owner);
extern bool hf_ending_confirm(HfStore *store, const pg_uuid_t *owner, int64 cart);

#endif
