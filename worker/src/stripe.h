/*
 * stripe.h
 *		Calls as Stripe takes them, and what its answers mean.
 */
#ifndef HF_STRIPE_H
#define HF_STRIPE_H

#include "call.h"
#include "config.h"

#include <stddef.h>

/* A call is made in one step, or is looked up, and then made if it has not been yet. */
typedef enum HfStripeStep
{
	HF_STRIPE_LOOK,
	HF_STRIPE_MAKE
} HfStripeStep;

extern HfStripeStep hf_stripe_first(const HfCall *call);
extern bool hf_stripe_write(const HfCall *call, HfStripeStep step, char **path, char **form);
extern bool hf_stripe_read(const HfProviderConfig *config, HfCall *call, HfStripeStep step,
						   long status, const char *body, size_t length);

#endif
