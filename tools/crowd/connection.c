/*
 * connection.c
 *		Connections, each with one request at a time.
 *
 * A connection has a socket or none, and a buyer or none.  Without a buyer it waits for the next
 * one, open or not; the server may close it meanwhile, and that is no error.  With a buyer, a
 * request is being sent or its answer awaited; this ends in exactly one way, by an answer or by a
 * trouble.  An event carries which one of the connection's sockets it is of, because that may be
 * closed, and the next one open, before its turn comes.
 */
#include "connection.h"
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256

typedef struct Connection
{
	int fd; /* -1: none */
	uint32_t generation;
	uint32_t interest; /* events that epoll was told */
	bool connecting;
	bool failed; /* to connect, when it was used last */
	bool broken; /* is to be closed after the answer that has come */
	HfBuyer *buyer;
	uint64_t since; /* when the try began */
	size_t length;	/* of the request */
	size_t sent;
	char *out;
	HfAnswer answer;
} Connection;

static Connection *connections;
static HfConnectionFree when_free;
static int poller;

uint64_t
hf_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

void
hf_connections_prepare(HfConnectionFree on_free)
{
	struct rlimit limit;
	rlim_t wanted = hf_options.connections + 64;

	when_free = on_free;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted)
	{
		limit.rlim_cur = wanted;
		if (limit.rlim_max < wanted)
			limit.rlim_max = wanted;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			hf_die("so many connections are not allowed: %s", strerror(errno));
	}
	poller = epoll_create1(EPOLL_CLOEXEC);
	connections = calloc(hf_options.connections, sizeof(Connection));
	if (poller < 0 || connections == NULL)
		hf_die("out of memory");
	for (unsigned i = 0; i < hf_options.connections; i++)
	{
		connections[i].fd = -1;
		connections[i].out = malloc(hf_script_room());
		if (connections[i].out == NULL)
			hf_die("out of memory");
	}
}

static void
close_socket(Connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->generation++;
	c->connecting = c->broken = false;
	hf_answer_begin(&c->answer);
}

static void
watch(Connection *c, uint32_t interest)
{
	struct epoll_event event = {
		.events = interest,
		.data.u64 = (uint64_t) (c - connections) | (uint64_t) c->generation << 32,
	};

	if (c->interest == interest)
		return;
	if (epoll_ctl(poller, c->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &event) != 0)
		hf_die("epoll_ctl: %s", strerror(errno));
	c->interest = interest;
}

/* Gives a socket the address that is its connection's. */
static bool
come_from(const Connection *c)
{
	uint32_t n = (uint32_t) (c - connections) % hf_options.from_count;
	struct sockaddr_in address = {.sin_family = AF_INET,
								  .sin_addr.s_addr = htonl(hf_options.from + n)};
	int on = 1;

	return setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
		bind(c->fd, (const struct sockaddr *) &address, sizeof(address)) == 0;
}

/* Begins to connect. */
static bool
open_socket(Connection *c)
{
	int on = 1;
	bool inet = hf_options.address.ss_family == AF_INET;

	c->fd = socket(hf_options.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		hf_die("socket: %s", strerror(errno));
	c->interest = 0;
	if (inet)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (inet && hf_options.from_count > 0 && !come_from(c))
		hf_die("--from: no connection can come from there: %s", strerror(errno));
	if (connect(c->fd, (const struct sockaddr *) &hf_options.address, hf_options.address_length) !=
			0 &&
		errno != EINPROGRESS)
	{
		close_socket(c);
		return false;
	}
	c->connecting = true;
	watch(c, EPOLLIN | EPOLLOUT);
	return true;
}

/* The request of a connection has ended; what comes next is the caller's. */
static void
finish(Connection *c, HfNext next, uint64_t now)
{
	HfBuyer *buyer = c->buyer;

	c->buyer = NULL;
	when_free((unsigned) (c - connections), buyer, next, now);
}

/* Something is wrong with a connection: it is closed, and its request, if any, is lost. */
static void
lose(Connection *c, HfTrouble why, uint64_t now)
{
	close_socket(c);
	c->failed = why == HF_TROUBLE_CONNECT;
	if (c->buyer != NULL)
		finish(c, hf_script_lost(c->buyer, why, now), now);
	else if (why != HF_TROUBLE_CLOSED && why != HF_TROUBLE_RESET)
		hf_report_trouble(why);
}

static void
send_more(Connection *c, uint64_t now)
{
	ssize_t sent = send(c->fd, c->out + c->sent, c->length - c->sent, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR)
	{
		lose(c, HF_TROUBLE_RESET, now);
		return;
	}
	c->sent += sent > 0 ? (size_t) sent : 0;
	if (c->sent < c->length)
		watch(c, EPOLLIN | EPOLLOUT);
	else if (hf_script_leaves(c->buyer))
		lose(c, HF_TROUBLE_LEFT, now);
	else
		watch(c, EPOLLIN);
}

void
hf_connection_run(unsigned connection, HfBuyer *buyer, uint64_t now)
{
	Connection *c = &connections[connection];

	c->buyer = buyer;
	c->length = hf_script_write(buyer, c->out);
	c->sent = 0;
	c->since = now;
	c->failed = false;
	hf_answer_begin(&c->answer);
	if (c->fd < 0 && !open_socket(c))
		lose(c, HF_TROUBLE_CONNECT, now);
	else if (!c->connecting)
		send_more(c, now);
}

/* The connection is there, or has failed. */
static void
connected(Connection *c, uint64_t now)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0)
	{
		lose(c, HF_TROUBLE_CONNECT, now);
		return;
	}
	c->connecting = false;
	if (c->buyer != NULL)
		send_more(c, now);
	else
		watch(c, EPOLLIN);
}

