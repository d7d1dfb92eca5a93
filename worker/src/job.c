/*
 * job.c
 *		Jobs of the queue in the database: claimed, done by the kind they are of, recorded.
 *
 * The life of a job: it is claimed, with others of its kind; what the database knows about it is
 * fetched; its kind begins it; while it goes on, its lease is extended; it ends, and that is
 * recorded (ending.c).  pace.c says when to look for jobs of a kind.
 *
 * Invariants: a claim is committed before its jobs are begun, so no transaction is open meanwhile,
 * and a process that dies loses nothing but time: its leases run out.  No more jobs of a kind are
 * held than may be done at once.  A job whose lease is lost is given up, one whose time limit is
 * over has failed.  What could not be tried, because somebody who is needed is away, does not count
 * as an attempt.
 */
#include "job.h"

#include "array.h"
#include "clock.h"
#include "config.h"
#include "database.h"
#include "ending.h"
#include "kind.h"
#include "log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAULT_PAUSE 2000 /* milliseconds before a heartbeat that has failed is repeated */

static bool ended_last;
static bool stopping;
static bool one_by_one; /* details */
static char worker[96];
static const char was_stopped[] = "the worker was stopped";

static HfJob *fresh; /* claimed, and not begun */
static HfJob *held;	 /* begun, and not ended */

/* The statement that is under way: it is about the jobs of this kind, or with this lease. */
static HfKind *asked_kind;
static char asked_lease[40];
static int64_t asked_at;

/* The name of this process in the database. */
const char *
hf_job_worker(void)
{
	return worker;
}

static void
link_job(HfJob **list, HfJob *job)
{
	job->previous = NULL;
	job->next = *list;
	if (*list != NULL)
		(*list)->previous = job;
	*list = job;
}

static void
unlink_job(HfJob **list, HfJob *job)
{
	if (job->previous != NULL)
		job->previous->next = job->next;
	else
		*list = job->next;
	if (job->next != NULL)
		job->next->previous = job->previous;
}

/* Ends a job that is in no list. */
static void
end_job(HfJob *job, HfJobEnd end, const char *reason, json_t *result)
{
	HfKind *kind = job->kind;

	job->end = end;
	job->reason = end == HF_JOB_DONE ? NULL : strdup(reason != NULL ? reason : "failed");
	job->result = result;
	kind->pace.held--;
	if (end == HF_JOB_DONE)
		kind->finished++;
	else if (end != HF_JOB_AWAY)
		kind->failed++;
	hf_ending_add(job);
}

/*
 * Ends a job that was begun.  The reason, of one that is not done, is for people; the result, of
 * one that is, for the kind's record function, and is ours from now on.
 */
void
hf_job_end(HfJob *job, HfJobEnd end, const char *reason, json_t *result)
{
	unlink_job(&held, job);
	if (end != HF_JOB_AWAY)
		hf_pace_back(&job->kind->pace);
	else if (!stopping)
		hf_pace_away(&job->kind->pace, reason);
	end_job(job, end, reason, result);
}

static void
begin_job(HfJob *job)
{
	job->began_at = hf_clock();
	job->until = job->began_at + job->kind->timeout;
	link_job(&held, job);
	job->kind->start(job);
}

