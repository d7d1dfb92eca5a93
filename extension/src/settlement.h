/*
 * settlement.h
 *		What follows from what a provider says about a call.
 */
#ifndef HF_SETTLEMENT_H
#define HF_SETTLEMENT_H

#include "call.h"

typedef enum HfOutcome
{
	HF_OUTCOME_PENDING,
	HF_OUTCOME_RETRY,
	HF_OUTCOME_UNKNOWN,
	HF_OUTCOME_DECLINED,
	HF_OUTCOME_SUCCEEDED
} HfOutcome;

extern HfOutcome hf_outcome_read(const char *word);
extern bool hf_settle(HfStore *store, HfPayment *payment, HfCall *call, HfOutcome outcome,
					  Datum reference, Datum reason);

#endif
