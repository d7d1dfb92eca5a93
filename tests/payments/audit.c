/*
 * audit.c
 *		verify() all the time; at the end: waiting until nothing is open, and reading it all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "payments.h"

#define BUCKETS 65536

static Payment **bucket[BUCKETS];
static int filled[BUCKETS], room[BUCKETS];

/* The thread of the checker, which must never see anything wrong. */
void *
audit_watch(void *unused)
{
	Session session = {0}, *s = &session;

	(void) unused;
	session_open(s);
	while ((!finish || looks == 0) && violations() == 0)
	{
		Usec begun = now();

		if (session_run(s, "SELECT v::text FROM holdfast.verify() v"))
		{
			for (int row = 0; row < PQntuples(s->result); row++)
				violation("verify(): %s", value(s, row, 0));
			looks++;
		}
		else if (s->lost)
			session_open(s);
		else if (!session_retry(s))
			violation("verify() got %s: %s", s->sqlstate, session_error(s));
		usleep(20000 + (useconds_t) (now() - begun));
	}
	session_close(s);
	free(s->sql);
	return NULL;
}

/* Waits until no call is open and no webhook is to be sent; false if that takes too long. */
bool
audit_drain(Session *s, double seconds)
{
	Usec deadline = now() + (Usec) (seconds * (double) SECOND);

	while (now() < deadline && violations() == 0)
	{
		int pending;

		must(s,
			 "SELECT count(*) FROM _holdfast.provider_call WHERE provider = '%s'"
			 " AND state IN ('d', 'u')",
			 options.provider);
		provider_lock();
		pending = mood_pending();
		provider_unlock();
		if (session_is(s, "00000") && number(s, 0, 0) == 0 && pending == 0)
			return true;
		usleep(20000);
	}
	return false;
}

/* What came for dead orders, and has not gone back by itself, is given back by hand: a bit first. */
void
audit_hand_back(Session *s)
{
	PGresult *rows;

	must(s,
		 "SELECT account_id, id, captured - refunded - refunding FROM _holdfast.payment"
		 " WHERE account_id BETWEEN %" PRId64 " AND %" PRId64
		 " AND state = 'b' AND captured > refunded + refunding",
		 options.base, options.base + ACCOUNTS - 1);
	rows = s->result;
	s->result = NULL;
	for (int row = 0; row < PQntuples(rows); row++)
	{
		const char *account = PQgetvalue(rows, row, 0), *id = PQgetvalue(rows, row, 1);

		if (strcmp(PQgetvalue(rows, row, 2), "1") != 0)
			must(s, "SELECT holdfast.refund_payment(%s, '%s', 'a bit of %s', 1)", account, id, id);
		must(s, "SELECT holdfast.refund_payment(%s, '%s', 'by hand %s')", account, id, id);
	}
	PQclear(rows);
}

static unsigned
hash(int64_t account, const char *id)
{
	uint64_t h = (uint64_t) account;

	while (*id)
		h = mix(h ^ (unsigned char) *id++);
	return (unsigned) (h % BUCKETS);
}

/* The payment that a buyer knows by that name, or NULL. */
Payment *
audit_find(int64_t account, const char *id)
{
	unsigned h = hash(account, id);

	for (int i = 0; i < filled[h]; i++)
		if (bucket[h][i]->account == account && strcmp(bucket[h][i]->id, id) == 0)
			return bucket[h][i];
	return NULL;
}

static void
remember(Payment *p)
{
	unsigned h = hash(p->account, p->id);

	bucket[h] = grow(bucket[h], filled[h], &room[h], sizeof(Payment *));
	bucket[h][filled[h]++] = p;
}

/* Rows of a table about our accounts. */
static void
read_rows(Session *s, const char *columns, const char *table, const char *order)
{
	must(s,
		 "SELECT account_id, %s FROM _holdfast.%s WHERE account_id BETWEEN %" PRId64 " AND %" PRId64
		 " %s",
		 columns, table, options.base, options.base + ACCOUNTS - 1, order);
}

static void
read_payments(Session *s)
{
	int unknown = 0;

	read_rows(s,
			  "id, state, authorized, captured, refunding, refunded, steps, calls, amount,"
			  " currency, method, coalesce(owner::text, '')",
			  "payment", "");
	for (int row = 0; row < PQntuples(s->result); row++)
	{
		Payment *p = audit_find(number(s, row, 0), value(s, row, 1));

		if (p == NULL)
		{
			unknown++;
			continue;
		}
		p->found = true;
		p->state = value(s, row, 2)[0];
		p->authorized = number(s, row, 3);
		p->captured = number(s, row, 4);
		p->refunding = number(s, row, 5);
		p->refunded = number(s, row, 6);
		p->steps = (int) number(s, row, 7);
		p->calls = (int) number(s, row, 8);
		if (p->amount != number(s, row, 9) || strcmp(p->currency, value(s, row, 10)) != 0 ||
			strcmp(p->method, value(s, row, 11)) != 0 ||
			strcmp(p->order->owner, value(s, row, 12)) != 0)
			violation("payment %s is not what was asked for", p->id);
	}
	if (unknown > 0)
		violation("%d payments that nobody was told of", unknown);
}

