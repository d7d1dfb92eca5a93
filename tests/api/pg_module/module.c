/*
 * module.c
 *		A server whose requests are statements: pg.c and loop.c of the application under test.
 *
 *		/noop							answers at once, without the database
 *		/send/LANE/STATEMENT/A,B,C		sends a statement for each value, all in one pass
 *		/flood/LANE/STATEMENT/A/N		sends N statements, as fast as the lane takes them
 *		/state							tells what was counted
 *
 * How each statement of /send ends is a line: "rows N VALUE", "refused SQLSTATE", "lost", or "full"
 * if it was not accepted.  Every statement has a ticket of its own, which counts its answers.
 *
 * The configuration, the log and the figures of the application are stood in for: this tests one
 * module without the others.
 */
#include "config.h"
#include "kore.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "pg.h"

#include <kore/hooks.h>
#include <kore/seccomp.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICKETS_MAX 64
#define LINE_ROOM	128

KORE_SECCOMP_FILTER("pg_module", KORE_SYSCALL_ALLOW(newfstatat))

typedef struct Request Request;

/* One statement, which the request may not live to see answered. */
typedef struct Ticket
{
	Request *request; /* NULL: of a flood */
	unsigned answers;
	char line[LINE_ROOM];
} Ticket;

struct Request
{
	struct http_request *http; /* NULL: the client has left */
	unsigned tickets, open;
	Ticket ticket[]; /* TICKETS_MAX of them at most */
};

typedef struct Flood
{
	HfPgLane lane;
	int statement;
	char value[64];
	unsigned left;
} Flood;

HfConfig hf_config;

static const struct
{
	const char *name, *text;
} statements[] = {
	{"one", "SELECT $1::int8 + 1"},
	{"divide", "SELECT 10 / $1::int8"},
	{"sleep", "SELECT pg_sleep($1::float8)"},
	{"insert", "INSERT INTO pg_test VALUES (10 / $1::int8) RETURNING n"},
	{"deferred", "INSERT INTO pg_test_deferred VALUES ($1::int8) RETURNING repeat('x', 20000)"},
	{"changing", "SELECT * FROM pg_test_changing($1::int8)"},
	{"echo", "SELECT $1::text"},
	{"big", "SELECT repeat('x', $1::int)"},
	{"lock", "SELECT pg_advisory_xact_lock($1::int8)"},
	{"pid", "SELECT pg_backend_pid() + 0 * $1::int"},
	{"copy", "COPY (SELECT 1) TO STDOUT"},
};
#define STATEMENTS (sizeof(statements) / sizeof(statements[0]))

static int numbers[STATEMENTS];
static Flood flood;
static unsigned long metrics[HF_METRICS];
static unsigned long accepted, answered, twice, ends[3], full, stall;

int page(struct http_request *http);

