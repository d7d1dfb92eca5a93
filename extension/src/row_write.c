/*
 * row_write.c
 *		Inserting, replacing, deleting and locking rows of the extension's own tables.
 *
 * Every write is conditional on the row being the version that was read: otherwise it answers
 * HF_CHANGED under READ COMMITTED, and raises 40001 under the stricter levels.  Constraints,
 * indexes and AFTER ROW triggers see it as they see the executor's writes (row.c).
 */
#include "postgres.h"

#include "catalog/index.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "row.h"

/* Opens the indexes for writing; an update that touches none of their columns does without. */
static void
hf_row_open_indexes(HfTable *table)
{
	ResultRelInfo *rri = table->rri;
	HfKnown *k = table->known;
	MemoryContext old;

	if (rri->ri_IndexRelationDescs != NULL)
		return;
	/* They stay open as long as the table, whatever context the caller is in. */
	old = MemoryContextSwitchTo(GetMemoryChunkContext(rri));
	rri->ri_IndexRelationDescs = palloc(sizeof(Relation) * Max(k->nindexes, 1));
	rri->ri_IndexRelationInfo = palloc(sizeof(IndexInfo *) * Max(k->nindexes, 1));
	for (int i = 0; i < k->nindexes; i++)
	{
		Relation index = index_open(k->index[i], RowExclusiveLock);
		IndexInfo *info = k->index_info[i];

		if (info == NULL)
		{
			info = BuildIndexInfo(index);
			info->ii_PredicateState = k->predicate[i];
		}
		rri->ri_IndexRelationDescs[i] = index;
		rri->ri_IndexRelationInfo[i] = info;
		rri->ri_NumIndices = i + 1;
	}
	MemoryContextSwitchTo(old);
}

static void
hf_row_fill(TupleTableSlot *slot, Relation rel, const Datum *values, const bool *nulls)
{
	int natts = RelationGetNumberOfAttributes(rel);

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, sizeof(Datum) * natts);
	if (nulls)
		memcpy(slot->tts_isnull, nulls, sizeof(bool) * natts);
	else
		memset(slot->tts_isnull, 0, sizeof(bool) * natts);
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(rel);
}

/*
 * Called while a write's error is being handled: a key of ours that another transaction has made in
 * the same moment, or that our snapshot could not see, means "try again".
 */
static void
hf_row_translate_conflict(HfTable *table, MemoryContext context)
{
	ErrorData *error;
	Oid index;

	if (geterrcode() != ERRCODE_UNIQUE_VIOLATION)
		PG_RE_THROW();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	index = error->constraint_name == NULL
		? InvalidOid
		: get_relname_relid(error->constraint_name, RelationGetNamespace(table->rel));
	if (!OidIsValid(index) || (index != table->primary && index != table->second))
		PG_RE_THROW();
	FlushErrorState();
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent insert"),
			 errdetail("Another transaction has made the same row of \"%s\".",
					   RelationGetRelationName(table->rel)),
			 errhint("Try again.")));
}

/* Inserts one row. Waits for whoever is making the same key, and raises 40001 if he has. */
void
hf_row_insert(HfStore *store, HfTable *table, const Datum *values, const bool *nulls)
{
	MemoryContext context = CurrentMemoryContext;

	hf_row_open_indexes(table);
	hf_row_fill(table->made, table->rel, values, nulls);
	PG_TRY();
	{
		ExecSimpleRelationInsert(table->rri, store->estate, table->made);
	}
	PG_CATCH();
	{
		hf_row_translate_conflict(table, context);
	}
	PG_END_TRY();
	ResetPerTupleExprContext(store->estate);
	CommandCounterIncrement();
}

/*
 * Inserts one row unless its primary key is there, committed or not: then false, and nothing has
 * happened.  The way of INSERT … ON CONFLICT: nobody is waited for, and no error is raised.
 */
