/*
 * redis_patience.h
 *		For modules that can do without Redis for a while: whether to ask it.
 *
 * While it is away, or so it seems, one call every half a second tries, and no other is made.
 */
#ifndef HF_REDIS_PATIENCE_H
#define HF_REDIS_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

/* What a module knows of Redis, and what it says in the log when that changes. */
typedef struct HfRedisPatience
{
	const char *event;
	const char *lost;
	const char *found;
	bool away;
	uint64_t until; /* nobody tries before */
} HfRedisPatience;

/* May Redis be asked?  Whoever is told so while it is away is the one who tries. */
extern bool hf_redis_may_ask(HfRedisPatience *of);

/* It did not take a call, or did not answer it well; it has answered one. */
extern void hf_redis_lost(HfRedisPatience *of);
extern void hf_redis_found(HfRedisPatience *of);

#endif
