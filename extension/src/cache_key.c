/*
 * cache_key.c
 *		Templates of cache keys, and the keys that rows make of them.
 *
 * A template is literal text with columns in braces, such as product:{id}; " ON price,title"
 * behind it says that an update counts only if one of these columns changes.  What it makes of a
 * row must be the same in every session, whatever its settings, and on every reader that follows
 * docs/cache-protocol.md: values are the text of the type's output function under settings that
 * are fixed here, percent-encoded (RFC 3986, section 2.1).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "cache_key.h"
#include "digest.h"
#include "errors.h"

#define HASHED "sha256:"

/* Literal text, or a column. */
typedef struct HfTemplatePart
{
	char *literal; /* NULL: a column */
	int length;
	AttrNumber column;
	FmgrInfo output;
	bool settled; /* the type's text depends on no setting */
} HfTemplatePart;

struct HfTemplate
{
	HfTemplatePart *part;
	int nparts;
	AttrNumber *on; /* columns that count, or NULL: all */
	int non;
};

/* What is being parsed. */
typedef struct HfTemplateText
{
	const char *whole;
	Relation rel;
	bool raise;
	HfTemplate *template;
} HfTemplateText;

static bool
hf_template_refuse(const HfTemplateText *t, const char *why)
{
	if (t->raise)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_TEMPLATE), errmsg("invalid cache key template"),
				 errdetail("\"%s\": %s.", t->whole, why),
				 errhint("A template is text with columns in braces, such as product:{id} or "
						 "tag:products ON price,title.")));
	return false;
}

/* The number of a column that a template names, or 0. */
static AttrNumber
hf_template_column(const HfTemplateText *t, const char *name, int length)
{
	char *column = pnstrdup(name, length);
	AttrNumber number = get_attnum(RelationGetRelid(t->rel), column);

	if (number > 0)
		return number;
	if (t->raise)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", column,
						RelationGetRelationName(t->rel)),
				 errdetail("It stands in the cache key template \"%s\".", t->whole),
				 errhint(
					 "To change a watched column, unwatch() the table first, and watch() it again "
					 "in the same transaction.")));
	return 0;
}

/* Types whose output depends on no setting; all others are written with settings fixed. */
static bool
hf_template_type_is_settled(Oid type)
{
	switch (getBaseType(type))
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case INT8OID:
		case INT2OID:
		case INT4OID:
		case TEXTOID:
		case OIDOID:
		case UUIDOID:
		case BPCHAROID:
		case VARCHAROID:
		case NUMERICOID:
			return true;
		default:
			return false;
	}
}

static void
hf_template_add_column(HfTemplateText *t, AttrNumber column)
{
	HfTemplatePart *part = &t->template->part[t->template->nparts++];
	Oid type = TupleDescAttr(RelationGetDescr(t->rel), column - 1)->atttypid;
	Oid output;
	bool varlena;

	getTypeOutputInfo(type, &output, &varlena);
	part->literal = NULL;
	part->column = column;
	part->settled = hf_template_type_is_settled(type);
	fmgr_info_cxt(output, &part->output, CurrentMemoryContext);
}

static void
hf_template_add_literal(HfTemplateText *t, const char *text, int length)
{
	HfTemplatePart *part = &t->template->part[t->template->nparts++];

	part->literal = pnstrdup(text, length);
	part->length = length;
}

