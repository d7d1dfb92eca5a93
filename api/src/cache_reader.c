/*
 * cache_reader.c
 *		A reader of the cache that waits for Redis, but never long: cache_protocol.c over hiredis.
 *
 * A hit takes one round trip.  All that a call does (to connect, to ask, to ask again) has one
 * deadline, however slowly Redis talks.
 *
 * Invariants: what is wrong with a connection, or with a reply, ends the connection: a late reply
 * is never taken for that to another question.  After a failure nobody tries to connect for a
 * moment, which doubles with each further one until Redis has answered something; meanwhile calls
 * fail at once.  The lease of a fill is used up, whatever comes of it.
 *
 * The context and the last reply belong to the reader.  A reader belongs to one thread.  No signal
 * is raised by writing to a connection that Redis has closed.
 */
#include "cache_reader.h"

#include "redis_reply.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#define PAUSE_MIN 20   /* milliseconds without a try, after the first failure */
#define PAUSE_MAX 1000 /* milliseconds, at most */
#define ASKS_MAX  3	   /* times that a new generation is followed in one call */

typedef int64_t Msec;

struct HfCacheReader
{
	char *path, *host;
	int port;
	Msec timeout;
	HfCacheSpace space;
	redisContext *context; /* NULL: not connected */
	redisReply *reply;	   /* the last one; a hit's payload points into it */
	Msec deadline;		   /* of the current call */
	Msec pause;			   /* after the next failure */
	Msec not_before;	   /* no try to connect until then */
	HfCacheCommand command;
	char error[200];
};

/* Of a clock that goes on while the machine is suspended: a reply from before that comes late. */
static Msec
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (Msec) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Ends the connection because something is wrong with it; returns false. */
static bool __attribute__((format(printf, 2, 3)))
fail(HfCacheReader *reader, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reader->error, sizeof(reader->error), format, args);
	va_end(args);
	if (reader->context != NULL)
		redisFree(reader->context);
	reader->context = NULL;
	reader->not_before = now() + reader->pause;
	reader->pause = reader->pause * 2 < PAUSE_MAX ? reader->pause * 2 : PAUSE_MAX;
	return false;
}

/* Waits until the socket is ready; false if it is not before the deadline. */
static bool
wait_for(HfCacheReader *reader, short events)
{
	struct pollfd fd = {.fd = reader->context->fd, .events = events};

	for (;;)
	{
		Msec left = reader->deadline - now();
		int ready = left > 0 ? poll(&fd, 1, (int) left) : 0;

		if (ready > 0)
			return true;
		if (ready == 0)
			return fail(reader, "Redis did not answer within %" PRId64 " ms", reader->timeout);
		if (errno != EINTR)
			return fail(reader, "poll: %s", strerror(errno));
	}
}

