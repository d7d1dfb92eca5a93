/*
 * rules_broken.c
 *		What may be wrong in Redis: other types, flushed or full, values that nobody of ours wrote.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "reader.h"

#define LONG 60000 /* milliseconds: longer than the tests take */

static HfCacheReader *a;
static HfText payload;
static HfCacheLease lease;

static void
begin(void)
{
	redis_run("FLUSHALL");
	worker_beat("5", LONG);
}

static void
test_flush(void)
{
	HfCacheEntry item = entry_of("item:1");
	HfText text = text_of("old");

	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "a miss");
	redis_run("FLUSHALL");
	expect(hf_cache_reader_fill(a, &lease, &text, LONG), HF_CACHE_REFUSED, "after FLUSHALL");
	expect(get(a, &item, &payload, &lease), HF_CACHE_OFF, "after FLUSHALL");
	check(redis_number("DBSIZE") == 0, "something was stored");
	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "a miss");
	redis_run("FLUSHALL");
	worker_beat("5", LONG);
	expect(hf_cache_reader_fill(a, &lease, &text, LONG), HF_CACHE_REFUSED, "after FLUSHALL");
	put(a, &item, "new");
	claim("nothing that was read before FLUSHALL is filled after it");
}

static void
test_types(void)
{
	HfCacheEntry item = entry_with_tag("item:1", "tag:all");

	begin();
	redis_run("RPUSH " PREFIX "5:value:{item:1} x");
	put(a, &item, "over a list");
	claim("another type in the place of a value is a miss, and is filled");

	redis_run("DEL " PREFIX "5:tag:{tag:all}");
	redis_run("RPUSH " PREFIX "5:tag:{tag:all} x");
	expect(get(a, &item, &payload, &lease), HF_CACHE_OFF, "with a list for a tag");
	worker_invalidate("5", "tag:all");
	worker_invalidate("5", "item:1");
	put(a, &item, "again");
	redis_run("DEL " PREFIX "5:value:{item:1}");
	redis_run("RPUSH " PREFIX "5:lease:{item:1} x");
	expect(get(a, &item, &payload, &lease), HF_CACHE_BUSY, "with a list for a lease");
	worker_invalidate("5", "item:1");
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "then");
	redis_run("DEL " PREFIX "5:lease:{item:1}");
	redis_run("RPUSH " PREFIX "5:lease:{item:1} x");
	expect(hf_cache_reader_fill(a, &lease, &(HfText){"x", 1}, LONG), HF_CACHE_OFF,
		   "with a list for a lease");
	claim("another type in the place of a tag or a lease fills nothing");

	begin();
	put(a, &item, "one");
	redis_run("DEL " PREFIX "heartbeat");
	redis_run("RPUSH " PREFIX "heartbeat 5");
	expect(get(a, &item, &payload, &lease), HF_CACHE_OFF, "with a list for a heartbeat");
	claim("another type in the place of the heartbeat is none");
}

/* A stored value is seen as a miss, and is written over. */
static void
expect_miss(const HfCacheEntry *item, const char *value, size_t length)
{
	begin();
	redis_run("SET " PREFIX "5:tag:{tag:all} token");
	redis_run("SET " PREFIX "5:value:{item:1} %b", value, length);
	expect(get(a, item, &payload, &lease), HF_CACHE_LEASED, value);
	expect(hf_cache_reader_fill(a, &lease, &(HfText){"x", 1}, LONG), HF_CACHE_STORED, value);
	expect(get(a, item, &payload, &lease), HF_CACHE_HIT, value);
}

static void
test_values(void)
{
	HfCacheEntry bare = entry_of("item:1"), tagged = entry_with_tag("item:1", "tag:all");

	expect_miss(&bare, "", 0);
	expect_miss(&bare, "no line", 7);
	expect_miss(&bare, " \nx", 3);
	expect_miss(&bare, "token\nx", 7);
	expect_miss(&tagged, "", 0);
	expect_miss(&tagged, "\nx", 2);
	expect_miss(&tagged, "token", 5);
	expect_miss(&tagged, "toke\nx", 6);
	expect_miss(&tagged, "tokens\nx", 8);
	expect_miss(&tagged, "token \nx", 8);
	expect_miss(&tagged, " token\nx", 8);
	expect_miss(&tagged, "token token\nx", 13);
	expect_miss(&tagged, "token\0\nx", 8);
	expect_miss(&tagged, "token\r\nx", 8);
	claim("a value without a line of just the right tokens is a miss, and is written over");

	begin();
	redis_run("SET " PREFIX "5:tag:{tag:all} %b", "", (size_t) 0);
	redis_run("SET " PREFIX "5:value:{item:1} %b", "\nx", (size_t) 2);
	expect(get(a, &tagged, &payload, &lease), HF_CACHE_OFF, "with an empty token");
	begin();
	redis_run("SET " PREFIX "5:tag:{tag:all} %b", "a\nb", (size_t) 3);
	redis_run("SET " PREFIX "5:value:{item:1} %b", "a\nb\nx", (size_t) 5);
	expect(get(a, &tagged, &payload, &lease), HF_CACHE_OFF, "with a line feed in a token");
	claim("what cannot be a token is none");
}

static void
test_full(void)
{
	HfCacheEntry item = entry_of("item:1"), two = entry_of("item:2");

	begin();
	put(a, &item, "one");
	redis_run("CONFIG SET maxmemory 1 maxmemory-policy noeviction");
	expect(get(a, &item, &payload, &lease), HF_CACHE_HIT, "what is there already");
	expect(get(a, &two, &payload, &lease), HF_CACHE_OFF, "what is not");
	check(strstr(hf_cache_reader_error(a), "OOM") != NULL, "the reader says: %s",
		  hf_cache_reader_error(a));
	redis_run("CONFIG SET maxmemory 0");
	put(a, &two, "two");
	claim("a full Redis gives hits, and fills nothing");
}

static void
test_refusals(void)
{
	HfCacheEntry item = entry_of("item:1");
	Usec begun;

	begin();
	put(a, &item, "one");
	redis_run("CONFIG SET requirepass secret");
	redis_run("CLIENT KILL TYPE normal SKIPME yes");
	expect(get(a, &item, &payload, &lease), HF_CACHE_BROKEN, "when the connection is cut");
	begun = now();
	while (get(a, &item, &payload, &lease) == HF_CACHE_BROKEN && now() - begun < 30 * SECOND)
		redis_run("PING");
	expect(get(a, &item, &payload, &lease), HF_CACHE_OFF, "without a password");
	redis_run("CONFIG SET requirepass %s", "");
	expect(get(a, &item, &payload, &lease), HF_CACHE_HIT, "when no password is needed");
	claim("a reader whom Redis does not let in is off");
}

void
test_rules_broken(void)
{
	a = reader_open(5000);
	test_flush();
	test_types();
	test_values();
	test_full();
	test_refusals();
	hf_cache_reader_close(a);
}
