/*
 * row.c
 *		Rows of the extension's own tables, read and written without the SQL layer.
 *
 * A reservation is two row changes.  Starting up the executor for them costs more processor time
 * than the changes themselves (bench/README.md), so they go to the table access method directly, as
 * logical replication's apply does.
 * What the executor promises still holds: CHECK and NOT NULL constraints are evaluated, all indexes
 * maintained, AFTER ROW triggers fired (so that a watched table works), command counter advanced.
 * BEFORE ROW triggers are not for these tables: some writes fire them and some do not.
 *
 * Snapshots.  Every read that is given none takes a fresh one (of the transaction, under REPEATABLE
 * READ and SERIALIZABLE), so what is read after a lock was waited for is what the lock protects.
 * Writes are in row_write.c.
 *
 * Waits are bounded (row_wait.c).
 *
 * Privileges.  None are checked here: EXECUTE on the SQL function is the privilege.
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/proc.h"

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

/* The table, opened at first use and closed by hf_row_end(). */
HfTable *
hf_row_table(HfStore *store, HfTableId id)
{
	HfTable *table = &store->table[id];
	HfKnown *k;
	LOCKMODE lockmode = store->estate ? RowExclusiveLock : AccessShareLock;
	MemoryContext old;

	if (table->rel != NULL)
		return table;
	if (!hf_row_try_lock_table(id, lockmode))
		hf_row_bound_wait(store);
	/* It stays open as long as the store, whatever context the caller is in. */
	old = MemoryContextSwitchTo(GetMemoryChunkContext(store));
	k = hf_row_open(id, lockmode, &table->rel);
	table->primary = k->primary;
	table->second = k->second;
	table->found = table_slot_create(table->rel, NULL);
	if (store->estate)
	{
		table->made = MakeSingleTupleTableSlot(RelationGetDescr(table->rel), &TTSOpsVirtual);
		hf_row_attach(store, table, k);
	}
	MemoryContextSwitchTo(old);
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
