/*
 * frame.c
 *		The framing guard: what stands between the socket and Kore's parser.
 *
 * Kore parses whatever a read of the socket happened to return: it loses pipelined requests, counts
 * a body below zero when more than the body has come, and answers errors with an empty body.  The
 * guard takes the place of that read.  It gives Kore one whole header section at a time, checked by
 * frame_head.c, with as much of the body as is there and not a byte more; the rest of a body goes
 * straight to Kore.  What must be refused is answered here, with a problem document.
 *
 * Invariants: Kore reads a connection only as long as it has a buffer for it.  It gives the buffer
 * away with the request, or we take it away, and nothing is read while the application works: later
 * requests wait in the socket, or in the stash if they came in one piece with this one.  The stash
 * is no larger than a header section and empty when the socket is read.  Kore makes a new buffer
 * only in http_start_recv(), which is called when an answer is complete; so answers leave in the
 * order of the requests.  A refused connection never gets back to Kore.  It is closed for sending,
 * so that its client sees the end, and only later for receiving: a socket that is closed with bytes
 * unread takes back what was sent.
 *
 * Bounds: of time, looked after once a second, for header sections, bodies and refused connections
 * (Kore's own limits for them are off; its idle limit, http_keepalive_time, stays and closes
 * without a word); of memory, for all bodies of a worker and for answers that nobody takes.
 */
#include "kore.h"

#include "config.h"
#include "frame.h"
#include "frame_head.h"
#include "loop.h"
#include "metrics.h"

/* Milliseconds, if nothing else is said. */
#define HEAD_TIME	 10000	/* from the first byte of a header section to its last */
#define BODY_TIME	 120000 /* from the first byte of a body to its last */
#define BODY_GRACE	 10000	/* after that time a body must have come at BODY_RATE */
#define BODY_RATE	 1		/* bytes a millisecond */
#define CLOSED_TIME	 1000	/* for the answer to a client who has closed his side */
#define LEAVING_TIME 3000	/* for the client to read why it was refused */
#define TAKING_TIME	 30000	/* for the client to take what is sent to it before that */
#define SWEEP_EVERY	 1000
/* Bytes. */
#define LEAVING_MAX	 (16 * 1024 * 1024) /* thrown away of a refused connection */
#define UNSENT_MAX	 (64 * 1024)		/* more of earlier answers keeps the next request waiting */
#define BODIES_MAX	 (256 * 1024 * 1024) /* all bodies of unanswered requests of this worker */
#define DOCUMENT_MAX 2048
#define PROBLEM_HEADERS \
	"x-request-id: %s\r\ncontent-type: application/problem+json\r\ncontent-length: %zu\r\n"

_Static_assert(HF_FRAME_FIELDS_MAX == HTTP_REQ_HEADER_MAX - 2, "Kore keeps other header lines");
_Static_assert(HF_FRAME_TARGET_MAX == HTTP_URI_LEN - 2, "Kore takes other paths");
_Static_assert(HF_FRAME_HOST_MAX == KORE_DOMAINNAME_LEN - 2, "Kore takes other hosts");

typedef enum Phase
{
	HEAD,	 /* the next header section is being read, or has not begun */
	BODY,	 /* Kore is taking a body */
	WHOLE,	 /* the last byte of that body was given to Kore */
	WORKING, /* the application owes an answer */
	HELD,	 /* as HEAD, but nothing is read until the client has taken earlier answers */
	LEAVING	 /* a request was refused: what still comes is thrown away */
} Phase;

/* A connection's hdlr_extra, which Kore frees. */
typedef struct Frame
{
	Phase phase;
	bool answering; /* the reader was started by an answer, not by an event */
	bool closed; /* LEAVING: we closed our side; WORKING: the client had closed its side before */
	uint64_t since; /* when the phase began; of HEAD when it had to wait for more, 0: it had not */
	size_t filled;	/* HEAD: bytes in Kore's buffer */
	size_t seen;	/* HEAD: of these, known to have no end of a section */
	size_t body;	/* bytes of the body that count for BODIES_MAX */
	size_t left;	/* BODY: bytes that are missing */
	size_t wasted;	/* LEAVING: bytes that were thrown away */
	char *stash;	/* what came behind the request, or NULL */
	size_t stashed;
} Frame;

static HfFrameProblem problem;
static HfFrameBodyMax body_max;
static size_t bodies; /* the sum of all bodies of frames */

