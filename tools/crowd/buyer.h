/*
 * buyer.h
 *		Buyers: who they are, what each is about to do, and whose turn it is.
 */
#ifndef HF_CROWD_BUYER_H
#define HF_CROWD_BUYER_H

#include <stdbool.h>
#include <stdint.h>

#define HF_TICKET_ROOM 192
#define HF_ID_ROOM	   40

/* What a buyer asks for, and how answers are counted. */
typedef enum HfStep
{
	HF_STEP_POST,
	HF_STEP_TICKET,
	HF_STEP_PURCHASE,
	HF_STEP_AGAIN, /* the same purchase, which has been answered */
	HF_STEP_PAYMENT,
	HF_STEP_ORDER, /* asks whether it is paid */
	HF_STEPS
} HfStep;

/* Times are in nanoseconds of the clock that cannot be set. */
typedef struct HfBuyer
{
	const char *account;
	const char *token; /* NULL: none */
	uint64_t late;	   /* how long after its time the visit began */
	uint64_t begun;	   /* when the request did, and its first try */
	uint64_t paying;   /* since when */
	uint64_t wake;	   /* when it goes on, if it pauses */
	unsigned token_length;
	unsigned tries;
	HfStep step;
	bool has_ticket; /* of --tickets */
	bool left;		 /* hung up once during this request */
	char key[HF_ID_ROOM];
	char order[HF_ID_ROOM];
	char ticket[HF_TICKET_ROOM];
} HfBuyer;

extern void hf_buyers_load(void);
extern uint64_t hf_buyers_count(void);
extern bool hf_buyers_any_idle(void);

/* The one whose turn it is, who is the caller's until given back; NULL: none is idle. */
extern HfBuyer *hf_buyers_take(void);
extern void hf_buyers_give_back(HfBuyer *buyer);

/* Lets one pause until its time to wake. */
extern void hf_buyers_pause(HfBuyer *buyer);

/* The one that pauses and wakes first, and then again; NULL: nobody pauses. */
extern HfBuyer *hf_buyers_first_asleep(void);
extern HfBuyer *hf_buyers_wake(void);

#endif
