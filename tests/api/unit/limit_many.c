/*
 * limit_many.c
 *		Rules of limits, by several processes at once.
 *
 * Each process writes down when each request was asked and when it was told.  Redis has admitted it
 * in between; so that more are in a window than may be is only certain of those whose whole time
 * lies in it, and of these the test counts every window.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "limit_test.h"

#define PROCESSES	4
#define REQUESTS	200000 /* of a process, at most */
#define ADDRESS		"198.51.100.1"
#define AT_ONCE_MAX 16

/* What the processes share with the test. */
typedef struct Journal
{
	int n, refused, broken;
	Request request[REQUESTS]; /* the admitted ones */
} Journal;

static Journal *journals;

/* How a process asks. */
typedef struct Load
{
	Usec time;	  /* for so long */
	int at_once;  /* so many at once */
	Usec pause;	  /* and then nothing for so long */
	int accounts; /* of so many accounts */
} Load;

static void
run_load(int process, const Load *load)
{
	Journal *journal = &journals[process];
	Request requests[AT_ONCE_MAX];
	uint64_t seed = (uint64_t) process;

	redis_connect();
	for (Usec end = now() + load->time; now() < end;)
	{
		for (int i = 0; i < load->at_once; i++)
			ask(&requests[i], ADDRESS,
				load->accounts > 0 ? 1 + (int64_t) rnd(&seed, (uint64_t) load->accounts) : 0);
		redis_answers();
		for (int i = 0; i < load->at_once; i++)
		{
			journal->broken += requests[i].times != 1;
			if (!requests[i].verdict.admitted)
				journal->refused++;
			else if (journal->n < REQUESTS)
				journal->request[journal->n++] = requests[i];
		}
		if (load->pause > 0)
			usleep((useconds_t) load->pause);
	}
}

static void
run_all(const Load *load)
{
	pid_t child[PROCESSES];

	start();
	fflush(stdout);
	for (int i = 0; i < PROCESSES; i++)
	{
		journals[i].n = journals[i].refused = journals[i].broken = 0;
		child[i] = fork();
		if (child[i] == 0)
		{
			run_load(i, load);
			_exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
	{
		int status;

		check(waitpid(child[i], &status, 0) == child[i] && status == 0, "a process died");
		check(journals[i].broken == 0, "%d were not told once", journals[i].broken);
	}
}

static int
by_told(const void *a, const void *b)
{
	Usec x = ((const Request *) a)->told, y = ((const Request *) b)->told;

	return (x > y) - (x < y);
}

/* Most that were admitted in any window, and all that were. */
static int
count_windows(Usec window, int *all)
{
	Request *merged;
	int most = 0;

	*all = 0;
	for (int i = 0; i < PROCESSES; i++)
		*all += journals[i].n;
	merged = calloc((size_t) *all + 1, sizeof(*merged));
	if (merged == NULL)
		abort();
	*all = 0;
	for (int i = 0; i < PROCESSES; i++)
	{
		memcpy(merged + *all, journals[i].request, (size_t) journals[i].n * sizeof(*merged));
		*all += journals[i].n;
	}
	qsort(merged, (size_t) *all, sizeof(*merged), by_told);
	for (int last = 0; last < *all; last++)
	{
		Usec begins = merged[last].told - window;
		int within = 0;

		for (int i = last; i >= 0 && merged[i].told > begins; i--)
			within += merged[i].asked > begins;
		if (within > most)
			most = within;
	}
	free(merged);
	return most;
}

static int
refused(void)
{
	int sum = 0;

	for (int i = 0; i < PROCESSES; i++)
		sum += journals[i].refused;
	return sum;
}

static void
hammer(const char *which, unsigned quota, unsigned burst, double least)
{
	Load load = {.time = 3 * SECOND, .at_once = 8};
	int most, all;

	memset(hf_config.limit, 0, sizeof(hf_config.limit));
	set_rule(HF_LIMIT_GLOBAL, 1000000, 1, 500000);
	set_rule(HF_LIMIT_ADDRESS, quota, 1, burst);
	/* A machine that had no time for the processes gives them another go. */
	for (int tries = 5; tries > 0; tries--)
	{
		run_all(&load);
		most = count_windows(SECOND, &all);
		if (most > (int) (quota + burst) || (all >= least * quota * 3 && refused() > 0))
			break;
	}
	printf("# %s: of %u + %u a second at most %d were admitted, %d in 3 s; %d refused\n", which,
		   quota, burst, most, all, refused());
	check(most <= (int) (quota + burst), "%d in one second", most);
	check(slow || all >= least * quota * 3, "only %d in 3 s", all);
	check(refused() > 0, "nobody was refused");
	claim("%d processes admit no more than quota and burst in any window, and no less: %s",
		  PROCESSES, which);
}

static void
test_below(void)
{
	Load steady = {.time = 2 * SECOND, .at_once = 2, .pause = 8000};
	Load ragged = {.time = 2 * SECOND, .at_once = 16, .pause = 110000};
	int all;

	memset(hf_config.limit, 0, sizeof(hf_config.limit));
	set_rule(HF_LIMIT_ADDRESS, 1250, 1, 250);
	run_all(&steady);
	count_windows(SECOND, &all);
	printf("# steady: %d in 2 s of 2500, %d refused\n", all, refused());
	check(refused() == 0, "%d were refused", refused());
	run_all(&ragged);
	count_windows(SECOND, &all);
	printf("# ragged: %d in 2 s of 2500, %d refused\n", all, refused());
	check(refused() == 0, "%d were refused", refused());
	claim("who stays below a rule is not refused");
}

static void
test_retry(void)
{
	int waits = 0;

	memset(hf_config.limit, 0, sizeof(hf_config.limit));
	set_rule(HF_LIMIT_ADDRESS, 10, 12, 2);
	set_rule(HF_LIMIT_ACCOUNT, 10, 11, 1);
	start();
	while (waits < 4)
	{
		Request request;

		ask(&request, ADDRESS, 5);
		redis_answers();
		if (request.verdict.admitted)
			continue;
		waits++;
		usleep(request.verdict.retry_after * 1000000);
		check(is_admitted(ADDRESS, 5), "refused after %u s", request.verdict.retry_after);
	}
	claim("who waits as long as he is told is admitted");
}

void
test_processes(void)
{
	journals = mmap(NULL, PROCESSES * sizeof(*journals), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (journals == MAP_FAILED)
		abort();
	hammer("a rule that is exact", 50, 10, 0.5);
	hammer("a rule without a burst", 50, 0, 0.2);
	hammer("a rule with permits in hand", 3000, 600, 0.5);
	hammer("a rule of which permits lapse soon", 3000, 150, 0.5);
	test_below();
	test_retry();
	munmap(journals, PROCESSES * sizeof(*journals));
}
