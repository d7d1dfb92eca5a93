/*
 * fresh.c
 *		How long after a commit every process of the application stops serving the old value.
 *
 * Usage: fresh ADDRESS PORT PRODUCT WORKERS SECONDS
 *
 * Opens connections until each worker has one: the ids of requests begin with what is the worker's own.
 * Then changes the title of a product, again and again, while each worker is asked for that product
 * all the time, and waits until all have served the new title.  Prints, a line for each commit, the
 * microseconds from the server's word that it is committed to the arrival of the last answer, of any
 * worker, that had the old title (0: there was none), and to that of the first new one of the worker
 * that was the last to have it.  The database is found as libpq finds it.
 *
 * Before a commit each worker has served the title from its own memory, twice.  Commits come a few
 * milliseconds after that, at random, so as not to keep step with anything.
 */
#include <arpa/inet.h>
#include <err.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int64_t Usec;

#define SECOND		INT64_C(1000000)
#define PATIENCE	(5 * SECOND)
#define PAUSE_MAX	4000
#define ASK_EVERY	300 /* microseconds from an answer to the next question */
#define WORKERS_MAX 16
#define TRIES_MAX	400
#define ID_LENGTH	12 /* of what is a worker's own */
#define ANSWER_MAX	65536

typedef struct Worker
{
	int fd;
	char id[ID_LENGTH];
	bool asked;
	Usec ask_at;
	long title;		 /* that it has served last */
	unsigned served; /* times, since it is that one */
	Usec changed_at;
	size_t got;
	char answer[ANSWER_MAX];
} Worker;

static Worker worker[WORKERS_MAX];
static unsigned workers;
static char question[256];
static long wanted; /* the title that is being written, or was */
static Usec old_at; /* when an answer came last that had another */
static PGconn *database;

static Usec
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec / 1000;
}

static void
ask(Worker *of)
{
	if (write(of->fd, question, strlen(question)) != (ssize_t) strlen(question))
		err(1, "cannot ask");
	of->asked = true;
	of->got = 0;
}

/* Reads what has come; true once the answer is whole. */
static bool
receive(Worker *of)
{
	ssize_t got = read(of->fd, of->answer + of->got, ANSWER_MAX - 1 - of->got);
	const char *body, *length;

	if (got <= 0)
		errx(1, "no answer");
	of->got += (size_t) got;
	of->answer[of->got] = '\0';
	body = strstr(of->answer, "\r\n\r\n");
	length = strcasestr(of->answer, "content-length:");
	if (body == NULL || length == NULL)
		return false;
	if (of->got < (size_t) (body + 4 - of->answer) + strtoul(length + 15, NULL, 10))
		return false;
	of->asked = false;
	of->ask_at = now() + ASK_EVERY;
	return true;
}

/* Takes the title out of an answer. */
static void
learn(Worker *of)
{
	const char *found = strstr(of->answer, "\"fresh ");
	long title;

	if (strncmp(of->answer, "HTTP/1.1 200", 12) != 0 || found == NULL)
		errx(1, "another answer: %.300s", of->answer);
	title = strtol(found + 7, NULL, 10);
	of->served++;
	if (title != wanted)
		old_at = now();
	if (title == of->title)
		return;
	of->title = title;
	of->served = 1;
	of->changed_at = now();
}

static int
open_connection(const char *address, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(port))};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
		connect(fd, (struct sockaddr *) &to, sizeof(to)) != 0)
		err(1, "cannot connect to %s:%s", address, port);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* Opens connections until there is one to each worker; the others stay idle. */
static void
find_workers(const char *address, const char *port, unsigned wanted)
{
	for (int tries = 0; workers < wanted; tries++)
	{
		Worker *new = &worker[workers];
		const char *id;
		unsigned same = 0;

		if (tries == TRIES_MAX)
			errx(1, "only %u of %u workers are to be found", workers, wanted);
		new->fd = open_connection(address, port);
		new->title = -1;
		ask(new);
		while (!receive(new))
			;
		learn(new);
		id = strcasestr(new->answer, "x-request-id:");
		if (id == NULL)
			errx(1, "an answer without X-Request-Id");
		memcpy(new->id, id + 14, ID_LENGTH);
		while (same < workers && memcmp(worker[same].id, new->id, ID_LENGTH) != 0)
			same++;
		workers += same == workers;
	}
}

