/*
 * buyer.c
 *		What buyers do: hold units, pay for them in all ways, change their mind, make mistakes.
 *
 * A buyer looks at a payment now and then and mostly asks for what makes sense; he also asks for
 * what does not.  He repeats old requests, and uses old keys for other requests.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "payments.h"

void
buyer_uuid(const Buyer *b, unsigned what, uint64_t n, char *id)
{
	snprintf(id, 37, "%08x-%04x-7000-%04x-%012" PRIx64, (unsigned) options.base,
			 (unsigned) b->number & 0xffff, what, n & UINT64_C(0xffffffffffff));
}

/* A statement whose answer does not matter. */
static void
try(Buyer *b, const char *sql)
{
	Session *s = &b->session[0];

	if (!session_run(s, "%s", sql) && !s->lost && !session_retry(s) &&
		strncmp(s->sqlstate, "HF0", 3) != 0)
		violation("%s: %s (%s)", sql, session_error(s), s->sqlstate);
	if (s->lost)
		session_open(s);
}

/* Prints a reserve() of a few SKUs; with units that are there, or else of an unknown SKU. */
static void
print_reserve(Buyer *b, const Order *order, char *sql, size_t size)
{
	int first = (int) rnd(&b->random, SKUS), n = 1 + (int) rnd(&b->random, 3);
	char skus[100] = "", quantities[40] = "";

	for (int i = 0; i < n; i++)
	{
		sprintf(skus + strlen(skus), "%s%" PRId64, i ? "," : "",
				options.base + (first + i * 3) % SKUS);
		sprintf(quantities + strlen(quantities), "%s%d", i ? "," : "",
				1 + (int) rnd(&b->random, 3));
	}
	snprintf(sql, size, "SELECT holdfast.reserve('%s', '{%s}'::bigint[], '{%s}', '%d ms')",
			 order->owner, skus, quantities,
			 chance(&b->random, 35) ? 20 + (int) rnd(&b->random, 400) : 600000);
}

/* Another payment for the order; p_then and p_payment as they come. */
static void
create(Buyer *b, Order *order, const char *before)
{
	Payment *p = payment_new(b, order, order->account);
	Intent *intent = intent_new(b, p, CREATE);
	uint64_t pick = rnd(&b->random, 100);

	intent->then = pick < 40 ? REQUESTS : pick < 65 ? AUTHORIZE : CAPTURE;
	intent->names_id = chance(&b->random, 60);
	request_run(b, intent, before);
}

static void
start_order(Buyer *b, int slot)
{
	Order *order = calloc(1, sizeof(Order));
	char sql[400];

	if (order == NULL)
		abort();
	order->account = options.base + (int64_t) rnd(&b->random, ACCOUNTS);
	b->order = grow(b->order, b->orders, &b->order_room, sizeof(Order *));
	b->order[b->orders++] = b->slot[slot] = order;
	b->steps[slot] = 0;
	if (!chance(&b->random, 75))
	{
		create(b, order, NULL);
		return;
	}
	buyer_uuid(b, 0x9000, ++b->owners, order->owner);
	print_reserve(b, order, sql, sizeof(sql));
	if (chance(&b->random, 50))
		create(b, order, sql);
	else
	{
		try(b, sql);
		create(b, order, NULL);
	}
}

static int64_t
part_of(Buyer *b, int64_t amount)
{
	return 1 + (int64_t) rnd(&b->random, (uint64_t) amount);
}

/* A request of a kind, with an amount and a currency or without. */
static Intent *
request_new(Buyer *b, Payment *p, Request request)
{
	Intent *intent = intent_new(b, p, request);

	if (request != CAPTURE && request != REFUND)
		return intent;
	if (chance(&b->random, 45))
		intent->amount = part_of(b, p->amount);
	else if (chance(&b->random, 5))
		intent->amount = p->amount + 1;
	if (chance(&b->random, 20))
		intent->currency = chance(&b->random, 90) ? p->currency : "CHF";
	return intent;
}

static void
ask(Buyer *b, Payment *p, Request request)
{
	request_run(b, request_new(b, p, request), NULL);
}

static void
look(Buyer *b, Payment *p)
{
	Session *s = &b->session[0];

	if (session_run(s,
					"SELECT state FROM _holdfast.payment WHERE account_id = %" PRId64
					" AND id = '%s'",
					p->account, p->id))
	{
		if (PQntuples(s->result) != 1)
			violation("payment %s was acknowledged, and is not there", p->id);
		else
			p->seen = value(s, 0, 0)[0];
	}
	else if (s->lost)
		session_open(s);
}

