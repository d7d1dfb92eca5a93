/*
 * limit.c
 *		Rules of limits, by one process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limit_test.h"
#include "loop.h"

#define ADDRESS "192.0.2.1"

/* The only class that has rules here: none of what is tested depends on which it is. */
#define CLASS HF_LIMIT_WRITE

/* A window in which nothing comes back while a test stands still for some seconds. */
#define HOUR 3600

static uint64_t seed = 1;

uint64_t
hf_loop_now(void)
{
	return (uint64_t) now() / 1000;
}

void
set_rule(HfLimitScope scope, unsigned quota, unsigned window, unsigned burst)
{
	hf_config.limit[CLASS][scope] = (HfRate){quota, window, burst};
}

/* Begins with these rules, as if nobody had ever asked. */
void
start(void)
{
	health = GOOD;
	redis_ask("FLUSHALL");
	hf_limit_start();
}

static void
told(void *arg, const HfLimitVerdict *verdict)
{
	Request *request = arg;

	request->verdict = *verdict;
	request->told = now();
	request->times++;
}

void
ask(Request *request, const char *address, int64_t account)
{
	HfLimitVerdict verdict;

	*request = (Request){.asked = now()};
	if (hf_limit_check(CLASS, address, account, &verdict, told, request))
		told(request, &verdict);
}

static Request
ask_one(const char *address, int64_t account)
{
	Request request;

	ask(&request, address, account);
	redis_answers();
	check(request.times == 1, "told %d times", request.times);
	return request;
}

bool
is_admitted(const char *address, int64_t account)
{
	return ask_one(address, account).verdict.admitted;
}

static unsigned
admitted_of(unsigned n, const char *address, int64_t account)
{
	unsigned admitted = 0;

	for (unsigned i = 0; i < n; i++)
		admitted += is_admitted(address, account);
	return admitted;
}

/* So many seconds, but for those that the test has taken. */
static bool
is_about(unsigned seconds, unsigned most)
{
	return seconds <= most && seconds >= most - 20;
}

static void
no_rules(void)
{
	memset(hf_config.limit, 0, sizeof(hf_config.limit));
}

static void
test_burst(void)
{
	Request first, refused;
	unsigned long before = sent;

	no_rules();
	start();
	check(admitted_of(1000, ADDRESS, 7) == 1000 && sent == before, "a limit without a rule");
	claim("where there is no rule everything is admitted");
	set_rule(HF_LIMIT_ADDRESS, 60, HOUR, 5);
	start();
	first = ask_one(ADDRESS, 0);
	check(first.verdict.admitted && first.verdict.scope == HF_LIMIT_ADDRESS &&
			  first.verdict.quota == 60 && first.verdict.window == HOUR &&
			  first.verdict.remaining == 4 && is_about(first.verdict.reset, 60) &&
			  first.verdict.retry_after == 0,
		  "%u of %u left, all in %u s", first.verdict.remaining, first.verdict.quota,
		  first.verdict.reset);
	check(admitted_of(4, ADDRESS, 0) == 4, "the burst is shorter");
	refused = ask_one(ADDRESS, 0);
	check(!refused.verdict.admitted && refused.verdict.scope == HF_LIMIT_ADDRESS &&
			  refused.verdict.remaining == 0 && is_about(refused.verdict.reset, 300) &&
			  is_about(refused.verdict.retry_after, 60),
		  "all in %u s, one in %u s", refused.verdict.reset, refused.verdict.retry_after);
	check(is_admitted("192.0.2.2", 0), "another address is refused");
	claim("a burst is admitted at once, and then no more; the verdict says when");
	before = sent;
	check(admitted_of(1000, ADDRESS, 0) == 0, "admitted");
	check(sent == before, "Redis was asked %lu times", sent - before);
	claim("who was refused costs no Redis until his time has come");
	check(redis_ask("EXISTS t:limit:write:address:{" ADDRESS "}") == 1, "it has another name");
	check(redis_ask("PTTL t:limit:write:address:{" ADDRESS "}") > 270000, "it is gone too soon");
	check(redis_ask("PTTL t:limit:write:address:{" ADDRESS "}") <= 300000, "it stays too long");
	claim("a name in Redis is there until all of its quota is back");
	check(sent_whole == 1, "the script was sent %lu times", sent_whole);
	claim("the script is sent once");
}

