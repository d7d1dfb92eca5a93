/*
 * slow_reader.c
 *		Reads rows through the cache, once by the protocol and once naively, and lets time pass
 *		between the database and the fill.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "race.h"

#define READ_SQL "SELECT version FROM item WHERE id = $1"

static void
dawdle(Client *c)
{
	usleep((useconds_t) rnd(&c->random, (uint64_t) options.delay));
}

static int64_t
parse(HfText payload)
{
	char text[24];

	snprintf(text, sizeof(text), "%.*s", (int) payload.length, payload.data);
	return strtoll(text, NULL, 10);
}

/* As the protocol says. */
static void
read_well(Client *c, int64_t id)
{
	HfCacheEntry entry = entry_of(id);
	HfText payload;
	HfCacheLease lease;
	char text[24];
	Usec asked = now(), behind;

	switch (hf_cache_reader_get(c->reader, &entry, &payload, &lease))
	{
		case HF_CACHE_HIT:
			c->hits++;
			behind = row_behind(id, parse(payload), asked);
			if (behind > c->behind)
				c->behind = behind;
			return;
		case HF_CACHE_LEASED:
			c->leases++;
			break;
		case HF_CACHE_BUSY:
			c->busy++;
			return;
		default:
			c->off++;
			return;
	}
	snprintf(text, sizeof(text), "%" PRId64, session_number(c->conn, READ_SQL, id));
	dawdle(c);
	payload = (HfText){text, strlen(text)};
	if (hf_cache_reader_fill(c->reader, &lease, &payload, VALUE_TTL) == HF_CACHE_STORED)
		c->stored++;
	else
		c->refused++;
}

/* Without a lease; the generation is that which the reader has seen last. */
static void
read_naively(Client *c, int64_t id)
{
	char name[120], text[24];
	redisReply *reply;
	bool hit;

	snprintf(name, sizeof(name), PREFIX "%s:value:{naive:%" PRId64 "}",
			 hf_cache_reader_generation(c->reader), id);
	reply = redisCommand(c->redis, "GET %s", name);
	hit = reply != NULL && reply->type == REDIS_REPLY_STRING;
	freeReplyObject(reply);
	if (hit)
	{
		c->naive_hits++;
		return;
	}
	snprintf(text, sizeof(text), "%" PRId64, session_number(c->conn, READ_SQL, id));
	dawdle(c);
	freeReplyObject(redisCommand(c->redis, "SET %s %s PX %d", name, text, VALUE_TTL));
	c->naive_fills++;
}

/* The thread of a reader. */
void *
slow_reader_run(void *client)
{
	Client *c = client;

	c->conn = session_open("cache race reader");
	c->reader = reader_open();
	c->redis = redis_open();
	while (!stop)
	{
		while (!quiet)
		{
			int64_t id = 1 + (int64_t) rnd(&c->random, (uint64_t) options.keys);

			read_well(c, id);
			read_naively(c, id);
		}
		pthread_barrier_wait(&meeting);
		pthread_barrier_wait(&meeting);
	}
	PQfinish(c->conn);
	hf_cache_reader_close(c->reader);
	redisFree(c->redis);
	return NULL;
}
