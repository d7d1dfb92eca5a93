/*
 * pg_connection.c
 *		The life of one connection: connecting, preparing, up, and given up.
 *
 * Nothing here waits.  What takes too long, to connect or to answer, is given up by a timer; so is
 * what broke.  After a failure every endpoint is tried once, then there is a pause, which doubles
 * until a connection is up.
 *
 * Invariants: a connection is given up, and its calls are called back, only from an event, a pass
 * or the timer, never from sending.  It is connected again only from the timer, so that events of
 * the old socket in the same batch find it down; its memory is never freed.  A socket is never
 * taken out of Kore's events: libpq may have closed it, which takes it out.  While libpq connects
 * it may have exchanged the socket for another of the same number, so it is registered each time.
 * A connection is up once it has prepared all statements.
 */
#include "pg_internal.h"

#include "log.h"
#include "loop.h"
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Milliseconds. */
#define CONNECT_MAX 2000
#define PREPARE_MAX 5000
#define BACKOFF_MIN 50
#define BACKOFF_MAX 2000

static const char *const lane_names[HF_PG_LANES] = {"read", "write", "slow", "purchase", "live"};

/* Marks a connection as one to be given up, for the first reason that is found. */
void
hf_pg_connection_break(HfPgConnection *c, const char *reason)
{
	if (c->broken)
		return;
	c->broken = true;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	c->reason[strcspn(c->reason, "\n")] = '\0';
	hf_loop_ask();
}

/* Logs the first failure of a pool, and that all is well again. */
static void
log_state(HfPgPool *pool, const char *reason)
{
	if (reason != NULL && !pool->troubled)
		hf_log(HF_LOG_WARNING, "database_lost", "lane %s: %s", lane_names[pool->lane], reason);
	if (reason == NULL && pool->troubled && pool->up == pool->connections)
		hf_log(HF_LOG_INFO, "database_up", "lane %s", lane_names[pool->lane]);
	pool->troubled = reason != NULL || (pool->troubled && pool->up < pool->connections);
}

/* When to try again: at once if another endpoint is left, later and later otherwise. */
static void
schedule(HfPgConnection *c, bool was_up)
{
	c->due = hf_loop_now();
	if (!was_up)
		c->endpoint = (c->endpoint + 1) % hf_pg_conninfo_endpoints();
	if (!was_up && c->endpoint != 0)
		return;
	c->backoff = c->backoff == 0 ? BACKOFF_MIN : c->backoff * 2;
	if (c->backoff > BACKOFF_MAX)
		c->backoff = BACKOFF_MAX;
	c->due += c->backoff - arc4random_uniform(c->backoff / 2);
}

/*
 * Gives a connection up.  Its calls are answered or sent elsewhere; it is down by then, so none of
 * them comes back to it.  PQfinish() does not wait: the socket does not block.
 */
static void
lose(HfPgConnection *c)
{
	HfPgCall *call = c->first, *next;
	bool was_up = c->phase == HF_PG_UP || c->phase == HF_PG_LEAVING;

	PQfinish(c->pg);
	c->pg = NULL;
	c->first = NULL;
	c->last = &c->first;
	c->waiting = 0;
	c->pool->up -= c->phase == HF_PG_UP;
	c->phase = HF_PG_DOWN;
	schedule(c, was_up);
	log_state(c->pool, c->reason);
	hf_metrics_add(HF_METRIC_PG_RECONNECTS, 1);
	for (; call != NULL; call = next)
	{
		next = call->next;
		hf_pg_lose(c->pool, call);
	}
}

/* Has Kore tell of what can be read, and of room to write if that is waited for. */
static void
listen_for(HfPgConnection *c, bool writing)
{
	int fd = PQsocket(c->pg);

	c->writing = writing;
	if (fd < 0)
		hf_pg_connection_break(c, "the socket is gone");
	else if (writing)
		kore_platform_event_level_all(fd, c);
	else
		kore_platform_event_level_read(fd, c);
}

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

static void
try_connect(HfPgConnection *c)
{
	c->broken = c->open = c->writing = false;
	c->groups = c->synced = c->nulls = 0;
	c->event.flags = 0;
	c->phase = HF_PG_CONNECTING;
	c->due = hf_loop_now() + CONNECT_MAX;
	c->pg = hf_pg_conninfo_connect(c->endpoint, c->pool->options);
	if (c->pg == NULL)
		hf_pg_connection_break(c, "out of memory");
	else if (PQstatus(c->pg) == CONNECTION_BAD)
		hf_pg_connection_break(c, PQerrorMessage(c->pg));
	else
	{
		PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
		listen_for(c, true);
	}
}

