/*
 * cache_commit.c
 *		Transactions that are visible and have not told their cache keys yet.
 *
 * Between the two lie microseconds; unless the backend is stopped just there.  So each backend
 * notes before its commit record which transaction it is about to end, and the cache worker keeps
 * its heartbeat back while one of them is over and not told.
 *
 * Locks: none.  Each backend writes its own place, by the number of its PGPROC; the worker reads
 * them all.  A backend that is killed takes the whole shared memory with it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"

#include "cache_commit.h"

typedef struct HfCacheCommit
{
	Oid database;
	pg_atomic_uint32 xid; /* InvalidTransactionId: nothing to tell */
} HfCacheCommit;

static HfCacheCommit *commits = NULL;

Size
hf_cache_commit_size(void)
{
	return mul_size(MaxBackends, sizeof(HfCacheCommit));
}

/* Called while shared memory is set up; `found`: by another process before. */
void
hf_cache_commit_attach(void *memory, bool found)
{
	commits = memory;
	for (int i = 0; i < MaxBackends && !found; i++)
		pg_atomic_init_u32(&commits[i].xid, InvalidTransactionId);
}

/* The transaction is about to commit, and will tell its keys afterwards. */
void
hf_cache_commit_begin(TransactionId xid)
{
	commits[MyProc->pgprocno].database = MyDatabaseId;
	pg_atomic_write_u32(&commits[MyProc->pgprocno].xid, xid);
}

/* It has told them, or has rolled back. */
void
hf_cache_commit_end(void)
{
	pg_atomic_write_u32(&commits[MyProc->pgprocno].xid, InvalidTransactionId);
}

/* Worker: has every transaction of this database that is over told its keys? */
bool
hf_cache_commit_all_told(void)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		TransactionId xid = pg_atomic_read_u32(&commits[i].xid);

		if (TransactionIdIsValid(xid) && commits[i].database == MyDatabaseId &&
			!TransactionIdIsInProgress(xid) && pg_atomic_read_u32(&commits[i].xid) == xid)
			return false;
	}
	return true;
}
