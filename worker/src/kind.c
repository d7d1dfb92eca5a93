/*
 * kind.c
 *		The kinds of jobs, and whose turn it is to be looked for.
 */
#include "kind.h"

#include "clock.h"
#include "pace.h"

#include <stddef.h>

#define KINDS_MAX 8
#define AWAY_MOST 30000 /* milliseconds */

static HfKind *kinds[KINDS_MAX];
static unsigned kind_count;
static unsigned turn; /* whose it is */

/* Does jobs of these kinds. */
void
hf_job_add(HfKind *kind)
{
	kind->pace = (HfPace){.label = kind->label,
						  .away = "away",
						  .back = "back",
						  .most = kind->most,
						  .away_most = AWAY_MOST};
	kinds[kind_count++] = kind;
}

/* The kinds that were added, in order; NULL beyond the last. */
HfKind *
hf_job_kind(unsigned i)
{
	return i < kind_count ? kinds[i] : NULL;
}

/* The kind whose turn it is, of those that are due; NULL if none is. */
HfKind *
hf_kind_due(int64_t now)
{
	for (unsigned i = 0; i < kind_count; i++)
	{
		HfKind *kind = kinds[(turn + i) % kind_count];

		if (hf_pace_next(&kind->pace) > now)
			continue;
		turn = (turn + i + 1) % kind_count;
		return kind;
	}
	return NULL;
}

/* When the first of the kinds is to be looked for. */
int64_t
hf_kind_next(void)
{
	int64_t next = HF_NEVER;

	for (unsigned i = 0; i < kind_count; i++)
		if (hf_pace_next(&kinds[i]->pace) < next)
			next = hf_pace_next(&kinds[i]->pace);
	return next;
}

/* How many jobs of all kinds are claimed, and have not ended. */
unsigned
hf_kind_held(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < kind_count; i++)
		n += kinds[i]->pace.held;
	return n;
}

/* Looks for jobs of every kind soon: there may be new ones. */
void
hf_kind_hurry(void)
{
	for (unsigned i = 0; i < kind_count; i++)
		hf_pace_hurry(&kinds[i]->pace);
}
