/*
 * row.c
 *		Rows of the extension's own tables, read and written without the SQL layer.
 *
 * A reservation is two row changes.  Through SPI they cost several times what the table access
 * method needs for them, so the hot paths go to it directly, as logical replication's apply does.
 * What the executor promises still holds: CHECK and NOT NULL constraints are evaluated, all indexes
 * maintained, AFTER ROW triggers fired (so that a watched table works), command counter advanced.
 * BEFORE ROW triggers are not for these tables: some writes fire them and some do not.
 *
 * Snapshots.  Every read that is given none takes a fresh one (of the transaction, under REPEATABLE
 * READ and SERIALIZABLE), so what is read after a lock was waited for is what the lock protects.
 * Every write is conditional on the row being the version that was read: otherwise it answers
 * HF_CHANGED under READ COMMITTED, and raises 40001 under the stricter levels.
 *
 * Waits are bounded (hf_row_bound_wait).
 *
 * Privileges.  None are checked here: EXECUTE on the SQL function is the privilege.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "row.h"

/* For triggers on columns: an update of ours sets all columns that are not part of the key. */
static Index
hf_row_range_table_entry(EState *estate, HfTable *table)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	Bitmapset *key = RelationGetIndexAttrBitmap(table->rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(table->rel);
	rte->relkind = table->rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	for (int i = 1; i <= RelationGetNumberOfAttributes(table->rel); i++)
		if (!bms_is_member(i - FirstLowInvalidHeapAttributeNumber, key))
			rte->updatedCols =
				bms_add_member(rte->updatedCols, i - FirstLowInvalidHeapAttributeNumber);
	estate->es_range_table = lappend(estate->es_range_table, rte);
	return list_length(estate->es_range_table);
}

/* Hooks the open table to the executor's machinery, with what was prepared. */
static void
hf_row_attach(HfStore *store, HfTable *table, HfKnown *k)
{
	ResultRelInfo *rri = makeNode(ResultRelInfo);

	InitResultRelInfo(rri, table->rel, 0, NULL, 0);
	rri->ri_ConstraintExprs = k->checks;
	if (rri->ri_TrigDesc && rri->ri_TrigDesc->trig_update_after_row)
		rri->ri_RangeTableIndex = hf_row_range_table_entry(store->estate, table);
	store->estate->es_opened_result_relations =
		lappend(store->estate->es_opened_result_relations, rri);
	store->triggers = store->triggers || rri->ri_TrigDesc != NULL;
	table->rri = rri;
	table->known = k;
}

/* Opens the indexes for writing; an update that touches none of their columns does without. */
static void
hf_row_open_indexes(HfTable *table)
{
	ResultRelInfo *rri = table->rri;
	HfKnown *k = table->known;

	if (rri->ri_IndexRelationDescs != NULL)
		return;
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
}

/* The table, opened at first use and closed by hf_row_end(). */
HfTable *
hf_row_table(HfStore *store, HfTableId id)
{
	HfTable *table = &store->table[id];
	HfKnown *k;
	LOCKMODE lockmode = store->estate ? RowExclusiveLock : AccessShareLock;

	if (table->rel != NULL)
		return table;
	k = hf_row_open(id, lockmode, &table->rel);
	table->primary = k->primary;
	table->second = k->second;
	table->found = table_slot_create(table->rel, NULL);
	if (store->estate)
	{
		table->made = MakeSingleTupleTableSlot(RelationGetDescr(table->rel), &TTSOpsVirtual);
		hf_row_attach(store, table, k);
	}
	return table;
}

/*
 * Begins the work of a SQL-callable function that writes. Refuses, with PostgreSQL's own errors,
 * read-only transactions, standbys and parallel workers.
 */
HfStore *
hf_row_begin(const char *command)
{
	HfStore *store = palloc0(sizeof(HfStore));

	PreventCommandIfReadOnly(command);
	PreventCommandIfParallelMode(command);
	store->estate = CreateExecutorState();
	AfterTriggerBeginQuery();
	return store;
}

/*
 * To be called before anything that may wait for another transaction: all waits of a call together
 * are bounded by holdfast.lock_timeout, and each by lock_timeout; then 55P03.
 */
