/*
 * limit_redis.c
 *		What stands in for redis.c: commands go to a real Redis in pipelines, and are answered when the
 *		test says so.
 */
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "limit_test.h"
#include "redis.h"

#define PENDING_MAX 4096

typedef struct Pending
{
	HfRedisDone done;
	void *arg;
	Health health;
} Pending;

Health health;
unsigned long sent;
unsigned long sent_whole;

static redisContext *context;
static Pending pending[PENDING_MAX];
static size_t n_pending;

/* Connects, or in a child connects anew. */
void
redis_connect(void)
{
	const char *path = getenv("HF_REDIS");

	n_pending = 0;
	if (context != NULL)
		redisFree(context);
	context = path != NULL ? redisConnectUnix(path) : NULL;
	if (context == NULL || context->err != 0)
	{
		printf("Bail out! no Redis at HF_REDIS\n");
		exit(2);
	}
}

/* Asks Redis something itself; -1 if the answer is no number. */
long long
redis_ask(const char *format, ...)
{
	va_list args;
	redisReply *reply;
	long long number = -1;

	va_start(args, format);
	reply = redisvCommand(context, format, args);
	va_end(args);
	if (reply == NULL)
		abort();
	if (reply->type == REDIS_REPLY_INTEGER)
		number = reply->integer;
	else if (reply->type == REDIS_REPLY_STRING)
		number = atoll(reply->str);
	freeReplyObject(reply);
	return number;
}

bool
hf_redis_send(int argc, const char *const *argv, const size_t *length, HfRedisDone done, void *arg)
{
	if (health == DOWN || n_pending == PENDING_MAX)
		return false;
	if (health == GOOD &&
		redisAppendCommandArgv(context, argc, (const char **) argv, length) != REDIS_OK)
		abort();
	sent++;
	sent_whole += strcmp(argv[0], "EVAL") == 0;
	pending[n_pending++] = (Pending){done, arg, health};
	return true;
}

static HfCacheReply
translate(const redisReply *from, HfCacheReply *element)
{
	HfCacheReply to = {.type = HF_CACHE_REPLY_ERROR};

	if (from->type == REDIS_REPLY_ERROR)
		to.text = (HfText){from->str, from->len};
	else if (from->type == REDIS_REPLY_STRING)
		to = (HfCacheReply){.type = HF_CACHE_REPLY_STRING, .text = {from->str, from->len}};
	else if (from->type == REDIS_REPLY_ARRAY && from->elements <= HF_CACHE_REPLY_ELEMENTS)
	{
		to = (HfCacheReply){.type = HF_CACHE_REPLY_ARRAY,
							.elements = from->elements,
							.element = element};
		for (size_t i = 0; i < from->elements; i++)
			element[i] = (HfCacheReply){.type = HF_CACHE_REPLY_INTEGER,
										.integer = from->element[i]->integer};
	}
	return to;
}

static void
answer(const Pending *to)
{
	static const char full[] = "OOM command not allowed when used memory > 'maxmemory'.";
	HfCacheReply reply, element[HF_CACHE_REPLY_ELEMENTS];
	redisReply *got = NULL;

	switch (to->health)
	{
		case GOOD:
			if (redisGetReply(context, (void **) &got) != REDIS_OK)
				abort();
			reply = translate(got, element);
			to->done(to->arg, &reply);
			freeReplyObject(got);
			break;
		case FULL:
			reply = (HfCacheReply){.type = HF_CACHE_REPLY_ERROR, .text = {full, strlen(full)}};
			to->done(to->arg, &reply);
			break;
		case GARBLED:
			reply = (HfCacheReply){.type = HF_CACHE_REPLY_ARRAY, .elements = 1, .element = element};
			element[0] = (HfCacheReply){.type = HF_CACHE_REPLY_INTEGER, .integer = 1000000};
			to->done(to->arg, &reply);
			break;
		default:
			to->done(to->arg, NULL);
			break;
	}
}

/* Answers all commands, and those that are sent meanwhile. */
void
redis_answers(void)
{
	while (n_pending > 0)
	{
		Pending first = pending[0];

		memmove(pending, pending + 1, --n_pending * sizeof(pending[0]));
		answer(&first);
	}
}
