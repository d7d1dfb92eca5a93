/*
 * pg_pipeline.c
 *		The statements of one connection: what is sent, and what comes back.
 *
 * The server answers in order.  What stands between two Syncs, a group, is one transaction: an
 * error skips the rest of its group, and the transaction is committed by the Sync.  An answer may
 * come before that, and the commit may still fail.
 *
 * Invariants: the calls of a connection are a list in the order in which they were sent, and their
 * groups do not decrease.  A call that is alone in its group is answered when its Sync is, so that
 * it is never told of a commit that did not happen; the others, which change nothing, as soon as
 * their rows are here.  Nothing is called back from sending: an error marks the connection as
 * broken, and whoever runs from the loop gives it up.  No result is asked for that libpq would have
 * to wait for.  libpq out of step with the list breaks the connection and never the worker.
 */
#include "pg_internal.h"

#include "loop.h"
#include "metrics.h"

#include <string.h>

/* Ends the group of statements that were sent since the last Sync, and sends them. */
void
hf_pg_pipeline_sync(HfPgConnection *c)
{
	c->open = false;
	c->groups++;
	hf_metrics_add(HF_METRIC_PG_BATCHES, 1);
	if (!PQpipelineSync(c->pg))
		hf_pg_connection_break(c, PQerrorMessage(c->pg));
}

/*
 * Sends a call, which the connection owns from then on.  Its values need not live longer than
 * this.  A call that is not alone is sent with the Sync of its pass.
 */
void
hf_pg_pipeline_send(HfPgConnection *c, HfPgCall *call)
{
	const HfPgStatement *statement = &hf_pg_statements(NULL)[call->statement];

	if (call->alone && c->open)
		hf_pg_pipeline_sync(c);
	if (hf_pg_pipeline_is_idle(c))
		c->moved = hf_loop_now();
	call->next = NULL;
	call->group = c->groups;
	*c->last = call;
	c->last = &call->next;
	c->waiting++;
	c->open = true;
	hf_metrics_add(HF_METRIC_PG_STATEMENTS, 1);
	if (!PQsendQueryPrepared(c->pg, statement->name, statement->parameters, call->values, NULL,
							 NULL, 0))
		hf_pg_connection_break(c, PQerrorMessage(c->pg));
	else if (call->alone)
		hf_pg_pipeline_sync(c);
}

/* Whether nothing is to come from the server. */
bool
hf_pg_pipeline_is_idle(const HfPgConnection *c)
{
	return c->first == NULL && c->groups == c->synced;
}

/* The call whose answer comes now: none between the last answer of a group and that to its Sync. */
static HfPgCall *
current(const HfPgConnection *c)
{
	return c->first != NULL && c->first->group == c->synced ? c->first : NULL;
}

/* Takes the first call out of the list and answers it. */
static void
finish(HfPgConnection *c)
{
	HfPgCall *call = c->first;

	c->first = call->next;
	if (c->first == NULL)
		c->last = &c->first;
	c->waiting--;
	hf_pg_answer(c, call);
}

static bool
out_of_step(HfPgConnection *c)
{
	hf_pg_connection_break(c, "libpq is out of step");
	return false;
}

/* After the results of a statement, or after an error of a Sync. */
static bool
take_end(HfPgConnection *c)
{
	const HfPgCall *call = current(c);

	if (++c->nulls > 1)
		return out_of_step(c);
	if (call == NULL || call->alone)
		return true;
	if (call->result == NULL)
		return out_of_step(c);
	finish(c);
	return true;
}

/* The answer to a Sync: what stood in its group is committed, or rolled back. */
static bool
take_sync(HfPgConnection *c)
{
	const HfPgCall *call = current(c);

	if (call != NULL && (!call->alone || call->result == NULL))
		return out_of_step(c);
	if (call != NULL)
		finish(c);
	c->synced++;
	return true;
}

/* Whether an error ends the session, or is libpq's own. */
static bool
is_fatal(const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity == NULL || strcmp(severity, "ERROR") != 0;
}

/* What makes a connection useless, or NULL.  Of COPY libpq would hand out results without end. */
static const char *
complaint(const PGresult *result)
{
	switch (PQresultStatus(result))
	{
		case PGRES_TUPLES_OK:
		case PGRES_COMMAND_OK:
		case PGRES_PIPELINE_ABORTED:
			return NULL;
		case PGRES_FATAL_ERROR:
			return is_fatal(result) ? PQresultErrorMessage(result) : NULL;
		default:
			return "a statement that returns no rows";
	}
}

/* Keeps the result of the current call, unless it has one; an error replaces that. */
static bool
take_result(HfPgConnection *c, PGresult *result)
{
	HfPgCall *call = current(c);
	const char *reason = complaint(result);
	bool kept = reason == NULL && call != NULL &&
		(call->result == NULL || PQresultStatus(result) == PGRES_FATAL_ERROR);

	if (reason != NULL)
		hf_pg_connection_break(c, reason);
	if (kept)
	{
		PQclear(call->result);
		call->result = result;
	}
	else
		PQclear(result);
	return reason == NULL;
}

/* Takes what libpq hands out next; false if the connection is of no use any more. */
static bool
take(HfPgConnection *c, PGresult *result)
{
	if (result == NULL)
		return take_end(c);
	c->nulls = 0;
	if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
		return take_result(c, result);
	PQclear(result);
	return take_sync(c);
}

/*
 * Reads what has come and answers the calls that are complete.  The answers to what was read
 * before the connection broke are still given.
 */
void
hf_pg_pipeline_receive(HfPgConnection *c)
{
	unsigned waiting = c->waiting, synced = c->synced;
	SSL *tls;

	do
	{
		if (!PQconsumeInput(c->pg))
			hf_pg_connection_break(c, PQerrorMessage(c->pg));
		while (!hf_pg_pipeline_is_idle(c) && !PQisBusy(c->pg))
			if (!take(c, PQgetResult(c->pg)))
				return;
		tls = PQgetssl(c->pg); /* what it holds back wakes nobody */
	} while (!c->broken && tls != NULL && SSL_pending(tls) > 0);
	if (c->waiting != waiting || c->synced != synced)
		c->moved = hf_loop_now();
}
