/*
 * main.c
 *		payments storm|keys|rotation [--operations N] [--seconds S] [--clients N] [--keys N]
 *			[--seed X]
 *
 * Prints a line of TAP for each claim, without a plan, and exits with 1 if one does not hold.
 * Connects as libpq's environment says, and uses accounts and SKUs that the database does not have
 * yet. Needs a superuser, and a server whose clock is this machine's.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "payments.h"

#define WORKERS 2
#define SENDERS 2

Options options = {.clients = 8, .seconds = 5, .keys = 100000, .seed = 1};
atomic_bool stop, finish;
atomic_long operations, killed, looks;

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static atomic_long violation_count;
static int claims_broken;

Usec
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (Usec) t.tv_sec * SECOND + t.tv_nsec / 1000;
}

/* Scrambles a number (splitmix64). */
uint64_t
mix(uint64_t z)
{
	z += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* A number below n, from somebody's own sequence. */
uint64_t
rnd(uint64_t *state, uint64_t n)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(*state) % n;
}

bool
chance(uint64_t *state, int percent)
{
	return rnd(state, 100) < (uint64_t) percent;
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
		fflush(stdout);
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

/* Makes room for element n of an array. */
void *
grow(void *array, int n, int *room, size_t size)
{
	if (n < *room)
		return array;
	*room = *room ? *room * 2 : 8;
	array = realloc(array, (size_t) *room * size);
	if (array == NULL)
		abort();
	return array;
}

/* Starts a thread for each element of an array. */
void
run_threads(pthread_t *threads, int n, void *(*body)(void *), void *first, size_t size)
{
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, body, (char *) first + (size_t) i * size) != 0)
			abort();
}

