/*
 * image.c
 *		Pictures: jobs of kinds image_uploaded and image_sweep.
 *
 * Nothing of a picture is looked at here: that is for processes of the image program, which may
 * crash (image_process.c).  What is wrong with a picture is recorded, for its merchant to read, and
 * so is that it has been too much for the program at each attempt; other faults are ours, and a job
 * that has met one is tried again.
 */
#include "image.h"

#include "config.h"
#include "image_process.h"
#include "job.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SWEEP_TIMEOUT 600000 /* milliseconds, of a step */
#define LATER		  5000	 /* after our own time limit comes that of job.c */

static void start(HfJob *job);
static void cancel(HfJob *job);

static HfKind uploaded = {.label = "image",
						  .kinds = "{image_uploaded}",
						  .details = "shop.image_details",
						  .record = "shop.finish_images",
						  .start = start,
						  .cancel = cancel};

static HfKind sweep = {.label = "image_sweep",
					   .kinds = "{image_sweep}",
					   .details = "shop.sweep_details",
					   .record = "shop.finish_sweeps",
					   .makes_jobs = true,
					   .most = 1,
					   .timeout = SWEEP_TIMEOUT + LATER,
					   .start = start,
					   .cancel = cancel};

static bool is_on;

/* Has a process do the job: its details are the request. */
static void
start(HfJob *job)
{
	unsigned timeout = job->kind == &sweep ? SWEEP_TIMEOUT : hf_config.image_timeout;

	if (!hf_image_process_ask(job->details, timeout, job))
		hf_job_end(job, HF_JOB_AWAY, "cannot start the image program", NULL);
}

static void
cancel(HfJob *job)
{
	hf_image_process_drop(job);
}

/* Ends a job with what has become of its picture: a member of the result. */
static void
decide(HfJob *job, const char *name, json_t *value)
{
	json_t *result =
		json_pack("{s:O, s:o}", "original", json_object_get(job->details, "original"), name, value);

	if (result != NULL)
		hf_job_end(job, HF_JOB_DONE, NULL, result);
	else
		hf_job_end(job, HF_JOB_FAILED, "out of memory", NULL);
}

/* An attempt has failed. After the last one the picture is refused, for this reason. */
static void
fail(HfJob *job, const char *reason, const char *refusal)
{
	if (job->kind == &uploaded)
		hf_log(HF_LOG_WARNING, "image_failed", "%s, attempt %d: %s", job->id, job->attempt, reason);
	if (job->kind == &uploaded && json_is_true(json_object_get(job->details, "last")))
		decide(job, "reason", json_string(refusal));
	else
		hf_job_end(job, HF_JOB_FAILED, reason, NULL);
}

/* What a process has answered. */
static void
answered(void *context, HfImageEnd end, const json_t *answer, const char *reason)
{
	HfJob *job = context;
	json_t *sizes = json_object_get(answer, "sizes"), *refused = json_object_get(answer, "refused");
	const char *failed = json_string_value(json_object_get(answer, "failed"));
	const char *away = json_string_value(json_object_get(answer, "away"));

	if (end == HF_IMAGE_ABSENT || away != NULL)
		hf_job_end(job, HF_JOB_AWAY, away != NULL ? away : reason, NULL);
	else if (end == HF_IMAGE_CRASHED)
		fail(job, reason, "the picture takes too much time or memory to be worked on");
	else if (job->kind == &sweep && failed == NULL)
		hf_job_end(job, HF_JOB_DONE, NULL, json_deep_copy(answer));
	else if (sizes != NULL)
		decide(job, "sizes", json_incref(sizes));
	else if (refused != NULL)
		decide(job, "reason", json_incref(refused));
	else
		fail(job, failed != NULL ? failed : "the image program has answered nonsense",
			 "the picture could not be worked on; please send it again");
}

/* Does pictures, if there are directories for them; false with a message if there is one alone. */
bool
hf_image_load(char *error, size_t room)
{
	const char *source = hf_config.image_source, *directory = hf_config.image_directory;
	const char *wrong = NULL;

	if (*source == '\0' || *directory == '\0')
		return true;
	if (access(source, R_OK | X_OK) != 0)
		wrong = source;
	else if (access(directory, R_OK | W_OK | X_OK) != 0)
		wrong = directory;
	if (wrong != NULL)
	{
		snprintf(error, room, "%s: %s: %s", wrong == source ? "image_source" : "image_directory",
				 wrong, strerror(errno));
		return false;
	}
	uploaded.most = hf_config.image_jobs;
	uploaded.timeout = hf_config.image_timeout + LATER;
	if (!hf_image_process_load(answered, error, room))
		return false;
	hf_job_add(&uploaded);
	hf_job_add(&sweep);
	is_on = true;
	return true;
}

static void
step(int64_t now)
{
	if (is_on)
		hf_image_process_step(now);
}

static int64_t
deadline(bool database_is_ready)
{
	(void) database_is_ready;
	return hf_image_process_deadline();
}

const HfPart hf_image_part = {.step = step,
							  .deadline = deadline,
							  .watch = hf_image_process_watch,
							  .end = hf_image_process_end};
