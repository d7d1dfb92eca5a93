/*
 * redis.c
 *		A connection to Redis that never waits without a bound, and notices interrupts.
 *
 * The only file that knows hiredis.  Its contexts are non-blocking; all waiting is done here, on
 * the socket and the process's latch together, for at most holdfast.redis_timeout for each
 * answer.  Commands are pipelined: send several, then receive as many answers.
 *
 * After any failure, an error that Redis answers included, the connection is good for nothing but
 * to be closed: what it has sent may or may not be done.  Messages never contain the password.
 */
#include "postgres.h"

#include <hiredis/hiredis.h>
#include <sys/socket.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "guc.h"
#include "redis.h"
#include "redis_address.h"

/* PXAT, which the heartbeat needs. */
#define OLDEST_MAJOR 6
#define OLDEST_MINOR 2

#define RUN_ID_MAX 64

struct HfRedis
{
	redisContext *context;
	redisReply *reply;	  /* the last one received */
	WaitEventSet *events; /* the latch, the postmaster, the socket */
	int socket;			  /* its number in there */
	TimestampTz deadline;
	char run_id[RUN_ID_MAX];
	char error[HF_REDIS_ERROR_MAX];
};

static bool
hf_redis_fail(HfRedis *redis, const char *why)
{
	strlcpy(redis->error, why, HF_REDIS_ERROR_MAX);
	return false;
}

/* What hiredis says is wrong. */
static bool
hf_redis_fail_context(HfRedis *redis)
{
	return hf_redis_fail(redis,
						 redis->context->errstr[0] != '\0' ? redis->context->errstr
														   : "connection failed");
}

static void
hf_redis_free_reply(HfRedis *redis)
{
	if (redis->reply != NULL)
		freeReplyObject(redis->reply);
	redis->reply = NULL;
}

static void
hf_redis_drop_context(HfRedis *redis)
{
	hf_redis_free_reply(redis);
	if (redis->events != NULL)
		FreeWaitEventSet(redis->events);
	redis->events = NULL;
	if (redis->context != NULL)
		redisFree(redis->context);
	redis->context = NULL;
}

void
hf_redis_close(HfRedis *redis)
{
	hf_redis_drop_context(redis);
	pfree(redis);
}

static void
hf_redis_start_clock(HfRedis *redis)
{
	redis->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), hf_redis_timeout);
}

