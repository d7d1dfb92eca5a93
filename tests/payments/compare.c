/*
 * compare.c
 *		After all is over: our ledger against the provider's, and both against what the buyers know.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payments.h"

static Buyer *all;
static int buyers;
static int in_vain; /* calls that were looked up, and never made */
static long broken; /* violations before the claim that is being worked on */

/* For every payment that the buyers know. */
#define FOR_EACH_PAYMENT(p)                                          \
	for (int b_ = 0; b_ < buyers; b_++)                              \
		for (int o_ = 0; o_ < all[b_].orders; o_++)                  \
			for (int p_ = 0; p_ < all[b_].order[o_]->payments; p_++) \
				if ((p = all[b_].order[o_]->payment[p_])->exists)

static bool
good(void)
{
	bool result = violations() == broken;

	broken = violations();
	return result;
}

static void
compare_payments(void)
{
	Payment *p;
	int n = 0, lost = 0, lines = 0, missing;

	FOR_EACH_PAYMENT(p)
	{
		n++;
		lines += p->lines;
		lost += !p->found;
		if (!p->found)
			violation("payment %s of account %" PRId64 " was acknowledged, and is lost", p->id,
					  p->account);
		else
			rule_replay(p);
		if (p->found && strchr("gpu", p->state) != NULL)
			violation("payment %s has been left %s", p->id, rule_name(p->state));
	}
	claim(good() && n > 0 && lost == 0,
		  "%d payments are there as acknowledged; %d steps were legal and add up to their ledger",
		  n, lines);
	missing = rule_missing();
	if (options.operations >= 100000)
		claim(missing == 0, "every kind of step has happened, but for %d", missing);
}

/* One call of ours against the provider's charge. */
static void
compare_call(Session *s, int row, Payment *p)
{
	char key[KEY_SIZE], state = value(s, row, 4)[0], kind = value(s, row, 3)[0], reference[24];
	int64_t amount = number(s, row, 5);
	int i;
	Charge *charge;

	snprintf(key, sizeof(key), "hf_%s_%s_%s", value(s, row, 0), value(s, row, 1), value(s, row, 2));
	p->calls_of[kind & 127]++;
	i = provider_find(key);
	charge = i < 0 ? NULL : provider_charge(i);
	if (charge != NULL)
		charge->found = true;
	if (state == 'x')
	{
		if (charge != NULL)
			violation("call %s was cancelled, and claimed", key);
		return;
	}
	if (state == 'f' && charge != NULL && !charge->known && charge->in_vain)
	{
		in_vain++;
		return;
	}
	if (charge == NULL || !charge->known)
	{
		violation("call %s is '%c', and the provider has never heard of it", key, state);
		return;
	}
	provider_reference(i, reference, sizeof(reference));
	if ((state == 'f'		? DECLINED
			 : state == 's' ? DONE
							: UNDECIDED) != charge->outcome ||
		charge->amount != amount || charge->kind != kind ||
		(state == 's' && strcmp(reference, value(s, row, 6)) != 0))
		violation("call %s of kind %c is '%c' of %" PRId64 " (%s); at the provider %d of %" PRId64
				  " (%s)",
				  key, kind, state, amount, value(s, row, 6), charge->outcome, charge->amount,
				  reference);
	if (rank(state) < charge->acknowledged)
		violation("call %s is '%c', and something better was acknowledged", key, state);
	if (charge->outcome != DONE)
		return;
	p->set_aside = p->set_aside || (kind == 'a' && !charge->voided && charge->captured == 0);
	p->captures += kind == 's' || kind == 'k';
	p->their_captured += kind == 's' || kind == 'k' ? amount : 0;
	p->their_refunded += kind == 'r' ? amount : 0;
}

static void
compare_calls(Session *s)
{
	int n = 0;

	must(s,
		 "SELECT account_id, payment, n, kind, state, amount, coalesce(reference, '')"
		 " FROM _holdfast.provider_call WHERE account_id BETWEEN %" PRId64 " AND %" PRId64,
		 options.base, options.base + ACCOUNTS - 1);
	for (int row = 0; row < PQntuples(s->result); row++)
	{
		Payment *p = audit_find(number(s, row, 0), value(s, row, 1));

		if (p == NULL)
			violation("there is a call of payment %s, that nobody was told of", value(s, row, 1));
		else
			compare_call(s, row, p);
	}
	for (int i = 0; i < provider_charges(); i++)
	{
		const Charge *charge = provider_charge(i);

		n += charge->known;
		if (charge->known && !charge->found)
			violation("the provider has a charge %s, that is none of ours", charge->key);
	}
	claim(good() && n > 0,
		  "%d charges at the provider are our calls, call by call; %d were looked up in vain", n,
		  in_vain);
}

