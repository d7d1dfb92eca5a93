/*
 * token_forged.c
 *		Tokens that must not be good.
 *
 * Three kinds: headers and claims that we never write, properly signed with our own secret, which
 * nobody else has, so that only what they say can be wrong with them; the same signed in other ways;
 * and good tokens of which the text was changed.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "forge.h"
#include "unit.h"

#define HEADER	  "{\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"JWT\"}"
#define START	  "{\"iss\":\"https://shop.test\",\"aud\":\"holdfast\",\"jti\":\"x\","
#define TIMES	  "\"iat\":$I,\"exp\":$E"
#define SUBJECT	  "\"sub\":\"42\","
#define PAYLOAD	  START SUBJECT TIMES "}"
#define BASE64URL sodium_base64_VARIANT_URLSAFE_NO_PADDING

static int forged;

/* Replaces $I by the time a minute ago and $E by that in a minute. */
static void
fill_in(char *into, const char *from)
{
	long long time_now = time(NULL);

	for (; *from != '\0'; from++)
		if (*from == '$' && from[1] != '\0')
			into += sprintf(into, "%lld", time_now + (*++from == 'I' ? -60 : 60));
		else
			*into++ = *from;
	*into = '\0';
}

static void
encode(char *into, const void *bytes, size_t length)
{
	sodium_bin2base64(into, sodium_base64_encoded_len(length, BASE64URL), bytes, length, BASE64URL);
}

/* Signs what stands there, in the way that HS256 or HS512 would. */
static void
add_signature(char *token, const unsigned char *secret, size_t length, bool long_one)
{
	unsigned char signature[64];
	crypto_auth_hmacsha256_state state;
	crypto_auth_hmacsha512_state long_state;
	size_t end = strlen(token);

	crypto_auth_hmacsha256_init(&state, secret, length);
	crypto_auth_hmacsha256_update(&state, (unsigned char *) token, end);
	crypto_auth_hmacsha256_final(&state, signature);
	if (long_one)
	{
		crypto_auth_hmacsha512_init(&long_state, secret, length);
		crypto_auth_hmacsha512_update(&long_state, (unsigned char *) token, end);
		crypto_auth_hmacsha512_final(&long_state, signature);
	}
	token[end] = '.';
	encode(token + end + 1, signature, long_one ? 64 : 32);
}

static void
write_unsigned(char *token, const char *header, const char *payload)
{
	char text[4000];

	encode(token, header, strlen(header));
	strcat(token, ".");
	fill_in(text, payload);
	encode(token + strlen(token), text, strlen(text));
}

/* Makes a token of any header and claims; `secret` is that of the file, twice. */
void
sign(char *token, const char *header, const char *payload, const char *secret)
{
	unsigned char bytes[32];
	char twice[65];

	snprintf(twice, sizeof(twice), "%s%s", secret, secret);
	sodium_hex2bin(bytes, sizeof(bytes), twice, 64, NULL, NULL, NULL);
	write_unsigned(token, header, payload);
	add_signature(token, bytes, sizeof(bytes), strstr(header, "HS512") != NULL);
}

static void
expect_bad(const char *token, const char *what)
{
	forged++;
	check(judge(token) == HF_TOKEN_BAD, "%s: %s", what, token);
}

static void
test_headers(void)
{
	static const char *const headers[] = {
		"{\"alg\":\"none\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"None\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"NONE\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"nOnE\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"none\"}",
		"{\"alg\":\"\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":null,\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":256,\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":[\"HS256\"],\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"hs256\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"Hs256\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256 \",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS384\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS512\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"RS256\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"ES256\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"PS256\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"alg\":\"none\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"Alg\":\"none\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"old\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"ne\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"newer\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"NEW\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\\u0000\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"../../../dev/null\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"/proc/sys/kernel/randomize_va_space\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new' UNION SELECT 'x\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\",\"kid\":\"old\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":0,\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"jwt\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"JWE\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"at+jwt\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"JWT\",\"crit\":[\"exp\"]}",
		"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false,\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"},\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"jku\":\"https://evil.test/keys\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"x5u\":\"https://evil.test/c\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"enc\":\"A128GCM\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"JWT\",\"zip\":\"DEF\"}",
		"{ \"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"JWT\"}",
		"{\"typ\":\"JWT\",\"kid\":\"new\",\"alg\":\"HS256\"}",
		"{\"alg\":\"HS256\",\"kid\":\"new\",\"typ\":\"JWT\"} ",
		"[\"HS256\",\"new\",\"JWT\"]",
		"null",
		"",
	};
	char token[8000];

	sign(token, HEADER, PAYLOAD, SECRET);
	check(judge(token) == HF_TOKEN_GOOD, "what the forger makes well is not good");
	sign(token, "{\"alg\":\"HS256\",\"kid\":\"old\",\"typ\":\"JWT\"}", PAYLOAD, OTHER);
	check(judge(token) == HF_TOKEN_GOOD, "what he makes with the old key is not good");
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
	{
		sign(token, headers[i], PAYLOAD, SECRET);
		expect_bad(token, headers[i]);
		*strrchr(token, '.') = '\0';
		strcat(token, ".");
		expect_bad(token, headers[i]);
	}
	claim("no other header than ours is good: %d tokens, signed with our secret and not signed",
		  forged);
}

