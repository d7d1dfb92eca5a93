/*
 * histogram.c
 *		How long things took.
 *
 * A value below 2^BITS has a bucket of its own; above, each power of two is cut into 2^BITS
 * buckets of the same width.  So a bucket is known by the highest BITS + 1 bits of its values.
 */
#include "histogram.h"

#include <string.h>

#define BITS HF_HISTOGRAM_BITS

static unsigned
bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < 1 << BITS)
		return (unsigned) value;
	shift = 63 - BITS - (unsigned) __builtin_clzll(value);
	return ((shift + 1) << BITS) + (unsigned) ((value >> shift) - (1 << BITS));
}

/* The highest value of a bucket. */
static uint64_t
highest_in(unsigned bucket)
{
	unsigned shift;

	if (bucket < 1 << BITS)
		return bucket;
	shift = (bucket >> BITS) - 1;
	return (((uint64_t) (bucket & ((1 << BITS) - 1)) + (1 << BITS) + 1) << shift) - 1;
}

void
hf_histogram_add(HfHistogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->most)
		histogram->most = value;
	histogram->of[bucket_of(value)]++;
}

uint64_t
hf_histogram_at(const HfHistogram *histogram, double share)
{
	uint64_t seen = 0, wanted = (uint64_t) ((double) histogram->count * share);

	if ((double) wanted < (double) histogram->count * share)
		wanted++;
	for (unsigned i = 0; i < HF_HISTOGRAM_SIZE; i++)
	{
		seen += histogram->of[i];
		if (seen >= wanted && seen > 0)
			return highest_in(i) < histogram->most ? highest_in(i) : histogram->most;
	}
	return 0;
}

void
hf_histogram_clear(HfHistogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}
