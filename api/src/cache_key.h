/*
 * cache_key.h
 *		The text of cache keys.
 */
#ifndef HF_CACHE_KEY_H
#define HF_CACHE_KEY_H

#include <stdbool.h>
#include <stddef.h>

#define HF_CACHE_KEY_MAX 250 /* bytes; of a longer key there is only a digest */

/* Any bytes, with a length. As the value of a column, NULL data is SQL's NULL. */
typedef struct HfCacheText
{
	const char *data;
	size_t length;
} HfCacheText;

typedef struct HfCacheKey
{
	size_t length;
	char text[HF_CACHE_KEY_MAX + 1]; /* with a NUL, and without any in it */
} HfCacheKey;

extern bool hf_cache_key_make(HfCacheKey *key, const char *template, const HfCacheText *values,
							  size_t n);
extern bool hf_cache_key_is_tag(const HfCacheKey *key);

#endif
