/*
 * outcome.c
 *		SQL functions that record what a provider says: record_result(), record_results(),
 *		record_event().
 *
 * The first two are for the worker who has made the call, the third for messages that come in by
 * themselves; all lead to settlement.c.  An event is remembered by its id in the transaction of its
 * effect: the second one with the id changes nothing.
 *
 * Locks: the payment's row, in ascending order of payment, then its call, then holds.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "errors.h"
#include "idempotency.h"
#include "settlement.h"

PG_FUNCTION_INFO_V1(holdfast_record_result);
PG_FUNCTION_INFO_V1(holdfast_record_results);
PG_FUNCTION_INFO_V1(holdfast_record_event);

/* Columns of _holdfast.provider_event, as sql/provider.sql creates them. */
enum
{
	COL_ACCOUNT = 1,
	COL_CALL,
	COL_AMOUNT,
	COL_PAYMENT,
	COL_RECEIVED_AT,
	COL_PROVIDER,
	COL_EVENT,
	COL_OUTCOME,
	COL_VERDICT,
	COL_CURRENCY
};
#define COLUMNS COL_CURRENCY

enum
{
	KEY_ACCOUNT = 1,
	KEY_PROVIDER,
	KEY_EVENT
};

#define EVENT_ID_MAX 255

/* One thing that was said. */
typedef struct HfWord
{
	int line;
	int64 account;
	pg_uuid_t payment;
	int32 call;
	HfOutcome outcome;
	Datum reference; /* text or 0, as the following: */
	Datum reason;
	char state; /* of the payment afterwards */
} HfWord;

static int
hf_word_by_call(const void *a, const void *b)
{
	const HfWord *x = a, *y = b;
	int payment = memcmp(&x->payment, &y->payment, sizeof(pg_uuid_t));

	if (x->account != y->account)
		return x->account < y->account ? -1 : 1;
	if (payment != 0)
		return payment;
	return x->call != y->call ? x->call - y->call : x->line - y->line;
}

static int
hf_word_by_line(const void *a, const void *b)
{
	return ((const HfWord *) a)->line - ((const HfWord *) b)->line;
}

static void
hf_raise_unknown_call(int64 account, const pg_uuid_t *payment, int32 call)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_UNKNOWN_CALL), errmsg("unknown provider call"),
			 errdetail("Payment %s of account %lld has no call %d of this provider.",
					   hf_uuid_text(payment), (long long) account, call)));
}

/* Finds and locks what a word is about. */
static void
hf_word_find(HfStore *store, const HfWord *word, HfPayment *payment, HfCall *call)
{
	if (!hf_payment_find_and_lock(store, word->account, &word->payment, payment))
		hf_raise_unknown_payment(word->account, &word->payment);
	if (!hf_call_find_and_lock(store, word->account, &word->payment, word->call, call))
		hf_raise_unknown_call(word->account, &word->payment, word->call);
}

static void
hf_word_record(HfStore *store, HfWord *word)
{
	HfPayment payment;
	HfCall call;

	hf_word_find(store, word, &payment, &call);
	(void) hf_settle(store, &payment, &call, word->outcome, word->reference, word->reason);
	word->state = payment.state;
}

Datum
holdfast_record_result(PG_FUNCTION_ARGS)
{
	HfWord word = {0};
	HfStore *store;

	hf_argument_not_null(fcinfo, 0, "p_account");
	hf_argument_not_null(fcinfo, 1, "p_payment");
	hf_argument_not_null(fcinfo, 2, "p_call");
	hf_argument_not_null(fcinfo, 3, "p_outcome");
	word.account = PG_GETARG_INT64(0);
	word.payment = *PG_GETARG_UUID_P(1);
	word.call = PG_GETARG_INT32(2);
	word.outcome = hf_outcome_read(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	word.reference = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4);
	word.reason = PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5);

	store = hf_row_begin("holdfast.record_result()");
	hf_word_record(store, &word);
	hf_row_end(store);
	PG_RETURN_TEXT_P(cstring_to_text(hf_state_name(word.state)));
}

/* An optional array of texts, as long as the others. */
static HfArray
hf_word_texts(FunctionCallInfo fcinfo, int n, const char *name, int length)
{
	HfArray array = {0};

	if (!PG_ARGISNULL(n))
	{
		array = hf_argument_array(fcinfo, n, name, TEXTOID);
		hf_argument_same_length(length, array.n, psprintf("p_accounts and %s", name));
	}
	return array;
}