/* Has each worker served the title that is wanted so often? */
static bool
have_served(unsigned times)
{
	for (unsigned i = 0; i < workers; i++)
		if (worker[i].title != wanted || worker[i].served < times)
			return false;
	return true;
}

/* Asks whom it is time to ask, and takes answers, until a moment; true if the database said something. */
static bool
go_on(Usec until)
{
	struct pollfd fds[WORKERS_MAX + 1];
	Usec moment = now();
	struct timespec wait = {0, 0};

	for (unsigned i = 0; i < workers; i++)
	{
		if (!worker[i].asked && worker[i].ask_at <= moment)
			ask(&worker[i]);
		if (!worker[i].asked && worker[i].ask_at < until)
			until = worker[i].ask_at;
		fds[i] = (struct pollfd){worker[i].fd, POLLIN, 0};
	}
	fds[workers] = (struct pollfd){PQsocket(database), POLLIN, 0};
	if (until > moment)
		wait.tv_nsec = (until - moment) % SECOND * 1000;
	if (ppoll(fds, workers + 1, &wait, NULL) < 0)
		err(1, "poll");
	for (unsigned i = 0; i < workers; i++)
		if (fds[i].revents != 0 && receive(&worker[i]))
			learn(&worker[i]);
	return fds[workers].revents != 0;
}

/* Goes on until each worker has served what is wanted so often. */
static void
await(unsigned times)
{
	Usec end = now() + PATIENCE;

	while (!have_served(times))
	{
		if (now() > end)
			errx(1, "title %ld does not come", wanted);
		go_on(now() + PAUSE_MAX);
	}
}

/* Changes the title, and tells when the server said that it had. */
static Usec
change(const char *product)
{
	char text[32];
	const char *values[] = {text, product};
	PGresult *result;
	Usec committed;

	wanted++;
	snprintf(text, sizeof(text), "fresh %ld", wanted);
	if (!PQsendQueryPrepared(database, "change", 2, values, NULL, NULL, 0))
		errx(1, "%s", PQerrorMessage(database));
	do
	{
		while (!go_on(now() + PAUSE_MAX))
			;
		committed = now();
		if (!PQconsumeInput(database))
			errx(1, "%s", PQerrorMessage(database));
	} while (PQisBusy(database));
	while ((result = PQgetResult(database)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdTuples(result), "1") != 0)
			errx(1, "the title cannot be changed: %s", PQresultErrorMessage(result));
		PQclear(result);
	}
	return committed;
}

static void
begin(const char *address, const char *product)
{
	PGresult *result;
	char text[128];

	database = PQconnectdb("");
	if (PQstatus(database) != CONNECTION_OK)
		errx(1, "%s", PQerrorMessage(database));
	snprintf(text, sizeof(text), "UPDATE shop.product SET title = 'fresh 0' WHERE id = %s",
			 product);
	PQclear(PQexec(database, text));
	result =
		PQprepare(database, "change", "UPDATE shop.product SET title = $1 WHERE id = $2", 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		errx(1, "%s", PQerrorMessage(database));
	PQclear(result);
	snprintf(question, sizeof(question), "GET /v1/products/%s HTTP/1.1\r\nHost: %s\r\n\r\n",
			 product, address);
	usleep(200000); /* until the old title is gone everywhere */
}

int
main(int argc, char **argv)
{
	Usec end, committed, until;

	if (argc != 6)
		errx(1, "usage: fresh ADDRESS PORT PRODUCT WORKERS SECONDS");
	workers = 0;
	begin(argv[1], argv[3]);
	find_workers(argv[1], argv[2], (unsigned) atoi(argv[4]));
	for (end = now() + atoi(argv[5]) * SECOND; now() < end;)
	{
		Usec latest = 0;

		await(2);
		for (until = now() + random() % PAUSE_MAX; now() < until;)
			go_on(until);
		committed = change(argv[3]);
		await(1);
		for (unsigned i = 0; i < workers; i++)
			if (worker[i].changed_at > latest)
				latest = worker[i].changed_at;
		printf("%lld %lld\n", (long long) (old_at > committed ? old_at - committed : 0),
			   (long long) (latest > committed ? latest - committed : 0));
	}
	return 0;
}
