/*
 * ticket_local.h
 *		The rule by which tickets are drawn, and a sale's tickets as one process knows them.
 *
 * Time is cut into windows of ticket_ttl.  A ticket that is drawn in one of them is good until the
 * end of the next.  So those that are out were drawn in this window or in the one before.
 */
#ifndef HF_TICKET_LOCAL_H
#define HF_TICKET_LOCAL_H

#include "account_set.h"

/* What somebody gets who asks for a ticket. The values are those of the script. */
typedef enum HfTicketDraw
{
	HF_TICKET_NONE = '0',  /* there are as many out as there may be */
	HF_TICKET_OLD = '1',   /* the one that he has, of the window before */
	HF_TICKET_AGAIN = '2', /* the one that he has, of this window */
	HF_TICKET_NEW = '3'	   /* one of this window */
} HfTicketDraw;

/* Who has drawn a ticket of a sale here. */
typedef struct HfTicketHolders
{
	int64_t begins; /* the window; milliseconds since 1970 */
	HfAccountSet *before, *now;
} HfTicketHolders;

extern void hf_ticket_holders_turn(HfTicketHolders *holders, int64_t begins);
extern HfTicketDraw hf_ticket_holders_know(const HfTicketHolders *holders, int64_t account,
										   bool renew);
extern HfTicketDraw hf_ticket_holders_draw(HfTicketHolders *holders, int64_t account, size_t most,
										   bool renew);
extern bool hf_ticket_holders_before(const HfTicketHolders *holders);
extern bool hf_ticket_holders_any(const HfTicketHolders *holders);

#endif
