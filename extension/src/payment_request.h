/*
 * payment_request.h
 *		What is asked of a payment, once per idempotency key.
 */
#ifndef HF_PAYMENT_REQUEST_H
#define HF_PAYMENT_REQUEST_H

#include "fmgr.h"

#include "idempotency.h"
#include "payment_row.h"

/* One request, from its key to its answer. */
typedef struct HfRequest
{
	HfStore *store;
	HfKey key;
	HfPayment payment;
	int32 call;			/* the provider call that has become due, or 0 */
	const char *answer; /* known beforehand, or NULL */
	bool replayed;		/* it was stored before: */
	pg_uuid_t answered_payment;
	const char *answered_state;
} HfRequest;

/* Amounts that one payment may have: a bigint holds the sum of 9,000 of them. */
#define HF_AMOUNT_MAX INT64CONST(1000000000000000)

extern bool hf_request_begin(HfRequest *r, FunctionCallInfo fcinfo, const char *operation,
							 const char *types, const char *answer);
extern char *hf_request_answer(const pg_uuid_t *payment, char state, int32 call);
extern void hf_request_find(HfRequest *r, FunctionCallInfo fcinfo);
extern void hf_request_check_state(const HfRequest *r, HfInput input);
extern Datum hf_request_end(HfRequest *r, FunctionCallInfo fcinfo);

#endif
