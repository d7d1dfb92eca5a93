/*
 * pool.h
 *		Threads for what takes long: work runs there, and then done in the loop.
 *
 * Each work that was accepted gets its done, once, even if the pool is stopped before it has run.
 */
#ifndef HF_POOL_H
#define HF_POOL_H

#include <stdbool.h>

typedef struct HfPool HfPool;

extern HfPool *hf_pool_make(unsigned threads, unsigned queue);
extern bool hf_pool_run(HfPool *pool, void (*work)(void *), void (*done)(void *), void *arg);
extern unsigned hf_pool_waiting(const HfPool *pool);
extern void hf_pool_stop(HfPool *pool);

#endif
