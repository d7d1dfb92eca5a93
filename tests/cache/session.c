/*
 * session.c
 *		A connection to the database, for statements that have to succeed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "race.h"

static void
give_up(PGconn *conn, const char *sql)
{
	printf("Bail out! %s: %s", sql, PQerrorMessage(conn));
	exit(2);
}

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

/* Connects as libpq's environment says. */
PGconn *
session_open(const char *name)
{
	const char *const keywords[] = {"application_name", NULL}, *const values[] = {name, NULL};
	PGconn *conn = PQconnectdbParams(keywords, values, 0);

	PQsetNoticeReceiver(conn, ignore_notice, NULL);
	if (PQstatus(conn) != CONNECTION_OK)
		give_up(conn, "cannot connect");
	return conn;
}

/* Runs a statement with parameters. The caller frees the result. */
PGresult *
session_run(PGconn *conn, const char *sql, int n, const char *const *values)
{
	PGresult *result = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up(conn, sql);
	return result;
}

/* Runs statements without parameters. */
void
session_do(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		give_up(conn, sql);
	PQclear(result);
}

/* The number that a statement with one parameter answers; -1 if it answers nothing. */
int64_t
session_number(PGconn *conn, const char *sql, int64_t parameter)
{
	char text[24];
	const char *values[] = {text};
	PGresult *result;
	int64_t number;

	snprintf(text, sizeof(text), "%" PRId64, parameter);
	result = session_run(conn, sql, 1, values);
	number = PQntuples(result) > 0 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : -1;
	PQclear(result);
	return number;
}

/* Waits until all that the session has committed has reached Redis. */
void
session_sync(PGconn *conn)
{
	session_do(conn, "SELECT holdfast.cache_sync('60 s')");
}
