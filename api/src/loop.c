/*
 * loop.c
 *		Kore's event loop, as the other modules use it.
 *
 * Kore has no hook at the end of a pass.  A timer that is due at once stands in for it: the next
 * wait for events does not wait, and the timer runs after those events and before the handlers.
 *
 * Invariants: Kore runs timers until none is due, so one that is added meanwhile and due at once
 * runs in the same pass, and one that adds itself again would never let go of the loop.  Whoever
 * asks for a pass while one runs therefore gets it a millisecond later, and no timer of
 * hf_loop_after() or hf_loop_every() is due before a millisecond has passed.  No timer is ever
 * removed: Kore frees one that runs once after its callback.  Without any timer Kore waits for
 * events without end and none of its own time-outs fires; the heartbeat prevents that.
 */
#include "loop.h"

#include "kore.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define HEARTBEAT	  500 /* milliseconds: as often as Kore looks at its time-outs */
#define CALLBACKS_MAX 32

/* A timer that runs once. */
typedef struct Later
{
	void (*callback)(void *);
	void *arg;
} Later;

static void (*at_pass[CALLBACKS_MAX])(void);
static size_t at_passes;
static void (*periodic[CALLBACKS_MAX])(void);
static size_t periodics;
static bool asked;	 /* the next pass has a timer already */
static bool passing; /* the callbacks of a pass are running */

static void
beat(void)
{
}

/* Begins with the loop of this worker. */
void
hf_loop_start(void)
{
	hf_loop_every(HEARTBEAT, beat);
}

/* Makes a callback run in each pass that is asked for; for good. */
void
hf_loop_at_pass(void (*callback)(void))
{
	assert(at_passes < CALLBACKS_MAX);
	at_pass[at_passes++] = callback;
}

static void
run_pass(void *arg, u_int64_t now)
{
	(void) arg;
	(void) now;
	asked = false;
	passing = true;
	for (size_t i = 0; i < at_passes; i++)
		at_pass[i]();
	passing = false;
}

/* Asks for the callbacks of hf_loop_at_pass() to run, once, however often it is called. */
void
hf_loop_ask(void)
{
	if (asked)
		return;
	asked = true;
	kore_timer_add(run_pass, passing ? 1 : 0, NULL, KORE_TIMER_ONESHOT);
}

static void
run_periodic(void *arg, u_int64_t now)
{
	(void) now;
	(*(void (**)(void)) arg)();
}

/* Makes a callback run again and again, for good. */
void
hf_loop_every(unsigned milliseconds, void (*callback)(void))
{
	assert(periodics < CALLBACKS_MAX && milliseconds > 0);
	periodic[periodics] = callback;
	kore_timer_add(run_periodic, milliseconds, &periodic[periodics++], 0);
}

static void
run_later(void *arg, u_int64_t now)
{
	Later later = *(Later *) arg;

	(void) now;
	kore_free(arg);
	later.callback(later.arg);
}

/* Makes a callback run once.  It cannot be taken back: what arg points to must live until then. */
void
hf_loop_after(unsigned milliseconds, void (*callback)(void *), void *arg)
{
	Later *later = kore_malloc(sizeof(*later));

	*later = (Later){callback, arg};
	kore_timer_add(run_later, milliseconds > 0 ? milliseconds : 1, later, KORE_TIMER_ONESHOT);
}

uint64_t
hf_loop_microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

uint64_t
hf_loop_now(void)
{
	return hf_loop_microseconds() / 1000;
}
