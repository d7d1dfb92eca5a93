/*
 * sweep.h
 *		Takes away files that nobody wants any more.
 */
#ifndef HF_SWEEP_H
#define HF_SWEEP_H

#include "work.h"

extern bool hf_sweep(HfWork *work, const char *beginning, const json_t *wanted);

#endif