static void
test_claims(void)
{
	static const char *const payloads[] = {
		START SUBJECT "\"iat\":$I}",
		START SUBJECT "\"iat\":$I,\"exp\":null}",
		START SUBJECT "\"iat\":$I,\"exp\":\"$E\"}",
		START SUBJECT "\"iat\":$I,\"exp\":$E.5}",
		START SUBJECT "\"iat\":$I,\"exp\":$E.0}",
		START SUBJECT "\"iat\":$I,\"exp\":1e12}",
		START SUBJECT "\"iat\":$I,\"exp\":-1}",
		START SUBJECT "\"iat\":$I,\"exp\":-$E}",
		START SUBJECT "\"iat\":$I,\"exp\":0}",
		START SUBJECT "\"iat\":$I,\"exp\":true}",
		START SUBJECT "\"iat\":$I,\"exp\":[$E]}",
		START SUBJECT "\"iat\":$I,\"exp\":{}}",
		START SUBJECT "\"iat\":$I,\"exp\":9223372036854775807}",
		START SUBJECT "\"iat\":$I,\"exp\":18446744073709551616}",
		START SUBJECT "\"iat\":$I,\"exp\":99999999999999999999999999}",
		START SUBJECT "\"iat\":$I,\"exp\":0x7fffffff}",
		START SUBJECT "\"iat\":$I,\"exp\":NaN}",
		START SUBJECT "\"iat\":$I,\"exp\":1,\"exp\":$E}",
		START SUBJECT "\"iat\":$I,\"Exp\":$E}",
		START SUBJECT "\"exp\":$E}",
		START SUBJECT "\"iat\":\"$I\",\"exp\":$E}",
		START SUBJECT "\"iat\":$E,\"exp\":$I}",
		START SUBJECT TIMES ",\"nbf\":$E}",
		START SUBJECT TIMES ",\"nbf\":\"$I\"}",
		START SUBJECT TIMES ",\"nbf\":null}",
		START SUBJECT TIMES ",\"nbf\":$I.5}",
		START SUBJECT TIMES ",\"staff\":\"true\"}",
		START SUBJECT TIMES ",\"staff\":1}",
		START SUBJECT TIMES ",\"sub\":\"43\"}",
		START SUBJECT TIMES ",\"aud\":\"other\"}",
		START TIMES "}",
		START "\"sub\":42," TIMES "}",
		START "\"sub\":null," TIMES "}",
		START "\"sub\":\"\"," TIMES "}",
		START "\"sub\":\"0\"," TIMES "}",
		START "\"sub\":\"-42\"," TIMES "}",
		START "\"sub\":\"+42\"," TIMES "}",
		START "\"sub\":\" 42\"," TIMES "}",
		START "\"sub\":\"42 \"," TIMES "}",
		START "\"sub\":\"042\"," TIMES "}",
		START "\"sub\":\"4.2e1\"," TIMES "}",
		START "\"sub\":\"0x2a\"," TIMES "}",
		START "\"sub\":\"42\\u0000\"," TIMES "}",
		START "\"sub\":\"\\u0664\\u0662\"," TIMES "}",
		START "\"sub\":\"9223372036854775808\"," TIMES "}",
		START "\"sub\":\"18446744073709551658\"," TIMES "}",
		START "\"sub\":\"anna\"," TIMES "}",
		START "\"sub\":[\"42\"]," TIMES "}",
		"{\"iss\":\"https://shop.test\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test\",\"aud\":\"\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test\",\"aud\":\"other\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test\",\"aud\":\"Holdfast\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test\",\"aud\":[\"holdfast\"],\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test\",\"aud\":[],\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"aud\":\"holdfast\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test/\",\"aud\":\"holdfast\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://evil.test\",\"aud\":\"holdfast\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":[\"https://shop.test\"],\"aud\":\"holdfast\",\"jti\":\"x\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test\",\"aud\":\"holdfast\"," SUBJECT TIMES "}",
		"{\"iss\":\"https://shop.test\",\"aud\":\"holdfast\",\"jti\":\"\"," SUBJECT TIMES "}",
		PAYLOAD "x",
		PAYLOAD PAYLOAD,
		"[" PAYLOAD "]",
		"\"" SUBJECT "\"",
		"{}",
		"[]",
		"null",
		"",
		"{\"iss\":\"https://shop.test\",\"aud\":\"holdfast\",\"jti\":\"\xff\"," SUBJECT TIMES "}",
		"{'iss':'https://shop.test'}",
	};
	char token[8000], payload[4000] = "", text[3000];
	int before = forged;

	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++)
	{
		sign(token, HEADER, payloads[i], SECRET);
		expect_bad(token, payloads[i]);
	}
	memset(text, '[', 600);
	text[600] = '\0';
	snprintf(payload, sizeof(payload), START SUBJECT TIMES ",\"x\":%s}", text);
	sign(token, HEADER, payload, SECRET);
	expect_bad(token, "deep claims");
	memset(text, 'x', 700);
	text[700] = '\0';
	snprintf(payload, sizeof(payload), START SUBJECT TIMES ",\"x\":\"%s\"}", text);
	sign(token, HEADER, payload, SECRET);
	expect_bad(token, "a token that is too long");
	claim("claims must be all there, once, and of their types: %d tokens, signed with our secret",
		  forged - before);
	sign(token, HEADER, START SUBJECT "\"iat\":1,\"exp\":2}", SECRET);
	check(judge(token) == HF_TOKEN_EXPIRED, "it is not expired");
	sign(token, HEADER, START SUBJECT TIMES ",\"nbf\":$I,\"scope\":\"x\"}", SECRET);
	check(judge(token) == HF_TOKEN_GOOD, "it is not good");
	claim("what was good and is over is expired; other claims do not matter");
}