static void
test_scopes(void)
{
	Request refused;

	no_rules();
	set_rule(HF_LIMIT_GLOBAL, 60, HOUR, 10);
	set_rule(HF_LIMIT_ADDRESS, 60, HOUR, 5);
	set_rule(HF_LIMIT_ACCOUNT, 60, HOUR, 2);
	start();
	check(admitted_of(2, ADDRESS, 7) == 2, "refused");
	refused = ask_one(ADDRESS, 7);
	check(!refused.verdict.admitted && refused.verdict.scope == HF_LIMIT_ACCOUNT, "it is not");
	check(counted[HF_METRIC_LIMITED_ACCOUNT] == 1, "it was not counted");
	hf_limit_start();
	check(admitted_of(50, ADDRESS, 7) == 0, "the account is admitted");
	check(admitted_of(1, ADDRESS, 8) == 1 && admitted_of(2, ADDRESS, 0) == 2,
		  "a refused account was charged to its address");
	refused = ask_one(ADDRESS, 9);
	check(!refused.verdict.admitted && refused.verdict.scope == HF_LIMIT_ADDRESS, "it is not");
	check(admitted_of(6, "192.0.2.2", 0) == 5, "another address");
	refused = ask_one("192.0.2.3", 0);
	check(!refused.verdict.admitted && refused.verdict.scope == HF_LIMIT_GLOBAL, "it is not");
	claim("each scope limits, and a request that one refuses is charged to none");
	no_rules();
	set_rule(HF_LIMIT_ACCOUNT, 60, 60, 1);
	start();
	check(admitted_of(20, ADDRESS, 0) == 20, "nobody is somebody");
	claim("who has no account has no account's limit");
}

static void
test_addresses(void)
{
	no_rules();
	set_rule(HF_LIMIT_ADDRESS, 60, HOUR, 1);
	start();
	check(is_admitted("2001:db8:1:2::1", 0), "refused");
	check(!is_admitted("2001:db8:1:2:ffff:ffff:ffff:ffff", 0), "its neighbour is admitted");
	check(is_admitted("2001:db8:1:3::1", 0), "the next network is refused");
	check(redis_ask("EXISTS t:limit:write:address:{2001:db8:1:2::/64}") == 1, "another name");
	check(is_admitted("::ffff:192.0.2.9", 0) && !is_admitted("192.0.2.9", 0), "two addresses");
	check(is_admitted("::", 0) && !is_admitted("::1", 0), "two networks");
	check(is_admitted("0.0.0.0", 0), "it is no network");
	check(is_admitted("somewhere", 0) && !is_admitted("unix:", 0) && !is_admitted(NULL, 0),
		  "what is no address");
	claim("of IPv6 a /64 is one client; IPv4 in IPv6 is IPv4");
}

static void
test_crowd(void)
{
	Request requests[64];
	unsigned long before = sent;
	unsigned admitted = 0;

	no_rules();
	set_rule(HF_LIMIT_ADDRESS, 60, HOUR, 40);
	set_rule(HF_LIMIT_GLOBAL, 60, HOUR, 50);
	start();
	for (int i = 0; i < 64; i++)
		ask(&requests[i], ADDRESS, 0);
	redis_answers();
	for (int i = 0; i < 64; i++)
	{
		check(requests[i].times == 1, "request %d was told %d times", i, requests[i].times);
		check(requests[i].verdict.admitted == (i < 40), "request %d", i);
		admitted += requests[i].verdict.admitted;
	}
	check(admitted == 40 && sent - before <= 3, "%u in %lu commands", admitted, sent - before);
	check(admitted_of(30, "192.0.2.7", 0) == 10, "the refused were charged to all");
	claim("who comes while Redis is asked is asked for together, and as many are admitted");
}

