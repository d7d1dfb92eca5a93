/*
 * password.c
 *		Hashes, rules, and time.
 *
 * The expected hashes are those of the argon2 reference program.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "password.h"
#include "unit.h"

#define DEMO_HASH \
	"$argon2id$v=19$m=19456,t=2,p=1$aG9sZGZhc3RkZW1vc2FsdA$45NhRG3hip8PpCcD1e5tUt1eRJFhi9isTKzCpJzCsR0"

/* A hash of so many passes that nothing is done before the next line is. */
#define LONG_HASH \
	"$argon2id$v=19$m=19456,t=100,p=1$aG9sZGZhc3RkZW1vc2FsdA$45NhRG3hip8PpCcD1e5tUt1eRJFhi9isTKzCpJzCsR0"

/* What was told. */
static bool told, good, computed;
static char hash[200];

static HfText
text(const char *of)
{
	return (HfText){of, strlen(of)};
}

static void
done(void *arg, bool is_good, const char *made)
{
	check(!told, "told twice");
	check(arg == &told, "told somebody else");
	told = true;
	good = is_good;
	computed = made != NULL;
	snprintf(hash, sizeof(hash), "%s", computed ? made : "");
}

static void
wait_for_it(void)
{
	while (!told && turn(60000))
		;
	check(told, "nobody was told");
}

static bool
verify(const char *password, const char *against)
{
	HfText given = text(password);

	told = false;
	check(hf_password_verify(&given, against, done, &told), "there is no room");
	wait_for_it();
	check(computed, "nothing was computed");
	return good;
}

static void
make(const char *password)
{
	HfText given = text(password);

	told = false;
	check(hf_password_hash(&given, done, &told), "there is no room");
	wait_for_it();
	check(computed, "nothing was computed");
}

static void
expect_rule(const char *password, HfPasswordRule expected)
{
	HfText given = text(password);
	HfPasswordRule rule = hf_password_check(&given);

	check(rule == expected, "\"%.20s\" is %d", password, rule);
}

static void
test_rules(void)
{
	char longest[HF_PASSWORD_MAX + 2];

	memset(longest, 'x', sizeof(longest));
	longest[HF_PASSWORD_MAX + 1] = '\0';
	expect_rule("", HF_PASSWORD_TOO_SHORT);
	expect_rule("1234567", HF_PASSWORD_TOO_SHORT);
	expect_rule("12345678", HF_PASSWORD_GOOD);
	expect_rule("\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4", HF_PASSWORD_TOO_SHORT);
	expect_rule("\u5bc6\u7801\u5bc6\u7801\u5bc6\u7801\u5bc6\u7801", HF_PASSWORD_GOOD);
	expect_rule(longest, HF_PASSWORD_TOO_LONG);
	longest[HF_PASSWORD_MAX] = '\0';
	expect_rule(longest, HF_PASSWORD_GOOD);
	claim("a password has 8 characters at least and 256 bytes at most");
}

static void
test_vectors(void)
{
	check(verify("holdfast-demo", DEMO_HASH), "the demo's password is wrong");
	check(!verify("holdfast-demo ", DEMO_HASH), "a longer password is good");
	check(!verify("holdfast-dem", DEMO_HASH), "a shorter password is good");
	check(!verify("", DEMO_HASH), "no password is good");
	claim("the demo's hash is that of the demo's password alone");
	make("correct horse battery staple");
	check(strncmp(hash, "$argon2id$v=19$m=19456,t=2,p=1$", 31) == 0, "the hash is %s", hash);
	claim("hashes are argon2id with the configured memory and passes");
	char first[sizeof(hash)];
	strcpy(first, hash);
	check(verify("correct horse battery staple", first), "its own password is wrong");
	check(!verify("correct horse battery stable", first), "another password is good");
	make("correct horse battery staple");
	check(strcmp(first, hash) != 0, "two hashes are equal");
	claim("a hash is salted, and is of its password alone");
}

