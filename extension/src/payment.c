/*
 * payment.c
 *		SQL functions that ask something of a payment: create_payment(), authorize_payment(),
 *		capture_payment(), void_payment(), refund_payment().
 *
 * Nothing here speaks to a provider: what he is to do becomes a row of provider_call.  From then
 * until he has answered (settlement.c) the owner's holds are pinned, so that they cannot expire
 * while his money is on its way.
 *
 * Locks: the idempotency key, the payment's row, hold rows by SKU, the provider call.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "call.h"
#include "cart.h"
#include "currency.h"
#include "errors.h"
#include "payment_request.h"
#include "uuid7.h"

PG_FUNCTION_INFO_V1(holdfast_create_payment);
PG_FUNCTION_INFO_V1(holdfast_authorize_payment);
PG_FUNCTION_INFO_V1(holdfast_capture_payment);
PG_FUNCTION_INFO_V1(holdfast_void_payment);
PG_FUNCTION_INFO_V1(holdfast_refund_payment);

#define METHOD_MAX 255

static int64
hf_payment_amount(FunctionCallInfo fcinfo, int n)
{
	int64 amount;

	hf_argument_not_null(fcinfo, n, "p_amount");
	amount = PG_GETARG_INT64(n);
	if (amount <= 0 || amount > HF_AMOUNT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_AMOUNT), errmsg("invalid amount"),
				 errdetail("It is %lld; it must be from 1 to %lld minor units.", (long long) amount,
						   (long long) HF_AMOUNT_MAX)));
	return amount;
}

static Datum
hf_payment_method(FunctionCallInfo fcinfo, int n)
{
	text *method;
	const char *s;
	int length;
	bool good;

	hf_argument_not_null(fcinfo, n, "p_method");
	method = PG_GETARG_TEXT_PP(n);
	s = VARDATA_ANY(method);
	length = VARSIZE_ANY_EXHDR(method);
	good = length > 0 && length <= METHOD_MAX;
	for (int i = 0; good && i < length; i++)
		good = (unsigned char) s[i] >= ' ' && s[i] != 0x7f;
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_METHOD), errmsg("invalid payment method"),
				 errdetail("It must have 1 to %d bytes and no control characters.", METHOD_MAX),
				 errhint("Pass the provider's token for the card or account.")));
	return PointerGetDatum(method);
}

/* What to do with a new payment at once: HF_AUTHORIZE, HF_CAPTURE, or nothing, -1. */
static int
hf_payment_then(FunctionCallInfo fcinfo, int n)
{
	char *then;

	if (PG_ARGISNULL(n))
		return -1;
	then = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (strcmp(then, "authorize") == 0)
		return HF_AUTHORIZE;
	if (strcmp(then, "capture") == 0)
		return HF_CAPTURE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown next step \"%s\"", then),
			 errhint("A new payment can authorize or capture.")));
	pg_unreachable();
}

/* Refuses a currency that is not the payment's; null is not one. */
static void
hf_payment_check_currency(const HfPayment *payment, FunctionCallInfo fcinfo, int n)
{
	char *currency, *wanted;

	if (PG_ARGISNULL(n))
		return;
	currency = text_to_cstring(DatumGetTextPP(payment->currency));
	wanted = text_to_cstring(PG_GETARG_TEXT_PP(n));
	hf_currency_check(wanted, strlen(wanted));
	if (strcmp(wanted, currency) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_HF_CURRENCY_MISMATCH), errmsg("currencies differ"),
				 errdetail("Payment %s is in %s, not in %s.", hf_uuid_text(&payment->id), currency,
						   wanted),
				 errhint("Make another payment for another currency.")));
}

static void
hf_payment_check_alone(HfStore *store, const HfPayment *payment)
{
	HfPayment live;

	if (hf_payment_find_live(store, payment, &live))
		ereport(ERROR,
				(errcode(ERRCODE_HF_OWNER_HAS_PAYMENT), errmsg("owner has another live payment"),
				 errdetail("Payment %s of owner %s is %s.", hf_uuid_text(&live.id),
						   hf_uuid_text(&live.owner), hf_state_name(live.state)),
				 errhint("Void it, or wait until it has been declined.")));
}

/*
 * From here on the provider may take the owner's money: nobody else must, and the units must stay.
 * Looks for others before the holds, whose errors would say less, and again if it has waited: for
 * the holds of a payment that came first.
 */
static void
hf_payment_engage(HfStore *store, HfPayment *payment)
{
	if (!payment->has_owner)
		return;
	hf_payment_check_alone(store, payment);
	payment->cart = hf_cart_pin(store, &payment->owner);
	if (store->waited)
		hf_payment_check_alone(store, payment);
}

static int32
hf_payment_authorize(HfStore *store, HfPayment *payment)
{
	int32 call;

	hf_payment_engage(store, payment);
	call = hf_call_make(store, payment, HF_CALL_AUTHORIZE, payment->amount);
	hf_payment_step(store, payment, HF_AUTHORIZE, HF_AUTHORIZING, call, payment->amount, (Datum) 0);
	return call;
}