/* Was the money that had been set aside to be let go? */
static bool
lets_go(const Payment *p)
{
	for (int i = 0; i < p->lines; i++)
		if ((p->line[i].from == 'a' && strcmp(p->line[i].input, "void") == 0) ||
			(strchr("dv", p->line[i].from) && strcmp(p->line[i].input, "authorized") == 0) ||
			(p->authorized > 0 && strcmp(p->line[i].input, "declined") == 0))
			return true;
	return false;
}

/* Money, payment by payment and in all. */
static void
compare_money(Session *s)
{
	Payment *p;
	int captures = 0;
	int64_t theirs[ACCOUNTS] = {0}, captured = 0, refunded = 0;

	FOR_EACH_PAYMENT(p)
	{
		captures += p->captures;
		captured += p->their_captured;
		refunded += p->their_refunded;
		theirs[p->account - options.base] += p->their_captured - p->their_refunded;
		if (p->set_aside && lets_go(p))
			violation("payment %s was given up, and its authorization stands", p->id);
		if (p->captures > 1)
			violation("payment %s was captured %d times", p->id, p->captures);
		if (p->captured != p->their_captured || p->refunded != p->their_refunded)
			violation("payment %s: captured %" PRId64 ", refunded %" PRId64
					  "; at the provider %" PRId64 " and %" PRId64,
					  p->id, p->captured, p->refunded, p->their_captured, p->their_refunded);
		if (p->book[0] != p->captured - p->refunded || p->book[0] + p->book[1] + p->book[2] != 0)
			violation("payment %s: books %" PRId64 " %" PRId64 " %" PRId64, p->id, p->book[0],
					  p->book[1], p->book[2]);
		if (p->state == 'b')
			violation("payment %s keeps money that came for a dead order", p->id);
	}
	must(s,
		 "SELECT account_id, sum(debit - credit) FROM holdfast.balances"
		 " WHERE account_id BETWEEN %" PRId64 " AND %" PRId64 " AND book = 'provider' GROUP BY 1",
		 options.base, options.base + ACCOUNTS - 1);
	for (int row = 0; row < PQntuples(s->result); row++)
	{
		int account = (int) (number(s, row, 0) - options.base);

		if (number(s, row, 1) != theirs[account])
			violation("account %d: %s at the provider by our books, %" PRId64 " by his", account,
					  value(s, row, 1), theirs[account]);
	}
	claim(good() && captures > 0,
		  "money is conserved: %" PRId64 " captured, %" PRId64 " refunded, on both sides", captured,
		  refunded);
	claim(captures > 0, "%d captures, one for each payment at most", captures);
}

static void
compare_requests(void)
{
	Payment *p;
	long n = 0, refusals = 0;

	FOR_EACH_PAYMENT(p)
	{
		explain_payment(p);
		for (int i = 0; i < p->intents; i++)
			n += p->intent[i]->acknowledged;
	}
	claim(good() && n > 0, "%ld acknowledged requests are in the history, once each", n);
	for (int b = 0; b < buyers; b++)
		for (int i = 0; i < all[b].refusals; i++)
		{
			const Refusal *r = &all[b].refusal[i];

			refusals++;
			if (!explain_refusal(r))
				violation("%s (%" PRId64 ") of payment %s was refused with %s from %" PRId64
						  " to %" PRId64 ", which its history does not explain",
						  request_name[r->intent->request], r->intent->amount,
						  r->intent->payment->id, r->code, r->t0, r->t1);
		}
	claim(good() && refusals > 0, "%ld refusals are explained by what was so at that moment",
		  refusals);
}

/* Is the line the one that says that an order was paid? */
static bool
pays(const Line *line)
{
	return strcmp(line->input, "captured") == 0 && line->to == 'c';
}

