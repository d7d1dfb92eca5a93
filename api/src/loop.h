/*
 * loop.h
 *		Kore's event loop, as the other modules use it.
 *
 * A pass of the loop is: wait for events, run timers, run handlers.  What is to be sent to
 * PostgreSQL and Redis is collected during a pass and flushed once, in the next one.
 */
#ifndef HF_LOOP_H
#define HF_LOOP_H

#include <stdint.h>

/* In a worker, first of all: Kore has no timers before that. */
extern void hf_loop_start(void);

/* What is asked for runs once, between the events and the handlers of the next pass. */
extern void hf_loop_at_pass(void (*callback)(void));
extern void hf_loop_ask(void);

/* Timers. Each costs memory and a walk through all others: for few, not for each request. */
extern void hf_loop_every(unsigned milliseconds, void (*callback)(void));
extern void hf_loop_after(unsigned milliseconds, void (*callback)(void *), void *arg);

/* The time since some moment in the past; it never goes back. */
extern uint64_t hf_loop_now(void); /* milliseconds */
extern uint64_t hf_loop_microseconds(void);

#endif
