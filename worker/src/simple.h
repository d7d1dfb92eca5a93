/*
 * simple.h
 *		Kinds of jobs that the database does itself, or nobody.
 */
#ifndef HF_SIMPLE_H
#define HF_SIMPLE_H

extern void hf_simple_load(unsigned batch);

#endif
