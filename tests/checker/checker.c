/*
 * checker.c
 *		checker --redis SOCKET --prefix PREFIX [--keys N] [--writers N] [--readers N] [--writes N]
 *			[--late MILLISECONDS] [--hits PERCENT] [--pause MICROSECONDS] [--seed X]
 *
 * Makes and watches the table "item" in the database that libpq's environment names, then writes
 * and reads until it is told "finish".  Commands are lines on standard input, each answered by
 * one line:
 *
 *	fault NAME	something is about to be broken	healthy		it is whole again
 *	truncate	the table is to be emptied and filled again
 *	rest		writers rest					work		they go on
 *	blind		somebody else changes rows		see			he has done so
 *	status		so many writes, hits in all, and stale answers
 *	finish		the end: TAP, without a plan; the exit status is 1 if a claim does not hold
 *
 * At least so many rows are to be written (--writes).  While there is no fault, 99 of a hundred commits
 * are to be seen by everybody in time (--late), and so many questions of a hundred to be hits
 * (--hits): a cache that is always off proves nothing.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checker.h"

#define THREADS_MAX 64
#define SHOWN		20			 /* violations that are printed */
#define SETTLED		(4 * SECOND) /* after the last write: the slowest reader has filled */

Options options = {.keys = 10000,
				   .writers = 4,
				   .readers = 4,
				   .writes = 1000,
				   .late = 50,
				   .hits = 30,
				   .pause = 20000,
				   .seed = 1};
atomic_bool stop_writers;
atomic_bool stop_readers;
atomic_bool truncate_wanted;

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static atomic_long violation_count;
static int claims_broken;
static pthread_t writer_threads[THREADS_MAX], reader_threads[THREADS_MAX];
static Writer writers[THREADS_MAX];
static int numbers[THREADS_MAX];

Usec
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (Usec) t.tv_sec * SECOND + t.tv_nsec / 1000;
}

void
nap(Usec time)
{
	struct timespec t = {.tv_sec = time / SECOND, .tv_nsec = time % SECOND * 1000};

	nanosleep(&t, NULL);
}

/* A number below n, from somebody's own sequence (splitmix64). */
uint64_t
rnd(uint64_t *state, uint64_t n)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % n;
}

bool
chance(uint64_t *state, int percent)
{
	return rnd(state, 100) < (uint64_t) percent;
}

/* Something happened that must never happen. The first few are told. */
void
violation(const char *format, ...)
{
	va_list args;

	if (violation_count++ >= SHOWN)
		return;
	pthread_mutex_lock(&output);
	fprintf(stderr, "# ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	pthread_mutex_unlock(&output);
}

static void
claim(bool holds, const char *format, ...)
{
	va_list args;

	printf("%s - ", holds ? "ok" : "not ok");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	claims_broken += !holds;
}

static pthread_t
start(void *(*body)(void *), void *argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, argument) != 0)
		abort();
	return thread;
}

static void
fail(const char *what)
{
	fprintf(stderr, "checker: %s\n", what);
	exit(2);
}

/* Makes the table, and begins the journal with its rows. */
static void
set_up(void)
{
	Session s = {0};
	int64_t *version = calloc(options.keys + 1, sizeof(int64_t));

	if (version == NULL || !db_connect(&s, &stop_writers) || !db_run(&s, "%s", writer_setup()) ||
		!db_run(&s,
				"INSERT INTO item SELECT id, (id - 1) / %d, nextval('item_version')"
				" FROM generate_series(1, %d) id",
				SHELF, options.keys) ||
		!db_run(&s, "SELECT holdfast.watch('item', 'item:{id}', 'tag:shelf:{shelf}')") ||
		!audit_table(&s, version))
		fail(PQerrorMessage(s.conn));
	journal_open();
	for (int id = 1; id <= options.keys; id++)
		(void) journal_find(id, version[id]);
	db_close(&s);
	free(version);
}

static int
start_all(void)
{
	int n = 0;

	for (int i = 0; i < THREADS_MAX; i++)
		numbers[i] = i;
	for (int i = 0; i < options.readers; i++)
		reader_threads[n++] = start(reader_run, &numbers[i]);
	reader_threads[n++] = start(looker_run, &numbers[0]);
	reader_threads[n++] = start(looker_run, &numbers[1]);
	reader_threads[n++] = start(prober_run, NULL);
	reader_threads[n++] = start(audit_run, NULL);
	for (int i = 0; i < options.writers; i++)
	{
		writers[i].number = i;
		writers[i].random = options.seed * 1000003 + (uint64_t) i;
		writer_threads[i] = start(writer_run, &writers[i]);
	}
	return n;
}

static bool
is_command(const char *line, const char *command)
{
	return strcmp(line, command) == 0;
}

/* Obeys one command; false if it is the last one. */
static bool
obey(const char *line)
{
	bool done = true;

	if (strncmp(line, "fault ", 6) == 0)
		fault_begin(line + 6);
	else if (is_command(line, "healthy"))
		fault_end();
	else if (is_command(line, "truncate"))
		truncate_wanted = true;
	else if (is_command(line, "rest"))
	{
		writer_pause(true);
		while (writers_idle() < options.writers)
			nap(1000);
	}
	else if (is_command(line, "work"))
		writer_pause(false);
	else if (is_command(line, "blind"))
		audit_pause();
	else if (is_command(line, "see"))
		done = audit_resume();
	else if (!is_command(line, "status"))
		return false;
	printf("%s writes %ld hits %ld stale %ld\n", done ? "done:" : "failed:", counted(COUNT_WRITES),
		   counted(COUNT_HITS), counted(COUNT_STALE));
	fflush(stdout);
	return true;
}

