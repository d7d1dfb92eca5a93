/*
 * claim.c
 *		SQL functions on idempotency keys: claim_key(), complete_key(), abandon_key(), claim_keys(),
 *		complete_keys().
 *
 * What is refused has no effect; what is a caller's mistake about one line of many is that line's
 * verdict.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "errors.h"
#include "guc.h"
#include "idempotency.h"

PG_FUNCTION_INFO_V1(holdfast_claim_key);
PG_FUNCTION_INFO_V1(holdfast_complete_key);
PG_FUNCTION_INFO_V1(holdfast_abandon_key);
PG_FUNCTION_INFO_V1(holdfast_claim_keys);
PG_FUNCTION_INFO_V1(holdfast_complete_keys);
PG_FUNCTION_INFO_V1(holdfast_key_retention);

#define FINGERPRINT_MAX 64

static bool
hf_claim_fingerprint_is_good(Datum fingerprint)
{
	int length = VARSIZE_ANY_EXHDR(DatumGetPointer(fingerprint));

	return length > 0 && length <= FINGERPRINT_MAX;
}

static Datum
hf_claim_operation(FunctionCallInfo fcinfo, int n)
{
	Datum operation;

	hf_argument_not_null(fcinfo, n, "p_operation");
	operation = PointerGetDatum(PG_GETARG_TEXT_PP(n));
	hf_key_check(operation, "p_operation", 1, HF_OPERATION_MAX);
	if (VARSIZE_ANY_EXHDR(operation) >= strlen(HF_OPERATION_OURS) &&
		memcmp(VARDATA_ANY(operation), HF_OPERATION_OURS, strlen(HF_OPERATION_OURS)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_KEY), errmsg("p_operation is reserved"),
				 errdetail("Operations that begin with \"%s\" are those of the extension.",
						   HF_OPERATION_OURS)));
	return operation;
}

/* The first three arguments: account, operation, key. */
static void
hf_claim_name(FunctionCallInfo fcinfo, HfKey *key)
{
	hf_argument_not_null(fcinfo, 0, "p_account");
	key->account = PG_GETARG_INT64(0);
	key->operation = hf_claim_operation(fcinfo, 1);
	hf_argument_not_null(fcinfo, 2, "p_key");
	key->key = PointerGetDatum(PG_GETARG_TEXT_PP(2));
	key->open = true;
	hf_key_check(key->key, "p_key", HF_KEY_MIN, HF_KEY_MAX);
}

Datum
holdfast_claim_key(PG_FUNCTION_ARGS)
{
	static TupleDesc kept = NULL;
	HfKey key = {0};
	HfStore *store;
	int verdict;
	Datum values[3];
	bool nulls[3] = {0};

	hf_claim_name(fcinfo, &key);
	hf_argument_not_null(fcinfo, 3, "p_fingerprint");
	key.fingerprint = PointerGetDatum(PG_GETARG_BYTEA_PP(3));
	if (!hf_claim_fingerprint_is_good(key.fingerprint))
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_FINGERPRINT), errmsg("invalid fingerprint"),
				 errdetail("It has %d bytes; 1 to %d are allowed.",
						   (int) VARSIZE_ANY_EXHDR(DatumGetPointer(key.fingerprint)),
						   FINGERPRINT_MAX),
				 errhint("Take a hash of the request, such as sha256().")));

	store = hf_row_begin("holdfast.claim_key()");
	verdict = hf_key_claim(store, &key, true);
	hf_row_end(store);
	if (verdict != HF_KEY_CLAIMED && verdict != HF_KEY_DONE)
		hf_key_raise(&key, verdict);
	values[0] = BoolGetDatum(verdict == HF_KEY_CLAIMED);
	values[1] = Int32GetDatum(key.status);
	values[2] = key.response;
	nulls[1] = nulls[2] = key.open;
	PG_RETURN_DATUM(hf_result_record(&kept, fcinfo, values, nulls));
}

/* Finds a key that must be there and open. */
static void
hf_claim_find_open(HfStore *store, HfKey *key)
{
	if (!hf_key_find(store, key) || !key->open)
		ereport(ERROR,
				(errcode(ERRCODE_HF_KEY_NOT_OPEN), errmsg("idempotency key is not open"),
				 errdetail("Account %lld has no open key \"%s\" for \"%s\".",
						   (long long) key->account, text_to_cstring(DatumGetTextPP(key->key)),
						   text_to_cstring(DatumGetTextPP(key->operation))),
				 errhint("Claim it first, with holdfast.claim_key(); a key is completed once.")));
}

Datum
holdfast_complete_key(PG_FUNCTION_ARGS)
{
	HfKey key = {0};
	HfStore *store;

	hf_claim_name(fcinfo, &key);
	hf_argument_not_null(fcinfo, 3, "p_response");
	hf_argument_not_null(fcinfo, 4, "p_status");
	store = hf_row_begin("holdfast.complete_key()");
	hf_claim_find_open(store, &key);
	hf_key_complete(store, &key, PG_GETARG_INT32(4), PG_GETARG_DATUM(3));
	hf_row_end(store);
	PG_RETURN_VOID();
}

Datum
holdfast_abandon_key(PG_FUNCTION_ARGS)
{
	HfKey key = {0};
	HfStore *store;

	hf_claim_name(fcinfo, &key);
	store = hf_row_begin("holdfast.abandon_key()");
	hf_claim_find_open(store, &key);
	hf_key_abandon(store, &key);
	hf_row_end(store);
	PG_RETURN_VOID();
}

