/*
 * cache_key.h
 *		The text of cache keys.
 */
#ifndef HF_CACHE_KEY_H
#define HF_CACHE_KEY_H

#include "text.h"

#include <stdbool.h>

#define HF_CACHE_KEY_MAX 250 /* bytes; of a longer key there is only a digest */

typedef struct HfCacheKey
{
	size_t length;
	char text[HF_CACHE_KEY_MAX + 1]; /* with a NUL, and without any in it */
} HfCacheKey;

extern bool hf_cache_key_make(HfCacheKey *key, const char *template, const HfText *values,
							  size_t n);
extern bool hf_cache_key_is_tag(const HfCacheKey *key);

#endif
