/*
 * signature.c
 *		Signatures of webhooks: made, and verified in constant time.
 *
 * Both schemes are HMAC-SHA256 over the raw bytes of the body, with the time in front:
 *
 *		standard	Standard Webhooks 1.0: id "." timestamp "." body, in base64.  The header
 *					webhook-signature is a list of version "," signature, separated by spaces.
 *					The key is the secret without "whsec_", decoded: 24 to 64 bytes.
 *		stripe		timestamp "." body, in lower-case hexadecimal.  The header Stripe-Signature
 *					is t=timestamp,v1=signature,...  The key is the secret as it is.
 *
 * Only version v1 counts: v1a, v0 and what may come later are passed over, so that nobody can
 * choose a weaker one.  A header may have several signatures, and there may be several secrets,
 * while a secret is exchanged: one pair that fits is enough.
 *
 * A signature is compared as text, in the one spelling that its scheme prescribes, so there is
 * nothing to decode in what a stranger has sent.  What has not the length of a signature is none: a
 * header in which no v1 signature is left, as when it was cut off, is malformed (HF036).  One that
 * no secret has made is a mismatch (HF037), however old it is: the time is looked at (HF038) only
 * when the signature is good, and then it is one that was signed.  All secrets are tried in any
 * case.  The id has no full stop (Standard Webhooks, "Signature scheme"): otherwise parts of it
 * could be taken for the timestamp, or for the body.
 *
 * No error says anything of a secret, a signature or a body.  There is no state and no lock.
 */
#include "postgres.h"

#include "common/base64.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "signature.h"

/* Longer headers than this are not looked at. */
#define HF_HEADER_MAX	  4096
#define HF_WEBHOOK_ID_MAX 255

#define HF_BASE64_LENGTH 44
#define HF_HEX_LENGTH	 (2 * PG_SHA256_DIGEST_LENGTH)

/* "v1", a separator and a signature: no header has more of them. */
#define HF_SIGNATURES_MAX (HF_HEADER_MAX / (3 + HF_BASE64_LENGTH))

#define HF_SECRET_PREFIX "whsec_"
#define HF_KEY_MIN		 24
#define HF_KEY_MAX		 64

typedef struct HfHeader
{
	char *timestamp; /* of HF_STRIPE */
	int n;
	const char *signature[HF_SIGNATURES_MAX]; /* not terminated, but of the right length */
} HfHeader;

static void hf_signature_malformed(const char *detail) pg_attribute_noreturn();

static void
hf_signature_malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_SIGNATURE_MALFORMED), errmsg("malformed webhook headers"),
			 errdetail("%s", detail), errhint("Pass the headers as they were received.")));
	pg_unreachable();
}

/* The scheme of that name.  No error repeats the word: it may be a secret in the wrong place. */
HfScheme
hf_signature_scheme(const char *word)
{
	if (strcmp(word, "standard") == 0)
		return HF_STANDARD;
	if (strcmp(word, "stripe") == 0)
		return HF_STRIPE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown scheme"),
			 errhint("Schemes are standard and stripe.")));
	pg_unreachable();
}