bool
hf_row_insert_new(HfStore *store, HfTable *table, const Datum *values, const bool *nulls)
{
	uint32 token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	bool conflict = false;

	hf_row_open_indexes(table);
	hf_row_fill(table->made, table->rel, values, nulls);
	ExecConstraints(table->rri, table->made, store->estate);
	table_tuple_insert_speculative(table->rel, table->made, GetCurrentCommandId(true), 0, NULL,
								   token);
	(void) ExecInsertIndexTuples(table->rri, table->made, store->estate, false, true, &conflict,
								 list_make1_oid(table->primary));
	table_tuple_complete_speculative(table->rel, table->made, token, !conflict);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	if (!conflict)
	{
		ExecARInsertTriggers(store->estate, table->rri, table->made, NIL, NULL);
		CommandCounterIncrement();
	}
	ResetPerTupleExprContext(store->estate);
	return !conflict;
}

/* Inserts the rows in the slots with one pass over the heap, as COPY does. */
static void
hf_row_insert_slots(HfStore *store, HfTable *table, TupleTableSlot **slot, int n)
{
	table_multi_insert(table->rel, slot, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
	{
		List *recheck =
			ExecInsertIndexTuples(table->rri, slot[i], store->estate, false, false, NULL, NIL);

		ExecARInsertTriggers(store->estate, table->rri, slot[i], recheck, NULL);
		ResetPerTupleExprContext(store->estate);
	}
}

/*
 * Inserts many rows; values holds nrows rows of the table's width, none of them null.  Rows in key
 * order keep the index warm.  Errors as hf_row_insert().
 */
void
hf_row_insert_many(HfStore *store, HfTable *table, const Datum *values, int nrows)
{
	const int chunk = 256;
	int natts = RelationGetNumberOfAttributes(table->rel);
	TupleTableSlot **slot = palloc(sizeof(TupleTableSlot *) * Min(chunk, nrows));
	MemoryContext context = CurrentMemoryContext;
	MemoryContext batch =
		AllocSetContextCreate(CurrentMemoryContext, "holdfast rows", ALLOCSET_DEFAULT_SIZES);

	hf_row_open_indexes(table);
	for (int i = 0; i < Min(chunk, nrows); i++)
		slot[i] = MakeSingleTupleTableSlot(RelationGetDescr(table->rel), &TTSOpsVirtual);
	for (int done = 0; done < nrows; done += chunk)
	{
		int n = Min(chunk, nrows - done);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			hf_row_fill(slot[i], table->rel, values + (Size) (done + i) * natts, NULL);
			ExecConstraints(table->rri, slot[i], store->estate);
			ResetPerTupleExprContext(store->estate);
		}
		MemoryContextSwitchTo(batch);
		PG_TRY();
		{
			hf_row_insert_slots(store, table, slot, n);
		}
		PG_CATCH();
		{
			hf_row_translate_conflict(table, context);
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
		MemoryContextReset(batch);
	}
	for (int i = 0; i < Min(chunk, nrows); i++)
		ExecDropSingleTupleTableSlot(slot[i]);
	pfree(slot);
	MemoryContextDelete(batch);
	CommandCounterIncrement();
}

/* What a write that met another transaction means at our isolation level. */
static HfWrite
hf_row_outcome(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return HF_WRITTEN;
		case TM_BeingModified:
		case TM_WouldBlock:
			return HF_BUSY;
		case TM_SelfModified:
			return HF_CHANGED;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update")));
			return HF_CHANGED;
		default:
			elog(ERROR, "unexpected result %d of a row change", (int) result);
	}
	pg_unreachable();
}

#ifdef USE_ASSERT_CHECKING
static bool
hf_row_is_busy(HfTable *table, ItemPointerData tid)
{
	TupleTableSlot *slot = table_slot_create(table->rel, NULL);
	TM_FailureData failure;
	TM_Result result;

	PushActiveSnapshot(GetTransactionSnapshot());
	result =
		table_tuple_lock(table->rel, &tid, GetActiveSnapshot(), slot, GetCurrentCommandId(true),
						 LockTupleNoKeyExclusive, LockWaitSkip, 0, &failure);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(slot);
	return result == TM_WouldBlock;
}
#endif