static void
stop_reading(struct connection *connection)
{
	connection->evt.flags &= ~KORE_EVENT_READ;
}

static void
disconnect(struct connection *connection)
{
	stop_reading(connection);
	kore_connection_disconnect(connection);
}

static void
on_disconnect(struct connection *connection)
{
	Frame *frame = connection->hdlr_extra;

	bodies -= frame->body;
	frame->body = 0;
	kore_free(frame->stash);
	frame->stash = NULL;
}

/* Reads from the socket, or 0.  Who has closed his side still gets the answers on their way. */
static size_t
receive(struct connection *connection, void *to, size_t room, int flags)
{
	Frame *frame = connection->hdlr_extra;
	ssize_t n;

	do
		n = recv(connection->fd, to, room, flags);
	while (n == -1 && errno == EINTR);
	if (n > 0)
		return (size_t) n;
	stop_reading(connection);
	frame->answering = false;
	if (n == 0 && !TAILQ_EMPTY(&connection->send_queue))
		connection->flags |= CONN_CLOSE_EMPTY;
	else if (n == 0 || errno != EAGAIN)
		disconnect(connection);
	return 0;
}

/* Throws away what the client of a refused connection still sends. */
static void
waste(struct connection *connection, Frame *frame)
{
	static char bin[65536];
	size_t n;

	/* TCP does not even copy what is only counted. */
	while ((n = receive(connection, bin, sizeof(bin), MSG_TRUNC)) > 0)
		if ((frame->wasted += n) > LEAVING_MAX)
		{
			disconnect(connection);
			return;
		}
}

/* Tells the client of a refused connection that nothing more comes, once it was sent everything. */
static void
close_sending(struct connection *connection, Frame *frame)
{
	if (frame->closed || !TAILQ_EMPTY(&connection->send_queue))
		return;
	frame->closed = true;
	frame->since = kore_time_ms();
	shutdown(connection->fd, SHUT_WR);
}

/* Answers in the application's place and leaves the connection to its end. */
static void
answer(struct connection *connection, Frame *frame, int status, const char *detail)
{
	static char document[DOCUMENT_MAX];
	char head[512], type[160] = "", id[HF_FRAME_ID_MAX + 1];
	const char *extra = status == 503	 ? "retry-after: 1\r\n"
		: status == 405 || status == 204 ? "allow: " HF_FRAME_METHODS "\r\n"
										 : "";
	size_t length = 0, n;
	bool without_body =
		frame->phase == HEAD && frame->filled > 5 && memcmp(connection->rnb->buf, "HEAD ", 5) == 0;

	if (status != 204)
	{
		hf_metrics_add(HF_METRIC_FRAMING_REFUSED, 1);
		length = problem(document, sizeof(document), id, status, detail);
		snprintf(type, sizeof(type), PROBLEM_HEADERS, id, length);
	}
	n = (size_t)
		snprintf(head, sizeof(head),
				 "HTTP/1.1 %d %s\r\nconnection: close\r\ncache-control: no-store\r\n%s%s\r\n",
				 status, http_status_text(status), extra, type);
	net_send_queue(connection, head, n);
	if (length > 0 && !without_body)
		net_send_queue(connection, document, length);
	frame->phase = LEAVING;
	frame->since = kore_time_ms();
	if (!net_send_flush(connection))
	{
		disconnect(connection);
		return;
	}
	close_sending(connection, frame);
	waste(connection, frame);
}

/* Is there room for a request?  0, or the status to refuse it with. */
static int
admit(const HfFrameHead *head, const char **detail)
{
	size_t most;

	if (http_request_count >= http_request_limit)
	{
		*detail = "there are too many requests at the moment";
		return 503;
	}
	if (head->body == 0)
		return 0;
	most = body_max(head->method.data, head->method.length, head->path.data, head->path.length);
	if (most == 0)
		most = hf_config.body_max;
	if (head->body > most || head->body > http_body_max)
	{
		*detail = "the body is larger than it may be here";
		return 413;
	}
	if (head->body > BODIES_MAX - bodies)
	{
		*detail = "there are too many large requests at the moment";
		return 503;
	}
	return 0;
}

