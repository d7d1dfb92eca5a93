/*
 * writer.c
 *		Changes rows as fast as it can, and remembers when each change had been committed.
 *
 * The time is taken after the commit, so a reader is never said to be further behind than it is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "race.h"

#define CHANGE_SQL "UPDATE item SET version = version + 1 WHERE id = $1 RETURNING version"

/* A change has been committed, by whoever has seen the row's version last. */
void
row_changed(int64_t id, int64_t version)
{
	Change *change = &row[id].change[version % HISTORY];

	change->version = -1;
	change->at = now();
	change->version = version;
}

/*
 * How long, at that moment, had it been known that the version is not the last?  0 if it was, or
 * nothing is known; never too much.
 */
Usec
row_behind(int64_t id, int64_t version, Usec when)
{
	Change *change = &row[id].change[(version + 1) % HISTORY];
	int64_t found = change->version;
	Usec at = change->at;

	if (found <= version || found != change->version || at > when)
		return 0;
	return when - at;
}

static int64_t
any_id(Client *c)
{
	return 1 + (int64_t) rnd(&c->random, (uint64_t) options.keys);
}

static void
change_one(Client *c)
{
	int64_t id = any_id(c);
	int64_t version = session_number(c->conn, CHANGE_SQL, id);

	row_changed(id, version);
	c->writes++;
}

/* Two rows in one transaction, the lower first so that writers do not deadlock. */
static void
change_two(Client *c, bool commit)
{
	int64_t id[2] = {any_id(c), any_id(c)}, version[2];

	if (id[0] > id[1])
	{
		int64_t higher = id[0];

		id[0] = id[1];
		id[1] = higher;
	}
	session_do(c->conn, "BEGIN");
	for (int i = 0; i < 2; i++)
		version[i] = session_number(c->conn, CHANGE_SQL, id[i]);
	session_do(c->conn, commit ? "COMMIT" : "ROLLBACK");
	for (int i = 0; commit && i < 2; i++)
		row_changed(id[i], version[i]);
	c->writes += commit ? 2 : 0;
}

/* The thread of a writer. */
void *
writer_run(void *client)
{
	Client *c = client;

	c->conn = session_open("cache race writer");
	while (!stop)
	{
		while (!quiet)
		{
			uint64_t dice = rnd(&c->random, 10);

			if (dice < 8)
				change_one(c);
			else
				change_two(c, dice == 8);
		}
		session_sync(c->conn);
		pthread_barrier_wait(&meeting);
		pthread_barrier_wait(&meeting);
	}
	PQfinish(c->conn);
	return NULL;
}
