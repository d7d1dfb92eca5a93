/*
 * live.c
 *		Live sales: what is told, what is refused from memory, and what is asked of the database.
 */
#include <string.h>

#include "live_test.h"

#define STOCK	"stock:7"
#define OF_SALE "sale:7"
#define BUYER	3
#define OTHER	4
#define EARLY	1 /* milliseconds that a time may be early: what a read takes */

static unsigned told;
static HfLive last;
static bool last_is_none;
static unsigned shown;
static HfLive shown_last;

/* A sale that is sold out, to BUYER and others, and will be for an hour. */
static void
sold_out(void)
{
	world = (World){.is_there = true,
					.starts = at - 60000,
					.ends = at + 3600000,
					.quantity = 10,
					.version = 3};
	world.bought[BUYER] = at;
	announce(STOCK);
	announce(OF_SALE);
}

static const char *
refusal(int64_t account)
{
	const char *code = hf_live_refusal(SALE, account);

	return code != NULL ? code : "none";
}

static bool
is_refused(int64_t account, const char *code)
{
	const char *given = refusal(account);

	return check(strcmp(given, code) == 0, "account %d: %s, not %s", (int) account, given, code);
}

/* The database has refused somebody, and what is needed is read. */
static void
warm_up(void)
{
	for (int i = 0; i < 3; i++)
	{
		hf_live_sold_out(SALE);
		(void) refusal(OTHER);
		pass(30, true);
	}
}

static void
tell(void *arg, const HfLive *live)
{
	(void) arg;
	told++;
	last_is_none = live == NULL;
	last = live != NULL ? *live : (HfLive){0};
}

static void
expect(HfLiveState state, int64_t left)
{
	unsigned before = told;

	hf_live_get(SALE, tell, NULL);
	answer_all();
	check(told == before + 1 && !last_is_none, "told %u times", told - before);
	check(last.state == state && last.left == left, "state %d, %d left", last.state,
		  (int) last.left);
}

static void
test_sold_out(void)
{
	unsigned runs;

	sold_out();
	is_refused(OTHER, "none");
	run();
	is_refused(OTHER, "none");
	deliver();
	is_refused(OTHER, "none");
	answer_all();
	is_refused(OTHER, "HS403");
	claim("nobody is refused before the state and then the buyers are known");
	is_refused(BUYER, "none");
	claim("nor ever one who has bought");

	runs = live_runs;
	buyers_runs = 0;
	for (int i = 0; i < 10000; i++)
	{
		for (int account = OTHER; account < OTHER + 10; account++)
			check(strcmp(refusal(account), "HS403") == 0, "a gap after %d ms", i);
		is_refused(BUYER, "none");
		pass(1, i % 7 == 0);
	}
	check(live_runs - runs <= 13, "%u reads in ten seconds", live_runs - runs);
	check(buyers_runs == 0, "the buyers were read %u times", buyers_runs);
	claim("a crowd is refused without a gap, and the database is asked about once a second");

	pass(5000, true);
	is_refused(OTHER, "none");
	claim("nobody is refused because of what is old");
}

static void
test_back_to_life(void)
{
	const char *const keys[] = {STOCK, OF_SALE};

	for (int i = 0; i < 2; i++)
	{
		sold_out();
		warm_up();
		is_refused(OTHER, "HS403");
		announce(keys[i]);
		is_refused(OTHER, "none");
		run();
		deliver();
		is_refused(OTHER, "none");
		answer_all();
		is_refused(OTHER, "HS403");
	}
	claim("an announcement lets everybody through until all is read again");

	sold_out();
	world.due[BUYER] = at + 5000;
	warm_up();
	while (at < world.due[BUYER] - EARLY)
	{
		is_refused(OTHER, "HS403");
		pass(1, true);
	}
	pass(EARLY, false);
	is_refused(OTHER, "none");
	claim("at the deadline of a hold everybody is let through, though nothing is announced");

	/* Its unit is sold to another, and nobody has heard of that yet. */
	world.due[BUYER] = 0;
	world.bought[OTHER] = at;
	run();
	deliver();
	is_refused(OTHER, "none");
	is_refused(OTHER + 1, "none");
	answer_all();
	is_refused(OTHER, "none");
	is_refused(OTHER + 1, "HS403");
	claim("who has bought in between is known before anybody is refused again");
	expect(HF_LIVE_SOLD_OUT, 0);
	world.left = 2;
	announce(STOCK);
	expect(HF_LIVE_OPEN, 2);
	claim("that there are units again is told at once");
}

