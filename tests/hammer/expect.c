/*
 * expect.c
 *		What the model allows an answer to be, and the random arguments of the calls.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hammer.h"

/* The SQLSTATE for a hold that has ended that way. */
const char *const ending[] = {[NEVER] = "HF006", [LIVE] = "",	   [MAYBE] = "HF009",
							  [LATE] = "HF009",	 [SOLD] = "HF007", [BACK] = "HF008"};

Life
life(const Client *c, const Hold *hold)
{
	switch (hold->state)
	{
		case NOTHING:
			return NEVER;
		case CONFIRMED:
			return SOLD;
		case RELEASED:
			return BACK;
		default:
			return hold->lo > c->t1 ? LIVE : hold->hi <= c->t0 ? LATE : MAYBE;
	}
}

void
allow(Client *c, const char *sqlstate)
{
	strcat(c->allowed, sqlstate);
	strcat(c->allowed, " ");
}

/*
 * Is the answer one of those allowed? True if the operation has, or may have, taken effect: the
 * model is to follow.
 */
bool
judge(Client *c)
{
	if (c->lost)
		return strstr(c->allowed, "00000") != NULL;
	if (!db_retry(c) && !db_is(c, c->allowed))
		violation("client %d got %s (%s) where the model allows: %s\n#   %s", c->number,
				  c->sqlstate, PQresultErrorMessage(c->result), c->allowed, c->sql);
	return db_is(c, "00000");
}

void
expect_number(Client *c, int64_t low, int64_t high)
{
	int64_t number = c->lost ? low : db_number(c, 0, 0);

	if (number < low || number > high)
		violation("client %d got %" PRId64 " where the model says %" PRId64 "..%" PRId64 "\n#   %s",
				  c->number, number, low, high, c->sql);
}

/* A time to live in milliseconds: mostly so short that it ends within the storm. */
int
any_ttl(Client *c)
{
	return chance(c, 50) ? 5 + (int) rnd(c, 300) : chance(c, 20) ? 1000 : 3600000;
}

Owner *
any_owner(Client *c)
{
	return &c->world.owner[rnd(c, OWNERS)];
}

int64_t
any_quantity(Client *c)
{
	return chance(c, 60) ? 1 : 1 + (int64_t) rnd(c, chance(c, 90) ? 4 : 40);
}

/* A few different SKUs, shuffled; returns how many. */
int
any_skus(Client *c, int most, int *skus)
{
	int all[SKUS_MAX];
	int n = 1 + (int) rnd(c, most < options.skus ? most : options.skus);

	for (int i = 0; i < options.skus; i++)
		all[i] = i;
	for (int i = 0; i < n; i++)
	{
		int j = i + (int) rnd(c, options.skus - i);

		skus[i] = all[j];
		all[j] = all[i];
	}
	return n;
}

/* Prints numbers as the text of an array. */
char *
array(char *buffer, const int64_t *numbers, int n)
{
	char *end = buffer + sprintf(buffer, "{");

	for (int i = 0; i < n; i++)
		end += sprintf(end, "%s%" PRId64, i > 0 ? "," : "", numbers[i]);
	strcpy(end, "}");
	return buffer;
}
