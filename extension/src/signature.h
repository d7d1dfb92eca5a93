/*
 * signature.h
 *		Signatures of webhooks.
 */
#ifndef HF_SIGNATURE_H
#define HF_SIGNATURE_H

#include "datatype/timestamp.h"

/* Seconds since 1970 have at most 12 digits: whoever sends more counts milliseconds. */
#define HF_WEBHOOK_SECONDS_MAX INT64CONST(999999999999)

typedef enum HfScheme
{
	HF_STANDARD, /* Standard Webhooks 1.0 */
	HF_STRIPE
} HfScheme;

/* What is signed. */
typedef struct HfWebhook
{
	HfScheme scheme;
	const char *id;		   /* header webhook-id; HF_STRIPE: not looked at */
	const char *timestamp; /* seconds since 1970, in digits; to verify HF_STRIPE: not looked at */
	const char *body;	   /* any bytes */
	size_t length;
} HfWebhook;

/* When it may have been signed: so long before or after now. */
typedef struct HfTimeWindow
{
	TimestampTz now;
	double tolerance; /* microseconds */
} HfTimeWindow;

extern HfScheme hf_signature_scheme(const char *word);
extern char *hf_signature_make(const HfWebhook *webhook, const char *secret);
extern void hf_signature_verify(const HfWebhook *webhook, const char *header, char *const *secrets,
								int nsecrets, const HfTimeWindow *window);

#endif
