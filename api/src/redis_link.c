/*
 * redis_link.c
 *		A connection to Redis on Kore's loop, which is made again whenever it is lost.
 *
 * Of hiredis this uses the parser and the formatter.  Its asynchronous half is left alone: it ends
 * the process when Redis says what it does not expect, and drops the answer to a PING that is sent
 * while there is a subscription.
 *
 * Invariants: nothing here waits.  A connection is opened by the tick alone, never while events are
 * handled, so an event that was for a connection before finds either none or is harmless: all that
 * an event leads to is to try to read or write.  A link that is not UP has a deadline.  A reply is
 * handed on once, in the order of the replies, and hf_redis_link_write() calls nobody back.  lost()
 * is called once for each connection that was begun, and when it is, there is none.  What is
 * received for one reply and what waits to be sent are bounded.
 */
#include "redis_link.h"

#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "redis_reply.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_TIMEOUT 1000 /* milliseconds until Redis has to have answered */
#define PAUSE_MIN		50	 /* milliseconds without a connection, after the first loss */
#define PAUSE_MAX		2000
#define OUTPUT_MAX		(HF_CACHE_FRAME_MAX + 65536) /* the longest command, and others with it */
#define OUTPUT_KEPT		(256 * 1024)				 /* bytes of room that are kept for later */
#define READ_BYTES		65536
#define READS_MAX		16 /* in one pass: others have to be served as well */

static union
{
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
} redis_address;
static socklen_t redis_address_length; /* 0: there is no Redis */

static bool
resolve_local(const char *path)
{
	if (*path == '\0' || strlen(path) >= sizeof(redis_address.local.sun_path))
		return false;
	redis_address.local.sun_family = AF_UNIX;
	memcpy(redis_address.local.sun_path, path, strlen(path) + 1);
	redis_address_length = sizeof(redis_address.local);
	return true;
}

/* ADDRESS:PORT, in which an IPv6 address may stand in brackets. */
static bool
resolve_inet(const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN];
	size_t length = colon != NULL ? (size_t) (colon - text) : 0;
	int port = colon != NULL ? atoi(colon + 1) : 0;

	if (length >= 2 && text[0] == '[' && text[length - 1] == ']')
	{
		text++;
		length -= 2;
	}
	if (length == 0 || length >= sizeof(host) || port < 1 || port > 65535)
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (inet_pton(AF_INET, host, &redis_address.v4.sin_addr) == 1)
	{
		redis_address.v4.sin_family = AF_INET;
		redis_address.v4.sin_port = htons((uint16_t) port);
		redis_address_length = sizeof(redis_address.v4);
	}
	else if (inet_pton(AF_INET6, host, &redis_address.v6.sin6_addr) == 1)
	{
		redis_address.v6.sin6_family = AF_INET6;
		redis_address.v6.sin6_port = htons((uint16_t) port);
		redis_address_length = sizeof(redis_address.v6);
	}
	return redis_address_length > 0;
}

/* Where all links lead: "unix:PATH" or ADDRESS:PORT, without names; false if it is neither. */
bool
hf_redis_link_resolve(const char *text)
{
	static const char local[] = "unix:";

	memset(&redis_address, 0, sizeof(redis_address));
	redis_address_length = 0;
	return strncmp(text, local, strlen(local)) == 0 ? resolve_local(text + strlen(local))
													: resolve_inet(text);
}

static void
watch(HfRedisLink *link, bool wants_write)
{
	link->wants_write = wants_write;
	if (wants_write)
		kore_platform_event_level_all(link->fd, link);
	else
		kore_platform_event_level_read(link->fd, link);
}

/* Some part of the pause, so that not all workers come back in the same moment. */
static unsigned
draw_pause(HfRedisLink *link)
{
	unsigned pause = link->pause / 2 + (unsigned) random() % (link->pause / 2 + 1);

	link->pause = link->pause * 2 < PAUSE_MAX ? link->pause * 2 : PAUSE_MAX;
	return pause;
}

