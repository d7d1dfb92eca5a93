/*
 * payment_request.c
 *		What is asked of a payment, once per idempotency key: from the key to the answer.
 *
 * Every request claims its key first, with a fingerprint of its arguments, then locks the payment,
 * acts, and completes the key with its answer, all in the caller's transaction.  A refusal is an
 * error: it takes the key with it, so nothing is remembered of it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "arguments.h"
#include "digest.h"
#include "errors.h"
#include "payment_request.h"

#define HF_REQUEST_KEY 'k' /* the letter of the key among the types of arguments */

/* Adds an argument to what the fingerprint is taken of, with its length; a null has none. */
static void
hf_request_add(StringInfo request, FunctionCallInfo fcinfo, int n, char type)
{
	int64 number;

	appendStringInfoChar(request, PG_ARGISNULL(n) ? '-' : type);
	if (PG_ARGISNULL(n))
		return;
	switch (type)
	{
		case 'i':
			number = PG_GETARG_INT64(n);
			appendBinaryStringInfo(request, (char *) &number, sizeof(number));
			break;
		case 'u':
			appendBinaryStringInfo(request, (char *) PG_GETARG_UUID_P(n), UUID_LEN);
			break;
		case 't':
			appendStringInfo(request, "%d:", (int) VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(n)));
			appendBinaryStringInfo(request, VARDATA_ANY(PG_GETARG_TEXT_PP(n)),
								   VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(n)));
			break;
	}
}

/* The SHA-256 of all arguments but the account and the key. */
static Datum
hf_request_fingerprint(FunctionCallInfo fcinfo, const char *types)
{
	bytea *result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	StringInfoData request;

	initStringInfo(&request);
	for (int i = 1; types[i] != '\0'; i++)
		if (types[i] != HF_REQUEST_KEY)
			hf_request_add(&request, fcinfo, i, types[i]);
	hf_digest_make(request.data, request.len, (uint8 *) VARDATA(result));
	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pfree(request.data);
	return PointerGetDatum(result);
}

/* Takes a stored answer apart, which hf_request_end() has put together. */
static void
hf_request_replay(HfRequest *r)
{
	char id[37], state[32];
	char *answer = text_to_cstring(DatumGetTextPP(r->key.response));

	if (sscanf(answer, "%36s %31s %d", id, state, &r->call) != 3)
		elog(ERROR, "the stored answer is not one of a payment");
	r->answered_payment = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(id)));
	r->answered_state = pstrdup(state);
	r->replayed = true;
}

/*
 * Checks account and key and claims the key.  types has a letter for each argument: i bigint, u
 * uuid, t text, k the key.  answer: what hf_request_end() will find, if that is known beforehand,
 * or NULL.  False if the request has been answered before: go on with hf_request_end().
 */
bool
hf_request_begin(HfRequest *r, FunctionCallInfo fcinfo, const char *operation, const char *types,
				 const char *answer)
{
	int key_argument = strchr(types, HF_REQUEST_KEY) - types;
	int verdict;

	hf_argument_not_null(fcinfo, 0, "p_account");
	hf_argument_not_null(fcinfo, key_argument, "p_key");
	r->payment.account = r->key.account = PG_GETARG_INT64(0);
	r->key.operation = CStringGetTextDatum(operation);
	r->key.key = PointerGetDatum(PG_GETARG_TEXT_PP(key_argument));
	hf_key_check(r->key.key, "p_key", HF_KEY_MIN, HF_KEY_MAX);
	r->key.fingerprint = hf_request_fingerprint(fcinfo, types);
	r->answer = answer;
	r->key.open = answer == NULL;
	r->key.response = answer ? CStringGetTextDatum(answer) : (Datum) 0;
	r->store = hf_row_begin(operation);
	verdict = hf_key_claim(r->store, &r->key, true);
	if (verdict == HF_KEY_DONE)
		hf_request_replay(r);
	else if (verdict != HF_KEY_CLAIMED)
		hf_key_raise(&r->key, verdict);
	return verdict == HF_KEY_CLAIMED;
}

/* Finds and locks the payment, the second argument. */
void
hf_request_find(HfRequest *r, FunctionCallInfo fcinfo)
{
	const pg_uuid_t *id = PG_GETARG_UUID_P(1);

	if (!hf_payment_find_and_lock(r->store, r->key.account, id, &r->payment))
		hf_raise_unknown_payment(r->key.account, id);
}

/* Refuses what the payment's state does not allow. */
void
hf_request_check_state(const HfRequest *r, HfInput input)
{
	const HfPayment *p = &r->payment;

	if (!hf_state_takes(p->state, input))
		ereport(ERROR,
				(errcode(ERRCODE_HF_ILLEGAL_TRANSITION),
				 errmsg("payment does not allow \"%s\" in its state", hf_input_name(input)),
				 errdetail("Payment %s of account %lld is %s.", hf_uuid_text(&p->id),
						   (long long) p->account, hf_state_name(p->state)),
				 errhint("holdfast.payment_transitions() lists what is allowed.")));
}

/* The answer of a request, as it is stored. */
char *
hf_request_answer(const pg_uuid_t *payment, char state, int32 call)
{
	return psprintf("%s %s %d", hf_uuid_text(payment), hf_state_name(state), call);
}

/* Stores the answer, if it is new. */
static void
hf_request_store(HfRequest *r)
{
	char *answer = hf_request_answer(&r->payment.id, r->payment.state, r->call);

	if (r->answer == NULL)
		hf_key_complete(r->store, &r->key, 0, CStringGetTextDatum(answer));
	else if (strcmp(answer, r->answer) != 0)
		elog(ERROR, "the answer is \"%s\", not \"%s\"", answer, r->answer);
	r->answered_payment = r->payment.id;
	r->answered_state = hf_state_name(r->payment.state);
}

/* Stores the answer and gives it. */
Datum
hf_request_end(HfRequest *r, FunctionCallInfo fcinfo)
{
	static TupleDesc kept = NULL;
	Datum values[4];
	bool nulls[4] = {0};

	if (!r->replayed)
		hf_request_store(r);
	hf_row_end(r->store);
	values[0] = UUIDPGetDatum(&r->answered_payment);
	values[1] = CStringGetTextDatum(r->answered_state);
	values[2] = Int32GetDatum(r->call);
	values[3] = BoolGetDatum(r->replayed);
	nulls[2] = r->call == 0;
	return hf_result_record(&kept, fcinfo, values, nulls);
}
