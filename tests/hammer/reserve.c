/*
 * reserve.c
 *		Random reserve() of one SKU and of carts, random reserve_batch().
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hammer.h"

/* Makes it a live hold, as reserve() does; the deadline of a pinned one stays. */
static void
hold_set(const Client *c, Hold *hold, int64_t quantity, Usec lo, Usec hi)
{
	if (life(c, hold) != LIVE || hold->lo != FOREVER)
	{
		hold->lo = lo;
		hold->hi = hi;
	}
	hold->state = HELD;
	hold->quantity = quantity;
	hold->returned = 0;
}

/* Allows what reserve() may say about one line; true if it must refuse it. */
static bool
allow_line(Client *c, const Hold *hold, int64_t quantity, bool revive, bool *more)
{
	Life is = life(c, hold);

	*more = is != LIVE || quantity > hold->quantity;
	if (is == MAYBE && !revive)
		allow(c, "HF009");
	if (is == SOLD || (!revive && (is == BACK || is == LATE)))
	{
		allow(c, ending[is]);
		return true;
	}
	return false;
}

void
reserve(Client *c, bool revive)
{
	Owner *o = any_owner(c);
	int sku = (int) rnd(c, options.skus);
	int ttl = any_ttl(c);
	int64_t quantity = any_quantity(c);
	Hold *hold = &o->hold[sku];
	bool more;

	db_run(c,
		   "SELECT extract(epoch FROM d) * 1000000 FROM holdfast.reserve('%s', %" PRId64
		   ", %" PRId64 ", '%d ms', %s) d",
		   o->id, options.base + sku, quantity, ttl, revive ? "true" : "false");
	if (!allow_line(c, hold, quantity, revive, &more))
	{
		allow(c, "00000");
		if (more)
			allow(c, "HF001");
	}
	if (!judge(c))
		return;
	hold_set(c, hold, quantity, c->t0 + (Usec) ttl * 1000, c->t1 + (Usec) ttl * 1000);
	expect_number(c, hold->lo, hold->hi);
	if (!c->lost)
		hold->lo = hold->hi = db_number(c, 0, 0);
}

void
cart(Client *c)
{
	Owner *o = any_owner(c);
	int ttl = any_ttl(c);
	int skus[LINES];
	int64_t numbers[LINES] = {0}, quantities[LINES] = {0};
	int n = any_skus(c, 4, skus);
	char a[200], b[200];
	bool refused = false, short_of = false;

	for (int i = 0; i < n; i++)
	{
		numbers[i] = options.base + skus[i];
		quantities[i] = any_quantity(c);
	}
	db_run(c, "SELECT holdfast.reserve('%s', '%s'::bigint[], '%s', '%d ms')", o->id,
		   array(a, numbers, n), array(b, quantities, n), ttl);
	for (int i = 0; i < n && !refused; i++)
	{
		bool more;

		refused = allow_line(c, &o->hold[skus[i]], quantities[i], false, &more);
		short_of = short_of || more;
	}
	if (!refused)
		allow(c, short_of ? "00000 HF001" : "00000");
	if (!judge(c))
		return;
	for (int i = 0; i < n; i++)
		hold_set(c, &o->hold[skus[i]], quantities[i], c->t0 + (Usec) ttl * 1000,
				 c->t1 + (Usec) ttl * 1000);
}

typedef struct Line
{
	Owner *owner;
	Hold *hold;
	int64_t quantity;
	const char *verdict;
} Line;

/* Is the verdict on a line of a batch one that the model allows? */
static void
check_verdict(Client *c, const Line *lines, int n, int i, bool all)
{
	bool more, sibling = false, anyone = false;

	c->allowed[0] = '\0';
	if (!allow_line(c, lines[i].hold, lines[i].quantity, false, &more))
		allow(c, more ? "00000 HF001" : "00000");
	for (int j = 0; j < n; j++)
	{
		bool fell = strcmp(lines[j].verdict, "00000") != 0;

		if (lines[j].owner == lines[i].owner && fell != (strcmp(lines[i].verdict, "00000") != 0))
			violation("a batch split an owner: %s", c->sql);
		if (all && fell != (strcmp(lines[0].verdict, "00000") != 0))
			violation("an all_or_nothing batch was split: %s", c->sql);
		fell = fell && strcmp(lines[j].verdict, "HF015") != 0 &&
			strcmp(lines[j].verdict, "HF016") != 0;
		anyone = anyone || fell;
		sibling = sibling || (fell && lines[j].owner == lines[i].owner);
	}
	if (sibling)
		allow(c, "HF015");
	if (all && anyone)
		allow(c, "HF016");
	if (strstr(c->allowed, lines[i].verdict) == NULL)
		violation("line %d of a batch got %s where the model allows: %s\n#   %s", i + 1,
				  lines[i].verdict, c->allowed, c->sql);
}

void
batch(Client *c, bool all)
{
	Line lines[LINES];
	int n = 0, ttl = any_ttl(c);
	char owners[LINES * 40] = "", a[200], b[200];
	int64_t numbers[LINES] = {0}, quantities[LINES] = {0};

	for (int slot = 0; slot < OWNERS && n < LINES; slot++)
	{
		int skus[LINES];
		int count = chance(c, 60) ? any_skus(c, 2, skus) : 0;

		for (int i = 0; i < count && n < LINES; i++)
		{
			Owner *o = &c->world.owner[slot];

			lines[n] = (Line){o, &o->hold[skus[i]], any_quantity(c), NULL};
			sprintf(owners + strlen(owners), "%s%s", n > 0 ? "," : "", o->id);
			numbers[n] = options.base + skus[i];
			quantities[n] = lines[n].quantity;
			n++;
		}
	}
	if (n == 0)
		return;
	db_run(
		c,
		"SELECT verdict FROM holdfast.reserve_batch('{%s}', '%s', '%s', '%d ms', '%s') ORDER BY line",
		owners, array(a, numbers, n), array(b, quantities, n), ttl,
		all ? "all_or_nothing" : "valid_rows");
	allow(c, "00000");
	if (!judge(c))
		return;
	if (!c->lost && PQntuples(c->result) != n)
	{
		violation("a batch of %d lines got %d verdicts: %s", n, PQntuples(c->result), c->sql);
		return;
	}
	for (int i = 0; i < n; i++)
		lines[i].verdict = c->lost ? "00000" : db_value(c, i, 0);
	for (int i = 0; i < n && !c->lost; i++)
		check_verdict(c, lines, n, i, all);
	for (int i = 0; i < n; i++)
	{
		bool more;

		if (strcmp(lines[i].verdict, "00000") == 0 &&
			!(c->lost && allow_line(c, lines[i].hold, lines[i].quantity, false, &more)))
			hold_set(c, lines[i].hold, lines[i].quantity, c->t0 + (Usec) ttl * 1000,
					 c->t1 + (Usec) ttl * 1000);
	}
}
