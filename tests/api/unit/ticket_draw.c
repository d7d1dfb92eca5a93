/*
 * ticket_draw.c
 *		Drawing tickets: so many at a time, one for an account, whatever becomes of Redis.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kore.h"
#include "limit_test.h"
#include "loop.h"
#include "redis.h"
#include "ticket_issue.h"
#include "ticket_test.h"

#define TTL	 120000 /* milliseconds */
#define SALE 4711

typedef struct Draw
{
	HfTicket ticket;
	int times; /* that it was told: once */
} Draw;

static void (*at_pass)(void), (*every)(void);
static HfLive live = {.sale = SALE, .state = HF_LIVE_OPEN};
static int distrusted;
static uint64_t seed = 1;

void
hf_loop_at_pass(void (*callback)(void))
{
	at_pass = callback;
}

void
hf_loop_every(unsigned milliseconds, void (*callback)(void))
{
	(void) milliseconds;
	every = callback;
}

void
hf_loop_ask(void)
{
}

uint64_t
hf_loop_now(void)
{
	return (uint64_t) (now() / 1000) + (uint64_t) ahead;
}

void
hf_redis_distrust(void)
{
	distrusted++;
}

/* Goes to so many milliseconds after a window has begun, of which the first is number 0. */
static void
go_to(int window, int64_t at)
{
	static int64_t first;

	if (first == 0)
		first = (hf_ticket_now() / TTL + 10) * TTL;
	ahead += first + window * (int64_t) TTL + at - hf_ticket_now();
}

/* Begins with a sale of which nobody has a ticket, and with a Redis that is well. */
static void
start_sale(int64_t quota)
{
	health = GOOD;
	redis_ask("FLUSHDB");
	live.sale++;
	live.quota = quota;
	live.ends_at = INT64_MAX;
	hf_ticket_start();
	go_to(0, 1000);
}

static void
told(void *arg, const HfTicket *ticket)
{
	Draw *draw = arg;

	draw->ticket = *ticket;
	draw->times++;
}

static void
ask_for(Draw *draw, int64_t account)
{
	*draw = (Draw){.times = 0};
	check(hf_ticket_issue(&live, account, told, draw), "no memory");
}

static HfTicket
draw_one(int64_t account)
{
	Draw draw;

	ask_for(&draw, account);
	at_pass();
	redis_answers();
	check(draw.times == 1, "told %d times", draw.times);
	return draw.ticket;
}

/* How many of accounts first to last have or get a ticket, each asking by himself. */
static int
drawn_by(int first, int last)
{
	int drawn = 0;

	for (int i = first; i <= last; i++)
		drawn += draw_one(i).text[0] != '\0';
	return drawn;
}

static void
test_quota(void)
{
	HfTicket first, again;
	unsigned long before;

	start_sale(5);
	first = draw_one(1);
	check(judge(first.text, 1, live.sale) == HF_TICKET_GOOD, "it is not good");
	check(first.expires - hf_ticket_now() > TTL && first.expires - hf_ticket_now() <= 2 * TTL,
		  "it expires in %lld ms", (long long) (first.expires - hf_ticket_now()));
	again = draw_one(1);
	check(strcmp(first.text, again.text) == 0, "another one");
	check(drawn_by(1, 5) == 5 && drawn_by(6, 20) == 0 && drawn_by(1, 5) == 5, "not five");
	again = draw_one(6);
	check(again.retry_after > TTL / 1000 && again.retry_after <= 2 * TTL / 1000, "in %u s",
		  again.retry_after);
	claim("there are so many tickets, and whoever has one gets it again");
	before = sent_whole;
	check(drawn_by(1, 5) == 5 && sent_whole == before, "the script is sent again");
	redis_ask("SCRIPT FLUSH");
	check(drawn_by(1, 5) == 5 && sent_whole == before + 1, "the script is not sent again");
	claim("the script is sent when Redis does not know it");
	check(counted[HF_METRIC_TICKETS_LOCALLY] == 0, "drawn here");
	go_to(5, 0);
	check(drawn_by(6, 10) == 5 && redis_ask("DBSIZE") <= 3, "%lld names", redis_ask("DBSIZE"));
	check(redis_ask("PTTL t:tickets:{%lld}:%lld", (long long) live.sale,
					(long long) draw_one(6).expires) > TTL,
		  "the set is gone too soon");
	claim("what expires is not kept");
}

