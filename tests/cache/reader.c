/*
 * reader.c
 *		reader DIRECTORY PAGE
 *
 * Tests the reader against a Redis that it starts in DIRECTORY, and compares it with PAGE, the
 * protocol.  Prints a line of TAP for each claim, without a plan, and exits with 1 if one does not
 * hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

/* A reader of the test's Redis, with a time-out in milliseconds. */
HfCacheReader *
reader_open(int timeout)
{
	HfCacheAddress address = {.path = redis_path, .timeout = timeout};
	HfCacheReader *reader = hf_cache_reader_open(&address, PREFIX);

	if (reader == NULL)
		abort();
	return reader;
}

HfCacheEntry
entry_of(const char *key)
{
	HfCacheEntry entry;

	if (!hf_cache_entry_begin(&entry, key, NULL, 0))
		abort();
	return entry;
}

HfCacheEntry
entry_with_tag(const char *key, const char *tag)
{
	HfCacheEntry entry = entry_of(key);

	if (!hf_cache_entry_tag(&entry, tag, NULL, 0))
		abort();
	return entry;
}

HfText
text_of(const char *text)
{
	HfText result = {text, strlen(text)};

	return result;
}

bool
same(HfText text, const char *data, size_t length)
{
	return text.length == length && (length == 0 || memcmp(text.data, data, length) == 0);
}

const char *
answer_name(HfCacheAnswer answer)
{
	static const char *const name[] =
		{[HF_CACHE_OFF] = "OFF",		   [HF_CACHE_MOVED] = "MOVED",
		 [HF_CACHE_HIT] = "HIT",		   [HF_CACHE_MISS] = "MISS",
		 [HF_CACHE_LEASED] = "LEASED",	   [HF_CACHE_BUSY] = "BUSY",
		 [HF_CACHE_STORED] = "STORED",	   [HF_CACHE_REFUSED] = "REFUSED",
		 [HF_CACHE_NOSCRIPT] = "NOSCRIPT", [HF_CACHE_BROKEN] = "BROKEN"};

	return name[answer];
}

void
expect(HfCacheAnswer got, HfCacheAnswer expected, const char *when)
{
	check(got == expected, "%s: the answer is %s, not %s", when, answer_name(got),
		  answer_name(expected));
}

/* Reads, and checks that there is a lease just when the answer says so. */
HfCacheAnswer
get(HfCacheReader *reader, const HfCacheEntry *entry, HfText *payload, HfCacheLease *lease)
{
	HfCacheAnswer answer = hf_cache_reader_get(reader, entry, payload, lease);

	check((answer == HF_CACHE_LEASED) == (lease->token[0] != '\0'), "%s, and the lease is \"%s\"",
		  answer_name(answer), lease->token);
	return answer;
}

/* Fills an entry that is not there. */
void
put(HfCacheReader *reader, const HfCacheEntry *entry, const char *payload)
{
	HfText text = text_of(payload), found = {NULL, 0};
	HfCacheLease lease;

	expect(get(reader, entry, &found, &lease), HF_CACHE_LEASED, "before a fill");
	expect(hf_cache_reader_fill(reader, &lease, &text, 60000), HF_CACHE_STORED, "a fill");
	expect(get(reader, entry, &found, &lease), HF_CACHE_HIT, "after a fill");
	check(same(found, text.data, text.length), "what was filled is \"%.*s\", not \"%s\"",
		  (int) found.length, found.data, payload);
}

int
main(int argc, char **argv)
{
	if (argc != 3)
	{
		fprintf(stderr, "usage: reader DIRECTORY PAGE\n");
		return 2;
	}
	test_keys();
	test_replies();
	redis_begin(argv[1]);
	test_rules(argv[2]);
	test_rules_broken();
	test_trouble();
	redis_end();
	test_hostile(argv[1]);
	return claims_broken() > 0;
}
