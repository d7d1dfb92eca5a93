/*
 * cache_flight.h
 *		What is being read for somebody, who waits for it, and who may join.
 */
#ifndef HF_CACHE_FLIGHT_H
#define HF_CACHE_FLIGHT_H

#include "cache.h"
#include "near_cache.h"

#include <stdint.h>

typedef enum HfCachePhase
{
	HF_CACHE_ASKING,  /* Redis is to answer */
	HF_CACHE_PAUSE,	  /* another has the lease */
	HF_CACHE_LOADING, /* whoever was first to ask reads the database */
	HF_CACHE_OVER	  /* those who waited were answered */
} HfCachePhase;

typedef struct HfCacheWaiter
{
	struct HfCacheWaiter *next;
	HfCacheDone done;
	void *arg;
} HfCacheWaiter;

/* A flight; it is given out as a load. */
struct HfCacheLoad
{
	HfCacheLoad *next;			  /* in the table */
	HfCacheLoad *older, *younger; /* of those that ask or pause, in the order of their deadlines */
	HfCacheWaiter *first, **last;
	HfNearNames names;
	HfCachePhase phase;
	bool is_listed;		 /* in the table */
	bool is_leased;		 /* we may fill */
	bool script_is_sent; /* whole, after NOSCRIPT */
	HfNearMoment moment; /* what is being asked for was asked for then */
	uint64_t began;		 /* the same, as a time */
	uint64_t deadline;	 /* of all the asking */
	uint64_t wake_at;	 /* the end of a pause */
	unsigned pause, pauses;
	unsigned asks;
	unsigned unanswered; /* commands */
	long long life;		 /* milliseconds that the value in Redis had left; -1: not known */
	unsigned ttl;		 /* of a fill */
	char *frame;		 /* that is being stored; with it frame_length bytes, 0: none */
	size_t frame_length, payload_length;
	HfCacheSpace space;
	HfCacheLease lease;
	HfCacheEntry entry;
};

extern HfCacheLoad *hf_cache_flight_join(const HfNearNames *names, const HfCacheEntry *entry,
										 HfCacheDone done, void *arg, bool *is_new);
extern HfCacheLoad *hf_cache_flight_oldest(void);
extern HfCacheWaiter hf_cache_flight_load(HfCacheLoad *flight);
extern bool hf_cache_flight_frame(HfCacheLoad *flight, const HfText *payload);
extern HfCacheWaiter *hf_cache_flight_end(HfCacheLoad *flight);
extern HfCacheWaiter *hf_cache_flight_next(HfCacheWaiter *waiter);
extern void hf_cache_flight_release(HfCacheLoad *flight);

#endif
