/*
 * cached.h
 *		Requests that the read cache answers.
 */
#ifndef HF_CACHED_H
#define HF_CACHED_H

#include "cache.h"
#include "request.h"

extern void hf_cached(HfRequest *request, const HfCacheEntry *entry, unsigned ttl);

#endif
