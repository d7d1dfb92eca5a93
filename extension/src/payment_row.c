/*
 * payment_row.c
 *		Rows of _holdfast.payment, their history and their ledger entries.
 *
 * Whoever acts on a payment locks its row first and keeps it until the transaction ends, so the
 * steps of a payment follow one another.  A step is a line of history and a change of the struct;
 * hf_payment_write() writes the row once, at the end.
 *
 * That an owner has one live payment at most is a unique index; looking beforehand
 * (hf_payment_find_live) is only for a better error.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "payment_row.h"

/* Columns of _holdfast.payment, as sql/payment.sql creates them. */
enum
{
	COL_ACCOUNT = 1,
	COL_ID,
	COL_AMOUNT,
	COL_AUTHORIZED,
	COL_CAPTURED,
	COL_REFUNDING,
	COL_REFUNDED,
	COL_CART,
	COL_CREATED_AT,
	COL_CHANGED_AT,
	COL_STEPS,
	COL_CALLS,
	COL_STATE,
	COL_LIVE,
	COL_CURRENCY,
	COL_PROVIDER,
	COL_METHOD,
	COL_OWNER
};
#define COLUMNS COL_OWNER

/* Columns of the two indexes. */
enum
{
	KEY_ACCOUNT = 1,
	KEY_ID
};
enum
{
	LIVE_ACCOUNT = 1,
	LIVE_OWNER
};

/* Columns of _holdfast.payment_event. */
enum
{
	EVENT_ACCOUNT = 1,
	EVENT_PAYMENT,
	EVENT_N,
	EVENT_CALL,
	EVENT_AMOUNT,
	EVENT_HAPPENED_AT,
	EVENT_FROM_STATE,
	EVENT_TO_STATE,
	EVENT_INPUT,
	EVENT_REASON
};
#define EVENT_COLUMNS EVENT_REASON

/* Columns of _holdfast.ledger_entry. */
enum
{
	ENTRY_ACCOUNT = 1,
	ENTRY_PAYMENT,
	ENTRY_EVENT,
	ENTRY_BOOK,
	ENTRY_AMOUNT,
	ENTRY_BOOKED_AT,
	ENTRY_CURRENCY
};
#define ENTRY_COLUMNS ENTRY_CURRENCY

static void
hf_payment_read(TupleTableSlot *slot, HfPayment *payment)
{
	const Datum *value = slot->tts_values;

	slot_getallattrs(slot);
	payment->tid = slot->tts_tid;
	payment->exists = true;
	payment->account = DatumGetInt64(value[COL_ACCOUNT - 1]);
	payment->id = *DatumGetUUIDP(value[COL_ID - 1]);
	payment->amount = DatumGetInt64(value[COL_AMOUNT - 1]);
	payment->authorized = DatumGetInt64(value[COL_AUTHORIZED - 1]);
	payment->captured = DatumGetInt64(value[COL_CAPTURED - 1]);
	payment->refunding = DatumGetInt64(value[COL_REFUNDING - 1]);
	payment->refunded = DatumGetInt64(value[COL_REFUNDED - 1]);
	payment->cart = DatumGetInt64(value[COL_CART - 1]);
	payment->created_at = DatumGetTimestampTz(value[COL_CREATED_AT - 1]);
	payment->changed_at = DatumGetTimestampTz(value[COL_CHANGED_AT - 1]);
	payment->steps = DatumGetInt32(value[COL_STEPS - 1]);
	payment->calls = DatumGetInt32(value[COL_CALLS - 1]);
	payment->state = DatumGetChar(value[COL_STATE - 1]);
	payment->currency = datumCopy(value[COL_CURRENCY - 1], false, -1);
	payment->provider = datumCopy(value[COL_PROVIDER - 1], false, -1);
	payment->method = datumCopy(value[COL_METHOD - 1], false, -1);
	payment->has_owner = !slot->tts_isnull[COL_OWNER - 1];
	if (payment->has_owner)
		payment->owner = *DatumGetUUIDP(value[COL_OWNER - 1]);
}

static void
hf_payment_form(const HfPayment *payment, Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * COLUMNS);
	values[COL_ACCOUNT - 1] = Int64GetDatum(payment->account);
	values[COL_ID - 1] = UUIDPGetDatum(&payment->id);
	values[COL_AMOUNT - 1] = Int64GetDatum(payment->amount);
	values[COL_AUTHORIZED - 1] = Int64GetDatum(payment->authorized);
	values[COL_CAPTURED - 1] = Int64GetDatum(payment->captured);
	values[COL_REFUNDING - 1] = Int64GetDatum(payment->refunding);
	values[COL_REFUNDED - 1] = Int64GetDatum(payment->refunded);
	values[COL_CART - 1] = Int64GetDatum(payment->cart);
	values[COL_CREATED_AT - 1] = TimestampTzGetDatum(payment->created_at);
	values[COL_CHANGED_AT - 1] = TimestampTzGetDatum(payment->changed_at);
	values[COL_STEPS - 1] = Int32GetDatum(payment->steps);
	values[COL_CALLS - 1] = Int32GetDatum(payment->calls);
	values[COL_STATE - 1] = CharGetDatum(payment->state);
	values[COL_LIVE - 1] = BoolGetDatum(payment->has_owner && hf_state_is_live(payment->state));
	values[COL_CURRENCY - 1] = payment->currency;
	values[COL_PROVIDER - 1] = payment->provider;
	values[COL_METHOD - 1] = payment->method;
	values[COL_OWNER - 1] = UUIDPGetDatum(&payment->owner);
	nulls[COL_OWNER - 1] = !payment->has_owner;
}