static void
read_history(Session *s)
{
	read_rows(s,
			  "payment, n, coalesce(call, 0), amount, extract(epoch FROM happened_at) * 1000000,"
			  " from_state, to_state, input",
			  "payment_event", "ORDER BY account_id, payment, n");
	for (int row = 0; row < PQntuples(s->result); row++)
	{
		Payment *p = audit_find(number(s, row, 0), value(s, row, 1));
		Line *line;

		if (p == NULL)
			continue;
		p->line = grow(p->line, p->lines, &p->line_room, sizeof(Line));
		line = &p->line[p->lines++];
		memset(line, 0, sizeof(Line));
		line->n = (int) number(s, row, 2);
		line->call = (int) number(s, row, 3);
		line->amount = number(s, row, 4);
		line->at = number(s, row, 5);
		line->from = value(s, row, 6)[0];
		line->to = value(s, row, 7)[0];
		snprintf(line->input, sizeof(line->input), "%s", value(s, row, 8));
	}
}

static void
read_ledger(Session *s)
{
	read_rows(s, "payment, book, sum(amount)", "ledger_entry",
			  "GROUP BY account_id, payment, book");
	for (int row = 0; row < PQntuples(s->result); row++)
	{
		Payment *p = audit_find(number(s, row, 0), value(s, row, 1));

		if (p == NULL)
			violation("the ledger has a payment %s that nobody was told of", value(s, row, 1));
		else
			p->book[strchr("psd", value(s, row, 2)[0]) - "psd"] = number(s, row, 3);
	}
}

static int
by_owner(const void *a, const void *b)
{
	return strcmp((*(Order *const *) a)->owner, (*(Order *const *) b)->owner);
}

/* What has become of the holds. */
static void
read_holds(Session *s, Buyer *buyers, int n)
{
	Order **all = NULL;
	int orders = 0, order_room = 0;

	for (int i = 0; i < n; i++)
		for (int k = 0; k < buyers[i].orders; k++)
			if (buyers[i].order[k]->owner[0])
			{
				all = grow(all, orders, &order_room, sizeof(Order *));
				all[orders++] = buyers[i].order[k];
			}
	qsort(all, (size_t) orders, sizeof(Order *), by_owner);
	must(s,
		 "SELECT owner, state, extract(epoch FROM held_at) * 1000000,"
		 " extract(epoch FROM coalesce(ended_at, 'infinity')) * 1000000"
		 " FROM holdfast.holds WHERE sku BETWEEN %" PRId64 " AND %" PRId64,
		 options.base, options.base + SKUS - 1);
	for (int row = 0; row < PQntuples(s->result); row++)
	{
		Order key, *name = &key, **found, *order;
		Held *held;

		snprintf(key.owner, sizeof(key.owner), "%s", value(s, row, 0));
		found = orders ? bsearch(&name, all, (size_t) orders, sizeof(Order *), by_owner) : NULL;
		if (found == NULL)
		{
			violation("somebody unknown holds units: %s", key.owner);
			continue;
		}
		order = *found;
		order->held = grow(order->held, order->holds, &order->hold_room, sizeof(Held));
		held = &order->held[order->holds++];
		snprintf(held->state, sizeof(held->state), "%s", value(s, row, 1));
		held->held_at = number(s, row, 2);
		held->ended_at = number(s, row, 3);
		if (strcmp(held->state, "pinned") == 0)
			violation("a hold of owner %s is pinned for ever", key.owner);
	}
	free(all);
}

/* Reads what the database has about this run into the buyers' payments and orders. */
void
audit_read(Session *s, Buyer *buyers, int n)
{
	for (int i = 0; i < n; i++)
		for (int k = 0; k < buyers[i].orders; k++)
			for (int j = 0; j < buyers[i].order[k]->payments; j++)
				if (buyers[i].order[k]->payment[j]->exists)
					remember(buyers[i].order[k]->payment[j]);
	read_payments(s);
	read_history(s);
	read_ledger(s);
	read_holds(s, buyers, n);
}
