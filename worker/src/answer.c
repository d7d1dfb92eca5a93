/*
 * answer.c
 *		What a provider's answer means (README.md has it as a table).
 *
 * The rule: only a word that the provider has said about this call ends it.  Everything else, be it
 * silence, an error or nonsense, says nothing about what was done, perhaps by an attempt before:
 * the call is made again with its key, which is harmless, and is unknown in the end, never failed.
 */
#include "answer.h"

#include <jansson.h>

#include <stdio.h>
#include <string.h>

#define CHARACTERS_MAX 255

/* Copies at most so many characters of UTF-8. */
static void
copy_text(char *to, const char *text)
{
	size_t length = 0;

	for (int i = 0; i < CHARACTERS_MAX && text[length] != '\0'; i++)
		do
			length++;
		while (((unsigned char) text[length] & 0xC0) == 0x80);
	memcpy(to, text, length);
	to[length] = '\0';
}

/* The member of that name, if it is text; otherwise NULL. */
static const char *
member_text(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* Does the answer speak of another sum than the call? */
static bool
differs(const HfCall *call, const json_t *object)
{
	const json_t *amount = json_object_get(object, "amount");
	const char *currency = member_text(object, "currency");

	if (json_is_number(amount) &&
		(!json_is_integer(amount) || json_integer_value(amount) != call->amount))
		return true;
	return currency != NULL && strcmp(currency, call->currency) != 0;
}

/* What the provider says about the call, if he does: HF_RETRY if not. */
static HfOutcome
read_word(const HfCall *call, long status, const json_t *object)
{
	const char *word = member_text(object, "status");

	if (status == 402)
		return HF_DECLINED;
	if (word == NULL)
		return HF_RETRY;
	if (call->is_lookup && (status / 100 == 2 || status == 404) && strcmp(word, "never_made") == 0)
		return HF_DECLINED;
	if (status / 100 != 2)
		return HF_RETRY;
	if (strcmp(word, "succeeded") == 0)
		return HF_SUCCEEDED;
	if (strcmp(word, "declined") == 0)
		return HF_DECLINED;
	return strcmp(word, "pending") == 0 ? HF_PENDING : HF_RETRY;
}

/* Does the provider take no calls at all for now, or none of ours? */
static bool
is_away(long status)
{
	return status == 401 || status == 403 || status == 404 || status == 429 || status == 503;
}

/* Notes what an answer of HTTP means for the call. */
void
hf_answer_read(HfCall *call, long status, const char *body, size_t length)
{
	HfAnswer *answer = &call->answer;
	json_t *object = json_loadb(body, length, JSON_REJECT_DUPLICATES, NULL);
	const char *reference = member_text(object, "reference");
	const char *reason = member_text(object, "reason");

	memset(answer, 0, sizeof(*answer));
	answer->outcome = read_word(call, status, object);
	answer->is_away = answer->outcome == HF_RETRY && is_away(status);
	if (answer->outcome == HF_RETRY)
		snprintf(answer->reason, sizeof(answer->reason),
				 status / 100 == 2 ? "answer without a known status" : "HTTP %ld", status);
	else if (answer->outcome != HF_DECLINED && differs(call, object))
	{
		answer->outcome = HF_UNKNOWN;
		copy_text(answer->reason, "mismatch");
	}
	else if (reason != NULL)
		copy_text(answer->reason, reason);
	else if (answer->outcome == HF_DECLINED)
		copy_text(answer->reason, call->is_lookup ? "never_made" : "declined");
	if (answer->outcome != HF_RETRY && reference != NULL)
		copy_text(answer->reference, reference);
	json_decref(object);
}

/* Notes a word that was said about the call. Texts may be NULL. */
void
hf_answer_set(HfCall *call, HfOutcome outcome, const char *reference, const char *reason)
{
	memset(&call->answer, 0, sizeof(call->answer));
	call->answer.outcome = outcome;
	if (reference != NULL)
		copy_text(call->answer.reference, reference);
	if (reason != NULL)
		copy_text(call->answer.reason, reason);
}

/* Notes that there was no answer. If nothing was sent either, the provider is away. */
void
hf_answer_none(HfCall *call, bool was_sent, const char *reason)
{
	memset(&call->answer, 0, sizeof(call->answer));
	call->answer.outcome = HF_RETRY;
	call->answer.is_away = !was_sent;
	snprintf(call->answer.reason, sizeof(call->answer.reason), "%.250s", reason);
}
