/*
 * pool.c
 *		Threads and their loop.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool.h"
#include "unit.h"

#define JOBS 6 /* as many as a pool of 2 threads with 4 places takes */

/* What a test has in a pool. */
typedef struct Work
{
	HfPool *pool;
	pthread_t ran_in;
	int ran, done, again;
} Work;

static atomic_bool closed; /* the gate that works wait at */
static atomic_int working;
static atomic_bool mutable;
static pthread_t loop;
static int order[JOBS], ended;
static HfPool *volatile pools[2]; /* which live as long as the test */

static void
work(void *arg)
{
	Work *work = arg;
	sigset_t blocked;

	work->ran_in = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (!sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGCHLD))
		mutable = true;
	working++;
	while (closed)
		usleep(100);
	working--;
	work->ran++;
}

static void
done(void *arg)
{
	Work *work = arg;

	check(pthread_equal(pthread_self(), loop), "done in a thread");
	work->done++;
	ended++;
}

/* A done that gives the pool more to do. */
static void
done_again(void *arg)
{
	Work *w = arg;

	done(arg);
	if (w->again-- > 0)
		check(hf_pool_run(w->pool, work, done_again, w), "no room after a done");
}

static void
turn_until(int expected)
{
	while (ended < expected && turn(60000))
		;
	check(ended == expected, "%d done instead of %d", ended, expected);
}

static void
test_queue(HfPool *pool)
{
	Work jobs[JOBS + 1] = {{.pool = pool}};

	ended = 0;
	closed = true;
	for (int i = 0; i < JOBS; i++)
		check(hf_pool_run(pool, work, done, &jobs[i]), "job %d was not taken", i);
	check(!hf_pool_run(pool, work, done, &jobs[JOBS]), "a job too many was taken");
	check(hf_pool_waiting(pool) == JOBS, "%u wait", hf_pool_waiting(pool));
	while (working < 2)
		usleep(100);
	check(!turn(0), "something is done before it was let");
	closed = false;
	turn_until(JOBS);
	for (int i = 0; i < JOBS; i++)
		check(jobs[i].ran == 1 && jobs[i].done == 1 && !pthread_equal(jobs[i].ran_in, loop),
			  "job %d ran %d times, done %d times", i, jobs[i].ran, jobs[i].done);
	check(jobs[JOBS].ran + jobs[JOBS].done == 0, "what was refused ran");
	check(hf_pool_waiting(pool) == 0, "%u wait in the end", hf_pool_waiting(pool));
	claim("a pool runs two at once, keeps four, and takes no more");
}

static void
test_many(HfPool *pool)
{
	Work jobs[JOBS] = {{0}};

	ended = 0;
	for (int i = 0; i < JOBS; i++)
	{
		jobs[i] = (Work){.pool = pool, .again = 1000};
		check(hf_pool_run(pool, work, done_again, &jobs[i]), "job %d was not taken", i);
	}
	turn_until(JOBS * 1001);
	claim("a done may give the pool more to do");
	check(!mutable, "a thread takes signals");
	claim("threads take no signals");
}

static void
work_in_order(void *arg)
{
	order[working++] = *(int *) arg;
}

static void
done_in_order(void *arg)
{
	(void) arg;
	ended++;
}

static void
test_order(void)
{
	HfPool *pool = pools[1] = hf_pool_make(1, JOBS - 1);
	int number[JOBS];

	ended = 0;
	working = 0;
	for (int i = 0; i < JOBS; i++)
	{
		number[i] = i;
		check(hf_pool_run(pool, work_in_order, done_in_order, &number[i]), "not taken");
	}
	turn_until(JOBS);
	for (int i = 0; i < JOBS; i++)
		check(order[i] == i, "%d ran as number %d", order[i], i);
	hf_pool_stop(pool);
	claim("who waits longest is next");
}

static void *
open_gate(void *arg)
{
	(void) arg;
	usleep(1000000); /* by then the pool is being stopped */
	closed = false;
	return NULL;
}

static void
test_stop(HfPool *pool)
{
	Work jobs[JOBS] = {{0}};
	int ran = 0;

	ended = 0;
	working = 0;
	closed = true;
	for (int i = 0; i < JOBS; i++)
		check(hf_pool_run(pool, work, done, &jobs[i]), "job %d was not taken", i);
	while (working < 2)
		usleep(100);
	pthread_t stopper;
	check(pthread_create(&stopper, NULL, open_gate, NULL) == 0, "no thread");
	hf_pool_stop(pool);
	pthread_join(stopper, NULL);
	for (int i = 0; i < JOBS; i++)
	{
		check(jobs[i].done == 1, "job %d was done %d times", i, jobs[i].done);
		ran += jobs[i].ran;
	}
	check(ended == JOBS && ran == 2, "%d done, %d ran", ended, ran);
	check(!hf_pool_run(pool, work, done, &jobs[0]), "a stopped pool takes a job");
	check(hf_pool_waiting(pool) == 0, "%u wait", hf_pool_waiting(pool));
	claim("a pool that is stopped ends what runs, and all that was accepted is done");
}

int
main(int argc, char **argv)
{
	HfPool *pool;

	begin(argc, argv);
	loop = pthread_self();
	pool = pools[0] = hf_pool_make(2, JOBS - 2);
	if (pool == NULL)
		return 2;
	test_queue(pool);
	test_many(pool);
	test_stop(pool);
	test_order();
	return end();
}
