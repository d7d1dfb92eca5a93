/*
 * stripe.c
 *		Calls as Stripe takes them, and what its answers mean (README.md has it as a table).
 *
 * A payment is a payment intent, made and confirmed in one request, whose id is the reference of
 * all calls about it but refunds, which have their own.  The call's key is the Idempotency-Key, and
 * in the metadata: there it is found again.
 *
 * The rule is that of answer.c.  But a key is kept for a day only, and answers as it did the first
 * time, be that an error or "processing".  So what was asked for before is looked up first, and
 * made only if it has not been.  Intents can only be searched for, and the search is some time
 * behind: a payment that it does not find is made with its key, which is harmless as long as the
 * key is kept, and the search has caught up long before that is over.  So one that was given up
 * counts as never made only search_delay after it may last have been made: a lease after that.
 */
#include "stripe.h"

#include "answer.h"

#include <jansson.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define KEY_KEPT  (20 * 3600 * 1000LL) /* milliseconds; a little less than a day */
#define REFUNDS	  50				   /* of a payment */
#define UUID_TIME 12				   /* digits of it in a UUID of version 7 */

/* What an object says of the call. */
typedef enum Word
{
	NOTHING,
	NOT_MADE,
	DECLINED,
	PENDING,
	SUCCEEDED
} Word;

/* What is asked for; texts are in `body`. */
typedef struct Asked
{
	json_t *body;
	const char *kind, *method, *order;
	const char *original; /* NULL: none */
} Asked;

/* The member of that name, if it is text; otherwise NULL. */
static const char *
text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static bool
equal(const char *one, const char *other)
{
	return one != NULL && strcmp(one, other) == 0;
}

static Asked
read_asked(const HfCall *call)
{
	Asked asked = {.body = json_loads(call->body, 0, NULL)};

	asked.kind = text_of(asked.body, "kind");
	asked.method = text_of(asked.body, "method");
	asked.order = text_of(asked.body, "order");
	asked.original = text_of(asked.body, "original");
	return asked;
}

/* Is it about an intent that is to be found by its key alone? */
static bool
is_first(const Asked *asked)
{
	return asked->original == NULL;
}

static void
write_escaped(FILE *file, const char *text)
{
	for (const unsigned char *c = (const unsigned char *) text; *c != '\0'; c++)
		if ((*c < 128 && isalnum(*c)) || strchr("-_.~", *c) != NULL)
			fputc(*c, file);
		else
			fprintf(file, "%%%02X", *c);
}

static void
write_field(FILE *file, const char *name, const char *value)
{
	if (ftell(file) > 0)
		fputc('&', file);
	write_escaped(file, name);
	fputc('=', file);
	write_escaped(file, value);
}

/* How old the payment is, by its UUID, in milliseconds; -1 if that does not tell. */
static int64_t
age(const HfCall *call)
{
	struct timespec now;
	int64_t made = 0;
	int digits = 0;

	if (strlen(call->payment) != 36 || call->payment[14] != '7')
		return -1;
	for (const char *c = call->payment; digits < UUID_TIME; c++)
		if (isxdigit((unsigned char) *c))
		{
			made = made * 16 +
				(isdigit((unsigned char) *c) ? *c - '0' : tolower((unsigned char) *c) - 'a' + 10);
			digits++;
		}
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000 - made;
}

/* Is the key of a call that began its payment kept for sure? */
static bool
is_key_kept(const HfCall *call, const Asked *asked)
{
	int64_t of = age(call);

	return is_first(asked) && of >= 0 && of < KEY_KEPT;
}

/* The first step of a call: what was asked for before is looked up. */
HfStripeStep
hf_stripe_first(const HfCall *call)
{
	return call->is_lookup || call->attempt > 1 ? HF_STRIPE_LOOK : HF_STRIPE_MAKE;
}

static void
write_look(const HfCall *call, const Asked *asked, FILE *path)
{
	if (is_first(asked))
	{
		fputs("/payment_intents/search?limit=2&query=", path);
		write_escaped(path, "metadata['holdfast_key']:'");
		write_escaped(path, call->key);
		write_escaped(path, "'");
	}
	else if (equal(asked->kind, "refund"))
	{
		fprintf(path, "/refunds?limit=%d&payment_intent=", REFUNDS);
		write_escaped(path, asked->original);
	}
	else
	{
		fputs("/payment_intents/", path);
		write_escaped(path, asked->original);
	}
}

