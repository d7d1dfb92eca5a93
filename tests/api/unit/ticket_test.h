/*
 * ticket_test.h
 *		What the tests of tickets have: keys of their own, and a clock that can be set.
 */
#ifndef TICKET_TEST_H
#define TICKET_TEST_H

#include "ticket.h"
#include "unit.h"

#define FIRST_KEY  "new 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define SECOND_KEY "old 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n"

extern int64_t ahead; /* milliseconds, of the time that it is */

extern void load_keys(const char *lines);
extern HfTicketVerdict judge(const char *ticket, int64_t account, int64_t sale);

extern void test_draws(void);

#endif
