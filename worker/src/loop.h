/*
 * loop.h
 *		The life of a worker process.
 */
#ifndef HF_LOOP_H
#define HF_LOOP_H

extern int hf_loop_run(unsigned worker);

#endif
