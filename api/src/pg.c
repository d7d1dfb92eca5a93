/*
 * pg.c
 *		PostgreSQL, without waiting: lanes of connections and the calls that wait on them.
 *
 * A call goes to the connection of its lane with the fewest calls before it, at once; what the
 * handlers of a pass have sent to READ or LIVE is flushed in the next, with one Sync a connection.
 *
 * Invariants: a call that hf_pg_send() accepted is answered exactly once, later: with rows, with
 * an error, or with the loss of its connection, which a frozen server comes to as well.  There
 * are as many calls as the queues have room for, allocated in the beginning.  Only a statement of
 * READ or LIVE is ever sent twice, and only once more: when a neighbour's failure has skipped it,
 * when its connection was lost, or when its plan had become stale; then alone, so that no
 * neighbour can harm it again, and only while its request still waits.  A statement whose values
 * are too long to be kept is alone from the beginning and is not sent twice.
 *
 * The lanes, connections and calls belong to the worker.  Callbacks run from the loop, and may
 * send.
 */
#include "pg_internal.h"

#include "config.h"
#include "loop.h"
#include "metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TICK		 50	  /* milliseconds between looks at the connections */
#define GRACE		 2000 /* milliseconds that the server has beyond a request's time */
#define SCRATCH_KEEP (256 * 1024)
#define VALUES_MAX	 ((size_t) 64 * 1024 * 1024) /* libpq counts in int */
#define LIVE_QUEUE	 256
#define TRY_AGAIN	 "40001" /* what did not run for reasons of the session may run in another */

static HfPgStatement statements[HF_PG_STATEMENTS];
static int n_statements;
static HfPgPool pools[HF_PG_LANES];
static bool started;

/*
 * Registers a statement, in the parent; the texts must live on.  Returns its number.  Every
 * connection prepares it.
 */
int
hf_pg_statement(const char *name, const char *text, int parameters)
{
	assert(n_statements < HF_PG_STATEMENTS && parameters <= HF_PG_PARAMETERS);
	statements[n_statements] = (HfPgStatement){name, text, parameters};
	return n_statements++;
}

const HfPgStatement *
hf_pg_statements(int *n)
{
	if (n != NULL)
		*n = n_statements;
	return statements;
}

/* The connection that is up and has the fewest calls, or NULL. */
static HfPgConnection *
choose(const HfPgPool *pool)
{
	HfPgConnection *best = NULL;

	for (unsigned i = 0; i < pool->connections; i++)
	{
		HfPgConnection *c = &pool->connection[i];

		if (c->phase == HF_PG_UP && !c->broken && (best == NULL || c->waiting < best->waiting))
			best = c;
	}
	return best;
}

static void
flush_all(void)
{
	for (int lane = 0; lane < HF_PG_LANES; lane++)
		for (unsigned i = 0; i < pools[lane].connections; i++)
			hf_pg_connection_flush(&pools[lane].connection[i]);
}

static void
watch_all(void)
{
	uint64_t now = hf_loop_now();

	if (!started)
		return;
	for (int lane = 0; lane < HF_PG_LANES; lane++)
	{
		for (unsigned i = 0; i < pools[lane].connections; i++)
			hf_pg_connection_watch(&pools[lane].connection[i], now);
		hf_metrics_set(HF_METRIC_PG_UP_READ + lane, pools[lane].up);
		hf_metrics_set(HF_METRIC_PG_WAITING_READ + lane, pools[lane].waiting);
	}
}

static void
begin_pool(HfPgLane lane, unsigned connections, unsigned queue, unsigned timeout)
{
	HfPgPool *pool = &pools[lane];
	HfPgCall *calls = kore_calloc(queue > 0 ? queue : 1, sizeof(*calls));

	pool->lane = lane;
	pool->connections = connections < HF_PG_CONNECTIONS ? connections : HF_PG_CONNECTIONS;
	pool->connection = kore_calloc(HF_PG_CONNECTIONS, sizeof(*pool->connection));
	pool->patience = timeout + GRACE;
	pool->options = hf_pg_conninfo_options(timeout);
	for (unsigned i = 0; i < queue; i++)
	{
		calls[i].next = pool->spare;
		pool->spare = &calls[i];
	}
	for (unsigned i = 0; i < pool->connections; i++)
		hf_pg_connection_begin(&pool->connection[i], pool);
}