static int32
hf_payment_capture(HfStore *store, HfPayment *payment, int64 amount)
{
	int64 most = payment->state == HF_AUTHORIZED ? payment->authorized : payment->amount;
	int32 call;

	if (amount > most)
		ereport(ERROR,
				(errcode(ERRCODE_HF_EXCEEDS_AUTHORIZED), errmsg("more than is authorized"),
				 errdetail("Payment %s can capture %lld; %lld were asked for.",
						   hf_uuid_text(&payment->id), (long long) most, (long long) amount)));
	if (payment->state == HF_CREATED && amount < most)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_AMOUNT), errmsg("a part of nothing authorized"),
				 errdetail("Payment %s is for %lld; it is captured whole, or authorized first.",
						   hf_uuid_text(&payment->id), (long long) most),
				 errhint("Create a payment for the amount that is to be charged.")));
	hf_payment_engage(store, payment);
	call = hf_call_make(store, payment,
						payment->state == HF_AUTHORIZED ? HF_CALL_CAPTURE : HF_CALL_CHARGE, amount);
	hf_payment_step(store, payment, HF_CAPTURE, HF_CAPTURING, call, amount, (Datum) 0);
	return call;
}

/* The payment that create_payment() is to make, checked. */
static void
hf_payment_describe(HfPayment *payment, FunctionCallInfo fcinfo)
{
	payment->amount = hf_payment_amount(fcinfo, 2);
	hf_argument_not_null(fcinfo, 3, "p_currency");
	payment->currency = PointerGetDatum(PG_GETARG_TEXT_PP(3));
	hf_currency_check(VARDATA_ANY(payment->currency), VARSIZE_ANY_EXHDR(payment->currency));
	hf_argument_not_null(fcinfo, 4, "p_provider");
	payment->provider = PointerGetDatum(PG_GETARG_TEXT_PP(4));
	payment->method = hf_payment_method(fcinfo, 5);
	payment->has_owner = !PG_ARGISNULL(6);
	if (payment->has_owner)
		payment->owner = *PG_GETARG_UUID_P(6);
	if (PG_ARGISNULL(8))
		hf_uuid7_make(&payment->id);
	else
		payment->id = *PG_GETARG_UUID_P(8);
	payment->state = HF_CREATED;
	payment->created_at = payment->changed_at = GetCurrentTimestamp();
}

/* What create_payment() answers, if it can do what it is asked. */
static char *
hf_payment_created(const HfPayment *payment, int then)
{
	if (then == HF_AUTHORIZE)
		return hf_request_answer(&payment->id, HF_AUTHORIZING, 1);
	if (then == HF_CAPTURE)
		return hf_request_answer(&payment->id, HF_CAPTURING, 1);
	return hf_request_answer(&payment->id, HF_CREATED, 0);
}

Datum
holdfast_create_payment(PG_FUNCTION_ARGS)
{
	HfRequest r = {0};
	HfPayment *payment = &r.payment;
	HfProvider provider;
	int then = hf_payment_then(fcinfo, 7);

	hf_payment_describe(payment, fcinfo);
	if (hf_request_begin(&r, fcinfo, HF_OPERATION_OURS "create_payment", "ikitttutu",
						 hf_payment_created(payment, then)))
	{
		if (!hf_provider_find(r.store, payment->provider, &provider))
			hf_raise_unknown_provider(payment->provider);
		if (!PG_ARGISNULL(8) && hf_payment_exists(r.store, payment))
			ereport(ERROR,
					(errcode(ERRCODE_HF_PAYMENT_EXISTS), errmsg("payment exists"),
					 errdetail("Account %lld has a payment %s.", (long long) payment->account,
							   hf_uuid_text(&payment->id)),
					 errhint("Use a new id; to repeat a request, use its idempotency key.")));
		if (then == HF_AUTHORIZE)
			r.call = hf_payment_authorize(r.store, payment);
		else if (then == HF_CAPTURE)
			r.call = hf_payment_capture(r.store, payment, payment->amount);
		hf_payment_write(r.store, payment);
	}
	return hf_request_end(&r, fcinfo);
}

Datum
holdfast_authorize_payment(PG_FUNCTION_ARGS)
{
	HfRequest r = {0};

	hf_argument_not_null(fcinfo, 1, "p_payment");
	if (hf_request_begin(&r, fcinfo, HF_OPERATION_OURS "authorize_payment", "iuk", NULL))
	{
		hf_request_find(&r, fcinfo);
		hf_request_check_state(&r, HF_AUTHORIZE);
		r.call = hf_payment_authorize(r.store, &r.payment);
		hf_payment_write(r.store, &r.payment);
	}
	return hf_request_end(&r, fcinfo);
}

