/*
 * limit_test.h
 *		What the tests of limits have: a Redis that can be made to fail, and a way to ask.
 */
#ifndef LIMIT_TEST_H
#define LIMIT_TEST_H

#include "limit.h"
#include "unit.h"

/* How Redis does. */
typedef enum Health
{
	GOOD,
	DOWN,	/* takes no command */
	SILENT, /* does not answer */
	FULL,	/* answers with an error */
	GARBLED /* answers something else */
} Health;

extern Health health;
extern unsigned long sent;		 /* commands */
extern unsigned long sent_whole; /* of them, those with the script in full */

extern void redis_connect(void);
extern long long redis_ask(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void redis_answers(void);

/* One request: when it was asked, and what it was told. */
typedef struct Request
{
	Usec asked, told;
	int times; /* that it was told: once */
	HfLimitVerdict verdict;
} Request;

extern void set_rule(HfLimitScope scope, unsigned quota, unsigned window, unsigned burst);
extern void start(void);
extern void ask(Request *request, const char *address, int64_t account);
extern bool is_admitted(const char *address, int64_t account);

extern void test_processes(void);

#endif
