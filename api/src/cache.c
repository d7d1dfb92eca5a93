/*
 * cache.c
 *		The read cache: the worker's own memory, then Redis, then the database, by whoever asks.
 *
 * A flight is what happens after a miss in the worker's own memory: Redis is asked, in one round
 * trip; if it has nothing, for the lease; who was first to ask is then told to load, and what he
 * brings is handed to all who wait and fills Redis.  Whatever is wrong with Redis makes the flight
 * go on with the load, without the right to fill.  All of the asking has one deadline,
 * hf_config.redis_timeout, which also bounds the wait for somebody else's lease.
 *
 * Invariants: who asks is answered exactly once.  The database is read after the lease was taken.
 * A lease is used for one fill, or for one release if there is nothing to fill.
 *
 * A flight keeps the generation it asks in: replies of several flights come in one pipeline, and
 * what was asked for under an old name must not be judged by a new generation.  The worker's own
 * memory keeps only what stood in Redis: a hit, for as long as Redis would have kept it, or what
 * was stored.  The life of a hit is asked for before the hit itself: had the value been replaced in
 * between, it is that of the older one, which has either ended or been announced to be void.
 */
#include "cache.h"

#include "cache_flight.h"
#include "config.h"
#include "loop.h"
#include "metrics.h"
#include "redis.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define TICK	   20  /* milliseconds between two looks at the clock */
#define PAUSE_MIN  20  /* milliseconds of the first wait for another's lease; doubles */
#define PAUSES_MAX 200 /* milliseconds of all such waits of a flight */
#define ASKS_MAX   3   /* times that a new generation is followed in one flight */

static HfCacheSpace space; /* the generation is what some flight has seen last */
static bool is_on;
static HfCacheCommand command; /* the one that is being sent */

static void ask(HfCacheLoad *flight);

static void
set_on(bool on)
{
	if (on != is_on)
		hf_metrics_set(HF_METRIC_CACHE_ON, on);
	is_on = on;
}

bool
hf_cache_is_on(void)
{
	return is_on && hf_redis_is_up();
}

static void
answer(HfCacheDone done, void *arg, HfCacheLayer layer, const HfText *payload)
{
	HfCacheResult result = {.payload = payload, .layer = layer};

	if (payload != NULL)
		hf_metrics_add(HF_METRIC_CACHE_NEAR + layer, 1);
	done(arg, &result);
}

/* Ends a flight: all who wait are answered.  They may ask again, for the same too. */
static void
answer_all(HfCacheLoad *flight, HfCacheLayer layer, const HfText *payload)
{
	HfCacheWaiter *waiter = hf_cache_flight_end(flight);

	for (; waiter != NULL; waiter = hf_cache_flight_next(waiter))
		answer(waiter->done, waiter->arg, layer, payload);
	hf_cache_flight_release(flight);
}

static void
load(HfCacheLoad *flight)
{
	HfCacheWaiter loader = hf_cache_flight_load(flight);
	HfCacheResult result = {.layer = HF_CACHE_LAYER_DATABASE, .load = flight};

	hf_metrics_add(HF_METRIC_CACHE_DATABASE, 1);
	loader.done(loader.arg, &result);
}

/* The cache cannot be used: whoever asks meanwhile waits for the load all the same. */
static void
load_without(HfCacheLoad *flight)
{
	set_on(false);
	hf_metrics_add(HF_METRIC_CACHE_OFF, 1);
	load(flight);
}

/* Sends the current command. */
static bool
send_command(HfCacheLoad *flight, HfRedisDone done)
{
	if (!hf_redis_send(command.argc, command.argv, command.length, done, flight))
		return false;
	flight->unanswered++;
	return true;
}

/*
 * An answer has come.  True if the flight still waits for it; if it has gone on without, it may be
 * freed now.
 */
static bool
is_awaited(HfCacheLoad *flight)
{
	flight->unanswered--;
	if (flight->phase == HF_CACHE_ASKING)
		return true;
	hf_cache_flight_release(flight);
	return false;
}

static void
released(void *arg, const HfCacheReply *reply)
{
	HfCacheLoad *flight = arg;

	(void) reply;
	flight->unanswered--;
	hf_cache_flight_release(flight);
}

/*
 * Gives the lease back, so that others need not wait for its end: a fill of nothing in a generation
 * that no heartbeat has.
 */
