/*
 * payment_state.c
 *		The states of a payment and the legal transitions between them.
 *
 * The table below is the one place that says what may follow what: requests that it does not list
 * are refused, what a provider says and it does not list has no effect, and every step that is
 * written is looked up in it (payment_row.c).  holdfast.payment_transitions() shows it, and
 * verify() holds the history of every payment against it.
 *
 * Nothing leads from captured, or what follows it, to anything that has not been captured: a late
 * message cannot move a payment backwards.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "payment_state.h"

PG_FUNCTION_INFO_V1(holdfast_payment_transitions);

typedef struct HfTransition
{
	char state;
	HfInput input;
	char next;
} HfTransition;

static const HfTransition transitions[] = {
	{HF_CREATED, HF_AUTHORIZE, HF_AUTHORIZING},
	{HF_CREATED, HF_CAPTURE, HF_CAPTURING},
	{HF_CREATED, HF_VOID, HF_VOIDED},
	{HF_AUTHORIZING, HF_VOID, HF_VOIDED},
	{HF_AUTHORIZING, HF_SAYS_AUTHORIZED, HF_AUTHORIZED},
	{HF_AUTHORIZING, HF_SAYS_DECLINED, HF_DECLINED},
	{HF_AUTHORIZING, HF_SAYS_UNKNOWN, HF_UNKNOWN},
	{HF_AUTHORIZED, HF_CAPTURE, HF_CAPTURING},
	{HF_AUTHORIZED, HF_VOID, HF_VOIDED},
	{HF_CAPTURING, HF_SAYS_CAPTURED, HF_CAPTURED},
	{HF_CAPTURING, HF_SAYS_CAPTURED, HF_REFUNDING},
	{HF_CAPTURING, HF_SAYS_DECLINED, HF_DECLINED},
	{HF_CAPTURING, HF_SAYS_UNKNOWN, HF_UNKNOWN},
	{HF_CAPTURED, HF_REFUND, HF_CAPTURED},
	{HF_CAPTURED, HF_SAYS_REFUNDED, HF_PARTIALLY_REFUNDED},
	{HF_CAPTURED, HF_SAYS_REFUNDED, HF_REFUNDED},
	{HF_CAPTURED, HF_SAYS_REFUND_DECLINED, HF_CAPTURED},
	{HF_PARTIALLY_REFUNDED, HF_REFUND, HF_PARTIALLY_REFUNDED},
	{HF_PARTIALLY_REFUNDED, HF_SAYS_REFUNDED, HF_PARTIALLY_REFUNDED},
	{HF_PARTIALLY_REFUNDED, HF_SAYS_REFUNDED, HF_REFUNDED},
	{HF_PARTIALLY_REFUNDED, HF_SAYS_REFUND_DECLINED, HF_PARTIALLY_REFUNDED},
	{HF_REFUNDING, HF_REFUND, HF_REFUNDING},
	{HF_REFUNDING, HF_SAYS_REFUNDED, HF_REFUNDING},
	{HF_REFUNDING, HF_SAYS_REFUNDED, HF_REFUNDED},
	{HF_REFUNDING, HF_SAYS_REFUND_DECLINED, HF_REFUNDING},
	{HF_DECLINED, HF_SAYS_AUTHORIZED, HF_DECLINED},
	{HF_DECLINED, HF_SAYS_CAPTURED, HF_REFUNDING},
	{HF_VOIDED, HF_SAYS_AUTHORIZED, HF_VOIDED},
	{HF_VOIDED, HF_SAYS_CAPTURED, HF_REFUNDING},
	{HF_VOIDED, HF_SAYS_DECLINED, HF_VOIDED},
	{HF_UNKNOWN, HF_VOID, HF_VOIDED},
	{HF_UNKNOWN, HF_SAYS_AUTHORIZED, HF_AUTHORIZED},
	{HF_UNKNOWN, HF_SAYS_CAPTURED, HF_CAPTURED},
	{HF_UNKNOWN, HF_SAYS_CAPTURED, HF_REFUNDING},
	{HF_UNKNOWN, HF_SAYS_DECLINED, HF_DECLINED},
};

const char *
hf_state_name(char state)
{
	switch (state)
	{
		case HF_CREATED:
			return "created";
		case HF_AUTHORIZING:
			return "authorizing";
		case HF_AUTHORIZED:
			return "authorized";
		case HF_CAPTURING:
			return "capturing";
		case HF_CAPTURED:
			return "captured";
		case HF_PARTIALLY_REFUNDED:
			return "partially_refunded";
		case HF_REFUNDED:
			return "refunded";
		case HF_REFUNDING:
			return "refunding";
		case HF_DECLINED:
			return "declined";
		case HF_VOIDED:
			return "voided";
		case HF_UNKNOWN:
			return "unknown";
	}
	elog(ERROR, "payment state %d is none", state);
}

const char *
hf_input_name(HfInput input)
{
	static const char *const name[] = {
		[HF_AUTHORIZE] = "authorize",
		[HF_CAPTURE] = "capture",
		[HF_VOID] = "void",
		[HF_REFUND] = "refund",
		[HF_SAYS_AUTHORIZED] = "authorized",
		[HF_SAYS_CAPTURED] = "captured",
		[HF_SAYS_DECLINED] = "declined",
		[HF_SAYS_REFUNDED] = "refunded",
		[HF_SAYS_REFUND_DECLINED] = "refund_declined",
		[HF_SAYS_UNKNOWN] = "unknown",
	};

	return name[input];
}

/* May the payment take its owner's money, or has it? */
bool
hf_state_is_live(char state)
{
	switch (state)
	{
		case HF_AUTHORIZING:
		case HF_AUTHORIZED:
		case HF_CAPTURING:
		case HF_CAPTURED:
		case HF_PARTIALLY_REFUNDED:
		case HF_UNKNOWN:
			return true;
		default:
			return false;
	}
}

/* Does the input lead anywhere from the state? */
bool
hf_state_takes(char state, HfInput input)
{
	for (int i = 0; i < (int) lengthof(transitions); i++)
		if (transitions[i].state == state && transitions[i].input == input)
			return true;
	return false;
}

/* Does it lead there? */
bool
hf_state_may_become(char state, HfInput input, char next)
{
	for (int i = 0; i < (int) lengthof(transitions); i++)
		if (transitions[i].state == state && transitions[i].input == input &&
			transitions[i].next == next)
			return true;
	return false;
}

Datum
holdfast_payment_transitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(transitions); i++)
	{
		Datum values[3] = {CStringGetTextDatum(hf_state_name(transitions[i].state)),
						   CStringGetTextDatum(hf_input_name(transitions[i].input)),
						   CStringGetTextDatum(hf_state_name(transitions[i].next))};
		bool nulls[3] = {0};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
