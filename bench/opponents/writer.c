/*
 * writer.c
 *		Takes the orders that were sold in Redis to PostgreSQL.
 *
 * Usage: writer SOCKET
 *
 * Reads the stream flash:orders from where flash.position says, thousands of orders at a time, and
 * writes those with COPY, and the position with them, as one transaction; then it trims the stream.  So
 * an order is written once, however often this is killed.  What Redis loses before it is written is
 * lost.
 *
 * Prints where it begins.  On SIGTERM it goes on until the stream is empty, and prints how many orders it
 * wrote and how long they had waited when they were committed: from the time in their id, which Redis gave them just
 * before the buyer had his answer, to the server's word, in milliseconds.
 */
#include <err.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM	 "flash:orders"
#define LOT		 "4000" /* orders of a transaction at most: more are no quicker */
#define PATIENCE "20"	/* milliseconds to wait for the next order */
#define LINE_MAX 1024
#define WAIT_MAX 600000 /* milliseconds */

static PGconn *database;
static redisContext *cache;
static unsigned waits[WAIT_MAX + 1]; /* orders by their wait */
static unsigned long orders, lots;
static volatile sig_atomic_t told_to_end;

static void
on_term(int number)
{
	(void) number;
	told_to_end = 1;
}

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (int64_t) time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static PGresult *
ask(const char *query, ExecStatusType wanted)
{
	PGresult *result = PQexec(database, query);

	if (PQresultStatus(result) != wanted)
		errx(1, "%s", PQerrorMessage(database));
	return result;
}

/* The value of a field of an entry: account, sale, key, quantity, order. */
static const char *
field(const redisReply *fields, const char *name)
{
	for (size_t i = 0; i + 1 < fields->elements; i += 2)
		if (strcmp(fields->element[i]->str, name) == 0)
			return fields->element[i + 1]->str;
	errx(1, "an entry without %s", name);
}

/* Writes entries and the position behind them, and commits. */
static void
write_lot(const redisReply *entries)
{
	const char *last = entries->element[entries->elements - 1]->element[0]->str;
	char line[LINE_MAX];
	PGresult *result;
	int64_t committed;

	snprintf(line, sizeof(line),
			 "COPY flash.written_order (account_id, sale_id, key, quantity, id) FROM STDIN;"
			 "UPDATE flash.position SET stream_id = '%s'",
			 last);
	PQclear(ask(line, PGRES_COPY_IN));
	for (size_t i = 0; i < entries->elements; i++)
	{
		const redisReply *fields = entries->element[i]->element[1];
		int length = snprintf(line, sizeof(line), "%s\t%s\t%s\t%s\t%s\n", field(fields, "a"),
							  field(fields, "s"), field(fields, "k"), field(fields, "q"),
							  field(fields, "o"));

		if (PQputCopyData(database, line, length) != 1)
			errx(1, "%s", PQerrorMessage(database));
	}
	if (PQputCopyEnd(database, NULL) != 1)
		errx(1, "%s", PQerrorMessage(database));
	while ((result = PQgetResult(database)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			errx(1, "%s", PQerrorMessage(database));
		PQclear(result);
	}
	committed = now();
	for (size_t i = 0; i < entries->elements; i++)
	{
		int64_t wait = committed - strtoll(entries->element[i]->element[0]->str, NULL, 10);

		waits[wait < 0 ? 0 : wait > WAIT_MAX ? WAIT_MAX : wait]++;
	}
	orders += entries->elements;
	lots++;
}

/* Milliseconds that so many per cent of the orders have waited at most. */
static long
percentile(unsigned percent)
{
	unsigned long count = 0;
	long wait = 0;

	while (wait < WAIT_MAX && (count += waits[wait]) * 100 < orders * percent)
		wait++;
	return wait;
}

static void
connect_all(const char *socket)
{
	cache = redisConnectUnix(socket);
	if (cache == NULL || cache->err != 0)
		errx(1, "cannot connect to %s", socket);
	database = PQconnectdb("");
	if (PQstatus(database) != CONNECTION_OK)
		errx(1, "%s", PQerrorMessage(database));
}

int
main(int argc, char **argv)
{
	char position[64];
	PGresult *result;

	if (argc != 2)
		errx(1, "usage: writer SOCKET");
	signal(SIGTERM, on_term);
	connect_all(argv[1]);
	result = ask("SELECT stream_id FROM flash.position", PGRES_TUPLES_OK);
	snprintf(position, sizeof(position), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	printf("%s\n", position);
	fflush(stdout);
	for (;;)
	{
		redisReply *reply =
			redisCommand(cache, "XREAD COUNT " LOT " BLOCK " PATIENCE " STREAMS " STREAM " %s",
						 position);
		const redisReply *entries;

		if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
			errx(1, "Redis: %s", reply == NULL ? cache->errstr : reply->str);
		if (reply->type == REDIS_REPLY_NIL && told_to_end)
			break;
		if (reply->type != REDIS_REPLY_NIL)
		{
			entries = reply->element[0]->element[1];
			write_lot(entries);
			snprintf(position, sizeof(position), "%s",
					 entries->element[entries->elements - 1]->element[0]->str);
			freeReplyObject(redisCommand(cache, "XTRIM " STREAM " MINID %s", position));
		}
		freeReplyObject(reply);
	}
	printf("{\"orders\": %lu, \"lots\": %lu, \"p50_ms\": %ld, \"p99_ms\": %ld}\n", orders, lots,
		   percentile(50), percentile(99));
	return 0;
}
