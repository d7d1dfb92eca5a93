/*
 * audit.c
 *		The checks: invariants all the time, the journal and the sell-out at the end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hammer.h"

#define LOOK_PAUSE 20000 /* microseconds between two looks */

static atomic_long looks;

long
audit_looks(void)
{
	return looks;
}

/* Looks for broken invariants once; the answer is a violation for each. */
static void
look(Client *c)
{
	if (!db_run(c, "SELECT invariant, sku, owner, detail FROM holdfast.verify()"))
		return;
	for (int row = 0; row < PQntuples(c->result); row++)
		violation("verify(): %s: SKU %s, owner %s, %s", db_value(c, row, 0), db_value(c, row, 1),
				  db_value(c, row, 2), db_value(c, row, 3));
	if (!db_run(c,
				"SELECT sku, received, available, held, sold FROM holdfast.stock"
				" WHERE least(available, held, sold) < 0 OR received <> available + held + sold"))
		return;
	for (int row = 0; row < PQntuples(c->result); row++)
		violation("stock: SKU %s received %s, available %s, held %s, sold %s", db_value(c, row, 0),
				  db_value(c, row, 1), db_value(c, row, 2), db_value(c, row, 3),
				  db_value(c, row, 4));
	looks++;
}

/* The thread of the checker, which must never see anything wrong. */
void *
audit_watch(void *arg)
{
	Client *c = arg;

	db_connect(c);
	while ((!stop || looks == 0) && violations() == 0)
	{
		look(c);
		if (c->lost && options.survive)
			db_connect(c);
		else if (c->sqlstate[0] != '0' && !db_retry(c))
			violation("the checker got: %s", PQresultErrorMessage(c->result));
		usleep(LOOK_PAUSE);
	}
	db_close(c);
	return NULL;
}

static int
by_identity(const void *a, const void *b)
{
	const Record *x = a, *y = b;
	int order = strcmp(x->owner, y->owner);

	return order ? order : x->sku - y->sku;
}

/* All journals in one, in order of identity. */
static Record *
merge_journals(Client *clients, int *n)
{
	Record *all;

	*n = 0;
	for (int i = 0; i < options.clients; i++)
		*n += clients[i].records;
	all = malloc(sizeof(Record) * (*n + 1));
	if (all == NULL)
		abort();
	*n = 0;
	for (int i = 0; i < options.clients; i++)
	{
		if (clients[i].records > 0)
			memcpy(all + *n, clients[i].journal, sizeof(Record) * clients[i].records);
		*n += clients[i].records;
	}
	qsort(all, *n, sizeof(Record), by_identity);
	return all;
}

/* Waits for the deadlines that are near, and tidies up. */
static void
quiesce(Client *c, const Record *all, int n)
{
	Usec now = db_now(), last = now;

	for (int i = 0; i < n; i++)
		if (all[i].hold.state == HELD && all[i].hold.hi < now + 10000000 && all[i].hold.hi > last)
			last = all[i].hold.hi;
	usleep(last - now + 1000);
	do
		db_run(c, "SELECT holdfast.reap()");
	while (db_retry(c) || (db_is(c, "00000") && db_number(c, 0, 0) > 0));
	db_run(
		c,
		"SELECT count(*) FROM _holdfast.hold WHERE state = 'h' AND expires_at <= clock_timestamp()");
	claim(db_is(c, "00000") && db_number(c, 0, 0) == 0,
		  "after the deadlines and a sweep no expired hold is left");
}

/* Reports one difference between what was acknowledged and what is there; the first few. */
static void
report(const char *what, const char *owner, int sku, const Hold *hold)
{
	static int reported;
	char text[120];

	if (reported++ < 10)
		printf("# %s: owner %s, SKU %d: %s\n", what, owner, sku,
			   model_text(hold, text, sizeof(text)));
}

/* Holds of the run in order of identity, with the owner's sales and returns in the ledger. */
static bool
read_holds(Client *c)
{
	return db_run(
		c,
		"SELECT owner, sku - %" PRId64 ", " HOLD_COLUMNS
		", coalesce(sales, 0), coalesce(sold, 0), coalesce(back, 0)"
		" FROM holdfast.holds FULL JOIN"
		" (SELECT owner, sku, count(*) FILTER (WHERE kind = 'sold') AS sales,"
		"  -sum(quantity) FILTER (WHERE kind = 'sold') AS sold,"
		"  sum(quantity) FILTER (WHERE kind = 'given back') AS back"
		"  FROM holdfast.movements WHERE owner IS NOT NULL GROUP BY owner, sku) m USING (owner, sku)"
		" WHERE sku BETWEEN %" PRId64 " AND %" PRId64 " ORDER BY owner::text COLLATE \"C\", sku",
		options.base, options.base, options.base + options.skus - 1);
}

/* Compares the journal with the holds and with the ledger, one by one. */
static void
compare_holds(Client *c, const Record *all, int n)
{
	int lost = 0, extra = 0, different = 0, row = 0, i = 0;

	if (!read_holds(c))
		violation("%s", PQresultErrorMessage(c->result));
	while (i < n || row < PQntuples(c->result))
	{
		Record found = {.sku = 0};
		int order, sold;

		if (row < PQntuples(c->result))
		{
			snprintf(found.owner, sizeof(found.owner), "%s", db_value(c, row, 0));
			found.sku = (int) db_number(c, row, 1);
			(void) model_read_hold(c, row, 2, &found.hold);
		}
		order = i == n ? 1 : found.owner[0] == '\0' ? -1 : by_identity(&all[i], &found);
		if (order < 0)
		{
			report("lost", all[i].owner, all[i].sku, &all[i].hold);
			lost++;
			i++;
			continue;
		}
		if (order > 0)
		{
			report("never acknowledged", found.owner, found.sku, &found.hold);
			extra++;
			row++;
			continue;
		}
		sold = found.hold.state == CONFIRMED;
		if (!model_matches(&all[i].hold, &found.hold) || db_number(c, row, 6) != sold ||
			(sold &&
			 (db_number(c, row, 7) != found.hold.quantity ||
			  db_number(c, row, 8) != found.hold.returned)))
		{
			report("acknowledged", all[i].owner, all[i].sku, &all[i].hold);
			report("found", found.owner, found.sku, &found.hold);
			different++;
		}
		i++;
		row++;
	}
	claim(lost == 0 && extra == 0 && different == 0 && n > 0,
		  "%d holds are there as acknowledged: %d lost, %d never acknowledged, %d different", n,
		  lost, extra, different);
}