static void
test_late(void)
{
	sold_out();
	pass(3000, true);
	hf_live_get(SALE, tell, NULL);
	run();
	world.left = 5;
	announce(STOCK);
	told = 0;
	hf_live_get(SALE, tell, NULL);
	deliver();
	check(told == 1 && last.state == HF_LIVE_SOLD_OUT, "told %u", told);
	check(under_way() == 1, "%u statements", under_way());
	answer_all();
	check(told == 2 && last.state == HF_LIVE_OPEN && last.left == 5, "told %u", told);
	claim("who comes after an announcement is not told what was read before it");

	sold_out();
	pass(3000, true);
	(void) refusal(OTHER);
	run();
	announce(STOCK);
	deliver();
	is_refused(OTHER, "none");
	answer_all();
	is_refused(OTHER, "none");
	claim("nor is anybody refused because of that");
	warm_up();
	is_refused(OTHER, "HS403");

	(void) refusal(OTHER);
	pass(300, true);
	sold_out();
	warm_up();
	pass(700, true);
	(void) refusal(OTHER);
	pass(90, false);
	(void) refusal(OTHER);
	run();
	deliver();
	is_refused(OTHER, "HS403");
	claim("a read again of what was true keeps the buyers");

	sold_out();
	pass(1000, true);
	(void) refusal(OTHER);
	run();
	deliver();
	check(under_way() == 1, "%u statements", under_way());
	run();
	world.bought[OTHER] = at;
	announce(STOCK);
	pass(30, false);
	(void) refusal(OTHER);
	run();
	check(deliver_any(1) && deliver_any(0), "no answer");
	is_refused(OTHER, "none");
	is_refused(OTHER + 1, "none");
	pass(100, true);
	warm_up();
	is_refused(OTHER, "none");
	is_refused(OTHER + 1, "HS403");
	claim("buyers that were asked for before an announcement are not used after it");
}

static void
test_window(void)
{
	sold_out();
	world.starts = at + 3000;
	world.left = 10;
	warm_up();
	for (; at < world.starts - 20 - EARLY; pass(1, true))
		is_refused(OTHER, "HS401");
	for (pass(EARLY, true); at < world.starts + 50; pass(1, true))
		is_refused(OTHER, "none");
	claim("before the start everybody is refused, but in the last 20 ms");

	sold_out();
	world.starts = at + 1300;
	world.left = 10;
	pass(1000, true);
	expect(HF_LIVE_SCHEDULED, 10);
	check(last.quota == 30 && last.version == 3 && last.starts == world.starts && last.ends_at == 5,
		  "it starts at %d", (int) (last.starts - at));
	pass(299, false);
	expect(HF_LIVE_SCHEDULED, 10);
	pass(1, false);
	told = 0;
	hf_live_get(SALE, tell, NULL);
	check(told == 1 && last.state == HF_LIVE_OPEN && last.left == 10, "state %d", last.state);
	answer_all();
	claim("at the start it is told to be open without another read");

	sold_out();
	world.ends = at + 500;
	warm_up();
	is_refused(OTHER, "HS403");
	pass(500, false);
	is_refused(OTHER, "none");
	expect(HF_LIVE_CLOSED, 0);
	warm_up();
	is_refused(OTHER, "none");
	for (; at < world.ends + 2000 - EARLY; pass(1, true))
		is_refused(OTHER, "none");
	for (int i = 0; i < 3; i++, pass(30, true))
		(void) refusal(OTHER);
	is_refused(OTHER, "HS402");
	is_refused(BUYER, "none");
	claim("from the end on all but buyers are refused, as soon as purchases under way are known");

	sold_out();
	world.left = 4;
	expect(HF_LIVE_OPEN, 4);
	world.closed = at;
	announce(OF_SALE);
	pass(1000, true);
	expect(HF_LIVE_CLOSED, 0);
	pass(2000, true);
	warm_up();
	is_refused(OTHER, "HS402");
	claim("closing is known");
}