static Datum
hf_word_text(const HfArray *array, int i)
{
	return array->n == 0 || array->isnull[i] ? (Datum) 0 : array->value[i];
}

/* The lines of record_results(), by payment and call. */
static HfWord *
hf_word_lines(FunctionCallInfo fcinfo, int *n)
{
	HfArray accounts = hf_argument_array(fcinfo, 0, "p_accounts", INT8OID);
	HfArray payments = hf_argument_array(fcinfo, 1, "p_payments", UUIDOID);
	HfArray calls = hf_argument_array(fcinfo, 2, "p_calls", INT4OID);
	HfArray outcomes = hf_argument_array(fcinfo, 3, "p_outcomes", TEXTOID);
	HfArray references = hf_word_texts(fcinfo, 4, "p_references", accounts.n);
	HfArray reasons = hf_word_texts(fcinfo, 5, "p_reasons", accounts.n);
	HfWord *words = palloc0(sizeof(HfWord) * accounts.n);

	hf_argument_same_length(accounts.n, payments.n, "p_accounts and p_payments");
	hf_argument_same_length(accounts.n, calls.n, "p_accounts and p_calls");
	hf_argument_same_length(accounts.n, outcomes.n, "p_accounts and p_outcomes");
	hf_argument_array_without_nulls(&accounts, "p_accounts");
	hf_argument_array_without_nulls(&payments, "p_payments");
	hf_argument_array_without_nulls(&calls, "p_calls");
	hf_argument_array_without_nulls(&outcomes, "p_outcomes");
	for (int i = 0; i < accounts.n; i++)
		words[i] = (HfWord){.line = i + 1,
							.account = DatumGetInt64(accounts.value[i]),
							.payment = *DatumGetUUIDP(payments.value[i]),
							.call = DatumGetInt32(calls.value[i]),
							.outcome = hf_outcome_read(TextDatumGetCString(outcomes.value[i])),
							.reference = hf_word_text(&references, i),
							.reason = hf_word_text(&reasons, i)};
	qsort(words, accounts.n, sizeof(HfWord), hf_word_by_call);
	*n = accounts.n;
	return words;
}

