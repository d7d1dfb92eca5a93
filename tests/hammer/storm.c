/*
 * storm.c
 *		Random operations, alone and in transactions, each answer held against the model.
 *
 * Each operation first says what the model allows, given that the server's clock stood somewhere
 * between t0 and t1; then, if the answer was success (or was lost on the way), it changes the model
 * accordingly.  What a lost connection leaves open is settled by reading: a transaction is there as
 * a whole or not at all, and an acknowledged one is there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hammer.h"

const char *const operation_name[OPERATIONS] = {
	[OP_RESERVE] = "reserve",
	[OP_REVIVE] = "reserve (revive)",
	[OP_CART] = "reserve (cart)",
	[OP_BATCH_ROWS] = "reserve_batch (valid_rows)",
	[OP_BATCH_ALL] = "reserve_batch (all_or_nothing)",
	[OP_CONFIRM] = "confirm",
	[OP_CONFIRM_LINES] = "confirm (quantities)",
	[OP_RELEASE] = "release",
	[OP_RELEASE_LINES] = "release (quantities)",
	[OP_EXTEND] = "extend",
	[OP_PIN] = "pin",
	[OP_UNPIN] = "unpin",
	[OP_GIVE_BACK] = "give_back",
	[OP_RECEIVE] = "receive",
	[OP_ADJUST] = "adjust",
	[OP_SET_LANES] = "set_lanes",
	[OP_REAP] = "reap",
	[OP_AVAILABLE] = "available",
};

/* How often each is chosen, in a hundred. */
static const int weight[OPERATIONS] = {22, 4, 8, 4, 4, 6, 9, 4, 9, 4, 3, 3, 4, 4, 4, 1, 2, 5};

/* confirm() or release() of named SKUs and, perhaps, quantities. */
static void
end_lines(Client *c, const char *function, State state)
{
	Owner *o = any_owner(c);
	int skus[LINES];
	int64_t numbers[LINES] = {0}, quantities[LINES] = {0}, units = 0;
	int n = 0;
	bool whole = chance(c, 40), refused = false;
	char a[200], b[200];

	/* In ascending order, and mostly what is held. */
	for (int sku = 0; sku < options.skus && n < 3; sku++)
		if (chance(c, o->hold[sku].state == HELD ? 70 : 5))
		{
			int64_t held = o->hold[sku].quantity;

			skus[n] = sku;
			numbers[n] = options.base + sku;
			quantities[n++] = whole || held == 0
				? held + (held == 0)
				: 1 + (int64_t) rnd(c, chance(c, 95) ? held : held + 2);
		}
	if (n == 0)
		return;
	if (whole)
		db_run(c, "SELECT holdfast.%s('%s', '%s')", function, o->id, array(a, numbers, n));
	else
		db_run(c, "SELECT holdfast.%s('%s', '%s', '%s')", function, o->id, array(a, numbers, n),
			   array(b, quantities, n));
	for (int i = 0; i < n && !refused; i++)
		refused = o->hold[skus[i]].state == NOTHING;
	if (refused)
		allow(c, "HF006");
	for (int i = 0; i < n && !refused; i++)
	{
		Life is = life(c, &o->hold[skus[i]]);

		refused = is != LIVE && is != MAYBE;
		if (is != LIVE)
			allow(c, ending[is]);
		if (!refused && !whole && quantities[i] > o->hold[skus[i]].quantity)
		{
			allow(c, "HF010");
			refused = true;
		}
	}
	if (!refused)
		allow(c, "00000");
	if (!judge(c))
		return;
	for (int i = 0; i < n; i++)
	{
		Hold *hold = &o->hold[skus[i]];

		units += quantities[i];
		if (state == CONFIRMED)
			hold->quantity = quantities[i];
		else if (quantities[i] < hold->quantity)
		{
			hold->quantity -= quantities[i];
			continue;
		}
		hold->state = state;
	}
	expect_number(c, units, units);
}

typedef struct Census
{
	int live, maybe, late, pinned;
	const char *dead; /* how an owner without live holds is told so */
	int64_t units;
	Usec lo, hi; /* the earliest deadline */
} Census;

