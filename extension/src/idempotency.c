/*
 * idempotency.c
 *		Idempotency keys: claimed once, completed with an answer that is replayed.
 *
 * A key is a row that is inserted in the transaction that does the work, so that both are there
 * after the commit or neither is.  Whoever comes second finds the row, committed or not: he waits
 * for the first one to end, for at most holdfast.key_wait, and then replays the answer, or does the
 * work himself if the first one rolled back.
 *
 * Keys live in two tables that take turns (sql/idempotency.sql), each with a unique index.  Around
 * a change of turns two sessions may insert the same key into different tables.  So everybody looks
 * into the other table again after he has inserted: of two who do, at least one sees the other, and
 * goes back with 40001.
 *
 * Locks: the key comes before everything else.  Nobody waits for a key while he has inserted one,
 * but for callers who claim several in one transaction: their waits end with holdfast.key_wait.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "guc.h"
#include "idempotency.h"

/* Columns of _holdfast.idempotency_0 and _1, as sql/idempotency.sql creates them. */
enum
{
	COL_ACCOUNT = 1,
	COL_CLAIMED_AT,
	COL_STATUS,
	COL_OPERATION,
	COL_KEY,
	COL_FINGERPRINT,
	COL_RESPONSE
};
#define COLUMNS COL_RESPONSE

enum
{
	KEY_ACCOUNT = 1,
	KEY_OPERATION,
	KEY_KEY
};
#define KEY_COLUMNS KEY_KEY

#define TURN_HALF 2 /* column of _holdfast.idempotency_turn */

/* The first byte, from 1, that a header could not carry or a log not show; 0 if there is none. */
static int
hf_key_bad_byte(Datum text)
{
	const char *s = VARDATA_ANY(DatumGetPointer(text));
	int length = VARSIZE_ANY_EXHDR(DatumGetPointer(text));

	for (int i = 0; i < length; i++)
		if (s[i] < ' ' || s[i] > '~')
			return i + 1;
	return 0;
}

/* Is the text a name for an intent? */
bool
hf_key_is_good(Datum text, int shortest, int longest)
{
	int length = VARSIZE_ANY_EXHDR(DatumGetPointer(text));

	return length >= shortest && length <= longest && hf_key_bad_byte(text) == 0;
}

/* Refuses a text that is not. */
void
hf_key_check(Datum text, const char *name, int shortest, int longest)
{
	int length = VARSIZE_ANY_EXHDR(DatumGetPointer(text));

	if (length < shortest || length > longest)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_KEY),
				 errmsg("%s is too %s", name, length < shortest ? "short" : "long"),
				 errdetail("It has %d bytes; %d to %d are allowed.", length, shortest, longest)));
	if (hf_key_bad_byte(text) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_KEY),
				 errmsg("%s has a character that is not allowed", name),
				 errdetail("Byte %d is not a printable ASCII character.", hf_key_bad_byte(text))));
}

static void
hf_key_form(const HfKey *key, Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * COLUMNS);
	values[COL_ACCOUNT - 1] = Int64GetDatum(key->account);
	values[COL_CLAIMED_AT - 1] = TimestampTzGetDatum(key->claimed_at);
	values[COL_STATUS - 1] = Int32GetDatum(key->status);
	values[COL_OPERATION - 1] = key->operation;
	values[COL_KEY - 1] = key->key;
	values[COL_FINGERPRINT - 1] = key->fingerprint;
	values[COL_RESPONSE - 1] = key->response;
	nulls[COL_STATUS - 1] = nulls[COL_RESPONSE - 1] = key->open;
}

/* The key's row in one of the tables as of now, committed or not. */
static bool
hf_key_peek(HfStore *store, const HfKey *key, HfTableId half, TransactionId *rival)
{
	HfTable *table = hf_row_table(store, half);
	ScanKeyData keys[KEY_COLUMNS];

	hf_row_key_int8(&keys[0], KEY_ACCOUNT, BTEqualStrategyNumber, F_INT8EQ, key->account);
	ScanKeyInit(&keys[1], KEY_OPERATION, BTEqualStrategyNumber, F_TEXTEQ, key->operation);
	ScanKeyInit(&keys[2], KEY_KEY, BTEqualStrategyNumber, F_TEXTEQ, key->key);
	return hf_row_peek(table, table->primary, keys, KEY_COLUMNS, rival);
}

