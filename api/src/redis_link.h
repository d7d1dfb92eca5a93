/*
 * redis_link.h
 *		A connection to Redis on Kore's loop, which is made again whenever it is lost.
 */
#ifndef HF_REDIS_LINK_H
#define HF_REDIS_LINK_H

#include "cache_protocol.h"
#include "kore.h"

#include <stdint.h>

#define HF_REDIS_LINK_TICK 20 /* milliseconds between two looks at the clock */

typedef enum HfRedisLinkState
{
	HF_REDIS_LINK_DOWN,
	HF_REDIS_LINK_CONNECTING,
	HF_REDIS_LINK_GREETING, /* connected, and Redis has not answered yet */
	HF_REDIS_LINK_UP
} HfRedisLinkState;

/* Text that waits to be sent. */
typedef struct HfRedisOutput
{
	char *data;
	size_t sent, end, room;
} HfRedisOutput;

/* A link is static: events that came before it was lost may still be handed to it. */
typedef struct HfRedisLink
{
	struct kore_event event; /* Kore finds the link by it: the first */
	const char *name;
	void (*greet)(void); /* connected: what is to be said first? */
	void (*reply)(const HfCacheReply *reply);
	void (*lost)(void);
	HfRedisLinkState state;
	int fd;				/* -1: there is none */
	bool wants_write;	/* the loop tells when the socket takes more */
	uint64_t deadline;	/* of a state that is not UP: when the next one is tried or given up */
	unsigned pause;		/* milliseconds after the next loss, at most */
	const char *broken; /* not NULL: to be given up when the current reply has been judged */
	size_t unparsed;	/* bytes that came since the last whole reply */
	void *reader;		/* hiredis's */
	HfRedisOutput output;
} HfRedisLink;

extern bool hf_redis_link_resolve(const char *address);
extern void hf_redis_link_start(HfRedisLink *link);
extern void hf_redis_link_tick(HfRedisLink *link);
extern void hf_redis_link_up(HfRedisLink *link);
extern bool hf_redis_link_write(HfRedisLink *link, int argc, const char *const *argv,
								const size_t *length);
extern void hf_redis_link_flush(HfRedisLink *link);
extern void hf_redis_link_fail(HfRedisLink *link, const char *why);
extern void hf_redis_link_stop(HfRedisLink *link);

#endif
