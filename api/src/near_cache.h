/*
 * near_cache.h
 *		The hottest entries in the worker's own memory, and what the channel says about entries.
 */
#ifndef HF_NEAR_CACHE_H
#define HF_NEAR_CACHE_H

#include "cache_protocol.h"

#include <stdint.h>

/* What an entry is found by: hashes of its key and of its tags, in their order. */
typedef struct HfNearNames
{
	uint64_t hash; /* of the key */
	size_t marks;  /* 1 for the key, and its tags */
	uint32_t mark[1 + HF_CACHE_TAGS_MAX];
} HfNearNames;

/* A moment, in the order of the channel's messages. */
typedef uint64_t HfNearMoment;

extern bool hf_near_cache_create(size_t bytes);
extern void hf_near_cache_message(const HfText *text);
extern void hf_near_cache_state(bool up);
extern void hf_near_cache_tick(void);

extern void hf_near_cache_names(HfNearNames *names, const HfCacheEntry *entry);
extern bool hf_near_cache_is_alive(void);
extern bool hf_near_cache_keeps(void);
extern HfNearMoment hf_near_cache_moment(void);
extern bool hf_near_cache_is_void(const HfNearNames *names, HfNearMoment since);

extern bool hf_near_cache_get(const HfNearNames *names, const HfCacheKey *key, HfText *payload);
extern void hf_near_cache_put(const HfNearNames *names, const HfCacheKey *key,
							  const char *generation, HfNearMoment asked, uint64_t expires,
							  const HfText *payload);

#endif
