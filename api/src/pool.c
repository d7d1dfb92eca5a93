/*
 * pool.c
 *		Threads for what takes long: work runs there, and then done in the loop.
 *
 * The loop puts jobs into one list; the threads take them from there, oldest first, and put them
 * into another when they have run.  An eventfd tells the loop, which empties that list.
 *
 * Invariants: a job is in exactly one of four places: free, waiting, in a thread, finished.  There
 * are as many jobs as may wait and run together, made at the start: nothing is allocated later.
 * The lock guards both lists and `stopping`, and is never held while a work or a done runs.  Jobs
 * that are free, and `accepted`, belong to the loop alone.  Threads take no signals: those are the
 * loop's.  Kore keeps a pointer to the pool, which is therefore never freed.
 */
#include "pool.h"
#include "log.h"
#include "kore.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct Job
{
	void (*work)(void *);
	void (*done)(void *);
	void *arg;
	TAILQ_ENTRY(Job) link;
} Job;

TAILQ_HEAD(JobList, Job);

struct HfPool
{
	struct kore_event event; /* first: Kore calls us with it */
	int descriptor;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct JobList waiting;	 /* lock */
	struct JobList finished; /* lock */
	bool stopping;			 /* lock */
	struct JobList free;
	unsigned accepted; /* jobs whose done is still to come */
	unsigned threads;
	pthread_t thread[];
};

static void
tell_loop(HfPool *pool)
{
	uint64_t one = 1;
	ssize_t written;

	do
		written = write(pool->descriptor, &one, sizeof(one));
	while (written < 0 && errno == EINTR);
}

/* What a thread does until the pool is stopped. */
static void *
run_thread(void *arg)
{
	HfPool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	while (!pool->stopping)
	{
		Job *job = TAILQ_FIRST(&pool->waiting);

		if (job == NULL)
		{
			pthread_cond_wait(&pool->wake, &pool->lock);
			continue;
		}
		TAILQ_REMOVE(&pool->waiting, job, link);
		pthread_mutex_unlock(&pool->lock);
		job->work(job->arg);
		pthread_mutex_lock(&pool->lock);
		TAILQ_INSERT_TAIL(&pool->finished, job, link);
		tell_loop(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Calls the done of each job of a list, which may ask for more to be run. */
static void
finish(HfPool *pool, struct JobList *jobs)
{
	Job *job;

	while ((job = TAILQ_FIRST(jobs)) != NULL)
	{
		void (*done)(void *) = job->done;
		void *arg = job->arg;

		TAILQ_REMOVE(jobs, job, link);
		TAILQ_INSERT_TAIL(&pool->free, job, link);
		pool->accepted--;
		done(arg);
	}
}

/* The loop has been told: calls done for all that has run. */
static void
handle(void *arg, int failed)
{
	HfPool *pool = arg;
	struct JobList finished = TAILQ_HEAD_INITIALIZER(finished);
	uint64_t count;

	(void) failed;
	pool->event.flags &= ~KORE_EVENT_READ;
	if (read(pool->descriptor, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&pool->lock);
	TAILQ_CONCAT(&finished, &pool->finished, link);
	pthread_mutex_unlock(&pool->lock);
	finish(pool, &finished);
}

/* Starts as many of the threads as the system lets us. */
static void
start_threads(HfPool *pool, unsigned threads)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (pool->threads < threads)
	{
		int error = pthread_create(&pool->thread[pool->threads], NULL, run_thread, pool);

		if (error != 0)
		{
			hf_log(HF_LOG_ERROR, "pool", "cannot start a thread: %s", strerror(error));
			break;
		}
		pool->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/*
 * A pool of the calling worker's, whose loop runs.  At most `queue` jobs wait while each of the
 * threads has one.  NULL if there is no memory, no descriptor or no thread.
 */
HfPool *
hf_pool_make(unsigned threads, unsigned queue)
{
	HfPool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->thread[0]));
	Job *jobs = calloc(threads + queue, sizeof(*jobs));
	int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (pool == NULL || jobs == NULL || descriptor < 0)
		goto failed;
	pool->descriptor = descriptor;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	TAILQ_INIT(&pool->waiting);
	TAILQ_INIT(&pool->finished);
	TAILQ_INIT(&pool->free);
	start_threads(pool, threads);
	if (pool->threads == 0)
		goto failed;
	for (unsigned i = 0; i < pool->threads + queue; i++)
		TAILQ_INSERT_TAIL(&pool->free, &jobs[i], link);
	pool->event.handle = handle; /* NOLINT(clang-analyzer-unix.Malloc): jobs is in the list */
	kore_platform_event_level_read(descriptor, pool);
	return pool;

failed:
	if (descriptor >= 0)
		close(descriptor);
	free(jobs);
	free(pool);
	return NULL;
}

/*
 * Has `work` run in a thread and `done` in the loop afterwards, both with `arg`.  False, and
 * neither is called, if the queue is full or the pool is stopped.
 */
bool
hf_pool_run(HfPool *pool, void (*work)(void *), void (*done)(void *), void *arg)
{
	Job *job = TAILQ_FIRST(&pool->free);

	if (job == NULL || pool->threads == 0)
		return false;
	TAILQ_REMOVE(&pool->free, job, link);
	pool->accepted++;
	job->work = work;
	job->done = done;
	job->arg = arg;
	pthread_mutex_lock(&pool->lock);
	TAILQ_INSERT_TAIL(&pool->waiting, job, link);
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	return true;
}

/* Jobs that were accepted and whose done is still to come. */
unsigned
hf_pool_waiting(const HfPool *pool)
{
	return pool->accepted;
}

/*
 * Ends the threads, each after the work that it is at, and then calls the done of everything that
 * was accepted; what waited has not run.  The pool accepts nothing any more.
 */
void
hf_pool_stop(HfPool *pool)
{
	unsigned threads = pool->threads;

	pool->threads = 0;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(pool->thread[i], NULL);
	finish(pool, &pool->finished);
	finish(pool, &pool->waiting);
}