/* Lets writers, and then readers, come to their end. */
static void
stop_all(int threads)
{
	writer_pause(false);
	stop_writers = true;
	for (int i = 0; i < options.writers; i++)
		pthread_join(writer_threads[i], NULL);
	nap(SETTLED);
	stop_readers = true;
	for (int i = 0; i < threads; i++)
		pthread_join(reader_threads[i], NULL);
}

static void
print_counts(void)
{
	long done = 0, rolled_back = 0, refused = 0, lost = 0;

	for (int i = 0; i < options.writers; i++)
	{
		done += writers[i].done;
		rolled_back += writers[i].rolled_back;
		refused += writers[i].refused;
		lost += writers[i].lost;
	}
	printf("# transactions: %ld, %ld rolled back of which %ld were refused, %ld lost on the way\n#",
		   done, rolled_back, refused, lost);
	for (int i = 0; i < nways; i++)
		printf("%s %s %ld", i > 0 ? "," : "", ways[i].name, (long) ways[i].done);
	printf(", reloaded rows %ld\n", counted(COUNT_RELOADED));
	printf(
		"# questions: %ld hits, %ld misses, %ld while the cache was off; %ld fills, %ld more too "
		"late\n",
		counted(COUNT_HITS), counted(COUNT_MISSES), counted(COUNT_OFF), counted(COUNT_FILLED),
		counted(COUNT_REFUSED));
	printf("# changed keys asked for later: %ld, of which %ld were served; %ld rows of which the "
		   "database told first\n",
		   counted(COUNT_LOOKS), counted(COUNT_SEEN), counted(COUNT_FOUND));
}

static void
make_claims(void)
{
	long cached, different;
	double late;
	double hits = (double) counted_healthy(COUNT_HITS);
	double asked =
		hits + (double) counted_healthy(COUNT_MISSES) + (double) counted_healthy(COUNT_OFF);
	bool every_way = true;

	for (int i = 0; i < nways; i++)
		every_way = every_way && ways[i].done > 0;
	audit_end(&cached, &different);
	print_counts();
	late = figures_print();
	claim(every_way && counted(COUNT_WRITES) >= options.writes,
		  "%ld rows were written, in all ways", counted(COUNT_WRITES));
	claim(asked > 0 && 100 * hits >= options.hits * asked,
		  "without a fault %.0f of a hundred questions were hits", 100 * hits / (asked + 1));
	claim(late <= options.late,
		  "without a fault 99 of a hundred commits were seen by everybody within %.0f ms",
		  options.late);
	claim(counted(COUNT_STALE) == 0,
		  "nothing was served that had been replaced more than %.1f s before", BOUND / 1e6);
	claim(counted(COUNT_FORGOTTEN) == 0 && counted(COUNT_AUDITS) > 0,
		  "what was acknowledged was there, each of %ld times the table was read",
		  counted(COUNT_AUDITS));
	claim(different == 0 && cached >= options.keys / 4,
		  "in the end %ld of %ld cached entries differ from the database", different, cached);
	claim(violation_count == 0, "nothing happened that must never happen");
}

static void
usage(void)
{
	fprintf(
		stderr,
		"usage: checker --redis SOCKET --prefix PREFIX [--keys N] [--writers N] [--readers N]"
		" [--writes N] [--late MILLISECONDS] [--hits PERCENT] [--pause MICROSECONDS] [--seed X]\n");
	exit(2);
}

static void
parse_options(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2)
	{
		const char *value = argv[i + 1];

		if (strcmp(argv[i], "--redis") == 0)
			options.redis = value;
		else if (strcmp(argv[i], "--prefix") == 0)
			options.prefix = value;
		else if (strcmp(argv[i], "--keys") == 0)
			options.keys = atoi(value);
		else if (strcmp(argv[i], "--writers") == 0)
			options.writers = atoi(value);
		else if (strcmp(argv[i], "--readers") == 0)
			options.readers = atoi(value);
		else if (strcmp(argv[i], "--writes") == 0)
			options.writes = atol(value);
		else if (strcmp(argv[i], "--late") == 0)
			options.late = atof(value);
		else if (strcmp(argv[i], "--hits") == 0)
			options.hits = atof(value);
		else if (strcmp(argv[i], "--pause") == 0)
			options.pause = atoi(value);
		else if (strcmp(argv[i], "--seed") == 0)
			options.seed = strtoull(value, NULL, 10);
		else
			usage();
	}
	if (argc % 2 == 0 || options.redis == NULL || options.prefix == NULL || options.pause < 1 ||
		options.keys < 1000 || options.keys > 99990 || options.keys % SHELF != 0 ||
		options.writers < 1 || options.writers > 32 || options.readers < 1 || options.readers > 32)
		usage();
}

int
main(int argc, char **argv)
{
	char line[100];
	int threads;

	parse_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	set_up();
	threads = start_all();
	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		if (!obey(line))
			break;
	}
	stop_all(threads);
	make_claims();
	return claims_broken > 0;
}
