/*
 * row.h
 *		Rows of the extension's own tables, read and written without the SQL layer.
 */
#ifndef HF_ROW_H
#define HF_ROW_H

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "datatype/timestamp.h"
#include "executor/executor.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "row_cache.h"

typedef struct HfTable
{
	Relation rel;
	ResultRelInfo *rri; /* NULL when only reading; indexes open at the first insert */
	HfKnown *known;
	TupleTableSlot *found; /* the row that a scan has reached */
	TupleTableSlot *made;  /* the row that is being written */
	Oid primary;		   /* index of the primary key */
	Oid second;			   /* the table's other index, if it has one */
} HfTable;

/* Everything one SQL-callable function needs from its beginning to its end. */
typedef struct HfStore
{
	EState *estate;		 /* NULL when only reading */
	bool triggers;		 /* one of the tables has triggers */
	bool waited;		 /* for other transactions, or was about to */
	int guc_nest_level;	 /* 0 until it first has to wait; then lock_timeout is ours */
	int session_timeout; /* and these were the session's, and the time: */
	TimestampTz waiting_since;
	HfTable table[HF_TABLES];
} HfStore;

typedef struct HfScan
{
	HfTable *table;
	Relation index;
	IndexScanDesc scan;
	bool opened;		  /* index opened by the scan itself */
	ItemPointerData root; /* where the index points to for the row that was reached */
	bool pushed;		  /* the scan took a snapshot of its own */
} HfScan;

typedef enum HfWrite
{
	HF_WRITTEN,
	HF_CHANGED, /* another transaction changed the row first: read it again */
	HF_BUSY		/* another transaction is changing it, and we do not wait */
} HfWrite;

extern HfStore *hf_row_begin(const char *command);
extern HfStore *hf_row_begin_reading(void);
extern void hf_row_end(HfStore *store);
extern void hf_row_bound_wait(HfStore *store);
extern bool hf_row_wait_a_while(HfStore *store, int milliseconds, void (*wait)(void *), void *arg);
extern HfTable *hf_row_table(HfStore *store, HfTableId id);

extern void hf_row_scan(HfScan *scan, HfTable *table, Oid index, ScanKeyData *keys, int nkeys,
						Snapshot snapshot);
extern bool hf_row_next(HfScan *scan, ScanDirection direction);
extern void hf_row_stop(HfScan *scan);
extern bool hf_row_peek(HfTable *table, Oid index, ScanKeyData *keys, int nkeys,
						TransactionId *rival);
extern bool hf_row_peek_certain(HfStore *store, HfTable *table, Oid index, ScanKeyData *keys,
								int nkeys);
extern bool hf_row_find_and_lock(HfStore *store, HfTable *table, ScanKeyData *keys, int nkeys,
								 bool known);
extern bool hf_row_fetch(HfTable *table, ItemPointerData root);

extern void hf_row_insert(HfStore *store, HfTable *table, const Datum *values, const bool *nulls);
extern bool hf_row_insert_new(HfStore *store, HfTable *table, const Datum *values,
							  const bool *nulls);
extern void hf_row_insert_many(HfStore *store, HfTable *table, const Datum *values, int nrows);
extern HfWrite hf_row_update(HfStore *store, HfTable *table, ItemPointer tid, const Datum *values,
							 const bool *nulls, bool wait);
extern HfWrite hf_row_delete(HfStore *store, HfTable *table, ItemPointer tid);
extern bool hf_row_lock(HfStore *store, HfTable *table, ItemPointer tid);

static inline void
hf_row_key_int8(ScanKey key, AttrNumber column, StrategyNumber strategy, RegProcedure procedure,
				int64 value)
{
	ScanKeyInit(key, column, strategy, procedure, Int64GetDatum(value));
}

#endif