static void
test_channel(void)
{
	unsigned refused = 0, of = 0, runs;

	sold_out();
	warm_up();
	is_refused(OTHER, "HS403");
	lose_channel();
	is_refused(OTHER, "none");
	claim("without the channel nothing is refused that was read with it");

	warm_up();
	for (int i = 0; i < 3; i++, pass(30, true))
		(void) refusal(OTHER);
	runs = live_runs;
	for (int i = 0; i < 2000; i++, pass(1, i % 2 == 0))
	{
		refused += strcmp(refusal(OTHER), "none") != 0;
		of++;
		is_refused(BUYER, "none");
	}
	check(refused > of / 2, "%u of %u are refused", refused, of);
	check(live_runs - runs <= 26, "%u reads in two seconds", live_runs - runs);
	claim("without the channel most are refused still, for some reads more");
	pass(100, false);
	is_refused(OTHER, "none");
	world.left = 1;
	answer_all();
	pass(100, true);
	expect(HF_LIVE_OPEN, 1);
	world.left = 0;
	pass(200, true);
	expect(HF_LIVE_SOLD_OUT, 0);
	claim("what is told is no older than 200 ms then");

	warm_up();
	find_channel();
	is_refused(OTHER, "none");
	warm_up();
	is_refused(OTHER, "HS403");
	claim("all is read again when the channel is back");
}

static void
test_failure(void)
{
	unsigned runs;
	int taken;

	sold_out();
	pass(3000, true);
	told = 0;
	for (int i = 0; i < 10; i++)
		hf_live_get(SALE, tell, NULL);
	announce(STOCK);
	for (int i = 0; i < 10; i++)
		hf_live_get(SALE, tell, NULL);
	break_off();
	check(told == 20 && last_is_none && under_way() == 0, "%u were told", told);
	hf_live_get(SALE, tell, NULL);
	check(told == 21 && last_is_none && under_way() == 0, "it is read at once again");
	pass(100, true);
	expect(HF_LIVE_SOLD_OUT, 0);
	claim("a load that is lost is told to all who wait, and not repeated at once");

	pass(3000, true);
	hf_live_get(SALE, tell, NULL);
	refuse_all();
	check(last_is_none, "a refusal is no state");
	down = true;
	pass(100, true);
	hf_live_get(SALE, tell, NULL);
	check(last_is_none && under_way() == 0, "a statement is under way");
	is_refused(OTHER, "none");
	down = false;
	expect(HF_LIVE_SOLD_OUT, 0);
	claim("nor is a refusal of it taken for a state; without the database nothing is known");

	pass(100, true);
	warm_up();
	is_refused(OTHER, "HS403");
	pass(800, true);
	is_refused(OTHER, "HS403");
	break_off();
	is_refused(OTHER, "HS403");
	pass(300, false);
	is_refused(OTHER, "none");
	answer_all();
	claim("what is true stays so when it cannot be read again, until it is old");

	sold_out();
	world.many = true;
	buyers_runs = 0;
	for (int i = 0; i < 100; i++, pass(10, true))
		is_refused(OTHER, "none");
	check(buyers_runs == 1, "they were read %u times", buyers_runs);
	claim("with too many buyers nobody is refused, and they are not asked for all the time");
	world.many = false;
	pass(6000, true);

	sold_out();
	world.crowd = true;
	for (int i = 0; i < 3; i++)
	{
		hf_live_sold_out(SALE);
		is_refused(OTHER, "none");
		answer_all();
	}
	for (taken = 0; strcmp(refusal(OTHER), "none") == 0 && taken < 100; taken++)
		pass(1, true);
	check(taken >= 3, "all were taken in within %d ms", taken);
	is_refused(OTHER, "HS403");
	is_refused(FIRST, "none");
	is_refused(FIRST + CROWD - 1, "none");
	is_refused(FIRST + CROWD, "HS403");
	is_refused(BUYER, "none");
	claim("a crowd of buyers is taken in a slice at a time, all of them before anybody is refused");
	world.crowd = false;
	pass(6000, true);

	pass(3000, true);
	told = 0;
	for (int i = 0; i < 12000; i++)
		hf_live_get(SALE, tell, NULL);
	check(told == 2000 && last_is_none && under_way() == 1, "%u were told", told);
	answer_all();
	check(told == 12000 && !last_is_none, "%u were told", told);
	claim("ten thousand may wait for one load, and each is told once");

	runs = live_runs;
	world.left = 3;
	announce(STOCK);
	for (int i = 0; i < 500; i++)
	{
		expect(HF_LIVE_OPEN, 3);
		announce(STOCK);
	}
	check(live_runs == runs + 1, "%u reads", live_runs - runs);
	claim("an open sale is not read for each purchase in it");

	world.left = 0;
	announce(STOCK);
	hf_live_sold_out(SALE);
	hf_live_sold_out(SALE);
	check(under_way() == 0, "too soon");
	pass(20, true);
	hf_live_sold_out(SALE);
	hf_live_sold_out(SALE);
	check(under_way() == 1, "%u statements", under_way());
	answer_all();
	is_refused(OTHER, "HS403");
	claim("but when the database says that it is sold out");
}