static void
hf_payment_key(ScanKeyData *keys, int64 account, const pg_uuid_t *id)
{
	hf_row_key_int8(&keys[0], KEY_ACCOUNT, BTEqualStrategyNumber, F_INT8EQ, account);
	ScanKeyInit(&keys[1], KEY_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
}

/* Reads the payment and locks its row until the transaction ends; false if there is none. */
bool
hf_payment_find_and_lock(HfStore *store, int64 account, const pg_uuid_t *id, HfPayment *payment)
{
	HfTable *table = hf_row_table(store, HF_PAYMENT);
	ScanKeyData keys[2];

	hf_payment_key(keys, account, id);
	if (!hf_row_find_and_lock(store, table, keys, 2, true))
		return false;
	hf_payment_read(table->found, payment);
	return true;
}

/* Is the id of a new payment taken, or being taken? */
bool
hf_payment_exists(HfStore *store, const HfPayment *payment)
{
	HfTable *table = hf_row_table(store, HF_PAYMENT);
	ScanKeyData keys[2];
	TransactionId rival;

	hf_payment_key(keys, payment->account, &payment->id);
	return hf_row_peek(table, table->primary, keys, 2, &rival);
}

/*
 * Finds another payment of the same owner that may take, or has, his money; waits for whoever is
 * making or changing one.  False if there is none.
 */
bool
hf_payment_find_live(HfStore *store, const HfPayment *payment, HfPayment *live)
{
	HfTable *table = hf_row_table(store, HF_PAYMENT);
	ScanKeyData keys[2];

	hf_row_key_int8(&keys[0], LIVE_ACCOUNT, BTEqualStrategyNumber, F_INT8EQ, payment->account);
	ScanKeyInit(&keys[1], LIVE_OWNER, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&payment->owner));
	if (!hf_row_peek_certain(store, table, table->second, keys, 2))
		return false;
	hf_payment_read(table->found, live);
	return memcmp(&live->id, &payment->id, sizeof(pg_uuid_t)) != 0;
}

/*
 * Moves the payment on and writes the line of history.  call: the provider call it is about, or 0;
 * reason: text, or 0.
 */
void
hf_payment_step(HfStore *store, HfPayment *payment, HfInput input, char next, int32 call,
				int64 amount, Datum reason)
{
	Datum values[EVENT_COLUMNS];
	bool nulls[EVENT_COLUMNS] = {0};
	const char *name = hf_input_name(input);

	if (!hf_state_may_become(payment->state, input, next))
		elog(ERROR, "a payment cannot become %s by %s when it is %s", hf_state_name(next), name,
			 hf_state_name(payment->state));
	payment->changed_at = GetCurrentTimestamp();
	payment->steps++;
	values[EVENT_ACCOUNT - 1] = Int64GetDatum(payment->account);
	values[EVENT_PAYMENT - 1] = UUIDPGetDatum(&payment->id);
	values[EVENT_N - 1] = Int32GetDatum(payment->steps);
	values[EVENT_CALL - 1] = Int32GetDatum(call);
	values[EVENT_AMOUNT - 1] = Int64GetDatum(amount);
	values[EVENT_HAPPENED_AT - 1] = TimestampTzGetDatum(payment->changed_at);
	values[EVENT_FROM_STATE - 1] = CharGetDatum(payment->state);
	values[EVENT_TO_STATE - 1] = CharGetDatum(next);
	values[EVENT_INPUT - 1] = PointerGetDatum(cstring_to_text(name));
	values[EVENT_REASON - 1] = reason;
	nulls[EVENT_CALL - 1] = call == 0;
	nulls[EVENT_REASON - 1] = reason == (Datum) 0;
	hf_row_insert(store, hf_row_table(store, HF_PAYMENT_EVENT), values, nulls);
	payment->state = next;
}

/* Enters an amount in two books, in the name of the last step. */
void
hf_payment_book(HfStore *store, const HfPayment *payment, char debit, char credit, int64 amount)
{
	Datum values[2][ENTRY_COLUMNS];

	for (int i = 0; i < 2; i++)
	{
		values[i][ENTRY_ACCOUNT - 1] = Int64GetDatum(payment->account);
		values[i][ENTRY_PAYMENT - 1] = UUIDPGetDatum(&payment->id);
		values[i][ENTRY_EVENT - 1] = Int32GetDatum(payment->steps);
		values[i][ENTRY_BOOK - 1] = CharGetDatum(i == 0 ? debit : credit);
		values[i][ENTRY_AMOUNT - 1] = Int64GetDatum(i == 0 ? amount : -amount);
		values[i][ENTRY_BOOKED_AT - 1] = TimestampTzGetDatum(payment->changed_at);
		values[i][ENTRY_CURRENCY - 1] = payment->currency;
	}
	hf_row_insert_many(store, hf_row_table(store, HF_LEDGER), values[0], 2);
}

/* Writes what the steps have made of the payment. */
void
hf_payment_write(HfStore *store, HfPayment *payment)
{
	HfTable *table = hf_row_table(store, HF_PAYMENT);
	Datum values[COLUMNS];
	bool nulls[COLUMNS];

	hf_payment_form(payment, values, nulls);
	if (!payment->exists)
		hf_row_insert(store, table, values, nulls);
	else if (hf_row_update(store, table, &payment->tid, values, nulls, true) != HF_WRITTEN)
		elog(ERROR, "a payment that was locked has changed");
	payment->exists = true;
}
