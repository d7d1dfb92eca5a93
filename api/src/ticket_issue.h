/*
 * ticket_issue.h
 *		Drawing tickets: so many at a time, one for an account.
 */
#ifndef HF_TICKET_ISSUE_H
#define HF_TICKET_ISSUE_H

#include "live.h"
#include "ticket.h"

typedef struct HfTicket
{
	char text[HF_TICKET_MAX + 1]; /* empty: there are as many out as there may be */
	int64_t expires;			  /* milliseconds since 1970 */
	unsigned retry_after;		  /* seconds, if there is none */
} HfTicket;

typedef void (*HfTicketDone)(void *arg, const HfTicket *ticket);

/* Begins in a worker, before hf_redis_start(): so a pass of the loop sends what it collects. */
extern void hf_ticket_start(void);

/*
 * Draws a ticket of a sale that is open.  Done is called once, perhaps before this returns; false:
 * there is no memory, and it is not called.
 */
extern bool hf_ticket_issue(const HfLive *live, int64_t account, HfTicketDone done, void *arg);

/*
 * Takes up to n sales with the number of tickets that were drawn here since they were last taken;
 * how many there are.
 */
extern unsigned hf_ticket_counts(int64_t *sale, int64_t *count, unsigned n);

/* Gives back what could not be noted. */
extern void hf_ticket_count(int64_t sale, int64_t count);

#endif
