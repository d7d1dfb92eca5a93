/*
 * keys.c
 *		Idempotency keys alone: claimed and completed in all ways, with lost connections.
 *
 * Each piece of work leaves a row.  At the end there is one for every key, and every key gives its
 * answer, byte for byte.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"

#define BLOCK	  512 /* keys of one operation in a row */
#define BATCH_MAX 200

static KeyClient *list;

int64_t
key_account(long i)
{
	return options.base + i % 3;
}

const char *
key_operation(long i)
{
	static const char *const operation[] = {
		"x", "POST /v1/orders",
		"an operation with a long name, of exactly sixty-four characters!"};

	return operation[i / BLOCK % 3];
}

/* 8 to 255 characters; many share a long beginning. */
const char *
key_text(long i, char *buffer)
{
	int length = 8 + (int) (mix((uint64_t) i) % (i % 50 == 0 ? 248 : 25));

	memset(buffer, 'k', 256);
	sprintf(buffer + length - 8, "%08lx", i);
	return buffer;
}

/* 1 to 64 bytes in hex. */
const char *
key_fingerprint(long i, bool wrong, char *buffer)
{
	int length = 1 + (int) (mix((uint64_t) i + 7) % 64);

	for (int k = 0; k < length; k++)
		sprintf(buffer + 2 * k, "%02x", (unsigned) (mix((uint64_t) (i * 64 + k)) & 255));
	if (wrong)
		buffer[2 * length - 1] = buffer[2 * length - 1] == '0' ? '1' : '0';
	return buffer;
}

/* Any bytes, in hex: mostly few, sometimes none, sometimes so many that they are stored apart. */
const char *
key_response(long i, char *buffer)
{
	uint64_t pick = mix((uint64_t) i + 13) % 100;
	int length = (int) (mix((uint64_t) i + 17) % (pick < 80 ? 100 : pick < 98 ? 600 : RESPONSE_MAX));

	for (int k = 0; k < length; k++)
		sprintf(buffer + 2 * k, "%02x", (unsigned) (mix((uint64_t) (i * 4099 + k)) & 255));
	buffer[2 * length] = '\0';
	return buffer;
}

int
key_status(long i)
{
	return (int) (mix((uint64_t) i + 19) % 600) - 10;
}

/* Prints claim, work and completion as one statement: one round trip. */
void
key_statement(const KeyClient *c, long i, char *sql)
{
	char key[260], fingerprint[140], response[2 * RESPONSE_MAX + 1];

	key_text(i, key);
	snprintf(sql, STATEMENT_MAX,
			 "WITH k AS MATERIALIZED (SELECT * FROM holdfast.claim_key(%" PRId64
			 ", '%s', '%s', '\\x%s')),"
			 " work AS (INSERT INTO public.payments_work SELECT %ld FROM k WHERE claimed AND %s)"
			 " SELECT k.claimed, k.status, encode(k.response, 'hex'), CASE WHEN k.claimed THEN"
			 " holdfast.complete_key(%" PRId64 ", '%s', '%s', '\\x%s', %d)::text END FROM k",
			 key_account(i), key_operation(i), key, key_fingerprint(i, false, fingerprint), i,
			 c->counts ? "true" : "false", key_account(i), key_operation(i), key,
			 key_response(i, response), key_status(i));
}

static void
check_answer(long i, const char *status, const char *response)
{
	char expected[2 * RESPONSE_MAX + 1];

	if (atoi(status) != key_status(i) || strcmp(response, key_response(i, expected)) != 0)
		violation("key %ld was answered %s %s, not %d %s", i, status, response, key_status(i),
				  expected);
}

/*
 * Judges a row of claimed, status, response.  Returns whether the key is answered now, if the
 * statement has completed it as well.
 */
static bool
judge_row(KeyClient *c, Session *s, long i, Known known)
{
	if (value(s, 0, 0)[0] == 't')
	{
		if (known == ANSWERED)
			violation("key %ld was answered, and claimed again", i);
		c->worked++;
		return true;
	}
	if (known == FRESH)
		violation("key %ld is new, but has an answer", i);
	check_answer(i, value(s, 0, 1), value(s, 0, 2));
	c->replayed++;
	return true;
}

/* Judges the answer to key_statement(): true if the key is answered now. */
bool
key_judge(KeyClient *c, Session *s, long i, Known known)
{
	if (session_is(s, "00000"))
		return judge_row(c, s, i, known);
	if (s->lost)
		c->lost++;
	else if (session_is(s, "HF022") && known == MAYBE)
		c->in_flight++;
	else if (!session_retry(s))
		violation("key %ld got %s: %s", i, s->sqlstate, session_error(s));
	return false;
}

