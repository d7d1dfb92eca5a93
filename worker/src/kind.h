/*
 * kind.h
 *		The kinds of jobs, and when to look for jobs of each.
 */
#ifndef HF_KIND_H
#define HF_KIND_H

#include "job.h"

extern unsigned hf_kind_room(const HfKind *kind);
extern HfKind *hf_kind_due(int64_t now);
extern int64_t hf_kind_next(void);
extern unsigned hf_kind_running(void);
extern void hf_kind_hurry(void);
extern void hf_kind_plan(HfKind *kind, unsigned found);
extern void hf_kind_plan_after_fault(HfKind *kind, const char *code, const char *message);
extern void hf_kind_judge(HfKind *kind, HfJobEnd end, const char *reason);

#endif