/* Takes the key itself apart, `length` bytes. */
static bool
hf_template_parse_key(HfTemplateText *t, int length)
{
	const char *end = t->whole + length;
	const char *s = t->whole;

	t->template->part = palloc0(sizeof(HfTemplatePart) * (length + 1));
	while (s < end)
	{
		const char *start = s;
		AttrNumber column;

		while (s<end && * s> ' ' && *s <= '~' && strchr("{}%\\", *s) == NULL)
			s++;
		if (s > start)
			hf_template_add_literal(t, start, s - start);
		if (s == end)
			break;
		if (*s != '{')
			return hf_template_refuse(t,
									  "only printable ASCII but blank, }, % and \\ is allowed "
									  "outside of braces");
		start = ++s;
		while (s < end && *s != '}')
			s++;
		/* The view `watched` could not tell it from the end of an argument. */
		if (memmem(start, s - start, "\\000", 4) != NULL)
			return hf_template_refuse(t, "a column with \\000 in its name cannot be used");
		if (s == end || s == start)
			return hf_template_refuse(t, s == end ? "\"}\" is missing" : "a column is missing");
		column = hf_template_column(t, start, s - start);
		if (column == 0)
			return false;
		hf_template_add_column(t, column);
		s++;
	}
	return true;
}

/*
 * Does literal text reach to the first colon?  What stands there says what kind of key it is (a
 * tag, a hash), which must not be for the data to say.
 */
static bool
hf_template_kind_is_literal(const HfTemplate *template)
{
	bool column = false;

	for (int i = 0; i < template->nparts; i++)
	{
		if (template->part[i].literal == NULL)
			column = true;
		else if (strchr(template->part[i].literal, ':') != NULL)
			return !column;
	}
	return true;
}

/* Takes the list of columns behind " ON " apart. */
static bool
hf_template_parse_on(HfTemplateText *t, const char *list)
{
	HfTemplate *template = t->template;

	template->on = palloc(sizeof(AttrNumber) * (strlen(list) + 1));
	for (;;)
	{
		const char *end;

		list += strspn(list, " ");
		end = list + strcspn(list, ",");
		while (end > list && end[-1] == ' ')
			end--;
		if (end == list)
			return hf_template_refuse(t, "a column is missing behind ON");
		template->on[template->non] = hf_template_column(t, list, end - list);
		if (template->on[template->non++] == 0)
			return false;
		list += strcspn(list, ",");
		if (*list == '\0')
			return true;
		list++;
	}
}

/*
 * Prepares a template for a table, in the current memory context.  One that does not fit is an
 * error with `raise`, and else NULL.
 */
HfTemplate *
hf_template_parse(const char *text, Relation rel, bool raise)
{
	HfTemplateText t = {.whole = text, .rel = rel, .raise = raise};
	const char *on = strstr(text, " ON ");
	int length = on != NULL ? on - text : (int) strlen(text);
	bool good;

	t.template = palloc0(sizeof(HfTemplate));
	if (length == 0)
		good = hf_template_refuse(&t, "the key is empty");
	else if (length > HF_CACHE_KEY_MAX)
		good = hf_template_refuse(&t, "the key is too long");
	else if (strncmp(text, HASHED, strlen(HASHED)) == 0)
		good = hf_template_refuse(&t, "\"" HASHED "\" is for keys that are too long");
	else
		good = hf_template_parse_key(&t, length) &&
			(hf_template_kind_is_literal(t.template) ||
			 hf_template_refuse(&t, "a column stands before the first colon")) &&
			(on == NULL || hf_template_parse_on(&t, on + strlen(" ON ")));
	return good ? t.template : NULL;
}

/* Does it name the same key for every row? */
bool
hf_template_is_constant(const HfTemplate *template)
{
	for (int i = 0; i < template->nparts; i++)
		if (template->part[i].literal == NULL)
			return false;
	return true;
}

static bool
hf_template_column_is_changed(AttrNumber column, TupleTableSlot *was, TupleTableSlot *is)
{
	Form_pg_attribute attribute = TupleDescAttr(is->tts_tupleDescriptor, column - 1);
	bool was_null, is_null;
	Datum old = slot_getattr(was, column, &was_null);
	Datum new = slot_getattr(is, column, &is_null);

	if (was_null || is_null)
		return was_null != is_null;
	return !datum_image_eq(old, new, attribute->attbyval, attribute->attlen);
}

