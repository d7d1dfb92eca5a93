/*
 * call.c
 *		Rows of _holdfast.provider_call: what is to be done at a provider, and how it went.
 *
 * Calls are made by payments, in the transaction that decides that they are due, claimed by workers
 * in another (holdfast.claim_calls()), and settled in a third.  A call is made with a key that
 * follows from its row, so that the provider can tell an attempt from a new wish.
 *
 * Locks: the payment's row comes before its calls.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "call.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(holdfast_call_key);

/* Columns of _holdfast.provider_call, as sql/payment.sql creates them. */
enum
{
	COL_ACCOUNT = 1,
	COL_PAYMENT,
	COL_N,
	COL_ATTEMPTS,
	COL_AMOUNT,
	COL_CREATED_AT,
	COL_DUE_AT,
	COL_SETTLED_AT,
	COL_KIND,
	COL_STATE,
	COL_PROVIDER,
	COL_REFERENCE,
	COL_REASON
};
#define COLUMNS COL_REASON

enum
{
	KEY_ACCOUNT = 1,
	KEY_PAYMENT,
	KEY_N
};

/* Columns of _holdfast.provider. */
enum
{
	PROVIDER_NAME = 1,
	PROVIDER_SCHEME,
	PROVIDER_ATTEMPTS,
	PROVIDER_BACKOFF,
	PROVIDER_BACKOFF_MAX
};

static Datum
hf_call_text(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column - 1] ? (Datum) 0
										: datumCopy(slot->tts_values[column - 1], false, -1);
}

static void
hf_call_read(TupleTableSlot *slot, HfCall *call)
{
	const Datum *value = slot->tts_values;

	slot_getallattrs(slot);
	call->tid = slot->tts_tid;
	call->account = DatumGetInt64(value[COL_ACCOUNT - 1]);
	call->payment = *DatumGetUUIDP(value[COL_PAYMENT - 1]);
	call->n = DatumGetInt32(value[COL_N - 1]);
	call->attempts = DatumGetInt32(value[COL_ATTEMPTS - 1]);
	call->amount = DatumGetInt64(value[COL_AMOUNT - 1]);
	call->created_at = DatumGetTimestampTz(value[COL_CREATED_AT - 1]);
	call->due_at = DatumGetTimestampTz(value[COL_DUE_AT - 1]);
	call->settled_at = DatumGetTimestampTz(value[COL_SETTLED_AT - 1]);
	call->kind = DatumGetChar(value[COL_KIND - 1]);
	call->state = DatumGetChar(value[COL_STATE - 1]);
	call->provider = hf_call_text(slot, COL_PROVIDER);
	call->reference = hf_call_text(slot, COL_REFERENCE);
	call->reason = hf_call_text(slot, COL_REASON);
}

static void
hf_call_form(const HfCall *call, Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * COLUMNS);
	values[COL_ACCOUNT - 1] = Int64GetDatum(call->account);
	values[COL_PAYMENT - 1] = UUIDPGetDatum(&call->payment);
	values[COL_N - 1] = Int32GetDatum(call->n);
	values[COL_ATTEMPTS - 1] = Int32GetDatum(call->attempts);
	values[COL_AMOUNT - 1] = Int64GetDatum(call->amount);
	values[COL_CREATED_AT - 1] = TimestampTzGetDatum(call->created_at);
	values[COL_DUE_AT - 1] = TimestampTzGetDatum(call->due_at);
	values[COL_SETTLED_AT - 1] = TimestampTzGetDatum(call->settled_at);
	values[COL_KIND - 1] = CharGetDatum(call->kind);
	values[COL_STATE - 1] = CharGetDatum(call->state);
	values[COL_PROVIDER - 1] = call->provider;
	values[COL_REFERENCE - 1] = call->reference;
	values[COL_REASON - 1] = call->reason;
	nulls[COL_REFERENCE - 1] = call->reference == (Datum) 0;
	nulls[COL_REASON - 1] = call->reason == (Datum) 0;
}