static void
test_many(void)
{
	unsigned runs;

	sold_out();
	warm_up();
	told = 0;
	runs = live_runs;
	for (int i = 0; i < 40000; i++)
	{
		hf_live_get(1000000 + i, tell, NULL);
		if (i % 8 == 7)
		{
			answer_all();
			check(last.state == HF_LIVE_NONE && !last_is_none, "it is there");
			is_refused(OTHER, "HS403");
		}
		if (i % 200 == 0)
			pass(1, true);
	}
	check(told == 40000 && live_runs - runs >= 40000, "%u were told", told);
	check(counted[HF_METRIC_LIVE_SALES] <= 4096, "%lu are known", counted[HF_METRIC_LIVE_SALES]);
	claim("ids that are no sale's do not take more than their room, nor the place of a sale");

	runs = live_runs;
	for (int i = 0; i < 1000; i++, pass(1, true))
		for (int j = 0; j < 100; j++)
			hf_live_get(2000000 + j, tell, NULL);
	check(live_runs - runs <= 300, "%u reads", live_runs - runs);
	claim("one that is asked for again and again is read about once a second");
	pass(65000, true);
	check(counted[HF_METRIC_LIVE_SALES] == 0, "%lu are known", counted[HF_METRIC_LIVE_SALES]);
	claim("what nobody asks for is forgotten");

	told = 0;
	for (int i = 0; i < 6000; i++)
		hf_live_get(3000000 + i, tell, NULL);
	check(told >= 1904 && last_is_none, "%u were told", told);
	answer_all();
	check(told == 6000, "%u were told", told);
	claim("when all room is taken by loads under way, others are told so");
}

static void
show(const HfLive *live)
{
	shown++;
	shown_last = *live;
}