static void
hf_redis_make_events(HfRedis *redis)
{
	redis->events = CreateWaitEventSet(TopMemoryContext, 3);
	AddWaitEventToSet(redis->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(redis->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	redis->socket =
		AddWaitEventToSet(redis->events, WL_SOCKET_WRITEABLE, redis->context->fd, NULL, NULL);
}

/* Waits until the socket is ready for it; false when the time is up. */
static bool
hf_redis_wait(HfRedis *redis, uint32 event)
{
	ModifyWaitEvent(redis->events, redis->socket, event, NULL);
	for (;;)
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), redis->deadline);
		WaitEvent seen;

		if (left <= 0)
			return hf_redis_fail(redis, "no answer in time");
		if (WaitEventSetWait(redis->events, left, &seen, 1, PG_WAIT_EXTENSION) == 0)
			continue;
		if (seen.events & event)
			return true;
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Queues a command. */
bool
hf_redis_send(HfRedis *redis, int argc, const char **argv, const size_t *length)
{
	if (redisAppendCommandArgv(redis->context, argc, argv, length) != REDIS_OK)
		return hf_redis_fail_context(redis);
	return true;
}

/*
 * Sends what is queued.  hiredis is not asked whether it is done: before 1.0 it looks into the new
 * buffer even if it got none.  Each command begins with a "*".
 */
static bool
hf_redis_flush(HfRedis *redis)
{
	for (;;)
	{
		if (redisBufferWrite(redis->context, NULL) != REDIS_OK)
			return hf_redis_fail_context(redis);
		if (redis->context->obuf == NULL)
			return hf_redis_fail(redis, "out of memory");
		if (redis->context->obuf[0] == '\0')
			return true;
		if (!hf_redis_wait(redis, WL_SOCKET_WRITEABLE))
			return false;
	}
}

static void
hf_redis_translate(const redisReply *reply, HfRedisAnswer *answer)
{
	memset(answer, 0, sizeof(*answer));
	switch (reply->type)
	{
		case REDIS_REPLY_STRING:
		case REDIS_REPLY_STATUS:
			answer->type = HF_REDIS_TEXT;
			answer->text = reply->str;
			answer->length = reply->len;
			break;
		case REDIS_REPLY_INTEGER:
			answer->type = HF_REDIS_INTEGER;
			answer->integer = reply->integer;
			break;
		case REDIS_REPLY_ARRAY:
			answer->type = HF_REDIS_ARRAY;
			answer->length = reply->elements;
			break;
		default:
			answer->type = HF_REDIS_NIL;
			break;
	}
}

/* Receives the next answer, valid until the next call; false on failure. */
bool
hf_redis_receive(HfRedis *redis, HfRedisAnswer *answer)
{
	void *reply = NULL;

	hf_redis_free_reply(redis);
	hf_redis_start_clock(redis);
	if (!hf_redis_flush(redis))
		return false;
	for (;;)
	{
		if (redisGetReplyFromReader(redis->context, &reply) != REDIS_OK)
			return hf_redis_fail_context(redis);
		if (reply != NULL)
			break;
		if (!hf_redis_wait(redis, WL_SOCKET_READABLE))
			return false;
		if (redisBufferRead(redis->context) != REDIS_OK)
			return hf_redis_fail_context(redis);
	}
	redis->reply = reply;
	if (redis->reply->type == REDIS_REPLY_ERROR)
		return hf_redis_fail(redis, redis->reply->str);
	hf_redis_translate(redis->reply, answer);
	return true;
}

/* An element of the array that was received last. */
bool
hf_redis_element(HfRedis *redis, int index, HfRedisAnswer *answer)
{
	if (redis->reply == NULL || redis->reply->type != REDIS_REPLY_ARRAY ||
		(size_t) index >= redis->reply->elements)
		return false;
	hf_redis_translate(redis->reply->element[index], answer);
	return true;
}

/* Sends one command and receives its answer. */
static bool
hf_redis_ask(HfRedis *redis, HfRedisAnswer *answer, int argc, const char **argv)
{
	memset(answer, 0, sizeof(*answer));
	return hf_redis_send(redis, argc, argv, NULL) && hf_redis_receive(redis, answer);
}

/* Connects to one address. */
static bool
hf_redis_connect(HfRedis *redis, const HfRedisAddress *address)
{
	const char *why;
	int fd;
	int error = 0;
	socklen_t length = sizeof(error);

	hf_redis_drop_context(redis);
	hf_redis_start_clock(redis);
	fd = hf_redis_address_dial(address, &why);
	if (fd < 0)
		return hf_redis_fail(redis, why);
	redis->context = redisConnectFd(fd);
	if (redis->context == NULL)
	{
		close(fd);
		return hf_redis_fail(redis, "out of memory");
	}
	redis->context->flags &= ~REDIS_BLOCK;
	hf_redis_make_events(redis);
	if (!hf_redis_wait(redis, WL_SOCKET_WRITEABLE))
		return false;
	if (getsockopt(redis->context->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0)
		return hf_redis_fail(redis, strerror(error != 0 ? error : errno));
	return true;
}

/* What the server is: "master", "slave" or "sentinel". */
static bool
hf_redis_ask_role(HfRedis *redis, char *role, Size room)
{
	const char *command[] = {"ROLE"};
	HfRedisAnswer answer;

	if (!hf_redis_ask(redis, &answer, 1, command))
		return false;
	if (!hf_redis_element(redis, 0, &answer) || answer.type != HF_REDIS_TEXT)
		return hf_redis_fail(redis, "unexpected answer to ROLE");
	strlcpy(role, answer.text, room);
	return true;
}

static bool
hf_redis_authenticate(HfRedis *redis)
{
	const char *with_user[] = {"AUTH", hf_redis_user, hf_redis_password};
	const char *without[] = {"AUTH", hf_redis_password};
	HfRedisAnswer answer;

	if (hf_redis_user[0] != '\0')
		return hf_redis_ask(redis, &answer, 3, with_user);
	return hf_redis_ask(redis, &answer, 2, without);
}

/* Finds out the role, with the password where one is set, which sentinels are not told. */
static bool
hf_redis_greet(HfRedis *redis, char *role, Size room)
{
	bool known = hf_redis_ask_role(redis, role, room);

	if (hf_redis_password[0] == '\0' || (known && strcmp(role, "sentinel") == 0))
		return known;
	if (!known && (redis->context->err || redis->reply == NULL))
		return false;
	return hf_redis_authenticate(redis) && hf_redis_ask_role(redis, role, room);
}

/* The rest of the line behind a name, in what INFO answers. */
static bool
hf_redis_info_line(const char *info, const char *name, char *value, Size room)
{
	const char *line = strstr(info, name);
	Size length;

	if (line == NULL)
		return false;
	line += strlen(name);
	length = strcspn(line, "\r\n");
	strlcpy(value, line, Min(room, length + 1));
	return true;
}

/* Chooses the database and learns who the server is. */
static bool
hf_redis_enter(HfRedis *redis)
{
	char number[16];
	const char *select[] = {"SELECT", number};
	const char *info[] = {"INFO", "server"};
	char version[32];
	int major = 0, minor = 0;
	HfRedisAnswer answer;

	snprintf(number, sizeof(number), "%d", hf_redis_database);
	if ((hf_redis_database != 0 && !hf_redis_ask(redis, &answer, 2, select)) ||
		!hf_redis_ask(redis, &answer, 2, info))
		return false;
	if (answer.type != HF_REDIS_TEXT ||
		!hf_redis_info_line(answer.text, "run_id:", redis->run_id, RUN_ID_MAX) ||
		!hf_redis_info_line(answer.text, "redis_version:", version, sizeof(version)))
		return hf_redis_fail(redis, "unexpected answer to INFO");
	(void) sscanf(version, "%d.%d", &major, &minor);
	if (major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR))
		return hf_redis_fail(redis, "Redis 6.2 or newer is needed");
	return true;
}

/* Asks a sentinel for the server to use. */
static bool
hf_redis_ask_sentinel(HfRedis *redis, HfRedisAddress *address)
{
	const char *command[] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", hf_redis_service};
	HfRedisAnswer host, port;

	if (!hf_redis_ask(redis, &host, 3, command))
		return false;
	if (!hf_redis_element(redis, 0, &host) || host.type != HF_REDIS_TEXT ||
		!hf_redis_element(redis, 1, &port) || port.type != HF_REDIS_TEXT)
		return hf_redis_fail(redis, "the sentinel does not know holdfast.redis_service");
	strlcpy(address->host, host.text, sizeof(address->host));
	address->port = atoi(port.text);
	return address->port > 0;
}

/*
 * Connects to an address, or where a sentinel there sends us; only to a server that takes writes.
 */
static bool
hf_redis_try(HfRedis *redis, HfRedisAddress address)
{
	char role[16];

	for (int hops = 0; hops < 2; hops++)
	{
		if (!hf_redis_connect(redis, &address) || !hf_redis_greet(redis, role, sizeof(role)))
			return false;
		if (strcmp(role, "master") == 0)
			return hf_redis_enter(redis);
		if (strcmp(role, "sentinel") != 0)
			return hf_redis_fail(redis, "the server is a replica");
		if (!hf_redis_ask_sentinel(redis, &address))
			return false;
	}
	return hf_redis_fail(redis, "a sentinel names a sentinel");
}

/*
 * Connects to the first server of holdfast.redis_address that takes writes.  NULL if there is
 * none, with the reason of the last that was tried in `error`, of HF_REDIS_ERROR_MAX bytes.
 */
HfRedis *
hf_redis_open(char *error)
{
	HfRedis *redis = MemoryContextAllocZero(TopMemoryContext, sizeof(HfRedis));
	const char *list = hf_redis_address;

	hf_redis_fail(redis, "holdfast.redis_address is empty");
	while (*list != '\0')
	{
		Size length = strcspn(list, ",");
		HfRedisAddress address;

		if (!hf_redis_address_parse(list, length, &address))
			hf_redis_fail(redis, "holdfast.redis_address has an item that is no address");
		else if (hf_redis_try(redis, address))
			return redis;
		list += length;
		list += strspn(list, ",");
	}
	strlcpy(error, redis->error, HF_REDIS_ERROR_MAX);
	hf_redis_close(redis);
	return NULL;
}

/* Names the running server: another one after a restart or a failover. */
const char *
hf_redis_run_id(const HfRedis *redis)
{
	return redis->run_id;
}

/* Why the last call failed. */
const char *
hf_redis_error(const HfRedis *redis)
{
	return redis->error;
}
