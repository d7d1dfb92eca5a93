/*
 * writer.c
 *		A client that changes rows in one way after another, and what ways are made of.
 *
 * What a transaction has changed is collected as RETURNING tells it, and goes to the journal when
 * the commit is acknowledged.  A connection that breaks before leaves that open: after connecting
 * again a prepared transaction is committed if it is there, and what the database has is
 * acknowledged; the audit finds what was not even returned.  A failed statement rolls back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checker.h"

static atomic_bool paused;
static atomic_int idle;

/*
 * The table, its versions, and a function in PL/pgSQL that changes rows and thinks better of
 * some.
 */
const char *
writer_setup(void)
{
	return "CREATE SEQUENCE item_version CACHE 1;"
		   "CREATE TABLE item (id int PRIMARY KEY, shelf int NOT NULL, version bigint NOT NULL)"
		   " WITH (fillfactor = 50);"
		   "CREATE FUNCTION item_change(p_ids int[], p_fails boolean[])"
		   " RETURNS TABLE (changed int, became bigint) LANGUAGE plpgsql AS $$\n"
		   "BEGIN\n"
		   "    FOR i IN 1 .. array_length(p_ids, 1) LOOP\n"
		   "        BEGIN\n"
		   "            UPDATE item SET version = nextval('item_version') WHERE id = p_ids[i]"
		   " RETURNING id, version INTO changed, became;\n"
		   "            IF p_fails[i] THEN RAISE division_by_zero; END IF;\n"
		   "            IF changed IS NOT NULL THEN RETURN NEXT; END IF;\n"
		   "        EXCEPTION WHEN division_by_zero THEN NULL;\n"
		   "        END;\n"
		   "    END LOOP;\n"
		   "END $$;";
}

/* Notes what the last statement has returned: id, version. */
void
writer_note(Writer *w)
{
	for (int row = 0; row < PQntuples(w->own.result) && w->changes < ROWS; row++)
		w->change[w->changes++] =
			(Change){.id = (int) db_number(&w->own, row, 0), .version = db_number(&w->own, row, 1)};
}

bool
writer_change_rows(Writer *w, int first, int last)
{
	if (!db_run(&w->own,
				"UPDATE item SET version = nextval('item_version') WHERE id BETWEEN %d AND %d"
				" RETURNING id, version",
				first, last))
		return false;
	writer_note(w);
	return true;
}

bool
writer_change_row(Writer *w, int id)
{
	return writer_change_rows(w, id, id);
}

/* A range of up to so many rows; returns the first. */
int
writer_range(Writer *w, int most, int *last)
{
	int length = 1 + (int) rnd(&w->random, most);
	int first = 1 + (int) rnd(&w->random, options.keys - length + 1);

	*last = first + length - 1;
	return first;
}

/* Tells the journal what is committed. */
void
writer_acknowledge(Writer *w)
{
	journal_ack(w->change, w->changes, true);
	count(COUNT_WRITES, w->changes);
	w->changes = 0;
}

/* After a lost connection: acknowledges what the database has. False if it was lost again. */
static bool
look_at_rows(Writer *w)
{
	for (int i = 0; i < w->changes; i++)
	{
		Change *change = &w->change[i];
		bool there;

		if (change->id == 0)
			continue;
		if (!db_run(&w->own, "SELECT version FROM item WHERE id = %d", change->id))
			return false;
		there = PQntuples(w->own.result) == 1;
		if (change->absent ? there : !there || db_number(&w->own, 0, 0) != change->version)
			continue;
		count(COUNT_FOUND, 1);
		journal_ack(change, 1, true);
		count(COUNT_WRITES, 1);
		change->id = 0;
	}
	w->changes = 0;
	return true;
}

static bool
finish_prepared(Writer *w, const char *gid)
{
	if (gid == NULL)
		return true;
	if (!db_run(&w->own, "SELECT FROM pg_prepared_xacts WHERE gid = '%s'", gid))
		return false;
	return PQntuples(w->own.result) == 0 || db_run(&w->own, "COMMIT PREPARED '%s'", gid);
}

/*
 * A connection broke when something was on its way: finds out what has become of it, in however
 * many attempts.  Returns whether the question is settled.
 */
bool
writer_settle(Writer *w, const char *gid)
{
	w->lost++;
	while (db_connect(&w->own, &stop_readers))
		if (finish_prepared(w, gid) && look_at_rows(w))
			return true;
	return false;
}

void
writer_roll_back(Writer *w)
{
	w->changes = 0;
	(void) db_run(&w->own, "ROLLBACK");
	w->rolled_back++;
}

/* Commits, and notes it. */
bool
writer_commit(Writer *w)
{
	if (db_run(&w->own, "COMMIT"))
	{
		writer_acknowledge(w);
		return true;
	}
	if (w->own.lost)
		(void) writer_settle(w, NULL);
	else
		violation("COMMIT: %s", PQresultErrorMessage(w->own.result));
	return false;
}

/* Goes one way; what went wrong is put right. */
static void
go(Writer *w)
{
	int pick = 0;
	Way *way = ways;

	for (int i = 0; i < nways; i++)
		pick += ways[i].weight;
	pick = (int) rnd(&w->random, pick);
	while ((pick -= way->weight) >= 0)
		way++;
	w->changes = 0;
	w->own.lost = false;
	if (w->number == 0 && atomic_exchange(&truncate_wanted, false))
	{
		if (!way_truncate(w))
			truncate_wanted = true;
	}
	else if (way->run(w))
	{
		writer_acknowledge(w);
		w->done++;
		way->done++;
	}
	if (w->own.lost && PQstatus(w->own.conn) == CONNECTION_BAD)
		(void) db_connect(&w->own, &stop_writers);
	else if (PQtransactionStatus(w->own.conn) != PQTRANS_IDLE)
	{
		w->refused++;
		writer_roll_back(w);
	}
}

/* Lets writers rest between two transactions, or go on. */
void
writer_pause(bool pause)
{
	paused = pause;
}

int
writers_idle(void)
{
	return idle;
}

static void
rest(void)
{
	idle++;
	while (paused && !stop_writers)
		nap(2000);
	idle--;
}

/* A writer's life. */
void *
writer_run(void *writer)
{
	Writer *w = writer;

	(void) db_connect(&w->own, &stop_writers);
	(void) db_connect(&w->other, &stop_writers);
	while (!stop_writers)
	{
		if (paused)
			rest();
		go(w);
		nap((Usec) rnd(&w->random, options.pause));
	}
	db_close(&w->own);
	db_close(&w->other);
	return NULL;
}
