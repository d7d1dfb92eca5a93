/*
 * cache_key.h
 *		Templates of cache keys, and the keys that rows make of them.
 */
#ifndef HF_CACHE_KEY_H
#define HF_CACHE_KEY_H

#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

/* A longer key is replaced by its hash (docs/cache-protocol.md); a length fits into one byte. */
#define HF_CACHE_KEY_MAX 250
/* Templates that one table may have. */
#define HF_CACHE_TEMPLATES_MAX 64

/* Keys that begin with it are tags: readers keep a token of them, no value. */
#define HF_CACHE_TAG "tag:"

typedef struct HfTemplate HfTemplate;

extern bool hf_cache_key_is_tag(const char *key, int length);

extern HfTemplate *hf_template_parse(const char *text, Relation rel, bool raise);
extern bool hf_template_is_constant(const HfTemplate *template);
extern bool hf_template_is_same(const HfTemplate *template, TupleTableSlot *was,
								TupleTableSlot *is);
extern bool hf_template_is_changed(const HfTemplate *template, TupleTableSlot *was,
								   TupleTableSlot *is);
extern void hf_template_render(HfTemplate *template, TupleTableSlot *slot, StringInfo key);

#endif