/* Begins to connect, in a worker whose loop has started; hf_config.database is resolved. */
void
hf_pg_start(void)
{
	const HfConfig *config = &hf_config;

	if (!hf_pg_conninfo_begin(config->database))
		fatalx("the conninfo of the database cannot be parsed");
	begin_pool(HF_PG_READ, config->database_read_connections, config->database_read_queue,
			   config->request_timeout);
	begin_pool(HF_PG_WRITE, config->database_write_connections, config->database_write_queue,
			   config->request_timeout);
	begin_pool(HF_PG_SLOW, config->database_slow_connections, config->database_slow_queue,
			   config->slow_timeout);
	begin_pool(HF_PG_PURCHASE, config->database_purchase_connections,
			   config->database_purchase_connections, config->request_timeout / 2);
	begin_pool(HF_PG_LIVE, 1, LIVE_QUEUE, config->request_timeout);
	started = true;
	hf_loop_at_pass(flush_all);
	hf_loop_every(TICK, watch_all);
	watch_all();
}

/*
 * Copies values to a buffer that has room, with a NUL after each, for libpq.  A NUL inside, which
 * no text of PostgreSQL has and libpq would take for the end, becomes a byte that is not UTF-8:
 * the server refuses it.
 */
static void
copy_values(HfPgCall *call, char *to, const HfText *values, int n)
{
	for (int i = 0; i < n; i++)
	{
		size_t length = values[i].length;
		char *nul;

		call->values[i] = values[i].data != NULL ? to : NULL;
		if (values[i].data == NULL)
			continue;
		memcpy(to, values[i].data, length);
		while ((nul = memchr(to, '\0', length)) != NULL)
			*nul = '\xff';
		to[length] = '\0';
		to += length + 1;
	}
}

/* Copies the values of a call and sends it; false if they are too long or there is no memory. */
static bool
send_copy(HfPgConnection *c, HfPgCall *call, const HfText *values, int n)
{
	static char *scratch; /* for values that are not kept */
	static size_t room;
	HfPgLane lane = c->pool->lane;
	size_t size = 0;

	for (int i = 0; i < n; i++)
		if (values[i].data != NULL)
			size += values[i].length + 1;
	call->repeatable = (lane == HF_PG_READ || lane == HF_PG_LIVE) && size <= HF_PG_COPY_MAX;
	call->alone = !call->repeatable;
	if (size > VALUES_MAX)
		return false;
	if (!call->repeatable && (scratch == NULL || size > room))
	{
		free(scratch);
		room = size > SCRATCH_KEEP ? size : SCRATCH_KEEP;
		scratch = malloc(room);
		if (scratch == NULL)
			return false;
	}
	copy_values(call, call->repeatable ? call->copy : scratch, values, n);
	hf_pg_pipeline_send(c, call);
	if (scratch != NULL && room > SCRATCH_KEEP)
	{
		free(scratch);
		scratch = NULL;
	}
	return true;
}

/*
 * Sends a statement; n is the number of its parameters.  The values, text all of them, are copied.
 * False if the lane is full or down: done will not be called.  Otherwise it is called once, later,
 * from the loop.
 */
bool
hf_pg_send(HfPgLane lane, int statement, const HfText *values, int n, HfPgDone done, void *arg)
{
	HfPgPool *pool = &pools[lane];
	HfPgConnection *c = choose(pool);
	HfPgCall *call = pool->spare;

	assert(statement >= 0 && statement < n_statements && n == statements[statement].parameters);
	if (!started || c == NULL || call == NULL)
		return false;
	pool->spare = call->next;
	call->done = done;
	call->arg = arg;
	call->statement = statement;
	call->result = NULL;
	call->born = hf_loop_now();
	if (!send_copy(c, call, values, n))
	{
		call->next = pool->spare;
		pool->spare = call;
		return false;
	}
	pool->waiting++;
	hf_loop_ask();
	return true;
}

