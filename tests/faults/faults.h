/*
 * faults.h
 *		What the parts of the library share.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

#define EXPORT __attribute__((visibility("default")))

/* What can fail; tests/crash/cache_faults.pl knows the numbers. */
typedef enum Fault
{
	FAULT_NONE,
	FAULT_CALL,	   /* a call to hiredis */
	FAULT_ANSWER,  /* Redis answers an error */
	FAULT_HIREDIS, /* memory that hiredis asks for */
	FAULT_MALLOC,  /* memory that anybody else asks the system for */
	FAULT_PALLOC   /* memory that the extension asks the server for */
} Fault;

/* Such a thing is about to be done: is it the one that is to fail? */
bool fault_hits(Fault kind);

/* Are such things being counted, in this process? */
bool fault_is_armed(Fault kind);

/* Is hiredis at work? */
extern bool fault_in_hiredis;

/* Looks whether this is the server, once; then steps before its allocator as soon as it is there. */
void palloc_look(void);
void palloc_begin(void);

#endif