/* Sends what prepares all statements, in one group. */
static void
prepare(HfPgConnection *c)
{
	int n;
	const HfPgStatement *statement = hf_pg_statements(&n);
	bool good = PQsetnonblocking(c->pg, 1) == 0 && PQenterPipelineMode(c->pg);

	c->phase = HF_PG_PREPARING;
	c->due = hf_loop_now() + PREPARE_MAX;
	c->prepared = 0;
	for (int i = 0; good && i < n; i++)
		good = PQsendPrepare(c->pg, statement[i].name, statement[i].text, statement[i].parameters,
							 NULL);
	if (!good || !PQpipelineSync(c->pg))
		hf_pg_connection_break(c, PQerrorMessage(c->pg));
	else
		listen_for(c, true);
}

static void
rise(HfPgConnection *c)
{
	c->phase = HF_PG_UP;
	c->backoff = 0;
	c->moved = hf_loop_now();
	c->pool->up++;
	log_state(c->pool, NULL);
}

/* Says which statement cannot be prepared, and why. */
static void
refuse(HfPgConnection *c, const PGresult *result)
{
	char reason[HF_PG_REASON_MAX];
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	int n;
	const HfPgStatement *statement = hf_pg_statements(&n);

	snprintf(reason, sizeof(reason), "cannot prepare %s: %s",
			 c->prepared < n ? statement[c->prepared].name : "anything",
			 message != NULL ? message : "no reason given");
	hf_pg_connection_break(c, reason);
}

/* Reads the answers to prepare(): one a statement, with a NULL after each, and one to the Sync. */
static void
receive_prepared(HfPgConnection *c)
{
	if (!PQconsumeInput(c->pg))
		hf_pg_connection_break(c, PQerrorMessage(c->pg));
	while (!c->broken && c->phase == HF_PG_PREPARING && !PQisBusy(c->pg))
	{
		PGresult *result = PQgetResult(c->pg);

		if (result == NULL)
			c->prepared++;
		else if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
			rise(c);
		else if (PQresultStatus(result) != PGRES_COMMAND_OK)
			refuse(c, result);
		PQclear(result);
		if (c->prepared > HF_PG_STATEMENTS)
			hf_pg_connection_break(c, "libpq is out of step");
	}
}

static void
go_on_connecting(HfPgConnection *c)
{
	switch (PQconnectPoll(c->pg))
	{
		case PGRES_POLLING_READING:
			listen_for(c, false);
			break;
		case PGRES_POLLING_WRITING:
			listen_for(c, true);
			break;
		case PGRES_POLLING_OK:
			prepare(c);
			break;
		default:
			hf_pg_connection_break(c, PQerrorMessage(c->pg));
			break;
	}
}

/* Ends the open group and hands to the kernel what it takes; gives up what is broken. */
void
hf_pg_connection_flush(HfPgConnection *c)
{
	int left = 0;

	if (c->phase == HF_PG_DOWN)
		return;
	if (c->phase != HF_PG_CONNECTING && !c->broken)
	{
		if (c->open)
			hf_pg_pipeline_sync(c);
		left = c->broken ? 0 : PQflush(c->pg);
		if (left < 0)
			hf_pg_connection_break(c, PQerrorMessage(c->pg));
		else if (!c->broken && c->writing != (left > 0))
			listen_for(c, left > 0);
	}
	if (c->broken)
		lose(c);
}

static void
on_event(void *arg, int error)
{
	HfPgConnection *c = arg;

	(void) error; /* reading finds it, after what came before it */
	c->event.flags = 0;
	if (c->phase == HF_PG_DOWN)
		return;
	if (c->phase == HF_PG_CONNECTING)
		go_on_connecting(c);
	else if (c->phase == HF_PG_PREPARING)
		receive_prepared(c);
	else
		hf_pg_pipeline_receive(c);
	if (c->broken || c->writing)
		hf_pg_connection_flush(c);
}

/* Gives up what takes too long, and connects what is down. */
void
hf_pg_connection_watch(HfPgConnection *c, uint64_t now)
{
	bool idle = hf_pg_pipeline_is_idle(c);

	if (c->phase == HF_PG_DOWN)
	{
		if (now >= c->due)
			try_connect(c);
	}
	else if (c->phase == HF_PG_CONNECTING || c->phase == HF_PG_PREPARING)
	{
		if (now >= c->due)
			hf_pg_connection_break(c, "the server did not answer in time while connecting");
	}
	else if (c->phase == HF_PG_LEAVING && idle)
		hf_pg_connection_break(c, "a statement must be prepared anew");
	else if (!idle && now >= c->moved + c->pool->patience)
		hf_pg_connection_break(c, "the server did not answer in time");
	if (c->broken)
		hf_pg_connection_flush(c);
}

/* A connection that is down, and tries to connect when the timer runs. */
void
hf_pg_connection_begin(HfPgConnection *c, HfPgPool *pool)
{
	c->event.handle = on_event;
	c->pool = pool;
	c->last = &c->first;
}

/* Gives a connection up for good. */
void
hf_pg_connection_end(HfPgConnection *c)
{
	if (c->phase == HF_PG_DOWN)
		return;
	c->pool->troubled = true; /* and says nothing */
	lose(c);
}
