/*
 * log.c
 *		The log: a JSON object a line, to standard error.
 *
 * Lines collect in a buffer.  What somebody has to know is written at once, lines of requests when
 * the buffer is half full or hf_log_flush() is called, as it is every now and then.
 *
 * Invariants: nothing here waits.  Whether writing waits is a property of the open file, which
 * others have as well, so a pipe or terminal is opened a second time, for ourselves; a socket is
 * told with each piece; a file does not wait.  What cannot be written stays in the buffer, and
 * what does not fit into it is lost and counted.  A line is at most PIPE_BUF bytes, and a piece
 * that is written is whole lines of so much in all, so that a pipe takes it as a whole or not at
 * all, and lines of several workers do not mix.  Of an event at most LINES_A_SECOND lines are
 * written a second: a database that is away fails every request, and says so a few times.  A line
 * is valid JSON in UTF-8 without control characters, whatever is logged.  Called by the loop's
 * thread alone.
 */
#include "log.h"

#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE	   65536
#define BUFFER_RESERVE PIPE_BUF /* that lines of requests leave to what is worse */
#define LINES_A_SECOND 10
#define EVENTS_MAX	   64
#define MESSAGE_MAX	   1024 /* bytes; escaped, up to three times as many are kept */

/* How standard error is written to. */
typedef enum Sink
{
	SINK_UNKNOWN,
	SINK_NONE,
	SINK_FILE,
	SINK_OWN,	 /* opened again, without waiting */
	SINK_SOCKET, /* told with each piece not to wait */
	SINK_SHARED	 /* may not be opened again: asked before each piece */
} Sink;

typedef struct Line
{
	char text[PIPE_BUF];
	size_t used;
} Line;

/* How often an event has happened in a second. */
typedef struct Rate
{
	const char *event; /* a literal */
	HfLogLevel level;
	time_t second;
	unsigned lines;
	unsigned long suppressed;
} Rate;

static const char *const level_name[] = {"error", "warning", "info"};

static Sink sink;
static int sink_fd = STDERR_FILENO;
static unsigned our_worker; /* 0: the parent */
static pid_t our_pid;
static char buffer[BUFFER_SIZE];
static size_t buffered;
static Rate rates[EVENTS_MAX];
static size_t events;
static bool suppressing; /* some event has lines that were not written */

static void
put(Line *line, const char *text, size_t length)
{
	if (line->used + length <= sizeof(line->text))
	{
		memcpy(line->text + line->used, text, length);
		line->used += length;
	}
}

static void
put_string(Line *line, const char *text)
{
	put(line, text, strlen(text));
}

/* Adds a number, with so many digits at least. */
static void
put_number(Line *line, unsigned long long number, int digits)
{
	char text[24];
	char *s = text + sizeof(text);

	for (; number > 0 || digits > 0; digits--, number /= 10)
		*--s = (char) ('0' + number % 10);
	put(line, s, (size_t) (text + sizeof(text) - s));
}

static bool
is_tail(unsigned char byte)
{
	return (byte & 0xC0) == 0x80;
}

/* The length of the character that text begins with (RFC 3629), 0 if it is none. */
static size_t
character_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		return is_tail(s[1]) ? 2 : 0;
	if ((s[0] & 0xF0) == 0xE0)
	{
		if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))
			return 0;
		return is_tail(s[1]) && is_tail(s[2]) ? 3 : 0;
	}
	if (s[0] >= 0xF0 && s[0] <= 0xF4)
	{
		if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
			return 0;
		return is_tail(s[1]) && is_tail(s[2]) && is_tail(s[3]) ? 4 : 0;
	}
	return 0;
}

/*
 * Writes a character as it stands in a JSON string, and says how many bytes of the source it was.
 * Control characters, those of ISO 6429 beyond 0x7F too, are escaped: a terminal obeys them.
 */
static size_t
escape(const unsigned char *s, char *escaped, size_t room)
{
	size_t length = character_length(s);

	if (length == 0)
	{
		snprintf(escaped, room, "\\ufffd");
		return 1;
	}
	if (s[0] == '"' || s[0] == '\\')
		snprintf(escaped, room, "\\%c", s[0]);
	else if (s[0] < 0x20 || s[0] == 0x7F)
		snprintf(escaped, room, "\\u%04x", s[0]);
	else if (s[0] == 0xC2 && s[1] < 0xA0)
		snprintf(escaped, room, "\\u%04x", s[1]);
	else
		snprintf(escaped, room, "%.*s", (int) length, (const char *) s);
	return length;
}

