/*
 * job.h
 *		Jobs of the queue in the database: claimed, done by the kind they are of, recorded.
 */
#ifndef HF_JOB_H
#define HF_JOB_H

#include "pace.h"
#include "part.h"

#include <jansson.h>

typedef struct HfKind HfKind;

typedef enum HfJobEnd
{
	HF_JOB_DONE,
	HF_JOB_FAILED, /* to be tried again after the back-off of its kind */
	HF_JOB_DEAD,   /* trying again would not help */
	HF_JOB_AWAY	   /* not tried: whoever is needed is away; does not count as an attempt */
} HfJobEnd;

typedef struct HfJob
{
	struct HfJob *next, *previous;
	HfKind *kind;
	char id[40];
	char lease[40];
	int attempt;	  /* 1 for the first */
	json_t *payload;  /* as it was enqueued */
	json_t *details;  /* what HfKind.details says about it; NULL if nothing */
	int64_t began_at; /* hf_clock() */
	int64_t until;	  /* when its time limit is over */
	int64_t beat_at;  /* when its lease is to be extended */
	bool is_asked;	  /* by the statement about it that is under way */
	void *work;		  /* of the kind */

	/* How it has ended. */
	HfJobEnd end;
	char *reason;
	json_t *result;
	unsigned tries; /* to record it */
} HfJob;

/*
 * Kinds of jobs that are done in the same way.  start() begins a job, and may end it at once; every
 * job that was begun ends with exactly one hf_job_end(), unless cancel() is called, which gives up
 * all that start() has begun.
 *
 * details and record name functions of the database:
 *
 *		details(lease uuid, ids uuid[]) RETURNS TABLE (id uuid, details json)
 *			What is to be known about jobs, of those alone that are claimed with this lease.  One
 *			whose details have a member "skip" is finished without being begun.
 *		record(lease uuid, ids uuid[], results json[])
 *			What has come of jobs that are done, as far as they are still claimed with this lease,
 *			and finishes them.  Without a result, jobs are just finished.
 */
struct HfKind
{
	const char *label;	 /* for the log */
	const char *kinds;	 /* of shop.job_kind, as an array of PostgreSQL: "{mail}" */
	const char *details; /* NULL: none */
	const char *record;	 /* NULL: none */
	bool makes_jobs;	 /* what is recorded makes jobs of other kinds */
	unsigned most;		 /* jobs at a time */
	unsigned timeout;	 /* time limit of a job, milliseconds */
	void (*start)(HfJob *job);
	void (*cancel)(HfJob *job);

	HfPace pace; /* of kind.c */

	/* Since the process began; for monitors. */
	unsigned long finished, failed;
};

extern const HfPart hf_job_part;

extern void hf_job_add(HfKind *kind);
extern HfKind *hf_job_kind(unsigned i);
extern const char *hf_job_worker(void);
extern void hf_job_end(HfJob *job, HfJobEnd end, const char *reason, json_t *result);

#endif
