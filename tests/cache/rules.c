/*
 * rules.c
 *		Each rule of the protocol, with two readers, a real Redis, and the worker's part played.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

#define LONG 60000 /* milliseconds: longer than the tests take */

static HfCacheReader *a, *b;
static HfText payload;
static HfCacheLease lease, other;

/* An empty Redis, and a worker that is alive. */
static void
begin(void)
{
	redis_run("FLUSHALL");
	worker_beat("5", LONG);
}

static HfCacheAnswer
fill(HfCacheReader *reader, HfCacheLease *with, const char *text)
{
	HfText filled = text_of(text);

	return hf_cache_reader_fill(reader, with, &filled, LONG);
}

static void
test_heartbeat(void)
{
	HfCacheEntry item = entry_of("item:1");
	Usec begun;

	begin();
	put(a, &item, "old");
	worker_stop();
	expect(get(a, &item, &payload, &lease), HF_CACHE_OFF, "without a heartbeat");
	expect(get(b, &item, &payload, &lease), HF_CACHE_OFF, "without one ever seen");
	check(redis_number("EXISTS " PREFIX "5:lease:{item:1}") == 0, "a lease was taken");
	worker_beat("5", LONG);
	expect(get(a, &item, &payload, &lease), HF_CACHE_HIT, "with a heartbeat again");
	claim("without a heartbeat the cache is off, whatever is in it");

	worker_beat("5", -1);
	expect(get(a, &item, &payload, &lease), HF_CACHE_OFF, "with a heartbeat that came late");
	begun = now();
	worker_beat("5", 50);
	while (get(a, &item, &payload, &lease) != HF_CACHE_OFF && now() - begun < 40 * SECOND)
		;
	check(now() - begun < 20 * SECOND, "a heartbeat of 50 ms is there for %ld us",
		  (long) (now() - begun));
	claim("a heartbeat ends by itself, and one that comes too late is none");
}

static void
test_hit(void)
{
	HfCacheEntry item = entry_of("item:1");
	const char *statistics;

	begin();
	put(a, &item, "value");
	expect(get(b, &item, &payload, &lease), HF_CACHE_HIT, "for the other reader");
	check(same(payload, "value", 5), "the payload is \"%.*s\"", (int) payload.length, payload.data);
	redis_run("CONFIG RESETSTAT");
	expect(get(b, &item, &payload, &lease), HF_CACHE_HIT, "once more");
	statistics = redis_run("INFO commandstats")->str;
	check(strstr(statistics, "cmdstat_mget:calls=1,") != NULL &&
			  strstr(statistics, "cmdstat_get:") == NULL &&
			  strstr(statistics, "cmdstat_evalsha:") == NULL,
		  "there were other commands: %s", statistics);
	claim("a hit is one command");

	check(redis_text_is("\nvalue", 6, "GET " PREFIX "5:value:{item:1}"), "the value is another");
	check(redis_number("PTTL " PREFIX "5:value:{item:1}") > LONG - 30000 &&
			  redis_number("PTTL " PREFIX "5:value:{item:1}") <= LONG,
		  "its TTL is another");
	check(redis_number("EXISTS " PREFIX "5:lease:{item:1}") == 0, "the lease is still there");
	check(redis_number("DBSIZE") == 3, "there is more in Redis than a value and the worker's");
	claim("values stand where the protocol says, with a TTL, and nothing else is left");
}

