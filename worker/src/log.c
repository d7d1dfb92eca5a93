/*
 * log.c
 *		The log: a JSON object a line, to standard error.
 *
 * Invariants: a line is at most PIPE_BUF bytes and written at once, so lines of several processes
 * do not mix.  Whoever does not read his pipe is waited for for a moment, and loses lines: payments
 * do not stop for a log.  Callers log changes, not every call, so there is no limit of lines.
 */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX	 512 /* bytes; six times as many if all have to be escaped */
#define PATIENCE_MS	 100
#define ESCAPED_MOST 6

static unsigned our_worker; /* 0: the parent */

/* Begins in a worker process, numbered from 1. */
void
hf_log_begin(unsigned worker)
{
	our_worker = worker;
}

/* Writes text as it stands in a JSON string. Bytes beyond ASCII are of unknown encoding: "?". */
static size_t
escape(const char *text, char *to, size_t room)
{
	size_t used = 0;

	for (; *text != '\0' && used + ESCAPED_MOST < room; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c == '"' || c == '\\')
			used += (size_t) snprintf(to + used, room - used, "\\%c", c);
		else if (c < ' ' || c == 0x7F)
			used += (size_t) snprintf(to + used, room - used, "\\u%04x", c);
		else
			to[used++] = c < 0x80 ? (char) c : '?';
	}
	to[used] = '\0';
	return used;
}

/* Logs an event. Leaves errno as it is. */
void
hf_log(HfLogLevel level, const char *event, const char *format, ...)
{
	static const char *const names[] = {"error", "warning", "info"};
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
	char message[MESSAGE_MAX], escaped[MESSAGE_MAX * ESCAPED_MOST], line[PIPE_BUF], seconds[32];
	int error = errno, length;
	struct timespec now;
	struct tm tm;
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	/* What libpq says ends with a line end. */
	message[strcspn(message, "\n")] = '\0';
	(void) escape(message, escaped, sizeof(escaped));

	clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &tm) == NULL ||
		strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		snprintf(seconds, sizeof(seconds), "1970-01-01T00:00:00");
	length = snprintf(line, sizeof(line),
					  "{\"ts\":\"%s.%03ldZ\",\"level\":\"%s\",\"worker\":%u,\"pid\":%ld,"
					  "\"event\":\"%s\",\"message\":\"%s\"}\n",
					  seconds, now.tv_nsec / 1000000, names[level], our_worker, (long) getpid(),
					  event, escaped);
	if (length > 0 && (size_t) length < sizeof(line) && poll(&ready, 1, PATIENCE_MS) == 1)
		while (write(STDERR_FILENO, line, (size_t) length) < 0 && errno == EINTR)
			;
	errno = error;
}
