/*
 * live_random.c
 *		A sale that lives at random, with announcements, deadlines, slow reads and a channel that
 *		is lost now and then.  At every moment a refusal must be what the database would say.
 */
#include <stdio.h>
#include <string.h>

#include "live_test.h"

#define ACCOUNTS (BUYERS - 1) /* from 1 on; the last one never buys */
#define DEAF	 100		  /* milliseconds */

static uint64_t seed = 20261127;
static unsigned refused[3];

static void
begin_sale(void)
{
	world = (World){.is_there = true,
					.starts = at + rnd(&seed, 400),
					.quantity = 10,
					.version = world.version + 1,
					.left = 1 + (int64_t) rnd(&seed, 4)};
	world.ends = world.starts + 500 + rnd(&seed, 4000);
	announce("sale:7");
}

/* Somebody buys, if he may: what is due goes first. */
static void
buy(void)
{
	int account = 1 + (int) rnd(&seed, ACCOUNTS - 1);

	if (strcmp(state_now(), "open") != 0 || world.due[account] != 0)
		return;
	if (world.left > 0)
		world.left--;
	else
		for (int i = 0; i < BUYERS; i++)
			if (world.due[i] != 0 && world.due[i] <= at)
			{
				world.due[i] = 0;
				break;
			}
	world.bought[account] = at;
	world.due[account] = at + 1 + rnd(&seed, 1500);
	announce("stock:7");
}

/* An order is paid, or cancelled. */
static void
finish(bool paid)
{
	int account = 1 + (int) rnd(&seed, ACCOUNTS - 1);

	if (world.due[account] <= at)
		return;
	world.due[account] = 0;
	world.left += paid ? 0 : 1;
	if (!paid)
		announce("stock:7");
}

static void
live_a_moment(void)
{
	uint64_t what = rnd(&seed, 1000);

	if (alive && (at >= world.ends + 3000 || (world.closed != 0 && at >= world.closed + 3000)))
		begin_sale();
	if (what < 30)
		buy();
	else if (what < 40)
		finish(what < 37);
	else if (what == 40 && world.closed == 0 && at > world.starts + 200 && rnd(&seed, 8) == 0)
	{
		world.closed = at;
		announce("sale:7");
	}
	else if (what == 41 && rnd(&seed, 4) == 0)
	{
		if (alive)
			lose_channel();
		else
			find_channel();
	}
	else if (what < 300)
		(void) run_any((unsigned) rnd(&seed, 8));
	else if (what < 600)
		(void) deliver_any((unsigned) rnd(&seed, 8));
	else if (what == 600 && rnd(&seed, 20) == 0)
		break_off();
}

/* With the channel a refusal is true; without it, it was true a tenth of a second ago at most. */
static void
judge(int account)
{
	static uint64_t sold_out_at;
	const char *code = hf_live_refusal(SALE, account), *state = state_now();
	uint64_t ago = alive ? 0 : DEAF;

	if (strcmp(state, "sold_out") == 0)
		sold_out_at = at;
	if (code == NULL)
		return;
	refused[code[4] - '1']++;
	if (world.bought[account] != 0)
		check(!alive && world.bought[account] + ago >= at, "account %d has bought %d ms ago: %s",
			  account, (int) (at - world.bought[account]), code);
	if (strcmp(code, "HS401") == 0)
		check(strcmp(state, "scheduled") == 0, "not open yet: %s", state);
	else if (strcmp(code, "HS402") == 0)
		check(strcmp(state, "closed") == 0, "over: %s", state);
	else
		check(at <= sold_out_at + ago, "sold out: %s", state);
}

void
live_random(void)
{
	int moments = slow ? 20000 : 2000000;

	begin_sale();
	for (int i = 0; i < moments; i++)
	{
		if (rnd(&seed, 3) == 0)
			pass(1, false);
		live_a_moment();
		judge(1 + (int) rnd(&seed, ACCOUNTS));
	}
	printf("# refused: not open yet %u, over %u, sold out %u\n", refused[0], refused[1],
		   refused[2]);
	check(refused[0] > 0 && refused[1] > 0 && refused[2] > 0, "something was never refused");
	claim("whatever happens, a refusal is what the database says at that moment");
}
