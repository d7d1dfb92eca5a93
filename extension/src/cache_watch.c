/*
 * cache_watch.c
 *		watch() and unwatch(): making a table's triggers, and all that may be wrong with that.
 *
 * The triggers are made by SQL as the caller, so PostgreSQL's own rules decide who may.  They
 * fire always: also for logical replication and under session_replication_role = replica.  A row
 * trigger on a partitioned table is copied to its partitions by PostgreSQL; triggers on TRUNCATE
 * are not, so each partition gets one of its own, later ones by an event trigger (sql/cache.sql).
 *
 * Whatever was cached before a table was watched may be old, so both watch() and unwatch()
 * abandon the cache.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "arguments.h"
#include "cache_key.h"
#include "cache_ring.h"
#include "cache_trigger.h"
#include "cache_utility.h"
#include "cache_xact.h"
#include "errors.h"
#include "worker.h"

PG_FUNCTION_INFO_V1(holdfast_watch);
PG_FUNCTION_INFO_V1(holdfast_unwatch);
PG_FUNCTION_INFO_V1(holdfast_review_watch);
PG_FUNCTION_INFO_V1(holdfast_abandon_cache);

/* DDL that runs now is only our triggers being made. */
static bool ddl_is_ours = false;

static void
hf_watch_run(const char *statement)
{
	if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute: %s", statement);
}

static const char *
hf_watch_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

static void
hf_watch_refuse_kind(const char *table, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_CANNOT_WATCH), errmsg("table cannot be watched"),
			 errdetail("\"%s\" %s.", table, why), errhint("Watch the tables that hold the rows.")));
}

/* Opens a table that is to be watched, or not any more; only for its owner. */
static Relation
hf_watch_open(Oid relid)
{
	Relation rel;

	/* Before the lock, which others would have to wait for. */
	if (get_rel_name(relid) != NULL && !pg_class_ownercheck(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
	rel = try_relation_open(relid, ShareRowExclusiveLock);
	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation does not exist"),
				 errdetail("There is none with oid %u.", relid)));
	return rel;
}

/* Refuses what has no rows of its own, or rows that nobody else can see. */
static void
hf_watch_check_kind(Relation rel)
{
	char kind = rel->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		hf_watch_refuse_kind(RelationGetRelationName(rel), "is no table");
	if (IsCatalogRelation(rel))
		hf_watch_refuse_kind(RelationGetRelationName(rel), "is a system catalogue");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		hf_watch_refuse_kind(RelationGetRelationName(rel), "is temporary");
	if (rel->rd_rel->relispartition)
		hf_watch_refuse_kind(RelationGetRelationName(rel), "is a partition");
	if (kind == RELKIND_RELATION && find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		hf_watch_refuse_kind(RelationGetRelationName(rel), "has tables that inherit from it");
}

static void
hf_watch_check_server(void)
{
	if (!hf_cache_is_there())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is nobody to bring changes to the cache"),
				 hf_cache_ring_lock == NULL
					 ? errhint("Add holdfast to shared_preload_libraries and restart the server.")
					 : errhint("%d databases have watched tables already.", HF_CACHE_DATABASES)));
}

static void
hf_watch_check_function(void)
{
	AclResult result = pg_proc_aclcheck(hf_cache_trigger_function(), GetUserId(), ACL_EXECUTE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, "holdfast.invalidate_cache");
}

/* Checks the templates and returns them as a list of literals. */
static char *
hf_watch_literals(Relation rel, const HfArray *templates)
{
	StringInfoData literals;

	if (templates->n > HF_CACHE_TEMPLATES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_TEMPLATE), errmsg("too many cache key templates"),
				 errdetail("There are %d; %d are allowed.", templates->n, HF_CACHE_TEMPLATES_MAX)));
	initStringInfo(&literals);
	for (int i = 0; i < templates->n; i++)
	{
		char *template = TextDatumGetCString(templates->value[i]);

		(void) hf_template_parse(template, rel, true);
		appendStringInfo(&literals, "%s%s", i == 0 ? "" : ", ", quote_literal_cstr(template));
	}
	return literals.data;
}

