/*
 * database.c
 *		The connection to the database.
 *
 * Of the program libpq is known here only.  The connection makes itself: whoever calls step() when
 * the socket is ready or the deadline has come has one again soon after the database is back, with
 * growing pauses in between.
 *
 * Invariants: nothing here waits, but for names of hosts, which libpq looks up.  At most one
 * statement is under way, and each is a transaction of its own.  One that was sent ends with
 * exactly one call of its `done`, which may send the next one.  It ends in bounded time: the server
 * ends it, and if that is not heard of, the connection is given up.
 */
#include "database.h"

#include "clock.h"
#include "log.h"

#include <libpq-fe.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_LEAST 100 /* before connecting again */
#define PAUSE_MOST	2000
#define GRACE		2000 /* for the server's word that time is up */

typedef enum State
{
	AWAY,		/* no connection; the deadline is when to try again */
	CONNECTING, /* as PQconnectPoll() says */
	PREPARING,	/* the first statement is under way */
	READY,
	BUSY
} State;

static const char *our_conninfo;
static unsigned our_timeout;

static State state;
static PGconn *connection;
static PostgresPollingStatusType polling;
static bool flushing; /* not all of the statement has been sent */
static int64_t deadline;
static int64_t pause_ms;
static bool was_lost; /* and that was logged */

/* The statement that is under way. */
static PGresult *outcome;
static HfDatabaseDone when_done;
static void *done_context;

/* Begins; the first step() connects. A statement may take so many milliseconds. */
void
hf_database_begin(const char *conninfo, unsigned timeout)
{
	our_conninfo = conninfo;
	our_timeout = timeout;
	state = AWAY;
	deadline = 0;
	pause_ms = PAUSE_LEAST;
}

/* Is there a connection that nobody uses? */
bool
hf_database_is_ready(void)
{
	return state == READY;
}

/* Is a statement under way? */
bool
hf_database_is_busy(void)
{
	return state == BUSY;
}

static void
finish_connection(void)
{
	PQclear(outcome);
	outcome = NULL;
	PQfinish(connection);
	connection = NULL;
	state = AWAY;
}

/* Gives the connection up. The statement that is under way may have been executed, or not. */
static void
lose(int64_t now, const char *why)
{
	HfDatabaseDone done = state == BUSY ? when_done : NULL;

	if (!was_lost)
		hf_log(HF_LOG_WARNING, "database_lost", "%s", why);
	was_lost = true;
	finish_connection();
	/* Not all at once, when many have lost it together. */
	deadline = now + pause_ms / 2 + random() % (pause_ms / 2 + 1);
	pause_ms = pause_ms * 2 < PAUSE_MOST ? pause_ms * 2 : PAUSE_MOST;
	if (done != NULL)
		done(done_context, NULL, "", "the connection was lost");
}

