/*
 * cache_xact.c
 *		The cache keys of the current transaction: collected as rows change, handed over at commit.
 *
 * Each key is kept once, with the level of the subtransaction that named it first; keys of a
 * subtransaction that rolls back are forgotten.  As inner subtransactions end before outer ones,
 * the keys of one are always the last in the list.  "Everything" stands for keys that nobody can
 * or wants to name: TRUNCATE, DDL, cache_flush(), or too many.
 *
 * Before the commit record an entry of the ring is reserved (may fail: then it is "everything");
 * when the change is visible the entry is handed over, which is stores and a latch.  Nothing
 * after the commit record allocates or raises.  A transaction that is prepared writes its keys to
 * a table of its own database instead, which the worker reads after COMMIT PREPARED.
 *
 * Without shared memory there is no worker, no heartbeat, and so no reader who trusts the cache:
 * nothing is collected.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "cache_commit.h"
#include "cache_key.h"
#include "cache_ring.h"
#include "cache_set.h"
#include "cache_xact.h"
#include "row.h"
#include "uuid7.h"

/* Columns of _holdfast.cache_prepared, as sql/cache.sql creates it. */
enum
{
	COL_ID = 1,
	COL_KEYS,
	COL_REASON
};
#define COLUMNS COL_REASON

/* What the current transaction has named. */
typedef struct HfCacheChange
{
	HfCacheSet set;
	int everything; /* level of the outermost subtransaction that asked for it; 0: none */
	char reason[HF_CACHE_REASON_MAX];
	bool lost; /* as keys are too many, or there is no room for them */
	bool recheck;
	int handed_over; /* keys that are reserved in the ring */
} HfCacheChange;

/* In the transaction's memory. NULL: nothing. */
static HfCacheChange *change = NULL;

/* Is there anybody to hand keys to? In a transaction. */
bool
hf_cache_is_there(void)
{
	return hf_cache_ring_database(true) != NULL;
}

/* Gives up the keys: the whole cache is to be abandoned instead. */
static void
hf_cache_lose(const char *reason)
{
	if (change->everything > 0)
		return;
	hf_cache_add_everything(reason);
	change->lost = true;
}

/* Reserves what is to be handed over at commit. May raise. */
static void
hf_cache_before_commit(void)
{
	HfCacheSet *set = &change->set;

	hf_cache_commit_begin(GetTopTransactionIdIfAny());
	if (change->everything > 0 || set->nkeys == 0)
		return;
	if (hf_cache_ring_reserve(set->packed.data, set->packed.len, set->nkeys))
		change->handed_over = set->nkeys;
	else
		hf_cache_lose(HF_CACHE_RING_FULL);
}

/* The change is visible. Nothing here can fail. */
static void
hf_cache_after_commit(void)
{
	if (change->recheck)
		pg_atomic_write_u32(&hf_cache_ring_database(false)->recheck, 1);
	if (change->handed_over > 0)
		hf_cache_ring_ready(GetCurrentTransactionStopTimestamp());
	if (change->everything > 0)
		hf_cache_ring_abandon(change->reason, change->lost);
	else if (change->set.nkeys > change->handed_over)
		hf_cache_ring_abandon("rows were changed while committing", true);
	else if (change->recheck)
		hf_cache_ring_wake(hf_cache_ring_database(false));
}

/* Writes the keys of a transaction that is about to be prepared to the table. */
static void
hf_cache_before_prepare(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	HfStore *store = hf_row_begin("PREPARE TRANSACTION");
	Size length = VARHDRSZ + change->set.packed.len;
	bytea *keys = palloc(length);
	pg_uuid_t id;
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = {false};

	SET_VARSIZE(keys, length);
	memcpy(VARDATA(keys), change->set.packed.data, change->set.packed.len);
	hf_uuid7_make(&id);
	values[COL_ID - 1] = UUIDPGetDatum(&id);
	values[COL_KEYS - 1] = PointerGetDatum(keys);
	values[COL_REASON - 1] = CStringGetTextDatum(change->reason);
	nulls[COL_REASON - 1] = change->everything == 0;
	hf_row_insert(store, hf_row_table(store, HF_CACHE_PREPARED), values, nulls);
	hf_row_end(store);
	MemoryContextSwitchTo(old);
}