static void
release_lease(HfCacheLoad *flight)
{
	static const HfText nothing = {"", 0};

	hf_cache_fill(&command, &flight->space, &flight->lease, &nothing, 1, false);
	command.argv[command.argc - 1] = "";
	command.length[command.argc - 1] = 0;
	(void) send_command(flight, released);
}

static void
filled(void *arg, const HfCacheReply *reply)
{
	HfCacheLoad *flight = arg;
	HfText frame = {flight->frame, flight->frame_length}, payload;
	HfCacheAnswer result = reply != NULL ? hf_cache_filled(reply) : HF_CACHE_OFF;

	flight->unanswered--;
	if (result == HF_CACHE_NOSCRIPT && !flight->script_is_sent)
	{
		flight->script_is_sent = true;
		hf_cache_fill(&command, &flight->space, &flight->lease, &frame, flight->ttl, true);
		(void) send_command(flight, filled);
	}
	if (result == HF_CACHE_BROKEN)
		hf_redis_distrust();
	if (result == HF_CACHE_STORED)
	{
		payload.data = frame.data + frame.length - flight->payload_length;
		payload.length = flight->payload_length;
		hf_near_cache_put(&flight->names, &flight->entry.key, flight->lease.generation,
						  flight->moment, flight->began + flight->ttl, &payload);
	}
	hf_cache_flight_release(flight);
}

static void
fill(HfCacheLoad *flight, const HfText *payload, unsigned ttl)
{
	HfText frame;

	flight->script_is_sent = false;
	flight->ttl = ttl < hf_config.cache_ttl ? ttl : hf_config.cache_ttl;
	if (payload == NULL || flight->ttl == 0 || !hf_cache_flight_frame(flight, payload))
	{
		release_lease(flight);
		return;
	}
	frame = (HfText){flight->frame, flight->frame_length};
	hf_cache_fill(&command, &flight->space, &flight->lease, &frame, flight->ttl, false);
	(void) send_command(flight, filled);
}

void
hf_cache_loaded(HfCacheLoad *flight, const HfText *payload, unsigned ttl)
{
	assert(flight->phase == HF_CACHE_LOADING);
	if (flight->is_leased)
		fill(flight, payload, ttl);
	answer_all(flight, HF_CACHE_LAYER_DATABASE, payload);
}

/* Waits for whoever has the lease, but not for long: he may never fill. */
static void
pause_flight(HfCacheLoad *flight)
{
	if (flight->pauses >= PAUSES_MAX)
	{
		load(flight);
		return;
	}
	flight->pause = flight->pause > 0 ? flight->pause * 2 : PAUSE_MIN;
	if (flight->pause > PAUSES_MAX - flight->pauses)
		flight->pause = PAUSES_MAX - flight->pauses;
	flight->pauses += flight->pause;
	flight->wake_at = hf_loop_now() + flight->pause;
	flight->phase = HF_CACHE_PAUSE;
}

static void leased(void *arg, const HfCacheReply *reply);

static void
ask_for_lease(HfCacheLoad *flight, bool whole_script)
{
	flight->script_is_sent = whole_script;
	hf_cache_lease(&command, &flight->space, &flight->entry, &flight->lease, whole_script);
	if (!send_command(flight, leased))
		load_without(flight);
}

static void
leased(void *arg, const HfCacheReply *reply)
{
	HfCacheLoad *flight = arg;
	HfCacheAnswer result = reply != NULL ? hf_cache_leased(&flight->lease, reply) : HF_CACHE_OFF;

	if (result == HF_CACHE_BROKEN)
		hf_redis_distrust();
	/* The load has begun without the lease, so it gives no right to fill. */
	if (result == HF_CACHE_LEASED && flight->phase != HF_CACHE_ASKING)
		release_lease(flight);
	if (!is_awaited(flight))
		return;
	if (result == HF_CACHE_NOSCRIPT && !flight->script_is_sent)
		ask_for_lease(flight, true);
	else if (result == HF_CACHE_BUSY)
		pause_flight(flight);
	else if (result == HF_CACHE_LEASED)
	{
		flight->is_leased = true;
		load(flight);
	}
	else
		load_without(flight);
}