/* Claims one line of many; its verdict, and the answer in *key. */
static int
hf_claim_line(HfStore *store, HfKey *key, const HfArray *accounts, const HfArray *keys,
			  const HfArray *fingerprints, int i)
{
	if (accounts->isnull[i] || keys->isnull[i] || fingerprints->isnull[i])
		return ERRCODE_NULL_VALUE_NOT_ALLOWED;
	key->account = DatumGetInt64(accounts->value[i]);
	key->key = PointerGetDatum(PG_DETOAST_DATUM_PACKED(keys->value[i]));
	key->fingerprint = PointerGetDatum(PG_DETOAST_DATUM_PACKED(fingerprints->value[i]));
	if (!hf_key_is_good(key->key, HF_KEY_MIN, HF_KEY_MAX))
		return ERRCODE_HF_INVALID_KEY;
	if (!hf_claim_fingerprint_is_good(key->fingerprint))
		return ERRCODE_HF_INVALID_FINGERPRINT;
	return hf_key_claim(store, key, false);
}

/* Claims one line and puts down what has become of it. */
static void
hf_claim_put_line(ReturnSetInfo *rsinfo, HfStore *store, Datum operation, const HfArray *accounts,
				  const HfArray *keys, const HfArray *fingerprints, int i)
{
	HfKey key = {.operation = operation, .open = true};
	int verdict = hf_claim_line(store, &key, accounts, keys, fingerprints, i);
	Datum values[4];
	bool nulls[4] = {0};

	values[0] = Int32GetDatum(i + 1);
	values[1] = CStringGetTextDatum(unpack_sql_state(verdict));
	values[2] = Int32GetDatum(key.status);
	values[3] = key.response;
	nulls[2] = nulls[3] = verdict != HF_KEY_DONE;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
holdfast_claim_keys(PG_FUNCTION_ARGS)
{
	HfArray accounts = hf_argument_array(fcinfo, 0, "p_accounts", INT8OID);
	Datum operation = hf_claim_operation(fcinfo, 1);
	HfArray keys = hf_argument_array(fcinfo, 2, "p_keys", TEXTOID);
	HfArray fingerprints = hf_argument_array(fcinfo, 3, "p_fingerprints", BYTEAOID);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext line =
		AllocSetContextCreate(CurrentMemoryContext, "holdfast line", ALLOCSET_DEFAULT_SIZES);
	HfStore *store;

	hf_argument_same_length(accounts.n, keys.n, "p_accounts and p_keys");
	hf_argument_same_length(accounts.n, fingerprints.n, "p_accounts and p_fingerprints");
	InitMaterializedSRF(fcinfo, 0);
	store = hf_row_begin("holdfast.claim_keys()");
	for (int i = 0; i < accounts.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(line);
		hf_claim_put_line(rsinfo, store, operation, &accounts, &keys, &fingerprints, i);
		MemoryContextSwitchTo(outer);
		MemoryContextReset(line);
	}
	hf_row_end(store);
	return (Datum) 0;
}

Datum
holdfast_complete_keys(PG_FUNCTION_ARGS)
{
	HfArray accounts = hf_argument_array(fcinfo, 0, "p_accounts", INT8OID);
	Datum operation = hf_claim_operation(fcinfo, 1);
	HfArray keys = hf_argument_array(fcinfo, 2, "p_keys", TEXTOID);
	HfArray responses = hf_argument_array(fcinfo, 3, "p_responses", BYTEAOID);
	HfArray statuses = hf_argument_array(fcinfo, 4, "p_statuses", INT4OID);
	HfStore *store;

	hf_argument_same_length(accounts.n, keys.n, "p_accounts and p_keys");
	hf_argument_same_length(accounts.n, responses.n, "p_accounts and p_responses");
	hf_argument_same_length(accounts.n, statuses.n, "p_accounts and p_statuses");
	hf_argument_array_without_nulls(&accounts, "p_accounts");
	hf_argument_array_without_nulls(&keys, "p_keys");
	hf_argument_array_without_nulls(&responses, "p_responses");
	hf_argument_array_without_nulls(&statuses, "p_statuses");
	store = hf_row_begin("holdfast.complete_keys()");
	for (int i = 0; i < accounts.n; i++)
	{
		HfKey key = {.account = DatumGetInt64(accounts.value[i]), .operation = operation};

		CHECK_FOR_INTERRUPTS();
		key.key = PointerGetDatum(PG_DETOAST_DATUM_PACKED(keys.value[i]));
		hf_key_check(key.key, "p_keys", HF_KEY_MIN, HF_KEY_MAX);
		hf_claim_find_open(store, &key);
		hf_key_complete(store, &key, DatumGetInt32(statuses.value[i]), responses.value[i]);
	}
	hf_row_end(store);
	PG_RETURN_INT64(accounts.n);
}

/* The setting, for SQL: not as text that anybody can set while the library is not loaded. */
Datum
holdfast_key_retention(PG_FUNCTION_ARGS)
{
	Interval *retention = palloc0(sizeof(Interval));

	retention->time = hf_key_retention * USECS_PER_SEC;
	PG_RETURN_INTERVAL_P(retention);
}
