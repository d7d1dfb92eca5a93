/*
 * metrics.c
 *		Figures of all workers, in memory that they share.
 *
 * The memory is made in the parent and inherited by the workers: a slot for each, and one for the
 * parent.  A worker that is started again takes its slot again, so that counters go on.
 *
 * Invariants: a slot is written by one thread of one process, its owner, so to add is to load and
 * to store; nobody waits, and nothing is lost.  Readers see each figure whole, because it is
 * atomic, but not all of them at one moment: what belongs together is derived from one figure.
 * Before hf_metrics_create() there is no slot, and nothing is counted.
 */
#include "metrics.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define POLL_FILES 256 /* descriptors that are looked at in one call */
#define POLL_GAP   16  /* calls in a row that find nothing: there is nothing more */

typedef _Atomic uint64_t Figure;

typedef struct Route
{
	Figure bucket[HF_METRICS_BUCKETS];
	Figure microseconds;
	Figure status[HF_METRICS_STATUSES];
} Route;

/* Slots begin at a multiple of a cache line, so that workers do not take lines from each other. */
typedef struct Slot
{
	_Alignas(64) Figure metric[HF_METRICS];
	Figure started; /* microseconds since 1970; 0: nobody has had this slot */
	Figure cpu;
	Figure memory;
	Figure files;
	Route route[];
} Slot;

const uint64_t hf_metrics_bound[HF_METRICS_BUCKETS - 1] = {100,		250,	 500,	  1000,
														   2500,	5000,	 10000,	  25000,
														   50000,	100000,	 250000,  500000,
														   1000000, 2500000, 5000000, 10000000};

static char *memory;
static size_t slot_size;
static unsigned slots;
static unsigned route_count; /* with the one that is for no route */
static Slot *ours;

static uint64_t
get(const Figure *figure)
{
	return atomic_load_explicit(figure, memory_order_relaxed);
}

static void
set(Figure *figure, uint64_t value)
{
	atomic_store_explicit(figure, value, memory_order_relaxed);
}

static void
add(Figure *figure, uint64_t n)
{
	set(figure, get(figure) + n);
}

static Slot *
slot(unsigned worker)
{
	return (Slot *) (void *) (memory + worker * slot_size);
}

/*
 * Makes the memory for workers numbered from 1 and routes numbered from 0, in the parent before the
 * workers are forked.  False if there is none.
 */
bool
hf_metrics_create(unsigned workers, unsigned routes)
{
	void *map;

	slots = workers + 1;
	route_count = routes + 1;
	slot_size = (sizeof(Slot) + route_count * sizeof(Route) + 63) / 64 * 64;
	map = mmap(NULL, slots * slot_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return false;
	memory = map;
	ours = slot(0);
	return true;
}

/* Takes the slot of a worker: counters go on where they were, gauges begin at 0. */
void
hf_metrics_begin(unsigned worker)
{
	struct timespec now;

	if (worker == 0 || worker >= slots)
		return;
	ours = slot(worker);
	for (int i = HF_METRIC_FIRST_GAUGE; i < HF_METRICS; i++)
		set(&ours->metric[i], 0);
	clock_gettime(CLOCK_REALTIME, &now);
	set(&ours->started, (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000);
	hf_metrics_process();
}

/* Adds to a counter. */
void
hf_metrics_add(HfMetric counter, unsigned long n)
{
	if (ours != NULL)
		add(&ours->metric[counter], n);
}

/* Sets this worker's part of a gauge. */
void
hf_metrics_set(HfMetric gauge, unsigned long value)
{
	if (ours != NULL)
		set(&ours->metric[gauge], value);
}

/* Counts a request that was answered. A status that HTTP does not have counts as the last one. */
void
hf_metrics_request(unsigned route, int status, unsigned long microseconds)
{
	Route *figures;
	int bucket = 0;

	if (ours == NULL)
		return;
	if (status < HF_METRICS_STATUS_MIN || status > HF_METRICS_STATUS_MAX)
		status = HF_METRICS_STATUS_MAX;
	figures = &ours->route[route < route_count ? route : route_count - 1];
	while (bucket < HF_METRICS_BUCKETS - 1 && microseconds > hf_metrics_bound[bucket])
		bucket++;
	add(&figures->status[status - HF_METRICS_STATUS_MIN], 1);
	add(&figures->bucket[bucket], 1);
	add(&figures->microseconds, microseconds);
}

/* Resident memory in bytes; 0 if nobody says so, as where there is no /proc. */
static uint64_t
resident_memory(void)
{
	char text[64] = "";
	char *end;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = '\0';
	close(fd);
	strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) * (uint64_t) sysconf(_SC_PAGESIZE);
}

/* Open files: a descriptor is open if it is not invalid to wait for it. */
static uint64_t
open_files(void)
{
	struct pollfd fds[POLL_FILES];
	uint64_t files = 0;

	for (int first = 0, gap = 0; gap < POLL_GAP; first += POLL_FILES)
	{
		gap++;
		for (int i = 0; i < POLL_FILES; i++)
			fds[i] = (struct pollfd){.fd = first + i};
		if (poll(fds, POLL_FILES, 0) < 0)
			break;
		for (int i = 0; i < POLL_FILES; i++)
			if (!(fds[i].revents & POLLNVAL))
			{
				files++;
				gap = 0;
			}
	}
	return files;
}

/* Notes what this worker's process is like; to be called every few seconds. */
void
hf_metrics_process(void)
{
	struct timespec cpu;

	if (ours == NULL)
		return;
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
		set(&ours->cpu, (uint64_t) cpu.tv_sec * 1000000000 + (uint64_t) cpu.tv_nsec);
	set(&ours->memory, resident_memory());
	set(&ours->files, open_files());
}

/* A counter or gauge, summed over all workers. */
uint64_t
hf_metrics_value(HfMetric metric)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < slots; i++)
		sum += get(&slot(i)->metric[metric]);
	return sum;
}

/* How many routes there are; the one of this number is for no route. */
unsigned
hf_metrics_routes(void)
{
	return route_count > 0 ? route_count - 1 : 0;
}

/* The figures of a route, summed over all workers. */
void
hf_metrics_route(unsigned route, HfRouteFigures *sum)
{
	*sum = (HfRouteFigures){0};
	for (unsigned i = 0; i < slots; i++)
	{
		const Route *figures = &slot(i)->route[route];

		for (int j = 0; j < HF_METRICS_BUCKETS; j++)
			sum->bucket[j] += get(&figures->bucket[j]);
		for (int j = 0; j < HF_METRICS_STATUSES; j++)
			sum->status[j] += get(&figures->status[j]);
		sum->microseconds += get(&figures->microseconds);
	}
}

/* How many workers there may be; they are numbered from 1. */
unsigned
hf_metrics_workers(void)
{
	return slots > 0 ? slots - 1 : 0;
}

/* What a worker's process is like; false if it has not begun. */
bool
hf_metrics_worker(unsigned worker, HfProcessFigures *figures)
{
	const Slot *its = slot(worker);

	figures->started = (double) get(&its->started) / 1e6;
	figures->cpu = get(&its->cpu);
	figures->memory = get(&its->memory);
	figures->files = get(&its->files);
	return figures->started > 0;
}
