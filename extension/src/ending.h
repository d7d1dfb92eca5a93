/*
 * ending.h
 *		Acting on holds that exist: what the SQL functions and payments share.
 */
#ifndef HF_ENDING_H
#define HF_ENDING_H

#include "hold.h"

#define HF_WHOLE (-1) /* a line's quantity: all that is held */

/* A hold to act upon. */
typedef struct HfLine
{
	HfHold hold;
	int64 quantity; /* or HF_WHOLE */
	int64 to_lane;	/* units that go back to stock */
} HfLine;

typedef struct HfEnding
{
	HfStore *store;
	pg_uuid_t owner;
	HfLine *line; /* by SKU */
	int n;
	int64 ttl; /* microseconds, for new deadlines */
} HfEnding;

/* What a function makes of a live hold: changes it in place; returns the units it acted on. */
typedef int64 (*HfAct)(HfEnding *e, HfLine *line, TimestampTz now);

extern void hf_ending_all_lines(HfEnding *e, bool all_alive);
extern int64 hf_ending_act(HfEnding *e, HfAct act);
extern int64 hf_ending_sell(HfEnding *e);
extern int64 hf_act_pin(HfEnding *e, HfLine *line, TimestampTz now);
extern int64 hf_act_unpin(HfEnding *e, HfLine *line, TimestampTz now);
extern void hf_line_end(HfLine *line, char state, TimestampTz now);
extern void hf_line_lock(HfEnding *e, HfLine *line);

#endif
