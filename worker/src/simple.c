/*
 * simple.c
 *		Kinds of jobs that the database does itself, or nobody.
 *
 * Events are relayed: for what has happened in the shop, the database makes jobs of the mails and
 * webhooks that tell of it.  A noop is done when it is begun, to try the queue and to measure it.
 */
#include "simple.h"

#include "job.h"

#include <stddef.h>

static void
relay(HfJob *job)
{
	hf_job_end(job, HF_JOB_DONE, NULL, json_null());
}

static void
do_nothing(HfJob *job)
{
	hf_job_end(job, HF_JOB_DONE, NULL, NULL);
}

static HfKind kinds[] = {
	{.label = "relay",
	 .kinds = "{order_placed,order_shipped,order_cancelled,order_expiring,payment_received,"
			  "payment_refunded,password_reset,sale_ended,stock_low}",
	 .record = "shop.relay_jobs",
	 .makes_jobs = true,
	 .start = relay},
	{.label = "noop", .kinds = "{noop}", .start = do_nothing},
};

/* Does jobs of these kinds, so many at a time. */
void
hf_simple_load(unsigned batch)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		kinds[i].most = batch;
		hf_job_add(&kinds[i]);
	}
}
