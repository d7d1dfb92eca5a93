/*
 * unit.h
 *		What the unit tests of the API's modules are made with.
 *
 * pool		threads and their loop
 * password	hashes, rules, time
 * token	good tokens, forged ones, keys and their rotation, opaque secrets
 * limit	rules against a Redis of the test's own, by one process and by several
 * ticket	good tickets, forged ones, and drawing them from such a Redis
 * live		what is known of a sale, told, refused from memory, and asked of the database
 *
 * surroundings.c stands in for the modules and for what of Kore they use: the loop, the log, the
 * metrics, the configuration; limit_redis.c for redis.c, which it can make fail.  Claims are those of
 * tests/cache/test.h.
 */
#ifndef UNIT_H
#define UNIT_H

#include "config.h"
#include "metrics.h"
#include "test.h"

#include <stdbool.h>

extern bool slow; /* under valgrind: nothing is said about time */
extern unsigned long counted[HF_METRICS];
extern int logged;

extern void begin(int argc, char **argv);
extern int end(void);
extern bool turn(int milliseconds);

extern double time_of_process(void);

#endif
