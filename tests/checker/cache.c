/*
 * cache.c
 *		The reader's part of docs/cache-protocol.md, written from that page alone.
 *
 * Many entries are asked for in one round trip, as one MGET, which Redis answers at one moment.
 * Scripts are pipelined.  After any failure the connection is closed; the next one is tried no
 * sooner than RETRY later.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "checker.h"

#define RETRY (50 * 1000)

#define LEASE_TTL "2000"
#define VALUE_TTL "3600000"
#define TAG_TTL	  "7200000"

#define NAME_MAX_LENGTH 128

static const char lease_script[] =
	"if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end\n"
	"local tokens = {}\n"
	"for i = 2, #KEYS do\n"
	"  redis.call('SET', KEYS[i], ARGV[3], 'NX', 'PX', ARGV[4])\n"
	"  redis.call('PEXPIRE', KEYS[i], ARGV[4])\n"
	"  tokens[i - 1] = redis.call('GET', KEYS[i])\n"
	"end\n"
	"return tokens";

static const char fill_script[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
								  "redis.call('DEL', KEYS[1])\n"
								  "if redis.call('GET', KEYS[3]) ~= ARGV[4] then return 0 end\n"
								  "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])\n"
								  "return 1";

/* The entry of a row, or of the shelf that begins with it. */
void
cache_name(Entry *entry, int id, bool shelf)
{
	memset(entry, 0, sizeof(*entry));
	entry->first = id;
	entry->rows = shelf ? SHELF : 1;
	if (shelf)
		snprintf(entry->tag, sizeof(entry->tag), "tag:shelf:%d", (id - 1) / SHELF);
	snprintf(entry->key, sizeof(entry->key), shelf ? "shelf:%d" : "item:%d",
			 shelf ? (id - 1) / SHELF : id);
}

void
cache_close(Cache *c)
{
	if (c->redis != NULL)
		redisFree(c->redis);
	c->redis = NULL;
}

static bool
fail(Cache *c)
{
	cache_close(c);
	c->retry_at = now() + RETRY;
	return false;
}

static bool
connect_to_redis(Cache *c)
{
	struct timeval patience = {.tv_sec = 1};

	if (c->redis != NULL)
		return true;
	if (now() < c->retry_at)
		return false;
	c->redis = redisConnectUnixWithTimeout(options.redis, patience);
	if (c->redis == NULL || c->redis->err || redisSetTimeout(c->redis, patience) != REDIS_OK)
		return fail(c);
	if (c->generation[0] == '\0')
		strcpy(c->generation, "0");
	return true;
}

/* The next answer, to be freed; NULL, and no connection any more, if there is none. */
static redisReply *
receive(Cache *c)
{
	void *reply = NULL;

	if (redisGetReply(c->redis, &reply) == REDIS_OK && reply != NULL &&
		((redisReply *) reply)->type != REDIS_REPLY_ERROR)
		return reply;
	if (reply != NULL)
		freeReplyObject(reply);
	(void) fail(c);
	return NULL;
}

static void
write_name(const Cache *c, char *name, const char *what, const char *key)
{
	snprintf(name, NAME_MAX_LENGTH, "%s%s:%s:{%s}", options.prefix, c->generation, what, key);
}

static bool
is_text(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING;
}

/* A value is a hit if its first line has the token of the entry's tag, which was read with it. */
static void
take_value(Entry *entry, const redisReply *value, const redisReply *tag)
{
	const char *end;
	size_t length;

	entry->answer = MISS;
	if (!is_text(value) || (tag != NULL && !is_text(tag)))
		return;
	end = memchr(value->str, '\n', (size_t) value->len);
	length = end != NULL ? (size_t) (end - value->str) : 0;
	if (end == NULL || length != (tag != NULL ? (size_t) tag->len : 0) ||
		(tag != NULL && memcmp(value->str, tag->str, length) != 0))
		return;
	snprintf(entry->payload, sizeof(entry->payload), "%s", end + 1);
	entry->answer = HIT;
}

/* Takes the answer apart; false if the generation is another. */
static bool
take_answers(Cache *c, Entry *entry, int n, const redisReply *reply, bool *on)
{
	const redisReply *heartbeat = reply->element[0];
	size_t tag = (size_t) n + 1;

	*on = is_text(heartbeat);
	if (!*on)
		return true;
	if (strcmp(heartbeat->str, c->generation) != 0)
	{
		snprintf(c->generation, sizeof(c->generation), "%s", heartbeat->str);
		return false;
	}
	for (int i = 0; i < n; i++)
		take_value(&entry[i], reply->element[i + 1],
				   entry[i].tag[0] != '\0' ? reply->element[tag++] : NULL);
	return true;
}

