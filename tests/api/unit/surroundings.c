/*
 * surroundings.c
 *		What the modules find around them, in the tests: a loop of one event, and counters.
 */
#include <poll.h>
#include <string.h>
#include <time.h>

#include "kore.h"
#include "log.h"
#include "loop.h"
#include "unit.h"

bool slow;
unsigned long counted[HF_METRICS];
int logged;
HfConfig hf_config;
u_int8_t worker_count = KORE_WORKER_BASE + 2;

static int descriptor = -1;
static struct kore_event *event;

void
begin(int argc, char **argv)
{
	slow = argc > 1 && strcmp(argv[1], "--slow") == 0;
	hf_config = (HfConfig){
		.cache_prefix = "t:",
		.token_issuer = "https://shop.test",
		.token_audience = "holdfast",
		.token_ttl = 900 * 1000,
		.hash_threads = 2,
		.hash_queue = 4,
		.hash_memory = 19456 * 1024,
		.hash_passes = 2,
	};
}

int
end(void)
{
	return claims_broken() > 0;
}

/* Kore's: takes the one event that the test's loop has. */
void
kore_platform_event_level_read(int fd, void *self)
{
	descriptor = fd;
	event = self;
}

/* Waits for the event and handles it; false if it did not come. */
bool
turn(int milliseconds)
{
	struct pollfd ready = {descriptor, POLLIN, 0};

	if (poll(&ready, 1, milliseconds) != 1)
		return false;
	event->flags |= KORE_EVENT_READ;
	event->handle(event, 0);
	return true;
}

void
hf_log(HfLogLevel level, const char *name, const char *format, ...)
{
	(void) level;
	(void) name;
	(void) format;
	logged++;
}

void
hf_metrics_add(HfMetric counter, unsigned long n)
{
	counted[counter] += n;
}

uint64_t
hf_loop_microseconds(void)
{
	return (uint64_t) now();
}

/* Seconds of CPU that this process has used, threads and all. */
double
time_of_process(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}
