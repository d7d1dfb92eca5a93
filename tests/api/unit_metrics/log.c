/*
 * log.c
 *		The log of the API: what is written, and what happens when nobody reads it.
 *
 * Usage: log DIRECTORY.  Each scene is a process of its own, whose standard error is a pipe, a socket or
 * a file; what it counts as lost is in memory that is shared.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "metrics.h"
#include "test.h"

#define MANY 20000 /* lines: more than any pipe takes */

static const HfLogRequest request = {.id = "0123456789abcdef",
									 .method = "GET",
									 .route = "/v1/products/{id}",
									 .address = "192.0.2.1",
									 .account = INT64_C(7294350000000000001),
									 .status = 200,
									 .microseconds = 1234,
									 .bytes = 5678};

/* Runs a scene whose standard error is fd. */
static pid_t
start(void (*scene)(void), int fd)
{
	pid_t pid = fork();

	if (pid == 0)
	{
		dup2(fd, STDERR_FILENO);
		if (fd != STDERR_FILENO)
			close(fd);
		alarm(60);
		scene();
		_exit(0);
	}
	return pid;
}

static void
end(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	check(status == 0, "the scene ended with status %x", status);
}

/* All that comes out of fd until it ends. */
static char *
read_all(int fd)
{
	size_t used = 0, room = 1 << 20;
	char *text = malloc(room);
	ssize_t n;

	while ((n = read(fd, text + used, room - used - 1)) > 0)
	{
		used += (size_t) n;
		if (room - used < 65536)
			text = realloc(text, room *= 2);
	}
	text[used] = '\0';
	return text;
}

/* Runs a scene whose standard error is a pipe that is read, and returns what was written. */
static char *
scene(void (*play)(void))
{
	int fd[2];
	char *text;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) != 0)
		abort();
	pid = start(play, fd[1]);
	close(fd[1]);
	text = read_all(fd[0]);
	close(fd[0]);
	end(pid);
	return text;
}

/* The line that text begins with, as JSON, or NULL; text goes on behind it. */
static json_t *
next_line(char **text)
{
	char *line = *text, *end = strchr(line, '\n');
	json_error_t error;
	json_t *json;

	if (end == NULL)
		return NULL;
	*end = '\0';
	*text = end + 1;
	check(end - line < PIPE_BUF, "a line of %td bytes", end - line + 1);
	for (const char *s = line; s < end; s++)
		check((unsigned char) *s >= 0x20 && *s != 0x7F, "a control character in %s", line);
	json = json_loads(line, JSON_REJECT_DUPLICATES, &error);
	check(json != NULL, "%s: %s", error.text, line);
	return json != NULL ? json : json_object();
}

static const char *
member(json_t *line, const char *name)
{
	const char *value = json_string_value(json_object_get(line, name));

	return value != NULL ? value : "";
}

/* Counts lines, and the lines that they say were suppressed. */
static long
count_lines(char *text, const char *event, long *suppressed)
{
	long lines = 0;
	json_t *line;

	*suppressed = 0;
	while ((line = next_line(&text)) != NULL)
	{
		if (strcmp(member(line, "event"), event) == 0)
		{
			if (strstr(member(line, "message"), "more lines of this event were suppressed") != NULL)
				*suppressed += atol(member(line, "message"));
			else
				lines++;
		}
		json_decref(line);
	}
	check(*text == '\0', "half a line: %s", text);
	return lines;
}

static uint64_t
lost(void)
{
	return hf_metrics_value(HF_METRIC_LOG_LOST);
}

static void
play_event(void)
{
	hf_log_begin(7);
	errno = ENOENT;
	hf_log(HF_LOG_WARNING, "test_event", "%s: %m", "file");
	if (errno != ENOENT)
		_exit(1);
}

static void
an_event(void)
{
	char *text = scene(play_event), *rest = text;
	json_t *line = next_line(&rest);
	struct tm tm = {0};
	time_t then;

	check(strcmp(member(line, "level"), "warning") == 0 &&
			  strcmp(member(line, "event"), "test_event") == 0 &&
			  strcmp(member(line, "message"), "file: No such file or directory") == 0 &&
			  json_integer_value(json_object_get(line, "worker")) == 7 &&
			  json_integer_value(json_object_get(line, "pid")) > 1 && *rest == '\0',
		  "%s", text);
	claim("an event is one line, and leaves errno as it is");
	check(strlen(member(line, "ts")) == 24 &&
			  strcmp(strptime(member(line, "ts"), "%Y-%m-%dT%H:%M:%S", &tm) + 4, "Z") == 0,
		  "%s", member(line, "ts"));
	then = timegm(&tm);
	check(labs(time(NULL) - then) < 60, "another time");
	claim("with the time in UTC, to the millisecond");
	json_decref(line);
	free(text);
}

static void
play_requests(void)
{
	HfLogRequest bare = {.status = 404};

	hf_log_begin(1);
	hf_log_request(&request);
	hf_log_request(&bare);
	hf_log_flush();
}