static Census
take_census(const Client *c, const Owner *o)
{
	Census census = {.dead = "HF006", .lo = FOREVER, .hi = FOREVER};

	for (int sku = options.skus - 1; sku >= 0; sku--)
	{
		const Hold *hold = &o->hold[sku];
		Life is = life(c, hold);

		census.live += is == LIVE;
		census.maybe += is == MAYBE;
		census.late += is == LATE;
		if (is == SOLD || is == BACK)
			census.dead = ending[is];
		if (is != LIVE)
			continue;
		census.pinned += hold->lo == FOREVER;
		census.units += hold->quantity;
	}
	if (census.late + census.maybe > 0)
		census.dead = "HF009";
	return census;
}

/* Allows what a function on all holds of an owner may say; `strict` if one expired spoils it. */
static void
allow_all(Client *c, const Census *census, bool strict)
{
	if (census->live + census->maybe > 0 && !(strict && census->late > 0))
		allow(c, "00000");
	if (census->maybe > 0 || (strict && census->late > 0))
		allow(c, "HF009");
	if (census->live == 0)
		allow(c, census->dead);
}

static void
confirm_all(Client *c)
{
	Owner *o = any_owner(c);
	Census census;
	int64_t units = 0;

	db_run(c, "SELECT holdfast.confirm('%s')", o->id);
	census = take_census(c, o);
	allow_all(c, &census, true);
	if (!judge(c))
		return;
	for (int sku = 0; sku < options.skus; sku++)
		if (o->hold[sku].state == HELD)
		{
			units += o->hold[sku].quantity;
			o->hold[sku].state = CONFIRMED;
		}
	expect_number(c, units, units);
}

/* Whether a hold at its deadline was still released is for the database to say. */
static void
release_all(Client *c)
{
	Owner *o = any_owner(c);
	Owner before = *o, actual;
	Census census;

	db_run(c, "SELECT holdfast.release('%s')", o->id);
	census = take_census(c, o);
	allow_all(c, &census, false);
	if (!judge(c))
		return;
	for (int sku = 0; sku < options.skus; sku++)
	{
		Life is = life(c, &o->hold[sku]);

		if (is == LIVE || is == MAYBE)
			o->hold[sku].state = RELEASED;
	}
	if (c->lost)
		return;
	expect_number(c, census.units, census.maybe > 0 ? FOREVER : census.units);
	if (census.maybe == 0)
		return;
	while (!model_read_owner(c, o, &actual))
		if (c->lost || PQtransactionStatus(c->conn) != PQTRANS_IDLE)
			return;
	(void) model_settle(c, &before, o, &actual);
}

static void
extend(Client *c)
{
	Owner *o = any_owner(c);
	int ttl = any_ttl(c);
	Usec lo = FOREVER, hi = FOREVER, from, to;
	Census census;

	db_run(c, "SELECT extract(epoch FROM holdfast.extend('%s', '%d ms')) * 1000000", o->id, ttl);
	census = take_census(c, o);
	allow_all(c, &census, true);
	if (!judge(c))
		return;
	from = c->t0 + (Usec) ttl * 1000;
	to = c->t1 + (Usec) ttl * 1000;
	for (int sku = 0; sku < options.skus; sku++)
	{
		Hold *hold = &o->hold[sku];

		if (hold->state != HELD)
			continue;
		hold->lo = hold->lo > from ? hold->lo : from;
		hold->hi = hold->hi > to ? hold->hi : to;
		lo = lo < hold->lo ? lo : hold->lo;
		hi = hi < hold->hi ? hi : hold->hi;
	}
	expect_number(c, lo, hi);
}

static void
pin(Client *c)
{
	Owner *o = any_owner(c);
	Census census;

	db_run(c, "SELECT holdfast.pin('%s')", o->id);
	census = take_census(c, o);
	allow_all(c, &census, true);
	if (!judge(c))
		return;
	expect_number(c, census.live + census.maybe, census.live + census.maybe);
	for (int sku = 0; sku < options.skus; sku++)
		if (o->hold[sku].state == HELD)
			o->hold[sku].lo = o->hold[sku].hi = FOREVER;
}

static void
unpin(Client *c)
{
	Owner *o = any_owner(c);
	int ttl = any_ttl(c);
	Census census;

	db_run(c, "SELECT holdfast.unpin('%s', '%d ms')", o->id, ttl);
	census = take_census(c, o);
	allow_all(c, &census, false);
	if (!judge(c))
		return;
	expect_number(c, census.pinned, census.pinned);
	for (int sku = 0; sku < options.skus; sku++)
		if (o->hold[sku].state == HELD && o->hold[sku].lo == FOREVER)
		{
			o->hold[sku].lo = c->t0 + (Usec) ttl * 1000;
			o->hold[sku].hi = c->t1 + (Usec) ttl * 1000;
		}
}

