/*
 * keys.h
 *		What the two tests of idempotency keys share. The answer to a key follows from its number, so
 *		that nothing need be remembered to know it.
 */
#ifndef KEYS_H
#define KEYS_H

#include "payments.h"

#define RESPONSE_MAX 3000
#define KEY_BLOCK	 512 /* keys of one operation in a row */

typedef struct KeyClient
{
	int number;
	uint64_t random;
	Session session[2];
	long first, last; /* its keys: first <= i < last */
	long next;		  /* those below have been answered */
	bool counts;	  /* every piece of work leaves a row */
	long replayed, reused, twins, rolled_back, batches, left_open, worked, lost, in_flight;
} KeyClient;

/* What is known of a key before it is claimed. */
typedef enum Known
{
	FRESH,
	MAYBE,
	ANSWERED
} Known;

extern int64_t key_account(long i);
extern const char *key_operation(long i);
extern const char *key_text(long i, char *buffer);
extern const char *key_fingerprint(long i, bool wrong, char *buffer);
extern const char *key_response(long i, char *buffer);
extern int key_status(long i);
extern void key_statement(const KeyClient *c, long i, char *sql);
extern bool key_judge(KeyClient *c, Session *s, long i, Known known);
extern void key_check(long i, const char *status, const char *response);
extern void key_replay(KeyClient *c, long i);
extern void key_answer_one(KeyClient *c, long i);

#define STATEMENT_MAX (2 * RESPONSE_MAX + 2000)

#endif
