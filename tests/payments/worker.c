/*
 * worker.c
 *		Claims due calls with short leases, makes them at the provider, records what came of it.
 *
 * A worker dies between claim and call, between call and record, records late, twice, or many
 * results in one statement. Once the provider is honest, so is he.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "payments.h"

#define BATCH 64

long claimed_calls;

/* A result that is yet to be recorded. */
typedef struct Result
{
	Usec due;
	Call call;
	char outcome[12];
	char reference[24];
	const char *reason;
} Result;

typedef struct Worker
{
	Session session;
	uint64_t *random;
	Call call[BATCH];
	int calls;
	Result *late; /* to be recorded later, in no order */
	int results, room;
} Worker;

static char
kind_of(const char *name)
{
	static const char *const kind[] = {"authorize a", "charge s", "capture k", "void v",
									   "refund r"};

	for (int i = 0; i < 5; i++)
		if (strncmp(kind[i], name, strlen(name)) == 0 && kind[i][strlen(name)] == ' ')
			return kind[i][strlen(name) + 1];
	violation("a call of kind '%s' was handed out", name);
	return '?';
}

/* Claims some calls; false if there are none. */
static bool
claim_some(Worker *w)
{
	Session *s = &w->session;
	int limit = honest ? BATCH : 1 + (int) rnd(w->random, 16);
	int lease = honest ? 1000 : 30 + (int) rnd(w->random, 300);

	w->calls = 0;
	if (!session_run(s,
					 "SELECT account_id, payment, call, key, kind, amount, currency, method,"
					 " coalesce(original, ''), attempt, extract(epoch FROM leased_until) * 1000000"
					 " FROM holdfast.claim_calls('%s', %d, '%d ms')",
					 options.provider, limit, lease))
	{
		if (s->lost)
			session_open(s);
		else if (!session_retry(s))
			violation("claim_calls() got %s: %s", s->sqlstate, session_error(s));
		return false;
	}
	if (PQntuples(s->result) > limit)
		violation("claim_calls() handed out %d calls of %d", PQntuples(s->result), limit);
	for (int i = 0; i < PQntuples(s->result) && i < limit; i++)
	{
		Call *c = &w->call[w->calls++];

		c->account = number(s, i, 0);
		snprintf(c->payment, sizeof(c->payment), "%s", value(s, i, 1));
		c->call = (int) number(s, i, 2);
		snprintf(c->key, sizeof(c->key), "%s", value(s, i, 3));
		c->lookup = strcmp(value(s, i, 4), "lookup") == 0;
		c->kind = c->lookup ? '?' : kind_of(value(s, i, 4));
		c->amount = number(s, i, 5);
		snprintf(c->currency, sizeof(c->currency), "%s", value(s, i, 6));
		snprintf(c->method, sizeof(c->method), "%s", value(s, i, 7));
		snprintf(c->original, sizeof(c->original), "%s", value(s, i, 8));
		c->attempt = (int) number(s, i, 9);
		c->leased_until = number(s, i, 10);
		provider_claimed(c, s->t0, s->t1);
	}
	__atomic_add_fetch(&claimed_calls, w->calls, __ATOMIC_RELAXED);
	return w->calls > 0;
}

static const char *
quoted(const char *text, char *buffer, size_t size)
{
	snprintf(buffer, size, text && text[0] ? "'%s'" : "NULL", text);
	return buffer;
}

static void
check_state(const Session *s, int row, int column, const Result *r)
{
	static const char *const states =
		" authorizing authorized capturing captured partially_refunded refunded refunding declined"
		" voided unknown ";
	char word[40];

	snprintf(word, sizeof(word), " %.30s ", value(s, row, column));
	if (strstr(states, word) == NULL)
		violation("after %s of call %s its payment is '%s'", r->outcome, r->call.key, word);
	provider_acknowledged(r->call.key, r->outcome);
}

/* Records one result, until it is acknowledged or the worker gives up. */
static void
record(Worker *w, const Result *r)
{
	Session *s = &w->session;
	char reference[32], reason[64];

	while (violations() == 0)
	{
		if (session_run(s, "SELECT holdfast.record_result(%" PRId64 ", '%s', %d, '%s', %s, %s)",
						r->call.account, r->call.payment, r->call.call, r->outcome,
						quoted(r->reference, reference, sizeof(reference)),
						quoted(r->reason, reason, sizeof(reason))))
		{
			check_state(s, 0, 0, r);
			return;
		}
		if (s->lost)
			session_open(s);
		else if (!session_retry(s))
			violation("record_result() got %s: %s\n#   %s", s->sqlstate, session_error(s), s->sql);
		if (!honest && chance(w->random, 20))
			return;
	}
}

