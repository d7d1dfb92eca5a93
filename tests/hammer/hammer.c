/*
 * hammer.c
 *		hammer storm|last-unit [--clients N] [--skus M] [--seconds S] [--seed X] [--rounds R]
 *			[--lane-locking on|off] [--survive]
 *
 * Prints a line of TAP for each claim, without a plan, and exits with 1 if one does not hold.
 * Connects as libpq's environment says, and uses SKUs that the database does not have yet. Needs a
 * superuser, and a server whose clock is this machine's.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hammer.h"

Options options =
	{.clients = 8, .skus = 6, .seconds = 8, .seed = 1, .rounds = 1000, .lane_locking = true};
atomic_bool stop;

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static atomic_long violation_count;
static int claims_broken;

/* A number below n, from the client's own sequence (splitmix64). */
uint64_t
rnd(Client *c, uint64_t n)
{
	uint64_t z = (c->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % n;
}

bool
chance(Client *c, int percent)
{
	return rnd(c, 100) < (uint64_t) percent;
}

/* Something happened that must never happen. The first few are printed. */
void
violation(const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&output);
	if (violation_count++ < 10)
	{
		printf("# ");
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
		printf("\n");
	}
	pthread_mutex_unlock(&output);
}

long
violations(void)
{
	return violation_count;
}

void
claim(bool holds, const char *format, ...)
{
	va_list args;

	printf("%s - ", holds ? "ok" : "not ok");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	claims_broken += !holds;
}

void
run_threads(Client *clients, int n, void *(*body)(void *) )
{
	for (int i = 0; i < n; i++)
		if (pthread_create(&clients[i].thread, NULL, body, &clients[i]) != 0)
			abort();
	for (int i = 0; i < n; i++)
		pthread_join(clients[i].thread, NULL);
}

/*
 * Has all happened that the storm is for?  The clients count on meanwhile.  Where connections are to
 * be lost, two were: the first may have been lost before the server knows of a crash.
 */
static bool
has_enough(const Client *clients)
{
	long lost = 0;
	int kinds = 0;

	for (int i = 0; i < options.clients; i++)
		lost += *(const volatile long *) &clients[i].lost_connections;
	if (options.survive)
		return lost > 1;
	for (int op = 0; op < OPERATIONS; op++)
	{
		long done = 0;

		for (int i = 0; i < options.clients; i++)
			done += *(const volatile long *) &clients[i].done[op];
		kinds += done > 0;
	}
	return kinds == OPERATIONS;
}

static void *
timekeeper(void *clients)
{
	Usec end = db_now() + (Usec) (options.seconds * 1000000);
	Usec patience = end + INT64_C(60000000);

	while ((db_now() < end || (!has_enough(clients) && db_now() < patience)) && violations() == 0)
		usleep(5000);
	stop = true;
	return NULL;
}

static void
print_statistics(const Client *clients)
{
	long refused = 0, retried = 0, lost = 0, done[OPERATIONS] = {0}, all = 0;
	int kinds = 0;

	for (int i = 0; i < options.clients; i++)
	{
		refused += clients[i].refused;
		retried += clients[i].retried;
		lost += clients[i].lost_connections;
		for (int op = 0; op < OPERATIONS; op++)
			done[op] += clients[i].done[op];
	}
	for (int op = 0; op < OPERATIONS; op++)
	{
		all += done[op];
		kinds += done[op] > 0;
		printf("%s%s %ld", op % 6 ? ", " : op ? "\n# " : "# ", operation_name[op], done[op]);
	}
	printf("\n# refused %ld, told to try again %ld, connections lost %ld; seed %" PRIu64 "\n",
		   refused, retried, lost, options.seed);
	claim(violations() == 0, "the model allowed every answer to %ld operations",
		  all + refused + retried);
	claim(audit_looks() > 0 && violations() == 0, "no invariant was broken in %ld looks under load",
		  audit_looks());
	if (!options.survive)
		claim(kinds == OPERATIONS, "%d of %d kinds of operation succeeded", kinds, OPERATIONS);
}

