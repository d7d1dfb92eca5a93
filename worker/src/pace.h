/*
 * pace.h
 *		When to look for work of one sort, and for how much of it.
 */
#ifndef HF_PACE_H
#define HF_PACE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct HfPace
{
	const char *label;	/* for the log */
	const char *away;	/* event of the log: whoever is needed is away */
	const char *back;	/* and is back */
	unsigned most;		/* at a time */
	unsigned held;		/* claimed, and not ended */
	unsigned wanted;	/* by the claim that is under way */
	int64_t away_most;	/* milliseconds, the longest pause while somebody is away */
	int64_t next_at;	/* when to look again */
	int64_t pause_ms;	/* 0: it has never been looked for */
	int64_t away_ms;	/* 0: nobody is away */
	int64_t away_until; /* when to try again */
	int64_t said_at;	/* when that somebody is away was logged */
	bool said_away;
	bool is_faulty; /* the database refuses to give us work */
} HfPace;

extern unsigned hf_pace_room(const HfPace *pace);
extern int64_t hf_pace_next(const HfPace *pace);
extern void hf_pace_found(HfPace *pace, unsigned found);
extern void hf_pace_failed(HfPace *pace, const char *code, const char *message);
extern void hf_pace_hurry(HfPace *pace);
extern void hf_pace_away(HfPace *pace, const char *reason);
extern void hf_pace_back(HfPace *pace);

#endif
