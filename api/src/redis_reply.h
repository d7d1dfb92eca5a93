/*
 * redis_reply.h
 *		Replies of Redis as hiredis parses them, for the cache protocol.
 */
#ifndef HF_REDIS_REPLY_H
#define HF_REDIS_REPLY_H

#include "cache_protocol.h"

#include <hiredis/hiredis.h>

/* Bytes of the longest reply, with what goes around it. */
#define HF_REDIS_REPLY_MAX (HF_CACHE_FRAME_MAX + 65536)

extern void hf_redis_reader_bound(redisReader *reader);
extern HfCacheReply hf_redis_reply(const redisReply *from,
								   HfCacheReply element[HF_CACHE_REPLY_ELEMENTS]);

#endif
