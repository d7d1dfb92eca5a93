/*
 * model.c
 *		What a client believes of its holds, and how that is compared with the database.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hammer.h"

/* Ids are unique as long as runs use different SKUs, and the same for the same run. */
void
model_new_owner(Client *c, Owner *owner)
{
	static _Atomic uint64_t counter;

	memset(owner, 0, sizeof(Owner));
	snprintf(owner->id, sizeof(owner->id), "%08x-%04x-4000-8000-%012" PRIx64,
			 (unsigned) options.base, (unsigned) c->number & 0xffff,
			 ++counter & UINT64_C(0xffffffffffff));
}

/* Writes the owner's holds to the journal and starts a new owner in its place. */
void
model_retire(Client *c, int slot)
{
	Owner *owner = &c->world.owner[slot];

	for (int sku = 0; sku < options.skus; sku++)
	{
		Record *record;

		if (owner->hold[sku].state == NOTHING)
			continue;
		if (c->records == c->room)
		{
			c->room = c->room ? c->room * 2 : 1024;
			c->journal = realloc(c->journal, sizeof(Record) * c->room);
			if (c->journal == NULL)
				abort();
		}
		record = &c->journal[c->records++];
		memcpy(record->owner, owner->id, sizeof(record->owner));
		record->sku = sku;
		record->hold = owner->hold[sku];
	}
	model_new_owner(c, owner);
}

const char *
model_text(const Hold *hold, char *buffer, size_t size)
{
	static const char *const names[] = {"nothing", "held", "confirmed", "released"};

	snprintf(buffer, size, "%s %" PRId64 " (%" PRId64 " returned), deadline %" PRId64 "..%" PRId64,
			 names[hold->state], hold->quantity, hold->returned, hold->lo, hold->hi);
	return buffer;
}

/*
 * Reads HOLD_COLUMNS, which begin at a column. False, and a violation, if the view contradicts
 * itself or the clock.
 */
bool
model_read_hold(Client *c, int row, int column, Hold *hold)
{
	const char *state = db_value(c, row, column + 2);
	bool good = true;

	hold->quantity = db_number(c, row, column);
	hold->returned = db_number(c, row, column + 1);
	hold->lo = hold->hi = db_number(c, row, column + 3);
	hold->state = HELD;
	if (strcmp(state, "confirmed") == 0)
		hold->state = CONFIRMED;
	else if (strcmp(state, "released") == 0)
		hold->state = RELEASED;
	else if (strcmp(state, "pinned") == 0)
		good = hold->lo == FOREVER;
	else if (strcmp(state, "held") == 0)
		good = hold->lo > c->t0 && hold->lo != FOREVER;
	else
		good = hold->lo <= c->t1;
	if (!good)
		violation("a hold is %s, but its deadline is %" PRId64 " at %" PRId64, state, hold->lo,
				  c->t1);
	return good;
}

/* Reads all holds of an owner; false if the statement failed. */
bool
model_read_owner(Client *c, const Owner *who, Owner *actual)
{
	memset(actual, 0, sizeof(Owner));
	memcpy(actual->id, who->id, sizeof(actual->id));
	if (!db_run(c,
				"SELECT sku - %" PRId64 ", " HOLD_COLUMNS " FROM holdfast.holds WHERE owner = '%s'",
				options.base, who->id))
		return false;
	for (int row = 0; row < PQntuples(c->result); row++)
		(void) model_read_hold(c, row, 1, &actual->hold[db_number(c, row, 0)]);
	return true;
}

bool
model_matches(const Hold *expected, const Hold *actual)
{
	if (expected->state != actual->state)
		return false;
	if (expected->state == NOTHING)
		return true;
	return expected->quantity == actual->quantity && expected->returned == actual->returned &&
		(expected->state != HELD || (expected->lo <= actual->lo && actual->lo <= expected->hi));
}

/*
 * Settles what an owner's holds are when the answer left a doubt: each must be as before or as
 * after. Takes over what is there into `after`, and returns 1 if a hold is only as before, 2 if
 * one is only as after, 3 if there are both.
 */
int
model_settle(Client *c, const Owner *before, Owner *after, const Owner *actual)
{
	int sides = 0;

	for (int sku = 0; sku < options.skus; sku++)
	{
		const Hold *found = &actual->hold[sku];
		bool as_before = model_matches(&before->hold[sku], found);
		bool as_after = model_matches(&after->hold[sku], found);
		char a[120], b[120], is[120];

		if (as_before != as_after)
			sides |= as_before ? 1 : 2;
		if (!as_before && !as_after)
			violation("client %d, owner %s, SKU %d: expected %s, or %s; found %s", c->number,
					  before->id, sku, model_text(&before->hold[sku], a, sizeof(a)),
					  model_text(&after->hold[sku], b, sizeof(b)),
					  model_text(found, is, sizeof(is)));
		after->hold[sku] = *found;
	}
	return sides;
}
