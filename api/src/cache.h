/*
 * cache.h
 *		The read cache: the worker's own memory, then Redis, then the database, by whoever asks.
 *
 * Each key has at most one load under way in a worker; all who ask meanwhile get what it brings.
 * "Meanwhile" ends when a change of the key or of one of its tags is announced, and after a second
 * (HF_CACHE_JOIN, or HF_CACHE_JOIN_DEAF while no changes are announced): who asks later begins a
 * load of his own, so nobody gets what was read before a change that was announced before he asked.
 */
#ifndef HF_CACHE_H
#define HF_CACHE_H

#include "cache_protocol.h"

#define HF_CACHE_JOIN	   1000 /* milliseconds that others may join in a load */
#define HF_CACHE_JOIN_DEAF 200	/* the same while the channel of invalidations is silent */

typedef enum HfCacheLayer
{
	HF_CACHE_LAYER_NEAR,
	HF_CACHE_LAYER_REDIS,
	HF_CACHE_LAYER_DATABASE, /* loaded, by whoever asked or by another */
	HF_CACHE_LAYERS
} HfCacheLayer;

/* A load that is under way. Whoever gets one calls hf_cache_loaded() once, whatever happens. */
typedef struct HfCacheLoad HfCacheLoad;

/*
 * What an answer is: one of payload and load, or neither if somebody's load has failed or too many
 * are under way.
 */
typedef struct HfCacheResult
{
	const HfText *payload; /* valid during the callback */
	HfCacheLayer layer;
	HfCacheLoad *load; /* read the database now */
} HfCacheResult;

typedef void (*HfCacheDone)(void *arg, const HfCacheResult *result);

/* Begins in a worker, after hf_redis_start(). False: the prefix is too long, or memory is short. */
extern bool hf_cache_start(void);

/* Asks for an entry. done is called once, perhaps before this returns. */
extern void hf_cache_get(const HfCacheEntry *entry, HfCacheDone done, void *arg);

/*
 * Gives back a load with what the database said, which lives so many milliseconds (0: it is handed
 * to those who wait but not stored), or with NULL: it has failed.  The payload is the caller's.
 */
extern void hf_cache_loaded(HfCacheLoad *load, const HfText *payload, unsigned ttl);

/* Did Redis have a heartbeat when it was last asked? */
extern bool hf_cache_is_on(void);

#endif
