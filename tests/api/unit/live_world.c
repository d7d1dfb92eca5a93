/*
 * live_world.c
 *		A clock, a channel, and a database with one sale, for the tests of live sales.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "live_test.h"
#include "loop.h"
#include "near_cache.h"
#include "pg.h"

#define NAMES 1024 /* that can be announced */
#define QUEUE 4096
#define BODY  (BUYERS * 8 + 400)

typedef struct Statement
{
	int statement;
	char value[3][BUYERS * 24];
	HfPgDone done;
	void *arg;
	bool ran;
	bool is_sale;
	char body[BODY];
	const char *text; /* the body, or that of the crowd */
} Statement;

World world;
uint64_t at = 1000000;
bool alive = true, down;
unsigned live_runs, buyers_runs, notes;
uint64_t noted[BUYERS];

static HfNearMoment moment = 1, begun = 1, named[NAMES];
static const char *statements[8];
static int n_statements;
static Statement *queue[QUEUE];
static unsigned queued;
static void (*tick)(void);
static uint64_t ticks_at;

uint64_t
hf_loop_now(void)
{
	return at;
}

void
hf_loop_every(unsigned milliseconds, void (*callback)(void))
{
	check(milliseconds == 100 && tick == NULL, "another timer");
	tick = callback;
}

/* What is to be called later. */
static struct
{
	uint64_t at;
	void (*callback)(void *);
	void *arg;
} later[QUEUE];
static unsigned laters;

void
hf_loop_after(unsigned milliseconds, void (*callback)(void *), void *arg)
{
	check(laters < QUEUE, "too much is to be called later");
	later[laters].at = at + milliseconds;
	later[laters].callback = callback;
	later[laters++].arg = arg;
}

static void
call_later(void)
{
	unsigned n = laters;

	laters = 0;
	for (unsigned i = 0; i < n; i++)
		if (later[i].at > at)
			later[laters++] = later[i];
		else
			later[i].callback(later[i].arg);
}

void
hf_metrics_set(HfMetric gauge, unsigned long value)
{
	counted[gauge] = value;
}

/* The channel: a moment for each key. */
static unsigned
number_of(const char *key)
{
	static char *known[NAMES];
	unsigned i = 0;

	while (i < NAMES - 1 && known[i] != NULL && strcmp(known[i], key) != 0)
		i++;
	if (known[i] == NULL)
		known[i] = strdup(key);
	return i; /* the last one is everybody's */
}

void
hf_near_cache_names(HfNearNames *names, const HfCacheEntry *entry)
{
	names->marks = 1;
	names->mark[0] = number_of(entry->key.text);
}

bool
hf_near_cache_is_alive(void)
{
	return alive;
}

HfNearMoment
hf_near_cache_moment(void)
{
	return moment;
}

bool
hf_near_cache_is_void(const HfNearNames *names, HfNearMoment since)
{
	return since < begun || named[names->mark[0]] > since;
}

void
announce(const char *key)
{
	moment++;
	if (alive)
		named[number_of(key)] = moment;
}

void
lose_channel(void)
{
	alive = false;
	begun = ++moment;
}

void
find_channel(void)
{
	alive = true;
	begun = ++moment;
}

/* The database. */
int
hf_pg_statement(const char *name, const char *text, int parameters)
{
	(void) text;
	(void) parameters;
	statements[n_statements] = name;
	return n_statements++;
}

bool
hf_pg_send(HfPgLane lane, int statement, const HfText *values, int n, HfPgDone done, void *arg)
{
	Statement *sent;

	(void) lane;
	if (down || queued == QUEUE)
		return false;
	sent = calloc(1, sizeof(*sent));
	sent->statement = statement;
	sent->text = sent->body;
	sent->done = done;
	sent->arg = arg;
	for (int i = 0; i < n; i++)
		if (values[i].data != NULL)
			memcpy(sent->value[i], values[i].data, values[i].length);
	queue[queued++] = sent;
	return true;
}

HfText
hf_pg_value(const HfPgAnswer *answer, int row, int column)
{
	const Statement *of = answer->result;

	check(row == 0 && column == 4, "another value is asked for");
	if (of == NULL || of->text[0] == '\0')
		return (HfText){NULL, 0};
	return (HfText){of->text, strlen(of->text)};
}

static int64_t
available(void)
{
	int64_t units = world.left;

	for (int i = 0; i < BUYERS; i++)
		units += world.due[i] != 0 && world.due[i] <= at;
	return units;
}

const char *
state_now(void)
{
	if (world.closed != 0 || at >= world.ends)
		return "closed";
	if (at < world.starts)
		return "scheduled";
	return available() > 0 ? "open" : "sold_out";
}

