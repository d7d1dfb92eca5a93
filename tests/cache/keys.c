/*
 * keys.c
 *		The text of keys. Expected digests are those of sha256sum.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

/* Checks the key of a template with one value, or with none if it has no data. */
static void
expect_key(const char *template, HfText value, const char *expected)
{
	HfCacheKey key;
	bool made = hf_cache_key_make(&key, template, &value, strchr(template, '{') != NULL);

	check(made && strcmp(key.text, expected) == 0 && key.length == strlen(expected),
		  "%s becomes \"%s\", not \"%s\"", template, made ? key.text : "nothing", expected);
}

static void
expect_no_key(const char *template, const HfText *values, size_t n)
{
	HfCacheKey key;

	check(!hf_cache_key_make(&key, template, values, n), "%s with %zu values becomes \"%s\"",
		  template, n, key.text);
}

static void
test_escapes(void)
{
	char bytes[256], expected[800], *end = expected;

	expect_key("product:{id}", text_of("42"), "product:42");
	expect_key("product:{id}", text_of("-42"), "product:-42");
	expect_key("name:{name}",
			   text_of("Gr\xc3\xb6\xc3\x9f"
					   "e 10 \xe2\x82\xac"),
			   "name:Gr%C3%B6%C3%9Fe%2010%20%E2%82%AC");
	expect_key("{name}", text_of("a:b/c{d}e%f\n"), "a%3Ab%2Fc%7Bd%7De%25f%0A");
	expect_key("x:{a}:y", text_of("~-._AZaz09"), "x:~-._AZaz09:y");
	expect_key("x:{a}", text_of(""), "x:");
	expect_key("t:{at}", text_of("2026-11-21 10:00:00+00"), "t:2026-11-21%2010%3A00%3A00%2B00");
	for (int i = 0; i < 128; i++)
		bytes[i] = (char) (i + 128);
	for (int i = 128; i < 148; i++)
		end += sprintf(end, "%%%02X", i);
	expect_key("{a}", (HfText){bytes, 20}, expected);
	claim("values are percent-encoded, byte by byte and in upper case");

	expect_key("x:{a}", (HfText){NULL, 0}, "x:%00");
	expect_key("x:{a}", text_of("%00"), "x:%2500");
	claim("NULL is no other value");
}

static void
test_long_keys(void)
{
	char value[400];
	char *large = malloc(1000000);
	HfText values[3] = {{large, 1000000}, {"z", 1}, {NULL, 0}};
	HfCacheKey key;

	if (large == NULL)
		abort();
	memset(value, 'x', sizeof(value));
	check(hf_cache_key_make(&key, "product:{id}", &(HfText){value, 242}, 1) &&
			  key.length == 250 && strncmp(key.text, "product:xxx", 11) == 0,
		  "a key of 250 bytes becomes %s", key.text);
	expect_key("product:{id}", (HfText){value, 243},
			   "sha256:7dbff475519cab124576c41a3b7c8a9b82ec10a67017dd0e8e6660096d00b0d4");
	expect_key("product:{id}", (HfText){value, 245},
			   "sha256:2cfe4241f6289a84217095f6a270b2cbfc783ff45a9f270db9cdd15a74ba53c6");
	memset(large, ' ', 1000000);
	check(hf_cache_key_make(&key, "big:{a}:{b}", values, 2) &&
			  strcmp(key.text,
					 "sha256:"
					 "c4f72c0702fb12deb3898b7e6f5265ec33fd3e5569b255c0edfd21eb666e7021") == 0,
		  "a key of 3000006 bytes becomes %s", key.text);
	for (int i = 0; i < 256; i++)
		value[i] = (char) i;
	values[0] = (HfText){value, 256};
	check(hf_cache_key_make(&key, "a:{a}:{b}", (HfText[]){values[0], values[2]}, 2) &&
			  strcmp(key.text,
					 "sha256:"
					 "11d2e37601b4ac9ce6a5e0ce97b95061f69088e419598e67ace5ca0d6f6b4a0e") == 0,
		  "a key of all bytes and NULL becomes %s", key.text);
	claim("a key of more than 250 bytes is replaced by its digest");
	free(large);
}

static void
test_no_keys(void)
{
	HfText values[2] = {{"1", 1}, {"2", 1}}, empty = {"", 0};
	char value[300];

	memset(value, 'x', sizeof(value));
	expect_no_key("", NULL, 0);
	expect_no_key("{a}", &empty, 1);
	expect_no_key("a b", NULL, 0);
	expect_no_key("a%20b", NULL, 0);
	expect_no_key("a}", NULL, 0);
	expect_no_key("a{", values, 1);
	expect_no_key("a{}", values, 1);
	expect_no_key("a{b{c}}", values, 1);
	expect_no_key("a\x7f", NULL, 0);
	expect_no_key("a\xc3\xb6", NULL, 0);
	expect_no_key("a\n", NULL, 0);
	expect_no_key("item:{a}", NULL, 0);
	expect_no_key("item:{a}", values, 2);
	expect_no_key("item", values, 1);
	claim("a template that holdfast.watch() would refuse has no keys");

	expect_no_key("sha256:{a}", values, 1);
	expect_no_key("sha256:{a}", &(HfText){value, 300}, 1);
	expect_no_key("{a}:{b}", values, 2);
	claim("no value can make a key that looks like a digest");
}

static void
test_entries(void)
{
	HfCacheEntry entry;
	char value[300];
	HfText tag = {"tag", 3};
	bool good = true;

	memset(value, 'x', sizeof(value));
	check(!hf_cache_entry_begin(&entry, "tag:catalogue", NULL, 0), "a tag is a key");
	check(!hf_cache_entry_begin(&entry, "{a}:x", &tag, 1), "a value makes a key a tag");
	check(!hf_cache_entry_begin(&entry, "tag:{a}", &(HfText){value, 300}, 1),
		  "a long tag is a key");
	entry = entry_of("item:1");
	check(!hf_cache_entry_tag(&entry, "catalogue", NULL, 0), "a key is a tag");
	check(entry.tags == 0, "%zu tags are left of what is none", entry.tags);
	expect_key("tag:{a}", (HfText){value, 300},
			   "tag:sha256:e97d6808ddd7ed3b9f1b2c3dafdb5b35c4b8e58725defe9124c5b965df5cb35b");
	check(hf_cache_entry_tag(&entry, "tag:{a}", &(HfText){value, 300}, 1),
		  "a long tag is none");
	entry = entry_of("item:1");
	for (int i = 0; i < HF_CACHE_TAGS_MAX; i++)
		good = good && hf_cache_entry_tag(&entry, "tag:{i}", &(HfText){value, (size_t) i}, 1);
	check(good, "%d tags are too many", HF_CACHE_TAGS_MAX);
	check(!hf_cache_entry_tag(&entry, "tag:one-more", NULL, 0), "%d tags are not too many",
		  HF_CACHE_TAGS_MAX + 1);
	claim("an entry has a key that is no tag, and tags that are");
}

void
test_keys(void)
{
	test_escapes();
	test_long_keys();
	test_no_keys();
	test_entries();
}
