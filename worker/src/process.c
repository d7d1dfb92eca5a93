/*
 * process.c
 *		The worker processes, and the parent that looks after them.
 *
 * The parent does nothing but wait: for a process that ends without having been told to, which
 * gets a successor after a moment, and for SIGTERM or SIGINT, which it passes on.  It ends after
 * the last of them.  If the parent is killed, they are told to end as well: nobody would look
 * after them.
 */
#include "process.h"

#include "clock.h"
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define PAUSE		500 /* milliseconds before a successor is started */

typedef struct Process
{
	pid_t pid;		/* 0: there is none */
	int64_t due_at; /* when to start it */
} Process;

static Process processes[WORKERS_MAX];
static unsigned process_count;
static bool stopping;
static int64_t kill_at = HF_NEVER;

static void
start(unsigned i, HfProcessMain run)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
	{
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		_exit(getppid() == parent ? run(i + 1) : 0);
	}
	if (pid < 0)
		hf_log(HF_LOG_ERROR, "no_process", "cannot fork: %s", strerror(errno));
	processes[i] = (Process){.pid = pid < 0 ? 0 : pid, .due_at = hf_clock() + PAUSE};
}

static void
signal_all(int number)
{
	for (unsigned i = 0; i < process_count; i++)
		if (processes[i].pid > 0)
			kill(processes[i].pid, number);
}

static void
say_ended(pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		hf_log(HF_LOG_ERROR, "worker_died", "process %ld was ended by signal %d", (long) pid,
			   WTERMSIG(status));
	else if (!stopping || WEXITSTATUS(status) != 0)
		hf_log(HF_LOG_ERROR, "worker_died", "process %ld has ended with status %d", (long) pid,
			   WEXITSTATUS(status));
}

/* Notes which processes have ended. */
static void
reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < process_count; i++)
			if (processes[i].pid == pid)
			{
				say_ended(pid, status);
				processes[i] = (Process){.pid = 0, .due_at = hf_clock() + PAUSE};
			}
}

/* Starts what is due, unless it is to end; returns when to look again. */
static int64_t
start_due(HfProcessMain run)
{
	int64_t next = kill_at;

	for (unsigned i = 0; i < process_count && !stopping; i++)
	{
		if (processes[i].pid > 0)
			continue;
		if (processes[i].due_at <= hf_clock())
			start(i, run);
		if (processes[i].pid == 0 && processes[i].due_at < next)
			next = processes[i].due_at;
	}
	return next;
}

static bool
is_alive(void)
{
	for (unsigned i = 0; i < process_count; i++)
		if (processes[i].pid > 0)
			return true;
	return false;
}

/* Waits for one of the signals, until then at most. */
static int
wait_for_signal(const sigset_t *set, int64_t until)
{
	int64_t left = until == HF_NEVER ? 3600000 : until - hf_clock();
	struct timespec patience = {0};

	if (left > 0)
		patience =
			(struct timespec){.tv_sec = left / 1000, .tv_nsec = (long) (left % 1000) * 1000000};
	return sigtimedwait(set, NULL, &patience);
}

/*
 * Keeps so many processes running until it is told to end.  They get so many milliseconds to end by
 * themselves.  Returns the exit status.
 */
int
hf_process_run(unsigned workers, unsigned patience, HfProcessMain run)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	process_count = workers;
	while (!stopping || is_alive())
	{
		int number = wait_for_signal(&set, start_due(run));

		if ((number == SIGTERM || number == SIGINT) && !stopping)
		{
			stopping = true;
			kill_at = hf_clock() + patience;
			signal_all(SIGTERM);
		}
		reap();
		if (hf_clock() >= kill_at)
		{
			signal_all(SIGKILL);
			kill_at = HF_NEVER;
		}
	}
	return 0;
}
