/*
 * settlement.c
 *		What follows from what a provider says about a call.
 *
 * Providers answer late, twice, out of order, and sometimes change their mind.  Three rules make
 * that harmless.  The better word about a call wins: unknown, then declined, then succeeded; what
 * is not better than what is known changes nothing.  The payment's transitions decide what a word
 * does to it (payment_state.c).  And money that has moved is never ignored: if it came for an order
 * that is dead by then, a refund becomes due in the same transaction.
 *
 * A capture confirms the owner's holds in the transaction that records it, if they are still what
 * was pinned for it; then units and money change hands together, or not at all.
 *
 * Locks: the caller has the payment's row and the call's; hold rows follow.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "cart.h"
#include "settlement.h"

HfOutcome
hf_outcome_read(const char *word)
{
	static const char *const names[] = {[HF_OUTCOME_PENDING] = "pending",
										[HF_OUTCOME_RETRY] = "retry",
										[HF_OUTCOME_UNKNOWN] = "unknown",
										[HF_OUTCOME_DECLINED] = "declined",
										[HF_OUTCOME_SUCCEEDED] = "succeeded"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(word, names[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown outcome \"%s\"", word),
			 errhint("Outcomes are succeeded, declined, pending, retry and unknown.")));
	pg_unreachable();
}

/* Writes a step of the payment that a call has caused. */
static void
hf_settle_step(HfStore *store, HfPayment *payment, const HfCall *call, HfInput input, char next)
{
	hf_payment_step(store, payment, input, next, call->n, call->amount, call->reason);
}

/* The owner's units wait no longer for the provider. */
static void
hf_settle_unpin(HfStore *store, const HfPayment *payment)
{
	if (payment->has_owner)
		hf_cart_unpin(store, &payment->owner);
}

/* Has the payment been given up, so that money that comes is to go back? */
static bool
hf_settle_is_dead(const HfPayment *payment)
{
	return payment->state == HF_DECLINED || payment->state == HF_VOIDED;
}

static void
hf_settle_authorized(HfStore *store, HfPayment *payment, const HfCall *call)
{
	if (hf_settle_is_dead(payment))
	{
		/* Too late: let the money go. */
		hf_settle_step(store, payment, call, HF_SAYS_AUTHORIZED, payment->state);
		(void) hf_call_make(store, payment, HF_CALL_VOID, call->amount);
		return;
	}
	payment->authorized = call->amount;
	hf_settle_step(store, payment, call, HF_SAYS_AUTHORIZED, HF_AUTHORIZED);
	hf_settle_unpin(store, payment);
}

/* Are the units that the money is for still there? Then they are sold now. */
static bool
hf_settle_sell(HfStore *store, const HfPayment *payment)
{
	if (hf_settle_is_dead(payment))
		return false;
	return !payment->has_owner || hf_cart_confirm(store, &payment->owner, payment->cart);
}

static void
hf_settle_captured(HfStore *store, HfPayment *payment, const HfCall *call)
{
	bool was_live = !hf_settle_is_dead(payment);

	payment->captured = call->amount;
	payment->authorized = Max(payment->authorized, call->amount);
	if (hf_settle_sell(store, payment))
	{
		hf_settle_step(store, payment, call, HF_SAYS_CAPTURED, HF_CAPTURED);
		hf_payment_book(store, payment, HF_BOOK_PROVIDER, HF_BOOK_SALES, call->amount);
		return;
	}
	hf_settle_step(store, payment, call, HF_SAYS_CAPTURED, HF_REFUNDING);
	hf_payment_book(store, payment, HF_BOOK_PROVIDER, HF_BOOK_REFUNDS_DUE, call->amount);
	payment->refunding = call->amount;
	(void) hf_call_make(store, payment, HF_CALL_REFUND, call->amount);
	if (was_live)
		hf_settle_unpin(store, payment);
}

