/*
 * keys_batch.c
 *		Idempotency keys, many in one statement; and the test of all ways together.
 *
 * Each piece of work leaves a row.  At the end there is one for every key, and every key gives its
 * answer, byte for byte.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"

#define BATCH_MAX 200

static KeyClient *list;

/* Adds an element to the text of an array of quoted elements. */
static char *
element(char *end, const char *text)
{
	return end + sprintf(end, "%s\"%s\"", end[-1] == '{' ? "" : ",", text);
}

/* The lines of a batch: new keys, then some that were answered, wrong, short or named before. */
typedef struct Batch
{
	long key[2 * BATCH_MAX];
	const char *expected[2 * BATCH_MAX];
	int n, fresh;
	char accounts[2 * BATCH_MAX * 24], keys[2 * BATCH_MAX * 264], fingerprints[2 * BATCH_MAX * 140];
} Batch;

static void
fill_batch(KeyClient *c, Batch *b, long first, int fresh, long oldest)
{
	char *a = b->accounts + sprintf(b->accounts, "{"), *k = b->keys + sprintf(b->keys, "{"),
		 *f = b->fingerprints + sprintf(b->fingerprints, "{");
	int others = (int) rnd(&c->random, (uint64_t) fresh);

	b->fresh = fresh;
	b->n = fresh + others;
	for (int i = 0; i < b->n; i++)
	{
		char text[300], fingerprint[140], bytes[150];
		bool wrong = false;

		if (i < fresh)
		{
			b->key[i] = first + i;
			b->expected[i] = "00000";
		}
		else if (oldest < first && chance(&c->random, 70))
		{
			b->key[i] = oldest + (long) rnd(&c->random, (uint64_t) (first - oldest));
			wrong = chance(&c->random, 30);
			b->expected[i] = wrong ? "HF021" : "02000";
		}
		else
		{
			b->key[i] = first + (long) rnd(&c->random, (uint64_t) fresh);
			b->expected[i] = "HF022";
		}
		snprintf(text, sizeof(text), "%" PRId64, key_account(b->key[i]));
		a = element(a, text);
		key_text(b->key[i], text);
		if (i >= fresh && chance(&c->random, 3))
		{
			text[7] = '\0';
			b->expected[i] = "HF019";
		}
		k = element(k, text);
		snprintf(bytes, sizeof(bytes), "\\\\x%s", key_fingerprint(b->key[i], wrong, fingerprint));
		f = element(f, bytes);
	}
	strcpy(a, "}");
	strcpy(k, "}");
	strcpy(f, "}");
}

/* Completes the lines that were claimed; true if the transaction was committed. */
static bool
complete_batch(KeyClient *c, const Batch *b, const bool *claimed)
{
	Session *s = &c->session[0];
	char *buffer = malloc(BATCH_MAX * (2 * RESPONSE_MAX + 700)), *end = buffer;
	char response[2 * RESPONSE_MAX + 1], key[260];
	bool done;
	int n = 0;

	if (buffer == NULL)
		abort();
	*end = '\0';
	for (int i = 0; i < b->fresh; i++)
		if (claimed[i])
			end += sprintf(end, "%s(%" PRId64 ", '%s', '\\x%s'::bytea, %d, %ld)",
						   n++ > 0 ? "," : "", key_account(b->key[i]), key_text(b->key[i], key),
						   key_response(b->key[i], response), key_status(b->key[i]), b->key[i]);
	done = n == 0 ||
		(session_run(
			 s,
			 "WITH v (a, k, r, s, i) AS (VALUES %s),"
			 " work AS (INSERT INTO public.payments_work SELECT i FROM v)"
			 " SELECT holdfast.complete_keys(array_agg(a::bigint), '%s', array_agg(k), array_agg(r),"
			 " array_agg(s)) FROM v",
			 buffer, key_operation(b->key[0])) &&
		 number(s, 0, 0) == n);
	free(buffer);
	if (!done && !s->lost && !session_retry(s))
		violation("complete_keys() of %d: %s (%s)", n, session_error(s), s->sqlstate);
	done = done && session_run(s, "COMMIT");
	c->worked += done ? n : 0;
	return done;
}

