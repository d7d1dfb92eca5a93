/*
 * process.h
 *		The worker processes, and the parent that looks after them.
 */
#ifndef HF_PROCESS_H
#define HF_PROCESS_H

/* What a worker process does, numbered from 1; it returns the exit status. */
typedef int (*HfProcessMain)(unsigned worker);

extern int hf_process_run(unsigned workers, unsigned patience, HfProcessMain run);

#endif