static void
hf_settle_declined(HfStore *store, HfPayment *payment, const HfCall *call)
{
	bool was_live = payment->state != HF_VOIDED;

	hf_settle_step(store, payment, call, HF_SAYS_DECLINED, was_live ? HF_DECLINED : HF_VOIDED);
	if (was_live)
		hf_settle_unpin(store, payment);
	/* What was set aside for it is not needed any more. */
	if (call->kind == HF_CALL_CAPTURE)
		(void) hf_call_make(store, payment, HF_CALL_VOID, payment->authorized);
}

static char
hf_settle_after_refund(const HfPayment *payment)
{
	if (payment->refunded == payment->captured)
		return HF_REFUNDED;
	return payment->state == HF_REFUNDING ? HF_REFUNDING : HF_PARTIALLY_REFUNDED;
}

static void
hf_settle_refunded(HfStore *store, HfPayment *payment, const HfCall *call, bool was_open)
{
	/* A refund that was declined at first has been booked back. */
	bool from_due = was_open || payment->state == HF_REFUNDING;

	if (was_open)
		payment->refunding -= call->amount;
	payment->refunded += call->amount;
	hf_settle_step(store, payment, call, HF_SAYS_REFUNDED, hf_settle_after_refund(payment));
	hf_payment_book(store, payment, from_due ? HF_BOOK_REFUNDS_DUE : HF_BOOK_SALES,
					HF_BOOK_PROVIDER, call->amount);
}

/* A refund that will not be made. */
static void
hf_settle_take_back(HfStore *store, HfPayment *payment, const HfCall *call)
{
	payment->refunding -= call->amount;
	hf_settle_step(store, payment, call, HF_SAYS_REFUND_DECLINED, payment->state);
	if (payment->state != HF_REFUNDING)
		hf_payment_book(store, payment, HF_BOOK_REFUNDS_DUE, HF_BOOK_SALES, call->amount);
}

/* Books refunds that have been made in excess, as far as there is room for them now. */
static void
hf_settle_excess(HfStore *store, HfPayment *payment)
{
	for (int n = 1; n <= payment->calls; n++)
	{
		HfCall call;

		if (!hf_call_find_and_lock(store, payment->account, &payment->id, n, &call) ||
			call.state != HF_CALL_EXCESS || call.amount > hf_payment_left(payment))
			continue;
		call.state = HF_CALL_SUCCEEDED;
		hf_call_write(store, &call);
		hf_settle_refunded(store, payment, &call, false);
	}
}

/*
 * Calls off refunds that nobody has been asked for yet, from the last one on, until the call fits:
 * its money is gone already.  False if it does not.
 */
static bool
hf_settle_make_room(HfStore *store, HfPayment *payment, const HfCall *call)
{
	for (int n = payment->calls; n > 0 && call->amount > hf_payment_left(payment); n--)
	{
		HfCall other;

		if (n == call->n ||
			!hf_call_find_and_lock(store, payment->account, &payment->id, n, &other) ||
			other.kind != HF_CALL_REFUND || !hf_call_is_open(&other) || other.attempts > 0)
			continue;
		other.state = HF_CALL_CANCELLED;
		other.settled_at = GetCurrentTimestamp();
		hf_call_write(store, &other);
		hf_settle_take_back(store, payment, &other);
	}
	return call->amount <= hf_payment_left(payment);
}

static void
hf_settle_refund_declined(HfStore *store, HfPayment *payment, const HfCall *call)
{
	hf_settle_take_back(store, payment, call);
	hf_settle_excess(store, payment);
}

/* What the word "succeeded" or "declined" about a call means for its payment. */
static HfInput
hf_settle_input(const HfCall *call, bool succeeded)
{
	switch (call->kind)
	{
		case HF_CALL_AUTHORIZE:
			return succeeded ? HF_SAYS_AUTHORIZED : HF_SAYS_DECLINED;
		case HF_CALL_REFUND:
			return succeeded ? HF_SAYS_REFUNDED : HF_SAYS_REFUND_DECLINED;
		default:
			return succeeded ? HF_SAYS_CAPTURED : HF_SAYS_DECLINED;
	}
}