void
hf_log(HfLogLevel level, const char *event, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%d %s ", level, event);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void
hf_metrics_add(HfMetric counter, unsigned long n)
{
	metrics[counter] += n;
}

void
hf_metrics_set(HfMetric gauge, unsigned long value)
{
	metrics[gauge] = value;
}

static unsigned
setting(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? (unsigned) strtoul(text, NULL, 10) : otherwise;
}

void
kore_parent_configure(int argc, char **argv)
{
	char *error;

	(void) argc;
	(void) argv;
	hf_config = (HfConfig){.database_read_connections = setting("READ", 2),
						   .database_write_connections = setting("WRITE", 4),
						   .database_slow_connections = setting("SLOW", 1),
						   .database_purchase_connections = setting("PURCHASE", 2),
						   .database_read_queue = setting("QUEUE", 2000),
						   .database_write_queue = setting("QUEUE", 500),
						   .database_slow_queue = setting("QUEUE", 32),
						   .request_timeout = setting("TIMEOUT", 1000),
						   .slow_timeout = setting("SLOW_TIMEOUT", 3000)};
	if (!hf_pg_resolve(getenv("CONNINFO"), &hf_config.database, &error))
		fatal("%s", error);
	for (size_t i = 0; i < STATEMENTS; i++)
		numbers[i] = hf_pg_statement(statements[i].name, statements[i].text,
									 strchr(statements[i].text, '$') != NULL);
}

static void
count(const HfPgAnswer *answer)
{
	answered++;
	ends[answer->outcome]++;
}

/* The longest time between two passes that are due 5 ms after each other. */
static void
measure(void)
{
	static uint64_t last;
	uint64_t now = hf_loop_microseconds();

	if (last != 0 && now - last > stall)
		stall = now - last;
	last = now;
}

static bool
send_statement(HfPgLane lane, int statement, const char *value, HfPgDone done, void *arg)
{
	HfText text = {value, strlen(value)};
	int n = strchr(statements[statement].text, '$') != NULL;
	bool sent;

	if (strcmp(value, "nul") == 0)
		text = (HfText){"a\0b", 3};
	sent = hf_pg_send(lane, numbers[statement], &text, n, done, arg);
	if (sent)
		accepted++;
	else
		full++;
	return sent;
}

static void
flood_done(void *arg, const HfPgAnswer *answer)
{
	Ticket *ticket = arg;

	count(answer);
	if (++ticket->answers > 1)
	{
		twice++;
		return;
	}
	free(ticket);
}

static void
go_on(void)
{
	while (flood.left > 0)
	{
		Ticket *ticket = calloc(1, sizeof(*ticket));

		if (!send_statement(flood.lane, flood.statement, flood.value, flood_done, ticket))
		{
			free(ticket);
			break;
		}
		flood.left--;
	}
}

void
kore_worker_configure(void)
{
	hf_loop_start();
	hf_pg_start();
	hf_loop_every(1, go_on);
	hf_loop_every(5, measure);
}

void
kore_worker_teardown(void)
{
	hf_pg_stop();
	fprintf(stderr, "stopped accepted=%lu answered=%lu\n", accepted, answered);
}

static void
describe(const HfPgAnswer *answer, char *line)
{
	HfText value = hf_pg_value(answer, 0, 0);

	if (answer->outcome == HF_PG_ROWS)
		snprintf(line, LINE_ROOM, "rows %d %.*s", answer->rows,
				 value.length < 40 ? (int) value.length : 40,
				 value.data != NULL ? value.data : "-");
	else if (answer->outcome == HF_PG_REFUSED)
		snprintf(line, LINE_ROOM, "refused %s", answer->sqlstate);
	else
		strcpy(line, "lost");
}

static void
done(void *arg, const HfPgAnswer *answer)
{
	Ticket *ticket = arg;
	Request *request = ticket->request;

	count(answer);
	if (++ticket->answers > 1)
	{
		twice++;
		return;
	}
	describe(answer, ticket->line);
	if (--request->open > 0)
		return;
	if (request->http == NULL)
		free(request);
	else
		http_request_wakeup(request->http);
}

static void
forget(struct http_request *http)
{
	Request *request = *(Request **) http->hdlr_extra;

	http->onfree = NULL;
	if (request == NULL)
		return;
	request->http = NULL;
	if (request->open == 0)
		free(request);
}

static int
find(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return (int) i;
	return -1;
}

static int
find_lane(const char *name)
{
	static const char *const names[HF_PG_LANES] = {"read", "write", "slow", "purchase", "live"};

	return name != NULL ? find(name, names, HF_PG_LANES) : -1;
}

static int
find_statement(const char *name)
{
	for (size_t i = 0; name != NULL && i < STATEMENTS; i++)
		if (strcmp(statements[i].name, name) == 0)
			return (int) i;
	return -1;
}

static int
answer_text(struct http_request *http, int status, const char *text)
{
	http_response(http, status, text, strlen(text));
	return KORE_RESULT_OK;
}

static int
answer_request(struct http_request *http, Request *request)
{
	char text[TICKETS_MAX * LINE_ROOM];
	size_t length = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < request->tickets; i++)
		length += (size_t) sprintf(text + length, "%s\n", request->ticket[i].line);
	return answer_text(http, 200, text);
}