Datum
holdfast_capture_payment(PG_FUNCTION_ARGS)
{
	HfRequest r = {0};
	int64 amount = PG_ARGISNULL(3) ? 0 : hf_payment_amount(fcinfo, 3);
	int64 cart;
	bool authorized;

	hf_argument_not_null(fcinfo, 1, "p_payment");
	if (hf_request_begin(&r, fcinfo, HF_OPERATION_OURS "capture_payment", "iukit", NULL))
	{
		hf_request_find(&r, fcinfo);
		hf_payment_check_currency(&r.payment, fcinfo, 4);
		hf_request_check_state(&r, HF_CAPTURE);
		cart = r.payment.cart;
		if (amount == 0)
			amount = r.payment.state == HF_AUTHORIZED ? r.payment.authorized : r.payment.amount;
		authorized = r.payment.state == HF_AUTHORIZED;
		r.call = hf_payment_capture(r.store, &r.payment, amount);
		if (authorized && PG_ARGISNULL(3) && r.payment.cart != cart)
			ereport(ERROR,
					(errcode(ERRCODE_HF_CART_CHANGED),
					 errmsg("holds have changed since the authorization"),
					 errdetail("Owner %s no longer holds what payment %s was authorized for.",
							   hf_uuid_text(&r.payment.owner), hf_uuid_text(&r.payment.id)),
					 errhint("Say with p_amount what is to be captured for what is held now.")));
		hf_payment_write(r.store, &r.payment);
	}
	return hf_request_end(&r, fcinfo);
}

/* Withdraws the call that is the payment's last, if no worker has had it yet. Was there one? */
static bool
hf_payment_cancel_call(HfStore *store, const HfPayment *payment)
{
	HfCall call;

	if (!hf_call_find_and_lock(store, payment->account, &payment->id, payment->calls, &call))
		elog(ERROR, "provider call %d of a payment is missing", payment->calls);
	if (!hf_call_is_open(&call) || call.attempts > 0)
		return false;
	call.state = HF_CALL_CANCELLED;
	call.settled_at = GetCurrentTimestamp();
	hf_call_write(store, &call);
	return true;
}

Datum
holdfast_void_payment(PG_FUNCTION_ARGS)
{
	HfRequest r = {0};

	hf_argument_not_null(fcinfo, 1, "p_payment");
	if (hf_request_begin(&r, fcinfo, HF_OPERATION_OURS "void_payment", "iukt", NULL))
	{
		HfPayment *payment = &r.payment;
		bool let_go;

		hf_request_find(&r, fcinfo);
		hf_request_check_state(&r, HF_VOID);
		if (payment->has_owner && payment->state != HF_CREATED)
			hf_cart_unpin(r.store, &payment->owner);
		/* What is set aside is let go; if a call about it is under way, when that has been told. */
		if (payment->state != HF_AUTHORIZING && payment->state != HF_UNKNOWN)
			let_go = payment->state == HF_AUTHORIZED;
		else
			let_go = hf_payment_cancel_call(r.store, payment) && payment->authorized > 0;
		if (let_go)
			r.call = hf_call_make(r.store, payment, HF_CALL_VOID, payment->authorized);
		hf_payment_step(r.store, payment, HF_VOID, HF_VOIDED, r.call, payment->authorized,
						PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3));
		hf_payment_write(r.store, payment);
	}
	return hf_request_end(&r, fcinfo);
}

/* Settles the amount of a refund: what is asked for, or all that is left. */
static int64
hf_payment_refundable(const HfPayment *payment, int64 amount)
{
	int64 left = hf_payment_left(payment);

	if (amount > left || left == 0)
		ereport(ERROR,
				(errcode(ERRCODE_HF_EXCEEDS_CAPTURED), errmsg("more than is left to refund"),
				 errdetail("Payment %s has captured %lld, of which %lld are refunded and %lld are "
						   "being refunded.",
						   hf_uuid_text(&payment->id), (long long) payment->captured,
						   (long long) payment->refunded, (long long) payment->refunding)));
	return amount == 0 ? left : amount;
}

Datum
holdfast_refund_payment(PG_FUNCTION_ARGS)
{
	HfRequest r = {0};
	int64 amount = PG_ARGISNULL(3) ? 0 : hf_payment_amount(fcinfo, 3);

	hf_argument_not_null(fcinfo, 1, "p_payment");
	if (hf_request_begin(&r, fcinfo, HF_OPERATION_OURS "refund_payment", "iukitt", NULL))
	{
		HfPayment *payment = &r.payment;
		bool dead;

		hf_request_find(&r, fcinfo);
		hf_payment_check_currency(payment, fcinfo, 4);
		hf_request_check_state(&r, HF_REFUND);
		amount = hf_payment_refundable(payment, amount);
		dead = payment->state == HF_REFUNDING;
		r.call = hf_call_make(r.store, payment, HF_CALL_REFUND, amount);
		payment->refunding += amount;
		hf_payment_step(r.store, payment, HF_REFUND, payment->state, r.call, amount,
						PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5));
		/* Money that came for a dead order was never sales. */
		if (!dead)
			hf_payment_book(r.store, payment, HF_BOOK_SALES, HF_BOOK_REFUNDS_DUE, amount);
		hf_payment_write(r.store, payment);
	}
	return hf_request_end(&r, fcinfo);
}
