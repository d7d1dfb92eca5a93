/*
 * cache_publish.h
 *		The worker's half of docs/cache-protocol.md: what it writes to Redis.
 */
#ifndef HF_CACHE_PUBLISH_H
#define HF_CACHE_PUBLISH_H

#include "lib/stringinfo.h"
#include "portability/instr_time.h"

#include "cache_ring.h"
#include "redis.h"

/* A heartbeat is void so long after it was sent, by Redis's clock. */
#define HF_CACHE_BEAT_LIFE_MS 1500

typedef struct HfPublisher
{
	HfCacheDatabase *db;
	HfRedis *redis;		   /* NULL: not connected */
	MemoryContext context; /* of one pipeline */
	StringInfoData batch;  /* keys as they come from the ring */
	char *database;
	uint32 settings;	   /* hash of those that what follows was made of */
	StringInfoData prefix; /* names in Redis */
	StringInfoData heartbeat;
	StringInfoData generation;
	StringInfoData channel;
	instr_time began_at; /* when the round began */
	instr_time told_at;	 /* when Redis told its time ... */
	int64 redis_time;	 /* ... which was this, in microseconds */
	bool adrift;		 /* the generation must be raised before anything else: */
	char adrift_reason[HF_CACHE_REASON_MAX];
	bool blocked; /* no heartbeat */
} HfPublisher;

extern void hf_publisher_init(HfPublisher *p, HfCacheDatabase *db);
extern void hf_publisher_reload(HfPublisher *p);
extern bool hf_publisher_connect(HfPublisher *p, char *error);
extern void hf_publisher_disconnect(HfPublisher *p);
extern void hf_publisher_drift(HfPublisher *p, const char *reason);
extern void hf_publisher_begin_round(HfPublisher *p);
extern bool hf_publisher_work(HfPublisher *p);
extern bool hf_publisher_beat(HfPublisher *p);
extern bool hf_publisher_stop_beating(HfPublisher *p);

#endif
