/*
 * watcher.c
 *		A connection whose answer goes on as long as its client likes.
 *
 * It is taken from the framing guard for good, while the answer's beginning is on its way: Kore
 * neither reads it any more nor ends it for being idle.
 *
 * Invariants: a watcher is its connection's hdlr_extra, which Kore frees.  Nothing is sent before
 * Kore has sent what it has; then parts go to the socket directly, without a copy for each client.
 * What the kernel does not take at once is kept, one part at most, and whoever sends waits until it
 * is gone.  The kernel's buffer is kept small, or it would be full of what was true minutes ago.
 * What the client sends is thrown away and never taken for a request.
 */
#include "kore.h"

#include "loop.h"
#include "watcher.h"

#include <netinet/tcp.h>

#define KERNEL_MAX 4096	 /* bytes on their way to a client */
#define UNSENT_MAX 1024	 /* and of these not yet sent, where the kernel tells them apart */
#define WASTE_MAX  16384 /* bytes that a client may send for nothing */

static HfWatcherReady ready;
static HfWatcherGone gone;

static void
block(HfWatcher *watcher)
{
	if (!watcher->blocked)
		watcher->since = hf_loop_now();
	watcher->blocked = true;
}

/* Sends what is left of a part; false if the connection is at its end. */
static bool
transmit(HfWatcher *watcher)
{
	struct connection *connection = watcher->connection;
	HfPart *part = watcher->part;

	while (watcher->sent < part->length)
	{
		ssize_t n = send(connection->fd, part->text + watcher->sent, part->length - watcher->sent,
						 MSG_NOSIGNAL);

		if (n > 0)
		{
			watcher->sent += (size_t) n;
			watcher->blocked = false;
		}
		else if (errno == EAGAIN)
		{
			connection->evt.flags &= ~KORE_EVENT_WRITE;
			block(watcher);
			return true;
		}
		else if (errno != EINTR)
			return false;
	}
	hf_part_drop(&watcher->part);
	watcher->blocked = false;
	return true;
}

/* Sends a part to a watcher that is not blocked; false if the connection is at its end. */
bool
hf_watcher_send(HfWatcher *watcher, HfPart *part)
{
	part->refs++;
	watcher->part = part;
	watcher->sent = 0;
	return transmit(watcher);
}

/* Has the watcher not taken what it was sent, if only how the answer begins? */
bool
hf_watcher_is_blocked(HfWatcher *watcher)
{
	if (!TAILQ_EMPTY(&watcher->connection->send_queue))
		block(watcher);
	return watcher->blocked;
}

void
hf_watcher_end(HfWatcher *watcher)
{
	kore_connection_disconnect(watcher->connection);
}

/* Throws away what the client sends; false if that is too much, or it has left. */
static bool
waste(HfWatcher *watcher)
{
	static char bin[4096];
	ssize_t n;

	while ((n = recv(watcher->connection->fd, bin, sizeof(bin), 0)) > 0)
		if ((watcher->wasted += (size_t) n) > WASTE_MAX)
			return false;
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		return false;
	watcher->connection->evt.flags &= ~KORE_EVENT_READ;
	return true;
}

/* The kernel takes more: of the answer's beginning, then of the part, then what there is next. */
static bool
go_on(HfWatcher *watcher)
{
	struct connection *connection = watcher->connection;

	if (!net_send_flush(connection))
		return false;
	if (!watcher->blocked || !TAILQ_EMPTY(&connection->send_queue))
		return true;
	watcher->blocked = false;
	if (watcher->part != NULL && !transmit(watcher))
		return false;
	return watcher->blocked || ready(watcher);
}

/* Stands in for kore_connection_event(). */
static void
on_event(void *arg, int error)
{
	struct connection *connection = arg;
	HfWatcher *watcher = connection->hdlr_extra;

	if (connection->state != CONN_STATE_ESTABLISHED)
		return;
	if (error || ((connection->evt.flags & KORE_EVENT_READ) && !waste(watcher)) ||
		((connection->evt.flags & KORE_EVENT_WRITE) && !go_on(watcher)))
		kore_connection_disconnect(connection);
}

/* Nobody reads for Kore. */
static int
on_read(struct connection *connection, size_t *bytes)
{
	*bytes = 0;
	connection->evt.flags &= ~KORE_EVENT_READ;
	return KORE_RESULT_OK;
}

static void
on_disconnect(struct connection *connection)
{
	HfWatcher *watcher = connection->hdlr_extra;

	gone(watcher);
	hf_part_drop(&watcher->part);
}

/* Takes a connection that Kore has not begun to answer yet. */
HfWatcher *
hf_watcher_take(struct connection *connection)
{
	static const int room = KERNEL_MAX, unsent = UNSENT_MAX;
	HfWatcher *watcher = kore_calloc(1, sizeof(HfWatcher));

	/* For the guard this is the end. */
	connection->disconnect(connection);
	kore_free(connection->hdlr_extra);
	connection->hdlr_extra = watcher;
	connection->disconnect = on_disconnect;
	connection->read = on_read;
	connection->evt.handle = on_event;
	kore_connection_stop_idletimer(connection);
	setsockopt(connection->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (connection->family != AF_UNIX)
		setsockopt(connection->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	watcher->connection = connection;
	return watcher;
}

/* Once in a worker. */
void
hf_watcher_configure(HfWatcherReady ready_, HfWatcherGone gone_)
{
	ready = ready_;
	gone = gone_;
}