/* The buyer is not there to authenticate himself: a card that wants it is declined. */
static void
write_intent(const HfCall *call, const Asked *asked, const char *amount, FILE *form)
{
	char currency[sizeof(call->currency)];

	for (size_t i = 0; i < sizeof(currency); i++)
		currency[i] = (char) tolower((unsigned char) call->currency[i]);
	write_field(form, "amount", amount);
	write_field(form, "currency", currency);
	write_field(form, "payment_method", asked->method == NULL ? "" : asked->method);
	write_field(form, "confirm", "true");
	write_field(form, "capture_method", equal(asked->kind, "charge") ? "automatic" : "manual");
	write_field(form, "automatic_payment_methods[enabled]", "true");
	write_field(form, "automatic_payment_methods[allow_redirects]", "never");
	write_field(form, "error_on_requires_action", "true");
	if (asked->order != NULL)
		write_field(form, "metadata[holdfast_order]", asked->order);
	write_field(form, "metadata[holdfast_key]", call->key);
}

static void
write_make(const HfCall *call, const Asked *asked, FILE *path, FILE *form)
{
	char amount[24];

	snprintf(amount, sizeof(amount), "%lld", (long long) call->amount);
	if (is_first(asked))
	{
		fputs("/payment_intents", path);
		write_intent(call, asked, amount, form);
	}
	else if (equal(asked->kind, "refund"))
	{
		fputs("/refunds", path);
		write_field(form, "payment_intent", asked->original);
		write_field(form, "amount", amount);
		write_field(form, "metadata[holdfast_key]", call->key);
	}
	else
	{
		fputs("/payment_intents/", path);
		write_escaped(path, asked->original);
		if (equal(asked->kind, "void"))
		{
			fputs("/cancel", path);
			write_field(form, "cancellation_reason", "abandoned");
			return;
		}
		fputs("/capture", path);
		write_field(form, "amount_to_capture", amount);
		write_field(form, "metadata[holdfast_key]", call->key);
	}
}

/*
 * Writes what a step asks for: the end of the URL, and the form that is posted there, NULL for a
 * GET.  Both are the caller's.  False if there is no memory.
 */
bool
hf_stripe_write(const HfCall *call, HfStripeStep step, char **path, char **form)
{
	Asked asked = read_asked(call);
	char *path_text = NULL, *form_text = NULL;
	size_t path_length = 0, form_length = 0;
	FILE *path_file = open_memstream(&path_text, &path_length);
	FILE *form_file = open_memstream(&form_text, &form_length);
	bool good = asked.body != NULL && path_file != NULL && form_file != NULL;

	if (good && step == HF_STRIPE_LOOK)
		write_look(call, &asked, path_file);
	else if (good)
		write_make(call, &asked, path_file, form_file);
	good = (path_file != NULL && fclose(path_file) == 0) && good;
	good = (form_file != NULL && fclose(form_file) == 0) && good;
	json_decref(asked.body);
	if (!good || step == HF_STRIPE_LOOK)
	{
		free(form_text);
		form_text = NULL;
	}
	if (!good)
	{
		free(path_text);
		path_text = NULL;
	}
	*path = path_text;
	*form = form_text;
	return good;
}

/* Is this object about the call, and not about another of the same payment? */
static bool
is_ours(const HfCall *call, const json_t *object)
{
	return equal(text_of(json_object_get(object, "metadata"), "holdfast_key"), call->key);
}

/* What the state of an intent says about a call that has begun it. */
static Word
intent_begun(const Asked *asked, const json_t *intent, const char *status)
{
	bool looks = equal(asked->kind, "lookup");

	if (equal(status, "requires_capture"))
		return looks || equal(asked->kind, "authorize") ? SUCCEEDED : NOTHING;
	if (equal(status, "succeeded"))
		return looks || equal(asked->kind, "charge") ? SUCCEEDED : NOTHING;
	if (equal(status, "processing"))
		return PENDING;
	if (equal(status, "canceled"))
		return DECLINED;
	/* Without an error it may be under way. */
	return equal(status, "requires_payment_method") &&
			json_is_object(json_object_get(intent, "last_payment_error"))
		? DECLINED
		: NOTHING;
}

