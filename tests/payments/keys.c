/*
 * keys.c
 *		Idempotency keys alone: claimed and completed in all ways, with lost connections.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"

int64_t
key_account(long i)
{
	return options.base + i % 3;
}

const char *
key_operation(long i)
{
	static const char *const operation[] =
		{"x", "POST /v1/orders",
		 "an operation with a long name, of exactly sixty-four characters!"};

	return operation[i / KEY_BLOCK % 3];
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
	int length = (int) (mix((uint64_t) i + 17) %
						(pick < 80		 ? 100
							 : pick < 98 ? 600
										 : RESPONSE_MAX));

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

void
key_check(long i, const char *status, const char *response)
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
	key_check(i, value(s, 0, 1), value(s, 0, 2));
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
						key_account(i), key_operation(i), key,
						key_fingerprint(i, true, fingerprint));
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
		session_run(
			s,
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
				 ? session_run(s,
							   "SELECT holdfast.complete_key(%" PRId64 ", '%s', '%s', '\\x%s', %d)",
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

	must(s,
		 "DO $$ BEGIN PERFORM holdfast.abandon_key(%" PRId64 ", '%s', '%s');"
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
void
key_answer_one(KeyClient *c, long i)
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