/* Permits in hand are for a busy rule; they lapse, and the burst is smaller by as many. */
static void
test_ahead(void)
{
	Request requests[300];
	unsigned long before;
	unsigned admitted = 0;
	Usec begun;

	no_rules();
	set_rule(HF_LIMIT_ADDRESS, 1000, 1, 200);
	start();
	begun = now();
	for (int i = 0; i < 300; i++)
		ask(&requests[i], ADDRESS, 0);
	redis_answers();
	for (int i = 0; i < 300; i++)
		admitted += requests[i].verdict.admitted;
	check(slow || (admitted >= 100 && admitted < 160 + (now() - begun) / (SECOND / 1000)),
		  "%u were admitted at once", admitted);
	claim("of a rule with permits in hand the burst is smaller by those that may be in hand");
	set_rule(HF_LIMIT_ADDRESS, 1000000, 1, 500000);
	start();
	for (Usec end = now() + SECOND / 4; now() < end;)
		check(is_admitted(ADDRESS, 0), "refused");
	before = sent;
	for (int i = 0; i < 5; i++)
		is_admitted(ADDRESS, 0);
	check(sent < before + 4, "Redis is asked for each");
	usleep(150000);
	before = sent;
	check(is_admitted(ADDRESS, 0) && sent == before + 1, "old permits are good");
	claim("who is busy has permits in hand, and they lapse");
}

static void
test_clock(void)
{
	Request refused;

	no_rules();
	set_rule(HF_LIMIT_ADDRESS, 60, HOUR, 3);
	start();
	redis_ask("SET t:limit:write:address:{" ADDRESS "} 9999999999999999");
	refused = ask_one(ADDRESS, 0);
	check(!refused.verdict.admitted && refused.verdict.retry_after <= 60, "one in %u s",
		  refused.verdict.retry_after);
	redis_ask("SET t:limit:write:address:{192.0.2.2} junk");
	check(admitted_of(4, "192.0.2.2", 0) == 3, "junk");
	claim("whatever the clock did, nobody waits longer than a burst takes");
}

/* What a sick Redis makes of a rule: each process has its share. */
static void
test_away(void)
{
	static const Health sick[] = {DOWN, SILENT, FULL, GARBLED};

	for (size_t i = 0; i < sizeof(sick) / sizeof(sick[0]); i++)
	{
		unsigned long locally = counted[HF_METRIC_LIMITED_LOCALLY], before;
		int lines = logged, asked = 20, admitted;
		Request refused;
		Usec begun;

		no_rules();
		set_rule(HF_LIMIT_ADDRESS, 600, 60, 10);
		set_rule(HF_LIMIT_ACCOUNT, 6, 60, 2);
		start();
		health = sick[i];
		begun = now();
		admitted = admitted_of(20, ADDRESS, 0);
		check(admitted >= 5 && admitted <= 5 + (now() - begun) * 5 / SECOND,
			  "%d, not half of the burst, of two", admitted);
		before = sent;
		for (asked++; (refused = ask_one(ADDRESS, 0)).verdict.admitted && asked < 30; asked++)
			;
		check(!refused.verdict.admitted && refused.verdict.retry_after == 1, "one in %u s",
			  refused.verdict.retry_after);
		check(admitted_of(3, "192.0.2.8", 7) == 1, "an account has more than its share");
		check(sent == before, "it is asked again and again");
		check(counted[HF_METRIC_LIMITED_LOCALLY] == locally + asked + 3, "%lu were judged here",
			  counted[HF_METRIC_LIMITED_LOCALLY] - locally);
		check(logged == lines + 1, "%d lines in the log", logged - lines);
		usleep(refused.verdict.retry_after * 1000000);
		check(is_admitted(ADDRESS, 0), "who waited is refused");
		health = GOOD;
		usleep(600000);
		check(is_admitted("192.0.2.9", 0), "refused");
		check(redis_ask("EXISTS t:limit:write:address:{192.0.2.9}") == 1, "Redis was not asked");
		check(logged == lines + 2, "%d lines in the log", logged - lines);
	}
	claim("without Redis each process has its share of a rule, and asks again soon");
}

