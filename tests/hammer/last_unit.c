/*
 * last_unit.c
 *		Many buyers, one unit: each round a new SKU with one unit, and a starting gun.
 *
 * The buyers use all three isolation levels side by side. One who is told to try again does.
 */
#include <inttypes.h>
#include <string.h>

#include "hammer.h"

static pthread_barrier_t gun;
static atomic_int winners;
static int wrong_rounds;

void *
last_unit_run(void *arg)
{
	static const char *const level[] = {"read committed", "repeatable read", "serializable"};
	Client *c = arg;

	db_connect(c);
	db_run(c, "SET default_transaction_isolation = '%s'", level[c->number % 3]);
	db_run(c, "PREPARE buy (uuid, bigint) AS SELECT holdfast.reserve($1, $2, 1)");
	for (int round = 0; round < options.rounds; round++)
	{
		Owner buyer;

		model_new_owner(c, &buyer);
		pthread_barrier_wait(&gun);
		do
			db_run(c, "EXECUTE buy ('%s', %" PRId64 ")", buyer.id, options.base + round);
		while (db_is(c, "40001 40P01"));
		if (db_is(c, "00000"))
			winners++;
		else if (!db_is(c, "HF001"))
			violation("%s: %s", c->sql, PQresultErrorMessage(c->result));
		if (pthread_barrier_wait(&gun) == PTHREAD_BARRIER_SERIAL_THREAD)
		{
			wrong_rounds += winners != 1;
			winners = 0;
		}
	}
	db_close(c);
	return NULL;
}

void
last_unit_report(Client *clients)
{
	Client *c = &clients[0];

	pthread_barrier_init(&gun, NULL, options.clients);
	db_connect(c);
	db_run(c, "SELECT holdfast.receive(sku, 1) FROM generate_series(%" PRId64 ", %" PRId64 ") sku",
		   options.base, options.base + options.rounds - 1);
	run_threads(clients, options.clients, last_unit_run);
	db_connect(c);
	db_run(c,
		   "SELECT count(*) FROM holdfast.stock WHERE sku BETWEEN %" PRId64 " AND %" PRId64
		   " AND (available, held) = (0, 1)",
		   options.base, options.base + options.rounds - 1);
	claim(wrong_rounds == 0 && violations() == 0 && db_number(c, 0, 0) == options.rounds,
		  "%d buyers and 1 unit, lane locks %s: exactly one winner in each of %d rounds",
		  options.clients, options.lane_locking ? "on" : "off", options.rounds);
	db_run(c, "SELECT count(*) FROM holdfast.verify()");
	claim(db_number(c, 0, 0) == 0, "verify() finds nothing after the rounds");
	db_close(c);
}