/* What makes sense in the state that was seen last. */
static void
go_on(Buyer *b, Order *order, Payment *p, int slot)
{
	uint64_t pick = rnd(&b->random, 100);

	switch (p->seen)
	{
		case 'n':
			ask(b, p, pick < 45 ? AUTHORIZE : pick < 90 ? CAPTURE : VOID);
			break;
		case 'g':
		case 'u':
			if (pick < 10)
				ask(b, p, VOID);
			break;
		case 'a':
			if (pick < 75)
				ask(b, p, pick < 60 ? CAPTURE : VOID);
			break;
		case 'c':
		case 'q':
			if (pick < 50)
				ask(b, p, REFUND);
			else if (pick < 70)
				b->slot[slot] = NULL;
			break;
		case 'b':
			if (pick < 30)
				ask(b, p, REFUND);
			break;
		case 'p':
			break;
		default:
			if (pick < 40)
				create(b, order, NULL);
			else
				b->slot[slot] = NULL;
			break;
	}
	look(b, p);
}

/* A request of this buyer that has been acknowledged, or NULL. */
static Intent *
any_acknowledged(Buyer *b, const Order *order)
{
	const Payment *p;

	if (order->payments == 0 || chance(&b->random, 30))
		order = b->order[rnd(&b->random, (uint64_t) b->orders)];
	if (order->payments == 0)
		return NULL;
	p = order->payment[rnd(&b->random, (uint64_t) order->payments)];
	for (int tries = 0; tries < 4 && p->intents > 0; tries++)
	{
		Intent *intent = p->intent[rnd(&b->random, (uint64_t) p->intents)];

		if (intent->acknowledged)
			return intent;
	}
	return NULL;
}

/* A statement that has to be refused with one of these codes. */
static void
refused(Buyer *b, const char *codes, const char *sql)
{
	Session *s = &b->session[0];

	session_run(s, "%s", sql);
	if (s->lost)
		session_open(s);
	else if (!session_is(s, codes) && !session_retry(s))
		violation("got %s (%s), not %s: %s", s->sqlstate,
				  session_is(s, "00000") ? "done" : session_error(s), codes, sql);
}

/* An acknowledged key for another request. */
static void
reuse_key(Buyer *b, const Intent *old)
{
	Intent intent = *old;
	Payment other = *old->payment;
	char sql[1024];

	intent.payment = &other;
	if (intent.request == CREATE)
		switch (rnd(&b->random, 4))
		{
			case 0:
				other.amount++;
				break;
			case 1:
				other.currency = "CHF";
				break;
			case 2:
				other.method[5] ^= 1;
				break;
			default:
				intent.then = intent.then == AUTHORIZE ? CAPTURE : AUTHORIZE;
				break;
		}
	else if ((intent.request == CAPTURE || intent.request == REFUND) && chance(&b->random, 50))
		intent.amount = intent.amount + 1;
	else
		buyer_uuid(b, 0xa000, rnd(&b->random, 1000), other.id);
	request_text(sql, sizeof(sql), &intent);
	refused(b, "HF021", sql);
	b->reused++;
}

/* What nobody should ask for. */
static void
mistake(Buyer *b, const Payment *p)
{
	static const char *const bad[][2] = {
		{"HF019", "'1234567', 100, 'EUR', '%s', 'm'"},
		{"HF019", "repeat('k', 256), 100, 'EUR', '%s', 'm'"},
		{"HF019", "E'12345678\\n', 100, 'EUR', '%s', 'm'"},
		{"HF019", "'1234567\xc3\xbc', 100, 'EUR', '%s', 'm'"},
		{"22004", "NULL, 100, 'EUR', '%s', 'm'"},
		{"HF024", "'mistakes', 0, 'EUR', '%s', 'm'"},
		{"HF024", "'mistakes', -5, 'EUR', '%s', 'm'"},
		{"HF024", "'mistakes', 1000000000000001, 'EUR', '%s', 'm'"},
		{"HF025", "'mistakes', 100, 'EUX', '%s', 'm'"},
		{"HF025", "'mistakes', 100, 'eur', '%s', 'm'"},
		{"HF025", "'mistakes', 100, '', '%s', 'm'"},
		{"HF032", "'mistakes', 100, 'EUR', 'not %s', 'm'"},
		{"HF033", "'mistakes', 100, 'EUR', '%s', ''"},
		{"HF033", "'mistakes', 100, 'EUR', '%s', E'a\\tb'"},
		{"HF033", "'mistakes', 100, 'EUR', '%s', repeat('m', 256)"},
		{"22023", "'mistakes', 100, 'EUR', '%s', 'm', p_then => 'refund'"},
	};
	int pick = (int) rnd(&b->random, 22);
	int64_t mine = options.base + 100 + b->number; /* an account without payments */
	char sql[600], arguments[400];

	if (pick < 16)
	{
		snprintf(arguments, sizeof(arguments), bad[pick][1], options.provider);
		snprintf(sql, sizeof(sql), "SELECT holdfast.create_payment(%" PRId64 ", %s)", mine,
				 arguments);
		refused(b, bad[pick][0], sql);
		return;
	}
	switch (pick)
	{
		case 16:
			snprintf(sql, sizeof(sql),
					 "SELECT holdfast.capture_payment(%" PRId64 ", '%s', 'mistakes', -1)",
					 p->account, p->id);
			refused(b, "HF024", sql);
			break;
		case 17:
			snprintf(sql, sizeof(sql),
					 "SELECT holdfast.refund_payment(%" PRId64 ", '%s', 'mistakes')", mine, p->id);
			refused(b, "HF027", sql);
			break;
		case 18:
			snprintf(sql, sizeof(sql),
					 "SELECT holdfast.create_payment(%" PRId64
					 ", 'mistakes %d', 100, 'EUR', '%s', 'm', p_payment => '%s')",
					 p->account, b->number, options.provider, p->id);
			refused(b, "HF034", sql);
			break;
		case 19:
			snprintf(sql, sizeof(sql),
					 "SELECT holdfast.record_result(%" PRId64 ", '%s', 77, 'succeeded')",
					 p->account, p->id);
			refused(b, "HF035", sql);
			break;
		case 20:
			snprintf(sql, sizeof(sql),
					 "SELECT holdfast.record_result(%" PRId64 ", '%s', 1, 'paid')", p->account,
					 p->id);
			refused(b, "22023", sql);
			break;
		default:
			snprintf(sql, sizeof(sql), "SELECT holdfast.complete_key(%" PRId64 ", '%s', '%s', '')",
					 p->account, "create_payment", "mistakes");
			refused(b, "HF023", sql);
			break;
	}
}

