/*
 * cache_set.c
 *		A set of cache keys in the order in which they came.
 *
 * The keys are packed one behind the other, each with its length in a byte before it, which is how
 * they travel through the ring.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "cache_set.h"

/* Until there are more keys than this, looking through them is as fast as hashing. */
#define FEW 8

/* Makes an empty set; what it needs is taken from the context. */
void
hf_cache_set_init(HfCacheSet *set, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	memset(set, 0, sizeof(HfCacheSet));
	set->context = context;
	initStringInfo(&set->packed);
	set->room = FEW;
	set->key = palloc(sizeof(HfCacheKey) * FEW);
	MemoryContextSwitchTo(old);
}

/* Puts a key into its bucket, or the first free one behind it. */
static void
hf_cache_set_index(HfCacheSet *set, int number)
{
	uint32 at = set->key[number].hash & set->mask;

	while (set->bucket[at] != 0)
		at = (at + 1) & set->mask;
	set->bucket[at] = number + 1;
}

static void
hf_cache_set_index_all(HfCacheSet *set)
{
	memset(set->bucket, 0, (Size) (set->mask + 1) * sizeof(uint32));
	for (int i = 0; i < set->nkeys; i++)
		hf_cache_set_index(set, i);
}

/* Makes room for twice as many keys; at most half of the buckets are ever in use. */
static void
hf_cache_set_grow(HfCacheSet *set)
{
	set->key = repalloc(set->key, sizeof(HfCacheKey) * 2 * set->room);
	set->room *= 2;
	if (set->bucket != NULL)
		pfree(set->bucket);
	set->bucket = NULL;
	set->bucket = MemoryContextAllocHuge(set->context, sizeof(uint32) * 2 * set->room);
	set->mask = 2 * set->room - 1;
	hf_cache_set_index_all(set);
}

static bool
hf_cache_set_is(const HfCacheSet *set, int number, uint32 hash, const char *key, int length)
{
	const char *packed = set->packed.data + set->key[number].offset;

	return set->key[number].hash == hash && (uint8) packed[0] == length &&
		memcmp(packed + 1, key, length) == 0;
}

static bool
hf_cache_set_has(const HfCacheSet *set, uint32 hash, const char *key, int length)
{
	if (set->bucket == NULL)
	{
		for (int i = set->nkeys - 1; i >= 0; i--)
			if (hf_cache_set_is(set, i, hash, key, length))
				return true;
		return false;
	}
	for (uint32 at = hash & set->mask; set->bucket[at] != 0; at = (at + 1) & set->mask)
		if (hf_cache_set_is(set, set->bucket[at] - 1, hash, key, length))
			return true;
	return false;
}

/* Adds a key of 1 to 255 bytes; false if it is there already, with whatever level. */
bool
hf_cache_set_add(HfCacheSet *set, const char *key, int length, int level)
{
	uint32 hash = hash_bytes((const unsigned char *) key, length);

	if (hf_cache_set_has(set, hash, key, length))
		return false;
	if (set->nkeys == set->room)
		hf_cache_set_grow(set);
	enlargeStringInfo(&set->packed, length + 1);
	set->key[set->nkeys] = (HfCacheKey){set->packed.len, hash, level};
	appendStringInfoCharMacro(&set->packed, (char) length);
	appendBinaryStringInfo(&set->packed, key, length);
	set->nkeys++;
	if (set->bucket != NULL)
		hf_cache_set_index(set, set->nkeys - 1);
	return true;
}

/* Forgets the keys from a number on. */
void
hf_cache_set_truncate(HfCacheSet *set, int nkeys)
{
	if (nkeys >= set->nkeys)
		return;
	set->packed.len = set->key[nkeys].offset;
	set->nkeys = nkeys;
	if (set->bucket != NULL)
		hf_cache_set_index_all(set);
}

/* A key by its number; not terminated. */
const char *
hf_cache_set_get(const HfCacheSet *set, int number, int *length)
{
	const char *packed = set->packed.data + set->key[number].offset;

	*length = (uint8) packed[0];
	return packed + 1;
}