static void
hf_watch_drop_trigger(Oid relid, const char *trigger)
{
	if (OidIsValid(get_trigger_oid(relid, trigger, true)))
		hf_watch_run(psprintf("DROP TRIGGER %s ON %s", trigger, hf_watch_name(relid)));
}

static void
hf_watch_fire_always(Oid relid, const char *trigger)
{
	hf_watch_run(
		psprintf("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %s", hf_watch_name(relid), trigger));
}

/*
 * Gives the table, and each partition, what it lacks of triggers. Partitions have the row
 * trigger.
 */
static void
hf_watch_add_missing(Oid relid, const char *literals)
{
	List *tables = find_all_inheritors(relid, AccessShareLock, NULL);
	ListCell *lc;

	foreach(lc, tables)
	{
		Oid table = lfirst_oid(lc);

		if (get_rel_relkind(table) == RELKIND_FOREIGN_TABLE)
			hf_watch_refuse_kind(get_rel_name(table), "is a foreign table");
		if (OidIsValid(get_trigger_oid(table, HF_CACHE_TRUNCATE_TRIGGER, true)))
			continue;
		hf_watch_run(psprintf("CREATE TRIGGER " HF_CACHE_TRUNCATE_TRIGGER
							  " AFTER TRUNCATE ON %s FOR EACH STATEMENT "
							  "EXECUTE FUNCTION holdfast.invalidate_cache(%s)",
							  hf_watch_name(table), literals));
		hf_watch_fire_always(table, HF_CACHE_TRUNCATE_TRIGGER);
		hf_watch_fire_always(table, HF_CACHE_TRIGGER);
	}
}

/* The same, as DDL of our own, which means nothing to the cache. */
static void
hf_watch_complete(Oid relid, const char *literals)
{
	bool was_ours = ddl_is_ours;

	ddl_is_ours = true;
	PG_TRY();
	{
		hf_watch_add_missing(relid, literals);
	}
	PG_FINALLY();
	{
		ddl_is_ours = was_ours;
	}
	PG_END_TRY();
}

static void
hf_watch_drop_all(Oid relid)
{
	List *tables = find_all_inheritors(relid, AccessShareLock, NULL);
	ListCell *lc;

	hf_watch_drop_trigger(relid, HF_CACHE_TRIGGER);
	foreach(lc, tables)
		hf_watch_drop_trigger(lfirst_oid(lc), HF_CACHE_TRUNCATE_TRIGGER);
}

/* What is cached of the table may be old; and the worker is to look at its triggers. */
static void
hf_watch_changed(const char *what, Oid relid)
{
	hf_cache_add_everything(psprintf("%s %s", what, get_rel_name(relid)));
	hf_cache_ask_recheck();
	hf_launcher_want_cache_at_commit();
}

/* watch(table regclass, VARIADIC templates text[]) */
Datum
holdfast_watch(PG_FUNCTION_ARGS)
{
	HfArray templates;
	Oid relid;
	Relation rel;
	char *literals;

	hf_argument_not_null(fcinfo, 0, "p_table");
	templates = hf_argument_array(fcinfo, 1, "p_templates", TEXTOID);
	hf_argument_array_without_nulls(&templates, "p_templates");
	relid = PG_GETARG_OID(0);
	PreventCommandIfReadOnly("holdfast.watch()");
	rel = hf_watch_open(relid);
	hf_watch_check_kind(rel);
	hf_watch_check_function();
	hf_watch_check_server();
	literals = hf_watch_literals(rel, &templates);
	relation_close(rel, NoLock);

	hf_watch_changed("watch of", relid);
	SPI_connect();
	hf_watch_drop_all(relid);
	hf_watch_run(psprintf("CREATE TRIGGER " HF_CACHE_TRIGGER
						  " AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW "
						  "EXECUTE FUNCTION holdfast.invalidate_cache(%s)",
						  hf_watch_name(relid), literals));
	hf_watch_complete(relid, literals);
	SPI_finish();
	PG_RETURN_VOID();
}