/* Many keys in one transaction of two statements, until all are answered. */
static void
answer_many(KeyClient *c, long first, int fresh)
{
	Session *s = &c->session[0];
	Batch *b = malloc(sizeof(Batch));
	long oldest =
		first / KEY_BLOCK * KEY_BLOCK < c->first ? c->first : first / KEY_BLOCK * KEY_BLOCK;
	Known known = FRESH;
	bool done = false;

	if (b == NULL)
		abort();
	fill_batch(c, b, first, fresh, oldest);
	c->batches++;
	while (!done && violations() == 0)
	{
		bool claimed[BATCH_MAX] = {0}, busy = false;

		s->lost = false;
		done = session_run(s, "BEGIN") &&
			session_run(s,
						"SELECT verdict, status, encode(response, 'hex') FROM holdfast.claim_keys("
						"'%s', '%s', '%s', '%s') ORDER BY line",
						b->accounts, key_operation(first), b->keys, b->fingerprints);
		if (!done && !s->lost && !session_retry(s))
			violation("claim_keys(): %s (%s)", session_error(s), s->sqlstate);
		if (done && PQntuples(s->result) != b->n)
			violation("claim_keys() of %d lines gave %d verdicts", b->n, PQntuples(s->result));
		for (int i = 0; done && i < b->n && violations() == 0; i++)
		{
			const char *verdict = value(s, i, 0);

			busy = busy || (i < fresh && strcmp(verdict, "HF022") == 0);
			if (i < fresh)
				claimed[i] = strcmp(verdict, "00000") == 0;
			if (strcmp(verdict, "02000") == 0)
				key_check(b->key[i], value(s, i, 1), value(s, i, 2));
			if (strcmp(verdict, b->expected[i]) != 0 &&
				(known == FRESH ||
				 (strcmp(verdict, "02000") != 0 && strcmp(verdict, "HF022") != 0)))
				violation("line %d of claim_keys(), key %ld, got %s, not %s", i + 1, b->key[i],
						  verdict, b->expected[i]);
		}
		done = done && !busy && complete_batch(c, b, claimed);
		if (s->lost)
			known = MAYBE;
		else if (!done)
			(void) session_roll_back(s);
		if (s->lost)
			session_open(s);
	}
	free(b);
}

/* The thread of one client. */
static void *
keys_run(void *client)
{
	KeyClient *c = client;

	for (int k = 0; k < 2; k++)
	{
		c->session[k].random = &c->random;
		session_open(&c->session[k]);
	}
	c->next = c->first;
	while (c->next < c->last && violations() == 0)
	{
		long left = c->last - c->next, block = KEY_BLOCK - c->next % KEY_BLOCK;
		uint64_t pick = rnd(&c->random, 100);

		if (pick < 3)
		{
			int n = 1 + (int) rnd(&c->random, BATCH_MAX - 1);

			n = n > left ? (int) left : n;
			n = n > block ? (int) block : n;
			answer_many(c, c->next, n);
			c->next += n;
		}
		else if (pick < 70 || c->next == c->first)
			key_answer_one(c, c->next++);
		else
			key_replay(c, c->first + (long) rnd(&c->random, (uint64_t) (c->next - c->first)));
	}
	for (int k = 0; k < 2; k++)
		session_close(&c->session[k]);
	return NULL;
}

