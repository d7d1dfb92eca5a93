/*
 * cache_reader.h
 *		A reader of the cache that waits for Redis, but never long.
 *
 *		HfCacheReader *reader = hf_cache_reader_open(&address, "holdfast:shop:");
 *		HfCacheEntry entry;
 *		HfText payload;
 *		HfCacheLease lease;
 *
 *		hf_cache_entry_begin(&entry, "product:{id}", &id, 1);
 *		answer = hf_cache_reader_get(reader, &entry, &payload, &lease);
 *		if (answer != HF_CACHE_HIT)
 *			... read the database ...
 *		if (answer == HF_CACHE_LEASED)
 *			hf_cache_reader_fill(reader, &lease, &payload, ttl);
 */
#ifndef HF_CACHE_READER_H
#define HF_CACHE_READER_H

#include "cache_protocol.h"

/* Where Redis is, and how long one call may take. */
typedef struct HfCacheAddress
{
	const char *path; /* of a Unix socket; NULL: host and port */
	const char *host; /* a name is looked up as the system does it, in whatever time it takes */
	int port;
	int timeout; /* milliseconds, for all that a call has to do */
} HfCacheAddress;

typedef struct HfCacheReader HfCacheReader;

extern HfCacheReader *hf_cache_reader_open(const HfCacheAddress *address, const char *prefix);
extern void hf_cache_reader_close(HfCacheReader *reader);
extern HfCacheAnswer hf_cache_reader_get(HfCacheReader *reader, const HfCacheEntry *entry,
										 HfText *payload, HfCacheLease *lease);
extern HfCacheAnswer hf_cache_reader_fill(HfCacheReader *reader, HfCacheLease *lease,
										  const HfText *payload, unsigned ttl);
extern const char *hf_cache_reader_error(const HfCacheReader *reader);
extern const char *hf_cache_reader_generation(const HfCacheReader *reader);

#endif