/* unwatch(table regclass) */
Datum
holdfast_unwatch(PG_FUNCTION_ARGS)
{
	Oid relid;
	Relation rel;
	bool partition;

	hf_argument_not_null(fcinfo, 0, "p_table");
	relid = PG_GETARG_OID(0);
	PreventCommandIfReadOnly("holdfast.unwatch()");
	rel = hf_watch_open(relid);
	partition = rel->rd_rel->relispartition;
	relation_close(rel, NoLock);
	if (partition || !OidIsValid(get_trigger_oid(relid, HF_CACHE_TRIGGER, true)))
		ereport(ERROR,
				(errcode(ERRCODE_HF_NOT_WATCHED), errmsg("table is not watched"),
				 errdetail("\"%s\" is none of holdfast.watched.", get_rel_name(relid))));
	hf_watch_changed("unwatch of", relid);
	SPI_connect();
	hf_watch_drop_all(relid);
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * The arguments of the table's row trigger as a list of literals, each checked; NULL: no trigger.
 */
static char *
hf_watch_kept_literals(Relation rel)
{
	StringInfoData literals;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger *trigger = &rel->trigdesc->triggers[i];

		if (strcmp(trigger->tgname, HF_CACHE_TRIGGER) != 0)
			continue;
		initStringInfo(&literals);
		for (int n = 0; n < trigger->tgnargs; n++)
		{
			(void) hf_template_parse(trigger->tgargs[n], rel, true);
			appendStringInfo(&literals, "%s%s", n == 0 ? "" : ", ",
							 quote_literal_cstr(trigger->tgargs[n]));
		}
		return literals.data;
	}
	return NULL;
}

/* Abandons the cache for a reason of whatever length, unless the DDL is ours. */
static void
hf_watch_abandon(char *reason)
{
	if (ddl_is_ours)
		return;
	hf_cache_ask_recheck();
	hf_launcher_want_cache_at_commit();
	reason[pg_mbcliplen(reason, strlen(reason), HF_CACHE_REASON_MAX - 1)] = '\0';
	hf_cache_add_everything(reason);
}

/* Drops triggers on TRUNCATE of what is no partition of a watched table any more. */
static void
hf_watch_drop_orphans(void)
{
	if (SPI_execute("SELECT t.tgrelid FROM pg_catalog.pg_trigger t "
					"WHERE t.tgname = '" HF_CACHE_TRUNCATE_TRIGGER "' "
					"AND t.tgfoid = 'holdfast.invalidate_cache()'::pg_catalog.regprocedure "
					"AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger r "
					"WHERE r.tgrelid = t.tgrelid AND r.tgname = '" HF_CACHE_TRIGGER "')",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for triggers");
	for (uint64 i = 0, n = SPI_processed; i < n; i++)
	{
		SPITupleTable *found = SPI_tuptable;
		bool isnull;
		Oid relid = DatumGetObjectId(SPI_getbinval(found->vals[i], found->tupdesc, 1, &isnull));

		hf_watch_drop_trigger(relid, HF_CACHE_TRUNCATE_TRIGGER);
		SPI_tuptable = found;
	}
}

/*
 * _holdfast.review_watch(table regclass, what text): after DDL on a watched table.  Refuses it if
 * the templates do not fit any more, gives new partitions their triggers, and abandons the cache
 * for `what`, unless that is null.
 */
Datum
holdfast_review_watch(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	Relation rel = try_relation_open(relid, AccessShareLock);
	char *literals;

	if (rel == NULL)
		PG_RETURN_VOID();
	literals = hf_watch_kept_literals(rel);
	relation_close(rel, NoLock);
	if (!PG_ARGISNULL(1))
		hf_watch_abandon(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	SPI_connect();
	if (literals != NULL && (PG_ARGISNULL(1) || hf_cache_partition_change == HF_PARTITION_COMES))
		hf_watch_complete(relid, literals);
	if (hf_cache_partition_change == HF_PARTITION_GOES)
		hf_watch_drop_orphans();
	SPI_finish();
	PG_RETURN_VOID();
}

/* _holdfast.abandon_cache(what text): after DDL that is not on a watched table. */
Datum
holdfast_abandon_cache(PG_FUNCTION_ARGS)
{
	hf_watch_abandon(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}