static void
test_windows(void)
{
	HfTicket old, next;

	start_sale(3);
	old = draw_one(1);
	go_to(1, 1000);
	next = draw_one(1);
	check(strcmp(old.text, next.text) == 0, "another one in the next window");
	check(drawn_by(2, 4) == 2, "those of the window before do not count");
	check(draw_one(5).retry_after <= TTL / 1000, "one is free in %u s", draw_one(5).retry_after);
	go_to(1, TTL - TTL / 4 + 1000);
	next = draw_one(1);
	check(strcmp(old.text, next.text) == 0, "it is renewed, and one is too many");
	go_to(2, 0);
	check(judge(old.text, 1, live.sale) == HF_TICKET_EXPIRED, "it has not expired");
	next = draw_one(4);
	check(next.text[0] != '\0' && drawn_by(1, 1) == 0, "what has expired still counts");
	claim("tickets of two windows are counted together, and what has expired is free");
	start_sale(3);
	old = draw_one(1);
	go_to(1, TTL - TTL / 4 - 15000);
	check(strcmp(old.text, draw_one(1).text) == 0, "renewed too soon");
	go_to(1, TTL - TTL / 4 + 1000);
	next = draw_one(1);
	check(next.expires == old.expires + TTL, "not renewed");
	check(strcmp(next.text, draw_one(1).text) == 0, "renewed again");
	check(judge(old.text, 1, live.sale) == HF_TICKET_GOOD, "the old one is bad");
	check(drawn_by(2, 3) == 1, "the old one does not count");
	claim("a ticket that is about to expire is renewed, if there is room for it");
}

static void
test_end(void)
{
	HfTicket first;

	start_sale(5);
	live.ends_at = hf_ticket_now() + TTL / 10;
	first = draw_one(1);
	check(first.expires == live.ends_at, "%lld after the end",
		  (long long) (first.expires - live.ends_at));
	ahead += TTL / 10 - 1000;
	check(strcmp(first.text, draw_one(1).text) == 0, "another one before the end");
	claim("no ticket is good after the end of the sale");
}

static void
test_crowd_of_tickets(void)
{
	enum
	{
		REQUESTS = 700
	};
	static Draw draw[REQUESTS];
	unsigned long before = sent;
	int drawn = 0;

	start_sale(300);
	draw_one(1);
	before = sent;
	for (int i = 0; i < REQUESTS; i++)
		ask_for(&draw[i], i / 2 + 1);
	check(sent == before, "each by itself");
	at_pass();
	redis_answers();
	for (int i = 0; i < REQUESTS; i++)
	{
		check(draw[i].times == 1, "%d was told %d times", i, draw[i].times);
		check((draw[i].ticket.text[0] != '\0') == (i / 2 < 300), "%d", i);
		drawn += draw[i].ticket.text[0] != '\0';
		check(strcmp(draw[i].ticket.text, draw[i ^ 1].ticket.text) == 0, "two of %d", i / 2);
	}
	check(drawn == 600 && sent == before + 3, "%d in %lu calls", drawn, sent - before);
	claim("who asks in one pass is asked for together, in order; who asks twice counts once");
}