static void
connect_to(int64_t now)
{
	const char *const names[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
	const char *const values[] = {our_conninfo, "holdfast worker", "UTF8", NULL};

	connection = PQconnectStartParams(names, values, 1);
	state = CONNECTING;
	deadline = now + our_timeout;
	polling = PGRES_POLLING_WRITING;
	if (connection == NULL || PQstatus(connection) == CONNECTION_BAD)
		lose(now, connection == NULL ? "out of memory" : PQerrorMessage(connection));
}

static void
flush(int64_t now)
{
	int left = PQflush(connection);

	flushing = left > 0;
	if (left < 0)
		lose(now, PQerrorMessage(connection));
}

static void
send_statement(int64_t now, const char *sql, int n, const char *const *values)
{
	deadline = now + our_timeout + GRACE;
	if (PQsendQueryParams(connection, sql, n, NULL, values, NULL, NULL, 0) == 1)
		flush(now);
	else
		lose(now, PQerrorMessage(connection));
}

/*
 * Sends a statement with text parameters, which are copied.  The connection is ready.  `done` may
 * be called before this returns, if the connection turns out to be lost.
 */
void
hf_database_send(const char *sql, int n, const char *const *values, HfDatabaseDone done,
				 void *context)
{
	state = BUSY;
	when_done = done;
	done_context = context;
	send_statement(hf_clock(), sql, n, values);
}

static void
go_on_connecting(int64_t now)
{
	char timeout[16];
	const char *values[] = {timeout};

	polling = PQconnectPoll(connection);
	if (polling == PGRES_POLLING_FAILED)
		lose(now, PQerrorMessage(connection));
	else if (polling == PGRES_POLLING_OK)
	{
		PQsetnonblocking(connection, 1);
		state = PREPARING;
		snprintf(timeout, sizeof(timeout), "%u", our_timeout);
		send_statement(now, "SELECT set_config('statement_timeout', $1, false)", 1, values);
	}
}

/* The statement has ended with this. */
static void
end_statement(int64_t now, PGresult *result)
{
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	bool good = PQresultStatus(result) == PGRES_TUPLES_OK;

	if (state == PREPARING)
	{
		state = READY;
		deadline = HF_NEVER;
		if (!good)
		{
			lose(now, PQresultErrorMessage(result));
			return;
		}
		if (was_lost)
			hf_log(HF_LOG_INFO, "database_found", "connected again");
		was_lost = false;
		pause_ms = PAUSE_LEAST;
		return;
	}
	state = READY;
	deadline = HF_NEVER;
	/* A server that only reads is the wrong one by now. */
	if (code != NULL && strcmp(code, "25006") == 0)
	{
		lose(now, PQresultErrorMessage(result));
		code = NULL; /* it says nothing about the statement, which is as good as not sent */
	}
	if (good)
		when_done(done_context, result, NULL, NULL);
	else
		when_done(done_context, NULL, code != NULL ? code : "",
				  message != NULL ? message : "no answer");
}

/* Reads what has come of the statement's outcome, and ends it if that was all. */
static void
receive(int64_t now)
{
	if (PQconsumeInput(connection) == 0)
	{
		lose(now, PQerrorMessage(connection));
		return;
	}
	if (flushing)
		flush(now);
	while (connection != NULL && (state == BUSY || state == PREPARING) && !PQisBusy(connection))
	{
		PGresult *result = PQgetResult(connection);

		if (result != NULL)
		{
			PQclear(outcome);
			outcome = result;
			continue;
		}
		result = outcome;
		outcome = NULL;
		if (PQstatus(connection) == CONNECTION_BAD)
			lose(now, PQerrorMessage(connection));
		else
			end_statement(now, result);
		PQclear(result);
	}
}

/* Does what can be done without waiting: the socket is ready, or the deadline may have come. */
void
hf_database_step(int64_t now, bool is_ready)
{
	if (state == AWAY)
	{
		if (now >= deadline)
			connect_to(now);
		return;
	}
	if (is_ready && state == CONNECTING)
		go_on_connecting(now);
	else if (is_ready)
		receive(now);
	if (state != AWAY && now >= deadline)
		lose(now, "no answer in time");
}

/* The socket to wait for, and what for; -1 if there is none. */
int
hf_database_socket(short *events)
{
	if (state == AWAY)
		return -1;
	if (state == CONNECTING)
		*events = polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
	else
		*events = (short) (POLLIN | (flushing ? POLLOUT : 0));
	return PQsocket(connection);
}

/* When step() is to be called at the latest. */
int64_t
hf_database_deadline(void)
{
	return deadline;
}

void
hf_database_end(void)
{
	finish_connection();
	deadline = HF_NEVER;
}

int
hf_rows_count(const HfRows *rows)
{
	return PQntuples(rows);
}

/* A value as text, or NULL. */
const char *
hf_rows_value(const HfRows *rows, int row, int column)
{
	return PQgetisnull(rows, row, column) ? NULL : PQgetvalue(rows, row, column);
}