/* Where new keys go. Until the first change of turns nothing says so. */
static HfTableId
hf_key_turn(HfStore *store)
{
	HfTable *table = hf_row_table(store, HF_KEY_TURN);
	TransactionId rotating;
	bool isnull;

	/* Before or after a change of turns that is under way: both are good. */
	if (!hf_row_peek(table, table->primary, NULL, 0, &rotating))
		return HF_KEY_0;
	return DatumGetInt16(slot_getattr(table->found, TURN_HALF, &isnull)) == 0 ? HF_KEY_0 : HF_KEY_1;
}

static HfTableId
hf_key_other(HfTableId half)
{
	return half == HF_KEY_0 ? HF_KEY_1 : HF_KEY_0;
}

/* What a row that is there says to a claim. */
static int
hf_key_judge(HfStore *store, HfKey *key, HfTableId half)
{
	TupleTableSlot *slot = hf_row_table(store, half)->found;
	Datum fingerprint;

	slot_getallattrs(slot);
	fingerprint = PointerGetDatum(PG_DETOAST_DATUM_PACKED(slot->tts_values[COL_FINGERPRINT - 1]));
	key->half = half;
	key->tid = slot->tts_tid;
	key->claimed_at = DatumGetTimestampTz(slot->tts_values[COL_CLAIMED_AT - 1]);
	key->open = slot->tts_isnull[COL_STATUS - 1];
	if (!datum_image_eq(fingerprint, key->fingerprint, false, -1))
		return ERRCODE_HF_KEY_REUSED;
	if (key->open)
		return ERRCODE_HF_KEY_IN_FLIGHT;
	key->status = DatumGetInt32(slot->tts_values[COL_STATUS - 1]);
	key->response = PointerGetDatum(PG_DETOAST_DATUM_COPY(slot->tts_values[COL_RESPONSE - 1]));
	return HF_KEY_DONE;
}

typedef struct HfKeyWait
{
	HfTable *table;
	TransactionId rival;
} HfKeyWait;

static void
hf_key_wait_for(void *arg)
{
	HfKeyWait *w = arg;

	XactLockTableWait(w->rival, w->table->rel, &w->table->found->tts_tid, XLTW_InsertIndex);
}

/*
 * Looks for the key in both tables. False if it is free; else *verdict is what to tell the caller.
 * Waits for a transaction that has it in its hands, until *deadline.
 */
static bool
hf_key_look(HfStore *store, HfKey *key, HfTableId current, TimestampTz deadline, int *verdict)
{
	HfTableId half[2] = {current, hf_key_other(current)};

	for (int i = 0; i < 2;)
	{
		HfKeyWait w = {.table = hf_row_table(store, half[i])};
		int64 left;

		CHECK_FOR_INTERRUPTS();
		if (!hf_key_peek(store, key, half[i], &w.rival))
		{
			i++;
			continue;
		}
		if (!TransactionIdIsValid(w.rival))
		{
			*verdict = hf_key_judge(store, key, half[i]);
			return true;
		}
		left = (deadline - GetCurrentTimestamp()) / 1000;
		*verdict = ERRCODE_HF_KEY_IN_FLIGHT;
		if (left <= 0 || !hf_row_wait_a_while(store, left, hf_key_wait_for, &w))
			return true;
		/* He may have rolled back, and another one have it in either table. */
		i = 0;
	}
	return false;
}

/*
 * Claims the key for the current transaction: HF_KEY_CLAIMED, with the place of its row in *key;
 * HF_KEY_DONE, with the answer in *key; or the SQLSTATE of the refusal.  With `wait`, waits for a
 * rival for at most holdfast.key_wait.  A caller who knows his answer beforehand has put it into
 * *key, which is not open then: should he fail, the claim goes with the answer.
 */
