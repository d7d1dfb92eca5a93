/*
 * token_claims.c
 *		The claims of access tokens (RFC 7519, section 4), once their signature was found good.
 *
 * Nearly all tokens are our own, whose claims stand in one order and without blanks, as libjwt
 * writes them.  Those are read without a parser, because in a sale each buyer comes with a token
 * that was not seen before.
 *
 * Invariants: what is read that way is exactly what reading the JSON would give, or else the JSON
 * is read.  That is strict: no claim twice, each of its type, issuer and audience ours.
 */
#include "token_claims.h"
#include "config.h"
#include "token.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIME_MAX			 INT64_C(253402300799) /* the last second of the year 9999 */
#define BASE64URL_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/* What stands in our own tokens before exp, and between iat and the value of jti. */
static char *beginning, *middle;

static unsigned char value_of[256]; /* of a character of base64url, and 1 */

/* What is left to be read. */
typedef struct Rest
{
	const char *at, *end;
} Rest;

int64_t
hf_token_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec;
}

/* A text as JSON, or NULL. */
static char *
quote(const char *text)
{
	json_t *json = json_string(text);
	char *quoted = json != NULL ? json_dumps(json, JSON_ENCODE_ANY) : NULL;

	json_decref(json);
	return quoted;
}

bool
hf_token_claims_prepare(void)
{
	char *audience = quote(hf_config.token_audience), *issuer = quote(hf_config.token_issuer);
	bool good = audience != NULL && issuer != NULL;

	for (size_t i = 0; BASE64URL_CHARACTERS[i] != '\0'; i++)
		value_of[(unsigned char) BASE64URL_CHARACTERS[i]] = (unsigned char) (i + 1);
	free(beginning);
	free(middle);
	beginning = middle = NULL;
	good = good && asprintf(&beginning, "{\"aud\":%s,\"exp\":", audience) > 0 &&
		asprintf(&middle, ",\"iss\":%s,\"jti\":\"", issuer) > 0;
	free(audience);
	free(issuer);
	return good;
}

/* Reads a positive bigint without sign, blank or leading zero, and with nothing behind it. */
bool
hf_token_read_account(const char *text, size_t length, int64_t *account)
{
	uint64_t value = 0;

	if (length < 1 || length > 19 || text[0] == '0')
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t) (text[i] - '0');
	}
	if (value > INT64_MAX)
		return false;
	*account = (int64_t) value;
	return true;
}

static bool
take(Rest *rest, const char *text)
{
	size_t length = strlen(text);

	if ((size_t) (rest->end - rest->at) < length || memcmp(rest->at, text, length) != 0)
		return false;
	rest->at += length;
	return true;
}

/* Takes a positive number as we write it; that of an account has the same form. */
static bool
take_number(Rest *rest, int64_t *number)
{
	const char *from = rest->at;

	while (rest->at < rest->end && *rest->at >= '0' && *rest->at <= '9')
		rest->at++;
	return hf_token_read_account(from, (size_t) (rest->at - from), number);
}

/* Takes the characters of a jti, one at least. */
static bool
take_word(Rest *rest)
{
	const char *from = rest->at;

	while (rest->at < rest->end && value_of[(unsigned char) *rest->at] != 0)
		rest->at++;
	return rest->at > from;
}

/* Reads claims if they stand as we write them. */
static bool
read_own(const char *text, size_t length, HfTokenClaims *claims)
{
	Rest rest = {text, text + length};
	int64_t issued;

	if (!take(&rest, beginning) || !take_number(&rest, &claims->expires) ||
		!take(&rest, ",\"iat\":") || !take_number(&rest, &issued) || !take(&rest, middle) ||
		!take_word(&rest))
		return false;
	claims->staff = take(&rest, "\",\"staff\":true,\"sub\":\"");
	return (claims->staff || take(&rest, "\",\"sub\":\"")) &&
		take_number(&rest, &claims->account) && take(&rest, "\"}") && rest.at == rest.end &&
		issued < claims->expires && claims->expires <= TIME_MAX;
}

static bool
claim_is(const json_t *claims, const char *name, const char *expected)
{
	const char *value = json_string_value(json_object_get(claims, name));

	return value != NULL && strcmp(value, expected) == 0;
}

/* A claim that is a time: whole seconds of this era. */
static bool
read_time(const json_t *claims, const char *name, int64_t *value)
{
	const json_t *claim = json_object_get(claims, name);

	*value = json_integer_value(claim); /* 0 of anything else */
	return *value > 0 && *value <= TIME_MAX;
}

static bool
judge_claims(const json_t *json, HfTokenClaims *claims)
{
	const json_t *subject = json_object_get(json, "sub");
	const json_t *staff = json_object_get(json, "staff");
	int64_t issued, from;

	claims->staff = json_is_true(staff);
	return json_is_object(json) && (staff == NULL || json_is_boolean(staff)) &&
		claim_is(json, "iss", hf_config.token_issuer) &&
		claim_is(json, "aud", hf_config.token_audience) && json_is_string(subject) &&
		hf_token_read_account(json_string_value(subject), json_string_length(subject),
							  &claims->account) &&
		json_string_length(json_object_get(json, "jti")) > 0 && read_time(json, "iat", &issued) &&
		read_time(json, "exp", &claims->expires) && issued < claims->expires &&
		(json_object_get(json, "nbf") == NULL ||
		 (read_time(json, "nbf", &from) && from <= hf_token_now()));
}

/*
 * Decodes base64url, of which nothing is secret here, strictly (RFC 4648, section 3.5); false if it
 * is anything else.  libsodium's takes as long whatever it decodes, and so longer.
 */
static bool
decode(char *to, size_t room, const char *from, size_t length, size_t *used)
{
	unsigned bits = 0;
	int n = 0;

	*used = 0;
	for (size_t i = 0; i < length; i++)
	{
		unsigned char value = value_of[(unsigned char) from[i]];

		if (value == 0 || *used == room)
			return false;
		bits = (bits & 0xff) << 6 | (value - 1u);
		n += 6;
		if (n >= 8)
		{
			n -= 8;
			to[(*used)++] = (char) (bits >> n);
		}
	}
	return n < 6 && (bits & ((1u << n) - 1)) == 0;
}

bool
hf_token_claims_read(const char *payload, size_t payload_length, HfTokenClaims *claims)
{
	char text[HF_TOKEN_ACCESS_MAX];
	size_t length;
	json_t *json;
	bool good;

	if (!decode(text, sizeof(text), payload, payload_length, &length))
		return false;
	if (read_own(text, length, claims))
		return true;
	json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	good = json != NULL && judge_claims(json, claims);
	json_decref(json);
	return good;
}
