/*
 * session.c
 *		A connection: runs a statement and sorts out its answer.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "payments.h"

#define RECONNECT_SECONDS 60

void
session_close(Session *s)
{
	PQclear(s->result);
	s->result = NULL;
	PQfinish(s->conn);
	s->conn = NULL;
}

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

/* Connects once. What the server says unasked, such as that somebody ends us, is not printed. */
static bool
connect_once(Session *s)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	session_close(s);
	s->conn = PQconnectStart("application_name=payments");
	PQsetNoticeReceiver(s->conn, ignore_notice, NULL);
	while (PQstatus(s->conn) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
		   status != PGRES_POLLING_FAILED)
	{
		struct pollfd fd = {.fd = PQsocket(s->conn),
							.events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};

		if (poll(&fd, 1, 10000) <= 0)
			return false;
		status = PQconnectPoll(s->conn);
	}
	return PQstatus(s->conn) == CONNECTION_OK;
}

/*
 * Connects, if need be until the server is back.  Sessions with random numbers of their own take
 * any isolation level, and are more or less patient with others who use their key.
 */
void
session_open(Session *s)
{
	static const char *const level[] = {"read committed", "repeatable read", "serializable"};
	Usec deadline = now() + RECONNECT_SECONDS * SECOND;

	for (;;)
	{
		if (connect_once(s) &&
			(s->random == NULL ||
			 session_run(s, "SET default_transaction_isolation = '%s'; SET holdfast.key_wait = %d",
						 level[chance(s->random, 70) ? 0 : rnd(s->random, 3)],
						 chance(s->random, 50) ? 1000 : 30)))
			return;
		if (now() > deadline)
		{
			fprintf(stderr, "cannot connect: %s", PQerrorMessage(s->conn));
			exit(2);
		}
		usleep(10000);
	}
}

static void
print_sql(Session *s, const char *format, va_list args)
{
	free(s->sql);
	if (vasprintf(&s->sql, format, args) < 0)
		abort();
	PQclear(s->result);
	s->result = NULL;
	s->t0 = now();
}

/* Sorts out the answer in s->result; true if the statement succeeded. */
static bool
judge(Session *s)
{
	const char *state;

	s->t1 = now();
	s->lost = false;
	operations++;
	switch (PQresultStatus(s->result))
	{
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
			strcpy(s->sqlstate, "00000");
			return true;
		default:
			state = PQresultErrorField(s->result, PG_DIAG_SQLSTATE);
			snprintf(s->sqlstate, sizeof(s->sqlstate), "%s", state ? state : "");
			/* An error without a SQLSTATE is libpq's own: there is no server any more. */
			s->lost = state == NULL || strncmp(state, "57P0", 4) == 0;
			return false;
	}
}

/* Runs one statement; true if it succeeded. The answer stays until the next one. */
bool
session_run(Session *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_sql(s, format, args);
	va_end(args);
	s->result = PQexec(s->conn, s->sql);
	return judge(s);
}

/* Sends a statement without waiting for its answer. */
void
session_send(Session *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_sql(s, format, args);
	va_end(args);
	(void) PQsendQuery(s->conn, s->sql);
}

bool
session_receive(Session *s)
{
	PGresult *result;

	s->result = PQgetResult(s->conn);
	while ((result = PQgetResult(s->conn)) != NULL)
	{
		PQclear(s->result);
		s->result = result;
	}
	return judge(s);
}

/* Is the answer one of these SQLSTATEs? */
bool
session_is(const Session *s, const char *sqlstates)
{
	return s->sqlstate[0] != '\0' && strstr(sqlstates, s->sqlstate) != NULL;
}

/* Is it one that every caller must be ready for: try again? */
bool
session_retry(const Session *s)
{
	return session_is(s, "40001 55P03 57014");
}

/* Ends a failed transaction; false if the connection was lost. */
bool
session_roll_back(Session *s)
{
	return PQtransactionStatus(s->conn) == PQTRANS_IDLE || session_run(s, "ROLLBACK");
}

const char *
session_error(const Session *s)
{
	return s->result ? PQresultErrorMessage(s->result) : PQerrorMessage(s->conn);
}

const char *
value(const Session *s, int row, int column)
{
	return PQgetvalue(s->result, row, column);
}

int64_t
number(const Session *s, int row, int column)
{
	const char *text = PQgetvalue(s->result, row, column);

	return text[0] == 'I' || text[0] == 'i' ? FOREVER : strtoll(text, NULL, 10);
}

bool
is_null(const Session *s, int row, int column)
{
	return PQgetisnull(s->result, row, column);
}

/* Runs a statement that has to succeed in reasonable time, whoever is killed meanwhile. */
void
must(Session *s, const char *format, ...)
{
	va_list args;
	char *sql;
	Usec deadline = now() + PATIENCE;

	va_start(args, format);
	if (vasprintf(&sql, format, args) < 0)
		abort();
	va_end(args);
	while (!session_run(s, "%s", sql))
	{
		if (s->lost)
			session_open(s);
		else if (!session_retry(s) || now() > deadline)
		{
			violation("%s (%s)\n#   %.300s", session_error(s), s->sqlstate, sql);
			break;
		}
	}
	free(sql);
}