/* Sends a call once more if it may be; false if not, or if no connection is up. */
static bool
repeat(HfPgPool *pool, HfPgCall *call)
{
	HfPgConnection *c = choose(pool);
	bool late = hf_loop_now() + GRACE >= call->born + pool->patience;

	if (!started || !call->repeatable || late || c == NULL)
		return false;
	PQclear(call->result);
	call->result = NULL;
	call->repeatable = false;
	call->alone = true;
	hf_pg_pipeline_send(c, call);
	hf_loop_ask();
	return true;
}

/* Calls back, when the call is spare already, so that there is room for what that sends. */
static void
call_back(HfPgPool *pool, HfPgCall *call, const HfPgAnswer *answer)
{
	HfPgDone done = call->done;
	void *arg = call->arg;
	PGresult *result = call->result;

	call->result = NULL;
	call->next = pool->spare;
	pool->spare = call;
	pool->waiting--;
	done(arg, answer);
	PQclear(result);
}

static const char *
field(const PGresult *result, int code)
{
	const char *text = PQresultErrorField(result, code);

	return text != NULL ? text : "";
}

/* A call whose connection was lost. */
void
hf_pg_lose(HfPgPool *pool, HfPgCall *call)
{
	HfPgAnswer answer = {HF_PG_LOST, 0, "", "", "", "", NULL};

	if (repeat(pool, call))
		return;
	hf_metrics_add(HF_METRIC_PG_LOST, 1);
	call_back(pool, call, &answer);
}

/*
 * Whether a statement did not run because the session does not have it as it should be: a function
 * returns something else by now, or somebody has discarded the statement.  Others use the first
 * code too, so the place that raises it must be the server's cache of plans.
 */
static bool
is_stale(const PGresult *result)
{
	const char *sqlstate = field(result, PG_DIAG_SQLSTATE);

	return strcmp(sqlstate, "26000") == 0 ||
		(strcmp(sqlstate, "0A000") == 0 &&
		 strcmp(field(result, PG_DIAG_SOURCE_FUNCTION), "RevalidateCachedQuery") == 0);
}

/* A call whose connection has its result. */
void
hf_pg_answer(HfPgConnection *c, HfPgCall *call)
{
	PGresult *result = call->result;
	ExecStatusType status = PQresultStatus(result);
	HfPgAnswer answer = {HF_PG_ROWS, PQntuples(result), "", "", "", "", result};
	bool stale;

	if (status == PGRES_PIPELINE_ABORTED)
	{
		hf_pg_lose(c->pool, call);
		return;
	}
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
	{
		answer.outcome = HF_PG_REFUSED;
		answer.sqlstate = field(result, PG_DIAG_SQLSTATE);
		answer.message = field(result, PG_DIAG_MESSAGE_PRIMARY);
		answer.detail = field(result, PG_DIAG_MESSAGE_DETAIL);
		answer.column = field(result, PG_DIAG_COLUMN_NAME);
		stale = is_stale(result);
		if (stale && c->phase == HF_PG_UP)
		{
			c->phase = HF_PG_LEAVING;
			c->pool->up--;
		}
		if (stale && repeat(c->pool, call))
			return;
		if (stale)
			answer.sqlstate = TRY_AGAIN;
	}
	call_back(c->pool, call, &answer);
}

/* A value of an answer; NULL data if it is NULL or not there. */
HfText
hf_pg_value(const HfPgAnswer *answer, int row, int column)
{
	const PGresult *result = answer->result;

	if (result == NULL || row >= PQntuples(result) || column >= PQnfields(result) ||
		PQgetisnull(result, row, column))
		return (HfText){NULL, 0};
	return (HfText){PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)};
}

void
hf_pg_state(HfPgLane lane, HfPgState *state)
{
	const HfPgPool *pool = &pools[lane];

	*state = (HfPgState){pool->connections, pool->up, pool->waiting};
}

/* Closes all connections, at the end of a worker; what waits is lost. */
void
hf_pg_stop(void)
{
	started = false;
	for (int lane = 0; lane < HF_PG_LANES; lane++)
		for (unsigned i = 0; i < pools[lane].connections; i++)
			hf_pg_connection_end(&pools[lane].connection[i]);
}
