/*
 * ticket_local.c
 *		The rule by which tickets are drawn, and a sale's tickets as one process knows them.
 *
 * This is what ticket_issue.c's script does in Redis, for when Redis is away.
 *
 * Invariants: of a sale there are never more holders than `most`, nor more of all sales together
 * than HOLDERS_MAX, so that memory is bounded; whoever has a ticket is in one of the sets, and
 * whoever has had it for two windows is in none.
 */
#include "ticket_local.h"
#include "config.h"

#define HOLDERS_MAX (1 << 20)

static size_t all; /* holders of all sales; who is in both sets of one counts twice */

static size_t
count(const HfAccountSet *set)
{
	return set != NULL ? hf_account_set_count(set) : 0;
}

static bool
has(const HfAccountSet *set, int64_t account)
{
	return set != NULL && hf_account_set_has(set, account);
}

static void
let_go(HfAccountSet *set)
{
	all -= count(set);
	hf_account_set_free(set);
}

/* Makes this the window; the clock may have been set back. */
void
hf_ticket_holders_turn(HfTicketHolders *holders, int64_t begins)
{
	if (holders->begins == begins)
		return;
	let_go(holders->before);
	holders->before = NULL;
	if (holders->begins + hf_config.ticket_ttl == begins)
		holders->before = holders->now;
	else
		let_go(holders->now);
	holders->now = NULL;
	holders->begins = begins;
}

/*
 * The ticket that somebody has, or NONE.  Renew: one of the window before is about to expire, so
 * that it counts no more.
 */
HfTicketDraw
hf_ticket_holders_know(const HfTicketHolders *holders, int64_t account, bool renew)
{
	if (has(holders->now, account))
		return HF_TICKET_AGAIN;
	return !renew && has(holders->before, account) ? HF_TICKET_OLD : HF_TICKET_NONE;
}

/* Draws a ticket for somebody, of which there may be so many. */
HfTicketDraw
hf_ticket_holders_draw(HfTicketHolders *holders, int64_t account, size_t most, bool renew)
{
	HfTicketDraw known = hf_ticket_holders_know(holders, account, renew);

	if (known != HF_TICKET_NONE)
		return known;
	if (holders->now == NULL)
		holders->now = hf_account_set_create(HOLDERS_MAX);
	if (count(holders->before) + count(holders->now) < most && all < HOLDERS_MAX &&
		holders->now != NULL && hf_account_set_add(holders->now, account))
	{
		all++;
		return HF_TICKET_NEW;
	}
	return has(holders->before, account) ? HF_TICKET_OLD : HF_TICKET_NONE;
}

/* Are there tickets of the window before, which expire at the end of this one? */
bool
hf_ticket_holders_before(const HfTicketHolders *holders)
{
	return count(holders->before) > 0;
}

bool
hf_ticket_holders_any(const HfTicketHolders *holders)
{
	return count(holders->before) + count(holders->now) > 0;
}
