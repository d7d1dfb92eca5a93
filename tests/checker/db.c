/*
 * db.c
 *		A connection to the database: runs a statement and sorts out its answer.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

#define STATEMENT_MAX 16384

static void
ignore_notice(void *argument, const PGresult *result)
{
	(void) argument;
	(void) result;
}

void
db_close(Session *s)
{
	PQclear(s->result);
	s->result = NULL;
	PQfinish(s->conn);
	s->conn = NULL;
}

/* Connects, however long it takes; false if it is not wanted any more. */
bool
db_connect(Session *s, const atomic_bool *stop)
{
	do
	{
		db_close(s);
		s->conn = PQconnectdb("application_name=checker connect_timeout=5");
		PQsetNoticeReceiver(s->conn, ignore_notice, NULL);
		if (PQstatus(s->conn) == CONNECTION_OK && db_run(s, "SET lock_timeout = '1s'"))
			return true;
		nap(20000);
	} while (!*stop);
	return false;
}

/* Takes up an answer; true if it is success. */
static bool
take_answer(Session *s, PGresult *result)
{
	const char *state;

	PQclear(s->result);
	s->result = result;
	s->lost = false;
	switch (PQresultStatus(result))
	{
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
		case PGRES_COPY_IN:
			strcpy(s->sqlstate, "00000");
			return true;
		default:
			state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			snprintf(s->sqlstate, sizeof(s->sqlstate), "%s", state ? state : "");
			/* An error without a SQLSTATE is libpq's own: there is no server any more. */
			s->lost = state == NULL || strncmp(state, "57P0", 4) == 0;
			return false;
	}
}

/* Runs one statement; true if it succeeded. The answer stays until the next one. */
bool
db_run(Session *s, const char *format, ...)
{
	char statement[STATEMENT_MAX];
	va_list args;

	va_start(args, format);
	if (vsnprintf(statement, sizeof(statement), format, args) >= (int) sizeof(statement))
		abort();
	va_end(args);
	return take_answer(s, PQexec(s->conn, statement));
}

/* COPY ... FROM STDIN with these rows. */
bool
db_copy(Session *s, const char *statement, const char *rows)
{
	PGresult *result;

	if (!db_run(s, "%s", statement))
		return false;
	if (PQputCopyData(s->conn, rows, (int) strlen(rows)) != 1 || PQputCopyEnd(s->conn, NULL) != 1)
		return take_answer(s, NULL);
	result = PQgetResult(s->conn);
	PQclear(PQgetResult(s->conn));
	return take_answer(s, result);
}

int64_t
db_number(const Session *s, int row, int column)
{
	return strtoll(PQgetvalue(s->result, row, column), NULL, 10);
}