Datum
holdfast_record_results(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int n;
	HfWord *words = hf_word_lines(fcinfo, &n);
	HfStore *store;

	InitMaterializedSRF(fcinfo, 0);
	store = hf_row_begin("holdfast.record_results()");
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		hf_word_record(store, &words[i]);
	}
	hf_row_end(store);
	qsort(words, n, sizeof(HfWord), hf_word_by_line);
	for (int i = 0; i < n; i++)
	{
		Datum values[2] = {Int32GetDatum(words[i].line),
						   CStringGetTextDatum(hf_state_name(words[i].state))};
		bool nulls[2] = {0};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * Has the event been recorded?  The payment is locked, so nobody is recording it now, unless the
 * provider has used its id for two payments: then he is waited for.
 */
static bool
hf_event_is_known(HfStore *store, int64 account, Datum provider, Datum event)
{
	HfTable *table = hf_row_table(store, HF_PROVIDER_EVENT);
	ScanKeyData keys[3];

	hf_row_key_int8(&keys[0], KEY_ACCOUNT, BTEqualStrategyNumber, F_INT8EQ, account);
	ScanKeyInit(&keys[1], KEY_PROVIDER, BTEqualStrategyNumber, F_TEXTEQ, provider);
	ScanKeyInit(&keys[2], KEY_EVENT, BTEqualStrategyNumber, F_TEXTEQ, event);
	return hf_row_peek_certain(store, table, table->primary, keys, 3);
}

static void
hf_event_write(FunctionCallInfo fcinfo, HfStore *store, const HfWord *word, const char *verdict)
{
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = {0};

	values[COL_ACCOUNT - 1] = Int64GetDatum(word->account);
	values[COL_CALL - 1] = Int32GetDatum(word->call);
	values[COL_AMOUNT - 1] = PG_GETARG_DATUM(4);
	values[COL_PAYMENT - 1] = UUIDPGetDatum(&word->payment);
	values[COL_RECEIVED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[COL_PROVIDER - 1] = PG_GETARG_DATUM(0);
	values[COL_EVENT - 1] = PG_GETARG_DATUM(1);
	values[COL_OUTCOME - 1] = PG_GETARG_DATUM(3);
	values[COL_VERDICT - 1] = CStringGetTextDatum(verdict);
	values[COL_CURRENCY - 1] = PG_GETARG_DATUM(5);
	nulls[COL_AMOUNT - 1] = PG_ARGISNULL(4);
	nulls[COL_CURRENCY - 1] = PG_ARGISNULL(5);
	hf_row_insert(store, hf_row_table(store, HF_PROVIDER_EVENT), values, nulls);
}

/* Does the event speak of another sum than the call? */
static bool
hf_event_differs(FunctionCallInfo fcinfo, const HfPayment *payment, const HfCall *call)
{
	if (!PG_ARGISNULL(4) && PG_GETARG_INT64(4) != call->amount)
		return true;
	return !PG_ARGISNULL(5) &&
		strcmp(text_to_cstring(PG_GETARG_TEXT_PP(5)), TextDatumGetCString(payment->currency)) != 0;
}

/* Records an event that is new; returns the verdict. */
static const char *
hf_event_record(FunctionCallInfo fcinfo, HfStore *store, HfWord *word, HfPayment *payment,
				HfCall *call)
{
	const char *verdict;

	if (hf_event_differs(fcinfo, payment, call))
	{
		verdict = "mismatch";
		(void) hf_settle(store, payment, call, HF_OUTCOME_UNKNOWN, word->reference, word->reason);
	}
	else
		verdict = hf_settle(store, payment, call, word->outcome, word->reference, word->reason)
			? "applied"
			: "stale";
	hf_event_write(fcinfo, store, word, verdict);
	return verdict;
}

/* Reads the arguments of record_event() into the word. */
static void
hf_event_read(FunctionCallInfo fcinfo, HfWord *word)
{
	text *event;

	hf_argument_not_null(fcinfo, 0, "p_provider");
	hf_argument_not_null(fcinfo, 1, "p_event");
	hf_argument_not_null(fcinfo, 2, "p_call_key");
	hf_argument_not_null(fcinfo, 3, "p_outcome");
	event = PG_GETARG_TEXT_PP(1);
	if (!hf_key_is_good(PointerGetDatum(event), 1, EVENT_ID_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_HF_MALFORMED_EVENT), errmsg("malformed event id"),
				 errdetail("It must be 1 to %d printable ASCII characters.", EVENT_ID_MAX)));
	word->outcome = hf_outcome_read(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	if (word->outcome == HF_OUTCOME_RETRY || word->outcome == HF_OUTCOME_UNKNOWN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("an event does not tell that"),
				 errhint("Outcomes of events are succeeded, declined and pending.")));
	word->reference = PG_ARGISNULL(6) ? (Datum) 0 : PG_GETARG_DATUM(6);
	word->reason = PG_ARGISNULL(7) ? (Datum) 0 : PG_GETARG_DATUM(7);
	if (!hf_call_parse_key(text_to_cstring(PG_GETARG_TEXT_PP(2)), &word->account, &word->payment,
						   &word->call))
		ereport(ERROR,
				(errcode(ERRCODE_HF_UNKNOWN_CALL), errmsg("unknown provider call"),
				 errdetail("The call key is not one that holdfast.claim_calls() has given.")));
}

Datum
holdfast_record_event(PG_FUNCTION_ARGS)
{
	HfWord word = {0};
	HfPayment payment;
	HfCall call;
	HfProvider provider;
	HfStore *store;
	const char *verdict = "duplicate";

	hf_event_read(fcinfo, &word);
	store = hf_row_begin("holdfast.record_event()");
	if (!hf_provider_find(store, PointerGetDatum(PG_GETARG_TEXT_PP(0)), &provider))
		hf_raise_unknown_provider(PointerGetDatum(PG_GETARG_TEXT_PP(0)));
	hf_word_find(store, &word, &payment, &call);
	if (strcmp(text_to_cstring(PG_GETARG_TEXT_PP(0)), TextDatumGetCString(call.provider)) != 0)
		hf_raise_unknown_call(word.account, &word.payment, word.call);
	if (!hf_event_is_known(store, word.account, PointerGetDatum(PG_GETARG_TEXT_PP(0)),
						   PointerGetDatum(PG_GETARG_TEXT_PP(1))))
		verdict = hf_event_record(fcinfo, store, &word, &payment, &call);
	hf_row_end(store);
	PG_RETURN_TEXT_P(cstring_to_text(verdict));
}
