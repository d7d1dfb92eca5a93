/*
 * explain.c
 *		Whether what the buyers were told is explained by the history: what was done is in it, once,
 *		and what was refused was wrong at that moment.
 *
 * A request that was refused had locked its payment, so it saw the state after the last step that
 * had happened: one between those at the two moments when it was sent and when it was answered.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "payments.h"

/* The requests that were acknowledged are lines of the history, one each, and there are no others. */
void
explain_payment(Payment *p)
{
	int acknowledged[REQUESTS] = {0}, maybe[REQUESTS] = {0}, lines[REQUESTS] = {0};

	for (int i = 0; i < p->intents; i++)
	{
		const Intent *intent = p->intent[i];
		Request what = intent->request == CREATE ? intent->then : intent->request;
		Line *line = NULL;

		if (what == REQUESTS)
			continue;
		if (!intent->acknowledged)
		{
			maybe[what] += intent->doubt;
			continue;
		}
		acknowledged[what]++;
		for (int k = 0; k < p->lines && line == NULL; k++)
			if (strcmp(p->line[k].input, request_name[what]) == 0 &&
				p->line[k].call == intent->call && !p->line[k].claimed)
				line = &p->line[k];
		if (line == NULL)
		{
			violation("%s of payment %s was acknowledged as '%s', and is not in its history",
					  request_name[what], p->id, intent->answer);
			continue;
		}
		line->claimed = true;
		if (line->at > intent->t1 || (!intent->doubt && !intent->rival && line->at < intent->t0) ||
			(intent->amount != 0 && line->amount != intent->amount))
			violation("%s of %" PRId64
					  " of payment %s, acknowledged as '%s', is another one in its "
					  "history: %" PRId64 ", %" PRId64 " us after it was asked for",
					  request_name[what], intent->amount, p->id, intent->answer, line->amount,
					  line->at - intent->t0);
	}
	for (int k = 0; k < p->lines; k++)
		for (Request what = AUTHORIZE; what <= REFUND; what++)
			lines[what] += strcmp(p->line[k].input, request_name[what]) == 0;
	for (Request what = AUTHORIZE; what <= REFUND; what++)
	{
		/* Who pays back by hand at the end is no buyer. */
		int most = acknowledged[what] + maybe[what] + (what == REFUND && p->captured > 0 ? 2 : 0);

		if (lines[what] < acknowledged[what] || lines[what] > most)
			violation("payment %s: %d times %s in its history; acknowledged %d, in doubt %d", p->id,
					  lines[what], request_name[what], acknowledged[what], maybe[what]);
	}
}

/* Was there a moment between t0 and t1 in which the payment was in such a state? */
static bool
ever(const Payment *p, Usec t0, Usec t1, bool (*is)(char state, const Intent *),
	 const Intent *intent)
{
	for (int i = 0; i <= p->lines; i++)
	{
		Usec from = i == 0 ? 0 : p->line[i - 1].at, to = i == p->lines ? FOREVER : p->line[i].at;

		if (from <= t1 && to >= t0 && is(i == 0 ? 'n' : p->line[i - 1].to, intent))
			return true;
	}
	return false;
}

static bool
is_illegal(char state, const Intent *intent)
{
	return !rule_knows(state, request_name[intent->request]);
}

/* It can only be captured whole. */
static bool
is_new(char state, const Intent *intent)
{
	return state == 'n' && intent->amount > 0;
}

/* What is held need not be what was authorized. */
static bool
is_authorized(char state, const Intent *intent)
{
	(void) intent;
	return state == 'a';
}

static bool
is_live(char state, const Intent *intent)
{
	(void) intent;
	return rule_live(state);
}

/* Was there less left to refund than was asked for? */
static bool
was_short(const Payment *p, const Refusal *r)
{
	for (int i = 0; i < p->lines; i++)
	{
		Usec to = i == p->lines - 1 ? FOREVER : p->line[i + 1].at;

		if (p->line[i].at <= r->t1 && to >= r->t0 &&
			p->line[i].left < (r->intent->amount ? r->intent->amount : 1))
			return true;
	}
	return false;
}

/*
 * Had another payment of the same owner a claim to his money?  That one was not locked, so a step
 * that it had taken may not have been committed yet.
 */
static bool
had_rival(const Payment *p, const Refusal *r)
{
	const Order *order = p->order;

	for (int i = 0; i < order->payments; i++)
		if (order->payment[i] != p && order->payment[i]->exists &&
			ever(order->payment[i], r->t0 - 5 * SECOND, r->t1, is_live, r->intent))
			return true;
	return false;
}

/* Had a hold of the order ended so at that time; or without a state: had there been a hold at all? */
static bool
had_hold(const Order *order, const char *state, Usec at)
{
	for (int i = 0; i < order->holds; i++)
		if (state == NULL
				? order->held[i].held_at < at
				: strcmp(order->held[i].state, state) == 0 && order->held[i].ended_at <= at)
			return true;
	return false;
}

/* Was it right to refuse the request with this code? */
bool
explain_refusal(const Refusal *r)
{
	const Intent *intent = r->intent;
	const Payment *p = intent->payment;
	const Order *order = p->order;
	int code = atoi(r->code + 2);

	switch (code)
	{
		case 6:
			return !had_hold(order, NULL, r->t0);
		case 7:
			return had_hold(order, "confirmed", r->t1);
		case 8:
			return had_hold(order, "released", r->t1);
		case 9:
			return had_hold(order, "expired", r->t1);
		case 24:
			return intent->amount < p->amount && ever(p, r->t0, r->t1, is_new, intent);
		case 26:
			return intent->currency != NULL && strcmp(intent->currency, p->currency) != 0;
		case 28:
			return ever(p, r->t0, r->t1, is_illegal, intent);
		case 29:
			return intent->amount > p->amount;
		case 30:
			return was_short(p, r);
		case 31:
			return had_rival(p, r);
		case 42:
			return intent->amount == 0 && order->owner[0] &&
				ever(p, r->t0, r->t1, is_authorized, intent);
		default:
			return false;
	}
}
