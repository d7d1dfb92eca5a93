/*
 * reader.h
 *		What the parts of the reader's test share.
 */
#ifndef READER_H
#define READER_H

#include "../../api/src/cache_reader.h"
#include "test.h"

#define PREFIX "holdfast:test:"

/* redis.c */
typedef struct redisReply redisReply;

extern const char *redis_path; /* of its socket */
extern void redis_begin(const char *directory);
extern void redis_end(void);
extern void redis_start(void);
extern void redis_kill(void);
extern void redis_freeze(void);
extern void redis_wake(void);
extern redisReply *redis_run(const char *format, ...);
extern long long redis_number(const char *format, ...);
extern bool redis_text_is(const char *expected, size_t length, const char *format, ...);
extern void worker_beat(const char *generation, int milliseconds);
extern void worker_stop(void);
extern void worker_invalidate(const char *generation, const char *key);

/* reader.c */
extern HfCacheReader *reader_open(int timeout);
extern HfCacheEntry entry_of(const char *key);
extern HfCacheEntry entry_with_tag(const char *key, const char *tag);
extern HfText text_of(const char *text);
extern bool same(HfText text, const char *data, size_t length);
extern const char *answer_name(HfCacheAnswer answer);
extern HfCacheAnswer get(HfCacheReader *reader, const HfCacheEntry *entry, HfText *payload,
						 HfCacheLease *lease);
extern void expect(HfCacheAnswer got, HfCacheAnswer expected, const char *when);
extern void put(HfCacheReader *reader, const HfCacheEntry *entry, const char *payload);

extern void test_keys(void);
extern void test_replies(void);
extern void test_rules(const char *page);
extern void test_rules_broken(void);
extern void test_trouble(void);
extern void test_hostile(const char *directory);

#endif
