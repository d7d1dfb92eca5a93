/*
 * shmem.h
 *		What the launcher, the workers and the backends share, if the library was preloaded.
 */
#ifndef HF_SHMEM_H
#define HF_SHMEM_H

#include "datatype/timestamp.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Databases that the launcher can keep track of, with or without a worker. */
#define HF_WORKERS_MAX 1024

typedef enum HfWorkerState
{
	HF_WORKER_NONE,		  /* the slot is free */
	HF_WORKER_RUNNING,	  /* started, or about to be */
	HF_WORKER_NOT_NEEDED, /* has looked: the database does not have the extension */
	HF_WORKER_GONE		  /* exited, or sent away; may be started again at retry_at */
} HfWorkerState;

typedef struct HfWorkerSlot
{
	Oid database;
	Oid role; /* to connect as */
	HfWorkerState state;
	pid_t pid; /* 0: not yet known */
	TimestampTz started_at;
	TimestampTz retry_at;
	int failures; /* in a row, up to 5 */
} HfWorkerSlot;

typedef struct HfShared
{
	LWLock *lock;	 /* protects all that follows */
	Latch *launcher; /* NULL while it is not running */
	bool rescan;	 /* look at all databases again */
	HfWorkerSlot slot[HF_WORKERS_MAX];
} HfShared;

/* NULL without shared_preload_libraries. */
extern HfShared *hf_shared;

extern void hf_shmem_register(void);

#endif