static void
answered(Connection *c, bool extra, uint64_t now)
{
	HfNext next = hf_script_answered(c->buyer, &c->answer, now);

	if (extra)
		hf_report_trouble(HF_TROUBLE_EXTRA_BYTES);
	/* What was answered before it was sent cannot be taken back. */
	if (c->answer.close || extra || c->sent < c->length)
		close_socket(c);
	finish(c, next, now);
}

static void
receive(Connection *c, uint64_t now)
{
	size_t room;
	char *into = hf_answer_room(&c->answer, &room);
	ssize_t got = recv(c->fd, into, room, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
	{
		lose(c, got == 0 ? HF_TROUBLE_CLOSED : HF_TROUBLE_RESET, now);
		return;
	}
	if (c->buyer == NULL || c->sent == 0)
	{
		lose(c, HF_TROUBLE_EXTRA_BYTES, now);
		return;
	}
	switch (hf_answer_take(&c->answer, (size_t) got))
	{
		case HF_ANSWER_PART:
			break;
		case HF_ANSWER_WHOLE:
			answered(c, false, now);
			break;
		case HF_ANSWER_MORE:
			answered(c, true, now);
			break;
		case HF_ANSWER_NO_LENGTH:
			lose(c, HF_TROUBLE_NO_LENGTH, now);
			break;
		case HF_ANSWER_BAD:
			lose(c, HF_TROUBLE_BAD_ANSWER, now);
			break;
	}
}

static void
handle(const struct epoll_event *event, uint64_t now)
{
	Connection *c = &connections[event->data.u64 & UINT32_MAX];
	uint32_t generation = (uint32_t) (event->data.u64 >> 32);

	if (c->fd >= 0 && c->generation == generation && c->connecting)
		connected(c, now);
	else if (c->fd >= 0 && c->generation == generation && c->buyer != NULL && c->sent < c->length &&
			 event->events == EPOLLOUT)
		send_more(c, now);
	else if (c->fd >= 0 && c->generation == generation)
		receive(c, now);
}

void
hf_connections_wait(uint64_t now, uint64_t until)
{
	struct epoll_event events[EVENTS];
	uint64_t wait = until > now ? until - now : 0;
	struct timespec timeout = {.tv_sec = (time_t) (wait / UINT64_C(1000000000)),
							   .tv_nsec = (long) (wait % UINT64_C(1000000000))};
	int n = epoll_pwait2(poller, events, EVENTS, &timeout, NULL);

	if (n < 0 && errno != EINTR)
		hf_die("epoll_pwait2: %s", strerror(errno));
	for (int i = 0; i < n; i++)
		handle(&events[i], hf_now());
}

void
hf_connections_sweep(uint64_t now)
{
	for (unsigned i = 0; i < hf_options.connections; i++)
		if (connections[i].buyer != NULL && now > connections[i].since &&
			now - connections[i].since > hf_options.timeout)
			lose(&connections[i], HF_TROUBLE_TIMEOUT, now);
}

bool
hf_connection_failed(unsigned connection)
{
	return connections[connection].failed;
}

bool
hf_connections_open(uint64_t timeout)
{
	uint64_t end = hf_now() + timeout;
	unsigned open;

	do
	{
		open = 0;
		for (unsigned i = 0; i < hf_options.connections; i++)
		{
			Connection *c = &connections[i];

			/* Not so many at once that a queue of the server runs over. */
			if (c->fd < 0 && open_socket(c) && i % 64 == 63)
				hf_connections_wait(0, 0);
			open += c->fd >= 0 && !c->connecting;
		}
		hf_connections_wait(0, UINT64_C(10000000));
	} while (open < hf_options.connections && hf_now() < end);
	return open > 0;
}
