/*
 * shmem.c
 *		Requests and sets up the shared memory of a preloaded library.
 *
 * Without preloading there is none, and nothing that a transaction needs is in it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "cache_commit.h"
#include "cache_ring.h"
#include "shmem.h"

#define TRANCHE "holdfast"

HfShared *hf_shared = NULL;

static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;

static void
hf_shmem_request(void)
{
	if (next_request_hook)
		next_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(HfShared)));
	RequestAddinShmemSpace(MAXALIGN(hf_cache_ring_size()));
	RequestAddinShmemSpace(MAXALIGN(hf_cache_commit_size()));
	RequestNamedLWLockTranche(TRANCHE, 2);
}

static void
hf_shmem_startup(void)
{
	bool found;
	void *memory;

	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	hf_shared = ShmemInitStruct("holdfast", sizeof(HfShared), &found);
	if (!found)
	{
		memset(hf_shared, 0, sizeof(HfShared));
		pg_atomic_init_u64(&hf_shared->last_id, 0);
		hf_shared->lock = &GetNamedLWLockTranche(TRANCHE)[0].lock;
	}
	memory = ShmemInitStruct("holdfast cache ring", hf_cache_ring_size(), &found);
	hf_cache_ring_attach(memory, found, &GetNamedLWLockTranche(TRANCHE)[1].lock);
	memory = ShmemInitStruct("holdfast cache commits", hf_cache_commit_size(), &found);
	hf_cache_commit_attach(memory, found);
	LWLockRelease(AddinShmemInitLock);
}

/* Called by _PG_init while libraries are preloaded. */
void
hf_shmem_register(void)
{
	next_request_hook = shmem_request_hook;
	shmem_request_hook = hf_shmem_request;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = hf_shmem_startup;
}
