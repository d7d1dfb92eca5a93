/*
 * token.c
 *		Access tokens (JWT, RFC 7519) and opaque secrets.
 *
 * There is one algorithm, HS256.  Keys come from a file, which is read in the parent before the
 * workers are forked; its first key signs, all of them verify.
 *
 * Invariants: libjwt writes tokens and is not asked whether one is good, because its decoder goes
 * by what the token says of itself, reads claims before it has seen a signature, and takes the last
 * of two claims of one name.  The header of a token that we read must be byte for byte the one that
 * libjwt writes for one of our keys; this chooses the key, and leaves nothing in a header to be
 * believed.  Claims are parsed only after the signature was found good, and strictly.  Good tokens
 * are remembered, a bounded number of them, by their whole text; one is forgotten when another
 * takes its place (that which expires first), and expires when its time has come all the same.
 */
#include "token.h"
#include "config.h"
#include "refuse.h"
#include "token_claims.h"

#include <errno.h>
#include <jwt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEYS_MAX		16
#define KID_MAX			32
#define SECRET_MIN		32 /* bytes: as long as what HS256 makes (RFC 7518, section 3.2) */
#define SECRET_MAX		64
#define LINE_MAX_LENGTH 512
#define JTI_BYTES		16
#define SIGNATURE_BYTES crypto_auth_hmacsha256_BYTES

#define SETS		   512
#define WAYS		   4
#define REMEMBERED_MAX 512 /* bytes of a token that is remembered: a multiple of 64 */

#define BASE64URL			 sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define BASE64URL_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define SIGNATURE_LENGTH	 43 /* characters */

typedef struct Key
{
	char kid[KID_MAX + 1];
	unsigned char secret[SECRET_MAX];
	size_t length;
	char header[HF_TOKEN_ACCESS_MAX]; /* of its tokens, encoded, with the dot behind it */
	size_t header_length;
	crypto_auth_hmacsha256_state begun; /* with the secret */
} Key;

/* A token that was good, with zeros behind it. */
typedef struct Remembered
{
	uint64_t hash;
	size_t length; /* 0: none */
	HfTokenClaims claims;
	char text[REMEMBERED_MAX];
} Remembered;

static Key key[KEYS_MAX];
static size_t keys;
static Remembered remembered[SETS][WAYS];
static unsigned char remember_key[crypto_shorthash_KEYBYTES];

/*
 * Writes a token that a key signs.  False if memory is short or it would be too long: issuer and
 * audience are of the configuration.
 */
static bool
write_token(char token[HF_TOKEN_ACCESS_MAX + 1], const Key *with, int64_t account, bool staff)
{
	unsigned char random[JTI_BYTES];
	char jti[sodium_base64_ENCODED_LEN(JTI_BYTES, BASE64URL)];
	char subject[24];
	int64_t issued = hf_token_now();
	char *text = NULL;
	jwt_t *jwt;
	bool good;

	if (jwt_new(&jwt) != 0)
		return false;
	randombytes_buf(random, sizeof(random));
	sodium_bin2base64(jti, sizeof(jti), random, sizeof(random), BASE64URL);
	snprintf(subject, sizeof(subject), "%lld", (long long) account);
	good = jwt_set_alg(jwt, JWT_ALG_HS256, with->secret, (int) with->length) == 0 &&
		jwt_add_header(jwt, "kid", with->kid) == 0 &&
		jwt_add_grant(jwt, "iss", hf_config.token_issuer) == 0 &&
		jwt_add_grant(jwt, "aud", hf_config.token_audience) == 0 &&
		jwt_add_grant(jwt, "sub", subject) == 0 && jwt_add_grant_int(jwt, "iat", issued) == 0 &&
		jwt_add_grant_int(jwt, "exp", issued + hf_config.token_ttl / 1000) == 0 &&
		jwt_add_grant(jwt, "jti", jti) == 0 &&
		(!staff || jwt_add_grant_bool(jwt, "staff", 1) == 0) &&
		(text = jwt_encode_str(jwt)) != NULL && strlen(text) <= HF_TOKEN_ACCESS_MAX;
	if (good)
		memcpy(token, text, strlen(text) + 1);
	free(text);
	jwt_free(jwt);
	return good;
}

/* Reads a secret: hex if it can be that, else base64url. */
static bool
read_secret(Key *into, const char *text)
{
	size_t length = strlen(text);
	const char *end;

	if (length % 2 == 0 && strspn(text, "0123456789abcdefABCDEF") == length)
		return sodium_hex2bin(into->secret, SECRET_MAX, text, length, NULL, &into->length, NULL) ==
			0;
	return sodium_base642bin(into->secret, SECRET_MAX, text, length, NULL, &into->length, &end,
							 BASE64URL) == 0 &&
		*end == '\0';
}

