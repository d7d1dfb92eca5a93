/*
 * lane_lock.c
 *		The advisory locks of lanes: taking, giving up, asking who waits.
 *
 * The lock is the queue in front of a lane, not the guarantee; holdfast.lane_locking = off takes it
 * away to prove that.  Waits are bounded by holdfast.lock_timeout and end in 55P03.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/resowner.h"

#include "guc.h"
#include "lane_lock.h"

static LOCKTAG
hf_lane_tag(int64 sku, int lane)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) ((uint64) sku >> 32), (uint32) sku,
						 HF_LANE_LOCK_CLASS | lane);
	return tag;
}

/*
 * Takes a lock in the name of the (sub)transaction, not of the statement, so that it can be given
 * up whichever of them had it first; hf_lane_unlock() does the same.
 */
static LockAcquireResult
hf_lane_acquire(const LOCKTAG *tag, bool wait)
{
	ResourceOwner owner = CurrentResourceOwner;
	LockAcquireResult result;

	CurrentResourceOwner = CurTransactionResourceOwner;
	result = LockAcquire(tag, ExclusiveLock, false, !wait);
	CurrentResourceOwner = owner;
	return result;
}

/* Error context callback: says which SKU a wait was for. */
static void
hf_lane_wait_context(void *arg)
{
	errcontext("while waiting for units of SKU %lld", (long long) *(int64 *) arg);
}

/* Waits for the lock within lock_timeout. */
static void
hf_lane_wait(const LOCKTAG *tag, int64 sku)
{
	ErrorContextCallback context = {.previous = error_context_stack,
									.callback = hf_lane_wait_context,
									.arg = &sku};

	error_context_stack = &context;
	(void) hf_lane_acquire(tag, true);
	CHECK_FOR_INTERRUPTS();
	error_context_stack = context.previous;
}

typedef struct HfLaneWait
{
	LOCKTAG tag;
	int64 sku;
} HfLaneWait;

static void
hf_lane_wait_for(void *arg)
{
	HfLaneWait *w = arg;

	hf_lane_wait(&w->tag, w->sku);
}

/*
 * Waits for the lock like hf_lane_lock(), but comes back with false after a while, so that a buyer
 * at a lane whose holder takes his time can look for units elsewhere.  The while is a little longer
 * than deadlock_timeout: a deadlock is found all the same.
 */
bool
hf_lane_wait_a_while(HfStore *store, int64 sku, int lane)
{
	HfLaneWait w = {hf_lane_tag(sku, lane), sku};

	return !hf_lane_locking ||
		hf_row_wait_a_while(store, Min(DeadlockTimeout, INT_MAX - 100) + 100, hf_lane_wait_for, &w);
}

/* Takes the lock until the transaction ends; without wait, false if somebody else has it. */
bool
hf_lane_lock(HfStore *store, int64 sku, int lane, bool wait)
{
	LOCKTAG tag = hf_lane_tag(sku, lane);

	if (!hf_lane_locking)
		return true;
	if (hf_lane_acquire(&tag, false) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	if (wait)
	{
		hf_row_bound_wait(store);
		hf_lane_wait(&tag, sku);
	}
	return wait;
}

/* Gives up a lock under which nothing was written. */
void
hf_lane_unlock(int64 sku, int lane)
{
	LOCKTAG tag = hf_lane_tag(sku, lane);
	ResourceOwner owner = CurrentResourceOwner;

	if (!hf_lane_locking)
		return;
	CurrentResourceOwner = CurTransactionResourceOwner;
	(void) LockRelease(&tag, ExclusiveLock, false);
	CurrentResourceOwner = owner;
}

/* How many wait for a lock that the caller holds. LockWaiterCount() counts the holder too. */
int
hf_lane_waiters(int64 sku, int lane)
{
	LOCKTAG tag = hf_lane_tag(sku, lane);

	return hf_lane_locking ? Max(LockWaiterCount(&tag) - 1, 0) : 0;
}