static void
test_tickets_away(void)
{
	static const Health sick[] = {DOWN, SILENT, FULL, GARBLED};

	for (size_t i = 0; i < sizeof(sick) / sizeof(sick[0]); i++)
	{
		unsigned long locally, before;
		int lines, distrust = distrusted;
		HfTicket first, mine;

		start_sale(10);
		mine = draw_one(1);
		lines = logged;
		locally = counted[HF_METRIC_TICKETS_LOCALLY];
		health = sick[i];
		first = draw_one(2);
		before = sent;
		check(judge(first.text, 2, live.sale) == HF_TICKET_GOOD, "it is not good");
		check(drawn_by(1, 20) == 5, "not half of the quota, of two workers");
		check(sent == before, "it is asked again and again");
		check(strcmp(mine.text, draw_one(1).text) == 0, "another one");
		check(logged == lines + 1, "%d lines in the log", logged - lines);
		check(counted[HF_METRIC_TICKETS_LOCALLY] > locally, "not counted");
		check((sick[i] == GARBLED) == (distrusted > distrust), "trusted");
		check(draw_one(21).retry_after > 0, "no time is said");
		health = GOOD;
		ahead += 600;
		before = sent;
		check(strcmp(first.text, draw_one(2).text) == 0 && sent == before,
			  "asked for what is known");
		check(drawn_by(21, 40) == 9 && logged == lines + 2, "Redis has not nine left");
		ahead -= 600;
	}
	claim("without Redis each process has its share, and asks again soon");
	start_sale(1);
	health = DOWN;
	check(drawn_by(1, 3) == 1, "not one");
	go_to(1, 1000);
	check(drawn_by(2, 3) == 0, "one more in the next window");
	go_to(2, 0);
	check(drawn_by(2, 3) == 1, "none in the window after");
	claim("a share is one at least, and holds over two windows");
}

static void
test_tickets_told_once(void)
{
	enum
	{
		REQUESTS = 20000
	};
	Draw *draw = calloc(REQUESTS, sizeof(*draw));
	int64_t sale[8], count[8], noted = 0;
	unsigned n;

	if (draw == NULL)
		abort();
	start_sale(1000);
	while (hf_ticket_counts(sale, count, 8) > 0)
		;
	memset(counted, 0, sizeof(counted));
	for (int i = 0; i < REQUESTS; i++)
	{
		if (rnd(&seed, 50) == 0)
			health = (Health) rnd(&seed, GARBLED + 1);
		if (rnd(&seed, 500) == 0)
			redis_ask("SCRIPT FLUSH");
		live.sale = SALE + 1000 + (int64_t) rnd(&seed, 5);
		ask_for(&draw[i], 1 + (int64_t) rnd(&seed, 3000));
		if (rnd(&seed, 20) == 0)
			at_pass();
		if (rnd(&seed, 20) == 0)
			redis_answers();
		if (rnd(&seed, 200) == 0)
			ahead += (int64_t) rnd(&seed, TTL / 10);
		if (rnd(&seed, 1000) == 0)
			every();
	}
	at_pass();
	redis_answers();
	for (int i = 0; i < REQUESTS; i++)
		check(draw[i].times == 1, "request %d was told %d times", i, draw[i].times);
	claim("everybody is told once, whatever becomes of Redis");
	while ((n = hf_ticket_counts(sale, count, 8)) > 0)
		for (unsigned i = 0; i < n; i++)
			noted += count[i];
	check(noted > 0 && (unsigned long) noted == counted[HF_METRIC_TICKETS], "%lld of %lu noted",
		  (long long) noted, counted[HF_METRIC_TICKETS]);
	hf_ticket_count(SALE, 7);
	check(hf_ticket_counts(sale, count, 8) == 1 && sale[0] == SALE && count[0] == 7, "not 7");
	claim("each ticket that was issued is counted once");
	free(draw);
	ahead += 3 * TTL;
	every();
}

void
test_draws(void)
{
	hf_config.ticket_ttl = TTL;
	redis_connect();
	test_quota();
	test_windows();
	test_end();
	test_crowd_of_tickets();
	test_tickets_away();
	test_tickets_told_once();
	ahead = 0;
}
