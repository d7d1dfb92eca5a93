/*
 * cache_ring.h
 *		The ring of cache keys between backends and the cache worker, in shared memory.
 */
#ifndef HF_CACHE_RING_H
#define HF_CACHE_RING_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Databases of one cluster that can have watched tables. */
#define HF_CACHE_DATABASES 64

#define HF_CACHE_REASON_MAX 128
#define HF_CACHE_ERROR_MAX	256
#define HF_CACHE_RUN_ID_MAX 64

#define HF_CACHE_RING_FULL "the ring was full"

/* What the worker tells about itself. */
typedef struct HfCacheReport
{
	bool connected;	  /* to Redis */
	bool blocked;	  /* it keeps the heartbeat back: a trigger is switched off */
	int64 generation; /* 0: none yet since the server was started */
	TimestampTz raised_at;
	char reason[HF_CACHE_REASON_MAX]; /* why it was raised */
	TimestampTz beat_at;			  /* the last heartbeat that Redis took */
	int64 lag; /* microseconds from commit to Redis, the longest of the last round */
	int64 published;
	int64 coalesced;
	int64 lost; /* entries that were not kept */
	int64 raised;
	char error[HF_CACHE_ERROR_MAX];
	TimestampTz error_at;
	char run_id[HF_CACHE_RUN_ID_MAX]; /* of the Redis that knows the generation ... */
	uint32 settings;				  /* ... and by which settings it was found: a hash */
} HfCacheReport;

/* A database with watched tables. */
typedef struct HfCacheDatabase
{
	Oid database;				   /* ring lock; InvalidOid: free */
	pg_atomic_uint32 ready;		   /* newest entry of a committed transaction; 0: none */
	pg_atomic_uint64 ready_keys;   /* in entries that the worker has not published */
	pg_atomic_uint32 abandon;	   /* commits that want the generation to be raised */
	pg_atomic_uint32 asleep;	   /* the worker wants to be woken by the next commit */
	pg_atomic_uint32 recheck;	   /* the worker is to look at the triggers again */
	pg_atomic_uint32 prepared;	   /* the worker is to look for keys in the table */
	pg_atomic_uint64 round_begun;  /* rounds of the worker; see cache_sync() */
	pg_atomic_uint64 round_done;   /* the last one that came to its end */
	pg_atomic_uint64 round_wanted; /* somebody waits for it */
	ConditionVariable round_end;
	uint32 used;							  /* ring lock: blocks in use */
	uint32 taken_first;						  /* worker only: entries it has taken and not */
	uint32 taken_last;						  /* published yet, oldest first; 0: none */
	Latch *latch;							  /* ring lock: of the worker; NULL: not running */
	char abandon_reason[HF_CACHE_REASON_MAX]; /* ring lock: of the first of them */
	HfCacheReport report;					  /* ring lock; written by the worker */
} HfCacheDatabase;

extern LWLock *hf_cache_ring_lock;

extern Size hf_cache_ring_size(void);
extern void hf_cache_ring_attach(void *memory, bool found, LWLock *lock);
extern HfCacheDatabase *hf_cache_ring_database(bool make);
extern Size hf_cache_ring_largest(void);

extern bool hf_cache_ring_reserve(const char *keys, Size length, int nkeys);
extern void hf_cache_ring_ready(TimestampTz now);
extern void hf_cache_ring_drop(void);
extern void hf_cache_ring_abandon(const char *reason, bool lost);
extern void hf_cache_ring_wake(HfCacheDatabase *db);

extern void hf_cache_ring_serve(HfCacheDatabase *db);
extern void hf_cache_ring_take(HfCacheDatabase *db);
extern bool hf_cache_ring_read(HfCacheDatabase *db, uint32 *entry, StringInfo keys, int *nkeys,
							   TimestampTz *ready_at);
extern void hf_cache_ring_free(HfCacheDatabase *db, int entries);
extern void hf_cache_ring_empty(HfCacheDatabase *db);

extern void hf_cache_ring_report(HfCacheDatabase *db, HfCacheReport *report, TimestampTz *oldest);
extern double hf_cache_ring_fullness(void);

#endif
