/*
 * histogram.h
 *		How long things took: counts over logarithmic buckets, which are at most 1.6 % wide.
 */
#ifndef HF_CROWD_HISTOGRAM_H
#define HF_CROWD_HISTOGRAM_H

#include <stdint.h>

#define HF_HISTOGRAM_BITS 6 /* of a value that tell its bucket, behind the highest */
#define HF_HISTOGRAM_SIZE ((64 - HF_HISTOGRAM_BITS + 1) << HF_HISTOGRAM_BITS)

typedef struct HfHistogram
{
	uint64_t count;
	uint64_t sum;
	uint64_t most;
	uint64_t of[HF_HISTOGRAM_SIZE];
} HfHistogram;

extern void hf_histogram_add(HfHistogram *histogram, uint64_t value);

/* What that a share (0 to 1) of all is not above, at most 1.6 % too much; 0 if there is none. */
extern uint64_t hf_histogram_at(const HfHistogram *histogram, double share);

extern void hf_histogram_clear(HfHistogram *histogram);

#endif
