/*
 * call.h
 *		A call of a provider, as the database asks for it, and what has come of it.
 */
#ifndef HF_CALL_H
#define HF_CALL_H

#include <stdbool.h>
#include <stdint.h>

#define HF_KEY_MAX	  96   /* "hf_", an account, a payment, a number */
#define HF_REASON_MAX 1021 /* 255 characters of UTF-8 */

/* The words of holdfast.record_results(). */
typedef enum HfOutcome
{
	HF_RETRY, /* no answer, or none to build on: ask again, in the end it is unknown */
	HF_UNKNOWN,
	HF_PENDING,
	HF_DECLINED,
	HF_SUCCEEDED
} HfOutcome;

/* What was made of an answer. Texts that are empty are none. */
typedef struct HfAnswer
{
	HfOutcome outcome;
	bool is_away; /* the provider was not reached, or takes no calls now */
	char reference[HF_REASON_MAX];
	char reason[HF_REASON_MAX];
} HfAnswer;

typedef struct HfCall
{
	struct HfCall *next;
	void *source; /* of whoever has claimed it */

	/* Whose it is, as text. */
	char account[24];
	char payment[40];
	char number[12];

	char key[HF_KEY_MAX];
	char *body;			  /* JSON: what is asked for */
	bool is_lookup;		  /* asked for is what has become of it; it is not to be made */
	int64_t given_up_for; /* milliseconds, by then: nobody claims it to make it any more */
	int attempt;		  /* 1 for the first */
	int64_t until;		  /* not to be made any more then */
	int64_t amount;		  /* minor units */
	char currency[4];
	unsigned tries; /* to record it */
	HfAnswer answer;
} HfCall;

#endif
