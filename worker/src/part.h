/*
 * part.h
 *		The parts of a worker process: what its loop gives turns to.
 *
 * Functions that are NULL have nothing to do.
 */
#ifndef HF_PART_H
#define HF_PART_H

#include <stdbool.h>
#include <stdint.h>

struct pollfd;

typedef struct HfPart
{
	/* Begins, in the worker process; false if there is no memory. */
	bool (*begin)(void);
	/* The connection is ready: sends one statement, or has none and returns false. */
	bool (*send)(int64_t now);
	/* Does what can be done without waiting. */
	void (*step)(int64_t now);
	/* When send(), if the database is ready, or step() has something to do again. */
	int64_t (*deadline)(bool database_is_ready);
	/* Names descriptors to wait for, and returns how many; step() finds out which are ready. */
	int (*watch)(struct pollfd *sockets, int room);
	/* How much is begun and not recorded. */
	unsigned (*held)(void);
	/* Begins nothing any more. */
	void (*stop)(void);
	/* Gives up what is under way, so that it can be recorded as not done. */
	void (*cut)(void);
	void (*end)(void);
} HfPart;

#endif