/* Gives Kore a request: the header section, and what there is of the body. */
static size_t
deliver(struct connection *connection, Frame *frame, const HfFrameHead *head)
{
	char *body = (char *) connection->rnb->buf + head->length;
	size_t present = MIN(head->body, frame->filled - head->length);

	frame->stashed = frame->filled - head->length - present;
	if (frame->stashed > 0)
	{
		frame->stash = kore_malloc(frame->stashed);
		memcpy(frame->stash, body + present, frame->stashed);
	}
	bodies += frame->body = head->body;
	frame->left = head->body - present;
	frame->phase = frame->left > 0 ? BODY : WORKING;
	frame->since = frame->left > 0 ? kore_time_ms() : 0;
	if (frame->left > 0 && head->expects)
	{
		net_send_queue(connection, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		if (!net_send_flush(connection))
			disconnect(connection);
	}
	return head->length + present;
}

/* Reads a header section that has come to its end.  How many bytes Kore is to see. */
static size_t
take_head(struct connection *connection, Frame *frame, size_t length)
{
	char *buffer = (char *) connection->rnb->buf;
	HfFrameHead head;
	const char *detail;
	int status = hf_frame_head_read(&head, buffer, length, &detail);

	if (status == 0)
		status = admit(&head, &detail);
	if (status != 0)
	{
		answer(connection, frame, status, detail);
		return 0;
	}
	if (head.length < length)
	{
		memmove(buffer + head.length, buffer + length, frame->filled - length);
		frame->filled -= length - head.length;
	}
	return deliver(connection, frame, &head);
}

/* Reads until a header section is complete or nothing more is there. */
static size_t
read_head(struct connection *connection, Frame *frame)
{
	struct netbuf *in = connection->rnb;
	char *buffer = (char *) in->buf;

	for (;;)
	{
		ssize_t length = hf_frame_head_find(buffer, frame->filled, &frame->seen);

		if (length > 0)
			return take_head(connection, frame, (size_t) length);
		if (length < 0)
			answer(connection, frame, 400, "that is not a request of HTTP/1.1");
		else if (frame->filled < in->b_len)
		{
			size_t n = receive(connection, buffer + frame->filled, in->b_len - frame->filled, 0);

			frame->filled += n;
			if (n > 0)
				continue;
			if (frame->filled > 0 && frame->since == 0)
				frame->since = kore_time_ms();
		}
		else if (memchr(buffer, '\n', frame->filled) == NULL)
			answer(connection, frame, 414, "the request line is too long");
		else
			answer(connection, frame, 431, "the header section is too large");
		return 0;
	}
}

static size_t
read_body(struct connection *connection, Frame *frame)
{
	struct netbuf *in = connection->rnb;
	size_t n = receive(connection, in->buf + in->s_off, MIN(in->b_len - in->s_off, frame->left), 0);

	frame->left -= n;
	if (frame->left == 0)
		frame->phase = WHOLE;
	return n;
}

/* Takes Kore's buffer away, so that nothing is read until an answer is complete. */
static void
park(struct connection *connection, Frame *frame, Phase phase)
{
	kore_free(connection->rnb->buf);
	connection->rnb->buf = NULL;
	connection->rnb->m_len = 0;
	frame->phase = phase;
}

static bool
is_choked(const struct connection *connection)
{
	const struct netbuf *part;
	size_t unsent = 0;

	TAILQ_FOREACH(part, &connection->send_queue, list)
	unsent += part->b_len - part->s_off;
	return unsent > UNSENT_MAX;
}

/* The last answer is complete, and Kore has a new buffer.  False if it must wait. */
static bool
begin_request(struct connection *connection, Frame *frame)
{
	bodies -= frame->body;
	frame->body = 0;
	if (is_choked(connection) && !net_send_flush(connection))
	{
		disconnect(connection);
		return false;
	}
	kore_connection_start_idletimer(connection);
	if (is_choked(connection))
	{
		park(connection, frame, HELD);
		return false;
	}
	frame->phase = HEAD;
	frame->answering = true;
	frame->closed = false;
	frame->since = 0;
	frame->seen = 0;
	frame->filled = frame->stashed;
	if (frame->stashed > 0)
	{
		memcpy(connection->rnb->buf, frame->stash, frame->stashed);
		kore_free(frame->stash);
		frame->stash = NULL;
		frame->stashed = 0;
	}
	return true;
}

/* Stands in for Kore's net_read(): says how many bytes Kore is to see in its buffer. */
static int
on_read(struct connection *connection, size_t *bytes)
{
	Frame *frame = connection->hdlr_extra;

	*bytes = 0;
	if (connection->state == CONN_STATE_DISCONNECTING || (connection->flags & CONN_CLOSE_EMPTY))
		stop_reading(connection);
	else if (frame->phase == LEAVING)
		waste(connection, frame);
	else if (frame->phase == BODY)
		*bytes = read_body(connection, frame);
	else if (frame->phase == WHOLE)
		park(connection, frame, WORKING);
	else if (frame->phase == HEAD || begin_request(connection, frame))
		*bytes = read_head(connection, frame);
	/* Kore runs requests after events, and waits for the next one even if it has some. */
	if (frame->answering && (frame->phase == WORKING || frame->phase == WHOLE))
		hf_loop_ask();
	return KORE_RESULT_OK;
}

/*
 * Stands in for kore_connection_event(), which takes whoever has closed his side for gone.  Here
 * that is who does so while he waits for an answer.  What he sent before is read, and who closes
 * together with his request gets his answer if it does not take long.
 */
static void
on_event(void *arg, int error)
{
	struct connection *connection = arg;
	Frame *frame = connection->hdlr_extra;

	if (error && (frame->phase == WORKING || frame->phase == HELD))
	{
		kore_connection_disconnect(connection);
		return;
	}
	if (error)
		connection->evt.flags |= KORE_EVENT_READ;
	if (!connection->handle(connection))
		kore_connection_disconnect(connection);
	if (connection->state != CONN_STATE_ESTABLISHED)
		return;
	if (frame->phase == WORKING && error)
	{
		frame->closed = true;
		frame->since = kore_time_ms();
	}
	else if (frame->phase == LEAVING)
		close_sending(connection, frame);
	else if (frame->phase == HELD && !is_choked(connection))
		http_start_recv(connection);
}

/* Ends what takes too long. */
static void
check(struct connection *connection, Frame *frame, uint64_t now)
{
	uint64_t took = now - frame->since;

	if (frame->phase == HEAD && frame->since > 0 && took > HEAD_TIME)
		answer(connection, frame, 408, "the header section came too slowly");
	else if (frame->phase == BODY &&
			 (took > BODY_TIME ||
			  (took > BODY_GRACE && frame->body - frame->left < (took - BODY_GRACE) * BODY_RATE)))
		answer(connection, frame, 408, "the body came too slowly");
	else if ((frame->phase == WORKING && frame->closed && took > CLOSED_TIME) ||
			 (frame->phase == LEAVING && took > (frame->closed ? LEAVING_TIME : TAKING_TIME)))
		disconnect(connection);
}

static void
sweep(void)
{
	struct connection *connection, *next;
	uint64_t now = kore_time_ms();

	for (connection = TAILQ_FIRST(&connections); connection != NULL; connection = next)
	{
		next = TAILQ_NEXT(connection, list);
		if (connection->read == on_read)
			check(connection, connection->hdlr_extra, now);
	}
}

/* Prepares a worker, once, after hf_loop_start(). */
void
hf_frame_configure(HfFrameProblem problem_, HfFrameBodyMax body_max_)
{
	problem = problem_;
	body_max = body_max_;
	/* Their answers would have no document, and would come to idle connections and busy ones. */
	http_header_timeout = 0;
	http_body_timeout = 0;
	hf_loop_every(SWEEP_EVERY, sweep);
}

/* Guards a connection that Kore has just accepted. */
void
hf_frame_connect(struct connection *connection)
{
	connection->proto = CONN_PROTO_HTTP;
	if (http_keepalive_time != 0)
		connection->idle_timer.length = (u_int64_t) http_keepalive_time * 1000;
	connection->hdlr_extra = kore_calloc(1, sizeof(Frame));
	connection->read = on_read;
	connection->disconnect = on_disconnect;
	connection->evt.handle = on_event;
	net_recv_queue(connection, http_header_max, NETBUF_CALL_CB_ALWAYS, http_header_recv);
}

/*
 * Is called before http_response() and after it.  In between the next request is not begun, so that
 * whatever it leads to is sent behind the whole of this answer, even one that is sent in parts.
 */
void
hf_frame_responding(struct connection *connection, bool begins)
{
	if (connection == NULL)
		return;
	if (begins)
	{
		connection->flags |= CONN_IS_BUSY;
		return;
	}
	connection->flags &= ~CONN_IS_BUSY;
	if (connection->state == CONN_STATE_ESTABLISHED && !(connection->flags & CONN_CLOSE_EMPTY))
		http_start_recv(connection);
}
