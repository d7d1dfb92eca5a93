/*
 * kind.c
 *		The kinds of jobs, and when to look for jobs of each.
 *
 * Each is looked for over and over: at once while there is more than was taken, soon after there
 * was something, and rarely while there is nothing.  While somebody who is needed for a kind is
 * away, one job at a time is tried, with growing pauses.
 */
#include "kind.h"

#include "clock.h"
#include "config.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

#define KINDS_MAX	 8
#define SOON		 20 /* milliseconds until the next look while there is something */
#define AWAY_LEAST	 500
#define AWAY_MOST	 30000
#define FAULT_PAUSE	 2000
#define SAY_INTERVAL 10000

static HfKind *kinds[KINDS_MAX];
static unsigned kind_count;
static unsigned turn; /* whose it is */

/* Does jobs of these kinds. */
void
hf_job_add(HfKind *kind)
{
	kind->pause_ms = SOON;
	kinds[kind_count++] = kind;
}

/* The kinds that were added, in order; NULL beyond the last. */
HfKind *
hf_job_kind(unsigned i)
{
	return i < kind_count ? kinds[i] : NULL;
}

/* How many jobs of a kind may be claimed now. */
unsigned
hf_kind_room(const HfKind *kind)
{
	unsigned most = kind->most < hf_config.batch ? kind->most : hf_config.batch;
	unsigned left = kind->most - kind->running;

	if (kind->away_ms > 0)
		return kind->running == 0 ? 1 : 0;
	return left < most ? left : most;
}

/* When to look for jobs of a kind, if there is room for them. */
static int64_t
due_at(const HfKind *kind)
{
	return kind->away_ms > 0 && kind->away_until > kind->next_at ? kind->away_until : kind->next_at;
}

/* When to look again after there were so many jobs. */
void
hf_kind_plan(HfKind *kind, unsigned found)
{
	int64_t now = hf_clock();

	kind->is_faulty = false;
	if (found > 0)
		kind->pause_ms = SOON;
	else
		kind->pause_ms = kind->pause_ms * 2 < hf_config.poll_interval ? kind->pause_ms * 2
																	  : hf_config.poll_interval;
	kind->next_at = found > 0 && found >= kind->wanted ? now : now + kind->pause_ms;
}

/* A look that has failed. Only what is not over by itself is logged, once. */
void
hf_kind_plan_after_fault(HfKind *kind, const char *code, const char *message)
{
	bool is_lasting = *code != '\0' && strncmp(code, "40", 2) != 0 && strcmp(code, "55P03") != 0;

	if (is_lasting && !kind->is_faulty)
		hf_log(HF_LOG_ERROR, "no_claim", "%s: %s (SQLSTATE %s)", kind->label, message, code);
	kind->is_faulty = kind->is_faulty || is_lasting;
	kind->next_at = hf_clock() + (is_lasting ? FAULT_PAUSE : SOON);
}

/* The kind whose turn it is, of those that are due; NULL if none is. */
HfKind *
hf_kind_due(int64_t now)
{
	for (unsigned i = 0; i < kind_count; i++)
	{
		HfKind *kind = kinds[(turn + i) % kind_count];

		if (due_at(kind) > now || hf_kind_room(kind) == 0)
			continue;
		turn = (turn + i + 1) % kind_count;
		return kind;
	}
	return NULL;
}

/* Logs that somebody whom a kind needs is away: now and then, however often that happens. */
static void
say_away(HfKind *kind, const char *reason)
{
	int64_t now = hf_clock();

	if (kind->said_at > 0 && now - kind->said_at < SAY_INTERVAL)
		return;
	kind->said_at = now;
	kind->said_away = true;
	hf_log(HF_LOG_WARNING, "away", "%s: %s", kind->label, reason);
}

/* Notes what the end of a job says about whoever is needed for its kind. */
void
hf_kind_judge(HfKind *kind, HfJobEnd end, const char *reason)
{
	int64_t now = hf_clock();

	if (end == HF_JOB_AWAY)
	{
		/* Of those that fail together the first one counts. */
		if (kind->away_ms > 0 && now < kind->away_until)
			return;
		say_away(kind, reason);
		kind->away_ms = kind->away_ms == 0	? AWAY_LEAST
			: kind->away_ms * 2 < AWAY_MOST ? kind->away_ms * 2
											: AWAY_MOST;
		kind->away_until = now + kind->away_ms / 2 + random() % kind->away_ms;
	}
	else if (kind->away_ms > 0)
	{
		if (kind->said_away)
			hf_log(HF_LOG_INFO, "back", "%s goes on", kind->label);
		kind->said_away = false;
		kind->away_ms = 0;
		kind->next_at = now;
	}
}

/* When the first of the kinds that have room is to be looked for. */
int64_t
hf_kind_next(void)
{
	int64_t next = HF_NEVER;

	for (unsigned i = 0; i < kind_count; i++)
		if (hf_kind_room(kinds[i]) > 0 && due_at(kinds[i]) < next)
			next = due_at(kinds[i]);
	return next;
}

/* How many jobs of all kinds are claimed, and have not ended. */
unsigned
hf_kind_running(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < kind_count; i++)
		n += kinds[i]->running;
	return n;
}

/* Looks for jobs of every kind soon: there may be new ones. */
void
hf_kind_hurry(void)
{
	int64_t soon = hf_clock() + SOON;

	for (unsigned i = 0; i < kind_count; i++)
		if (kinds[i]->next_at > soon)
			kinds[i]->next_at = soon;
}