/* Whatever happens, everybody is told once. */
static void
test_told_once(void)
{
	enum
	{
		REQUESTS = 20000
	};
	Request *requests = calloc(REQUESTS, sizeof(*requests));

	if (requests == NULL)
		abort();
	no_rules();
	set_rule(HF_LIMIT_GLOBAL, 1000000, 1, 500000);
	set_rule(HF_LIMIT_ADDRESS, 5000, 1, 1000);
	set_rule(HF_LIMIT_ACCOUNT, 100, 1, 100);
	start();
	for (int i = 0; i < REQUESTS; i++)
	{
		char address[20];

		snprintf(address, sizeof(address), "192.0.2.%d", (int) rnd(&seed, 20));
		if (rnd(&seed, 50) == 0)
			health = (Health) rnd(&seed, GARBLED + 1);
		if (rnd(&seed, 500) == 0)
			redis_ask("SCRIPT FLUSH");
		ask(&requests[i], address, (int64_t) rnd(&seed, 10));
		if (rnd(&seed, 40) == 0)
			redis_answers();
		if (rnd(&seed, 1000) == 0)
			usleep(100000);
	}
	redis_answers();
	for (int i = 0; i < REQUESTS; i++)
		check(requests[i].times == 1, "request %d was told %d times", i, requests[i].times);
	free(requests);
	claim("everybody is told once, whatever becomes of Redis");
}

static void
test_flood(void)
{
	char address[40];
	int addresses = slow ? 2000 : 40000;

	no_rules();
	set_rule(HF_LIMIT_ADDRESS, 3, 3600, 3);
	start();
	check(admitted_of(4, ADDRESS, 0) == 3, "another burst");
	for (int i = 0; i < addresses; i++)
	{
		snprintf(address, sizeof(address), "2001:db8:%x:%x::1", i / 65536, i % 65536);
		check(is_admitted(address, 0), "%s is refused", address);
	}
	check(!is_admitted(ADDRESS, 0), "it was forgotten");
	claim("a flood of addresses makes nobody's limit forgotten");
}

/* Nanoseconds of CPU, without that of Redis. */
static void
measure(const char *what, int rounds, int at_once)
{
	Request *requests = calloc((size_t) at_once, sizeof(*requests));
	unsigned long before_sent = sent;
	double before;

	if (requests == NULL)
		abort();
	start();
	before = time_of_process();
	for (int i = 0; i < rounds; i += at_once)
	{
		for (int j = 0; j < at_once; j++)
			ask(&requests[j], ADDRESS, 0);
		redis_answers();
	}
	printf("# %s: %.0f ns a check, %.3f commands\n", what,
		   (time_of_process() - before) * 1e9 / rounds, (double) (sent - before_sent) / rounds);
	free(requests);
}

static void
measure_all(void)
{
	no_rules();
	set_rule(HF_LIMIT_GLOBAL, 1000000, 1, 500000);
	set_rule(HF_LIMIT_ADDRESS, 1000000, 1, 500000);
	measure("permits in hand", slow ? 1000 : 500000, 1);
	measure("64 at once", slow ? 1280 : 500000, 64);
	set_rule(HF_LIMIT_ADDRESS, 300000, 3600, 50000);
	measure("a rule that is exact", slow ? 1000 : 20000, 1);
	set_rule(HF_LIMIT_ADDRESS, 1, 3600, 1);
	measure("who was refused", slow ? 1000 : 500000, 1);
}

int
main(int argc, char **argv)
{
	begin(argc, argv);
	redis_connect();
	test_burst();
	test_scopes();
	test_addresses();
	test_crowd();
	test_ahead();
	test_clock();
	test_away();
	test_told_once();
	test_flood();
	measure_all();
	test_processes();
	return end();
}
