/*
 * row_cache.c
 *		What a session knows of the extension's tables: oids, and constraints and indexes prepared.
 *
 * Preparing them takes longer than a reservation, so it is done once per session.  The relcache
 * tells when they are out of date; what a call further up the stack may still be using is kept
 * until the transaction ends.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "row_cache.h"

#define HF_STORAGE_SCHEMA "_holdfast"

static HfKnown known[HF_TABLES] = {
	[HF_LANE] = {.name = "stock_lane", .columns = 4, .second_name = "stock_lane_spread_idx"},
	[HF_LANE_FLOOR] = {.name = "lane_floor", .columns = 2},
	[HF_HOLD] = {.name = "hold", .columns = 8, .second_name = "hold_due_idx"},
	[HF_MOVEMENT] = {.name = "stock_movement", .columns = 7},
	[HF_KEY_0] = {.name = "idempotency_0", .columns = 7},
	[HF_KEY_1] = {.name = "idempotency_1", .columns = 7},
	[HF_KEY_TURN] = {.name = "idempotency_turn", .columns = 3},
	[HF_PAYMENT] = {.name = "payment", .columns = 18, .second_name = "payment_owner_idx"},
	[HF_PAYMENT_EVENT] = {.name = "payment_event", .columns = 10},
	[HF_LEDGER] = {.name = "ledger_entry", .columns = 7},
	[HF_CALL] = {.name = "provider_call", .columns = 13, .second_name = "provider_call_due_idx"},
	[HF_PROVIDER] = {.name = "provider", .columns = 6},
	[HF_PROVIDER_EVENT] = {.name = "provider_event", .columns = 10},
	[HF_CACHE_PREPARED] = {.name = "cache_prepared", .columns = 3},
};

/* Counts what the relcache has told us to forget. */
static uint64 forgotten = 0;

/* Relcache callback: forgets what is known of the relation, or of all. Only sets flags. */
static void
hf_row_forget(Datum arg, Oid relid)
{
	(void) arg;
	forgotten++;
	for (int i = 0; i < HF_TABLES; i++)
		if (relid == InvalidOid || relid == known[i].relid)
			known[i].valid = false;
}

/* Called once per backend, by _PG_init. */
void
hf_row_register(void)
{
	CacheRegisterRelcacheCallback(hf_row_forget, (Datum) 0);
}

/* Opens the table by name: the extension may be dropped and made again within a session. */
static Relation
hf_row_open_by_name(const char *name, LOCKMODE lockmode)
{
	for (;;)
	{
		Oid namespace = get_namespace_oid(HF_STORAGE_SCHEMA, true);
		Oid relid = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
		Relation rel;

		if (!OidIsValid(relid))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the tables of extension \"holdfast\" are missing"),
					 errhint("Run CREATE EXTENSION holdfast in this database.")));
		rel = try_table_open(relid, lockmode);
		if (rel != NULL)
			return rel;
		/* Dropped while we waited for its lock: look for its successor. */
		AcceptInvalidationMessages();
	}
}

/*
 * Prepares the CHECK constraints once per session instead of once per call, as ExecRelCheck would.
 */
static void
hf_row_prepare_checks(HfKnown *k, Relation rel, EState *estate)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	int nchecks = constr ? constr->num_check : 0;

	k->checks = palloc0(sizeof(ExprState *) * Max(nchecks, 1));
	for (int i = 0; i < nchecks; i++)
		k->checks[i] = ExecPrepareExpr(stringToNode(constr->check[i].ccbin), estate);
}

/*
 * Notes the indexes and prepares what can be kept: predicates, and what there is to know of a
 * B-tree without expressions.  Other kinds of index leave things of one call's memory in their
 * IndexInfo.
 */
static void
hf_row_prepare_indexes(HfKnown *k, Relation rel, EState *estate)
{
	List *oids = RelationGetIndexList(rel);
	ListCell *lc;

	k->index = palloc0(sizeof(Oid) * Max(list_length(oids), 1));
	k->predicate = palloc0(sizeof(ExprState *) * Max(list_length(oids), 1));
	k->index_info = palloc0(sizeof(IndexInfo *) * Max(list_length(oids), 1));
	k->nindexes = 0;
	foreach(lc, oids)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);
		List *predicate = RelationGetIndexPredicate(index);

		if (predicate != NIL)
			k->predicate[k->nindexes] = ExecPrepareQual(predicate, estate);
		if (index->rd_rel->relam == BTREE_AM_OID && RelationGetIndexExpressions(index) == NIL)
		{
			k->index_info[k->nindexes] = BuildIndexInfo(index);
			k->index_info[k->nindexes]->ii_PredicateState = k->predicate[k->nindexes];
		}
		k->index[k->nindexes++] = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
}

/* Fills the cache entry for an open table. */
static void
hf_row_learn(HfKnown *k, Relation rel)
{
	MemoryContext old;
	EState *estate;
	uint64 before = forgotten;

	k->valid = false;
	if (RelationGetNumberOfAttributes(rel) != k->columns)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not fit the library", HF_STORAGE_SCHEMA, k->name),
				 errdetail("It has %d columns; the library knows %d.",
						   RelationGetNumberOfAttributes(rel), k->columns),
				 errhint(
					 "Run ALTER EXTENSION holdfast UPDATE, and add no columns to its tables.")));
	if (k->context != NULL)
		MemoryContextSetParent(k->context, TopTransactionContext);
	k->context = NULL;
	k->context = AllocSetContextCreate(CacheMemoryContext, "holdfast table", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(k->context);
	estate = CreateExecutorState();

	k->relid = RelationGetRelid(rel);
	k->primary = RelationGetPrimaryKeyIndex(rel);
	k->second = k->second_name == NULL
		? InvalidOid
		: get_relname_relid(k->second_name, RelationGetNamespace(rel));
	if (!OidIsValid(k->primary) || (k->second_name != NULL && !OidIsValid(k->second)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("an index of table \"%s.%s\" is missing", HF_STORAGE_SCHEMA, k->name)));
	hf_row_prepare_checks(k, rel, estate);
	hf_row_prepare_indexes(k, rel, estate);
	MemoryContextSwitchTo(old);
	/* Reading catalogues takes in invalidations: if one came, it may be old for the next caller. */
	k->valid = forgotten == before;
}

/* Takes the lock on a table, if it is known, without waiting; false if somebody has it locked. */
bool
hf_row_try_lock_table(HfTableId id, LOCKMODE lockmode)
{
	return !known[id].valid || ConditionalLockRelationOid(known[id].relid, lockmode);
}

/*
 * Opens a table and returns what is known of it, which the caller may use until the transaction
 * ends.
 */
HfKnown *
hf_row_open(HfTableId id, LOCKMODE lockmode, Relation *rel)
{
	HfKnown *k = &known[id];

	*rel = k->valid ? try_table_open(k->relid, lockmode) : NULL;
	if (*rel == NULL)
		*rel = hf_row_open_by_name(k->name, lockmode);
	/* Opening takes in invalidations.  What is learned under the lock is good while we have it. */
	if (!k->valid || k->relid != RelationGetRelid(*rel))
		hf_row_learn(k, *rel);
	return k;
}