static void
test_nobody(void)
{
	char longest[HF_PASSWORD_MAX + 2];
	static const char *const broken[] = {"",
										 "x",
										 "$argon2id$",
										 "$argon2id$test",
										 "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA",
										 "$2b$12$abcdefghijklmnopqrstuu"};

	memset(longest, 'x', sizeof(longest));
	longest[HF_PASSWORD_MAX + 1] = '\0';
	check(!verify("holdfast-demo", NULL), "nobody has a password");
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		check(!verify("holdfast-demo", broken[i]), "%s is a hash", broken[i]);
	check(!verify(longest, DEMO_HASH), "a password that is too long is good");
	claim("no password fits nobody, or a hash that is none");
}

/* Counts who is told anything, and of them those for whom nothing was computed. */
static void
count_told(void *arg, bool is_good, const char *made)
{
	unsigned *counts = arg;

	(void) is_good;
	counts[0]++;
	counts[1] += made == NULL;
}

static void
test_full(void)
{
	HfText given = text("holdfast-demo");
	unsigned taken = 0, most = hf_config.hash_threads + hf_config.hash_queue, counts[2] = {0, 0};
	unsigned long refused = counted[HF_METRIC_HASHES_FULL];

	while (taken <= most && hf_password_verify(&given, DEMO_HASH, count_told, counts))
		taken++;
	check(taken == most, "%u were taken", taken);
	check(hf_password_waiting() == most, "%u wait", hf_password_waiting());
	check(counted[HF_METRIC_HASHES_FULL] == refused + 1, "the refusal was not counted");
	while (counts[0] < taken && turn(60000))
		;
	check(counts[0] == taken && counts[1] == 0, "%u were told", counts[0]);
	check(hf_password_waiting() == 0, "%u wait", hf_password_waiting());
	claim("more than may run and wait are refused");
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

/* The CPU time of verifications with and without a hash, in turn: medians, in milliseconds. */
static void
test_time(void)
{
	enum
	{
		TRIALS = 60
	};
	double with[TRIALS], without[TRIALS];
	double *const sides[2] = {with, without};
	int trials = slow ? 2 : TRIALS;
	bool apart = true;

	/* A machine may be disturbed; what takes longer does so each time. */
	for (int tries = 6; apart && tries > 0; tries--)
	{
		for (int i = 0; i < 2 * trials; i++)
		{
			double before = time_of_process();

			verify("holdfast-demo", i % 2 == 0 ? DEMO_HASH : NULL);
			sides[i % 2][i / 2] = (time_of_process() - before) * 1e3;
		}
		qsort(with, (size_t) trials, sizeof(double), compare);
		qsort(without, (size_t) trials, sizeof(double), compare);
		printf("# a verification takes %.2f ms of CPU, against the dummy %.2f ms\n",
			   with[trials / 2], without[trials / 2]);
		apart = !slow && fabs(with[trials / 2] / without[trials / 2] - 1) >= 0.04;
	}
	check(!apart, "that tells them apart");
	claim("a password takes as long to be wrong for nobody as for somebody");
}

static void
test_short_memory(void)
{
	size_t memory = hf_config.hash_memory;
	HfText given = text("holdfast-demo");

	hf_config.hash_memory = (size_t) 1 << 41;
	told = false;
	check(hf_password_hash(&given, done, &told), "there is no room");
	wait_for_it();
	check(!computed && !good, "hashed without memory");
	hf_config.hash_memory = memory;
	claim("without memory there is no hash");
}

static void
test_stop(void)
{
	HfText given = text("holdfast-demo");
	unsigned accepted = 0, counts[2] = {0, 0};

	while (hf_password_verify(&given, slow ? DEMO_HASH : LONG_HASH, count_told, counts))
		accepted++;
	hf_password_stop();
	check(counts[0] == accepted, "%u of %u were told", counts[0], accepted);
	check(counts[1] >= hf_config.hash_queue, "%u were not computed", counts[1]);
	check(!hf_password_verify(&given, DEMO_HASH, count_told, counts), "taken after the end");
	claim("who waits when the worker stops is told that nothing was computed");
}

int
main(int argc, char **argv)
{
	begin(argc, argv);
	hf_password_start();
	test_rules();
	test_vectors();
	test_nobody();
	test_full();
	test_time();
	test_short_memory();
	test_stop();
	return end();
}