/* Redis has nothing: begins a lease with a name that nobody can guess. */
static void
begin_lease(HfCacheLoad *flight)
{
	unsigned char random[2 * HF_CACHE_RANDOM_BYTES];

	set_on(true);
	if (getrandom(random, sizeof(random), 0) != (ssize_t) sizeof(random))
	{
		load_without(flight);
		return;
	}
	hf_cache_lease_begin(&flight->lease, &flight->space, &flight->entry, random);
	ask_for_lease(flight, false);
}

static void
hit(HfCacheLoad *flight, const HfText *payload)
{
	set_on(true);
	if (flight->life > 0)
		hf_near_cache_put(&flight->names, &flight->entry.key, flight->space.generation,
						  flight->moment, flight->began + (uint64_t) flight->life, payload);
	answer_all(flight, HF_CACHE_LAYER_REDIS, payload);
}

static void
asked(void *arg, const HfCacheReply *reply)
{
	HfCacheLoad *flight = arg;
	HfText payload;

	if (!is_awaited(flight))
		return;
	switch (reply != NULL ? hf_cache_asked(&flight->space, &flight->entry, reply, &payload)
						  : HF_CACHE_OFF)
	{
		case HF_CACHE_HIT:
			hit(flight, &payload);
			break;
		case HF_CACHE_MISS:
			begin_lease(flight);
			break;
		case HF_CACHE_MOVED:
			memcpy(space.generation, flight->space.generation, sizeof(space.generation));
			if (++flight->asks < ASKS_MAX)
				ask(flight);
			else
				load_without(flight);
			break;
		case HF_CACHE_BROKEN:
			hf_redis_distrust();
			load_without(flight);
			break;
		default:
			load_without(flight);
	}
}

static void
told_life(void *arg, const HfCacheReply *reply)
{
	HfCacheLoad *flight = arg;

	flight->unanswered--;
	if (reply != NULL && reply->type == HF_CACHE_REPLY_INTEGER)
		flight->life = reply->integer;
	hf_cache_flight_release(flight);
}

/* Asks how long the value will live, in the round trip in which it is asked for. */
static void
ask_for_life(HfCacheLoad *flight)
{
	const char *word[] = {"PTTL", command.argv[2]};
	const size_t length[] = {strlen(word[0]), command.length[2]};

	flight->unanswered += hf_redis_send(2, word, length, told_life, flight);
}

static void
ask(HfCacheLoad *flight)
{
	flight->phase = HF_CACHE_ASKING;
	flight->moment = hf_near_cache_moment();
	flight->began = hf_loop_now();
	flight->life = -1;
	hf_cache_ask(&command, &flight->space, &flight->entry);
	if (hf_near_cache_keeps())
		ask_for_life(flight);
	if (!send_command(flight, asked))
		load_without(flight);
}

/* Those that have asked for long go on without Redis; those whose pause is over ask again. */
static void
tick(void)
{
	uint64_t now = hf_loop_now();
	HfCacheLoad *younger;

	for (HfCacheLoad *flight = hf_cache_flight_oldest(); flight != NULL; flight = younger)
	{
		younger = flight->younger;
		if (now >= flight->deadline)
			load(flight);
		else if (flight->phase == HF_CACHE_PAUSE && now >= flight->wake_at)
			ask(flight);
	}
	hf_near_cache_tick();
}

bool
hf_cache_start(void)
{
	static char channel[HF_CACHE_PREFIX_MAX + sizeof("invalidations")];

	if (!hf_cache_space_begin(&space, hf_config.cache_prefix) ||
		!hf_near_cache_create(hf_config.near_cache))
		return false;
	snprintf(channel, sizeof(channel), "%sinvalidations", hf_config.cache_prefix);
	hf_redis_subscribe(channel, hf_near_cache_message, hf_near_cache_state);
	hf_loop_every(TICK, tick);
	return true;
}

void
hf_cache_get(const HfCacheEntry *entry, HfCacheDone done, void *arg)
{
	HfNearNames names;
	HfCacheLoad *flight;
	HfText payload;
	bool is_new;

	hf_near_cache_names(&names, entry);
	if (hf_near_cache_get(&names, &entry->key, &payload))
	{
		answer(done, arg, HF_CACHE_LAYER_NEAR, &payload);
		return;
	}
	flight = hf_cache_flight_join(&names, entry, done, arg, &is_new);
	if (flight == NULL)
		answer(done, arg, HF_CACHE_LAYER_DATABASE, NULL);
	else if (is_new)
	{
		flight->space = space;
		ask(flight);
	}
}