/* Takes a line of the file: a kid and a secret, a comment, or nothing. */
static bool
read_line(char *line, const char *where, char *error, size_t room)
{
	char *rest;
	const char *kid = strtok_r(line, " \t\r\n", &rest);
	const char *secret = strtok_r(NULL, " \t\r\n", &rest);
	Key *into = &key[keys];

	if (kid == NULL || kid[0] == '#')
		return true;
	if (keys == KEYS_MAX)
		return hf_refuse(error, room, "%s: more than %d keys", where, KEYS_MAX);
	if (secret == NULL || strtok_r(NULL, " \t\r\n", &rest) != NULL)
		return hf_refuse(error, room, "%s: wanted: a key's id and its secret", where);
	if (strlen(kid) > KID_MAX || strspn(kid, BASE64URL_CHARACTERS) != strlen(kid))
		return hf_refuse(error, room, "%s: an id is 1 to %d letters, digits, - and _", where,
						 KID_MAX);
	for (size_t i = 0; i < keys; i++)
		if (strcmp(key[i].kid, kid) == 0)
			return hf_refuse(error, room, "%s: there is another key %s", where, kid);
	if (!read_secret(into, secret) || into->length < SECRET_MIN)
		return hf_refuse(error, room, "%s: a secret is %d to %d bytes in hex or base64url", where,
						 SECRET_MIN, SECRET_MAX);
	snprintf(into->kid, sizeof(into->kid), "%s", kid);
	keys++;
	return true;
}

static bool
read_lines(FILE *file, const char *path, char *error, size_t room)
{
	char line[LINE_MAX_LENGTH], where[LINE_MAX_LENGTH];
	bool good = true;

	for (int number = 1; good && fgets(line, sizeof(line), file) != NULL; number++)
	{
		snprintf(where, sizeof(where), "%s, line %d", path, number);
		good = strlen(line) < sizeof(line) - 1
			? read_line(line, where, error, room)
			: hf_refuse(error, room, "%s: the line is too long", where);
	}
	sodium_memzero(line, sizeof(line));
	if (good && ferror(file))
		return hf_refuse(error, room, "cannot read %s: %s", path, strerror(errno));
	if (good && keys == 0)
		return hf_refuse(error, room, "%s: there is no key", path);
	return good;
}

/* Finds out what header the tokens of a key have. */
static bool
prepare_key(Key *of)
{
	char token[HF_TOKEN_ACCESS_MAX + 1];

	if (!write_token(token, of, INT64_MAX, true))
		return false;
	crypto_auth_hmacsha256_init(&of->begun, of->secret, of->length);
	of->header_length = strcspn(token, ".") + 1;
	memcpy(of->header, token, of->header_length);
	sodium_memzero(token, sizeof(token));
	return true;
}

/*
 * Reads the file of keys, after the configuration and before the workers are forked.  A line is a
 * key's id and its secret of 32 to 64 bytes, in hex or base64url; or a comment after #.  The first
 * key signs.  Others than the file's owner and group must have no right to it.
 */
bool
hf_token_load_keys(const char *path, char *error, size_t room)
{
	struct stat status;
	FILE *file;
	bool good = false;

	if (sodium_init() < 0)
		return hf_refuse(error, room, "libsodium cannot be used");
	sodium_memzero(key, sizeof(key));
	sodium_memzero(remembered, sizeof(remembered));
	keys = 0;
	crypto_shorthash_keygen(remember_key);
	file = fopen(path, "re");
	if (file == NULL)
		return hf_refuse(error, room, "cannot open %s: %s", path, strerror(errno));
	if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode))
		hf_refuse(error, room, "%s is no file", path);
	else if ((status.st_mode & S_IRWXO) != 0)
		hf_refuse(error, room, "%s is open to others than its owner and group: chmod o= %s", path,
				  path);
	else
		good = read_lines(file, path, error, room);
	fclose(file);
	if (good && !hf_token_claims_prepare())
		good = hf_refuse(error, room, "out of memory");
	for (size_t i = 0; good && i < keys; i++)
		good = prepare_key(&key[i]) ||
			hf_refuse(error, room, "token_issuer and token_audience make tokens too long");
	if (!good)
		keys = 0;
	return good;
}

/*
 * Makes a secret of up to 64 bytes for a purpose of its own out of a key, of which number 0 is the
 * one that signs; false if there are not so many.  It tells nothing of the key.
 */
bool
hf_token_derive(size_t number, const char *purpose, unsigned char *secret, size_t length)
{
	return number < keys &&
		crypto_generichash(secret, length, (const unsigned char *) purpose, strlen(purpose),
						   key[number].secret, key[number].length) == 0;
}

/*
 * Writes a new token for an account, which may be staff: that only says where its answers come
 * from, never what it may do.  False if memory is short.
 */
bool
hf_token_issue(char token[HF_TOKEN_ACCESS_MAX + 1], int64_t account, bool staff)
{
	return keys > 0 && write_token(token, &key[0], account, staff);
}

/* The key that a token's header is of, or NULL. */
static const Key *
find_key(const HfText *token)
{
	for (size_t i = 0; i < keys; i++)
		if (token->length > key[i].header_length &&
			memcmp(token->data, key[i].header, key[i].header_length) == 0)
			return &key[i];
	return NULL;
}

/*
 * Is the token signed with this key, in just the characters that we would write?  `length` is that
 * of what is signed: header, dot, payload.
 */