/* Lets the payment know how the call went, if its state has ears for it. */
static void
hf_settle_payment(HfStore *store, HfPayment *payment, const HfCall *call, bool was_open)
{
	HfInput input = hf_settle_input(call, call->state == HF_CALL_SUCCEEDED);

	/* Letting an authorization go moves no money. */
	if (call->kind == HF_CALL_VOID || !hf_state_takes(payment->state, input))
		return;
	switch (input)
	{
		case HF_SAYS_AUTHORIZED:
			hf_settle_authorized(store, payment, call);
			break;
		case HF_SAYS_CAPTURED:
			hf_settle_captured(store, payment, call);
			break;
		case HF_SAYS_DECLINED:
			hf_settle_declined(store, payment, call);
			break;
		case HF_SAYS_REFUNDED:
			hf_settle_refunded(store, payment, call, was_open);
			break;
		case HF_SAYS_REFUND_DECLINED:
			hf_settle_refund_declined(store, payment, call);
			break;
		default:
			elog(ERROR, "a provider does not say \"%s\"", hf_input_name(input));
	}
	hf_payment_write(store, payment);
}

/* When to ask again after so many attempts. */
static TimestampTz
hf_settle_next_attempt(const HfProvider *provider, int attempts)
{
	int64 seconds = provider->backoff;

	for (int i = 1; i < attempts && seconds < provider->backoff_max; i++)
		seconds *= 2;
	return GetCurrentTimestamp() + Min(seconds, provider->backoff_max) * USECS_PER_SEC;
}

/* The call stays open: it will be asked about again, and the payment may have to say so. */
static bool
hf_settle_open(HfStore *store, HfPayment *payment, HfCall *call, HfOutcome outcome)
{
	HfProvider provider;
	bool soon, unknown;

	if (!hf_call_is_open(call))
		return false;
	if (!hf_provider_find(store, call->provider, &provider))
		hf_raise_unknown_provider(call->provider);
	soon = outcome == HF_OUTCOME_RETRY && call->state == HF_CALL_DUE &&
		call->attempts < provider.attempts;
	unknown = outcome != HF_OUTCOME_PENDING && !soon;
	call->due_at = hf_settle_next_attempt(&provider, soon ? call->attempts : PG_INT32_MAX);
	if (unknown && call->state == HF_CALL_DUE)
	{
		call->state = HF_CALL_UNKNOWN;
		if (call->kind != HF_CALL_VOID && call->kind != HF_CALL_REFUND &&
			hf_state_takes(payment->state, HF_SAYS_UNKNOWN))
		{
			hf_settle_step(store, payment, call, HF_SAYS_UNKNOWN, HF_UNKNOWN);
			hf_payment_write(store, payment);
		}
	}
	hf_call_write(store, call);
	return true;
}

/*
 * Records what a provider says about a call and does what follows from it.  The payment and the
 * call are locked.  False if nothing has changed.
 */
bool
hf_settle(HfStore *store, HfPayment *payment, HfCall *call, HfOutcome outcome, Datum reference,
		  Datum reason)
{
	bool was_open = hf_call_is_open(call);

	if (call->state == HF_CALL_SUCCEEDED || call->state == HF_CALL_EXCESS ||
		(outcome != HF_OUTCOME_SUCCEEDED && !was_open))
		return false;
	if (reference != (Datum) 0)
		call->reference = reference;
	if (reason != (Datum) 0)
		call->reason = reason;
	if (outcome < HF_OUTCOME_DECLINED)
		return hf_settle_open(store, payment, call, outcome);
	if (outcome == HF_OUTCOME_SUCCEEDED && !was_open && call->kind == HF_CALL_REFUND &&
		!hf_settle_make_room(store, payment, call))
	{
		/* Given back when the money was spoken for: booked when there is room, or looked at. */
		call->state = HF_CALL_EXCESS;
		hf_call_write(store, call);
		hf_payment_write(store, payment);
		return true;
	}
	call->state = outcome == HF_OUTCOME_SUCCEEDED ? HF_CALL_SUCCEEDED : HF_CALL_DECLINED;
	call->settled_at = GetCurrentTimestamp();
	hf_call_write(store, call);
	hf_settle_payment(store, payment, call, was_open);
	return true;
}