/* Every key once more: its answer must be there. */
static void
compare_answers(Session *s)
{
	long n = 0;

	for (long first = 0; first < options.keys && violations() == 0; first += KEY_BLOCK)
	{
		char keys[KEY_BLOCK * 264], fingerprints[KEY_BLOCK * 140], accounts[KEY_BLOCK * 24];
		char *k = keys + sprintf(keys, "{"), *f = fingerprints + sprintf(fingerprints, "{"),
			 *a = accounts + sprintf(accounts, "{"), text[300], bytes[150], fingerprint[140];

		for (long i = first; i < first + KEY_BLOCK && i < options.keys; i++)
		{
			k = element(k, key_text(i, text));
			snprintf(bytes, sizeof(bytes), "\\\\x%s", key_fingerprint(i, false, fingerprint));
			f = element(f, bytes);
			snprintf(text, sizeof(text), "%" PRId64, key_account(i));
			a = element(a, text);
		}
		strcpy(k, "}");
		strcpy(f, "}");
		strcpy(a, "}");
		must(s,
			 "SELECT verdict, status, encode(response, 'hex'), line FROM holdfast.claim_keys("
			 "'%s', '%s', '%s', '%s') ORDER BY line",
			 accounts, key_operation(first), keys, fingerprints);
		for (int row = 0; row < PQntuples(s->result); row++, n++)
			if (strcmp(value(s, row, 0), "02000") != 0)
				violation("key %ld was answered, and gets %s", first + row, value(s, row, 0));
			else
				key_check(first + row, value(s, row, 1), value(s, row, 2));
	}
	claim(n == options.keys && violations() == 0, "%ld keys give their answer, byte for byte", n);
}

/* Claims so many keys, and reports. */
void
keys_storm(void)
{
	Session session = {0}, *s = &session;
	pthread_t thread[options.clients], trouble;
	uint64_t random = options.seed;
	KeyClient sum = {0};
	Usec begun = now();

	list = calloc((size_t) options.clients, sizeof(KeyClient));
	if (list == NULL)
		abort();
	session_open(s);
	must(s,
		 "DROP TABLE IF EXISTS public.payments_work; CREATE TABLE public.payments_work (i bigint)");
	for (int i = 0; i < options.clients; i++)
	{
		list[i].number = i;
		list[i].counts = true;
		list[i].random = options.seed * 1000003 + (uint64_t) i;
		list[i].first = options.keys * i / options.clients;
		list[i].last = options.keys * (i + 1) / options.clients;
	}
	if (pthread_create(&trouble, NULL, trouble_run, &random) != 0)
		abort();
	run_threads(thread, options.clients, keys_run, list, sizeof(KeyClient));
	join_threads(thread, options.clients);
	stop = true;
	pthread_join(trouble, NULL);
	for (int i = 0; i < options.clients; i++)
	{
		sum.replayed += list[i].replayed;
		sum.reused += list[i].reused;
		sum.twins += list[i].twins;
		sum.rolled_back += list[i].rolled_back;
		sum.batches += list[i].batches;
		sum.left_open += list[i].left_open;
		sum.lost += list[i].lost;
		sum.in_flight += list[i].in_flight;
	}
	printf(
		"# %ld keys in %.1f s: replayed %ld, reused %ld, two at once %ld, rolled back %ld, batches"
		" %ld, left open %ld, in flight %ld, answers lost %ld, connections killed %ld; seed %" PRIu64
		"\n",
		options.keys, (double) (now() - begun) / 1e6, sum.replayed, sum.reused, sum.twins,
		sum.rolled_back, sum.batches, sum.left_open, sum.in_flight, sum.lost, (long) killed,
		options.seed);
	claim(violations() == 0, "%ld keys were claimed once each, and replayed after that",
		  options.keys);
	must(s, "SELECT count(*), count(DISTINCT i) FROM public.payments_work");
	claim(session_is(s, "00000") && number(s, 0, 0) == options.keys &&
			  number(s, 0, 1) == options.keys,
		  "the work of every key was done once: %s times for %s keys", value(s, 0, 0),
		  value(s, 0, 1));
	compare_answers(s);
	must(s, "SELECT count(*) FROM holdfast.open_keys");
	claim(session_is(s, "00000") && number(s, 0, 0) == 0, "no key is left open");
	must(s, "DROP TABLE public.payments_work");
	session_close(s);
	free(list);
}
