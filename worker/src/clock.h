/*
 * clock.h
 *		The time that waits are measured with: milliseconds that also pass while the machine sleeps.
 */
#ifndef HF_CLOCK_H
#define HF_CLOCK_H

#include <stdint.h>
#include <time.h>

#define HF_NEVER INT64_MAX

static inline int64_t
hf_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