/* Do both rows have the same key? If in doubt, no. */
bool
hf_template_is_same(const HfTemplate *template, TupleTableSlot *was, TupleTableSlot *is)
{
	for (int i = 0; i < template->nparts; i++)
		if (template->part[i].literal == NULL &&
			hf_template_column_is_changed(template->part[i].column, was, is))
			return false;
	return true;
}

/* Does the change from one row to the other count? */
bool
hf_template_is_changed(const HfTemplate *template, TupleTableSlot *was, TupleTableSlot *is)
{
	if (template->on == NULL || !hf_template_is_same(template, was, is))
		return true;
	for (int i = 0; i < template->non; i++)
		if (hf_template_column_is_changed(template->on[i], was, is))
			return true;
	return false;
}

/* Writes the text percent-encoded. */
static void
hf_template_escape(StringInfo key, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";

	for (const unsigned char *s = (const unsigned char *) text; *s != '\0'; s++)
	{
		bool plain = (*s >= '0' && *s <= '9') || (*s >= 'A' && *s <= 'Z') ||
			(*s >= 'a' && *s <= 'z') || *s == '-' || *s == '.' || *s == '_' || *s == '~';

		if (plain)
			appendStringInfoCharMacro(key, *s);
		else
		{
			appendStringInfoCharMacro(key, '%');
			appendStringInfoCharMacro(key, hex[*s >> 4]);
			appendStringInfoCharMacro(key, hex[*s & 15]);
		}
	}
}

static void
hf_template_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* The text of a value whose type looks at settings, under those of docs/cache-protocol.md. */
static char *
hf_template_settled_text(FmgrInfo *output, Datum value)
{
	int nest_level = NewGUCNestLevel();
	char *text;

	hf_template_set("datestyle", "ISO, YMD");
	hf_template_set("intervalstyle", "postgres");
	hf_template_set("timezone", "UTC");
	hf_template_set("bytea_output", "hex");
	hf_template_set("extra_float_digits", "1");
	hf_template_set("lc_monetary", "C");
	hf_template_set("quote_all_identifiers", "off");
	hf_template_set("search_path", "pg_catalog");
	text = OutputFunctionCall(output, value);
	AtEOXact_GUC(true, nest_level);
	return text;
}

static void
hf_template_write_value(HfTemplatePart *part, TupleTableSlot *slot, StringInfo key)
{
	bool isnull;
	Datum value = slot_getattr(slot, part->column, &isnull);
	char *text;

	if (isnull)
	{
		appendStringInfoString(key, "%00");
		return;
	}
	text = part->settled ? OutputFunctionCall(&part->output, value)
						 : hf_template_settled_text(&part->output, value);
	hf_template_escape(key, text);
	pfree(text);
}

bool
hf_cache_key_is_tag(const char *key, int length)
{
	return length >= (int) strlen(HF_CACHE_TAG) &&
		memcmp(key, HF_CACHE_TAG, strlen(HF_CACHE_TAG)) == 0;
}

/* Puts a hash in the place of what is too long. A tag remains one. */
static void
hf_template_shorten(StringInfo key)
{
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	bool tag = hf_cache_key_is_tag(key->data, key->len);

	hf_digest_make(key->data, key->len, digest);
	resetStringInfo(key);
	appendStringInfo(key, "%s" HASHED, tag ? HF_CACHE_TAG : "");
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		appendStringInfo(key, "%02x", digest[i]);
}

/* Writes the key that the row makes of the template; at most HF_CACHE_KEY_MAX bytes. */
void
hf_template_render(HfTemplate *template, TupleTableSlot *slot, StringInfo key)
{
	resetStringInfo(key);
	for (int i = 0; i < template->nparts; i++)
	{
		HfTemplatePart *part = &template->part[i];

		if (part->literal != NULL)
			appendBinaryStringInfo(key, part->literal, part->length);
		else
			hf_template_write_value(part, slot, key);
	}
	if (key->len > HF_CACHE_KEY_MAX)
		hf_template_shorten(key);
}
