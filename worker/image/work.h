/*
 * work.h
 *		What has come of a request.
 */
#ifndef HF_WORK_H
#define HF_WORK_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

typedef enum HfWorkEnd
{
	HF_WORK_GOOD,
	HF_WORK_REFUSED, /* the picture cannot be used, and never will be */
	HF_WORK_FAILED,	 /* it may be another time */
	HF_WORK_AWAY	 /* whatever the picture: it cannot be stored */
} HfWorkEnd;

typedef struct HfWork
{
	json_t *answer; /* of one that is good */
	HfWorkEnd end;
	char reason[200]; /* of one that is not, for people: a sentence */
} HfWork;

/* What of all pictures is asked, by the settings of the worker. */
typedef struct HfLimits
{
	unsigned long long pixels;
	unsigned long long memory;
} HfLimits;

extern bool hf_work_end(HfWork *work, HfWorkEnd end, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
