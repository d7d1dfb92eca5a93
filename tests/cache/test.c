/*
 * test.c
 *		Claims, checks, the clock and random numbers.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "test.h"

#define SHOWN 10 /* failed checks of a claim that are printed */

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static long failed;
static int broken;

Usec
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (Usec) t.tv_sec * SECOND + t.tv_nsec / 1000;
}

/* A number below n, from somebody's own sequence (splitmix64). */
uint64_t
rnd(uint64_t *state, uint64_t n)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % n;
}

/* Part of the next claim. The first few that do not hold are printed. */
bool
check(bool holds, const char *format, ...)
{
	va_list args;

	if (holds)
		return true;
	pthread_mutex_lock(&output);
	if (failed++ < SHOWN)
	{
		printf("# ");
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
		printf("\n");
		fflush(stdout);
	}
	pthread_mutex_unlock(&output);
	return false;
}

/* Prints a line of TAP: the claim holds if all checks since the last one did. */
void
claim(const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&output);
	printf("%s - ", failed == 0 ? "ok" : "not ok");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	broken += failed > 0;
	failed = 0;
	pthread_mutex_unlock(&output);
}

int
claims_broken(void)
{
	return broken;
}