/* The owner's holds change, whatever is under way. */
static void
change_holds(Buyer *b, const Order *order)
{
	char sql[400];

	if (!order->owner[0])
		return;
	switch (rnd(&b->random, 5))
	{
		case 0:
			snprintf(sql, sizeof(sql), "SELECT holdfast.release('%s')", order->owner);
			break;
		case 1:
			snprintf(sql, sizeof(sql), "SELECT holdfast.release('%s', '{%" PRId64 "}', '{1}')",
					 order->owner, options.base + (int64_t) rnd(&b->random, SKUS));
			break;
		case 2:
			snprintf(sql, sizeof(sql), "SELECT holdfast.extend('%s', '%d ms')", order->owner,
					 (int) rnd(&b->random, 1000) + 1);
			break;
		case 3:
			snprintf(sql, sizeof(sql), "SELECT holdfast.give_back('%s', %" PRId64 ")", order->owner,
					 options.base + (int64_t) rnd(&b->random, SKUS));
			break;
		default:
			print_reserve(b, order, sql, sizeof(sql));
			break;
	}
	try(b, sql);
}

/* Two payments for the same order, or two refunds of one payment, at the same moment. */
static void
two_at_once(Buyer *b, Order *order, Payment *p)
{
	Payment *other = order->payment[rnd(&b->random, (uint64_t) order->payments)];
	Request one = p->seen == 'c' || p->seen == 'q' ? REFUND : CAPTURE;

	if (other->exists)
		request_twin(b, request_new(b, p, one),
					 request_new(b, other, chance(&b->random, 30) ? VOID : one));
}

static void
step(Buyer *b, int slot)
{
	Order *order = b->slot[slot];
	Payment *p = NULL;
	Intent *old;
	uint64_t pick = rnd(&b->random, 100);

	for (int i = 0; i < order->payments; i++)
		if (order->payment[i]->exists && (p == NULL || chance(&b->random, 85)))
			p = order->payment[i];
	if (p == NULL || b->steps[slot]++ > 40)
	{
		b->slot[slot] = NULL;
		return;
	}
	if (pick < 62)
		go_on(b, order, p, slot);
	else if (pick < 71)
		ask(b, p, AUTHORIZE + rnd(&b->random, REFUND));
	else if (pick < 81)
	{
		old = any_acknowledged(b, order);
		if (old != NULL)
			request_run(b, old, NULL);
	}
	else if (pick < 85)
	{
		old = any_acknowledged(b, order);
		if (old != NULL)
			reuse_key(b, old);
	}
	else if (pick < 88)
		mistake(b, p);
	else if (pick < 92)
		change_holds(b, order);
	else if (pick < 94)
		create(b, order, NULL);
	else if (pick < 97)
		two_at_once(b, order, p);
	else
		b->slot[slot] = NULL;
}

/* The thread of one buyer. */
void *
buyer_run(void *buyer)
{
	Buyer *b = buyer;

	for (int i = 0; i < 2; i++)
	{
		b->session[i].random = &b->random;
		session_open(&b->session[i]);
	}
	while (!stop && violations() == 0)
	{
		int slot = (int) rnd(&b->random, SLOTS);

		if (options.operations > 0 && operations >= options.operations)
			break;
		if (b->slot[slot] == NULL)
			start_order(b, slot);
		else
			step(b, slot);
	}
	for (int i = 0; i < 2; i++)
	{
		session_close(&b->session[i]);
		free(b->session[i].sql);
		b->session[i].sql = NULL;
	}
	return NULL;
}
