/*
 * beat.c
 *		Tells the database every few seconds that this process is there, and what it does.
 *
 * People, load balancers and alerts hear of a worker by that, whether it has anything to do or not.
 * Where nobody else is the clock, a worker with `clock` is: it lets the database run what is due.
 *
 * Invariants: no work waits for this.  What was not heard because the connection was lost is said
 * again, with the figures of that time, as soon as there is another.  Told to end, the process says
 * so at once; if there is no connection, it is missed after a while.
 */
#include "beat.h"

#include "claim.h"
#include "clock.h"
#include "config.h"
#include "database.h"
#include "job.h"
#include "log.h"

#include <jansson.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEAT_INTERVAL  5000 /* milliseconds; who is silent for 20 s is taken for dead */
#define CLOCK_INTERVAL 10000

static int64_t beat_at;	 /* when to say that we are there */
static int64_t clock_at; /* when to ask for what is due */
static bool was_heard;	 /* since the process began */
static bool stopping;
static bool said_goodbye;
static bool is_faulty; /* the database does not want to hear it, and that was logged */
static bool goodbye_is_under_way;

/* The names in an array of PostgreSQL that needs no quotes: "{mail,webhook}". */
static json_t *
names_of(const char *array)
{
	json_t *names = json_array();

	for (const char *at = array + 1; *at != '\0' && *at != '}';)
	{
		size_t length = strcspn(at, ",}");

		json_array_append_new(names, json_stringn(at, length));
		at += length + (at[length] == ',');
	}
	return names;
}

/* What is done for each kind of jobs, and for providers. */
static json_t *
describe_work(void)
{
	json_t *work = json_array();
	const HfKind *kind;

	for (unsigned i = 0; (kind = hf_job_kind(i)) != NULL; i++)
		json_array_append_new(work,
							  json_pack("{s:s, s:o, s:i, s:i, s:I, s:I, s:b}", "label", kind->label,
										"kinds", names_of(kind->kinds), "most", (int) kind->most,
										"running", (int) kind->pace.held, "finished",
										(json_int_t) kind->finished, "failed",
										(json_int_t) kind->failed, "away", kind->pace.away_ms > 0));
	if (hf_config.simulated || hf_config.providers > 0)
		json_array_append_new(work,
							  json_pack("{s:s, s:[], s:i}", "label", "provider calls", "kinds",
										"running", (int) hf_claim_part.held()));
	return work;
}

/* Who we are and what we do, to be freed; NULL if there is no memory. */
static char *
describe(void)
{
	char host[64] = "", *text;
	json_t *state;

	gethostname(host, sizeof(host) - 1);
	state = json_pack("{s:s, s:i, s:s, s:b, s:b, s:o}", "host", host, "pid", (int) getpid(),
					  "version", HF_VERSION, "starting", !was_heard, "stopping", stopping, "work",
					  describe_work());
	text = json_dumps(state, JSON_COMPACT);
	json_decref(state);
	return text;
}

/* Logs a refusal of the database, the first of a row. */
static void
say_refused(const char *event, const char *code, const char *message)
{
	if (!is_faulty)
		hf_log(HF_LOG_ERROR, event, "%s (SQLSTATE %s)", message, code);
	is_faulty = true;
}

static void
heard(void *context, const HfRows *rows, const char *code, const char *message)
{
	(void) context;
	if (rows == NULL && *code == '\0')
	{
		beat_at = hf_clock(); /* with the next connection */
		return;
	}
	if (rows == NULL)
		say_refused("no_beat", code, message);
	else
		is_faulty = false;
	was_heard = was_heard || rows != NULL;
	said_goodbye = said_goodbye || goodbye_is_under_way;
}

static void
say_there(int64_t now)
{
	char *state = describe();
	const char *values[] = {hf_job_worker(), state};

	beat_at = now + BEAT_INTERVAL;
	goodbye_is_under_way = stopping;
	if (state != NULL)
		hf_database_send("SELECT shop.beat($1, $2)", 2, values, heard, NULL);
	free(state);
}

/* One of those that are due was run, or none was: then none is for a while. */
static void
ran(void *context, const HfRows *rows, const char *code, const char *message)
{
	bool found = rows != NULL && strcmp(hf_rows_value(rows, 0, 0), "0") != 0;

	(void) context;
	clock_at = hf_clock() + (found ? 0 : CLOCK_INTERVAL);
	if (rows == NULL && *code != '\0')
		say_refused("no_clock", code, message);
}

static bool
must_say_goodbye(void)
{
	return stopping && !said_goodbye;
}

/* Says that we are there, or lets the database do what is due. The connection is ready. */
static bool
send(int64_t now)
{
	if (now >= beat_at || must_say_goodbye())
	{
		say_there(now);
		return hf_database_is_busy();
	}
	if (!hf_config.clock || stopping || now < clock_at)
		return false;
	hf_database_send("SELECT shop.run_schedules()", 0, NULL, ran, NULL);
	return true;
}

static int64_t
deadline(bool database_is_ready)
{
	if (!database_is_ready)
		return HF_NEVER;
	if (must_say_goodbye())
		return 0;
	return hf_config.clock && !stopping && clock_at < beat_at ? clock_at : beat_at;
}

/* The process does not end before it has said so, if there is somebody to hear it. */
static unsigned
held(void)
{
	return must_say_goodbye() && (hf_database_is_ready() || hf_database_is_busy());
}

static void
stop(void)
{
	stopping = true;
}

static void
cut(void)
{
	said_goodbye = true;
}

const HfPart hf_beat_part = {.send = send,
							 .deadline = deadline,
							 .held = held,
							 .stop = stop,
							 .cut = cut};
