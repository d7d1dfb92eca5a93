/*
 * cache_trigger.c
 *		The trigger of watched tables: names the keys that a changed row invalidates.
 *
 * The templates are the trigger's arguments, so they are dumped, restored and copied to partitions
 * with it.  A write never fails because of them: where a template no longer fits its table (the
 * DDL that did it was not seen) the whole cache is abandoned instead.
 *
 * Templates are prepared once per session and trigger; the relcache says when they are out of date.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "cache_key.h"
#include "cache_ring.h"
#include "cache_trigger.h"
#include "cache_xact.h"

PG_FUNCTION_INFO_V1(holdfast_invalidate_cache);

/* What a session knows of a trigger. */
typedef struct HfWatch
{
	Oid trigger; /* hash key */
	Oid relid;
	bool valid;
	bool prepared;		   /* as a whole */
	MemoryContext context; /* holds the templates */
	HfTemplate **template;
	int ntemplates; /* -1: one of them does not fit */
	bool constant;	/* all of them are */
} HfWatch;

static HTAB *watches = NULL;

/* Relcache callback. Only sets flags. */
static void
hf_watch_forget(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS all;
	HfWatch *watch;

	(void) arg;
	hash_seq_init(&all, watches);
	while ((watch = hash_seq_search(&all)) != NULL)
		if (relid == InvalidOid || relid == watch->relid)
			watch->valid = false;
}

static void
hf_watch_begin(void)
{
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(HfWatch)};

	if (watches != NULL)
		return;
	watches = hash_create("holdfast watched tables", 32, &control, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(hf_watch_forget, (Datum) 0);
}

/* Prepares the templates. Should that fail half-way, they are prepared again next time. */
static void
hf_watch_prepare(HfWatch *watch, const Trigger *trigger, Relation rel)
{
	MemoryContext old;
	bool good = true;

	if (watch->context != NULL)
		MemoryContextReset(watch->context);
	else
		watch->context =
			AllocSetContextCreate(TopMemoryContext, "holdfast watched table", ALLOCSET_SMALL_SIZES);
	watch->relid = RelationGetRelid(rel);
	watch->prepared = false;
	watch->ntemplates = -1;
	watch->constant = true;
	/* Looking at catalogues may bring news of the table: then it is prepared again next time. */
	watch->valid = true;
	old = MemoryContextSwitchTo(watch->context);
	watch->template = palloc(sizeof(HfTemplate *) * (trigger->tgnargs + 1));
	for (int i = 0; i < trigger->tgnargs && good; i++)
	{
		watch->template[i] = hf_template_parse(trigger->tgargs[i], rel, false);
		good = watch->template[i] != NULL;
		watch->constant = watch->constant && good && hf_template_is_constant(watch->template[i]);
	}
	if (good)
		watch->ntemplates = trigger->tgnargs;
	watch->prepared = true;
	MemoryContextSwitchTo(old);
}

static HfWatch *
hf_watch_find(const Trigger *trigger, Relation rel)
{
	HfWatch *watch;
	bool found;

	hf_watch_begin();
	watch = hash_search(watches, &trigger->tgoid, HASH_ENTER, &found);
	if (!found)
	{
		watch->context = NULL;
		watch->valid = false;
	}
	if (!watch->valid || !watch->prepared || watch->relid != RelationGetRelid(rel))
		hf_watch_prepare(watch, trigger, rel);
	return watch;
}

static void
hf_watch_add(HfTemplate *template, TupleTableSlot *slot)
{
	static StringInfoData key = {0};

	if (key.data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&key);
		MemoryContextSwitchTo(old);
	}
	hf_template_render(template, slot, &key);
	hf_cache_add_key(key.data, key.len);
}

/* Names the keys of one row that came, went or changed. */
static void
hf_watch_row(HfWatch *watch, TupleTableSlot *was, TupleTableSlot *is)
{
	for (int i = 0; i < watch->ntemplates; i++)
	{
		HfTemplate *template = watch->template[i];

		if (was != NULL && is != NULL && !hf_template_is_changed(template, was, is))
			continue;
		if (was != NULL)
			hf_watch_add(template, was);
		if (is != NULL && (was == NULL || !hf_template_is_same(template, was, is)))
			hf_watch_add(template, is);
	}
}

static void
hf_watch_everything(const char *what, Relation rel)
{
	char reason[HF_CACHE_REASON_MAX];

	snprintf(reason, sizeof(reason), "%s %s", what, RelationGetRelationName(rel));
	hf_cache_add_everything(reason);
}

/* The keys of all rows: those that name no column, or everything. */
static void
hf_watch_truncate(HfWatch *watch, Relation rel)
{
	if (!watch->constant)
		hf_watch_everything("TRUNCATE", rel);
	else
		for (int i = 0; i < watch->ntemplates; i++)
			hf_watch_add(watch->template[i], NULL);
}

/* The trigger function. */
Datum
holdfast_invalidate_cache(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HfWatch *watch;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("holdfast.invalidate_cache() is the trigger of watched tables"),
				 errhint("Use holdfast.watch().")));
	if (!hf_cache_is_there())
		return PointerGetDatum(NULL);
	watch = hf_watch_find(trigger->tg_trigger, trigger->tg_relation);
	if (watch->ntemplates < 0)
		hf_watch_everything("a template does not fit table", trigger->tg_relation);
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		hf_watch_truncate(watch, trigger->tg_relation);
	else if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		hf_watch_everything("a statement on", trigger->tg_relation);
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		hf_watch_row(watch, NULL, trigger->tg_trigslot);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		hf_watch_row(watch, trigger->tg_trigslot, NULL);
	else
		hf_watch_row(watch, trigger->tg_trigslot, trigger->tg_newslot);
	return PointerGetDatum(NULL);
}

/* The trigger function's oid, or InvalidOid without the extension. In a transaction. */
Oid
hf_cache_trigger_function(void)
{
	Oid namespace = get_namespace_oid("holdfast", true);

	if (!OidIsValid(namespace))
		return InvalidOid;
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("invalidate_cache"),
						   PointerGetDatum(buildoidvector(NULL, 0)), ObjectIdGetDatum(namespace));
}

/* Says what is wrong with one of our triggers, if anything is. */
static void
hf_cache_judge_trigger(Form_pg_trigger trigger, char *trouble, Size room)
{
	const char *table = get_rel_name(trigger->tgrelid);

	if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
		snprintf(trouble, room, "trigger %s of table %s does not fire always: watch() it again",
				 NameStr(trigger->tgname), table != NULL ? table : "?");
	else if (strcmp(NameStr(trigger->tgname), HF_CACHE_TRIGGER) == 0 &&
			 !OidIsValid(get_trigger_oid(trigger->tgrelid, HF_CACHE_TRUNCATE_TRIGGER, true)))
		snprintf(trouble, room, "table %s has no trigger on TRUNCATE: watch() it again",
				 table != NULL ? table : "?");
}

/*
 * Counts the triggers of watched tables, and writes into `trouble` what is wrong with one of them:
 * one that does not fire always, or is missing, leaves writes unseen.  Empty if all is well.  In a
 * transaction.
 */
int
hf_cache_survey(char *trouble, Size room)
{
	Oid function = hf_cache_trigger_function();
	Relation rel = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	int count = 0;

	trouble[0] = '\0';
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (trigger->tgfoid != function)
			continue;
		count++;
		hf_cache_judge_trigger(trigger, trouble, room);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return count;
}
