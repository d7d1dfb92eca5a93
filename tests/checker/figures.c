/*
 * figures.c
 *		Counts, faults, and how long old values were served.
 *
 * A commit belongs to a fault if one was there from its acknowledgement until nobody was served
 * anything older; all others are healthy.  Percentiles are of the commits that were watched from
 * the first moment on (the prober's), the greatest of all that anybody has seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

#define FAULTS_MAX 1000

typedef struct Fault
{
	char name[60];
	Usec begin;
	Usec end;
	Usec worst;
} Fault;

/* Samples of staleness. */
typedef struct Sample
{
	Usec *late;
	long n, room;
	Usec worst;
} Sample;

static atomic_long counts[COUNTS][2];
static Fault faults[FAULTS_MAX];
static int nfaults;
static atomic_bool in_fault;
static Sample samples[3]; /* without a fault, the same in two phases, around faults */

void
count(Count what, long n)
{
	counts[what][in_fault] += n;
}

long
counted_healthy(Count what)
{
	return counts[what][0];
}

long
counted(Count what)
{
	return counts[what][0] + counts[what][1];
}

/* Called by one thread only, as is the other. */
void
fault_begin(const char *name)
{
	Fault *fault;

	fault_end();
	if (nfaults == FAULTS_MAX)
		return;
	fault = &faults[nfaults++];
	snprintf(fault->name, sizeof(fault->name), "%s", name);
	fault->begin = now();
	fault->end = INT64_MAX;
	in_fault = true;
}

void
fault_end(void)
{
	if (in_fault)
		faults[nfaults - 1].end = now();
	in_fault = false;
}

/* The fault that there is, or NULL. */
const char *
fault_name(void)
{
	return in_fault ? faults[nfaults - 1].name : NULL;
}

static void
take_sample(Sample *sample, const Event *event)
{
	if (event->late > sample->worst)
		sample->worst = event->late;
	if (!event->probed)
		return;
	if (sample->n == sample->room)
	{
		sample->room = sample->room * 2 + 1024;
		sample->late = realloc(sample->late, sample->room * sizeof(Usec));
		if (sample->late == NULL)
			abort();
	}
	sample->late[sample->n++] = event->late;
}

static void
visit(const Event *event)
{
	Usec until = event->acked + event->late;
	bool faulty = false;

	for (int i = 0; i < nfaults; i++)
	{
		if (event->acked > faults[i].end || until < faults[i].begin)
			continue;
		faulty = true;
		if (event->late > faults[i].worst)
			faults[i].worst = event->late;
	}
	take_sample(&samples[faulty ? 2 : event->prepared], event);
}

static int
compare(const void *a, const void *b)
{
	Usec x = *(const Usec *) a, y = *(const Usec *) b;

	return (x > y) - (x < y);
}

static double
milliseconds(const Sample *sample, double part)
{
	return sample->n > 0 ? sample->late[(long) (part * (double) (sample->n - 1))] / 1e3 : 0;
}

/* Prints what is known; returns the 99th percentile. */
static double
print_staleness(const char *when, Sample *sample)
{
	long late = 0;
	double usual;

	qsort(sample->late, sample->n, sizeof(Usec), compare);
	for (long i = 0; i < sample->n; i++)
		late += sample->late[i] > 0;
	printf(
		"# staleness %s: p50 %.2f ms, p99 %.2f ms, max %.2f ms (of all: %.2f ms); of %ld commits, "
		"%ld of which somebody was late to see\n",
		when, milliseconds(sample, 0.5), milliseconds(sample, 0.99), milliseconds(sample, 1),
		sample->worst / 1e3, sample->n, late);
	usual = milliseconds(sample, 0.99);
	free(sample->late);
	return usual;
}

/*
 * To be called when nobody else is at work. Returns the 99th percentile of staleness without a
 * fault, in milliseconds.
 */
double
figures_print(void)
{
	double one, two;

	fault_end();
	journal_each(visit);
	one = print_staleness("without a fault", &samples[0]);
	two = print_staleness("without a fault, of two-phase commits", &samples[1]);
	(void) print_staleness("around faults", &samples[2]);
	for (int i = 0; i < nfaults; i++)
		printf("# staleness, %s: at most %.2f ms\n", faults[i].name, faults[i].worst / 1e3);
	return one > two ? one : two;
}