/* Appends an element to the text of an array; NULL if there is none. */
static char *
element(char *end, const char *text)
{
	if (end[-1] != '{')
		*end++ = ',';
	return end + sprintf(end, "%s", text && text[0] ? text : "NULL");
}

/* Records many results in one statement, all or none. */
static void
record_many(Worker *w, const Result *r, int n)
{
	Session *s = &w->session;
	char array[6][BATCH * 40], *end[6], text[32];

	for (int column = 0; column < 6; column++)
		end[column] = array[column] + sprintf(array[column], "{");
	for (int i = 0; i < n; i++)
	{
		snprintf(text, sizeof(text), "%" PRId64, r[i].call.account);
		end[0] = element(end[0], text);
		end[1] = element(end[1], r[i].call.payment);
		snprintf(text, sizeof(text), "%d", r[i].call.call);
		end[2] = element(end[2], text);
		end[3] = element(end[3], r[i].outcome);
		end[4] = element(end[4], r[i].reference);
		end[5] = element(end[5], r[i].reason);
	}
	for (int column = 0; column < 6; column++)
		strcpy(end[column], "}");
	while (violations() == 0 &&
		   !session_run(
			   s,
			   "SELECT line, state FROM holdfast.record_results('%s', '%s', '%s', '%s', '%s', '%s')"
			   " ORDER BY line",
			   array[0], array[1], array[2], array[3], array[4], array[5]))
	{
		if (s->lost)
			session_open(s);
		else if (!session_retry(s))
			violation("record_results() got %s: %s\n#   %s", s->sqlstate, session_error(s), s->sql);
		if (!honest && chance(w->random, 20))
			return;
	}
	if (violations() > 0)
		return;
	if (PQntuples(s->result) != n)
		violation("record_results() of %d lines returned %d", n, PQntuples(s->result));
	for (int i = 0; i < PQntuples(s->result); i++)
		check_state(s, i, 1, &r[i]);
}

/* Records what has waited long enough. */
static void
record_late(Worker *w)
{
	for (int i = 0; i < w->results; i++)
		if (w->late[i].due <= now() || honest)
		{
			Result r = w->late[i];

			w->late[i--] = w->late[--w->results];
			record(w, &r);
		}
}

static void
put_off(Worker *w, const Result *r, Usec delay)
{
	w->late = grow(w->late, w->results, &w->room, sizeof(Result));
	w->late[w->results] = *r;
	w->late[w->results++].due = now() + delay;
}

/* Makes the calls that were claimed, and records what came of them in one way or another. */
static void
make_calls(Worker *w)
{
	Result result[BATCH];
	int n = 0;
	bool together = chance(w->random, 40);

	for (int i = 0; i < w->calls && violations() == 0; i++)
	{
		Result r = {.call = w->call[i]};
		Answer answer;

		if (!honest && chance(w->random, 3))
			break; /* dies before the call */
		provider_ask(&r.call, &answer);
		if (!honest && chance(w->random, 3))
			break; /* dies after it */
		if (answer.outcome == NULL && chance(w->random, 15))
			continue;
		snprintf(r.outcome, sizeof(r.outcome), "%s",
				 answer.outcome				 ? answer.outcome
					 : chance(w->random, 10) ? "unknown"
											 : "retry");
		strcpy(r.reference, answer.reference);
		r.reason = answer.reason;
		if (answer.delay > 0)
			put_off(w, &r, answer.delay);
		else if (together)
			result[n++] = r;
		else
			record(w, &r);
		if (!honest && chance(w->random, 5))
			put_off(w, &r, (Usec) rnd(w->random, SECOND));
	}
	/* In any order: the function has its own. */
	for (int i = n - 1; i > 0; i--)
	{
		int j = (int) rnd(w->random, i + 1);
		Result r = result[i];

		result[i] = result[j];
		result[j] = r;
	}
	if (n > 0)
		record_many(w, result, n);
}

/* The thread of one worker. */
void *
worker_run(void *random)
{
	Worker *w = calloc(1, sizeof(Worker));

	if (w == NULL)
		abort();
	w->random = w->session.random = random;
	session_open(&w->session);
	while (!finish && violations() == 0)
	{
		record_late(w);
		if (claim_some(w))
			make_calls(w);
		else
			usleep(2000);
	}
	session_close(&w->session);
	free(w->session.sql);
	free(w->late);
	free(w);
	return NULL;
}