/* What is wrong with an id, or NULL. */
static const char *
hf_webhook_id_fault(const char *id)
{
	size_t length = strlen(id);

	if (length == 0)
		return "There is no id.";
	if (length > HF_WEBHOOK_ID_MAX)
		return "The id is longer than 255 bytes.";
	for (const char *c = id; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~' || *c == '.')
			return "The id has a full stop, or what is not visible ASCII.";
	return NULL;
}

/* Seconds since 1970 in digits, or -1. */
static int64
hf_webhook_seconds(const char *timestamp)
{
	int64 seconds = 0;

	if (*timestamp == '\0')
		return -1;
	for (const char *c = timestamp; *c != '\0'; c++)
	{
		if (*c < '0' || *c > '9')
			return -1;
		seconds = 10 * seconds + (*c - '0');
		if (seconds > HF_WEBHOOK_SECONDS_MAX)
			return -1;
	}
	return seconds;
}

/* Writes the key that a secret stands for; returns its length, or -1 if there is none. */
static int
hf_standard_key(const char *secret, uint8 *key)
{
	int length;

	if (strncmp(secret, HF_SECRET_PREFIX, strlen(HF_SECRET_PREFIX)) == 0)
		secret += strlen(HF_SECRET_PREFIX);
	length = pg_b64_decode(secret, strlen(secret), (char *) key, HF_KEY_MAX);
	return length >= HF_KEY_MIN ? length : -1;
}

/* Adds a part of what is signed and the full stop after it. */
static bool
hf_hmac_part(pg_hmac_ctx *hmac, const char *part)
{
	return pg_hmac_update(hmac, (const uint8 *) part, strlen(part)) >= 0 &&
		pg_hmac_update(hmac, (const uint8 *) ".", 1) >= 0;
}

static void
hf_hmac(const HfWebhook *webhook, const uint8 *key, size_t length, uint8 *digest)
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	bool done;

	done = hmac != NULL && pg_hmac_init(hmac, key, length) >= 0 &&
		(webhook->scheme == HF_STRIPE || hf_hmac_part(hmac, webhook->id)) &&
		hf_hmac_part(hmac, webhook->timestamp) &&
		pg_hmac_update(hmac, (const uint8 *) webhook->body, webhook->length) >= 0 &&
		pg_hmac_final(hmac, digest, PG_SHA256_DIGEST_LENGTH) >= 0;
	pg_hmac_free(hmac);
	if (!done)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a signature")));
}

static int
hf_signature_length(HfScheme scheme)
{
	return scheme == HF_STANDARD ? HF_BASE64_LENGTH : HF_HEX_LENGTH;
}

/* Writes the signature of a webhook by a secret, hf_signature_length() bytes, and terminates it. */
static void
hf_signature_compute(const HfWebhook *webhook, const char *secret, char *text)
{
	uint8 key[HF_KEY_MAX];
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	int length;

	if (webhook->scheme == HF_STRIPE)
	{
		if (*secret == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("malformed secret"),
					 errdetail("It is empty.")));
		hf_hmac(webhook, (const uint8 *) secret, strlen(secret), digest);
		hex_encode((const char *) digest, sizeof(digest), text);
	}
	else
	{
		length = hf_standard_key(secret, key);
		if (length < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("malformed secret"),
					 errdetail("It must be \"%s\" and %d to %d bytes in base64.", HF_SECRET_PREFIX,
							   HF_KEY_MIN, HF_KEY_MAX)));
		hf_hmac(webhook, key, length, digest);
		pg_b64_encode((const char *) digest, sizeof(digest), text, HF_BASE64_LENGTH);
	}
	text[hf_signature_length(webhook->scheme)] = '\0';
}

/* The header that carries the signature.  Refuses a secret, an id that is none with 22023. */
char *
hf_signature_make(const HfWebhook *webhook, const char *secret)
{
	char text[HF_HEX_LENGTH + 1];
	const char *fault = webhook->scheme == HF_STANDARD ? hf_webhook_id_fault(webhook->id) : NULL;

	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("malformed id"),
				 errdetail("%s", fault)));
	Assert(hf_webhook_seconds(webhook->timestamp) >= 0);
	hf_signature_compute(webhook, secret, text);
	if (webhook->scheme == HF_STANDARD)
		return psprintf("v1,%s", text);
	return psprintf("t=%s,v1=%s", webhook->timestamp, text);
}

static void
hf_header_read_standard(HfHeader *header, const char *text)
{
	size_t length;

	for (const char *word = text;; word += length + 1)
	{
		length = strcspn(word, " ");
		if (length == 3 + HF_BASE64_LENGTH && strncmp(word, "v1,", 3) == 0)
			header->signature[header->n++] = word + 3;
		if (word[length] == '\0')
			break;
	}
}

static void
hf_header_read_stripe(HfHeader *header, const char *text)
{
	size_t length;

	for (const char *word = text;; word += length + 1)
	{
		length = strcspn(word, ",");
		if (memchr(word, '=', length) == NULL)
			hf_signature_malformed("A part of the signature header is no name=value.");
		if (strncmp(word, "t=", 2) == 0)
		{
			if (header->timestamp != NULL)
				hf_signature_malformed("The signature header has two timestamps.");
			header->timestamp = pnstrdup(word + 2, length - 2);
		}
		else if (length == 3 + HF_HEX_LENGTH && strncmp(word, "v1=", 3) == 0)
			header->signature[header->n++] = word + 3;
		if (word[length] == '\0')
			break;
	}
}

