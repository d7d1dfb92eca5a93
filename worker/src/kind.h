/*
 * kind.h
 *		The kinds of jobs, and whose turn it is to be looked for.
 */
#ifndef HF_KIND_H
#define HF_KIND_H

#include "job.h"

extern HfKind *hf_kind_due(int64_t now);
extern int64_t hf_kind_next(void);
extern unsigned hf_kind_held(void);
extern void hf_kind_hurry(void);

#endif