static HfJob *
read_job(const HfRows *rows, int row)
{
	HfJob *job = calloc(1, sizeof(HfJob));

	if (job == NULL)
		return NULL;
	job->kind = asked_kind;
	job->beat_at = asked_at + hf_config.lease / 3;
	job->attempt = (int) strtol(hf_rows_value(rows, row, 3), NULL, 10);
	snprintf(job->id, sizeof(job->id), "%s", hf_rows_value(rows, row, 0));
	snprintf(job->lease, sizeof(job->lease), "%s", hf_rows_value(rows, row, 1));
	job->payload = json_loads(hf_rows_value(rows, row, 2), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	return job;
}

/* Begins the jobs that were claimed. One that there is no memory for waits for its lease. */
static void
claimed(void *context, const HfRows *rows, const char *code, const char *message)
{
	HfKind *kind = asked_kind;
	int n = rows == NULL ? 0 : hf_rows_count(rows);

	(void) context;
	if (rows == NULL)
	{
		hf_pace_failed(&kind->pace, code, message);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		HfJob *job = read_job(rows, i);

		if (job == NULL)
			continue;
		kind->pace.held++;
		if (stopping)
			end_job(job, HF_JOB_AWAY, was_stopped, NULL);
		else if (kind->details != NULL)
			link_job(&fresh, job);
		else
			begin_job(job);
	}
	hf_pace_found(&kind->pace, (unsigned) n);
}

/* Looks whether there are jobs of a kind. The connection is ready. */
static void
claim(HfKind *kind)
{
	char limit[16], lease[32];
	const char *values[] = {worker, kind->kinds, limit, lease};

	kind->pace.wanted = hf_pace_room(&kind->pace);
	asked_kind = kind;
	asked_at = hf_clock();
	snprintf(limit, sizeof(limit), "%u", kind->pace.wanted);
	snprintf(lease, sizeof(lease), "%u milliseconds", hf_config.lease);
	hf_database_send("SELECT c.id, c.lease, c.payload, c.attempt"
					 " FROM shop.claim_jobs($1, $2, $3, $4) AS c",
					 4, values, claimed, NULL);
}

/* The job of that id in a list, of those with the lease that was asked for. */
static HfJob *
find_job(HfJob *list, const char *id)
{
	for (HfJob *job = list; job != NULL; job = job->next)
		if (strcmp(job->id, id) == 0 && strcmp(job->lease, asked_lease) == 0)
			return job;
	return NULL;
}

/* Begins a fresh job that has its details, unless they say that there is nothing to do. */
static void
take_details(HfJob *job, const char *text)
{
	unlink_job(&fresh, job);
	job->details = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (json_object_get(job->details, "skip") != NULL)
		end_job(job, HF_JOB_DONE, NULL, NULL);
	else
		begin_job(job);
}

/* A job that is somebody else's by now. */
static void
drop_fresh(HfJob *job)
{
	unlink_job(&fresh, job);
	job->kind->pace.held--;
	hf_ending_forget(job);
}

static bool
is_fresh(const HfJob *job)
{
	for (const HfJob *other = fresh; other != NULL; other = other->next)
		if (other == job)
			return true;
	return false;
}

static void
detailed(void *context, const HfRows *rows, const char *code, const char *message)
{
	HfJob *only = context, *next;
	int n = rows == NULL ? 0 : hf_rows_count(rows);

	if (rows == NULL && *code == '\0')
		return; /* the connection was lost: again */
	if (rows == NULL && only == NULL)
	{
		one_by_one = true;
		return;
	}
	if (rows == NULL && !is_fresh(only))
		return; /* given back meanwhile */
	if (rows == NULL)
	{
		unlink_job(&fresh, only);
		hf_log(HF_LOG_ERROR, "no_details", "%s %s: %s (SQLSTATE %s)", only->kind->label, only->id,
			   message, code);
		end_job(only, HF_JOB_FAILED, message, NULL);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		HfJob *job = find_job(fresh, hf_rows_value(rows, i, 0));

		if (job != NULL)
			take_details(job, hf_rows_value(rows, i, 1));
	}
	for (HfJob *job = fresh; job != NULL; job = next)
	{
		next = job->next;
		if (strcmp(job->lease, asked_lease) == 0 && job->is_asked)
			drop_fresh(job);
	}
	if (fresh == NULL)
		one_by_one = false;
}

/* Sends a statement about jobs with one lease: the ids are its second parameter. */
static bool
send_about(const char *sql, const char *lease, HfArray *ids, HfDatabaseDone done, HfJob *only)
{
	char *text = hf_array_close(ids), length[32];
	const char *values[] = {lease, text, length};

	if (text == NULL)
		return false;
	snprintf(asked_lease, sizeof(asked_lease), "%s", lease);
	snprintf(length, sizeof(length), "%u milliseconds", hf_config.lease);
	asked_at = hf_clock();
	hf_database_send(sql, strstr(sql, "$3") != NULL ? 3 : 2, values, done, only);
	free(text);
	return true;
}

/* Asks for the details of fresh jobs that were claimed together. */
static bool
ask_details(void)
{
	char sql[128];
	const HfJob *first = fresh;
	HfArray ids;

	assert(first != NULL);
	hf_array_open(&ids);
	for (HfJob *job = fresh; job != NULL; job = job->next)
	{
		job->is_asked = one_by_one ? job == first : strcmp(job->lease, first->lease) == 0;
		if (job->is_asked)
			hf_array_add(&ids, job->id);
	}
	snprintf(sql, sizeof(sql), "SELECT d.id, d.details FROM %s($1, $2) AS d", first->kind->details);
	return send_about(sql, first->lease, &ids, detailed, one_by_one ? fresh : NULL);
}

/* Gives up a job that was begun, and is not to go on. */
static void
give_up(HfJob *job)
{
	unlink_job(&held, job);
	job->kind->cancel(job);
}

/* The leases of the jobs that were named are extended; the others are not ours any more. */
static void
beaten(void *context, const HfRows *rows, const char *code, const char *message)
{
	int n = rows == NULL ? 0 : hf_rows_count(rows);
	HfJob *next;

	(void) context;
	if (rows == NULL)
	{
		if (*code != '\0')
			hf_log(HF_LOG_ERROR, "no_heartbeat", "%s (SQLSTATE %s)", message, code);
		for (HfJob *job = held; job != NULL; job = job->next)
			if (strcmp(job->lease, asked_lease) == 0)
				job->beat_at = hf_clock() + FAULT_PAUSE;
		return;
	}
	for (int i = 0; i < n; i++)
	{
		HfJob *job = find_job(held, hf_rows_value(rows, i, 0));

		if (job != NULL)
			job->beat_at = asked_at + hf_config.lease / 3;
	}
	for (HfJob *job = held; job != NULL; job = next)
	{
		next = job->next;
		if (strcmp(job->lease, asked_lease) != 0 || !job->is_asked || job->beat_at > asked_at)
			continue;
		hf_log(HF_LOG_INFO, "job_lost", "%s %s was cancelled, or given to another worker",
			   job->kind->label, job->id);
		give_up(job);
		job->kind->pace.held--;
		hf_ending_forget(job);
	}
}

/* The job whose lease is to be extended first; NULL if there is none. */
static const HfJob *
next_beat(void)
{
	const HfJob *first = NULL;

	for (const HfJob *job = held; job != NULL; job = job->next)
		if (first == NULL || job->beat_at < first->beat_at)
			first = job;
	return first;
}

/* Extends the leases of the jobs that were claimed with this one. */
static bool
beat(const HfJob *due)
{
	HfArray ids;

	hf_array_open(&ids);
	for (HfJob *job = held; job != NULL; job = job->next)
	{
		job->is_asked = strcmp(job->lease, due->lease) == 0;
		if (job->is_asked)
			hf_array_add(&ids, job->id);
	}
	return send_about("SELECT shop.heartbeat_jobs($1, $2, $3)", due->lease, &ids, beaten, NULL);
}

/* Sends what is due: leases first, then the jobs that wait for it; ends and claims take turns. */
static bool
send_next(int64_t now)
{
	const HfJob *due = next_beat();
	bool has_ends = hf_ending_is_waiting();
	HfKind *kind;

	if (due != NULL && due->beat_at <= now)
		return beat(due);
	if (fresh != NULL)
		return ask_details();
	kind = stopping || (has_ends && !ended_last) ? NULL : hf_kind_due(now);
	ended_last = kind == NULL;
	if (kind != NULL)
		claim(kind);
	else if (has_ends)
		return hf_ending_send();
	return kind != NULL;
}

/* Ends jobs that take too long. */
static void
step(int64_t now)
{
	HfJob *next;
	char reason[64];

	for (HfJob *job = held; job != NULL; job = next)
	{
		next = job->next;
		if (job->until > now)
			continue;
		snprintf(reason, sizeof(reason), "not done within %u ms", job->kind->timeout);
		give_up(job);
		end_job(job, HF_JOB_FAILED, reason, NULL);
	}
}

static int64_t
earlier(int64_t one, int64_t other)
{
	return one < other ? one : other;
}

/* When there is something to do again, as far as it is known by now. */
static int64_t
deadline(bool database_is_ready)
{
	int64_t next = HF_NEVER;

	if (database_is_ready && (hf_ending_is_waiting() || fresh != NULL))
		return 0;
	for (const HfJob *job = held; job != NULL; job = job->next)
		next = earlier(next, database_is_ready ? earlier(job->until, job->beat_at) : job->until);
	return database_is_ready && !stopping ? earlier(next, hf_kind_next()) : next;
}

static unsigned
count_held(void)
{
	return hf_kind_held() + hf_ending_count();
}

static void
stop(void)
{
	stopping = true;
}

/* Gives back what is not done: the attempt does not count. */
static void
cut(void)
{
	while (fresh != NULL)
	{
		HfJob *job = fresh;

		unlink_job(&fresh, job);
		end_job(job, HF_JOB_AWAY, was_stopped, NULL);
	}
	while (held != NULL)
	{
		HfJob *job = held;

		give_up(job);
		end_job(job, HF_JOB_AWAY, was_stopped, NULL);
	}
}

static bool
begin(void)
{
	char host[64] = "";

	gethostname(host, sizeof(host) - 1);
	snprintf(worker, sizeof(worker), "%s:%ld", host, (long) getpid());
	return true;
}

const HfPart hf_job_part = {.begin = begin,
							.send = send_next,
							.step = step,
							.deadline = deadline,
							.held = count_held,
							.stop = stop,
							.cut = cut};
