/*
 * loop.c
 *		The life of a worker process: it waits for what comes first, and does what is to be done.
 *
 * Told to end by SIGTERM or SIGINT, it claims nothing any more, waits for the calls that are under
 * way, for drain_timeout at most, and records how they went.  What is left then is recorded as not
 * answered, so it is made again soon; if not even that succeeds, when its lease is over.
 */
#include "loop.h"

#include "claim.h"
#include "clock.h"
#include "config.h"
#include "database.h"
#include "log.h"
#include "provider.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LAST_WORD 2000 /* milliseconds to record what was cut short */

static int64_t stop_at = HF_NEVER; /* when calls are cut short */
static bool was_cut;

/* The end of signals: SIGTERM and SIGINT are read from it. -1 on failure. */
static int
open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
wait_time(int64_t now)
{
	int64_t until = hf_database_deadline();

	if (hf_claim_deadline() < until)
		until = hf_claim_deadline();
	if (stop_at < until)
		until = stop_at;
	if (until <= now)
		return 0;
	return until - now < 60000 ? (int) (until - now) : 60000;
}

/* Waits, and says what the database's socket is ready for. */
static void
wait_for_something(int signals, bool *database_ready)
{
	struct pollfd others[] = {{.fd = signals, .events = POLLIN}, {.fd = -1}};
	struct signalfd_siginfo info;
	int64_t now = hf_clock();

	others[1].fd = hf_database_socket(&others[1].events);
	hf_provider_wait(others, 2, wait_time(now));
	*database_ready = others[1].fd >= 0 && others[1].revents != 0;
	if (read(signals, &info, sizeof(info)) == sizeof(info) && stop_at == HF_NEVER)
	{
		hf_claim_stop();
		stop_at = hf_clock() + hf_config.drain_timeout;
	}
}

/* Is there nothing left to do before the end, or no time? */
static bool
is_over(int64_t now)
{
	if (stop_at == HF_NEVER)
		return false;
	if (hf_claim_held() == 0 && !hf_database_is_busy())
		return true;
	if (now < stop_at)
		return false;
	if (was_cut)
		return true;
	was_cut = true;
	hf_provider_cancel();
	stop_at = now + LAST_WORD;
	return false;
}

/* Works until it is told to end; returns the exit status. */
int
hf_loop_run(unsigned worker)
{
	int signals = open_signals();
	bool database_ready = false;

	hf_log_begin(worker);
	srandom((unsigned) getpid());
	if (signals < 0 || !hf_provider_begin(hf_claim_answered))
	{
		hf_log(HF_LOG_ERROR, "not_started", "out of memory or descriptors");
		return 1;
	}
	hf_claim_begin();
	hf_database_begin(hf_config.database, hf_config.database_timeout);
	hf_log(HF_LOG_INFO, "started", "making provider calls");
	for (;;)
	{
		int64_t now = hf_clock();

		hf_database_step(now, database_ready);
		hf_provider_step();
		hf_claim_step(now);
		if (is_over(now))
			break;
		wait_for_something(signals, &database_ready);
	}
	hf_log(hf_claim_held() > 0 ? HF_LOG_WARNING : HF_LOG_INFO, "stopped", "calls left behind: %u",
		   hf_claim_held());
	hf_provider_end();
	hf_database_end();
	return 0;
}
