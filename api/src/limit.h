/*
 * limit.h
 *		Rate limits over all workers and machines: GCRA in one Redis script, by Redis's clock.
 *
 * A rule admits at most quota + burst requests in any window, however many processes share it, and
 * up to burst (at least one) of them at once.  While Redis is away each process holds the rule by
 * itself, with its share: the rule divided by the number of workers.
 */
#ifndef HF_LIMIT_H
#define HF_LIMIT_H

#include "config.h"

/* What a request was told: the rule that is nearest to its end, or the one that refused. */
typedef struct HfLimitVerdict
{
	bool admitted;
	HfLimitScope scope;
	unsigned quota;		  /* requests of the rule's window; 0: there is no rule */
	unsigned window;	  /* seconds */
	unsigned remaining;	  /* requests that would be admitted now */
	unsigned reset;		  /* seconds until all of the quota is back */
	unsigned retry_after; /* seconds until one is admitted; of a refusal at least 1 */
} HfLimitVerdict;

typedef void (*HfLimitDone)(void *arg, const HfLimitVerdict *verdict);

extern void hf_limit_start(void);
extern bool hf_limit_check(HfLimitClass class, const char *address, int64_t account,
						   HfLimitVerdict *verdict, HfLimitDone done, void *arg);

#endif