static void
test_lease(void)
{
	HfCacheEntry item = entry_of("item:1");
	HfCacheLease copy;
	long long left;

	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "first");
	left = redis_number("PTTL " PREFIX "5:lease:{item:1}");
	check(left > 0 && left <= 2000, "the lease lives %lld ms", left);
	expect(get(b, &item, &payload, &other), HF_CACHE_BUSY, "second");
	expect(get(a, &item, &payload, &other), HF_CACHE_BUSY, "the first once more");
	expect(fill(a, &lease, "one"), HF_CACHE_STORED, "with the lease");
	expect(get(b, &item, &payload, &other), HF_CACHE_HIT, "after the fill");
	claim("of two readers who miss one has the lease");

	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "first");
	redis_run("PEXPIRE " PREFIX "5:lease:{item:1} 1");
	while (redis_number("EXISTS " PREFIX "5:lease:{item:1}") == 1)
		;
	expect(get(b, &item, &payload, &other), HF_CACHE_LEASED, "when the lease has expired");
	expect(fill(a, &lease, "late"), HF_CACHE_REFUSED, "with the old lease");
	expect(fill(b, &other, "good"), HF_CACHE_STORED, "with the new lease");
	expect(get(a, &item, &payload, &lease), HF_CACHE_HIT, "after the fill");
	check(same(payload, "good", 4), "the payload is \"%.*s\"", (int) payload.length, payload.data);
	claim("a reader who was too slow can fill nothing, and takes no other's lease away");

	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "a miss");
	copy = lease;
	expect(fill(a, &lease, "one"), HF_CACHE_STORED, "first");
	expect(fill(a, &lease, "two"), HF_CACHE_REFUSED, "second");
	expect(fill(a, &copy, "two"), HF_CACHE_REFUSED, "second, with a copy");
	expect(get(a, &item, &payload, &lease), HF_CACHE_HIT, "then");
	check(same(payload, "one", 3), "the payload is \"%.*s\"", (int) payload.length, payload.data);
	claim("a lease is good for one fill");
}

static void
test_lease_tokens(void)
{
	enum
	{
		LEASES = 300
	};
	static char seen[LEASES][sizeof(lease.token)];
	HfCacheEntry item = entry_with_tag("item:1", "tag:all");

	begin();
	for (int i = 0; i < LEASES; i++)
	{
		expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "a miss");
		check(strlen(lease.token) == 32 && strcmp(lease.token, lease.tag_token) != 0,
			  "the token of a lease is %s", lease.token);
		memcpy(seen[i], lease.token, sizeof(lease.token));
		for (int k = 0; k < i; k++)
			check(strcmp(seen[k], seen[i]) != 0, "lease %d has the token of %d", i, k);
		worker_invalidate("5", "item:1");
	}
	claim("each lease has a token of its own");
}

static void
test_invalidation(void)
{
	HfCacheEntry item = entry_of("item:1");

	begin();
	put(a, &item, "old");
	worker_invalidate("5", "item:1");
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "after a change");
	claim("a change makes a miss of a hit");

	worker_invalidate("5", "item:1");
	expect(fill(a, &lease, "old"), HF_CACHE_REFUSED, "after a change");
	expect(get(b, &item, &payload, &lease), HF_CACHE_LEASED, "then");
	claim("what was read before a change cannot be filled after it");

	expect(get(a, &item, &payload, &other), HF_CACHE_BUSY, "of two");
	worker_invalidate("5", "item:1");
	expect(get(a, &item, &payload, &other), HF_CACHE_LEASED, "after a change");
	expect(fill(b, &lease, "old"), HF_CACHE_REFUSED, "of the first reader");
	expect(fill(a, &other, "new"), HF_CACHE_STORED, "of the second");
	expect(get(b, &item, &payload, &lease), HF_CACHE_HIT, "then");
	check(same(payload, "new", 3), "the payload is \"%.*s\"", (int) payload.length, payload.data);
	claim("who missed after the change may fill, who missed before it may not");
}

static void
test_generation(void)
{
	HfCacheEntry item = entry_of("item:1");

	begin();
	put(a, &item, "five");
	expect(get(b, &item, &payload, &lease), HF_CACHE_HIT, "in generation 5");
	worker_beat("6", LONG);
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "in generation 6");
	check(strcmp(hf_cache_reader_generation(a), "6") == 0, "the generation is %s",
		  hf_cache_reader_generation(a));
	expect(fill(a, &lease, "six"), HF_CACHE_STORED, "in generation 6");
	expect(get(b, &item, &payload, &lease), HF_CACHE_HIT, "for the other reader");
	check(same(payload, "six", 3), "the payload is \"%.*s\"", (int) payload.length, payload.data);
	claim("with a new generation all entries are gone");

	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "in generation 5");
	worker_beat("6", LONG);
	expect(fill(a, &lease, "old"), HF_CACHE_REFUSED, "in generation 6");
	check(redis_number("EXISTS " PREFIX "5:value:{item:1} " PREFIX "6:value:{item:1}") == 0,
		  "something was stored");
	claim("what was read in an old generation cannot be filled in a new one");

	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "with a heartbeat");
	other = lease;
	worker_stop();
	expect(fill(a, &lease, "old"), HF_CACHE_REFUSED, "without one");
	worker_beat("5", LONG);
	expect(fill(a, &other, "old"), HF_CACHE_REFUSED, "with one again");
	check(redis_number("EXISTS " PREFIX "5:value:{item:1}") == 0, "something was stored");
	claim("what was read before the heartbeat went cannot be filled after it");
}