static void
run_live(Statement *run)
{
	uint64_t next = UINT64_MAX, ends = world.closed != 0 ? world.closed : world.ends;
	char due[24] = "null";

	live_runs++;
	run->is_sale = world.is_there && strcmp(run->value[1], "7") == 0;
	if (!run->is_sale)
		return;
	for (int i = 0; i < BUYERS; i++)
		if (world.due[i] > at && world.due[i] < next)
			next = world.due[i];
	if (next != UINT64_MAX)
		snprintf(due, sizeof(due), "%lld", (long long) (next - at));
	snprintf(run->body, BODY,
			 "{\"state\" : \"%s\", \"left\" : %lld, \"quantity\" : %lld, \"version\" : %lld, "
			 "\"ticket_quota\" : 30, \"starts_in_ms\" : %lld, \"ends_in_ms\" : %lld, "
			 "\"ends_at_ms\" : 5, \"release_in_ms\" : %s}",
			 state_now(), (long long) (strcmp(state_now(), "closed") == 0 ? 0 : available()),
			 (long long) world.quantity, (long long) world.version, (long long) (world.starts - at),
			 (long long) (ends - at), due);
}

static const char *
with_crowd(const char *body)
{
	static char text[CROWD * 9 + BODY];
	size_t used = (size_t) sprintf(text, "%.*s", (int) strlen(body) - 1, body);

	for (int i = 0; i < CROWD; i++)
		used += (size_t) sprintf(text + used, "%s%d", used > 1 ? "," : "", FIRST + i);
	strcpy(text + used, "]");
	return text;
}

static void
run_buyers(Statement *run)
{
	size_t used = 1;

	buyers_runs++;
	if (world.many)
		return;
	run->body[0] = '[';
	for (int i = 1; i < BUYERS; i++)
		if (world.bought[i] != 0)
			used += (size_t) sprintf(run->body + used, "%s%d", used > 1 ? "," : "", i);
	strcpy(run->body + used, "]");
	if (world.crowd)
		run->text = with_crowd(run->body);
}

static void
run_note(Statement *run)
{
	char *sku = run->value[1], *count = run->value[2];

	notes++;
	while (*sku != '}' && *count != '}')
	{
		long stock = strtol(sku + 1, &sku, 10);

		noted[stock % BUYERS] += strtoul(count + 1, &count, 10);
	}
	check(*sku == '}' && *count == '}', "%s and %s", run->value[1], run->value[2]);
}

static const char *
name_of(const Statement *of)
{
	return statements[of->statement];
}

/* The first in the queue, from a place on, that has run or not. */
static Statement **
find(unsigned from, bool ran)
{
	for (unsigned i = 0; i < queued; i++)
		if (queue[(from + i) % queued]->ran == ran)
			return &queue[(from + i) % queued];
	return NULL;
}

bool
run_any(unsigned from)
{
	Statement **found = find(from, false), *first;

	if (found == NULL)
		return false;
	first = *found;
	first->ran = true;
	if (strcmp(name_of(first), "sale_live") == 0)
		run_live(first);
	else if (strcmp(name_of(first), "sale_buyers") == 0)
		run_buyers(first);
	else
		run_note(first);
	return true;
}

void
run(void)
{
	while (run_any(0))
		;
}

static void
answer(Statement **at_place, HfPgOutcome outcome, const char *sqlstate)
{
	Statement *first = *at_place;
	HfPgAnswer answer = {.outcome = outcome,
						 .rows = 1,
						 .sqlstate = sqlstate,
						 .message = "",
						 .detail = "",
						 .column = "",
						 .result = outcome == HF_PG_ROWS ? first : NULL};

	memmove(at_place, at_place + 1, (size_t) (&queue[--queued] - at_place) * sizeof(queue[0]));
	first->done(first->arg, &answer);
	free(first);
}

bool
deliver_any(unsigned from)
{
	Statement **found = find(from, true);
	bool is_none;

	if (found == NULL)
		return false;
	is_none = strcmp(name_of(*found), "sale_live") == 0 && !(*found)->is_sale;
	answer(found, is_none ? HF_PG_REFUSED : HF_PG_ROWS, is_none ? "HS004" : "");
	return true;
}

void
deliver(void)
{
	while (deliver_any(0))
		;
}

void
break_off(void)
{
	for (unsigned n = queued; n > 0; n--)
		answer(&queue[0], HF_PG_LOST, "");
}

void
refuse_all(void)
{
	for (unsigned n = queued; n > 0; n--)
		answer(&queue[0], HF_PG_REFUSED, "57014");
}

unsigned
under_way(void)
{
	return queued;
}

void
answer_all(void)
{
	while (queued > 0)
	{
		run();
		deliver();
	}
}

/* Lets time pass, millisecond by millisecond. */
void
pass(uint64_t milliseconds, bool answered)
{
	for (; milliseconds > 0; milliseconds--)
	{
		at++;
		call_later();
		if (at >= ticks_at + 100)
		{
			ticks_at = at;
			tick();
		}
		if (answered)
			answer_all();
	}
}
