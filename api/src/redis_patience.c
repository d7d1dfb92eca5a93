/*
 * redis_patience.c
 *		Asks Redis now and then while it is away.
 */
#include "redis_patience.h"
#include "log.h"
#include "loop.h"

#define PAUSE 500 /* milliseconds */

bool
hf_redis_may_ask(HfRedisPatience *of)
{
	uint64_t now = hf_loop_now();

	if (!of->away)
		return true;
	if (now < of->until)
		return false;
	of->until = now + PAUSE;
	return true;
}

void
hf_redis_lost(HfRedisPatience *of)
{
	if (!of->away)
		hf_log(HF_LOG_WARNING, of->event, "%s", of->lost);
	of->away = true;
	of->until = hf_loop_now() + PAUSE;
}

void
hf_redis_found(HfRedisPatience *of)
{
	if (of->away)
		hf_log(HF_LOG_INFO, of->event, "%s", of->found);
	of->away = false;
}
