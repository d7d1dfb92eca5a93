/*
 * ticket.h
 *		Tickets of sales: the right to try to buy.
 */
#ifndef HF_TICKET_H
#define HF_TICKET_H

#include "text.h"

#include <stdint.h>

#define HF_TICKET_MAX 32 /* characters */

typedef enum HfTicketVerdict
{
	HF_TICKET_GOOD,
	HF_TICKET_EXPIRED, /* but it was this account's, for this sale */
	HF_TICKET_BAD
} HfTicketVerdict;

/* Makes the keys ready, after hf_token_load_keys(). */
extern void hf_ticket_prepare(void);

/* Checks a ticket, without asking anybody. */
extern HfTicketVerdict hf_ticket_check(const HfText *ticket, int64_t account, int64_t sale);

extern void hf_ticket_sign(char ticket[HF_TICKET_MAX + 1], int64_t account, int64_t sale,
						   int64_t expires);

/* The clock that tickets expire by: CLOCK_REALTIME, in milliseconds since 1970. */
extern int64_t hf_ticket_now(void);

#endif