/* Claims a key that was answered: again, with another request, and completes it in vain. */
void
key_replay(KeyClient *c, long i)
{
	Session *s = &c->session[0];
	char sql[STATEMENT_MAX], key[260], fingerprint[140];
	uint64_t pick = rnd(&c->random, 4);

	if (pick < 2)
	{
		key_statement(c, i, sql);
		session_run(s, "%s", sql);
		(void) key_judge(c, s, i, ANSWERED);
	}
	else
	{
		key_text(i, key);
		if (pick == 2)
			session_run(s, "SELECT holdfast.claim_key(%" PRId64 ", '%s', '%s', '\\x%s')",
						key_account(i), key_operation(i), key, key_fingerprint(i, true, fingerprint));
		else if (chance(&c->random, 50))
			session_run(s, "SELECT holdfast.complete_key(%" PRId64 ", '%s', '%s', 'no')",
						key_account(i), key_operation(i), key);
		else
			session_run(s, "SELECT holdfast.abandon_key(%" PRId64 ", '%s', '%s')", key_account(i),
						key_operation(i), key);
		if (!s->lost && !session_retry(s) && !session_is(s, pick == 2 ? "HF021" : "HF023"))
			violation("key %ld, answered, got %s: %s", i, s->sqlstate, s->sql);
		c->reused++;
	}
	if (s->lost)
		session_open(s);
}

/* Claim, work and completion as three statements of a transaction. */
static bool
in_transaction(KeyClient *c, long i, Known known, bool commit)
{
	Session *s = &c->session[0];
	char key[260], fingerprint[140], response[2 * RESPONSE_MAX + 1];
	bool done = false, claimed = false;

	key_text(i, key);
	if (session_run(s, "BEGIN"))
	{
		session_run(s,
					"SELECT claimed, status, encode(response, 'hex') FROM holdfast.claim_key(%" PRId64
					", '%s', '%s', '\\x%s')",
					key_account(i), key_operation(i), key, key_fingerprint(i, false, fingerprint));
		claimed = session_is(s, "00000") && value(s, 0, 0)[0] == 't';
		done = key_judge(c, s, i, known);
		c->worked -= claimed;
	}
	if (claimed)
		done = session_run(s, "INSERT INTO public.payments_work SELECT %ld WHERE %s", i,
						   c->counts ? "true" : "false") &&
			(chance(&c->random, commit ? 100 : 60)
				 ? session_run(s, "SELECT holdfast.complete_key(%" PRId64 ", '%s', '%s', '\\x%s', %d)",
							   key_account(i), key_operation(i), key, key_response(i, response),
							   key_status(i))
				 : true);
	if (claimed && !done && !s->lost && !session_retry(s))
		violation("key %ld: %s (%s)", i, session_error(s), s->sqlstate);
	if (done)
		done = session_run(s, commit ? "COMMIT" : "ROLLBACK") && (commit || !claimed);
	if (done)
		c->worked += claimed && commit;
	else if (!s->lost)
		(void) session_roll_back(s);
	return done;
}

static bool
both_at_once(KeyClient *c, long i, Known known)
{
	char sql[STATEMENT_MAX];
	bool done = false, known_new = known == FRESH;
	int worked = 0;

	key_statement(c, i, sql);
	c->twins++;
	for (int k = 0; k < 2; k++)
		session_send(&c->session[k], "%s", sql);
	for (int k = 0; k < 2; k++)
	{
		Session *s = &c->session[k];

		session_receive(s);
		worked += session_is(s, "00000") && value(s, 0, 0)[0] == 't';
		done = key_judge(c, s, i, MAYBE) || done;
	}
	if (worked > 1 || (known == ANSWERED && worked > 0))
		violation("key %ld was claimed by two at once", i);
	if (known_new && done && worked == 0 && !c->session[0].lost && !c->session[1].lost)
		violation("key %ld was claimed by nobody, and is answered", i);
	if (c->session[1].lost)
		session_open(&c->session[1]);
	return done;
}

/* Gives a key back that is open, if it is. */
static void
give_up(Session *s, long i)
{
	char key[260];

	must(s, "DO $$ BEGIN PERFORM holdfast.abandon_key(%" PRId64 ", '%s', '%s');"
			" EXCEPTION WHEN SQLSTATE 'HF023' THEN NULL; END $$",
		 key_account(i), key_operation(i), key_text(i, key));
}

