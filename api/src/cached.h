/*
 * cached.h
 *		Requests that the read cache answers.
 */
#ifndef HF_CACHED_H
#define HF_CACHED_H

#include "cache.h"
#include "routes.h"

/* Tells, once, perhaps before hf_cached_warm() returns, whether the entry could be read. */
typedef void (*HfCachedWarm)(void *arg, bool good);

extern void hf_cached_warm(const HfCall *call, const HfCacheEntry *entry, const HfText *id,
						   HfCachedWarm done, void *arg);
extern void hf_cached(HfRequest *request, const HfCacheEntry *entry, unsigned ttl);

#endif