static void
a_request(void)
{
	char *text = scene(play_requests), *rest = text;
	json_t *line = next_line(&rest);

	check(json_object_size(line) == 13 && strcmp(member(line, "event"), "request") == 0 &&
			  strcmp(member(line, "id"), request.id) == 0 &&
			  strcmp(member(line, "route"), request.route) == 0 &&
			  strcmp(member(line, "method"), "GET") == 0 &&
			  strcmp(member(line, "address"), "192.0.2.1") == 0 &&
			  strcmp(member(line, "account"), "7294350000000000001") == 0 &&
			  json_integer_value(json_object_get(line, "status")) == 200 &&
			  json_integer_value(json_object_get(line, "bytes")) == 5678 &&
			  json_number_value(json_object_get(line, "duration_ms")) == 1.234,
		  "%s", text);
	json_decref(line);
	line = next_line(&rest);
	check(json_object_size(line) == 8 && json_object_get(line, "account") == NULL, "%s", rest);
	json_decref(line);
	free(text);
	claim("a request is one line, without what it has not");
}

static const struct
{
	const char *logged, *read;
} texts[] = {
	{"a \"quote\" and a \\", "a \"quote\" and a \\"},
	{"\x01\t\n\r\x1b[31m\x7f", "\x01\t\n\r\x1b[31m\x7f"},
	{"\xc2\x9b"
	 "31m",
	 "\xc2\x9b"
	 "31m"},
	{"h\xc3\xa9llo \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x99\x82",
	 "h\xc3\xa9llo \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x99\x82"},
	{"\xff|\x80|\xc3|\xc3(", "\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd("},
	{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
};
#define TEXTS (sizeof(texts) / sizeof(texts[0]))

static void
play_texts(void)
{
	for (size_t i = 0; i < TEXTS; i++)
		hf_log(HF_LOG_ERROR, "text", "%s", texts[i].logged);
}

static void
strange_texts(void)
{
	char *text = scene(play_texts), *rest = text;

	for (size_t i = 0; i < TEXTS; i++)
	{
		json_t *line = next_line(&rest);

		check(strcmp(member(line, "message"), texts[i].read) == 0, "text %zu: %s", i,
			  member(line, "message"));
		json_decref(line);
	}
	free(text);
	claim("text is escaped, and what is no UTF-8 replaced");
}

static void
play_noise(void)
{
	struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};
	HfLogRequest noise = request;
	uint64_t state = 1;
	char bytes[3000];

	for (int i = 0; i < MANY; i++)
	{
		size_t length = (size_t) rnd(&state, sizeof(bytes));

		for (size_t j = 0; j < length; j++)
			bytes[j] = (char) (1 + rnd(&state, 255));
		bytes[length] = '\0';
		noise.id = noise.method = noise.route = noise.address = noise.code = bytes;
		hf_log_request(&noise);
		if (i % 100 == 0)
			hf_log(HF_LOG_ERROR, "noise", "%s", bytes);
		hf_log_flush();
		/* Who reads may be slower, but not so much that hardly anything is written. */
		if (i % 50 == 0)
			poll(&reader, 1, -1);
	}
}

static void
noise(void)
{
	uint64_t before = lost();
	char *text = scene(play_noise);
	long suppressed;
	long lines = count_lines(text, "request", &suppressed);

	check(lines + (long) (lost() - before) > MANY - 500 && lines > MANY / 10, "%ld lines", lines);
	free(text);
	claim("random bytes are lines of JSON, none longer than a pipe takes at once");
}

static void
play_flood(void)
{
	hf_log_begin(1);
	for (int i = 0; i < MANY; i++)
	{
		hf_log_request(&request);
		if (i % 1000 == 0)
			hf_log_flush();
	}
	hf_log_flush();
}

/* As play_flood(), where standard error cannot be opened again. */
static void
play_flood_shared(void)
{
	struct rlimit few = {3, 3};

	setrlimit(RLIMIT_NOFILE, &few);
	play_flood();
}

/* A scene that writes more than anybody reads; then what was written is read. */
static void
flood(const char *what, int in, int out, void (*play)(void))
{
	uint64_t before = lost();
	Usec began = now();
	int flags = fcntl(out, F_GETFL);
	long lines, suppressed;
	char *text;
	pid_t pid = start(play, out);

	end(pid);
	check(now() - began < 40 * SECOND, "it has waited");
	check(fcntl(out, F_GETFL) == flags, "the open file of others has other flags");
	close(out);
	text = read_all(in);
	close(in);
	lines = count_lines(text, "request", &suppressed);
	check(lines > 100 && lost() > before, "%ld lines, %lu lost", lines,
		  (unsigned long) (lost() - before));
	/* What was still in the buffer is neither written nor lost. */
	check(lines + (long) (lost() - before) <= MANY && lines + (long) (lost() - before) > MANY - 500,
		  "%ld lines, %lu lost", lines, (unsigned long) (lost() - before));
	free(text);
	claim("nobody waits for %s that is full; what is lost is counted", what);
}