/* Gives the connection up and says why, unless that is NULL.  It is made again after a pause. */
void
hf_redis_link_fail(HfRedisLink *link, const char *why)
{
	if (link->state == HF_REDIS_LINK_DOWN)
		return;
	if (why != NULL && (link->state == HF_REDIS_LINK_UP || link->pause == PAUSE_MIN))
		hf_log(HF_LOG_WARNING, "redis_lost", "%s: %s", link->name, why);
	if (link->fd >= 0)
		close(link->fd);
	if (link->reader != NULL)
		redisReaderFree(link->reader);
	free(link->output.data);
	memset(&link->output, 0, sizeof(link->output));
	link->reader = NULL;
	link->fd = -1;
	link->broken = NULL;
	link->unparsed = 0;
	link->state = HF_REDIS_LINK_DOWN;
	link->deadline = hf_loop_now() + draw_pause(link);
	link->lost();
}

static bool
make_room(HfRedisOutput *output, size_t length)
{
	size_t waiting = output->end - output->sent, room = output->room;
	char *data;

	if (length > OUTPUT_MAX || waiting > OUTPUT_MAX - length)
		return false;
	if (output->sent > 0 && output->end + length > output->room)
	{
		memmove(output->data, output->data + output->sent, waiting);
		output->sent = 0;
		output->end = waiting;
	}
	if (output->end + length <= output->room)
		return true;
	while (room < output->end + length)
		room = room > 0 ? room * 2 : 16384;
	data = realloc(output->data, room);
	if (data == NULL)
		return false;
	output->data = data;
	output->room = room;
	return true;
}

/* Puts a command behind those that wait for the flush; false if too much waits already. */
bool
hf_redis_link_write(HfRedisLink *link, int argc, const char *const *argv, const size_t *length)
{
	HfRedisOutput *output = &link->output;
	char *text = NULL;
	int bytes = redisFormatCommandArgv(&text, argc, (const char **) argv, length);
	bool has_room;

	if (bytes < 0)
		return false;
	has_room = make_room(output, (size_t) bytes);
	if (has_room)
	{
		memcpy(output->data + output->end, text, (size_t) bytes);
		output->end += (size_t) bytes;
	}
	redisFreeCommand(text);
	return has_room;
}

/* Sends what waits, or as much of it as the socket takes now and the rest when it takes more. */
void
hf_redis_link_flush(HfRedisLink *link)
{
	HfRedisOutput *output = &link->output;

	if (link->state < HF_REDIS_LINK_GREETING)
		return;
	while (output->sent < output->end)
	{
		ssize_t sent = send(link->fd, output->data + output->sent, output->end - output->sent,
							MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0)
			output->sent += (size_t) sent;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		else if (errno != EINTR)
		{
			hf_redis_link_fail(link, strerror(errno));
			return;
		}
	}
	if (output->sent == output->end)
	{
		output->sent = output->end = 0;
		if (output->room > OUTPUT_KEPT)
		{
			free(output->data);
			memset(output, 0, sizeof(*output));
		}
	}
	if (link->wants_write != (output->end > 0))
		watch(link, output->end > 0);
}

/* Hands on all replies that have come as a whole; false if the connection was given up. */
static bool
parse(HfRedisLink *link)
{
	redisReader *reader = link->reader;

	for (;;)
	{
		HfCacheReply reply, element[HF_CACHE_REPLY_ELEMENTS];
		void *parsed = NULL;

		if (redisReaderGetReply(reader, &parsed) != REDIS_OK)
			link->broken = "garbled reply";
		else if (parsed == NULL)
		{
			if (link->unparsed <= HF_REDIS_REPLY_MAX)
				return true;
			link->broken = "reply too large";
		}
		else
		{
			link->unparsed = reader->len - reader->pos;
			reply = hf_redis_reply(parsed, element);
			link->reply(&reply);
			freeReplyObject(parsed);
		}
		if (link->broken != NULL)
		{
			hf_redis_link_fail(link, link->broken);
			return false;
		}
	}
}

