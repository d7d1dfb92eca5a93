/*
 * redis.c
 *		A Redis of the test's own, and the part of the cache worker, played by the test.
 *
 * The server is a child of this process, and dies with it; it is stopped by its pid only.  There is
 * one connection, for what the worker would do and for looking into Redis.
 */
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reader.h"

#define PATIENCE (60 * SECOND)

const char *redis_path;

static const char *redis_directory;
static pid_t pid;
static redisContext *context;
static redisReply *reply; /* the last one */

static void
give_up(const char *what)
{
	printf("Bail out! %s\n", what);
	redis_end();
	exit(2);
}

/* Starts Redis, without anything in it, and connects. */
void
redis_start(void)
{
	Usec deadline = now() + PATIENCE;

	pid = fork();
	if (pid == 0)
	{
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", redis_path, "--dir",
			   redis_directory, "--save", "", "--appendonly", "no", "--logfile", "redis.log",
			   (char *) NULL);
		_exit(127);
	}
	if (pid < 0)
		give_up("cannot fork");
	for (;;)
	{
		context = redisConnectUnix(redis_path);
		if (context != NULL && context->err == 0)
			return;
		if (context != NULL)
			redisFree(context);
		context = NULL;
		if (now() > deadline || waitpid(pid, NULL, WNOHANG) == pid)
			give_up("redis-server did not start");
		usleep(10000);
	}
}

void
redis_begin(const char *directory)
{
	static char path[100];

	if (snprintf(path, sizeof(path), "%s/redis.sock", directory) >= (int) sizeof(path))
		give_up("the name of the directory is too long for a socket");
	redis_directory = directory;
	redis_path = path;
	redis_start();
}

void
redis_kill(void)
{
	if (reply != NULL)
		freeReplyObject(reply);
	reply = NULL;
	if (context != NULL)
		redisFree(context);
	context = NULL;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pid = 0;
	unlink(redis_path);
}

void
redis_end(void)
{
	if (pid > 0)
		redis_kill();
}

void
redis_freeze(void)
{
	kill(pid, SIGSTOP);
	waitpid(pid, NULL, WUNTRACED);
}

void
redis_wake(void)
{
	kill(pid, SIGCONT);
}

static redisReply *
run(const char *format, va_list args)
{
	if (reply != NULL)
		freeReplyObject(reply);
	reply = redisvCommand(context, format, args);
	if (reply == NULL)
		give_up("the test's own connection to Redis is lost");
	return reply;
}

/* Runs a command; its reply is there until the next one. */
redisReply *
redis_run(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	run(format, args);
	va_end(args);
	return reply;
}

/* Runs a command that answers with a number; -100 if it does not. */
long long
redis_number(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	run(format, args);
	va_end(args);
	return reply->type == REDIS_REPLY_INTEGER ? reply->integer : -100;
}

/* Does a command answer with this text? NULL: with nothing. */
bool
redis_text_is(const char *expected, size_t length, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	run(format, args);
	va_end(args);
	if (expected == NULL)
		return reply->type == REDIS_REPLY_NIL;
	return reply->type == REDIS_REPLY_STRING && reply->len == length &&
		memcmp(reply->str, expected, length) == 0;
}

/* The worker says that it is alive, for so many milliseconds of Redis's clock. */
void
worker_beat(const char *generation, int milliseconds)
{
	redisReply *time = redis_run("TIME");
	long long at = 0;

	if (time->type == REDIS_REPLY_ARRAY && time->elements == 2)
		at = atoll(time->element[0]->str) * 1000 + atoll(time->element[1]->str) / 1000;
	redis_run("SET " PREFIX "generation %s", generation);
	redis_run("SET " PREFIX "heartbeat %s PXAT %lld", generation, at + milliseconds);
}

/* The worker has said nothing for a while. */
void
worker_stop(void)
{
	redis_run("DEL " PREFIX "heartbeat");
}

/* A transaction that names the key has committed. */
void
worker_invalidate(const char *generation, const char *key)
{
	if (strncmp(key, "tag:", 4) == 0)
		redis_run("DEL " PREFIX "%s:tag:{%s}", generation, key);
	else
		redis_run("DEL " PREFIX "%s:value:{%s} " PREFIX "%s:lease:{%s}", generation, key,
				  generation, key);
	redis_run("PUBLISH " PREFIX "invalidations %s\n%s", generation, key);
}