static size_t
count_items(const char *list)
{
	size_t n = 1;

	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* Sends what the path asks for; the values are the items of a list with commas. */
static int
begin_request(struct http_request *http, int lane, int statement, char *values)
{
	Request *request = calloc(1, sizeof(*request) + count_items(values) * sizeof(Ticket));
	Request **extra = http_state_create(http, sizeof(*extra), forget);
	char *save = NULL;

	*extra = request;
	request->http = http;
	http->owner->http_timeout = 0;
	for (char *v = strtok_r(values, ",", &save); v != NULL && request->tickets < TICKETS_MAX;
		 v = strtok_r(NULL, ",", &save))
	{
		Ticket *ticket = &request->ticket[request->tickets++];

		ticket->request = request;
		if (send_statement((HfPgLane) lane, statement, v, done, ticket))
			request->open++;
		else
			strcpy(ticket->line, "full");
	}
	if (request->open == 0)
		return answer_request(http, request);
	http_request_sleep(http);
	return KORE_RESULT_RETRY;
}

static int
answer_state(struct http_request *http)
{
	char text[2048];
	HfPgState state[HF_PG_LANES];
	struct mallinfo2 memory = mallinfo2();

	for (int lane = 0; lane < HF_PG_LANES; lane++)
		hf_pg_state((HfPgLane) lane, &state[lane]);
	snprintf(
		text, sizeof(text),
		"{\"accepted\":%lu,\"answered\":%lu,\"twice\":%lu,\"rows\":%lu,\"refused\":%lu,"
		"\"lost\":%lu,\"full\":%lu,\"left\":%u,\"stall\":%lu,\"memory\":%zu,"
		"\"up\":[%u,%u,%u,%u,%u],\"waiting\":[%u,%u,%u,%u,%u],\"statements\":%lu,\"batches\":%lu,"
		"\"lost_counted\":%lu,\"reconnects\":%lu}",
		accepted, answered, twice, ends[HF_PG_ROWS], ends[HF_PG_REFUSED], ends[HF_PG_LOST], full,
		flood.left, stall, memory.uordblks, state[0].up, state[1].up, state[2].up, state[3].up,
		state[4].up, state[0].waiting, state[1].waiting, state[2].waiting, state[3].waiting,
		state[4].waiting, metrics[HF_METRIC_PG_STATEMENTS], metrics[HF_METRIC_PG_BATCHES],
		metrics[HF_METRIC_PG_LOST], metrics[HF_METRIC_PG_RECONNECTS]);
	stall = 0;
	return answer_text(http, 200, text);
}

int
page(struct http_request *http)
{
	char path[256], *save = NULL, *word[5] = {NULL};
	int lane, statement;

	if (http->hdlr_extra != NULL)
		return answer_request(http, *(Request **) http->hdlr_extra);
	snprintf(path, sizeof(path), "%s", http->path);
	for (int i = 0; i < 5 && (word[i] = strtok_r(i == 0 ? path : NULL, "/", &save)) != NULL; i++)
		;
	if (word[0] == NULL || strcmp(word[0], "noop") == 0)
		return answer_text(http, 200, "noop");
	if (strcmp(word[0], "state") == 0)
		return answer_state(http);
	lane = find_lane(word[1]);
	statement = find_statement(word[2]);
	if (lane < 0 || statement < 0 || word[3] == NULL)
		return answer_text(http, 404, "no such statement");
	if (strcmp(word[0], "flood") != 0)
		return begin_request(http, lane, statement, word[3]);
	flood.lane = (HfPgLane) lane;
	flood.statement = statement;
	snprintf(flood.value, sizeof(flood.value), "%s", word[3]);
	flood.left = word[4] != NULL ? (unsigned) strtoul(word[4], NULL, 10) : 0;
	return answer_text(http, 200, "flooding");
}