static void
test_tags(void)
{
	HfCacheEntry item = entry_with_tag("item:1", "tag:all"),
				 two = entry_with_tag("item:2", "tag:a");
	HfCacheEntry turned = entry_with_tag("item:2", "tag:b"), bare = entry_of("item:1");

	hf_cache_entry_tag(&two, "tag:b", NULL, 0);
	hf_cache_entry_tag(&turned, "tag:a", NULL, 0);
	begin();
	put(a, &item, "one");
	put(b, &two, "two");
	check(redis_number("PTTL " PREFIX "5:tag:{tag:all}") >
			  redis_number("PTTL " PREFIX "5:value:{item:1}") + 2000,
		  "a tag does not live longer than the value");
	worker_invalidate("5", "tag:all");
	expect(get(a, &two, &payload, &lease), HF_CACHE_HIT, "with other tags");
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "without a token");
	expect(fill(a, &lease, "new"), HF_CACHE_STORED, "with the new token");
	expect(get(b, &item, &payload, &lease), HF_CACHE_HIT, "with the new token");
	check(same(payload, "new", 3), "the payload is \"%.*s\"", (int) payload.length, payload.data);
	claim("a change of a tag makes misses of all that depend on it, and of nothing else");

	redis_run("SET " PREFIX "5:tag:{tag:b} evicted-and-made-again");
	expect(get(a, &two, &payload, &lease), HF_CACHE_LEASED, "with another token");
	expect(fill(a, &lease, "two"), HF_CACHE_STORED, "with another token");
	expect(get(a, &two, &payload, &lease), HF_CACHE_HIT, "with the same token");
	redis_run("DEL " PREFIX "5:tag:{tag:a}");
	expect(get(a, &two, &payload, &lease), HF_CACHE_LEASED, "without a token");
	claim("a tag that Redis has forgotten makes misses as well");

	begin();
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "a miss");
	worker_invalidate("5", "tag:all");
	(void) fill(a, &lease, "old");
	expect(get(b, &item, &payload, &lease), HF_CACHE_LEASED, "after the change of the tag");
	redis_run("DEL " PREFIX "5:lease:{item:1}");
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "with a token that came later");
	claim("what was read before a tag changed is never a hit after it");

	begin();
	redis_run("MSET " PREFIX "5:tag:{tag:a} one " PREFIX "5:tag:{tag:b} other");
	put(a, &two, "two");
	expect(get(a, &turned, &payload, &lease), HF_CACHE_LEASED, "with the tags in another order");
	put(a, &item, "one");
	expect(get(a, &bare, &payload, &lease), HF_CACHE_LEASED, "without the tags");
	expect(fill(a, &lease, "bare"), HF_CACHE_STORED, "without the tags");
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "with a tag");
	claim("readers who do not agree on the tags of an entry miss");
}