/* Claims in our own form are read another way: with a blank before them, as any others. */
static bool
is_read_alike(const char *payload)
{
	char token[2][2000], other[1000];
	HfTokenVerdict verdict[2];
	int64_t account[2] = {0, 0};
	bool staff[2] = {false, false};

	snprintf(other, sizeof(other), " %s", payload);
	for (int i = 0; i < 2; i++)
	{
		HfText text = {token[i], 0};

		sign(token[i], HEADER, i == 0 ? payload : other, SECRET);
		text.length = strlen(token[i]);
		verdict[i] = hf_token_check(&text, &account[i], &staff[i]);
	}
	return verdict[0] == verdict[1] && account[0] == account[1] && staff[0] == staff[1];
}

static void
test_own(void)
{
	static const char *const own[] =
		{"{\"aud\":\"holdfast\",\"exp\":$E,\"iat\":$I,\"iss\":\"https://shop.test\","
		 "\"jti\":\"aZ0-_\",\"sub\":\"42\"}",
		 "{\"aud\":\"holdfast\",\"exp\":$E,\"iat\":$I,\"iss\":\"https://shop.test\","
		 "\"jti\":\"aZ0-_\",\"staff\":true,\"sub\":\"9223372036854775807\"}"};
	char text[500], changed[600];
	int read = 0;

	for (int i = 0; i < 2; i++)
	{
		fill_in(text, own[i]);
		check(is_read_alike(text), "%s", text);
		for (int at = 0; text[at] != '\0'; at++)
			for (const char *c = "\x01 0129\"\\,:{}[]-+.eEsZ\x80"; *c != '\0'; c++)
			{
				snprintf(changed, sizeof(changed), "%.*s%c%s", at, text, *c, text + at + 1);
				check(is_read_alike(changed), "%s", changed);
				snprintf(changed, sizeof(changed), "%.*s%c%s", at, text, *c, text + at);
				check(is_read_alike(changed), "%s", changed);
				snprintf(changed, sizeof(changed), "%.*s%s", at, text, text + at + 1);
				check(is_read_alike(changed), "%s", changed);
				read += 3;
			}
	}
	claim("claims as we write them are read as any others: %d tokens", read);
}

