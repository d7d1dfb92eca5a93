/*
 * cache_flight.c
 *		What is being read for somebody, who waits for it, and who may join.
 *
 * Invariants: a key has at most one flight that can be joined, which is in the table.  It can be
 * joined only while it could not have missed a change that was announced: what it asks for (a
 * value of Redis, then the database) was asked for in a moment since which no message has named its
 * key or a tag, and not long ago.  A flight that asks or pauses, and only such a one, is in the
 * line, and has somebody who waits.  It is freed when it is over and Redis owes it no answer.
 * Flights, those who wait, and the bytes that are being stored are bounded.
 */
#include "cache_flight.h"

#include "config.h"
#include "loop.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FLIGHTS_MAX 4096					 /* also places of the table */
#define WAITERS_MAX 32768					 /* in all flights */
#define FRAMES_MAX	(2 * HF_CACHE_FRAME_MAX) /* bytes of all that is being stored */

static HfCacheLoad *table[FLIGHTS_MAX];
static HfCacheLoad *oldest, *youngest; /* the line */
static unsigned flights, waiters;
static size_t frames; /* bytes */

static HfCacheLoad **
find(const HfNearNames *names, const HfCacheKey *key)
{
	HfCacheLoad **at = &table[names->hash % FLIGHTS_MAX];

	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->names.hash == names->hash && (*at)->entry.key.length == key->length &&
			memcmp((*at)->entry.key.text, key->text, key->length) == 0)
			break;
	return at;
}

/* Takes a flight off the table: nobody joins any more. */
static void
unlist(HfCacheLoad **at)
{
	HfCacheLoad *flight = *at;

	assert(flight != NULL);
	*at = flight->next;
	flight->is_listed = false;
}

/* Puts a flight into the table, in the place of one that can no longer be joined. */
static void
list(HfCacheLoad *flight)
{
	HfCacheLoad **at = find(&flight->names, &flight->entry.key);

	if (*at != NULL)
		unlist(at);
	at = &table[flight->names.hash % FLIGHTS_MAX];
	flight->next = *at;
	flight->is_listed = true;
	*at = flight;
}

static void
line_up(HfCacheLoad *flight)
{
	flight->older = youngest;
	flight->younger = NULL;
	*(youngest != NULL ? &youngest->younger : &oldest) = flight;
	youngest = flight;
}

static void
leave_line(HfCacheLoad *flight)
{
	*(flight->older != NULL ? &flight->older->younger : &oldest) = flight->younger;
	*(flight->younger != NULL ? &flight->younger->older : &youngest) = flight->older;
}

static bool
can_be_joined(const HfCacheLoad *flight, const HfNearNames *names)
{
	unsigned most = hf_near_cache_is_alive() ? HF_CACHE_JOIN : HF_CACHE_JOIN_DEAF;

	return names->marks == flight->names.marks &&
		memcmp(names->mark, flight->names.mark, names->marks * sizeof(names->mark[0])) == 0 &&
		hf_loop_now() - flight->began < most &&
		!hf_near_cache_is_void(&flight->names, flight->moment);
}

/* Begins a flight that nobody waits for yet; NULL if there are too many. */
static HfCacheLoad *
create(const HfNearNames *names, const HfCacheEntry *entry)
{
	HfCacheLoad *flight = flights < FLIGHTS_MAX ? malloc(sizeof(*flight)) : NULL;

	if (flight == NULL)
		return NULL;
	memset(flight, 0, offsetof(HfCacheLoad, space));
	memcpy(&flight->entry, entry,
		   offsetof(HfCacheEntry, tag) + entry->tags * sizeof(entry->tag[0]));
	flight->names = *names;
	flight->last = &flight->first;
	flight->deadline = hf_loop_now() + hf_config.redis_timeout;
	flights++;
	list(flight);
	line_up(flight);
	return flight;
}

/*
 * Makes somebody wait for an entry: in the flight that there is, or in a new one, which the caller
 * gives a space and lets ask.  NULL if there are too many.
 */
HfCacheLoad *
hf_cache_flight_join(const HfNearNames *names, const HfCacheEntry *entry, HfCacheDone done,
					 void *arg, bool *is_new)
{
	HfCacheLoad *flight = *find(names, &entry->key);
	HfCacheWaiter *waiter = waiters < WAITERS_MAX ? malloc(sizeof(*waiter)) : NULL;

	if (waiter == NULL)
		return NULL;
	*is_new = flight == NULL || !can_be_joined(flight, names);
	if (*is_new)
		flight = create(names, entry);
	if (flight == NULL)
	{
		free(waiter);
		return NULL;
	}
	*waiter = (HfCacheWaiter){NULL, done, arg};
	*flight->last = waiter;
	flight->last = &waiter->next;
	waiters++;
	return flight;
}

/* The first of those that ask or pause. */
HfCacheLoad *
hf_cache_flight_oldest(void)
{
	return oldest;
}

/* Lets the first who has asked load: he waits no more, and what he reads is younger than this. */
HfCacheWaiter
hf_cache_flight_load(HfCacheLoad *flight)
{
	HfCacheWaiter *waiter = flight->first, loader = *waiter;

	assert(flight->phase < HF_CACHE_LOADING);
	leave_line(flight);
	flight->phase = HF_CACHE_LOADING;
	flight->moment = hf_near_cache_moment();
	flight->began = hf_loop_now();
	flight->first = loader.next;
	if (flight->first == NULL)
		flight->last = &flight->first;
	free(waiter);
	waiters--;
	return loader;
}

/* Makes what is to be stored; false if it is too large, or too much is being stored already. */
bool
hf_cache_flight_frame(HfCacheLoad *flight, const HfText *payload)
{
	size_t length = hf_cache_frame_length(&flight->lease, payload->length);

	if (length == 0 || length > FRAMES_MAX - frames)
		return false;
	flight->frame = malloc(length);
	if (flight->frame == NULL)
		return false;
	hf_cache_frame(flight->frame, &flight->lease, payload);
	flight->frame_length = length;
	flight->payload_length = payload->length;
	frames += length;
	return true;
}

/* Ends a flight: gives out all who wait, for hf_cache_flight_next(). */
HfCacheWaiter *
hf_cache_flight_end(HfCacheLoad *flight)
{
	HfCacheWaiter *waiter = flight->first;

	if (flight->phase < HF_CACHE_LOADING)
		leave_line(flight);
	if (flight->is_listed)
		unlist(find(&flight->names, &flight->entry.key));
	flight->phase = HF_CACHE_OVER;
	flight->first = NULL;
	return waiter;
}

/* Frees one who waited, and gives out the next. */
HfCacheWaiter *
hf_cache_flight_next(HfCacheWaiter *waiter)
{
	HfCacheWaiter *next = waiter->next;

	free(waiter);
	waiters--;
	return next;
}

/* Frees a flight that is over, unless Redis owes it an answer. */
void
hf_cache_flight_release(HfCacheLoad *flight)
{
	if (flight->phase != HF_CACHE_OVER || flight->unanswered > 0)
		return;
	frames -= flight->frame_length;
	free(flight->frame);
	free(flight);
	flights--;
}
