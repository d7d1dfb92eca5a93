/*
 * pace.c
 *		When to look for work of one sort, and for how much of it.
 *
 * Work is looked for over and over: at once while there is more than was taken, soon after there
 * was something, and rarely while there is nothing.  While somebody who is needed for it is away,
 * one piece at a time is tried, with growing pauses, so that the others keep their attempts.
 */
#include "pace.h"

#include "clock.h"
#include "config.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

#define SOON		 20 /* milliseconds until the next look while there is something */
#define AWAY_LEAST	 500
#define FAULT_PAUSE	 2000
#define SAY_INTERVAL 10000

/* How much may be claimed now. */
unsigned
hf_pace_room(const HfPace *pace)
{
	unsigned most = pace->most < hf_config.batch ? pace->most : hf_config.batch;
	unsigned left = pace->most - pace->held;

	if (pace->away_ms > 0)
		return pace->held == 0 ? 1 : 0;
	return left < most ? left : most;
}

/* When to look; never, if there is no room. */
int64_t
hf_pace_next(const HfPace *pace)
{
	if (hf_pace_room(pace) == 0)
		return HF_NEVER;
	return pace->away_ms > 0 && pace->away_until > pace->next_at ? pace->away_until : pace->next_at;
}

/* Plans the next look after one that has found so much. */
void
hf_pace_found(HfPace *pace, unsigned found)
{
	int64_t now = hf_clock();

	pace->is_faulty = false;
	if (found > 0 || pace->pause_ms == 0)
		pace->pause_ms = SOON;
	else
		pace->pause_ms = pace->pause_ms * 2 < hf_config.poll_interval ? pace->pause_ms * 2
																	  : hf_config.poll_interval;
	pace->next_at = found > 0 && found >= pace->wanted ? now : now + pace->pause_ms;
}

/* Plans the next look after one that has failed: what is not over by itself is logged, once. */
void
hf_pace_failed(HfPace *pace, const char *code, const char *message)
{
	bool is_lasting = *code != '\0' && strncmp(code, "40", 2) != 0 && strcmp(code, "55P03") != 0;

	if (is_lasting && !pace->is_faulty)
		hf_log(HF_LOG_ERROR, "no_claim", "%s: %s (SQLSTATE %s)", pace->label, message, code);
	pace->is_faulty = pace->is_faulty || is_lasting;
	pace->next_at = hf_clock() + (is_lasting ? FAULT_PAUSE : SOON);
}

/* Looks soon: there may be something new. */
void
hf_pace_hurry(HfPace *pace)
{
	int64_t soon = hf_clock() + SOON;

	if (pace->next_at > soon)
		pace->next_at = soon;
}

/* Logs that somebody is away: now and then, however often that happens. */
static void
say_away(HfPace *pace, int64_t now, const char *reason)
{
	if (pace->said_at > 0 && now - pace->said_at < SAY_INTERVAL)
		return;
	pace->said_at = now;
	pace->said_away = true;
	hf_log(HF_LOG_WARNING, pace->away, "%s: %s", pace->label, reason);
}

/* Somebody who is needed is away. Of those who find out together the first one counts. */
void
hf_pace_away(HfPace *pace, const char *reason)
{
	int64_t now = hf_clock();

	if (pace->away_ms > 0 && now < pace->away_until)
		return;
	say_away(pace, now, reason);
	pace->away_ms = pace->away_ms == 0		  ? AWAY_LEAST
		: pace->away_ms * 2 < pace->away_most ? pace->away_ms * 2
											  : pace->away_most;
	pace->away_until = now + pace->away_ms / 2 + random() % pace->away_ms;
}

/* Nobody is away, as far as was seen just now. */
void
hf_pace_back(HfPace *pace)
{
	if (pace->away_ms == 0)
		return;
	if (pace->said_away)
		hf_log(HF_LOG_INFO, pace->back, "%s goes on", pace->label);
	pace->said_away = false;
	pace->away_ms = 0;
	pace->next_at = hf_clock();
}