/* Replaces the row version at tid by table->made. */
static TM_Result
hf_row_try_update(HfTable *table, ItemPointer tid, bool wait, bool *indexes)
{
	TM_FailureData failure;
	LockTupleMode mode;

#ifdef USE_ASSERT_CHECKING
	/* The heap says that somebody else is at it, but asserts that it was to wait for him. */
	if (!wait && hf_row_is_busy(table, *tid))
		return TM_BeingModified;
#endif
	return table_tuple_update(table->rel, tid, table->made, GetCurrentCommandId(true),
							  InvalidSnapshot, InvalidSnapshot, wait, &failure, &mode, indexes);
}

/* Enters the new version of a row into the indexes; 40001 if its key in one of ours is taken. */
static List *
hf_row_update_indexes(HfStore *store, HfTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	List *volatile recheck = NIL;

	hf_row_open_indexes(table);
	PG_TRY();
	{
		recheck =
			ExecInsertIndexTuples(table->rri, table->made, store->estate, true, false, NULL, NIL);
	}
	PG_CATCH();
	{
		hf_row_translate_conflict(table, context);
	}
	PG_END_TRY();
	return recheck;
}

/* Replaces the row version at tid; without nulls, none is. With wait, waits for a rival's end. */
HfWrite
hf_row_update(HfStore *store, HfTable *table, ItemPointer tid, const Datum *values,
			  const bool *nulls, bool wait)
{
	bool indexes;
	ItemPointerData old = *tid;
	TM_Result result;
	List *recheck = NIL;

	hf_row_fill(table->made, table->rel, values, nulls);
	ExecConstraints(table->rri, table->made, store->estate);
	result = hf_row_try_update(table, &old, false, &indexes);
	if (result == TM_BeingModified && wait)
	{
		hf_row_bound_wait(store);
		result = hf_row_try_update(table, &old, true, &indexes);
	}
	if (result == TM_Ok)
	{
		if (indexes)
			recheck = hf_row_update_indexes(store, table);
		ExecARUpdateTriggers(store->estate, table->rri, NULL, NULL, &old, NULL, table->made,
							 recheck, NULL, false);
		CommandCounterIncrement();
	}
	ResetPerTupleExprContext(store->estate);
	return hf_row_outcome(result);
}

/* Deletes the row version at tid. */
HfWrite
hf_row_delete(HfStore *store, HfTable *table, ItemPointer tid)
{
	TM_FailureData failure;
	ItemPointerData old = *tid;
	TM_Result result;

	hf_row_bound_wait(store);
	result = table_tuple_delete(table->rel, &old, GetCurrentCommandId(true), InvalidSnapshot,
								InvalidSnapshot, true, &failure, false);
	if (result == TM_Ok)
	{
		ExecARDeleteTriggers(store->estate, table->rri, &old, NULL, NULL, false);
		CommandCounterIncrement();
	}
	return hf_row_outcome(result);
}

/* Locks the row version at tid and reads it into table->found. */
static TM_Result
hf_row_try_lock(HfTable *table, ItemPointerData tid, LockWaitPolicy policy)
{
	TM_FailureData failure;

	return table_tuple_lock(table->rel, &tid, GetActiveSnapshot(), table->found,
							GetCurrentCommandId(true), LockTupleNoKeyExclusive, policy, 0,
							&failure);
}

/*
 * Locks the row version at tid against writers until the transaction ends, waiting for them.
 * False if it has been replaced meanwhile: read it again.
 */
bool
hf_row_lock(HfStore *store, HfTable *table, ItemPointer tid)
{
	TM_Result result;

	PushActiveSnapshot(GetTransactionSnapshot());
	result = hf_row_try_lock(table, *tid, LockWaitSkip);
	if (result == TM_WouldBlock)
	{
		hf_row_bound_wait(store);
		result = hf_row_try_lock(table, *tid, LockWaitBlock);
	}
	PopActiveSnapshot();
	return hf_row_outcome(result) == HF_WRITTEN;
}
