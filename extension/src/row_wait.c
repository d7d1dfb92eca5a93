/*
 * row_wait.c
 *		Waiting for other transactions, never without a bound.
 *
 * All waits of a call together are bounded by holdfast.lock_timeout, and each by lock_timeout; then
 * 55P03.  The setting lock_timeout is changed for that, and is the session's again when the call,
 * or its subtransaction, ends.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "guc.h"
#include "row.h"

/* Sets lock_timeout until the call, or the subtransaction, ends. */
static void
hf_row_set_lock_timeout(int milliseconds)
{
	(void) set_config_option("lock_timeout", psprintf("%d", milliseconds), PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* To be called before anything that may wait for another transaction. */
void
hf_row_bound_wait(HfStore *store)
{
	TimestampTz now = GetCurrentTimestamp();
	long left;

	store->waited = true;
	if (hf_lock_timeout == 0)
		return;
	if (store->guc_nest_level == 0)
	{
		store->guc_nest_level = NewGUCNestLevel();
		store->session_timeout = LockTimeout;
		store->waiting_since = now;
	}
	left = Max(hf_lock_timeout - TimestampDifferenceMilliseconds(store->waiting_since, now), 1);
	if (store->session_timeout != 0)
		left = Min(left, store->session_timeout);
	hf_row_set_lock_timeout(left);
}

/*
 * Calls wait(arg), which waits for a lock, but comes back with false after so many milliseconds, so
 * that the caller can do something else.  A bound that is tighter still ends in its own error.  A
 * subtransaction makes the time-out of the lock manager, which is an error, harmless; it costs no
 * transaction id.
 */
bool
hf_row_wait_a_while(HfStore *store, int milliseconds, void (*wait)(void *), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = true;

	hf_row_bound_wait(store);
	if (LockTimeout != 0 && LockTimeout <= milliseconds)
	{
		wait(arg);
		return true;
	}
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		hf_row_set_lock_timeout(milliseconds);
		wait(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			ReThrowError(error);
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * One look at what has the keys, with a snapshot that sees what is not yet committed, into
 * table->found.  On true, *rival is the transaction to wait for before believing it, or none.  A
 * row that is certain goes before one that somebody is making: his has no future.
 */
static bool
hf_row_glance(HfTable *table, Oid index, ScanKeyData *keys, int nkeys, TransactionId *rival,
			  uint32 *speculation)
{
	SnapshotData dirty;
	HfScan scan;
	bool found = false;

	InitDirtySnapshot(dirty);
	*rival = InvalidTransactionId;
	hf_row_scan(&scan, table, index, keys, nkeys, &dirty);
	while (hf_row_next(&scan, ForwardScanDirection))
	{
		found = true;
		*rival = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		*speculation = TransactionIdIsValid(dirty.xmin) ? dirty.speculativeToken : 0;
		if (!TransactionIdIsValid(*rival))
			break;
		/* The next row would be read over this one, even if we are not to see it. */
		ExecMaterializeSlot(table->found);
	}
	hf_row_stop(&scan);
	return found;
}

/*
 * Is there a row with the keys in a snapshot?  Under SERIALIZABLE this also tells PostgreSQL what
 * we have read, which a glance does not.
 */
static bool
hf_row_is_in(Snapshot snapshot, HfTable *table, Oid index, ScanKeyData *keys, int nkeys)
{
	HfScan scan;
	bool found;

	PushActiveSnapshot(snapshot);
	hf_row_scan(&scan, table, index, keys, nkeys, GetActiveSnapshot());
	found = hf_row_next(&scan, ForwardScanDirection);
	hf_row_stop(&scan);
	PopActiveSnapshot();
	return found;
}

/* The same, of rows that are more than an attempt at an insert (hf_row_insert_new). */
bool
hf_row_peek(HfTable *table, Oid index, ScanKeyData *keys, int nkeys, TransactionId *rival)
{
	uint32 speculation;

	if (IsolationIsSerializable())
		(void) hf_row_is_in(GetTransactionSnapshot(), table, index, keys, nkeys);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!hf_row_glance(table, index, keys, nkeys, rival, &speculation))
			return false;
		if (!TransactionIdIsValid(*rival))
			break;
		if (speculation == 0)
			return true;
		/* He is about to learn whether he has come first. */
		SpeculativeInsertionWait(*rival, speculation);
	}
	/* A committed row that our transaction's snapshot cannot see: it must not act on it. */
	if (IsolationUsesXactSnapshot() &&
		!table_tuple_satisfies_snapshot(table->rel, table->found, GetTransactionSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	return true;
}

/* The same, but waits for whoever is making or changing the row, until it is certain. */
bool
hf_row_peek_certain(HfStore *store, HfTable *table, Oid index, ScanKeyData *keys, int nkeys)
{
	TransactionId rival;

	while (hf_row_peek(table, index, keys, nkeys, &rival))
	{
		if (!TransactionIdIsValid(rival))
			return true;
		hf_row_bound_wait(store);
		XactLockTableWait(rival, table->rel, &table->found->tts_tid, XLTW_InsertIndexUnique);
	}
	return false;
}

/*
 * Reads the row with the primary key into table->found and locks it until the transaction ends;
 * waits for whoever is making or changing it.  False if there is none; that is certain only if the
 * row was `known` to be there, others will learn it from the primary key.
 */
bool
hf_row_find_and_lock(HfStore *store, HfTable *table, ScanKeyData *keys, int nkeys, bool known)
{
	for (;;)
	{
		TransactionId rival;
		ItemPointerData tid;

		CHECK_FOR_INTERRUPTS();
		if (!hf_row_peek(table, table->primary, keys, nkeys, &rival))
		{
			/*
			 * A rival who commits while we peek may have taken the old version away before we
			 * looked, and have entered the new one into the index after we had read there.  A
			 * snapshot has exactly one of them.
			 */
			if (known && hf_row_is_in(GetLatestSnapshot(), table, table->primary, keys, nkeys))
				continue;
			return false;
		}
		tid = table->found->tts_tid;
		if (TransactionIdIsValid(rival))
		{
			hf_row_bound_wait(store);
			XactLockTableWait(rival, table->rel, &tid, XLTW_FetchUpdated);
		}
		else if (hf_row_lock(store, table, &tid))
			return true;
	}
}
