/*
 * live_test.h
 *		What the tests of live sales have: a clock, a channel, and a database with one sale.
 *
 * Statements wait in a queue.  One that has run has an answer, which is what the sale was at that
 * moment; it is delivered when the test says so.
 */
#ifndef LIVE_TEST_H
#define LIVE_TEST_H

#include "live.h"
#include "unit.h"

#define SALE   7
#define BUYERS 64
#define FIRST  1000000
#define CROWD  70000

/* The sale, as the database has it. Times are those of the clock. */
typedef struct World
{
	bool is_there;
	uint64_t starts, ends, closed; /* 0: not closed */
	int64_t left, quantity, version;
	uint64_t due[BUYERS];	 /* when what an account holds falls due; 0: nothing */
	uint64_t bought[BUYERS]; /* when; 0: never */
	bool many;				 /* buyers, too many to be told */
	bool crowd;				 /* CROWD buyers besides, with the numbers after FIRST */
} World;

extern World world;
extern uint64_t at; /* the clock, in milliseconds */
extern bool alive;	/* the channel */
extern bool down;	/* the database takes no statement */
extern unsigned live_runs, buyers_runs, notes;
extern uint64_t noted[BUYERS]; /* refusals by stock */

extern const char *state_now(void);
extern void announce(const char *key);
extern void lose_channel(void);
extern void find_channel(void);
extern void run(void);					/* all statements that wait */
extern void deliver(void);				/* all answers of those that ran */
extern bool run_any(unsigned from);		/* one of them; the first one from a place on */
extern bool deliver_any(unsigned from); /* likewise */
extern void break_off(void);			/* all statements are lost */
extern void refuse_all(void);			/* all statements are refused */
extern unsigned under_way(void);
extern void answer_all(void); /* runs and delivers, until nothing is under way */
extern void pass(uint64_t milliseconds, bool answered);

extern void live_random(void);

#endif