static bool
is_plain(char c)
{
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* Adds a member that is text, of which at most so many escaped bytes are kept; none for NULL. */
static void
put_text(Line *line, const char *name, const char *value, size_t most)
{
	size_t end;

	if (value == NULL)
		return;
	put(line, ",\"", 2);
	put_string(line, name);
	put(line, "\":\"", 3);
	end = line->used + most;
	while (*value != '\0' && line->used < end)
	{
		size_t taken = 0;

		while (is_plain(value[taken]) && line->used + taken < end)
			taken++;
		if (taken > 0)
			put(line, value, taken);
		else
		{
			char escaped[8];

			taken = escape((const unsigned char *) value, escaped, sizeof(escaped));
			if (line->used + strlen(escaped) > end)
				break;
			put_string(line, escaped);
		}
		value += taken;
	}
	put(line, "\"", 1);
}

/* Adds a member that is a number. */
static void
put_count(Line *line, const char *name, unsigned long long number)
{
	put(line, ",\"", 2);
	put_string(line, name);
	put(line, "\":", 2);
	put_number(line, number, 1);
}

/* The time as RFC 3339 has it, in UTC, to the millisecond; what a second has in common is kept. */
static void
put_time(Line *line, const struct timespec *now)
{
	static time_t second = -1;
	static char text[32];

	if (now->tv_sec != second)
	{
		struct tm tm;

		if (gmtime_r(&now->tv_sec, &tm) == NULL ||
			strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
			strcpy(text, "1970-01-01T00:00:00");
		second = now->tv_sec;
	}
	put_string(line, "{\"ts\":\"");
	put_string(line, text);
	put(line, ".", 1);
	put_number(line, (unsigned long long) now->tv_nsec / 1000000, 3);
	put(line, "Z\"", 2);
}

static void
line_begin(Line *line, const struct timespec *now, HfLogLevel level, const char *event)
{
	if (our_pid == 0)
		our_pid = getpid();
	line->used = 0;
	put_time(line, now);
	put_text(line, "level", level_name[level], 16);
	put_count(line, "worker", our_worker);
	put_count(line, "pid", (unsigned long long) our_pid);
	put_text(line, "event", event, 64);
}

/* Puts a line into the buffer, or counts it as lost if it would leave less room than `reserve`. */
static void
line_end(Line *line, size_t reserve)
{
	put(line, "}\n", 2);
	if (buffered + line->used + reserve > sizeof(buffer))
	{
		hf_metrics_add(HF_METRIC_LOG_LOST, 1);
		return;
	}
	memcpy(buffer + buffered, line->text, line->used);
	buffered += line->used;
}

static Sink
open_sink(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0)
		return SINK_NONE;
	if (S_ISREG(st.st_mode))
		return SINK_FILE;
	if (S_ISSOCK(st.st_mode))
		return SINK_SOCKET;
	sink_fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (sink_fd >= 0)
		return SINK_OWN;
	sink_fd = STDERR_FILENO;
	return SINK_SHARED;
}

/* Writes what is taken without waiting; as write(), with EAGAIN if nothing is. */
static ssize_t
write_piece(const char *data, size_t length)
{
	struct pollfd ready = {.fd = sink_fd, .events = POLLOUT};

	if (sink == SINK_SOCKET)
		return send(sink_fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sink == SINK_SHARED && poll(&ready, 1, 0) == 0)
	{
		errno = EAGAIN;
		return -1;
	}
	if (sink == SINK_NONE)
	{
		errno = EBADF;
		return -1;
	}
	return write(sink_fd, data, length);
}

/* How much of the buffer from here on is to be written at once: whole lines. */
static size_t
piece_length(const char *data, size_t left)
{
	const char *end;

	if (sink == SINK_FILE || left <= PIPE_BUF)
		return left;
	end = memrchr(data, '\n', PIPE_BUF);
	return end != NULL ? (size_t) (end - data) + 1 : PIPE_BUF;
}

static void
count_lost(const char *data, size_t length)
{
	unsigned long lines = 0;

	for (size_t i = 0; i < length; i++)
		lines += data[i] == '\n';
	hf_metrics_add(HF_METRIC_LOG_LOST, lines);
}

/* Writes as much of the buffer as is taken. If nobody can read any more, what is in it is lost. */
static void
write_buffer(void)
{
	size_t done = 0;

	if (sink == SINK_UNKNOWN)
		sink = open_sink();
	while (done < buffered)
	{
		ssize_t written = write_piece(buffer + done, piece_length(buffer + done, buffered - done));

		if (written >= 0)
			done += (size_t) written;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		else if (errno != EINTR)
		{
			count_lost(buffer + done, buffered - done);
			done = buffered;
		}
	}
	buffered -= done;
	memmove(buffer, buffer + done, buffered);
}

static void
say_suppressed(Rate *rate, const struct timespec *now)
{
	Line line;
	char message[64];

	snprintf(message, sizeof(message), "%lu more lines of this event were suppressed",
			 rate->suppressed);
	rate->suppressed = 0;
	line_begin(&line, now, rate->level, rate->event);
	put_text(&line, "message", message, sizeof(message));
	line_end(&line, 0);
}

/* The rate of an event. Those beyond EVENTS_MAX share the last one. */
static Rate *
rate_of(const char *event)
{
	for (size_t i = 0; i < events; i++)
		if (rates[i].event == event || strcmp(rates[i].event, event) == 0)
			return &rates[i];
	if (events < EVENTS_MAX)
		rates[events++].event = event;
	return &rates[events - 1];
}

/* May a line of this event be written? If not, that is counted, to be said later. */
static bool
admit(HfLogLevel level, const char *event, const struct timespec *now)
{
	Rate *rate = rate_of(event);

	if (rate->second != now->tv_sec)
	{
		if (rate->suppressed > 0)
			say_suppressed(rate, now);
		rate->second = now->tv_sec;
		rate->lines = 0;
	}
	if (rate->lines < LINES_A_SECOND)
	{
		rate->lines++;
		return true;
	}
	rate->level = level;
	rate->suppressed++;
	suppressing = true;
	return false;
}

/* Begins in a worker, numbered from 1. What the parent has not written yet is the parent's. */
void
hf_log_begin(unsigned worker)
{
	our_worker = worker;
	our_pid = getpid();
	buffered = 0;
	if (sink == SINK_UNKNOWN)
		sink = open_sink();
}

/*
 * Logs an event, whose name is a literal, and writes it now if that is possible.  Works in the
 * parent as well, before the workers are forked.  Leaves errno as it is.
 */
void
hf_log(HfLogLevel level, const char *event, const char *format, ...)
{
	int error = errno;
	struct timespec now;
	char message[MESSAGE_MAX];
	Line line;
	va_list args;

	clock_gettime(CLOCK_REALTIME, &now);
	if (admit(level, event, &now))
	{
		errno = error;
		va_start(args, format);
		vsnprintf(message, sizeof(message), format, args);
		va_end(args);
		line_begin(&line, &now, level, event);
		put_text(&line, "message", message, 3 * (size_t) MESSAGE_MAX);
		line_end(&line, 0);
		write_buffer();
	}
	errno = error;
}

/* Logs a request that was answered; the line is written later. */
void
hf_log_request(const HfLogRequest *request)
{
	struct timespec now;
	Line line;

	clock_gettime(CLOCK_REALTIME, &now);
	line_begin(&line, &now, HF_LOG_INFO, "request");
	put_text(&line, "id", request->id, 128);
	put_text(&line, "method", request->method, 16);
	put_text(&line, "route", request->route, 256);
	put_count(&line, "status", (unsigned long long) (request->status > 0 ? request->status : 0));
	put_count(&line, "duration_ms", request->microseconds / 1000);
	put(&line, ".", 1);
	put_number(&line, request->microseconds % 1000, 3);
	put_count(&line, "bytes", request->bytes);
	put_text(&line, "address", request->address, 64);
	if (request->account > 0)
	{
		put_string(&line, ",\"account\":\"");
		put_number(&line, (unsigned long long) request->account, 1);
		put(&line, "\"", 1);
	}
	put_text(&line, "code", request->code, 64);
	line_end(&line, BUFFER_RESERVE);
	if (buffered > sizeof(buffer) / 2)
		write_buffer();
}

/* Writes what has collected, if that is possible. To be called several times a second. */
void
hf_log_flush(void)
{
	struct timespec now;

	if (suppressing)
	{
		suppressing = false;
		clock_gettime(CLOCK_REALTIME, &now);
		for (size_t i = 0; i < events; i++)
		{
			if (rates[i].suppressed > 0 && rates[i].second != now.tv_sec)
				say_suppressed(&rates[i], &now);
			suppressing = suppressing || rates[i].suppressed > 0;
		}
	}
	if (buffered > 0)
		write_buffer();
}