static bool
is_signed(const HfText *token, size_t length, const Key *with)
{
	unsigned char signature[SIGNATURE_BYTES];
	char expected[SIGNATURE_LENGTH + 1];
	crypto_auth_hmacsha256_state state = with->begun;

	crypto_auth_hmacsha256_update(&state, (const unsigned char *) token->data, length);
	crypto_auth_hmacsha256_final(&state, signature);
	sodium_bin2base64(expected, sizeof(expected), signature, sizeof(signature), BASE64URL);
	sodium_memzero(&state, sizeof(state));
	return sodium_memcmp(expected, token->data + length + 1, SIGNATURE_LENGTH) == 0;
}

/* Judges a token by itself, but for its time. */
static bool
read_token(const HfText *token, HfTokenClaims *claims)
{
	const Key *with = find_key(token);
	const char *payload, *dot;

	if (with == NULL)
		return false;
	payload = token->data + with->header_length;
	dot = memchr(payload, '.', token->length - with->header_length);
	if (dot == NULL || token->length - (size_t) (dot - token->data) - 1 != SIGNATURE_LENGTH)
		return false;
	return is_signed(token, (size_t) (dot - token->data), with) &&
		hf_token_claims_read(payload, (size_t) (dot - payload), claims);
}

/* Does this text stand there?  Takes as long wherever they differ. */
static bool
is_remembered(const Remembered *place, const HfText *token)
{
	unsigned char text[REMEMBERED_MAX] = {0};
	int different = 0;

	memcpy(text, token->data, token->length);
	for (size_t i = 0; i < token->length; i += crypto_verify_64_BYTES)
		different |= crypto_verify_64(text + i, (const unsigned char *) place->text + i);
	return different == 0;
}

/* The claims of a token, from memory or by reading it; false if it is bad. */
static bool
know_token(const HfText *token, HfTokenClaims *claims)
{
	Remembered *set, *place;
	uint64_t hash;

	crypto_shorthash((unsigned char *) &hash, (const unsigned char *) token->data, token->length,
					 remember_key);
	set = place = remembered[hash % SETS];
	for (int i = 0; i < WAYS; i++)
	{
		if (set[i].hash == hash && set[i].length == token->length && is_remembered(&set[i], token))
		{
			*claims = set[i].claims;
			return true;
		}
		if (set[i].claims.expires < place->claims.expires)
			place = &set[i];
	}
	if (!read_token(token, claims))
		return false;
	if (token->length <= REMEMBERED_MAX)
	{
		*place = (Remembered){hash, token->length, *claims, {0}};
		memcpy(place->text, token->data, token->length);
	}
	return true;
}

/*
 * Judges an access token by CLOCK_REALTIME, to the second.  Account and staff are set if it is
 * good.  Whether the account still exists and may do anything is the database's to say.
 */
HfTokenVerdict
hf_token_check(const HfText *token, int64_t *account, bool *staff)
{
	HfTokenClaims claims;

	if (token->length == 0 || token->length > HF_TOKEN_ACCESS_MAX || !know_token(token, &claims))
		return HF_TOKEN_BAD;
	if (hf_token_now() >= claims.expires)
		return HF_TOKEN_EXPIRED;
	*account = claims.account;
	*staff = claims.staff;
	return HF_TOKEN_GOOD;
}

static void
hash_secret(HfTokenOpaque *opaque, const char *secret)
{
	crypto_hash_sha256(opaque->hash, (const unsigned char *) secret, HF_TOKEN_SECRET_MAX);
}

/* Makes a new secret for an account. */
void
hf_token_new_opaque(HfTokenOpaque *opaque, int64_t account)
{
	unsigned char random[32];
	char secret[sodium_base64_ENCODED_LEN(sizeof(random), BASE64URL)];

	randombytes_buf(random, sizeof(random));
	sodium_bin2base64(secret, sizeof(secret), random, sizeof(random), BASE64URL);
	opaque->account = account;
	snprintf(opaque->text, sizeof(opaque->text), "%lld.%s", (long long) account, secret);
	hash_secret(opaque, secret);
	sodium_memzero(random, sizeof(random));
	sodium_memzero(secret, sizeof(secret));
}

/* Reads what hf_token_new_opaque() wrote; false if it is anything else. */
bool
hf_token_read_opaque(HfTokenOpaque *opaque, const HfText *text)
{
	size_t digits;

	if (text->length <= HF_TOKEN_SECRET_MAX + 1 || text->length > HF_TOKEN_OPAQUE_MAX)
		return false;
	digits = text->length - HF_TOKEN_SECRET_MAX - 1;
	if (text->data[digits] != '.' || !hf_token_read_account(text->data, digits, &opaque->account))
		return false;
	memcpy(opaque->text, text->data, text->length);
	opaque->text[text->length] = '\0';
	if (strspn(opaque->text + digits + 1, BASE64URL_CHARACTERS) != HF_TOKEN_SECRET_MAX)
		return false;
	hash_secret(opaque, opaque->text + digits + 1);
	return true;
}