static void
test_follow(void)
{
	unsigned runs;

	sold_out();
	world.left = 1000;
	hf_live_on_change(show);
	check(hf_live_follow(SALE) && hf_live_follow(SALE), "nobody can follow");
	pass(200, true);
	check(shown == 1 && shown_last.left == 1000, "shown %u times", shown);
	runs = live_runs;
	pass(10000, true);
	check(shown == 1 && live_runs - runs <= 13, "shown %u times, %u reads", shown,
		  live_runs - runs);
	for (int i = 0; i < 5000; i++)
	{
		world.left -= i % 10 == 0;
		announce(STOCK);
		pass(1, true);
	}
	check(shown >= 10 && shown <= 22 && live_runs - runs <= 13 + 22, "shown %u times, %u reads",
		  shown, live_runs - runs);
	pass(500, true);
	check(shown_last.left == world.left, "%d left", (int) shown_last.left);
	claim("who follows is shown what changes, a few times a second at most");

	world.left = 0;
	world.due[BUYER] = at + 2000;
	announce(STOCK);
	pass(500, true);
	check(shown_last.state == HF_LIVE_SOLD_OUT, "state %d", shown_last.state);
	pass(1500 + 400, true);
	check(shown_last.state == HF_LIVE_OPEN && shown_last.left == 1, "state %d", shown_last.state);
	world.ends = at + 1000;
	announce(OF_SALE);
	pass(1000 + 300, false);
	check(shown_last.state == HF_LIVE_OPEN, "state %d", shown_last.state);
	answer_all();
	pass(300, true);
	check(shown_last.state == HF_LIVE_CLOSED, "state %d", shown_last.state);
	sold_out();
	world.left = 10;
	world.starts = at + 1000;
	pass(600, true);
	check(shown_last.state == HF_LIVE_SCHEDULED, "state %d", shown_last.state);
	pass(300, true);
	pass(300, false);
	check(shown_last.state == HF_LIVE_OPEN, "state %d", shown_last.state);
	answer_all();
	claim("also what the clock changes");

	hf_live_unfollow(SALE);
	shown = 0;
	world.left = 5;
	announce(STOCK);
	pass(500, true);
	check(shown == 1, "shown %u times", shown);
	hf_live_unfollow(SALE);
	runs = live_runs;
	world.left = 4;
	announce(STOCK);
	pass(5000, true);
	check(shown == 1 && live_runs == runs, "shown %u times, %u reads", shown, live_runs - runs);
	claim("until nobody follows any more");
}

static void
test_demand(void)
{
	uint64_t before = noted[SALE];

	sold_out();
	warm_up();
	while (hf_live_stop())
		answer_all();
	before = noted[SALE];
	notes = 0;
	for (int i = 0; i < 3000; i++, pass(1, true))
		(void) refusal(i % 2 == 0 ? OTHER : BUYER);
	check(notes >= 2 && notes <= 4, "%u notes", notes);
	while (hf_live_stop())
		answer_all();
	check(noted[SALE] - before == 1500, "%d were noted", (int) (noted[SALE] - before));
	claim("what was refused for lack of units is noted once a second, and at the end");

	before = noted[SALE];
	pass(500, true);
	warm_up();
	while (hf_live_stop())
		answer_all();
	before = noted[SALE];
	for (int i = 0; i < 100; i++)
		is_refused(OTHER, "HS403");
	down = true;
	check(hf_live_stop() && hf_live_stop() && under_way() == 0, "it is lost");
	down = false;
	check(hf_live_stop() && under_way() == 1, "it is lost");
	for (int i = 0; i < 10; i++)
		is_refused(OTHER, "HS403");
	logged = 0;
	break_off();
	check(logged == 1, "nobody hears of it");
	while (hf_live_stop())
		answer_all();
	check(noted[SALE] - before == 10, "%d were noted", (int) (noted[SALE] - before));
	claim("what cannot be sent is kept; what was not answered is told to the log, not sent again");

	world.ends = at + 10;
	announce(OF_SALE);
	pass(2500, true);
	warm_up();
	before = noted[SALE];
	is_refused(OTHER, "HS402");
	check(!hf_live_stop() && noted[SALE] == before, "it is noted");
	claim("what was refused because the sale is over is no demand");
}

int
main(int argc, char **argv)
{
	begin(argc, argv);
	hf_live_prepare();
	hf_live_start();
	test_sold_out();
	test_back_to_life();
	test_late();
	test_window();
	test_channel();
	test_failure();
	test_many();
	test_follow();
	test_demand();
	live_random();
	return end();
}
