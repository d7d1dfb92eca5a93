/*
 * cache_xact.h
 *		The cache keys of the current transaction.
 */
#ifndef HF_CACHE_XACT_H
#define HF_CACHE_XACT_H

extern bool hf_cache_is_there(void);
extern void hf_cache_add_key(const char *key, int length);
extern void hf_cache_add_everything(const char *reason);
extern void hf_cache_ask_recheck(void);
extern void hf_cache_collect_prepared(void);

#endif