static redisReply *
ask_once(Cache *c, const Entry *entry, int n)
{
	static _Thread_local char name[2 * BATCH + 2][NAME_MAX_LENGTH];
	const char *argv[2 * BATCH + 2] = {"MGET", name[1]};
	int argc = 2;

	snprintf(name[1], NAME_MAX_LENGTH, "%sheartbeat", options.prefix);
	for (int i = 0; i < n; i++, argc++)
	{
		write_name(c, name[argc], "value", entry[i].key);
		argv[argc] = name[argc];
	}
	for (int i = 0; i < n; i++)
	{
		if (entry[i].tag[0] == '\0')
			continue;
		write_name(c, name[argc], "tag", entry[i].tag);
		argv[argc] = name[argc];
		argc++;
	}
	c->asked = now();
	if (redisAppendCommandArgv(c->redis, argc, argv, NULL) != REDIS_OK)
	{
		(void) fail(c);
		return NULL;
	}
	return receive(c);
}

/*
 * Asks for all entries at once, at c->asked.  False: the cache is off, or there is no Redis, and
 * nothing is served.
 */
bool
cache_ask(Cache *c, Entry *entry, int n)
{
	for (;;)
	{
		bool on, same;
		redisReply *reply;

		if (!connect_to_redis(c))
			return false;
		reply = ask_once(c, entry, n);
		if (reply == NULL)
			return false;
		if (reply->type != REDIS_REPLY_ARRAY || reply->elements < (size_t) n + 1)
		{
			freeReplyObject(reply);
			return fail(c);
		}
		same = take_answers(c, entry, n, reply, &on);
		freeReplyObject(reply);
		if (same)
			return on;
	}
}

static bool
send_lease(Cache *c, Entry *entry)
{
	char lease[NAME_MAX_LENGTH], tag[NAME_MAX_LENGTH], token[40];
	bool tagged = entry->tag[0] != '\0';
	const char *argv[9] = {"EVAL", lease_script, tagged ? "2" : "1", lease};
	int argc = 4;

	snprintf(entry->token, sizeof(entry->token), "%016llx%016llx",
			 (unsigned long long) rnd(&c->random, UINT64_MAX),
			 (unsigned long long) rnd(&c->random, UINT64_MAX));
	snprintf(token, sizeof(token), "%016llx", (unsigned long long) rnd(&c->random, UINT64_MAX));
	write_name(c, lease, "lease", entry->key);
	write_name(c, tag, "tag", entry->tag);
	if (tagged)
		argv[argc++] = tag;
	argv[argc++] = entry->token;
	argv[argc++] = LEASE_TTL;
	argv[argc++] = token;
	argv[argc++] = TAG_TTL;
	return redisAppendCommandArgv(c->redis, argc, argv, NULL) == REDIS_OK || fail(c);
}

/* Asks for the leases of all entries that were missed. False if the connection is lost. */
bool
cache_lease(Cache *c, Entry *entry, int n)
{
	for (int i = 0; i < n; i++)
		if (entry[i].answer == MISS && !send_lease(c, &entry[i]))
			return false;
	for (int i = 0; i < n; i++)
	{
		redisReply *reply;

		if (entry[i].answer != MISS)
			continue;
		reply = receive(c);
		if (reply == NULL)
			return false;
		entry[i].tags[0] = '\0';
		if (reply->type == REDIS_REPLY_ARRAY)
		{
			entry[i].answer = LEASED;
			if (reply->elements == 1 && is_text(reply->element[0]))
				snprintf(entry[i].tags, sizeof(entry[i].tags), "%s", reply->element[0]->str);
		}
		freeReplyObject(reply);
	}
	return true;
}

static bool
send_fill(Cache *c, const Entry *entry)
{
	char lease[NAME_MAX_LENGTH], value[NAME_MAX_LENGTH], heartbeat[NAME_MAX_LENGTH];
	char text[sizeof(entry->tags) + sizeof(entry->payload)];
	const char *argv[] = {"EVAL",	 fill_script,  "3",	 lease,		value,
						  heartbeat, entry->token, text, VALUE_TTL, c->generation};

	write_name(c, lease, "lease", entry->key);
	write_name(c, value, "value", entry->key);
	snprintf(heartbeat, sizeof(heartbeat), "%sheartbeat", options.prefix);
	snprintf(text, sizeof(text), "%s\n%s", entry->tags, entry->payload);
	return redisAppendCommandArgv(c->redis, 10, argv, NULL) == REDIS_OK || fail(c);
}

/* Stores what was read of the entries that were leased. False if the connection is lost. */
bool
cache_fill(Cache *c, Entry *entry, int n)
{
	for (int i = 0; i < n; i++)
		if (entry[i].answer == LEASED && !send_fill(c, &entry[i]))
			return false;
	for (int i = 0; i < n; i++)
	{
		redisReply *reply;

		if (entry[i].answer != LEASED)
			continue;
		reply = receive(c);
		if (reply == NULL)
			return false;
		count(reply->type == REDIS_REPLY_INTEGER && reply->integer == 1 ? COUNT_FILLED
																		: COUNT_REFUSED,
			  1);
		freeReplyObject(reply);
	}
	return true;
}
