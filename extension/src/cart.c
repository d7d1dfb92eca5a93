/*
 * cart.c
 *		What a payment does to the holds it pays for.
 *
 * From the request until the provider has answered, all that the owner holds is pinned; then it is
 * sold, or gets a deadline again.  What was pinned is remembered as a number, so that only that is
 * sold for the money: an owner can hold more, less or other units meanwhile.
 *
 * Locks: the caller has the payment's row; hold rows follow, by SKU.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "arguments.h"
#include "cart.h"
#include "digest.h"
#include "ending.h"
#include "movement.h"

/* What is held, SKU by SKU, as a number: the first bytes of a SHA-256. */
static int64
hf_cart_number(const HfEnding *e)
{
	int64 *cart = palloc(sizeof(int64) * 2 * Max(e->n, 1));
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	int64 result;

	for (int i = 0; i < e->n; i++)
	{
		cart[2 * i] = e->line[i].hold.sku;
		cart[2 * i + 1] = e->line[i].hold.quantity;
	}
	hf_digest_make(cart, sizeof(int64) * 2 * e->n, digest);
	memcpy(&result, digest, sizeof(result));
	pfree(cart);
	return result;
}

/* Pins all holds of the owner, who must have some and none expired. Returns what they are. */
int64
hf_cart_pin(HfStore *store, const pg_uuid_t *owner)
{
	HfEnding e = {.store = store, .owner = *owner};

	hf_ending_all_lines(&e, true);
	(void) hf_ending_act(&e, hf_act_pin);
	return hf_cart_number(&e);
}

/*
 * Locks the owner's live holds, into e->line.  Dead ones are passed over, tidied up or not: who
 * must know what is missing compares hf_cart_number().
 */
static void
hf_cart_lock(HfEnding *e)
{
	HfHold *holds;
	int n = hf_hold_list(e->store, &e->owner, &holds);

	e->line = palloc0(sizeof(HfLine) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		HfLine *line = &e->line[e->n];

		if (holds[i].state != HF_HELD)
			continue;
		line->hold = holds[i];
		line->quantity = HF_WHOLE;
		hf_line_lock(e, line);
		if (hf_hold_is_live(&line->hold, GetCurrentTimestamp()))
			e->n++;
	}
}

/* Is what the owner has bought, and nothing but that, what the number stands for? */
static bool
hf_cart_is_sold(HfStore *store, const pg_uuid_t *owner, int64 cart)
{
	HfEnding e = {.store = store, .owner = *owner};
	HfHold *holds;
	int n = hf_hold_list(store, owner, &holds);

	e.line = palloc0(sizeof(HfLine) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (holds[i].state == HF_CONFIRMED)
			e.line[e.n++].hold = holds[i];
	return e.n > 0 && hf_cart_number(&e) == cart;
}

/* Gives the owner's pinned holds a deadline again, if there are any. */
void
hf_cart_unpin(HfStore *store, const pg_uuid_t *owner)
{
	HfEnding e = {.store = store, .owner = *owner};
	int n = 0;

	e.ttl = hf_default_ttl();
	hf_cart_lock(&e);
	for (int i = 0; i < e.n; i++)
		if (hf_hold_is_pinned(&e.line[i].hold))
			e.line[n++] = e.line[i];
	e.n = n;
	(void) hf_ending_act(&e, hf_act_unpin);
}

/*
 * The usual case of the next function, one hold that nobody else is busy with, without locking it
 * first.  False, and nothing has happened, if it is another case.
 */
static bool
hf_cart_confirm_one(HfEnding *e, int64 cart)
{
	HfHold *holds;
	int n = hf_hold_list(e->store, &e->owner, &holds);
	TimestampTz now = GetCurrentTimestamp();
	HfLine line;
	HfEnding one = {.line = &line, .n = 1};

	if (n != 1)
		return false;
	line.hold = holds[0];
	if (!hf_hold_is_live(&line.hold, now) || hf_cart_number(&one) != cart)
		return false;
	hf_line_end(&line, HF_CONFIRMED, now);
	if (hf_hold_update(e->store, &line.hold, false) != HF_WRITTEN)
		return false;
	hf_movement_insert(e->store, HF_SOLD, line.hold.sku, -line.hold.quantity, line.hold.ended_at,
					   &e->owner, (Datum) 0);
	return true;
}

/*
 * Sells all that the owner holds, if it is what was pinned; else false, and nothing is sold.  Also
 * true if somebody has confirmed all of it already.
 */
bool
hf_cart_confirm(HfStore *store, const pg_uuid_t *owner, int64 cart)
{
	HfEnding e = {.store = store, .owner = *owner};

	if (hf_cart_confirm_one(&e, cart))
		return true;
	hf_cart_lock(&e);
	if (e.n == 0)
		return hf_cart_is_sold(store, owner, cart);
	if (hf_cart_number(&e) != cart)
		return false;
	(void) hf_ending_sell(&e);
	return true;
}