/* Claims a key and commits, without an answer; completes it in another transaction, or gives it up. */
static bool
leave_open(KeyClient *c, long i)
{
	Session *s = &c->session[0];
	char key[260], fingerprint[140], response[2 * RESPONSE_MAX + 1], sql[STATEMENT_MAX];

	key_text(i, key);
	if (!session_run(s, "SELECT claimed FROM holdfast.claim_key(%" PRId64 ", '%s', '%s', '\\x%s')",
					 key_account(i), key_operation(i), key, key_fingerprint(i, false, fingerprint)))
	{
		if (s->lost)
			give_up(s, i);
		return false;
	}
	if (value(s, 0, 0)[0] != 't')
		violation("key %ld is new, but has an answer", i);
	c->left_open++;
	key_statement(c, i, sql);
	if (session_run(&c->session[1], "%s", sql))
		violation("key %ld was open, and claimed", i);
	else if (!c->session[1].lost && !session_retry(&c->session[1]) &&
			 !session_is(&c->session[1], "HF022"))
		violation("key %ld is open, and gets %s", i, session_error(&c->session[1]));
	if (c->session[1].lost)
		session_open(&c->session[1]);
	if (chance(&c->random, 50))
	{
		give_up(s, i);
		return false;
	}
	/* Whoever completes it does the work, in the same transaction. */
	must(s,
		 "DO $$ BEGIN PERFORM holdfast.complete_key(%" PRId64 ", '%s', '%s', '\\x%s', %d);"
		 " INSERT INTO public.payments_work SELECT %ld WHERE %s;"
		 " EXCEPTION WHEN SQLSTATE 'HF023' THEN NULL; END $$",
		 key_account(i), key_operation(i), key, key_response(i, response), key_status(i), i,
		 c->counts ? "true" : "false");
	c->worked++;
	return true;
}

/* A new key, in one way or another, until it is answered. */
static void
answer_one(KeyClient *c, long i)
{
	Session *s = &c->session[0];
	char sql[STATEMENT_MAX];
	Known known = FRESH;
	bool done = false;

	while (!done && violations() == 0)
	{
		uint64_t pick = rnd(&c->random, 100);

		s->lost = false;
		if (pick < 20)
			done = in_transaction(c, i, known, true);
		else if (pick < 30)
		{
			c->rolled_back++;
			(void) in_transaction(c, i, known, false);
			if (s->lost)
				known = MAYBE; /* its server process may still have it */
		}
		else if (pick < 40)
			done = both_at_once(c, i, known);
		else if (pick < 45 && known == FRESH)
			done = leave_open(c, i);
		else
		{
			key_statement(c, i, sql);
			session_run(s, "%s", sql);
			done = key_judge(c, s, i, known);
		}
		if (s->lost || (!done && pick >= 30 && pick < 45))
			known = MAYBE;
		if (!s->lost)
			(void) session_roll_back(s);
		if (s->lost)
			session_open(s);
	}
}

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
	char accounts[2 * BATCH_MAX * 24], keys[2 * BATCH_MAX * 264],
		fingerprints[2 * BATCH_MAX * 140];
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
		snprintf(bytes, sizeof(bytes), "\\\\x%s",
				 key_fingerprint(b->key[i], wrong, fingerprint));
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
		(session_run(s,
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
	long oldest = first / BLOCK * BLOCK < c->first ? c->first : first / BLOCK * BLOCK;
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
				check_answer(b->key[i], value(s, i, 1), value(s, i, 2));
			if (strcmp(verdict, b->expected[i]) != 0 &&
				(known == FRESH || (strcmp(verdict, "02000") != 0 && strcmp(verdict, "HF022") != 0)))
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
		long left = c->last - c->next, block = BLOCK - c->next % BLOCK;
		uint64_t pick = rnd(&c->random, 100);

		if (pick < 10)
		{
			int n = 1 + (int) rnd(&c->random, BATCH_MAX - 1);

			n = n > left ? (int) left : n;
			n = n > block ? (int) block : n;
			answer_many(c, c->next, n);
			c->next += n;
		}
		else if (pick < 70 || c->next == c->first)
			answer_one(c, c->next++);
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

	for (long first = 0; first < options.keys && violations() == 0; first += BLOCK)
	{
		char keys[BLOCK * 264], fingerprints[BLOCK * 140], accounts[BLOCK * 24];
		char *k = keys + sprintf(keys, "{"), *f = fingerprints + sprintf(fingerprints, "{"),
			 *a = accounts + sprintf(accounts, "{"), text[300], bytes[150], fingerprint[140];

		for (long i = first; i < first + BLOCK && i < options.keys; i++)
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
				check_answer(first + row, value(s, row, 1), value(s, row, 2));
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
	must(s, "DROP TABLE IF EXISTS public.payments_work; CREATE TABLE public.payments_work (i bigint)");
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
	printf("# %ld keys in %.1f s: replayed %ld, reused %ld, two at once %ld, rolled back %ld, batches"
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
