/*
 * redis.h
 *		Redis, without waiting: one connection for commands, one for the subscription.
 *
 * hiredis enters the program in the files redis*.c alone.
 */
#ifndef HF_REDIS_H
#define HF_REDIS_H

#include "cache_protocol.h"

#include <stdint.h>

/* The reply is valid during the callback; NULL: there was none, or it came too late. */
typedef void (*HfRedisDone)(void *arg, const HfCacheReply *reply);

/* Connects, to hf_config.redis: "unix:PATH", or ADDRESS:PORT with an address in digits. */
extern void hf_redis_start(void);

/*
 * Sends a command with the next pass of the loop.  False: Redis is away, or too much is under way
 * already; done is not called then, and else exactly once, later, within hf_config.redis_timeout.
 */
extern bool hf_redis_send(int argc, const char *const *argv, const size_t *length, HfRedisDone done,
						  void *arg);
extern bool hf_redis_is_up(void);

/* From within a callback: that was no reply to that command, so no further one is believed. */
extern void hf_redis_distrust(void);

/*
 * Subscribes to a channel, once, and again whenever the connection was lost; state() tells each
 * time when it is confirmed and when it is lost.
 */
extern void hf_redis_subscribe(const char *channel, void (*message)(const HfText *text),
							   void (*state)(bool up));

/* All that was published before this hf_loop_now() has been handed on; 0: not subscribed. */
extern uint64_t hf_redis_heard(void);

/* Ends both connections for good: whatever is unanswered is answered with NULL. */
extern void hf_redis_stop(void);

#endif