static void
floods(void)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) != 0)
		abort();
	flood("a pipe", fd[0], fd[1], play_flood);
	if (pipe2(fd, O_CLOEXEC) != 0)
		abort();
	flood("a pipe that cannot be opened again", fd[0], fd[1], play_flood_shared);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
		abort();
	flood("a socket", fd[0], fd[1], play_flood);
}

static void
a_file(const char *directory)
{
	char path[4096];
	uint64_t before = lost();
	long suppressed;
	char *text;
	int fd;

	snprintf(path, sizeof(path), "%s/file", directory);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	end(start(play_flood, fd));
	lseek(fd, 0, SEEK_SET);
	text = read_all(fd);
	close(fd);
	check(count_lines(text, "request", &suppressed) == MANY && lost() == before,
		  "lines are missing");
	free(text);
	claim("a file takes everything");
}

static void
play_without_reader(void)
{
	signal(SIGPIPE, SIG_IGN);
	play_flood();
	hf_log(HF_LOG_ERROR, "test", "nobody");
}

static void
no_reader(void)
{
	uint64_t before = lost();
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) != 0)
		abort();
	close(fd[0]);
	pid = start(play_without_reader, fd[1]);
	close(fd[1]);
	end(pid);
	check(lost() - before == MANY + 1, "lost: %lu", (unsigned long) (lost() - before));
	claim("without a reader everything is lost, and nothing else happens");
}

static void
play_outage(void)
{
	for (int i = 0; i < 1000; i++)
		hf_log(HF_LOG_ERROR, "outage", "number %d", i);
	hf_log(HF_LOG_ERROR, "other", "once");
	for (int i = 0; i < 30; i++)
	{
		poll(NULL, 0, 100);
		hf_log_flush();
	}
}

static void
outage(void)
{
	char *text = scene(play_outage), *copy = strdup(text);
	long suppressed, lines = count_lines(text, "outage", &suppressed);

	check(lines >= 10 && lines <= 20, "%ld lines", lines);
	check(lines + suppressed == 1000, "%ld lines and %ld suppressed", lines, suppressed);
	check(count_lines(copy, "other", &suppressed) == 1, "another event");
	free(text);
	free(copy);
	claim("an event that repeats is written ten times a second, then how often it was not");
}

/* Fills standard error before it forks, so that lines of the parent's are left. */
static void
play_fork(void)
{
	int status = -1;

	hf_log(HF_LOG_INFO, "parent", "begins");
	hf_log_request(&request);
	if (fork() == 0)
	{
		hf_log_begin(1);
		hf_log(HF_LOG_INFO, "child", "begins");
		_exit(0);
	}
	wait(&status);
	hf_log_flush();
}

static void
the_parent(void)
{
	char *text = scene(play_fork), *rest = text;
	json_t *first = next_line(&rest), *second = next_line(&rest), *third = next_line(&rest);

	check(json_integer_value(json_object_get(first, "worker")) == 0 &&
			  json_integer_value(json_object_get(second, "worker")) == 1 &&
			  json_integer_value(json_object_get(first, "pid")) !=
				  json_integer_value(json_object_get(second, "pid")),
		  "%s", text);
	check(strcmp(member(second, "event"), "child") == 0 &&
			  strcmp(member(third, "event"), "request") == 0 && *rest == '\0',
		  "the child has written what was the parent's");
	json_decref(first);
	json_decref(second);
	json_decref(third);
	free(text);
	claim("the parent logs before it forks, and a worker writes nothing of it");
}

static void
play_two(void)
{
	pid_t pid[2];
	int status;

	for (int i = 0; i < 2; i++)
		if ((pid[i] = fork()) == 0)
		{
			hf_log_begin((unsigned) i + 1);
			hf_metrics_begin((unsigned) i + 1);
			for (int j = 0; j < MANY; j++)
			{
				/* Faster than anybody reads, so that each finds the pipe full in the middle of what it has. */
				hf_log_request(&request);
				if (j % 1000 == 0)
					poll(NULL, 0, 1);
			}
			hf_log_flush();
			_exit(0);
		}
	for (int i = 0; i < 2; i++)
		waitpid(pid[i], &status, 0);
}

static void
two_workers(void)
{
	uint64_t before = lost();
	char *text = scene(play_two);
	long suppressed, lines = count_lines(text, "request", &suppressed);

	check(lines + (long) (lost() - before) > 2 * MANY - 500 &&
			  lines + (long) (lost() - before) <= 2 * MANY,
		  "%ld lines", lines);
	free(text);
	claim("lines of two workers do not mix");
}

static void
cost(const char *directory)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	Usec began;

	(void) directory;
	dup2(fd, STDERR_FILENO);
	began = now();
	for (int i = 0; i < 100000; i++)
		hf_log_request(&request);
	printf("# %.0f ns a request\n", (double) (now() - began) / 100);
	close(fd);
}

int
main(int argc, char **argv)
{
	if (argc != 2 || !hf_metrics_create(2, 0))
		return 2;
	an_event();
	a_request();
	strange_texts();
	noise();
	floods();
	a_file(argv[1]);
	no_reader();
	outage();
	the_parent();
	two_workers();
	cost(argv[1]);
	return claims_broken() > 0;
}