/* What the state of an intent says about a call that continues it. */
static Word
intent_continued(const HfCall *call, const Asked *asked, const json_t *intent, const char *status)
{
	bool is_void = equal(asked->kind, "void");

	if (equal(status, "requires_capture"))
		return NOT_MADE;
	if (equal(status, "canceled"))
		return is_void ? SUCCEEDED : DECLINED;
	if (equal(status, "succeeded"))
		return is_void ? DECLINED : is_ours(call, intent) ? SUCCEEDED : NOTHING;
	return equal(status, "processing") && !is_void && is_ours(call, intent) ? PENDING : NOTHING;
}

static Word
refund_word(const char *status)
{
	if (equal(status, "succeeded"))
		return SUCCEEDED;
	if (equal(status, "pending") || equal(status, "requires_action"))
		return PENDING;
	return equal(status, "failed") || equal(status, "canceled") ? DECLINED : NOTHING;
}

/* Does the object speak of another sum than the call? */
static bool
differs(const HfCall *call, const Asked *asked, const json_t *object, Word word)
{
	bool is_captured = word == SUCCEEDED && equal(text_of(object, "status"), "succeeded");
	const json_t *amount = is_captured ? json_object_get(object, "amount_received") : NULL;
	const char *currency = text_of(object, "currency");

	if (amount == NULL && (is_first(asked) || equal(asked->kind, "refund")))
		amount = json_object_get(object, "amount");
	if (json_is_number(amount) &&
		(!json_is_integer(amount) || json_integer_value(amount) != call->amount))
		return true;
	return currency != NULL && strcasecmp(currency, call->currency) != 0;
}

/* Why an intent was declined, in the provider's words. */
static const char *
decline_reason(const json_t *error)
{
	const char *reason = text_of(error, "decline_code");

	if (reason == NULL)
		reason = text_of(error, "code");
	return reason == NULL ? "declined" : reason;
}

/* Takes an object at its word. */
static Word
judge(HfCall *call, const Asked *asked, const json_t *object)
{
	const char *status = text_of(object, "status"), *id = text_of(object, "id");
	const json_t *error = json_object_get(object, "last_payment_error");
	Word word = equal(asked->kind, "refund") ? refund_word(status)
		: is_first(asked)					 ? intent_begun(asked, object, status)
											 : intent_continued(call, asked, object, status);

	if (word == SUCCEEDED || word == PENDING)
	{
		if (differs(call, asked, object, word))
			hf_answer_set(call, HF_UNKNOWN, id, "mismatch");
		else
			hf_answer_set(call, word == PENDING ? HF_PENDING : HF_SUCCEEDED, id, NULL);
	}
	else if (word == DECLINED)
	{
		const char *reason = text_of(object, "failure_reason");

		if (reason == NULL)
			reason = json_is_object(error) ? decline_reason(error) : status;
		hf_answer_set(call, HF_DECLINED, id, reason);
	}
	return word;
}

/* The object about the call among those that were found; NULL if none is. */
static const json_t *
find(const HfCall *call, const json_t *list, unsigned *n)
{
	const json_t *entry, *found = NULL;
	size_t i;

	*n = 0;
	json_array_foreach(list, i, entry)
	{
		if (!is_ours(call, entry))
			continue;
		found = entry;
		(*n)++;
	}
	return found;
}

/* What has been found by looking. */
static Word
judge_found(HfCall *call, const Asked *asked, const json_t *answer)
{
	const json_t *list = json_object_get(answer, "data"), *found;
	unsigned n;

	if (!is_first(asked) && !equal(asked->kind, "refund"))
		return judge(call, asked, answer);
	if (!json_is_array(list))
		return NOTHING;
	found = find(call, list, &n);
	if (n > 1)
	{
		hf_answer_set(call, HF_UNKNOWN, NULL, "made twice");
		return PENDING;
	}
	if (found == NULL)
		return json_is_true(json_object_get(answer, "has_more")) ? NOTHING : NOT_MADE;
	return judge(call, asked, found);
}