static void
prepare_storm(Client *checker, Client *clients)
{
	db_connect(checker);
	db_run(checker, "SHOW max_prepared_transactions");
	options.two_phase = db_number(checker, 0, 0) >= options.clients;
	db_run(checker, "SELECT coalesce(max(sku), 0) / 10000 * 10000 + 10000 FROM holdfast.stock");
	options.base = db_number(checker, 0, 0);
	for (int i = 0; i < options.clients; i++)
	{
		Client *c = &clients[i];

		snprintf(c->tag, sizeof(c->tag), "hammer %" PRId64 " client %d", options.base, i);
		for (int slot = 0; slot < OWNERS; slot++)
			model_new_owner(c, &c->world.owner[slot]);
	}
	for (int sku = 0; sku < options.skus; sku++)
		clients[0].world.gained[sku] = 20 + (int64_t) rnd(checker, 60);
	for (int sku = 0; sku < options.skus; sku++)
		if (!db_run(checker, "SELECT holdfast.receive(%" PRId64 ", %" PRId64 ", '%s')",
					options.base + sku, clients[0].world.gained[sku], clients[0].tag))
			violation("%s", PQresultErrorMessage(checker->result));
	db_close(checker);
}

static void
storm(Client *checker, Client *clients)
{
	pthread_t time_thread;

	prepare_storm(checker, clients);
	if (pthread_create(&checker->thread, NULL, audit_watch, checker) != 0 ||
		pthread_create(&time_thread, NULL, timekeeper, clients) != 0)
		abort();
	run_threads(clients, options.clients, storm_run);
	pthread_join(checker->thread, NULL);
	pthread_join(time_thread, NULL);
	print_statistics(clients);
	audit_after(checker, clients);
	claim(violations() == 0, "nothing happened that must never happen");
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: hammer storm|last-unit [--clients N] [--skus M] [--seconds S] [--seed X]"
			" [--rounds R] [--lane-locking on|off] [--survive]\n");
	exit(2);
}

static void
parse_options(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
	{
		if (strcmp(argv[i], "--survive") == 0)
			options.survive = true;
		else if (i + 1 == argc)
			usage();
		else if (strcmp(argv[i], "--clients") == 0)
			options.clients = atoi(argv[++i]);
		else if (strcmp(argv[i], "--skus") == 0)
			options.skus = atoi(argv[++i]);
		else if (strcmp(argv[i], "--seconds") == 0)
			options.seconds = atof(argv[++i]);
		else if (strcmp(argv[i], "--seed") == 0)
			options.seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--rounds") == 0)
			options.rounds = atoi(argv[++i]);
		else if (strcmp(argv[i], "--lane-locking") == 0)
			options.lane_locking = strcmp(argv[++i], "off") != 0;
		else
			usage();
	}
	if (options.clients < 1 || options.skus < 1 || options.skus > SKUS_MAX || options.rounds < 1)
		usage();
}

int
main(int argc, char **argv)
{
	Client *clients, checker = {.number = -1};

	if (argc < 2)
		usage();
	parse_options(argc, argv);
	clients = calloc(options.clients, sizeof(Client));
	if (clients == NULL)
		abort();
	checker.random = options.seed;
	for (int i = 0; i < options.clients; i++)
	{
		clients[i].number = i;
		clients[i].random = options.seed * 1000003 + i;
	}
	if (strcmp(argv[1], "storm") == 0)
		storm(&checker, clients);
	else if (strcmp(argv[1], "last-unit") == 0)
	{
		checker.number = options.clients;
		db_connect(&checker);
		db_run(&checker,
			   "SELECT coalesce(max(sku), 0) / 10000 * 10000 + 10000 FROM holdfast.stock");
		options.base = db_number(&checker, 0, 0);
		db_close(&checker);
		last_unit_report(clients);
	}
	else
		usage();
	for (int i = 0; i < options.clients; i++)
		free(clients[i].journal);
	free(clients);
	return claims_broken > 0;
}
