/*
 * cart.h
 *		What a payment does to the holds it pays for.
 */
#ifndef HF_CART_H
#define HF_CART_H

#include "hold.h"

extern int64 hf_cart_pin(HfStore *store, const pg_uuid_t *owner);
extern void hf_cart_unpin(HfStore *store, const pg_uuid_t *owner);
extern bool hf_cart_confirm(HfStore *store, const pg_uuid_t *owner, int64 cart);

#endif
