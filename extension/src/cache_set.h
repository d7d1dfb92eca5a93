/*
 * cache_set.h
 *		A set of cache keys in the order in which they came.
 */
#ifndef HF_CACHE_SET_H
#define HF_CACHE_SET_H

#include "lib/stringinfo.h"

/* A key: a length byte and the text, at an offset of the packed keys. */
typedef struct HfCacheKey
{
	uint32 offset;
	uint32 hash;
	int level; /* the caller's */
} HfCacheKey;

typedef struct HfCacheSet
{
	MemoryContext context;
	StringInfoData packed;
	HfCacheKey *key;
	int nkeys;
	int room;
	uint32 *bucket; /* numbers of keys, from 1, by hash; NULL while there are few */
	uint32 mask;
} HfCacheSet;

extern void hf_cache_set_init(HfCacheSet *set, MemoryContext context);
extern bool hf_cache_set_add(HfCacheSet *set, const char *key, int length, int level);
extern void hf_cache_set_truncate(HfCacheSet *set, int nkeys);
extern const char *hf_cache_set_get(const HfCacheSet *set, int number, int *length);

#endif
