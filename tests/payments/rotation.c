/*
 * rotation.c
 *		Idempotency keys while old ones are dropped all the time.
 *
 * With a retention of one second: within it every key gives its answer; two clients with the same
 * key at the moment of a change do not both work; open keys stay; and in the end nothing is left of
 * what was answered.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"

#define RETENTION SECOND
#define ENOUGH	  3 /* changes of tables */
#define REMEMBER  4096 /* keys that a client comes back to */

typedef struct Rotator
{
	KeyClient keys;
	Usec worked_at[REMEMBER]; /* not later than the key was claimed */
	long open;				  /* keys that it leaves open, from the end of its range */
} Rotator;

static long rotations;

/* The thread that drops keys. */
static void *
rotate(void *unused)
{
	Session session = {0}, *s = &session;

	(void) unused;
	session_open(s);
	must(s, "SET holdfast.key_retention = '1s'");
	while (!stop)
	{
		must(s, "SELECT holdfast.rotate_keys()");
		rotations += session_is(s, "00000") && value(s, 0, 0)[0] == 't';
		usleep(20000);
	}
	session_close(s);
	return NULL;
}

/* Claims a key over both connections; it may be an old one. Returns whether it was worked on. */
static bool
use(Rotator *r, long i, bool fresh)
{
	KeyClient *c = &r->keys;
	Usec *at = &r->worked_at[i % REMEMBER];
	char sql[STATEMENT_MAX];
	int both = chance(&c->random, 30) ? 2 : 1, worked = 0, answered = 0;
	Usec began = now();

	key_statement(c, i, sql);
	for (int k = 0; k < both; k++)
		session_send(&c->session[k], "%s", sql);
	for (int k = 0; k < both; k++)
	{
		Session *s = &c->session[k];

		session_receive(s);
		if (s->lost)
			violation("key %ld: %s", i, session_error(s));
		worked += session_is(s, "00000") && value(s, 0, 0)[0] == 't';
		answered += key_judge(c, s, i, MAYBE);
		if (!fresh && s->t1 < *at + RETENTION && worked > 0)
			violation("key %ld was forgotten after %" PRId64 " us", i, s->t1 - *at);
	}
	if (worked > 1)
		violation("key %ld was claimed by two at once", i);
	if (fresh && answered > 0 && worked == 0)
		violation("key %ld is new, but has an answer", i);
	if (worked > 0)
		*at = began;
	return answered > 0;
}

static void *
rotation_run(void *rotator)
{
	Rotator *r = rotator;
	KeyClient *c = &r->keys;
	Session *s = &c->session[0];
	char key[260], fingerprint[140];

	for (int k = 0; k < 2; k++)
	{
		c->session[k].random = &c->random;
		session_open(&c->session[k]);
	}
	c->next = c->first;
	while (!stop && violations() == 0)
	{
		long back = c->next - c->first < REMEMBER ? c->next - c->first : REMEMBER;

		if (back > 0 && chance(&c->random, 50))
			(void) use(r, c->next - 1 - (long) rnd(&c->random, (uint64_t) back), false);
		else if (chance(&c->random, 1))
		{
			long i = c->last - 1 - r->open;

			if (session_run(s, "SELECT holdfast.claim_key(%" PRId64 ", '%s', '%s', '\\x%s')",
							key_account(i), key_operation(i), key_text(i, key),
							key_fingerprint(i, false, fingerprint)))
				r->open++;
			else if (!session_retry(s))
				violation("key %ld: %s", i, session_error(s));
		}
		else
		{
			while (violations() == 0 && !use(r, c->next, true))
				;
			c->next++;
		}
	}
	for (int k = 0; k < 2; k++)
		session_close(&c->session[k]);
	return NULL;
}

/* Open keys are still open, and can be completed. */
static void
complete_open(Session *s, Rotator *list)
{
	long n = 0;

	for (int k = 0; k < options.clients; k++)
		for (long i = list[k].keys.last - list[k].open; i < list[k].keys.last; i++, n++)
		{
			char key[260];

			must(s, "SELECT holdfast.complete_key(%" PRId64 ", '%s', '%s', 'late')", key_account(i),
				 key_operation(i), key_text(i, key));
		}
	must(s, "SELECT count(*) FROM holdfast.open_keys");
	claim(n > 0 && violations() == 0 && number(s, 0, 0) == 0,
		  "%ld open keys have survived, and were completed", n);
}

void
rotation_storm(void)
{
	Rotator *list = calloc((size_t) options.clients, sizeof(Rotator));
	Session session = {0}, *s = &session;
	pthread_t thread[options.clients], rotator;
	long keys = 0, replayed = 0;

	if (list == NULL)
		abort();
	session_open(s);
	must(s, "CREATE TABLE IF NOT EXISTS public.payments_work (i bigint)");
	for (int i = 0; i < options.clients; i++)
	{
		list[i].keys.random = options.seed * 1000003 + (uint64_t) i;
		list[i].keys.first = (long) i << 24;
		list[i].keys.last = (long) (i + 1) << 24;
	}
	if (pthread_create(&rotator, NULL, rotate, NULL) != 0)
		abort();
	run_threads(thread, options.clients, rotation_run, list, sizeof(Rotator));
	usleep((useconds_t) (options.seconds * 1e6));
	for (int i = 0; i < 600 && rotations < ENOUGH && violations() == 0; i++)
		usleep(100000);
	stop = true;
	join_threads(thread, options.clients);
	pthread_join(rotator, NULL);
	for (int i = 0; i < options.clients; i++)
	{
		keys += list[i].keys.next - list[i].keys.first;
		replayed += list[i].keys.replayed;
	}
	printf("# %ld keys, replayed %ld, tables changed %ld times; seed %" PRIu64 "\n", keys, replayed,
		   rotations, options.seed);
	claim(violations() == 0 && rotations >= ENOUGH && replayed > 0,
		  "no key is forgotten within its retention, nor claimed twice, in %ld changes of tables",
		  rotations);
	complete_open(s, list);
	must(s, "SET holdfast.key_retention = '1s'");
	/* Two turns; one that somebody was in the way of is tried again. */
	for (int i = 0, turns = 0; i < 600 && turns < 2; i++)
	{
		usleep(100000);
		must(s, "SELECT holdfast.rotate_keys()");
		turns += session_is(s, "00000") && value(s, 0, 0)[0] == 't';
	}
	must(s,
		 "SELECT (SELECT count(*) FROM _holdfast.idempotency_0) +"
		 " (SELECT count(*) FROM _holdfast.idempotency_1),"
		 " pg_total_relation_size('_holdfast.idempotency_0') +"
		 " pg_total_relation_size('_holdfast.idempotency_1')");
	claim(session_is(s, "00000") && number(s, 0, 0) == 0 && number(s, 0, 1) < 100000,
		  "two retentions later nothing is left of them: %s bytes", value(s, 0, 1));
	session_close(s);
	free(list);
}
