/*
 * ending.h
 *		Tells the database how jobs have ended.
 */
#ifndef HF_ENDING_H
#define HF_ENDING_H

#include "job.h"

extern void hf_ending_add(HfJob *job);
extern bool hf_ending_is_waiting(void);
extern unsigned hf_ending_count(void);
extern bool hf_ending_send(void);
extern void hf_ending_forget(HfJob *job);

#endif
