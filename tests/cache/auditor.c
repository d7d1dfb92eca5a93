/*
 * auditor.c
 *		Stops everybody again and again, and compares what is cached with what is in the table.
 *
 * It looks into Redis itself, without the reader that it judges.  What is not cached is not stale,
 * and does not count.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "race.h"

/* The generation that stands in Redis; false if the cache is off. */
static bool
read_generation(redisContext *redis, char *generation, size_t size)
{
	redisReply *reply = redisCommand(redis, "GET " PREFIX "heartbeat");
	bool found = reply != NULL && reply->type == REDIS_REPLY_STRING;

	if (found)
		snprintf(generation, size, "%s", reply->str);
	freeReplyObject(reply);
	return found;
}

/* The version that a value contains; -1 if it is none. */
static int64_t
version_of(const redisReply *value, bool framed)
{
	if (value->type != REDIS_REPLY_STRING || value->len == 0 || (framed && value->str[0] != '\n'))
		return -1;
	return strtoll(value->str + framed, NULL, 10);
}

static redisReply *
read_values(redisContext *redis, const char *generation, const char *family)
{
	redisReply *reply;
	size_t room = (size_t) options.keys * 100;
	char *command = malloc(room);
	size_t length;

	if (command == NULL)
		abort();
	length = (size_t) sprintf(command, "MGET");
	for (int id = 1; id <= options.keys; id++)
		length += (size_t) snprintf(command + length, room - length, " " PREFIX "%s:value:{%s:%d}",
									generation, family, id);
	reply = redisCommand(redis, command);
	free(command);
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY ||
		reply->elements != (size_t) options.keys)
	{
		printf("Bail out! the auditor cannot read from Redis\n");
		exit(2);
	}
	return reply;
}

/* Compares everything once. */
static void
compare(Audit *audit, PGconn *conn, redisContext *redis, const char *generation)
{
	redisReply *good = read_values(redis, generation, "item");
	redisReply *naive = read_values(redis, generation, "naive");
	PGresult *rows =
		session_run(conn, "SELECT version FROM item WHERE id > 0 ORDER BY id", 0, NULL);

	check(PQntuples(rows) == options.keys, "there are %d rows", PQntuples(rows));
	for (int i = 0; i < PQntuples(rows); i++)
	{
		int64_t version = strtoll(PQgetvalue(rows, i, 0), NULL, 10);
		bool cached = good->element[i]->type != REDIS_REPLY_NIL;
		bool naively = naive->element[i]->type != REDIS_REPLY_NIL;

		audit->checks += cached;
		audit->naive_checks += naively;
		audit->naive_stale += naively && version_of(naive->element[i], false) != version;
		if (cached && version_of(good->element[i], true) != version)
		{
			audit->stale++;
			check(false, "row %d is cached in version %" PRId64 ", and has version %" PRId64, i + 1,
				  version_of(good->element[i], true), version);
		}
	}
	PQclear(rows);
	freeReplyObject(good);
	freeReplyObject(naive);
}

/* Leads through the phases, until enough was compared or there is no more time. */
void
auditor_run(Audit *audit)
{
	PGconn *conn = session_open("cache race auditor");
	redisContext *redis = redis_open();
	char generation[40] = "", last[40] = "";
	Usec deadline = now() + (Usec) (options.seconds * (double) SECOND);

	while (!stop)
	{
		usleep((useconds_t) options.phase);
		quiet = true;
		pthread_barrier_wait(&meeting);
		if (read_generation(redis, generation, sizeof(generation)))
		{
			compare(audit, conn, redis, generation);
			audit->generations += strcmp(generation, last) != 0;
			memcpy(last, generation, sizeof(last));
			audit->phases++;
		}
		stop = audit->checks >= options.checks || now() > deadline;
		quiet = false;
		pthread_barrier_wait(&meeting);
	}
	PQfinish(conn);
	redisFree(redis);
}
