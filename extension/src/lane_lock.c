/*
 * lane_lock.c
 *		The advisory locks of lanes: taking, giving up, asking who waits.
 *
 * The lock is the queue in front of a lane, not the guarantee; holdfast.lane_locking = off takes it
 * away to prove that.  Waits are bounded by holdfast.lock_timeout and end in 55P03.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"

#include "guc.h"
#include "lane_lock.h"

static LOCKTAG
hf_lane_tag(int64 sku, int lane)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) ((uint64) sku >> 32), (uint32) sku,
						 HF_LANE_LOCK_CLASS | lane);
	return tag;
}

/* Error context callback: says which SKU a wait was for. */
static void
hf_lane_wait_context(void *arg)
{
	errcontext("while waiting for units of SKU %lld", (long long) *(int64 *) arg);
}

/* Waits for the lock no longer than the settings allow. */
static void
hf_lane_wait(const LOCKTAG *tag, int64 sku)
{
	ErrorContextCallback context = {
		.previous = error_context_stack, .callback = hf_lane_wait_context, .arg = &sku};
	int			session_timeout = LockTimeout;

	error_context_stack = &context;
	PG_TRY();
	{
		if (hf_lock_timeout > 0 && (session_timeout == 0 || hf_lock_timeout < session_timeout))
			LockTimeout = hf_lock_timeout;
		(void) LockAcquire(tag, ExclusiveLock, false, false);
	}
	PG_FINALLY();
	{
		LockTimeout = session_timeout;
	}
	PG_END_TRY();
	error_context_stack = context.previous;
}

/* Takes the lock until the transaction ends; without wait, false if somebody else has it. */
bool
hf_lane_lock(int64 sku, int lane, bool wait)
{
	LOCKTAG		tag = hf_lane_tag(sku, lane);

	if (!hf_lane_locking)
		return true;
	if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return true;
	if (wait)
		hf_lane_wait(&tag, sku);
	return wait;
}

/* Gives up a lock under which nothing was written. */
void
hf_lane_unlock(int64 sku, int lane)
{
	LOCKTAG		tag = hf_lane_tag(sku, lane);

	if (hf_lane_locking)
		(void) LockRelease(&tag, ExclusiveLock, false);
}

/* Does anybody wait for a lock that the caller holds? LockWaiterCount() counts the holder too. */
bool
hf_lane_has_waiters(int64 sku, int lane)
{
	LOCKTAG		tag = hf_lane_tag(sku, lane);

	return LockWaiterCount(&tag) > 1;
}