/*
 * The payment was captured with this line: what the order held when that was asked for is sold, in
 * the same transaction.
 */
static void
compare_sale(const Order *order, const Payment *p, int captured)
{
	const Line *line = &p->line[captured];
	Usec asked = 0;
	int sold = 0;

	for (int i = 0; i < captured; i++)
		if (strcmp(p->line[i].input, "capture") == 0)
			asked = p->line[i].at;
	for (int i = 0; i < order->holds; i++)
	{
		const Held *held = &order->held[i];
		bool now_sold = strcmp(held->state, "confirmed") == 0 && held->ended_at > asked &&
			held->ended_at <= line->at;

		sold += now_sold;
		if (!now_sold && held->held_at < asked && held->ended_at > line->at)
			violation("payment %s of owner %s was captured, and a hold was left behind (%s)", p->id,
					  order->owner, held->state);
	}
	if (sold == 0)
		violation("payment %s of owner %s was captured, and nothing was sold", p->id, order->owner);
}

/* What was paid for is sold, and nothing else. */
static void
compare_holds(void)
{
	int sold = 0, orders = 0, units = 0;

	for (int b = 0; b < buyers; b++)
		for (int o = 0; o < all[b].orders; o++)
		{
			const Order *order = all[b].order[o];
			Usec paid_at[64];
			int paid = 0, live = 0;

			if (!order->owner[0])
				continue;
			orders++;
			for (int i = 0; i < order->payments; i++)
			{
				const Payment *p = order->payment[i];

				live += p->exists && rule_live(p->state);
				for (int k = 0; p->exists && k < p->lines; k++)
					if (pays(&p->line[k]) && paid < 64)
					{
						compare_sale(order, p, k);
						paid_at[paid++] = p->line[k].at;
					}
			}
			/* Once he has all his money back, he may buy something else. */
			if (live > 1)
				violation("owner %s was made to pay %d times", order->owner, live);
			for (int i = 0; i < order->holds; i++)
			{
				bool was_paid = false;

				if (strcmp(order->held[i].state, "confirmed") != 0)
					continue;
				units++;
				for (int k = 0; k < paid; k++)
					was_paid = was_paid ||
						(order->held[i].ended_at <= paid_at[k] &&
						 order->held[i].ended_at > paid_at[k] - SECOND);
				if (!was_paid)
					violation("owner %s got units that were not paid for", order->owner);
			}
			sold += paid > 0;
		}
	claim(good() && sold > 0,
		  "%d of %d orders were paid, and have what they held (%d lines); the others have nothing",
		  sold, orders, units);
}

/* Every acknowledged answer once more. */
static void
compare_replays(Session *s)
{
	Payment *p;
	int n = 0;
	int64_t steps;
	char sql[1024];

	must(s, "SELECT count(*) FROM _holdfast.payment_event");
	steps = number(s, 0, 0);
	FOR_EACH_PAYMENT(p)
	for (int i = 0; i < p->intents && violations() == broken; i++)
	{
		char answer[96];

		if (!p->intent[i]->acknowledged)
			continue;
		n++;
		request_text(sql, sizeof(sql), p->intent[i]);
		if (!session_run(s, "%s", sql))
		{
			violation("key %s was answered, and now gets %s", p->intent[i]->key, session_error(s));
			continue;
		}
		snprintf(answer, sizeof(answer), "%s|%s|%s", value(s, 0, 0), value(s, 0, 1),
				 value(s, 0, 2));
		if (value(s, 0, 3)[0] != 't' || strcmp(answer, p->intent[i]->answer) != 0)
			violation("key %s was answered '%s', and now '%s'", p->intent[i]->key,
					  p->intent[i]->answer, answer);
	}
	must(s, "SELECT count(*) FROM _holdfast.payment_event");
	claim(good() && number(s, 0, 0) == steps, "%d acknowledged answers are replayed the same", n);
}

/* Appends to a string that grows. */
static void
append(char **end, const char *separator, const char *text)
{
	*end += sprintf(*end, "%s%s", separator, text);
}