/* Is this an error that says of the call that it cannot be made, today or ever? */
static bool
is_refused(long status, const json_t *error)
{
	const char *code = text_of(error, "code"), *param = text_of(error, "param");

	if (status == 402)
		return equal(text_of(error, "type"), "card_error");
	if (status != 400 || !equal(text_of(error, "type"), "invalid_request_error"))
		return false;
	return (param != NULL && strcmp(param, "payment_method") == 0) ||
		equal(code, "amount_too_small") || equal(code, "amount_too_large") ||
		equal(code, "charge_already_refunded");
}

/* Notes what an error says: of the call, of the provider, or nothing. */
static void
judge_error(HfCall *call, const Asked *asked, HfStripeStep step, long status, const json_t *error)
{
	const char *code = text_of(error, "code");
	const json_t *intent = json_object_get(error, "payment_intent");
	Word word = NOTHING;
	char reason[256];

	if (step == HF_STRIPE_MAKE && is_refused(status, error))
	{
		hf_answer_set(call, HF_DECLINED, text_of(intent, "id"), decline_reason(error));
		return;
	}
	if (step == HF_STRIPE_MAKE && equal(code, "payment_intent_unexpected_state"))
		word = judge(call, asked, intent);
	if (word != NOTHING && word != NOT_MADE)
		return;
	snprintf(reason, sizeof(reason), "HTTP %ld%s%.200s", status, code == NULL ? "" : " ",
			 code == NULL ? "" : code);
	hf_answer_set(call, HF_RETRY, NULL, reason);
	call->answer.is_away =
		(status == 401 || status == 403 || status == 404 || status == 429 || status == 503) &&
		!equal(code, "resource_missing") && !equal(code, "lock_timeout");
}

/* Nothing was found of a call that was given up: was it never made? */
static void
judge_missing(const HfProviderConfig *config, HfCall *call, const Asked *asked)
{
	if (!is_first(asked) || call->given_up_for >= (int64_t) config->search_delay + hf_config.lease)
		hf_answer_set(call, HF_DECLINED, NULL, "never_made");
	else
		hf_answer_set(call, HF_RETRY, NULL, "not found");
}

static bool
read_step(const HfProviderConfig *config, HfCall *call, const Asked *asked, HfStripeStep step,
		  long status, const json_t *answer)
{
	Word word = NOTHING;

	if (status / 100 != 2)
		judge_error(call, asked, step, status, json_object_get(answer, "error"));
	else if (step == HF_STRIPE_MAKE)
		word = judge(call, asked, answer);
	else
		word = judge_found(call, asked, answer);
	if (word == NOT_MADE && step == HF_STRIPE_LOOK)
	{
		/* A search may miss what there is: then the key keeps it from being made twice. */
		if (!call->is_lookup && (!is_first(asked) || is_key_kept(call, asked)))
			return false;
		if (!call->is_lookup)
			hf_answer_set(call, HF_RETRY, NULL, "not found, and its key may be forgotten");
		else
			judge_missing(config, call, asked);
	}
	else if (status / 100 == 2 && (word == NOTHING || word == NOT_MADE))
		hf_answer_set(call, HF_RETRY, NULL, "answer without a known status");
	/* Who cannot be searched, or does not say, is asked by the key. */
	return call->is_lookup || step == HF_STRIPE_MAKE || call->answer.outcome != HF_RETRY ||
		!is_key_kept(call, asked);
}

/*
 * Notes what an answer of HTTP means for the call; false if that leads to the next step: it is to
 * be made now.
 */
bool
hf_stripe_read(const HfProviderConfig *config, HfCall *call, HfStripeStep step, long status,
			   const char *body, size_t length)
{
	Asked asked = read_asked(call);
	json_t *answer = json_loadb(body, length, JSON_REJECT_DUPLICATES, NULL);
	bool done = true;

	if (asked.body == NULL)
		hf_answer_none(call, true, "out of memory");
	else
		done = read_step(config, call, &asked, step, status, answer);
	json_decref(answer);
	json_decref(asked.body);
	return done;
}