void
join_threads(pthread_t *threads, int n)
{
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* Numbers that no run before has used, units to sell, and a provider of its own. */
static void
prepare(Session *s, uint64_t *random)
{
	must(s,
		 "SELECT greatest((SELECT max(account_id) FROM _holdfast.payment),"
		 " (SELECT max(account_id) FROM _holdfast.idempotency_0),"
		 " (SELECT max(account_id) FROM _holdfast.idempotency_1),"
		 " (SELECT max(sku) FROM holdfast.stock), 0) / 1000 * 1000 + 1000");
	options.base = number(s, 0, 0);
	must(s, "SHOW max_prepared_transactions");
	options.two_phase = number(s, 0, 0) >= options.clients;
	snprintf(options.provider, sizeof(options.provider), "outside_%" PRId64, options.base);
	must(s, "SELECT holdfast.add_provider('%s', 'standard', %d, '1 s', '1 s')", options.provider,
		 ATTEMPTS);
	trouble_change_secret(s, random);
	must(s,
		 "SELECT holdfast.receive(sku, 10000000) FROM generate_series(%" PRId64 ", %" PRId64
		 ") sku",
		 options.base, options.base + SKUS - 1);
	must(s, "ANALYZE");
}

static void
print_statistics(const Buyer *buyers)
{
	Buyer sum = {0};

	for (int i = 0; i < options.clients; i++)
	{
		for (int r = 0; r < REQUESTS; r++)
			sum.done[r] += buyers[i].done[r];
		sum.refused += buyers[i].refused;
		sum.replayed += buyers[i].replayed;
		sum.reused += buyers[i].reused;
		sum.twins += buyers[i].twins;
		sum.retried += buyers[i].retried;
		sum.lost += buyers[i].lost;
		sum.rolled_back += buyers[i].rolled_back;
	}
	printf("# %ld statements in %.1f s:", (long) operations,
		   (double) (now() - options.begun) / 1e6);
	for (int r = 0; r < REQUESTS; r++)
		printf(" %s %ld,", request_name[r], sum.done[r]);
	printf(" refused %ld\n# replayed %ld, other requests with old keys %ld, two at once %ld, rolled"
		   " back %ld, told to try again %ld, answers lost %ld\n",
		   sum.refused, sum.replayed, sum.reused, sum.twins, sum.rolled_back, sum.retried,
		   sum.lost);
	printf(
		"# calls claimed %ld, webhooks %ld, forged %ld, connections killed %ld, looks at verify()"
		" %ld; seed %" PRIu64 "\n",
		claimed_calls, hooks_delivered, forged, (long) killed, (long) looks, options.seed);
}

/* Everybody at once; then quiet; then the comparison. */
static void
storm(void)
{
	Buyer *buyers = calloc((size_t) options.clients, sizeof(Buyer));
	pthread_t buyer[options.clients], worker[WORKERS], sender[SENDERS], trouble, checker;
	uint64_t random[WORKERS + SENDERS + 2];
	Session session = {0}, *s = &session;

	if (buyers == NULL)
		abort();
	for (int i = 0; i < WORKERS + SENDERS + 2; i++)
		random[i] = mix(options.seed) + (uint64_t) i;
	for (int i = 0; i < options.clients; i++)
	{
		buyers[i].number = i;
		buyers[i].random = options.seed * 1000003 + (uint64_t) i;
	}
	session_open(s);
	prepare(s, &random[WORKERS + SENDERS]);
	options.begun = now();
	if (pthread_create(&trouble, NULL, trouble_run, &random[WORKERS + SENDERS + 1]) != 0 ||
		pthread_create(&checker, NULL, audit_watch, NULL) != 0)
		abort();
	run_threads(worker, WORKERS, worker_run, random, sizeof(uint64_t));
	run_threads(sender, SENDERS, sender_run, &random[WORKERS], sizeof(uint64_t));
	run_threads(buyer, options.clients, buyer_run, buyers, sizeof(Buyer));
	if (options.operations == 0)
	{
		usleep((useconds_t) (options.seconds * 1e6));
		stop = true;
	}
	join_threads(buyer, options.clients);
	stop = true;
	pthread_join(trouble, NULL);
	print_statistics(buyers);
	claim(violations() == 0, "%ld statements got answers that they may get", (long) operations);
	honest = true;
	claim(audit_drain(s, 300), "when the provider is honest, every call comes to an end");
	audit_hand_back(s);
	claim(audit_drain(s, 300), "and what came for dead orders is given back");
	finish = true;
	join_threads(worker, WORKERS);
	join_threads(sender, SENDERS);
	pthread_join(checker, NULL);
	claim(looks > 0 && violations() == 0, "no invariant was broken in %ld looks", (long) looks);
	if (violations() == 0)
		compare_all(s, buyers, options.clients);
	claim(violations() == 0, "nothing happened that must never happen");
	session_close(s);
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: payments storm|keys|rotation [--operations N] [--seconds S]"
			" [--clients N] [--keys N] [--seed X]\n");
	exit(2);
}

static void
parse_options(int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
	{
		if (i + 1 == argc)
			usage();
		else if (strcmp(argv[i], "--clients") == 0)
			options.clients = atoi(argv[++i]);
		else if (strcmp(argv[i], "--operations") == 0)
			options.operations = atol(argv[++i]);
		else if (strcmp(argv[i], "--seconds") == 0)
			options.seconds = atof(argv[++i]);
		else if (strcmp(argv[i], "--keys") == 0)
			options.keys = atol(argv[++i]);
		else if (strcmp(argv[i], "--seed") == 0)
			options.seed = strtoull(argv[++i], NULL, 10);
		else
			usage();
	}
	if (options.clients < 1 || options.clients > 64 || options.keys < options.clients)
		usage();
}

int
main(int argc, char **argv)
{
	Session session = {0};

	if (argc < 2)
		usage();
	parse_options(argc, argv);
	if (strcmp(argv[1], "storm") == 0)
		storm();
	else if (strcmp(argv[1], "keys") == 0 || strcmp(argv[1], "rotation") == 0)
	{
		session_open(&session);
		must(&session,
			 "SELECT greatest((SELECT max(account_id) FROM _holdfast.idempotency_0),"
			 " (SELECT max(account_id) FROM _holdfast.idempotency_1), 0) / 1000 * 1000 + 1000");
		options.base = number(&session, 0, 0);
		session_close(&session);
		if (argv[1][0] == 'k')
			keys_storm();
		else
			rotation_storm();
	}
	else
		usage();
	return claims_broken > 0;
}