static void
give_back(Client *c)
{
	Owner *o = any_owner(c);
	int sku = (int) rnd(c, options.skus);
	Hold *hold;
	int64_t left, quantity;

	for (int i = 0; i < options.skus && o->hold[sku].state != CONFIRMED && !chance(c, 5); i++)
		sku = (sku + 1) % options.skus;
	hold = &o->hold[sku];
	left = hold->quantity - hold->returned;
	quantity = left > 0 && chance(c, 90) ? 1 + (int64_t) rnd(c, left) : left + 1;
	db_run(c, "SELECT holdfast.give_back('%s', %" PRId64 ", %" PRId64 ", 'returned')", o->id,
		   options.base + sku, quantity);
	allow(c,
		  hold->state == NOTHING		 ? "HF006"
			  : hold->state != CONFIRMED ? "HF017"
			  : quantity > left			 ? "HF011"
										 : "00000");
	if (!judge(c))
		return;
	hold->returned += quantity;
	expect_number(c, quantity, quantity);
}

/* receive(), or adjust() up or down. */
static void
change_stock(Client *c, bool adjust)
{
	int sku = (int) rnd(c, options.skus);
	int64_t units = 1 + (int64_t) rnd(c, 10);

	if (adjust && chance(c, 60))
		units = -units;
	db_run(c, "SELECT holdfast.%s(%" PRId64 ", %" PRId64 ", '%s')", adjust ? "adjust" : "receive",
		   options.base + sku, units, c->tag);
	allow(c, units < 0 ? "00000 HF012" : "00000");
	if (!judge(c))
		return;
	c->world.gained[sku] += units;
	expect_number(c, 0, FOREVER);
}

static void
call_for_number(Client *c, const char *call, int64_t low)
{
	db_run(c, "SELECT holdfast.%s", call);
	allow(c, "00000");
	if (judge(c))
		expect_number(c, low, FOREVER);
}

static void
housekeeping(Client *c, Operation op)
{
	int64_t sku = options.base + (int64_t) rnd(c, options.skus);
	int n = 1 + (int) rnd(c, 8);
	char call[100];

	if (op == OP_SET_LANES)
		snprintf(call, sizeof(call), "set_lanes(%" PRId64 ", %d)", sku, n);
	else if (op == OP_REAP)
		snprintf(call, sizeof(call), "reap(%d)", n * 10);
	else
		snprintf(call, sizeof(call), "available(%" PRId64 ")", sku);
	call_for_number(c, call, op == OP_SET_LANES ? n : 0);
}

/* One random operation. Its answer is in the client. */
Operation
storm_operate(Client *c)
{
	Operation op = 0;
	int pick = (int) rnd(c, 100);

	while (op < OPERATIONS - 1 && (pick -= weight[op]) >= 0)
		op++;
	c->sqlstate[0] = '\0'; /* if the operation finds nothing to do */
	c->lost = false;
	switch (op)
	{
		case OP_RESERVE:
		case OP_REVIVE:
			reserve(c, op == OP_REVIVE);
			break;
		case OP_CART:
			cart(c);
			break;
		case OP_BATCH_ROWS:
		case OP_BATCH_ALL:
			batch(c, op == OP_BATCH_ALL);
			break;
		case OP_CONFIRM:
			confirm_all(c);
			break;
		case OP_CONFIRM_LINES:
			end_lines(c, "confirm", CONFIRMED);
			break;
		case OP_RELEASE:
			release_all(c);
			break;
		case OP_RELEASE_LINES:
			end_lines(c, "release", RELEASED);
			break;
		case OP_EXTEND:
			extend(c);
			break;
		case OP_PIN:
			pin(c);
			break;
		case OP_UNPIN:
			unpin(c);
			break;
		case OP_GIVE_BACK:
			give_back(c);
			break;
		case OP_RECEIVE:
		case OP_ADJUST:
			change_stock(c, op == OP_ADJUST);
			break;
		default:
			housekeeping(c, op);
			break;
	}
	c->done[op] += db_is(c, "00000");
	c->retried += db_retry(c);
	c->refused += c->sqlstate[0] != '\0' && !db_is(c, "00000") && !db_retry(c);
	return op;
}