void
hf_row_bound_wait(HfStore *store)
{
	TimestampTz now = GetCurrentTimestamp();
	long left;

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

/* Sets lock_timeout until the call, or the subtransaction, ends. */
void
hf_row_set_lock_timeout(int milliseconds)
{
	(void) set_config_option("lock_timeout", psprintf("%d", milliseconds), PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Begins work that only reads, and so is good on a standby and in a parallel worker. */
HfStore *
hf_row_begin_reading(void)
{
	return palloc0(sizeof(HfStore));
}

/* Fires what triggers have queued and closes everything; locks stay until the transaction ends. */
void
hf_row_end(HfStore *store)
{
	if (store->estate)
	{
		if (store->triggers)
			PushActiveSnapshot(GetTransactionSnapshot());
		AfterTriggerEndQuery(store->estate);
		if (store->triggers)
			PopActiveSnapshot();
	}
	if (store->estate)
		ExecCloseResultRelations(store->estate);
	if (store->guc_nest_level != 0)
		AtEOXact_GUC(true, store->guc_nest_level);
	for (int i = 0; i < HF_TABLES; i++)
	{
		HfTable *table = &store->table[i];

		if (table->rel == NULL)
			continue;
		if (table->made)
			ExecDropSingleTupleTableSlot(table->made);
		ExecDropSingleTupleTableSlot(table->found);
		table_close(table->rel, NoLock);
	}
	if (store->estate)
	{
		ExecResetTupleTable(store->estate->es_tupleTable, false);
		FreeExecutorState(store->estate);
	}
	pfree(store);
}

/* Begins an index scan; without a snapshot, with a fresh one. hf_row_stop() must follow. */
void
hf_row_scan(HfScan *scan, HfTable *table, Oid index, ScanKeyData *keys, int nkeys,
			Snapshot snapshot)
{
	scan->table = table;
	scan->index = NULL;
	scan->opened = false;
	if (table->rri)
		for (int i = 0; i < table->rri->ri_NumIndices; i++)
			if (RelationGetRelid(table->rri->ri_IndexRelationDescs[i]) == index)
				scan->index = table->rri->ri_IndexRelationDescs[i];
	if (scan->index == NULL)
	{
		scan->index = index_open(index, AccessShareLock);
		scan->opened = true;
	}
	scan->pushed = snapshot == NULL;
	if (scan->pushed)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot = GetActiveSnapshot();
	}
	scan->scan = index_beginscan(table->rel, scan->index, snapshot, nkeys, 0);
	index_rescan(scan->scan, keys, nkeys, NULL, 0);
}

/* Moves to the next row, left in table->found. */
bool
hf_row_next(HfScan *scan, ScanDirection direction)
{
	ItemPointer tid;

	while ((tid = index_getnext_tid(scan->scan, direction)) != NULL)
	{
		scan->root = *tid;
		if (index_fetch_heap(scan->scan, scan->table->found))
			return true;
	}
	return false;
}

/*
 * Reads the row that an earlier scan has reached through `root`, without the index, into
 * table->found.  It may have moved, and another may live there now: the caller looks at its key,
 * and if it is not the one, or on false, uses the index.
 *
 * READ COMMITTED needs no list of running transactions to see what is newest: a row that one of
 * them is changing is left to the index scan and its snapshot.
 */
bool
hf_row_fetch(HfTable *table, ItemPointerData root)
{
	bool own_snapshot = IsolationUsesXactSnapshot();
	IndexFetchTableData *fetch;
	SnapshotData dirty;
	bool again = false;
	bool found;

	if (ItemPointerGetBlockNumber(&root) >= RelationGetNumberOfBlocks(table->rel))
		return false;
	InitDirtySnapshot(dirty);
	dirty.xmin = dirty.xmax = InvalidTransactionId;
	fetch = table_index_fetch_begin(table->rel);
	found = table_index_fetch_tuple(fetch, &root, own_snapshot ? GetTransactionSnapshot() : &dirty,
									table->found, &again, NULL);
	table_index_fetch_end(fetch);
	return found && !TransactionIdIsValid(dirty.xmin) && !TransactionIdIsValid(dirty.xmax);
}

void
hf_row_stop(HfScan *scan)
{
	index_endscan(scan->scan);
	if (scan->pushed)
		PopActiveSnapshot();
	if (scan->opened)
		index_close(scan->index, AccessShareLock);
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
 * Called while an insert's error is being handled: a key of ours that another transaction has made
 * in the same moment, or that our snapshot could not see, means "try again".
 */
static void
hf_row_translate_conflict(HfTable *table, MemoryContext context)
{
	ErrorData *error;
	char *primary;

	if (geterrcode() != ERRCODE_UNIQUE_VIOLATION)
		PG_RE_THROW();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	primary = get_rel_name(table->primary);
	if (error->constraint_name == NULL || primary == NULL ||
		strcmp(error->constraint_name, primary) != 0)
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

/* Replaces the row version at tid by table->made. */
static TM_Result
hf_row_try_update(HfTable *table, ItemPointer tid, bool wait, bool *indexes)
{
	TM_FailureData failure;
	LockTupleMode mode;

	return table_tuple_update(table->rel, tid, table->made, GetCurrentCommandId(true),
							  InvalidSnapshot, InvalidSnapshot, wait, &failure, &mode, indexes);
}

/* Replaces the row version at tid; no column may be null. With wait, waits for a rival's end. */
HfWrite
hf_row_update(HfStore *store, HfTable *table, ItemPointer tid, const Datum *values, bool wait)
{
	bool indexes;
	ItemPointerData old = *tid;
	TM_Result result;
	List *recheck = NIL;

	hf_row_fill(table->made, table->rel, values, NULL);
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
		{
			hf_row_open_indexes(table);
			recheck = ExecInsertIndexTuples(table->rri, table->made, store->estate, true, false,
											NULL, NIL);
		}
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

/*
 * Locks the row version at tid against writers until the transaction ends, waiting for them.
 * False if it has been replaced meanwhile: read it again.
 */
bool
hf_row_lock(HfStore *store, HfTable *table, ItemPointer tid)
{
	TM_FailureData failure;
	ItemPointerData locked = *tid;
	TM_Result result;

	hf_row_bound_wait(store);
	PushActiveSnapshot(GetTransactionSnapshot());
	result = table_tuple_lock(table->rel, &locked, GetActiveSnapshot(), table->found,
							  GetCurrentCommandId(true), LockTupleNoKeyExclusive, LockWaitBlock, 0,
							  &failure);
	PopActiveSnapshot();
	return hf_row_outcome(result) == HF_WRITTEN;
}
