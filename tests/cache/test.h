/*
 * test.h
 *		What both programs of the tests of the cache are made with.
 *
 * reader	the reader against a Redis of its own, with the worker played by the test
 *		reader.c	options, order
 *		keys.c		the text of keys
 *		replies.c	what is made of replies, good, bad and random ones
 *		rules.c		each rule of the protocol; rules_broken.c what may be wrong in Redis
 *		trouble.c	Redis killed, frozen, restarted; hostile.c what only looks like a Redis
 *		redis.c		the Redis, and the worker's part
 * race		slow readers and fast writers of a watched table; see race.h
 *
 * test.c is in both.
 */
#ifndef TEST_H
#define TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t Usec; /* microseconds */

#define SECOND INT64_C(1000000)

extern Usec now(void);
extern uint64_t rnd(uint64_t *state, uint64_t n);
extern bool check(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void claim(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern int claims_broken(void);

#endif
