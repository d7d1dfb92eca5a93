/*
 * limit_local.h
 *		What a process knows of limits by itself: permits in hand, refusals, GCRA without Redis.
 */
#ifndef HF_LIMIT_LOCAL_H
#define HF_LIMIT_LOCAL_H

#include "limit.h"

#define HF_LIMIT_KEY_TEXT 80 /* bytes, of an id in a name of Redis */

/* Whom a rule is applied to. */
typedef struct HfLimitKey
{
	uint8_t class;
	uint8_t scope;
	uint8_t family; /* of an address: 4, 6, or 0 if it is none */
	uint64_t id;	/* an account, an IPv4 address, or the first half of an IPv6 one */
} HfLimitKey;

/* A rule as GCRA has it. Times are in microseconds. */
typedef struct HfLimitPace
{
	double interval;   /* between requests, in the long run */
	unsigned capacity; /* requests at once */
	double lapse;	   /* how long permits in hand are good; 0: none are taken */
} HfLimitPace;

/* What is known of a key. Times are those of hf_loop_microseconds(). */
typedef struct HfLimitState
{
	HfLimitKey key;
	double seen;		  /* 0: the place is free */
	double full;		  /* when all of the quota is back: GCRA's theoretical arrival time */
	double refused_until; /* nothing can be admitted before */
	double lapse;		  /* until when the permits are good */
	unsigned permits;	  /* in hand */
	double fetching;	  /* until when somebody else is expected to bring permits */
	double period;		  /* when the current period began, in which requests are counted */
	unsigned asked;		  /* in it */
	unsigned asked_before;
} HfLimitState;

extern void hf_limit_local_start(unsigned processes);
extern unsigned hf_limit_keys(HfLimitKey key[HF_LIMIT_SCOPES], HfLimitClass class,
							  const char *address, int64_t account);
extern void hf_limit_key_text(char text[HF_LIMIT_KEY_TEXT], const HfLimitKey *key);
extern uint64_t hf_limit_key_hash(const HfLimitKey *key);
extern bool hf_limit_key_same(const HfLimitKey *a, const HfLimitKey *b);
extern const HfLimitPace *hf_limit_pace(const HfLimitKey *key);
extern HfLimitState *hf_limit_state(const HfLimitKey *key, double now);
extern unsigned hf_limit_permits(const HfLimitState *state, double now);
extern void hf_limit_asked(const HfLimitKey *key, unsigned keys);
extern unsigned hf_limit_ahead(HfLimitState *state, double now);
extern bool hf_limit_at_once(const HfLimitKey *key, unsigned keys, HfLimitVerdict *verdict);
extern void hf_limit_locally(const HfLimitKey *key, unsigned keys, HfLimitVerdict *verdict);
extern double hf_limit_now(void);
extern void hf_limit_admit(const HfLimitKey *key, unsigned keys, HfLimitVerdict *verdict);
extern void hf_limit_refuse(const HfLimitKey *key, double retry, HfLimitVerdict *verdict);

#endif
