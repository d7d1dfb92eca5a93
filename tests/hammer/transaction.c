/*
 * transaction.c
 *		One client's life: operations alone and in transactions, until the storm is over.
 *
 * A transaction that did not commit has changed nothing.  When the connection is lost, what was
 * sent last is in doubt: the client connects again, finishes its prepared transaction if there is
 * one, and reads what has become of its holds.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "hammer.h"

/* Reads all of the client's holds and receipts; false if the connection was lost. */
static bool
read_world(Client *c, World *actual)
{
	memset(actual, 0, sizeof(World));
	for (int i = 0; i < OWNERS; i++)
		if (!model_read_owner(c, &c->world.owner[i], &actual->owner[i]))
			return false;
	if (!db_run(c,
				"SELECT sku - %" PRId64
				", sum(quantity) FROM holdfast.movements WHERE reference = '%s' GROUP BY 1",
				options.base, c->tag))
		return false;
	for (int row = 0; row < PQntuples(c->result); row++)
		actual->gained[db_number(c, row, 0)] = db_number(c, row, 1);
	return true;
}

/* Connects again, and commits or rolls back what is prepared; false if the connection was lost. */
static bool
reconnect(Client *c, bool commit)
{
	db_connect(c);
	if (!db_run(c, "SELECT 1 FROM pg_prepared_xacts WHERE gid = '%s'", c->tag))
		return false;
	if (PQntuples(c->result) == 0)
		return true;
	return db_run(c, "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", c->tag);
}

/*
 * After a lost connection: what is there must be as `before` or as the model says now, and the
 * same for all of it unless `loose`.
 */
static void
recover(Client *c, const World *before, bool loose, bool commit)
{
	World actual;
	int sides = 0;

	c->lost_connections++;
	if (!options.survive)
		violation("client %d lost its connection: %s\n#   %s", c->number, PQerrorMessage(c->conn),
				  c->sql);
	while (!reconnect(c, commit) || !read_world(c, &actual))
		;
	for (int i = 0; i < OWNERS; i++)
		sides |= model_settle(c, &before->owner[i], &c->world.owner[i], &actual.owner[i]);
	for (int sku = 0; sku < options.skus; sku++)
	{
		if (actual.gained[sku] != before->gained[sku])
			sides |= 2;
		if (actual.gained[sku] != c->world.gained[sku])
			sides |= 1;
		if (actual.gained[sku] != before->gained[sku] && actual.gained[sku] != c->world.gained[sku])
			violation("client %d, SKU %d: received %" PRId64 " or %" PRId64 ", found %" PRId64,
					  c->number, sku, before->gained[sku], c->world.gained[sku],
					  actual.gained[sku]);
		c->world.gained[sku] = actual.gained[sku];
	}
	if (sides == 3 && !loose)
		violation("client %d: half of a transaction survived a crash", c->number);
}

/* Is the answer to a COMMIT or the like one that a client must be ready for? */
static bool
ended_well(Client *c)
{
	if (!db_is(c, "00000") && !db_retry(c) && !c->lost)
		violation("client %d: %s: %s", c->number, c->sql, PQresultErrorMessage(c->result));
	return db_is(c, "00000");
}

/* Ends a transaction whose statements have all succeeded. */
static void
finish(Client *c, const World *before)
{
	bool commit = chance(c, 75);
	bool doubt = commit;

	if (options.two_phase && chance(c, 25))
	{
		if (db_run(c, "PREPARE TRANSACTION '%s'", c->tag))
		{
			/* From here on it cannot be lost, nor kept. */
			if (!commit)
				c->world = *before;
			doubt = false;
			if (chance(c, 50))
				usleep(rnd(c, 3000));
			db_run(c, "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", c->tag);
			(void) ended_well(c);
			if (c->lost)
				recover(c, &c->world, false, commit);
			return;
		}
	}
	else
		db_run(c, commit ? "COMMIT" : "ROLLBACK");
	if (ended_well(c) && commit)
		return;
	if (!doubt || !c->lost)
		c->world = *before;
	if (c->lost)
		recover(c, before, false, commit);
}

/* A few operations together. */
static void
transact(Client *c)
{
	static const char *const level[] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
	World before = c->world, saved;
	bool has_savepoint = false;
	int operations = 1 + (int) rnd(c, 5);

	db_run(c, "BEGIN ISOLATION LEVEL %s", level[rnd(c, 3)]);
	for (int i = 0; i < operations && !c->lost; i++)
	{
		if (chance(c, 25))
		{
			if (has_savepoint && chance(c, 50))
			{
				db_run(c, "ROLLBACK TO a");
				c->world = saved;
			}
			else
			{
				db_run(c, "SAVEPOINT a");
				saved = c->world;
				has_savepoint = true;
			}
			continue;
		}
		(void) storm_operate(c);
		if (c->lost || c->sqlstate[0] == '\0' || db_is(c, "00000"))
			continue;
		/* The transaction is aborted. */
		if (!has_savepoint)
		{
			db_run(c, "ROLLBACK");
			c->world = before;
			if (c->lost)
				break;
			return;
		}
		db_run(c, "ROLLBACK TO a");
		c->world = saved;
	}
	if (c->lost)
	{
		c->world = before;
		recover(c, &before, false, false);
		return;
	}
	if (chance(c, 20))
		usleep(rnd(c, 5000));
	finish(c, &before);
}

static void
operate_alone(Client *c)
{
	World before = c->world;
	Operation op = storm_operate(c);

	if (c->lost)
		recover(c, &before, op == OP_BATCH_ROWS || op == OP_RELEASE, false);
}

/* The thread of one client. */
void *
storm_run(void *arg)
{
	static const char *const level[] = {"read committed", "repeatable read", "serializable"};
	Client *c = arg;

	db_connect(c);
	while (!stop && violations() == 0)
	{
		if (chance(c, 2))
			db_run(c, "SET default_transaction_isolation = '%s'", level[rnd(c, 3)]);
		else if (chance(c, 10))
			model_retire(c, (int) rnd(c, OWNERS));
		else if (chance(c, 30))
			transact(c);
		else
			operate_alone(c);
		if (c->lost)
			recover(c, &c->world, false, false);
	}
	for (int slot = 0; slot < OWNERS; slot++)
		model_retire(c, slot);
	db_close(c);
	return NULL;
}
