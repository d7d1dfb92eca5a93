/*
 * db.c
 *		One client's connection: runs a statement and sorts out its answer.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hammer.h"

#define RECONNECT_SECONDS 60

Usec
db_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (Usec) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void
db_close(Client *c)
{
	PQclear(c->result);
	c->result = NULL;
	PQfinish(c->conn);
	c->conn = NULL;
}

static void
db_ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

/* Connects; where lost connections are part of the game, until the server is back. */
void
db_connect(Client *c)
{
	Usec deadline = db_now() + RECONNECT_SECONDS * INT64_C(1000000);

	for (;;)
	{
		db_close(c);
		c->conn = PQconnectdb("application_name=hammer");
		PQsetNoticeReceiver(c->conn, db_ignore_notice, NULL);
		if (PQstatus(c->conn) == CONNECTION_OK &&
			db_run(c, "SET holdfast.lane_locking = %s", options.lane_locking ? "on" : "off"))
			return;
		if (!options.survive || db_now() > deadline)
		{
			fprintf(stderr, "cannot connect: %s", PQerrorMessage(c->conn));
			exit(2);
		}
		usleep(10000);
	}
}

/* Runs one statement; true if it succeeded. The answer stays in the client until the next one. */
bool
db_run(Client *c, const char *format, ...)
{
	va_list args;
	const char *state;

	va_start(args, format);
	if (vsnprintf(c->sql, sizeof(c->sql), format, args) >= (int) sizeof(c->sql))
		abort();
	va_end(args);

	PQclear(c->result);
	c->allowed[0] = '\0';
	c->t0 = db_now();
	c->result = PQexec(c->conn, c->sql);
	c->t1 = db_now();
	c->lost = false;
	switch (PQresultStatus(c->result))
	{
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
			strcpy(c->sqlstate, "00000");
			return true;
		default:
			state = PQresultErrorField(c->result, PG_DIAG_SQLSTATE);
			snprintf(c->sqlstate, sizeof(c->sqlstate), "%s", state ? state : "");
			/* An error without a SQLSTATE is libpq's own: there is no server any more. */
			c->lost = state == NULL || strncmp(state, "57P0", 4) == 0;
			return false;
	}
}

/* Is the answer one of these SQLSTATEs? */
bool
db_is(const Client *c, const char *sqlstates)
{
	return c->sqlstate[0] != '\0' && strstr(sqlstates, c->sqlstate) != NULL;
}

/* Is it one that every caller must be ready for: try again? */
bool
db_retry(const Client *c)
{
	return db_is(c, "40001 40P01 55P03");
}

const char *
db_value(const Client *c, int row, int column)
{
	return PQgetvalue(c->result, row, column);
}

int64_t
db_number(const Client *c, int row, int column)
{
	const char *text = PQgetvalue(c->result, row, column);

	return text[0] == 'I' || text[0] == 'i' ? FOREVER : strtoll(text, NULL, 10);
}