int
hf_key_claim(HfStore *store, HfKey *key, bool wait)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline = wait ? now + hf_key_wait * INT64CONST(1000) : now;
	HfTableId current = hf_key_turn(store);
	Datum values[COLUMNS];
	bool nulls[COLUMNS];
	int verdict;
	TransactionId rival;

	key->claimed_at = now;
	key->half = current;
	hf_key_form(key, values, nulls);
	do
	{
		if (hf_key_look(store, key, current, deadline, &verdict))
			return verdict;
	} while (!hf_row_insert_new(store, hf_row_table(store, current), values, nulls));
	key->tid = hf_row_table(store, current)->made->tts_tid;

	if (hf_key_peek(store, key, hf_key_other(current), &rival))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent claim"),
				 errdetail("Another transaction has claimed the same key in the same moment."),
				 errhint("Try again.")));
	return HF_KEY_CLAIMED;
}

/* Says why a key could not be claimed. */
void
hf_key_raise(const HfKey *key, int verdict)
{
	char *name = text_to_cstring(DatumGetTextPP(key->key));
	char *operation = text_to_cstring(DatumGetTextPP(key->operation));

	if (verdict == ERRCODE_HF_KEY_REUSED)
		ereport(ERROR,
				(errcode(verdict), errmsg("idempotency key was used for another request"),
				 errdetail("Key \"%s\" of account %lld for \"%s\" has another fingerprint.", name,
						   (long long) key->account, operation),
				 errhint("Use a new key for a new request.")));
	ereport(ERROR,
			(errcode(verdict), errmsg("request with the same idempotency key is in flight"),
			 errdetail("Key \"%s\" of account %lld for \"%s\" has been claimed and not completed.",
					   name, (long long) key->account, operation),
			 errhint("Try again with the same key to learn how it ended.")));
	pg_unreachable();
}

/* Finds a committed key, or one of our own transaction; false if there is none. */
bool
hf_key_find(HfStore *store, HfKey *key)
{
	HfTableId current = hf_key_turn(store);
	HfTableId half[2] = {current, hf_key_other(current)};

	for (int i = 0; i < 2; i++)
	{
		HfTable *table = hf_row_table(store, half[i]);
		TransactionId rival;

		if (!hf_key_peek(store, key, half[i], &rival))
			continue;
		if (TransactionIdIsValid(rival))
			return false;
		slot_getallattrs(table->found);
		key->half = half[i];
		key->tid = table->found->tts_tid;
		key->claimed_at = DatumGetTimestampTz(table->found->tts_values[COL_CLAIMED_AT - 1]);
		key->open = table->found->tts_isnull[COL_STATUS - 1];
		key->late = half[i] != current;
		key->fingerprint = datumCopy(table->found->tts_values[COL_FINGERPRINT - 1], false, -1);
		return true;
	}
	return false;
}

/* For an open key that somebody else completed or gave back in the same moment. */
static void
hf_key_expect_written(HfWrite result)
{
	if (result != HF_WRITTEN)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access to a key due to concurrent update"),
				 errhint("Try again.")));
}

/* Gives a key that was found open back. */
void
hf_key_abandon(HfStore *store, HfKey *key)
{
	hf_key_expect_written(hf_row_delete(store, hf_row_table(store, key->half), &key->tid));
}

/*
 * Stores the answer of a key that was claimed or found open.  One that was committed open and whose
 * table has had its turn moves to the current one: the answer is remembered for as long as others.
 */
void
hf_key_complete(HfStore *store, HfKey *key, int32 status, Datum response)
{
	Datum values[COLUMNS];
	bool nulls[COLUMNS];

	key->open = false;
	key->status = status;
	key->response = response;
	hf_key_form(key, values, nulls);
	if (key->late)
	{
		hf_key_abandon(store, key);
		hf_row_insert(store, hf_row_table(store, hf_key_other(key->half)), values, nulls);
	}
	else
		hf_key_expect_written(
			hf_row_update(store, hf_row_table(store, key->half), &key->tid, values, nulls, true));
}
