/*
 * ending.c
 *		Tells the database how jobs have ended.
 *
 * Those that were claimed together, are of one kind and have ended alike go out as one statement.
 * If it fails, they go out one by one, so that one that cannot be recorded keeps nobody else's
 * back: a result that the database refuses makes its job a failed one, with the reason.
 *
 * Invariants: what was added is kept until it is recorded or forgotten, however often the
 * connection is lost.  To record something twice changes nothing, because a lease ends with its
 * job.
 */
#include "ending.h"

#include "array.h"
#include "database.h"
#include "kind.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 1000
#define TRIES_MAX 5 /* against deadlocks and the like, which are rare */

static HfJob *first, *last;
static unsigned count;
static unsigned sent; /* so many from the first on are under way */
static bool one_by_one;

/* Takes a job that has ended. */
void
hf_ending_add(HfJob *job)
{
	job->next = NULL;
	job->previous = last;
	if (last != NULL)
		last->next = job;
	else
		first = job;
	last = job;
	count++;
}

/* Is there anything to be sent? */
bool
hf_ending_is_waiting(void)
{
	return first != NULL && sent == 0;
}

/* How many are not recorded yet. */
unsigned
hf_ending_count(void)
{
	return count;
}

/* Frees a job that is nobody's any more. */
void
hf_ending_forget(HfJob *job)
{
	json_decref(job->payload);
	json_decref(job->details);
	json_decref(job->result);
	free(job->reason);
	free(job);
}

static HfJob *
take_first(void)
{
	HfJob *job = first;

	first = job->next;
	if (first == NULL)
		last = NULL;
	else
		first->previous = NULL;
	count--;
	return job;
}

/* Does its kind record how it was done? */
static bool
has_record(const HfJob *job)
{
	return job->end == HF_JOB_DONE && job->result != NULL && job->kind->record != NULL;
}

/* Do these two fit into one statement? */
static bool
are_alike(const HfJob *one, const HfJob *other)
{
	return one->end == other->end && one->kind == other->kind &&
		has_record(one) == has_record(other) && strcmp(one->lease, other->lease) == 0;
}

/* Is this worth another try at once? */
static bool
is_transient(const char *code)
{
	return strncmp(code, "40", 2) == 0 || strcmp(code, "55P03") == 0 || strcmp(code, "57014") == 0;
}

/* What was sent has failed: it is tried one by one, and then taken for failed. */
static void
fail(unsigned n, const char *code, const char *message)
{
	HfJob *job;

	if (*code == '\0')
		return; /* the connection was lost: all of it again */
	one_by_one = true;
	if (n > 1)
		return;
	job = take_first();
	if (is_transient(code) && ++job->tries < TRIES_MAX)
		hf_ending_add(job);
	else if (job->end == HF_JOB_DONE)
	{
		hf_log(HF_LOG_ERROR, "job_refused", "%s %s: %s (SQLSTATE %s)", job->kind->label, job->id,
			   message, code);
		job->end = HF_JOB_FAILED;
		job->tries = 0;
		free(job->reason);
		job->reason = strdup(message);
		hf_ending_add(job);
	}
	else
	{
		hf_log(HF_LOG_ERROR, "not_recorded", "%s %s: %s (SQLSTATE %s)", job->kind->label, job->id,
			   message, code);
		hf_ending_forget(job);
	}
}

static void
recorded(void *context, const HfRows *rows, const char *code, const char *message)
{
	unsigned n = sent;

	(void) context;
	sent = 0;
	if (rows != NULL && first->kind->makes_jobs)
		hf_kind_hurry();
	if (rows == NULL)
		fail(n, code, message);
	else
		for (; n > 0; n--)
			hf_ending_forget(take_first());
	if (first == NULL)
		one_by_one = false;
}

/* The ids of the first n, and their reasons or results; to be freed, NULL if there is no memory. */
static void
write_arrays(unsigned n, char **ids, char **words)
{
	HfArray id, word;
	const HfJob *job = first;

	hf_array_open(&id);
	hf_array_open(&word);
	for (; n > 0; n--, job = job->next)
	{
		char *text =
			has_record(job) ? json_dumps(job->result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

		hf_array_add(&id, job->id);
		hf_array_add(&word, text != NULL ? text : job->reason);
		free(text);
	}
	*ids = hf_array_close(&id);
	*words = hf_array_close(&word);
}

/* The statement that records how the first one has ended, and how many parameters it takes. */
static const char *
statement(char *room, size_t size, int *parameters)
{
	*parameters = 2;
	if (first->end == HF_JOB_AWAY)
		return "SELECT shop.release_jobs($1, $2)";
	if (first->end == HF_JOB_DONE && !has_record(first))
		return "SELECT shop.finish_jobs($1, $2)";
	*parameters = 3;
	if (first->end == HF_JOB_FAILED)
		return "SELECT shop.fail_jobs($1, $2, $3)";
	if (first->end == HF_JOB_DEAD)
		return "SELECT shop.fail_jobs($1, $2, $3, true)";
	snprintf(room, size, "SELECT %s($1, $2, $3)", first->kind->record);
	return room;
}

/* Sends what waits, as far as it fits into a statement. False if there is nothing, or no memory. */
bool
hf_ending_send(void)
{
	unsigned n = 0, most = one_by_one ? 1 : BATCH_MAX;
	char *ids, *words, room[96];
	const char *sql;
	int parameters;
	bool good;

	if (!hf_ending_is_waiting())
		return false;
	for (const HfJob *job = first; job != NULL && n < most && are_alike(first, job);
		 job = job->next)
		n++;
	write_arrays(n, &ids, &words);
	good = ids != NULL && words != NULL;
	if (good)
	{
		const char *values[] = {first->lease, ids, words};

		sql = statement(room, sizeof(room), &parameters);
		sent = n;
		hf_database_send(sql, parameters, values, recorded, NULL);
	}
	free(ids);
	free(words);
	return good;
}
