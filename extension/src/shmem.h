/*
 * shmem.h
 *		What the launcher, the workers and the backends share, if the library was preloaded.
 */
#ifndef HF_SHMEM_H
#define HF_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Workers that the launcher can keep track of, needed or not: one of each kind for a database. */
#define HF_WORKERS_MAX 2048

typedef enum HfWorkerKind
{
	HF_WORKER_REAPER,
	HF_WORKER_CACHE
} HfWorkerKind;
#define HF_WORKER_KINDS (HF_WORKER_CACHE + 1)

typedef enum HfWorkerState
{
	HF_WORKER_NONE,		  /* the slot is free */
	HF_WORKER_RUNNING,	  /* started, or about to be */
	HF_WORKER_NOT_NEEDED, /* has looked: the database has no work for it */
	HF_WORKER_WANTED,	  /* somebody has asked for it */
	HF_WORKER_GONE		  /* exited, or sent away; may be started again at retry_at */
} HfWorkerState;

typedef struct HfWorkerSlot
{
	Oid database;
	HfWorkerKind kind;
	Oid role; /* to connect as */
	HfWorkerState state;
	pid_t pid; /* 0: not yet known */
	TimestampTz started_at;
	TimestampTz retry_at;
	int failures; /* in a row, up to 5 */
	bool wanted;  /* asked for since it last looked whether it is needed */
} HfWorkerSlot;

typedef struct HfShared
{
	pg_atomic_uint64 last_id; /* without lock: the last id made, less its node */
	LWLock *lock;			  /* protects all that follows */
	Latch *launcher;		  /* NULL while it is not running */
	bool rescan;			  /* look at all databases again */
	HfWorkerSlot slot[HF_WORKERS_MAX];
} HfShared;

/* NULL without shared_preload_libraries. */
extern HfShared *hf_shared;

extern void hf_shmem_register(void);

#endif
