/*
 * race.c
 *		race [--readers N] [--writers N] [--keys N] [--checks N] [--seconds S] [--delay US]
 *			[--phase US] [--seed X]
 *
 * Prints a line of TAP for each claim, without a plan, and exits with 1 if one does not hold.
 * Connects as libpq's environment says, and to the Redis whose socket is HF_REDIS.  Makes, watches
 * and leaves the tables item and hard.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "race.h"

/* What no reader may be behind, whatever happens. */
#define BEHIND_MAX (2 * SECOND)

Options options = {.readers = 16,
				   .writers = 2,
				   .keys = 400,
				   .checks = 100000,
				   .seconds = 300,
				   .delay = 4000,
				   .phase = 30000,
				   .seed = 1};
Row *row;
atomic_bool quiet, stop;
pthread_barrier_t meeting;

HfCacheReader *
reader_open(void)
{
	HfCacheAddress address = {.path = options.redis, .timeout = 5000};
	HfCacheReader *reader = hf_cache_reader_open(&address, PREFIX);

	if (reader == NULL)
		abort();
	return reader;
}

redisContext *
redis_open(void)
{
	redisContext *redis = redisConnectUnix(options.redis);

	if (redis == NULL || redis->err != 0)
	{
		printf("Bail out! no Redis at %s\n", options.redis);
		exit(2);
	}
	return redis;
}

/* The entry of a row of table item. */
HfCacheEntry
entry_of(int64_t id)
{
	HfCacheEntry entry;
	char text[24];
	HfText value = {text, (size_t) snprintf(text, sizeof(text), "%" PRId64, id)};

	if (!hf_cache_entry_begin(&entry, "item:{id}", &value, 1))
		abort();
	return entry;
}

/* Makes the table, and waits until the cache is on. */
static void
prepare(void)
{
	PGconn *conn = session_open("cache race");
	HfCacheReader *reader = reader_open();
	HfCacheEntry entry = entry_of(0);
	HfText payload;
	HfCacheLease lease;
	Usec deadline = now() + 60 * SECOND;

	session_do(conn, "DROP TABLE IF EXISTS item");
	session_do(conn,
			   "CREATE TABLE item (id bigint PRIMARY KEY, version bigint NOT NULL)"
			   " WITH (fillfactor = 50)");
	(void) session_number(conn, "INSERT INTO item SELECT id, 0 FROM generate_series(0, $1) id",
						  options.keys);
	session_do(conn, "SELECT holdfast.watch('item', 'item:{id}', 'naive:{id}')");
	session_sync(conn);
	while (hf_cache_reader_get(reader, &entry, &payload, &lease) == HF_CACHE_OFF &&
		   now() < deadline)
		usleep(10000);
	check(lease.token[0] != '\0', "the cache does not come on");
	(void) hf_cache_reader_fill(reader, &lease, &(HfText){"0", 1}, VALUE_TTL);
	hf_cache_reader_close(reader);
	PQfinish(conn);
}

static void
report(const Audit *audit, const Client *clients, int n, double seconds)
{
	Client sum = {.behind = 0};

	for (int i = 0; i < n; i++)
	{
		sum.writes += clients[i].writes;
		sum.hits += clients[i].hits;
		sum.leases += clients[i].leases;
		sum.stored += clients[i].stored;
		sum.refused += clients[i].refused;
		sum.busy += clients[i].busy;
		sum.off += clients[i].off;
		sum.naive_hits += clients[i].naive_hits;
		sum.naive_fills += clients[i].naive_fills;
		if (clients[i].behind > sum.behind)
			sum.behind = clients[i].behind;
	}
	printf("# %ld changes, %ld hits, %ld leases, %ld fills, %ld refused, %ld busy, %ld off; naively"
		   " %ld hits, %ld fills; %ld phases in %.1f s, %ld generations; seed %" PRIu64 "\n",
		   sum.writes, sum.hits, sum.leases, sum.stored, sum.refused, sum.busy, sum.off,
		   sum.naive_hits, sum.naive_fills, audit->phases, seconds, audit->generations,
		   options.seed);
	probe_report();
	check(audit->checks >= options.checks, "only %ld comparisons in %.1f s", audit->checks,
		  seconds);
	claim("%ld of %ld cached values were stale after fast writes and slow fills", audit->stale,
		  audit->checks);
	check(audit->naive_stale > 0, "the test could not have noticed a race");
	claim("%ld of %ld were without leases", audit->naive_stale, audit->naive_checks);
	check(sum.behind < BEHIND_MAX, "a hit was %ld us behind", (long) sum.behind);
	check(sum.hits > options.checks / 10, "there were only %ld hits", sum.hits);
	claim("of %ld hits under load none was more than %.1f ms behind the table", sum.hits,
		  (double) sum.behind / 1000);
	check(sum.refused > 0 && sum.stored > sum.refused && sum.busy > 0,
		  "not all has happened that may");
	claim("%ld fills were refused, because a change had come between", sum.refused);
}

static void
run(void)
{
	int n = options.readers + options.writers;
	Client *clients = calloc((size_t) n + 1, sizeof(Client)), *probe = &clients[n];
	Audit audit = {0};
	Usec begun;

	row = calloc((size_t) options.keys + 1, sizeof(Row));
	if (row == NULL || clients == NULL)
		abort();
	prepare();
	pthread_barrier_init(&meeting, NULL, (unsigned) n + 1);
	begun = now();
	for (int i = 0; i <= n; i++)
	{
		clients[i].number = i;
		clients[i].random = options.seed * 1000003 + (uint64_t) i;
		if (pthread_create(&clients[i].thread, NULL,
						   i == n					 ? probe_run
							   : i < options.readers ? slow_reader_run
													 : writer_run,
						   &clients[i]) != 0)
			abort();
	}
	auditor_run(&audit);
	for (int i = 0; i < n; i++)
		pthread_join(clients[i].thread, NULL);
	pthread_join(probe->thread, NULL);
	report(&audit, clients, n, (double) (now() - begun) / (double) SECOND);
	free(clients);
	free(row);
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: race [--readers N] [--writers N] [--keys N] [--checks N] [--seconds S]"
			" [--delay US] [--phase US] [--seed X]\n");
	exit(2);
}

static void
parse_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		if (i + 1 == argc)
			usage();
		else if (strcmp(argv[i], "--readers") == 0)
			options.readers = atoi(argv[++i]);
		else if (strcmp(argv[i], "--writers") == 0)
			options.writers = atoi(argv[++i]);
		else if (strcmp(argv[i], "--keys") == 0)
			options.keys = atoi(argv[++i]);
		else if (strcmp(argv[i], "--checks") == 0)
			options.checks = atol(argv[++i]);
		else if (strcmp(argv[i], "--seconds") == 0)
			options.seconds = atof(argv[++i]);
		else if (strcmp(argv[i], "--delay") == 0)
			options.delay = atoi(argv[++i]);
		else if (strcmp(argv[i], "--phase") == 0)
			options.phase = atoi(argv[++i]);
		else if (strcmp(argv[i], "--seed") == 0)
			options.seed = strtoull(argv[++i], NULL, 10);
		else
			usage();
	}
	if (options.readers < 1 || options.writers < 1 || options.keys < 1 || options.delay < 1)
		usage();
}

int
main(int argc, char **argv)
{
	parse_options(argc, argv);
	options.redis = getenv("HF_REDIS");
	if (options.redis == NULL)
	{
		fprintf(stderr, "HF_REDIS is not set: run this in tools/with-stack\n");
		return 2;
	}
	run();
	parity_run();
	return claims_broken() > 0;
}