/* Connects, unless that has failed just now. */
static bool
ensure_connected(HfCacheReader *reader)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (reader->context != NULL)
		return true;
	if (now() < reader->not_before)
		return false;
	reader->context = reader->path != NULL ? redisConnectUnixNonBlock(reader->path)
										   : redisConnectNonBlock(reader->host, reader->port);
	if (reader->context == NULL)
		return fail(reader, "out of memory");
	if (reader->context->err != 0)
	{
		/* The text dies with the context. */
		char text[sizeof(reader->context->errstr)];

		memcpy(text, reader->context->errstr, sizeof(text));
		return fail(reader, "cannot connect to Redis: %s", text);
	}
	hf_redis_reader_bound(reader->context->reader);
	if (!wait_for(reader, POLLOUT))
		return false;
	if (getsockopt(reader->context->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
		error = errno;
	if (error != 0)
		return fail(reader, "cannot connect to Redis: %s", strerror(error));
	return true;
}

static bool
send_bytes(HfCacheReader *reader, const char *data, size_t length)
{
	while (length > 0)
	{
		ssize_t sent = send(reader->context->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0)
		{
			data += sent;
			length -= (size_t) sent;
		}
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
		{
			if (!wait_for(reader, POLLOUT))
				return false;
		}
		else if (errno != EINTR)
			return fail(reader, "cannot write to Redis: %s", strerror(errno));
	}
	return true;
}

static bool
send_command(HfCacheReader *reader)
{
	HfCacheCommand *command = &reader->command;
	char *text = NULL;
	int length = redisFormatCommandArgv(&text, command->argc, command->argv, command->length);
	bool sent;

	if (length < 0)
		return fail(reader, "out of memory");
	sent = send_bytes(reader, text, (size_t) length);
	redisFreeCommand(text);
	return sent;
}

/* Puts the next reply into reader->reply. */
static bool
receive_reply(HfCacheReader *reader)
{
	for (;;)
	{
		redisContext *context = reader->context;
		void *reply = NULL;

		if (redisGetReplyFromReader(context, &reply) != REDIS_OK)
			return fail(reader, "Redis sent no reply: it is garbled");
		if (reply != NULL)
		{
			reader->reply = reply;
			return context->reader->len == context->reader->pos ||
				fail(reader, "Redis sent more than the reply");
		}
		if (context->reader->len > HF_REDIS_REPLY_MAX)
			return fail(reader, "Redis sent a reply that is too large");
		if (!wait_for(reader, POLLIN))
			return false;
		if (redisBufferRead(context) != REDIS_OK)
			return fail(reader, "cannot read from Redis: the connection is lost");
	}
}

/* Sends the reader's command and waits for its reply, which stays until the next one. */
static bool
exchange(HfCacheReader *reader, HfCacheReply *reply, HfCacheReply *element)
{
	if (reader->reply != NULL)
		freeReplyObject(reader->reply);
	reader->reply = NULL;
	if (!ensure_connected(reader) || !send_command(reader) || !receive_reply(reader))
		return false;
	*reply = hf_redis_reply(reader->reply, element);
	if (reply->type == HF_CACHE_REPLY_ERROR)
		snprintf(reader->error, sizeof(reader->error), "%.*s",
				 (int) (reply->text.length < 190 ? reply->text.length : 190), reply->text.data);
	return true;
}

/* A broken reply ends the connection; any other is a sign of life. */
static HfCacheAnswer
check(HfCacheReader *reader, HfCacheAnswer answer)
{
	if (answer == HF_CACHE_BROKEN)
		(void) fail(reader, "Redis sent another kind of reply than was asked for");
	else
		reader->pause = PAUSE_MIN;
	return answer;
}

/* Fills memory that is not to be guessed; false if the system has none, which it always has. */
static bool
make_random(unsigned char *bytes, size_t length)
{
	ssize_t got;

	do
		got = getrandom(bytes, length, 0);
	while (got < 0 && errno == EINTR);
	return got == (ssize_t) length;
}

/*
 * Makes a reader; it connects when it is used.  NULL if memory is short, or the prefix or the
 * address is none.
 */
HfCacheReader *
hf_cache_reader_open(const HfCacheAddress *address, const char *prefix)
{
	HfCacheReader *reader = calloc(1, sizeof(HfCacheReader));

	if (reader == NULL)
		return NULL;
	reader->path = address->path != NULL ? strdup(address->path) : NULL;
	reader->host = address->host != NULL ? strdup(address->host) : NULL;
	reader->port = address->port;
	reader->timeout = address->timeout;
	reader->pause = PAUSE_MIN;
	if ((reader->path == NULL && reader->host == NULL) || address->timeout <= 0 ||
		!hf_cache_space_begin(&reader->space, prefix))
	{
		hf_cache_reader_close(reader);
		return NULL;
	}
	return reader;
}

void
hf_cache_reader_close(HfCacheReader *reader)
{
	if (reader == NULL)
		return;
	if (reader->reply != NULL)
		freeReplyObject(reader->reply);
	if (reader->context != NULL)
		redisFree(reader->context);
	free(reader->path);
	free(reader->host);
	free(reader);
}

/* Asks until the generation is known: HIT, MISS, OFF or BROKEN. */
static HfCacheAnswer
ask(HfCacheReader *reader, const HfCacheEntry *entry, HfText *payload)
{
	HfCacheReply reply, element[HF_CACHE_REPLY_ELEMENTS];

	for (int i = 0; i < ASKS_MAX; i++)
	{
		HfCacheAnswer answer;

		hf_cache_ask(&reader->command, &reader->space, entry);
		if (!exchange(reader, &reply, element))
			return HF_CACHE_BROKEN;
		answer = check(reader, hf_cache_asked(&reader->space, entry, &reply, payload));
		if (answer != HF_CACHE_MOVED)
			return answer;
	}
	return HF_CACHE_OFF;
}

/* Asks for a lease: LEASED, BUSY, OFF or BROKEN. */
static HfCacheAnswer
take_lease(HfCacheReader *reader, const HfCacheEntry *entry, HfCacheLease *lease)
{
	HfCacheReply reply, element[HF_CACHE_REPLY_ELEMENTS];
	HfCacheAnswer answer = HF_CACHE_NOSCRIPT;
	unsigned char random[2 * HF_CACHE_RANDOM_BYTES];

	if (!make_random(random, sizeof(random)))
		return HF_CACHE_OFF;
	hf_cache_lease_begin(lease, &reader->space, entry, random);
	for (int i = 0; i < 2 && answer == HF_CACHE_NOSCRIPT; i++)
	{
		hf_cache_lease(&reader->command, &reader->space, entry, lease, i > 0);
		if (!exchange(reader, &reply, element))
			return HF_CACHE_BROKEN;
		answer = check(reader, hf_cache_leased(lease, &reply));
	}
	return answer == HF_CACHE_NOSCRIPT ? HF_CACHE_OFF : answer;
}

/*
 * Reads an entry: HIT, LEASED, BUSY, OFF or BROKEN.
 *
 * HIT: the payload, which is there until the next call.  LEASED: read the database now, with a
 * snapshot that is not older than this answer, and fill.  BUSY: another is about to fill; wait a
 * little, or read the database and fill nothing, as for OFF (the cache cannot be used) and BROKEN
 * (Redis cannot).  Only LEASED makes the lease one.
 */
HfCacheAnswer
hf_cache_reader_get(HfCacheReader *reader, const HfCacheEntry *entry, HfText *payload,
					HfCacheLease *lease)
{
	HfCacheAnswer answer;

	lease->token[0] = '\0';
	reader->deadline = now() + reader->timeout;
	answer = ask(reader, entry, payload);
	if (answer == HF_CACHE_MISS)
		answer = take_lease(reader, entry, lease);
	if (answer != HF_CACHE_LEASED)
		lease->token[0] = '\0';
	return answer;
}

/*
 * Fills the entry of a lease with a payload that lives so many milliseconds: STORED, REFUSED (the
 * lease is void, the payload may be old, or is too large), OFF or BROKEN.  The lease is used up.
 */
HfCacheAnswer
hf_cache_reader_fill(HfCacheReader *reader, HfCacheLease *lease, const HfText *payload,
					 unsigned ttl)
{
	HfCacheReply reply, element[HF_CACHE_REPLY_ELEMENTS];
	HfCacheAnswer answer = HF_CACHE_NOSCRIPT;
	HfText frame = {NULL, 0};
	char *text;

	if (lease->token[0] != '\0')
		frame.length = hf_cache_frame_length(lease, payload->length);
	if (frame.length == 0)
		return HF_CACHE_REFUSED;
	text = malloc(frame.length);
	if (text == NULL)
		return HF_CACHE_OFF;
	hf_cache_frame(text, lease, payload);
	frame.data = text;
	reader->deadline = now() + reader->timeout;
	for (int i = 0; i < 2 && answer == HF_CACHE_NOSCRIPT; i++)
	{
		hf_cache_fill(&reader->command, &reader->space, lease, &frame, ttl, i > 0);
		answer = exchange(reader, &reply, element) ? check(reader, hf_cache_filled(&reply))
												   : HF_CACHE_BROKEN;
	}
	free(text);
	lease->token[0] = '\0';
	return answer == HF_CACHE_NOSCRIPT ? HF_CACHE_OFF : answer;
}

/* What was last wrong, for a log; empty if nothing was yet. */
const char *
hf_cache_reader_error(const HfCacheReader *reader)
{
	return reader->error;
}

/* The generation that was last seen, in decimal. */
const char *
hf_cache_reader_generation(const HfCacheReader *reader)
{
	return reader->space.generation;
}