static void
test_payloads(void)
{
	HfCacheEntry item = entry_with_tag("item:1", "tag:all");
	char *large = malloc(HF_CACHE_PAYLOAD_MAX + 1);
	size_t length[] = {0, 1, 255, 1 << 20, HF_CACHE_PAYLOAD_MAX};
	uint64_t random_state = 3;

	if (large == NULL)
		abort();
	for (size_t i = 0; i <= HF_CACHE_PAYLOAD_MAX; i++)
		large[i] = (char) i;
	for (size_t i = 0; i < 1 << 20; i += 100)
		large[i] = "\0\n "[rnd(&random_state, 3)];
	begin();
	for (size_t i = 0; i < sizeof(length) / sizeof(length[0]); i++)
	{
		HfText text = {large, length[i]};

		expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "a miss");
		/* A machine that is slow today is not what is tested. */
		redis_run("PEXPIRE " PREFIX "5:lease:{item:1} %d", LONG);
		expect(hf_cache_reader_fill(a, &lease, &text, LONG), HF_CACHE_STORED, "a fill");
		expect(get(b, &item, &payload, &lease), HF_CACHE_HIT, "a hit");
		check(same(payload, large, length[i]), "%zu bytes became %zu", length[i], payload.length);
		worker_invalidate("5", "item:1");
	}
	claim("any bytes come back as they were filled, 0 to 16 MB");

	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "a miss");
	expect(hf_cache_reader_fill(a, &lease, &(HfText){large, HF_CACHE_PAYLOAD_MAX + 1}, LONG),
		   HF_CACHE_REFUSED, "a payload that is too large");
	redis_run("DEL " PREFIX "5:lease:{item:1}");
	put(a, &item, "small");
	claim("more is refused, and the reader goes on");
	free(large);
}

/* The scripts of the page: lines that are indented by seven blanks, without these. */
static int
read_scripts(FILE *page, char script[2][1000])
{
	char line[300];
	size_t length = 0; /* of the current one */
	int n = 0;
	bool inside = false;

	while (fgets(line, sizeof(line), page) != NULL)
	{
		bool is_code = strncmp(line, "       ", 7) == 0;

		if (is_code && !inside)
		{
			n++;
			length = 0;
		}
		if (is_code && n <= 2 && length < 1000)
			length += (size_t) snprintf(script[n - 1] + length, 1000 - length, "%s", line + 7);
		inside = is_code;
	}
	return n;
}

/* Redis's digest of a script. */
static void
load(char digest[41], const char *script)
{
	redisReply *reply = redis_run("SCRIPT LOAD %s", script);

	snprintf(digest, 41, "%s", reply->type == REDIS_REPLY_STRING ? reply->str : "wrong");
}

static void
test_page(const char *name)
{
	static HfCacheCommand command;
	char script[2][1000], ours[41], theirs[41];
	HfCacheEntry item = entry_of("item:1");
	HfCacheSpace space;
	FILE *page = fopen(name, "r");

	if (!check(page != NULL, "there is no %s", name))
		return;
	check(read_scripts(page, script) == 2, "the page has other than two scripts");
	fclose(page);
	hf_cache_space_begin(&space, PREFIX);
	for (int i = 0; i < 4; i++)
	{
		if (i < 2)
			hf_cache_lease(&command, &space, &item, &lease, i & 1);
		else
			hf_cache_fill(&command, &space, &lease, &(HfText){"x", 1}, 1, i & 1);
		load(theirs, script[i / 2]);
		if (i & 1)
			load(ours, command.argv[1]);
		check(strcmp(i & 1 ? ours : command.argv[1], theirs) == 0, "%s is not\n%s", command.argv[1],
			  script[i / 2]);
	}
	claim("the scripts and their digests are those of the page");
}

static void
test_scripts(void)
{
	HfCacheEntry item = entry_of("item:1");

	begin();
	redis_run("SCRIPT FLUSH");
	put(a, &item, "one");
	worker_invalidate("5", "item:1");
	expect(get(a, &item, &payload, &lease), HF_CACHE_LEASED, "with a known script");
	redis_run("SCRIPT FLUSH");
	expect(fill(a, &lease, "two"), HF_CACHE_STORED, "with a forgotten script");
	worker_invalidate("5", "item:1");
	put(a, &item, "three");
	claim("scripts that Redis has forgotten are sent again");

	worker_invalidate("5", "item:1");
	redis_run("CONFIG RESETSTAT");
	put(a, &item, "four");
	check(strstr(redis_run("INFO commandstats")->str, "cmdstat_eval:") == NULL,
		  "a known script was sent");
	claim("and not if it knows them");
}

void
test_rules(const char *page)
{
	a = reader_open(5000);
	b = reader_open(5000);
	test_heartbeat();
	test_hit();
	test_lease();
	test_lease_tokens();
	test_invalidation();
	test_generation();
	test_tags();
	test_payloads();
	test_scripts();
	test_page(page);
	hf_cache_reader_close(a);
	hf_cache_reader_close(b);
}
