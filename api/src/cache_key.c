/*
 * cache_key.c
 *		Makes the text of cache keys as the extension does: docs/cache-protocol.md, "Keys".
 *
 * Invariants: two rows with different values in a template's columns have different keys, as long
 * as literal text that no value can contain stands between the columns; a key is printable and has
 * no NUL, blank or brace.  No memory is allocated but by libcrypto for the digest of a long key,
 * and however long the values are, no copy of them is made.
 */
#include "cache_key.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static const char tag_begin[] = "tag:";
static const char hash_begin[] = "sha256:";

/* Where the text of a key goes: its first bytes into a buffer, or all of it through a digest. */
typedef struct Sink
{
	char buffer[HF_CACHE_KEY_MAX];
	size_t used;
	size_t length; /* of all that was put */
	EVP_MD_CTX *digest;
	bool failed;
} Sink;

static void
sink_flush(Sink *sink)
{
	if (EVP_DigestUpdate(sink->digest, sink->buffer, sink->used) != 1)
		sink->failed = true;
	sink->used = 0;
}

static void
sink_put(Sink *sink, char c)
{
	if (sink->digest != NULL && sink->used == sizeof(sink->buffer))
		sink_flush(sink);
	if (sink->used < sizeof(sink->buffer))
		sink->buffer[sink->used++] = c;
	sink->length++;
}

/* Puts a column's text, escaped as in RFC 3986, section 2.1; of NULL, what no text can be. */
static void
put_value(Sink *sink, const HfText *value)
{
	static const char hex[] = "0123456789ABCDEF";
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	static const HfText null = {"", 1};

	if (value->data == NULL)
		value = &null;
	for (size_t i = 0; i < value->length; i++)
	{
		unsigned char c = (unsigned char) value->data[i];

		if (memchr(plain, c, sizeof(plain) - 1) != NULL)
			sink_put(sink, (char) c);
		else
		{
			sink_put(sink, '%');
			sink_put(sink, hex[c >> 4]);
			sink_put(sink, hex[c & 15]);
		}
	}
}

/* Puts a template with values in it; false if it is none, or is for another number of values. */
static bool
put_template(Sink *sink, const char *template, const HfText *values, size_t n)
{
	for (const char *p = template; *p; p++)
	{
		if (*p == '{')
		{
			const char *end = strpbrk(p + 1, "{}");

			if (end == NULL || *end != '}' || end == p + 1 || n == 0)
				return false;
			put_value(sink, values++);
			n--;
			p = end;
		}
		else if (*p <= ' ' || *p > '~' || *p == '}' || *p == '%')
			return false;
		else
			sink_put(sink, *p);
	}
	return n == 0;
}

static bool
begins_with(const char *text, size_t length, const char *begin)
{
	return length >= strlen(begin) && memcmp(text, begin, strlen(begin)) == 0;
}

/*
 * What stands before the first colon says what kind of key it is: not for a value to say. Of a
 * template that is one.
 */
static bool
kind_is_literal(const char *template)
{
	bool column = false;

	for (const char *p = template; *p; p++)
	{
		if (*p == ':')
			return !column;
		if (*p == '{')
		{
			column = true;
			p = strchr(p, '}');
		}
	}
	return true;
}

/* Makes the key of a text that is too long to be one; false if libcrypto cannot. */
static bool
hash_key(HfCacheKey *key, const char *template, const HfText *values, size_t n)
{
	Sink sink = {.digest = EVP_MD_CTX_new()};
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	bool good = sink.digest != NULL && EVP_DigestInit_ex(sink.digest, EVP_sha256(), NULL) == 1 &&
		put_template(&sink, template, values, n);

	if (good)
	{
		sink_flush(&sink);
		good = !sink.failed && EVP_DigestFinal_ex(sink.digest, digest, &length) == 1;
	}
	EVP_MD_CTX_free(sink.digest);
	if (!good)
		return false;
	key->length =
		(size_t) sprintf(key->text, "%s%s",
						 begins_with(template, strlen(template), tag_begin) ? tag_begin : "",
						 hash_begin);
	for (unsigned i = 0; i < length; i++)
		key->length += (size_t) sprintf(key->text + key->length, "%02x", digest[i]);
	return true;
}

/* Is the key a tag, which has a token instead of a value? */
bool
hf_cache_key_is_tag(const HfCacheKey *key)
{
	return begins_with(key->text, key->length, tag_begin);
}

/*
 * Makes the key that a template of holdfast.watch() names for a row with these values, one for each
 * column in braces, in the order of the template; what stands in the braces is not looked at.
 *
 * False if there is no such key: the template is malformed or empty or has another number of
 * columns, a column stands before the first colon, or the key begins like a digest.  Nothing can be
 * cached then.
 */
bool
hf_cache_key_make(HfCacheKey *key, const char *template, const HfText *values, size_t n)
{
	Sink sink = {.digest = NULL};

	key->length = 0;
	key->text[0] = '\0';
	if (!put_template(&sink, template, values, n) || !kind_is_literal(template) ||
		sink.length == 0 || begins_with(sink.buffer, sink.used, hash_begin))
		return false;
	if (sink.length > HF_CACHE_KEY_MAX)
		return hash_key(key, template, values, n);
	key->length = sink.used;
	memcpy(key->text, sink.buffer, sink.used);
	key->text[sink.used] = '\0';
	return true;
}