static void
hf_cache_at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (change == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			hf_cache_before_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (change->set.nkeys > 0 || change->everything > 0)
				hf_cache_before_prepare();
			break;
		case XACT_EVENT_COMMIT:
			hf_cache_after_commit();
			hf_cache_commit_end();
			change = NULL;
			break;
		case XACT_EVENT_ABORT:
			hf_cache_ring_drop();
			hf_cache_commit_end();
			change = NULL;
			break;
		case XACT_EVENT_PREPARE:
			change = NULL;
			break;
		default:
			break;
	}
}

static void
hf_cache_at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							   void *arg)
{
	int level = GetCurrentTransactionNestLevel();
	int first;
	HfCacheKey *key;

	(void) mine;
	(void) parent;
	(void) arg;
	if (change == NULL || (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	key = change->set.key;
	for (first = change->set.nkeys; first > 0 && key[first - 1].level >= level; first--)
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			key[first - 1].level = level - 1;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		hf_cache_set_truncate(&change->set, first);
	if (change->everything >= level)
		change->everything = event == SUBXACT_EVENT_COMMIT_SUB ? level - 1 : 0;
	change->lost = change->lost && change->everything > 0;
}

static void
hf_cache_begin(void)
{
	static bool registered = false;
	static bool registered_sub = false;
	HfCacheChange *begun;

	if (change != NULL)
		return;
	if (!registered)
		RegisterXactCallback(hf_cache_at_transaction_end, NULL);
	registered = true;
	if (!registered_sub)
		RegisterSubXactCallback(hf_cache_at_subtransaction_end, NULL);
	registered_sub = true;
	begun = MemoryContextAllocZero(TopTransactionContext, sizeof(HfCacheChange));
	hf_cache_set_init(&begun->set, TopTransactionContext);
	change = begun;
}

/* The key, of 1 to HF_CACHE_KEY_MAX bytes, is to be invalidated if the subtransaction commits. */
void
hf_cache_add_key(const char *key, int length)
{
	if (!hf_cache_is_there())
		return;
	hf_cache_begin();
	if (change->everything > 0)
		return;
	if ((Size) change->set.packed.len + length + 1 > hf_cache_ring_largest())
		hf_cache_lose("a transaction changed too many keys");
	else
		(void) hf_cache_set_add(&change->set, key, length, GetCurrentTransactionNestLevel());
}

/*
 * The whole cache is to be abandoned if the subtransaction commits.  Keys that were collected are
 * kept: should it roll back, they are needed.
 */
void
hf_cache_add_everything(const char *reason)
{
	if (!hf_cache_is_there())
		return;
	hf_cache_begin();
	if (change->everything > 0)
		return;
	change->everything = GetCurrentTransactionNestLevel();
	strlcpy(change->reason, reason, HF_CACHE_REASON_MAX);
}

/* The worker is to look at all triggers again once the transaction has committed. */
void
hf_cache_ask_recheck(void)
{
	if (!hf_cache_is_there())
		return;
	hf_cache_begin();
	change->recheck = true;
}

/* Adds the keys that a prepared transaction has left to those of the current one. */
static void
hf_cache_add_packed(const char *packed, Size length)
{
	const char *end = packed + length;

	for (const char *s = packed; s < end; s += (uint8) s[0] + 1)
		hf_cache_add_key(s + 1, (uint8) s[0]);
}

/*
 * Worker: what committed two-phase transactions have left in the table becomes the current
 * transaction's, and goes the way of all keys when it commits.
 */
void
hf_cache_collect_prepared(void)
{
	HfStore *store = hf_row_begin("holdfast cache worker");
	HfTable *table = hf_row_table(store, HF_CACHE_PREPARED);
	HfScan scan;

	hf_row_scan(&scan, table, table->primary, NULL, 0, NULL);
	while (hf_row_next(&scan, ForwardScanDirection))
	{
		Datum *values;
		bytea *keys;

		slot_getallattrs(table->found);
		values = table->found->tts_values;
		keys = DatumGetByteaPP(values[COL_KEYS - 1]);
		hf_cache_add_packed(VARDATA_ANY(keys), VARSIZE_ANY_EXHDR(keys));
		if (!table->found->tts_isnull[COL_REASON - 1])
		{
			hf_cache_add_everything(TextDatumGetCString(values[COL_REASON - 1]));
			hf_cache_ask_recheck();
		}
		(void) hf_row_delete(store, table, &table->found->tts_tid);
	}
	hf_row_stop(&scan);
	hf_row_end(store);
}