/* Makes a call of the payment due; returns its number. */
int32
hf_call_make(HfStore *store, HfPayment *payment, char kind, int64 amount)
{
	TimestampTz now = GetCurrentTimestamp();
	HfCall call = {.account = payment->account,
				   .payment = payment->id,
				   .n = ++payment->calls,
				   .amount = amount,
				   .created_at = now,
				   .due_at = now,
				   .settled_at = DT_NOEND,
				   .kind = kind,
				   .state = HF_CALL_DUE,
				   .provider = payment->provider};
	Datum values[COLUMNS];
	bool nulls[COLUMNS];

	hf_call_form(&call, values, nulls);
	hf_row_insert(store, hf_row_table(store, HF_CALL), values, nulls);
	return call.n;
}

/* Reads a call and locks its row until the transaction ends; false if there is none. */
bool
hf_call_find_and_lock(HfStore *store, int64 account, const pg_uuid_t *payment, int32 n,
					  HfCall *call)
{
	HfTable *table = hf_row_table(store, HF_CALL);
	ScanKeyData keys[3];

	hf_row_key_int8(&keys[0], KEY_ACCOUNT, BTEqualStrategyNumber, F_INT8EQ, account);
	ScanKeyInit(&keys[1], KEY_PAYMENT, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(payment));
	ScanKeyInit(&keys[2], KEY_N, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(n));
	if (!hf_row_find_and_lock(store, table, keys, 3, true))
		return false;
	hf_call_read(table->found, call);
	return true;
}

/* Writes a call that was found and locked. */
void
hf_call_write(HfStore *store, HfCall *call)
{
	Datum values[COLUMNS];
	bool nulls[COLUMNS];

	hf_call_form(call, values, nulls);
	if (hf_row_update(store, hf_row_table(store, HF_CALL), &call->tid, values, nulls, true) !=
		HF_WRITTEN)
		elog(ERROR, "a provider call that was locked has changed");
}

Datum
holdfast_call_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf("hf_%lld_%s_%d", (long long) PG_GETARG_INT64(0),
								 hf_uuid_text(PG_GETARG_UUID_P(1)), PG_GETARG_INT32(2))));
}

/* Reads a key that holdfast_call_key() has made; false if it is not one. */
bool
hf_call_parse_key(const char *key, int64 *account, pg_uuid_t *payment, int32 *n)
{
	long long a;
	char id[37];
	int call, end;
	char *made;

	if (sscanf(key, "hf_%lld_%36[0-9a-f-]_%d%n", &a, id, &call, &end) != 3 || key[end] != '\0' ||
		strlen(id) != 36)
		return false;
	for (int i = 0; i < 36; i++)
		if ((id[i] == '-') != (i == 8 || i == 13 || i == 18 || i == 23))
			return false;
	*account = a;
	*payment = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(id)));
	*n = call;
	/* One spelling only. */
	made = psprintf("hf_%lld_%s_%d", a, id, call);
	return strcmp(made, key) == 0;
}

/* What is set for a provider; false if there is none of the name. */
bool
hf_provider_find(HfStore *store, Datum name, HfProvider *provider)
{
	HfTable *table = hf_row_table(store, HF_PROVIDER);
	ScanKeyData key;
	HfScan scan;
	bool found;

	ScanKeyInit(&key, PROVIDER_NAME, BTEqualStrategyNumber, F_TEXTEQ, name);
	hf_row_scan(&scan, table, table->primary, &key, 1, NULL);
	found = hf_row_next(&scan, ForwardScanDirection);
	if (found)
	{
		slot_getallattrs(table->found);
		provider->attempts = DatumGetInt32(table->found->tts_values[PROVIDER_ATTEMPTS - 1]);
		provider->backoff = DatumGetInt32(table->found->tts_values[PROVIDER_BACKOFF - 1]);
		provider->backoff_max = DatumGetInt32(table->found->tts_values[PROVIDER_BACKOFF_MAX - 1]);
	}
	hf_row_stop(&scan);
	return found;
}

void
hf_raise_unknown_provider(Datum name)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_UNKNOWN_PROVIDER), errmsg("unknown provider"),
			 errdetail("There is no provider \"%s\".", text_to_cstring(DatumGetTextPP(name))),
			 errhint("Make it known with holdfast.add_provider().")));
	pg_unreachable();
}
