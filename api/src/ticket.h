/*
 * ticket.h
 *		Tickets of sales: the right to try to buy.
 */
#ifndef HF_TICKET_H
#define HF_TICKET_H

#include "text.h"

#include <stdint.h>

#define HF_TICKET_MAX 120 /* characters */

typedef enum HfTicketVerdict
{
	HF_TICKET_GOOD,
	HF_TICKET_EXPIRED, /* but it was this account's, for this sale */
	HF_TICKET_BAD
} HfTicketVerdict;

/* Checks a ticket, without asking anybody. */
extern HfTicketVerdict hf_ticket_check(const HfText *ticket, int64_t account, int64_t sale);

#endif