/* The good token, changed. */
static void
test_text(void)
{
	char good[2000], token[8000], *dot, *last;
	HfText text = {token, 0};
	int64_t account;
	bool staff;
	int before = forged;

	sign(good, HEADER, PAYLOAD, SECRET);
	for (size_t i = 0; good[i] != '\0'; i++)
	{
		strcpy(token, good);
		token[i] = token[i] == 'A' ? 'B' : 'A';
		if (strcmp(token, good) != 0)
			expect_bad(token, "a changed character");
		token[i] = '\x80';
		expect_bad(token, "a character that is none");
		token[i] = '\0';
		expect_bad(token, "the beginning alone");
		snprintf(token, sizeof(token), "%.*s.%s", (int) i, good, good + i);
		expect_bad(token, "one more dot");
	}
	for (const char *more = ". =\n\tA-_\x01\xff"; *more != '\0'; more++)
	{
		snprintf(token, sizeof(token), "%s%c", good, *more);
		expect_bad(token, "something behind it");
		snprintf(token, sizeof(token), "%c%s", *more, good);
		expect_bad(token, "something before it");
	}
	/* The last character has bits that no byte is of. */
	strcpy(token, good);
	for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="; *c;
		 c++)
	{
		token[strlen(good) - 1] = *c;
		if (strcmp(token, good) != 0)
			expect_bad(token, "another last character");
	}
	snprintf(token, sizeof(token), "%s.%s", good, good);
	expect_bad(token, "twice");
	snprintf(token, sizeof(token), "Bearer %s", good);
	expect_bad(token, "with its scheme");
	strcpy(token, good);
	dot = strchr(token, '.');
	last = strrchr(token, '.');
	memmove(dot, last, strlen(last) + 1);
	expect_bad(token, "without claims");
	snprintf(token, sizeof(token), "%s", strchr(good, '.'));
	expect_bad(token, "without a header");
	expect_bad("", "nothing");
	expect_bad(".", "a dot");
	expect_bad("..", "two dots");
	expect_bad("...", "three dots");
	claim("no other text than that which was signed is good: %d tokens", forged - before);

	strcpy(token, good);
	memcpy(token + strlen(good) + 1, "x", 2);
	text.length = strlen(good) + 2;
	check(hf_token_check(&text, &account, &staff) == HF_TOKEN_BAD, "a NUL ends it");
	text.length = strlen(good) - 1;
	check(hf_token_check(&text, &account, &staff) == HF_TOKEN_BAD, "its length does not count");
	claim("a token is as long as it is");
}

static void
test_signatures(void)
{
	static const char *const secrets[] = {"", "new", "secret", SECRET, SECRET SECRET, "JWT"};
	char token[8000];
	unsigned char other[32];
	int before = forged;

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
	{
		write_unsigned(token, HEADER, PAYLOAD);
		add_signature(token, (const unsigned char *) secrets[i], strlen(secrets[i]), false);
		expect_bad(token, "another secret");
	}
	sign(token, HEADER, PAYLOAD, OTHER);
	expect_bad(token, "the secret of another key");
	memset(other, 0, sizeof(other));
	write_unsigned(token, HEADER, PAYLOAD);
	add_signature(token, other, sizeof(other), false);
	expect_bad(token, "a secret of zeros");
	sodium_hex2bin(other, sizeof(other), SECRET SECRET, 64, NULL, NULL, NULL);
	write_unsigned(token, HEADER, PAYLOAD);
	add_signature(token, other, sizeof(other), true);
	expect_bad(token, "HMAC of SHA-512");
	write_unsigned(token, HEADER, PAYLOAD);
	strcat(token, ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	expect_bad(token, "a signature of zeros");
	claim("no other signature is good: %d tokens", forged - before);
}

void
test_forged(void)
{
	test_headers();
	test_claims();
	test_own();
	test_signatures();
	test_text();
}