/* Whether the bytes are the same, in a time that does not tell where they differ. */
static bool
hf_signature_is(const char *a, const char *b, int length)
{
	volatile uint8 difference = 0;

	for (int i = 0; i < length; i++)
		difference |= (uint8) a[i] ^ (uint8) b[i];
	return difference == 0;
}

/* Whether one of the secrets has made one of the header's signatures.  Tries all of them. */
static bool
hf_header_fits(const HfHeader *header, const HfWebhook *webhook, char *const *secrets, int nsecrets)
{
	char text[HF_HEX_LENGTH + 1];
	bool fits = false;

	for (int i = 0; i < nsecrets; i++)
	{
		CHECK_FOR_INTERRUPTS();
		hf_signature_compute(webhook, secrets[i], text);
		for (int j = 0; j < header->n; j++)
			fits |=
				hf_signature_is(header->signature[j], text, hf_signature_length(webhook->scheme));
	}
	return fits;
}

/*
 * Raises HF038 unless the time is within the window, its ends included.  The difference is reckoned
 * as a double, which bears any two times and is exact to the microsecond for 285 years.
 */
static void
hf_webhook_check_time(int64 seconds, const HfTimeWindow *window)
{
	int64 epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
	TimestampTz signed_at = (seconds - epoch) * USECS_PER_SEC;
	double age = (double) window->now - (double) signed_at;

	if (Abs(age) <= window->tolerance)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_HF_SIGNATURE_STALE),
			 age > 0 ? errmsg("webhook is too old") : errmsg("webhook is from the future"),
			 errdetail("It was signed at %s, %.15g seconds %s; %.15g are allowed.",
					   timestamptz_to_str(signed_at), Abs(age) / USECS_PER_SEC,
					   age > 0 ? "ago" : "ahead", window->tolerance / USECS_PER_SEC),
			 errhint("Let it be sent again, and see whether the clocks are right.")));
}

/*
 * Returns if the webhook was signed with one of the secrets, at a time within the window.  Raises
 * HF036 if the headers are malformed, HF037 if no signature fits, HF038 if it is too old or from
 * the future, 22023 if one of the secrets is none.
 */
void
hf_signature_verify(const HfWebhook *webhook, const char *header, char *const *secrets,
					int nsecrets, const HfTimeWindow *window)
{
	HfHeader read = {0};
	HfWebhook signed_as = *webhook;
	const char *fault;
	int64 seconds;

	if (strlen(header) > HF_HEADER_MAX)
		hf_signature_malformed("The signature header is longer than 4096 bytes.");
	if (webhook->scheme == HF_STANDARD)
	{
		fault = hf_webhook_id_fault(webhook->id);
		if (fault != NULL)
			hf_signature_malformed(fault);
		hf_header_read_standard(&read, header);
	}
	else
	{
		hf_header_read_stripe(&read, header);
		signed_as.timestamp = read.timestamp;
	}
	if (signed_as.timestamp == NULL)
		hf_signature_malformed("The signature header has no timestamp.");
	seconds = hf_webhook_seconds(signed_as.timestamp);
	if (seconds < 0)
		hf_signature_malformed("The timestamp is not a number of seconds of 1 to 12 digits.");
	if (read.n == 0)
		hf_signature_malformed("The signature header has no v1 signature that is whole.");

	if (!hf_header_fits(&read, &signed_as, secrets, nsecrets))
		ereport(ERROR,
				(errcode(ERRCODE_HF_SIGNATURE_MISMATCH), errmsg("no signature fits"),
				 errdetail("Signatures: %d. Secrets: %d.", read.n, nsecrets),
				 errhint("The body must be the bytes that were received, the secret that of the "
						 "endpoint.")));
	hf_webhook_check_time(seconds, window);
}