/* Compares the units of every SKU with the sum of what the clients know. */
static void
compare_stock(Client *c, const Client *clients, const Record *all, int n)
{
	int64_t held[SKUS_MAX] = {0}, sold[SKUS_MAX] = {0}, received[SKUS_MAX] = {0};
	Usec now = db_now();
	int wrong = 0;

	for (int i = 0; i < n; i++)
	{
		if (all[i].hold.state == HELD && all[i].hold.lo > now)
			held[all[i].sku] += all[i].hold.quantity;
		if (all[i].hold.state == CONFIRMED)
			sold[all[i].sku] += all[i].hold.quantity - all[i].hold.returned;
	}
	for (int i = 0; i < options.clients; i++)
		for (int sku = 0; sku < options.skus; sku++)
			received[sku] += clients[i].world.gained[sku];
	db_run(c,
		   "SELECT sku - %" PRId64
		   ", received, held, sold, available FROM holdfast.stock WHERE sku BETWEEN %" PRId64
		   " AND %" PRId64,
		   options.base, options.base, options.base + options.skus - 1);
	wrong += PQntuples(c->result) != options.skus;
	for (int row = 0; row < PQntuples(c->result); row++)
	{
		int sku = (int) db_number(c, row, 0);
		int64_t available = received[sku] - held[sku] - sold[sku];

		if (db_number(c, row, 1) == received[sku] && db_number(c, row, 2) == held[sku] &&
			db_number(c, row, 3) == sold[sku] && db_number(c, row, 4) == available)
			continue;
		wrong++;
		printf("# SKU %d: acknowledged received %" PRId64 ", held %" PRId64 ", sold %" PRId64
			   ", available %" PRId64 "; found %s, %s, %s, %s\n",
			   sku, received[sku], held[sku], sold[sku], available, db_value(c, row, 1),
			   db_value(c, row, 2), db_value(c, row, 3), db_value(c, row, 4));
	}
	claim(wrong == 0,
		  "units are conserved: received = available + held + sold, as acknowledged, for %d SKUs",
		  options.skus);
}

/* The thread of a buyer who takes what there is of every SKU, in smaller and smaller bites. */
void *
audit_sell_out(void *arg)
{
	Client *c = arg;

	db_connect(c);
	for (int i = 0; i < options.skus; i++)
	{
		int64_t sku = options.base + (i + c->number) % options.skus;
		int64_t bite;

		db_run(c, "SELECT holdfast.available(%" PRId64 ")", sku);
		bite = 1 + db_number(c, 0, 0) / (4 * options.clients);
		while (violations() == 0)
		{
			Owner buyer;

			model_new_owner(c, &buyer);
			if (db_run(c,
					   "BEGIN; SELECT holdfast.reserve('%s', %" PRId64 ", %" PRId64
					   "); SELECT holdfast.confirm('%s'); COMMIT",
					   buyer.id, sku, bite, buyer.id))
			{
				c->sold += bite;
				continue;
			}
			if (!db_is(c, "HF001") && !db_retry(c))
				violation("selling out: %s", PQresultErrorMessage(c->result));
			if (db_is(c, "HF001") && bite == 1)
				break;
			bite = db_retry(c) ? bite : bite / 2;
			db_run(c, "ROLLBACK");
		}
		db_run(c, "ROLLBACK");
	}
	db_close(c);
	return NULL;
}

/* Ends all live holds, half sold and half released, and lets the clients buy the rest. */
static void
sell_out(Client *c, Client *clients)
{
	db_run(
		c,
		"SELECT CASE WHEN owner::text < md5(owner::text) THEN holdfast.confirm(owner, ARRAY[sku])"
		" ELSE holdfast.release(owner, ARRAY[sku]) END"
		" FROM (SELECT owner, sku FROM holdfast.holds WHERE state IN ('held', 'pinned')"
		"  AND sku BETWEEN %" PRId64 " AND %" PRId64 ") live",
		options.base, options.base + options.skus - 1);
	if (!db_is(c, "00000"))
		violation("%s", PQresultErrorMessage(c->result));
	run_threads(clients, options.clients, audit_sell_out);
	db_run(c,
		   "SELECT count(*), sum(sold) FROM holdfast.stock WHERE sku BETWEEN %" PRId64
		   " AND %" PRId64 " AND (available, held) = (0, 0) AND sold = received",
		   options.base, options.base + options.skus - 1);
	claim(violations() == 0 && db_number(c, 0, 0) == options.skus,
		  "%s SKUs sell out to exactly zero", db_value(c, 0, 0));
}

void
audit_after(Client *c, Client *clients)
{
	int n;
	Record *all = merge_journals(clients, &n);

	db_connect(c);
	quiesce(c, all, n);
	compare_holds(c, all, n);
	compare_stock(c, clients, all, n);
	sell_out(c, clients);
	look(c);
	db_close(c);
	free(all);
}
