/*
 * loop.c
 *		The life of a worker process: it waits for what comes first, and does what is to be done.
 *
 * Told to end by SIGTERM or SIGINT, it begins nothing any more, waits for what is under way, for
 * drain_timeout at most, and records how it went.  What is left then is recorded as not done, so it
 * is done again soon; if not even that succeeds, when its lease is over.
 */
#include "loop.h"

#include "beat.h"
#include "claim.h"
#include "clock.h"
#include "config.h"
#include "database.h"
#include "image.h"
#include "job.h"
#include "log.h"
#include "part.h"
#include "post.h"
#include "transfer.h"
#include "webhook.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LAST_WORD	2000 /* milliseconds to record what was cut short */
#define SOCKETS_MAX 96	 /* what the parts wait for, beside libcurl's */

static const HfPart *const parts[] = {&hf_claim_part, &hf_job_part,	 &hf_webhook_part,
									  &hf_image_part, &hf_post_part, &hf_beat_part};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static size_t turn;				   /* of the parts, to send a statement */
static int64_t stop_at = HF_NEVER; /* when what is under way is cut short */
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

static bool
begin_parts(void)
{
	for (size_t i = 0; i < PARTS; i++)
		if (parts[i]->begin != NULL && !parts[i]->begin())
			return false;
	return true;
}

static unsigned
count_held(void)
{
	unsigned held = 0;

	for (size_t i = 0; i < PARTS; i++)
		if (parts[i]->held != NULL)
			held += parts[i]->held();
	return held;
}

static int
wait_time(int64_t now)
{
	int64_t until = hf_database_deadline();

	for (size_t i = 0; i < PARTS; i++)
	{
		int64_t next =
			parts[i]->deadline != NULL ? parts[i]->deadline(hf_database_is_ready()) : HF_NEVER;

		if (next < until)
			until = next;
	}
	if (stop_at < until)
		until = stop_at;
	if (until <= now)
		return 0;
	return until - now < 60000 ? (int) (until - now) : 60000;
}

static void
stop_parts(void)
{
	for (size_t i = 0; i < PARTS; i++)
		if (parts[i]->stop != NULL)
			parts[i]->stop();
	stop_at = hf_clock() + hf_config.drain_timeout;
}

/* Waits, and says whether the database's socket is ready. */
static bool
wait_for_something(int signals)
{
	struct pollfd sockets[SOCKETS_MAX] = {{.fd = signals, .events = POLLIN}, {.fd = -1}};
	struct signalfd_siginfo info;
	int used = 2;

	sockets[1].fd = hf_database_socket(&sockets[1].events);
	for (size_t i = 0; i < PARTS; i++)
		if (parts[i]->watch != NULL)
			used += parts[i]->watch(sockets + used, SOCKETS_MAX - used);
	hf_transfer_wait(sockets, used, wait_time(hf_clock()));
	if (read(signals, &info, sizeof(info)) == sizeof(info) && stop_at == HF_NEVER)
		stop_parts();
	return sockets[1].fd >= 0 && sockets[1].revents != 0;
}

/* Lets the parts do what they can. */
static void
give_turns(int64_t now)
{
	for (size_t i = 0; i < PARTS; i++)
		if (parts[i]->step != NULL)
			parts[i]->step(now);
	for (size_t i = 0; i < PARTS && hf_database_is_ready(); i++)
	{
		const HfPart *part = parts[(turn + i) % PARTS];

		if (part->send == NULL || !part->send(now))
			continue;
		turn = (turn + i + 1) % PARTS;
		break;
	}
}

/* Is there nothing left to do before the end, or no time? */
static bool
is_over(int64_t now)
{
	if (stop_at == HF_NEVER)
		return false;
	if (count_held() == 0 && !hf_database_is_busy())
		return true;
	if (now < stop_at)
		return false;
	if (was_cut)
		return true;
	was_cut = true;
	for (size_t i = 0; i < PARTS; i++)
		if (parts[i]->cut != NULL)
			parts[i]->cut();
	stop_at = now + LAST_WORD;
	return false;
}

static void
work(int signals)
{
	bool database_is_ready = false;

	for (;;)
	{
		int64_t now = hf_clock();

		hf_database_step(now, database_is_ready);
		hf_transfer_step();
		give_turns(now);
		if (is_over(now))
			break;
		database_is_ready = wait_for_something(signals);
	}
}

/* Works until it is told to end; returns the exit status. */
int
hf_loop_run(unsigned worker)
{
	int signals = open_signals();
	unsigned left;

	hf_log_begin(worker);
	srandom((unsigned) getpid());
	if (signals < 0 || !hf_transfer_begin() || !begin_parts())
	{
		hf_log(HF_LOG_ERROR, "not_started", "out of memory or descriptors");
		return 1;
	}
	hf_database_begin(hf_config.database, hf_config.database_timeout);
	hf_log(HF_LOG_INFO, "started", "looking for work");
	work(signals);
	left = count_held();
	hf_log(left > 0 ? HF_LOG_WARNING : HF_LOG_INFO, "stopped", "left behind: %u", left);
	for (size_t i = PARTS; i-- > 0;)
		if (parts[i]->end != NULL)
			parts[i]->end();
	hf_transfer_end();
	hf_database_end();
	return 0;
}
