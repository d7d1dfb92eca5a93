/*
 * cache_commit.h
 *		Transactions that are visible and have not told their cache keys yet.
 */
#ifndef HF_CACHE_COMMIT_H
#define HF_CACHE_COMMIT_H

extern Size hf_cache_commit_size(void);
extern void hf_cache_commit_attach(void *memory, bool found);
extern void hf_cache_commit_begin(TransactionId xid);
extern void hf_cache_commit_end(void);
extern bool hf_cache_commit_all_told(void);

#endif
