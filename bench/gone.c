/*
 * gone.c
 *		How long after a commit the key of the changed row is gone from Redis.
 *
 * Usage: gone SOCKET PREFIX SECONDS
 *
 * Puts a value into the cache under the current generation, as a reader would; changes its row;
 * and waits for two things at once: the server's word that the change is committed, and the
 * message that names the key, which the worker sends after it has deleted the value.  That the
 * value is gone by then is checked.  Prints the microseconds from the one to the other, a line for
 * each commit; 0 if the message was first.  The database is found as libpq finds it.
 *
 * Commits come a few milliseconds after one another, at random, so as not to keep step with
 * anything.
 */
#include <err.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int64_t Usec;

#define SECOND	  INT64_C(1000000)
#define PATIENCE  (5 * SECOND)
#define PAUSE_MAX 4000
#define KEY		  "item:0"

static PGconn *database;
static redisContext *cache;	  /* asks */
static redisContext *channel; /* listens */
static const char *prefix;

static Usec committed_at; /* 0: not yet */
static Usec named_at;

static Usec
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (Usec) time.tv_sec * SECOND + time.tv_nsec / 1000;
}

/* Runs a command of Redis; the caller frees the answer. */
static redisReply *__attribute__((format(printf, 1, 2))) ask(const char *format, ...)
{
	va_list args;
	redisReply *reply;

	va_start(args, format);
	reply = redisvCommand(cache, format, args);
	va_end(args);
	if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
		errx(1, "Redis: %s", reply == NULL ? cache->errstr : reply->str);
	return reply;
}

static redisContext *
open_redis(const char *path)
{
	struct timeval patience = {.tv_sec = PATIENCE / SECOND};
	redisContext *context = redisConnectUnixWithTimeout(path, patience);

	if (context == NULL || context->err)
		errx(1, "cannot connect to %s: %s", path,
			 context == NULL ? "out of memory" : context->errstr);
	if (redisSetTimeout(context, patience) != REDIS_OK)
		errx(1, "cannot set a timeout");
	return context;
}

static void
open_all(const char *path)
{
	redisReply *reply;
	PGresult *result;

	cache = open_redis(path);
	channel = open_redis(path);
	reply = redisCommand(channel, "SUBSCRIBE %sinvalidations", prefix);
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		errx(1, "cannot subscribe");
	freeReplyObject(reply);

	database = PQconnectdb("");
	if (PQstatus(database) != CONNECTION_OK)
		errx(1, "%s", PQerrorMessage(database));
	result = PQprepare(database, "change", "UPDATE item SET changes = changes + 1 WHERE id = 0", 0,
					   NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		errx(1, "%s", PQerrorMessage(database));
	PQclear(result);
}

/* Does a message, lines of which the first is the generation, name the key? */
static bool
names_key(const redisReply *message)
{
	const char *text;

	if (message->type != REDIS_REPLY_ARRAY || message->elements != 3 ||
		message->element[2]->type != REDIS_REPLY_STRING)
		return false;
	text = message->element[2]->str;
	for (const char *s = strstr(text, "\n" KEY); s != NULL; s = strstr(s + 1, "\n" KEY))
		if (s[strlen("\n" KEY)] == '\n' || s[strlen("\n" KEY)] == '\0')
			return true;
	return false;
}

static void
hear_channel(void)
{
	void *reply;

	if (redisBufferRead(channel) != REDIS_OK)
		errx(1, "the channel: %s", channel->errstr);
	while (redisGetReplyFromReader(channel, &reply) == REDIS_OK && reply != NULL)
	{
		if (named_at == 0 && names_key(reply))
			named_at = now();
		freeReplyObject(reply);
	}
}

static void
hear_database(void)
{
	PGresult *result;

	if (!PQconsumeInput(database))
		errx(1, "%s", PQerrorMessage(database));
	while (!PQisBusy(database) && (result = PQgetResult(database)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdTuples(result), "1") != 0)
			errx(1, "the row was not changed: %s", PQerrorMessage(database));
		committed_at = now();
		PQclear(result);
	}
}

/* Hears what comes until a moment. */
static void
listen_until(Usec end)
{
	struct pollfd fds[] = {{.fd = channel->fd, .events = POLLIN},
						   {.fd = PQsocket(database), .events = POLLIN}};
	Usec left = end - now();
	struct timespec wait = {.tv_sec = left / SECOND, .tv_nsec = left % SECOND * 1000};

	if (left <= 0)
		return;
	if (ppoll(fds, 2, &wait, NULL) < 0)
		errx(1, "poll failed");
	if (fds[0].revents != 0)
		hear_channel();
	if (fds[1].revents != 0)
		hear_database();
}

/* Stores a value under the current generation, which it writes into the name. */
static void
fill(char *name, size_t room)
{
	redisReply *generation = ask("GET %sheartbeat", prefix);

	if (generation->type != REDIS_REPLY_STRING)
		errx(1, "there is no heartbeat");
	if (snprintf(name, room, "%s%s:value:{%s}", prefix, generation->str, KEY) >= (int) room)
		errx(1, "the prefix is too long");
	freeReplyObject(generation);
	freeReplyObject(ask("SET %s value PX 60000", name));
}

/* One commit. */
static void
measure(void)
{
	char name[512];
	redisReply *value;
	Usec end;

	fill(name, sizeof(name));
	committed_at = named_at = 0;
	end = now() + PATIENCE;
	if (!PQsendQueryPrepared(database, "change", 0, NULL, NULL, NULL, 0))
		errx(1, "%s", PQerrorMessage(database));
	while (committed_at == 0 || named_at == 0)
	{
		if (now() > end)
			errx(1, "%s after %lld s", committed_at == 0 ? "no commit" : "the key was not named",
				 (long long) (PATIENCE / SECOND));
		listen_until(end);
	}
	value = ask("GET %s", name);
	if (value->type != REDIS_REPLY_NIL)
		errx(1, "the key was named, and its value is still there");
	freeReplyObject(value);
	printf("%lld\n", (long long) (named_at > committed_at ? named_at - committed_at : 0));
}

int
main(int argc, char **argv)
{
	Usec end;

	if (argc != 4)
		errx(1, "usage: gone SOCKET PREFIX SECONDS");
	prefix = argv[2];
	open_all(argv[1]);
	srandom(getpid());
	end = now() + atoi(argv[3]) * SECOND;
	while (now() < end)
	{
		Usec next = now() + random() % PAUSE_MAX;

		while (now() < next)
			listen_until(next);
		measure();
	}
	PQfinish(database);
	redisFree(channel);
	redisFree(cache);
	return 0;
}