/* reconcile() with the provider's statement, from which some lines are missing, wrong or double. */
static void
reconcile(Session *s, int faults)
{
	int n = provider_charges(), line = 0, fault = 0;
	char *keys = malloc((size_t) (n + 9) * KEY_SIZE), *amounts = malloc((size_t) (n + 9) * 24),
		 *states = malloc((size_t) (n + 9) * 12), *k = keys, *a = amounts, *t = states, amount[24];

	if (keys == NULL || amounts == NULL || states == NULL)
		abort();
	*k = *a = *t = '\0';
	for (int i = 0; i < n; i++)
	{
		const Charge *charge = provider_charge(i);
		const char *state = charge->outcome == DONE ? "succeeded" : "declined";
		int64_t sum = charge->amount;
		int times = 1;

		if (!charge->known)
			continue;
		/* Only a charge that was made must be in a statement. */
		if (line % 7 == 5 && fault < faults && (fault > 0 || charge->outcome == DONE))
			switch (fault++)
			{
				case 0:
					times = 0; /* missing there */
					break;
				case 1:
					times = 2; /* listed twice */
					break;
				case 2:
					sum++;
					break;
				default:
					state = charge->outcome == DONE ? "pending" : "succeeded";
					break;
			}
		line++;
		snprintf(amount, sizeof(amount), "%" PRId64, sum);
		for (; times > 0; times--)
		{
			append(&k, k == keys ? "" : ",", charge->key);
			append(&a, a == amounts ? "" : ",", amount);
			append(&t, t == states ? "" : ",", state);
		}
	}
	if (faults > 0)
	{
		append(&k, ",", "hf_1_019a0000-0000-7000-8000-000000000000_1");
		append(&a, ",", "1");
		append(&t, ",", "succeeded");
	}
	must(s, "SELECT difference, key FROM holdfast.reconcile('%s', '{%s}', '{%s}', '{%s}')",
		 options.provider, keys, amounts, states);
	free(keys);
	free(amounts);
	free(states);
}

static void
compare_statement(Session *s)
{
	static const char *const expected[] = {"missing there", "listed twice", "amount differs",
										   "state differs", "missing here"};

	reconcile(s, 0);
	for (int row = 0; row < PQntuples(s->result); row++)
		violation("reconcile(): %s %s", value(s, row, 0), value(s, row, 1));
	claim(good(), "reconcile() finds no difference");
	reconcile(s, 4);
	for (int i = 0; i < 5; i++)
	{
		int found = 0;

		for (int row = 0; row < PQntuples(s->result); row++)
			found += strcmp(value(s, row, 0), expected[i]) == 0;
		if (found != 1 || PQntuples(s->result) != 5)
			violation("reconcile() with five faults: '%s' found %d times, %d rows", expected[i],
					  found, PQntuples(s->result));
	}
	claim(good(), "reconcile() finds each of five faults of a statement");
}

static void
compare_stock(Session *s)
{
	must(s, "SELECT holdfast.reap()");
	must(s,
		 "SELECT count(*) FROM holdfast.stock WHERE sku BETWEEN %" PRId64 " AND %" PRId64
		 " AND received = available + held + sold",
		 options.base, options.base + SKUS - 1);
	claim(session_is(s, "00000") && number(s, 0, 0) == SKUS, "no unit has got lost");
	must(s,
		 "SELECT (SELECT count(*) FROM holdfast.open_calls WHERE provider = '%s'),"
		 " (SELECT count(*) FROM holdfast.open_keys),"
		 " (SELECT count(*) FROM pg_prepared_xacts)",
		 options.provider);
	claim(session_is(s, "00000") && number(s, 0, 0) + number(s, 0, 1) + number(s, 0, 2) == 0,
		  "no call, no key and no transaction is left open");
	must(s, "SELECT v::text FROM holdfast.verify() v");
	for (int row = 0; row < PQntuples(s->result); row++)
		violation("verify(): %s", value(s, row, 0));
	claim(good(), "verify() is empty at the end");
}

void
compare_all(Session *s, Buyer *list, int n)
{
	all = list;
	buyers = n;
	audit_read(s, list, n);
	broken = violations() == 0 ? 0 : -1;
	compare_payments();
	compare_calls(s);
	compare_money(s);
	compare_requests();
	compare_holds();
	compare_replays(s);
	sender_repeat_all(s);
	compare_statement(s);
	compare_stock(s);
}
