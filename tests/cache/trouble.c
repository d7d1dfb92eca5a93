/*
 * trouble.c
 *		Redis that is not there, killed, frozen, restarted: calls end in bounded time, nothing old
 *		is served, and readers recover.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reader.h"

#define LONG	60000 /* milliseconds: longer than the tests take */
#define TIMEOUT 1000  /* milliseconds, of the reader */

/* A busy machine may take longer than the reader waits. */
#define BOUND	 (TIMEOUT * 1000 + 20 * SECOND)
#define RECOVERY (30 * SECOND)

static HfCacheReader *a;
static HfText payload;
static HfCacheLease lease;

/* Reads, and checks that it has not taken long. */
static HfCacheAnswer
quick_get(const HfCacheEntry *item)
{
	Usec begun = now();
	HfCacheAnswer answer = get(a, item, &payload, &lease);

	check(now() - begun < BOUND, "%s after %ld us", answer_name(answer), (long) (now() - begun));
	return answer;
}

/* Reads until the answer is one; the time that took. */
static Usec
get_until(const HfCacheEntry *item, HfCacheAnswer wanted)
{
	Usec begun = now();

	while (quick_get(item) != wanted && now() - begun < 2 * RECOVERY)
		usleep(1000);
	return now() - begun;
}

static void
begin(const HfCacheEntry *item)
{
	redis_run("FLUSHALL");
	worker_beat("5", LONG);
	check(get_until(item, HF_CACHE_LEASED) < RECOVERY, "Redis is there, but the reader is not");
	expect(hf_cache_reader_fill(a, &lease, &(HfText){"old", 3}, LONG), HF_CACHE_STORED,
		   "a fill");
}

static void
test_killed(void)
{
	HfCacheEntry item = entry_of("item:1");
	Usec begun;

	begin(&item);
	redis_kill();
	for (int i = 0; i < 3; i++)
		expect(quick_get(&item), HF_CACHE_BROKEN, "without Redis");
	check(hf_cache_reader_error(a)[0] != '\0', "the reader does not say what is wrong");
	begun = now();
	for (int i = 0; i < 10000; i++)
		(void) quick_get(&item);
	check(now() - begun < 20 * SECOND, "10000 calls without Redis take %ld us",
		  (long) (now() - begun));
	claim("without Redis calls fail, and soon at once");

	redis_start();
	check(get_until(&item, HF_CACHE_OFF) < RECOVERY, "no recovery");
	worker_beat("5", LONG);
	expect(quick_get(&item), HF_CACHE_LEASED, "of an empty Redis");
	claim("readers are back after Redis");

	redis_kill();
	expect(hf_cache_reader_fill(a, &lease, &(HfText){"old", 3}, LONG), HF_CACHE_BROKEN,
		   "a fill without Redis");
	redis_start();
	worker_beat("5", LONG);
	check(get_until(&item, HF_CACHE_LEASED) < RECOVERY, "no recovery");
	claim("a fill without Redis fails, and leaves nothing");
}

static void
test_frozen(void)
{
	HfCacheEntry item = entry_of("item:1"), two = entry_of("item:2");
	Usec begun;

	begin(&item);
	redis_freeze();
	begun = now();
	expect(quick_get(&item), HF_CACHE_BROKEN, "of a frozen Redis");
	check(now() - begun >= TIMEOUT * 1000 - 2000, "it was not waited for: %ld us",
		  (long) (now() - begun));
	begun = now();
	for (int i = 0; i < 100; i++)
		expect(quick_get(&item), HF_CACHE_BROKEN, "of a frozen Redis");
	check(now() - begun < 100 * TIMEOUT * 1000 / 2, "each call waits for a frozen Redis");
	redis_wake();
	check(get_until(&item, HF_CACHE_HIT) < RECOVERY, "no recovery");
	claim("a frozen Redis is waited for once and briefly, and is found again");

	worker_beat("5", 100);
	redis_freeze();
	usleep(150000);
	redis_wake();
	expect(quick_get(&item), HF_CACHE_OFF, "of a Redis that has slept too long");
	claim("what a frozen Redis held is no hit when it wakes");

	worker_beat("5", LONG);
	expect(quick_get(&two), HF_CACHE_LEASED, "a miss");
	redis_freeze();
	expect(hf_cache_reader_fill(a, &lease, &(HfText){"old", 3}, LONG), HF_CACHE_BROKEN,
		   "a fill of a frozen Redis");
	redis_wake();
	worker_invalidate("5", "item:2");
	check(get_until(&two, HF_CACHE_LEASED) < RECOVERY, "no recovery");
	claim("a fill that a frozen Redis does later cannot outlive a change");

	redis_freeze();
	hf_cache_reader_close(a);
	a = reader_open(TIMEOUT);
	expect(quick_get(&item), HF_CACHE_BROKEN, "of a frozen Redis never seen");
	redis_wake();
	check(get_until(&item, HF_CACHE_HIT) < RECOVERY, "no recovery");
	claim("nor does the first call wait long");
}

static void
test_cut(void)
{
	HfCacheEntry item = entry_of("item:1");

	begin(&item);
	for (int i = 0; i < 20; i++)
	{
		redis_run("CLIENT KILL TYPE normal SKIPME yes");
		expect(quick_get(&item), HF_CACHE_BROKEN, "over a connection that was cut");
		if (!check(get_until(&item, HF_CACHE_HIT) < RECOVERY, "no recovery"))
			break;
	}
	claim("a connection that Redis closes raises no signal, and is replaced");
}

static void
test_nowhere(void)
{
	HfCacheAddress address[] = {
		{.path = "/nonexistent/redis.sock", .timeout = TIMEOUT},
		{.host = "127.0.0.1", .port = 1, .timeout = TIMEOUT},
		{.host = "::1", .port = 1, .timeout = TIMEOUT},
		{.host = "192.0.2.1", .port = 6379, .timeout = TIMEOUT},
		{.host = "no such host", .port = 6379, .timeout = TIMEOUT},
	};
	HfCacheEntry item = entry_of("item:1");

	for (size_t i = 0; i < sizeof(address) / sizeof(address[0]); i++)
	{
		hf_cache_reader_close(a);
		a = hf_cache_reader_open(&address[i], PREFIX);
		if (!check(a != NULL, "address %zu is refused", i))
			break;
		expect(quick_get(&item), HF_CACHE_BROKEN, "where no Redis is");
		expect(quick_get(&item), HF_CACHE_BROKEN, "where no Redis is");
	}
	check(hf_cache_reader_open(&(HfCacheAddress){.timeout = 1}, PREFIX) == NULL,
		  "no address is one");
	check(hf_cache_reader_open(&(HfCacheAddress){.path = "/x"}, PREFIX) == NULL,
		  "no time-out is one");
	claim("where no Redis is, calls fail in time");
}

void
test_trouble(void)
{
	a = reader_open(TIMEOUT);
	test_killed();
	test_frozen();
	test_cut();
	test_nowhere();
	hf_cache_reader_close(a);
}