static void
receive(HfRedisLink *link)
{
	static char bytes[READ_BYTES];

	for (int i = 0; i < READS_MAX; i++)
	{
		ssize_t got = recv(link->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (got <= 0)
		{
			hf_redis_link_fail(link, got == 0 ? "closed by Redis" : strerror(errno));
			return;
		}
		link->unparsed += (size_t) got;
		if (redisReaderFeed(link->reader, bytes, (size_t) got) != REDIS_OK)
		{
			hf_redis_link_fail(link, "out of memory");
			return;
		}
		if (!parse(link) || (size_t) got < sizeof(bytes))
			return;
	}
}

static void
finish_connect(HfRedisLink *link)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
		error = errno;
	if (error != 0)
	{
		hf_redis_link_fail(link, strerror(error));
		return;
	}
	link->state = HF_REDIS_LINK_GREETING;
	link->greet();
	hf_redis_link_flush(link);
}

/* A lost peer is found by reading, so that what it sent before is not lost with it. */
static void
handle_event(void *arg, int error)
{
	HfRedisLink *link = arg;
	int flags = link->event.flags;

	link->event.flags = 0;
	if (link->state == HF_REDIS_LINK_CONNECTING && (error || (flags & KORE_EVENT_WRITE)))
		finish_connect(link);
	if (link->state >= HF_REDIS_LINK_GREETING && (error || (flags & KORE_EVENT_READ)))
		receive(link);
	if (link->state >= HF_REDIS_LINK_GREETING && (flags & KORE_EVENT_WRITE) && link->wants_write)
		hf_redis_link_flush(link);
}

static void
begin_connect(HfRedisLink *link)
{
	int family = redis_address.any.sa_family, yes = 1;

	link->state = HF_REDIS_LINK_CONNECTING;
	link->deadline = hf_loop_now() + CONNECT_TIMEOUT;
	link->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	link->reader = redisReaderCreate();
	if (link->fd < 0 || link->reader == NULL)
	{
		hf_redis_link_fail(link, "no socket or no memory");
		return;
	}
	hf_redis_reader_bound(link->reader);
	if (family != AF_UNIX)
		(void) setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	if (connect(link->fd, &redis_address.any, redis_address_length) != 0 && errno != EINPROGRESS)
		hf_redis_link_fail(link, strerror(errno));
	else
		watch(link, true);
}

/* To be called every HF_REDIS_LINK_TICK milliseconds: connects, or stops waiting for Redis. */
void
hf_redis_link_tick(HfRedisLink *link)
{
	if (redis_address_length == 0 || link->state == HF_REDIS_LINK_UP ||
		hf_loop_now() < link->deadline)
		return;
	if (link->state == HF_REDIS_LINK_DOWN)
		begin_connect(link);
	else
		hf_redis_link_fail(link, "no answer while connecting");
}

/* Begins to connect.  The link's name and callbacks are set; it is used for good. */
void
hf_redis_link_start(HfRedisLink *link)
{
	link->event.handle = handle_event;
	link->fd = -1;
	link->pause = PAUSE_MIN;
	link->deadline = 0;
	hf_redis_link_tick(link);
}

/* Redis has answered as it should: the link is up. */
void
hf_redis_link_up(HfRedisLink *link)
{
	link->state = HF_REDIS_LINK_UP;
	link->pause = PAUSE_MIN;
	hf_metrics_add(HF_METRIC_REDIS_RECONNECTS, 1);
	hf_log(HF_LOG_INFO, "redis_up", "%s", link->name);
}

/* Ends the connection, for good. */
void
hf_redis_link_stop(HfRedisLink *link)
{
	hf_redis_link_fail(link, NULL);
	link->deadline = UINT64_MAX;
}
