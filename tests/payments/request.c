/*
 * request.c
 *		A buyer's request with its key: sent until he knows what has become of it.
 *
 * What an answer may be follows from what went before.  Where the key was acknowledged, the answer
 * is the same again, marked as a replay.  Where no answer was lost and nobody else has the key, it
 * is no replay.  A refusal leaves no key; whether it was right is judged at the end, when the
 * history is there (compare.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "payments.h"

const char *const request_name[REQUESTS] = {"create", "authorize", "capture", "void", "refund"};

/* What a business may answer to each, besides what is asked for. */
static const char *const refusals[REQUESTS] = {
	[CREATE] = "HF006 HF007 HF008 HF009 HF031",
	[AUTHORIZE] = "HF006 HF007 HF008 HF009 HF028 HF031",
	[CAPTURE] = "HF006 HF007 HF008 HF009 HF024 HF028 HF029 HF031 HF042",
	[VOID] = "HF028",
	[REFUND] = "HF028 HF030",
};

Payment *
payment_new(Buyer *b, Order *order, int64_t account)
{
	static const char *const currency[] = {"EUR", "JPY", "KWD"};
	Payment *p = calloc(1, sizeof(Payment));

	if (p == NULL)
		abort();
	p->account = account;
	p->amount = 1 + (int64_t) rnd(&b->random, chance(&b->random, 80) ? 10000 : 1000000000);
	p->currency = currency[rnd(&b->random, 3)];
	p->order = order;
	p->seen = 'n';
	snprintf(p->method, sizeof(p->method), "tok_%016" PRIx64, mix(rnd(&b->random, UINT64_MAX)));
	p->serial = ++b->serial[account - options.base];
	buyer_uuid(b, 0x8000, p->serial, p->id);
	order->payment = grow(order->payment, order->payments, &order->payment_room, sizeof(Payment *));
	order->payment[order->payments++] = p;
	return p;
}

/*
 * A request about the payment, with a new key.  Keys are as short as they may be and as alike:
 * other accounts and other operations use the same ones.
 */
Intent *
intent_new(Buyer *b, Payment *p, Request request)
{
	Intent *intent = calloc(1, sizeof(Intent));
	int same = 0;

	if (intent == NULL)
		abort();
	intent->payment = p;
	intent->request = request;
	intent->then = REQUESTS;
	for (int i = 0; i < p->intents; i++)
		same += p->intent[i]->request == request;
	snprintf(intent->key, sizeof(intent->key), "%02x%04x%02x%s", (unsigned) b->number & 0xff,
			 (unsigned) p->serial & 0xffff, (unsigned) same & 0xff,
			 p->serial % 20 == 0 ? " and ~ a longer 'one' \"\\{}" : "");
	p->intent = grow(p->intent, p->intents, &p->intent_room, sizeof(Intent *));
	p->intent[p->intents++] = intent;
	return intent;
}

/* Prints the key as a literal. */
static const char *
literal(const char *key, char *buffer)
{
	char *end = buffer;

	*end++ = '\'';
	for (; *key; key++)
	{
		if (*key == '\'')
			*end++ = '\'';
		*end++ = *key;
	}
	strcpy(end, "'");
	return buffer;
}

/* Prints the statement of a request. */
void
request_text(char *sql, size_t size, const Intent *i)
{
	static const char *const columns = "SELECT payment, state, call, replayed FROM holdfast.";
	const Payment *p = i->payment;
	char key[2 * KEY_SIZE + 3], owner[48] = "NULL", amount[64], more[80] = "";

	literal(i->key, key);
	if (i->amount != 0)
		snprintf(amount, sizeof(amount), "%" PRId64, i->amount);
	else
		strcpy(amount, "NULL");
	if (i->currency != NULL)
		snprintf(amount + strlen(amount), 16, ", '%s'", i->currency);
	if (i->request == CREATE)
	{
		char then[32] = "", id[64] = "";

		if (p->order->owner[0])
			snprintf(owner, sizeof(owner), "'%s'", p->order->owner);
		if (i->then != REQUESTS)
			snprintf(then, sizeof(then), ", p_then => '%s'", request_name[i->then]);
		if (i->names_id)
			snprintf(id, sizeof(id), ", p_payment => '%s'", p->id);
		snprintf(sql, size,
				 "%screate_payment(%" PRId64 ", %s, %" PRId64 ", '%s', '%s', '%s', %s%s%s)",
				 columns, p->account, key, p->amount, p->currency, options.provider, p->method,
				 owner, then, id);
		return;
	}
	if (i->amount != 0 || i->currency != NULL)
		snprintf(more, sizeof(more), ", %s", amount);
	else if (i->request == REFUND || i->request == VOID)
		strcpy(more, ", p_reason => 'changed my mind'");
	snprintf(sql, size, "%s%s_payment(%" PRId64 ", '%s', %s%s)", columns, request_name[i->request],
			 p->account, p->id, key, more);
}

/* Is a success what the request was to bring? */
static void
check_answer(const Session *s, const Intent *i)
{
	const Payment *p = i->payment;
	const char *state = value(s, 0, 1);
	Request what = i->request == CREATE ? i->then : i->request;
	bool right;

	switch (what)
	{
		case REQUESTS:
			right = strcmp(state, "created") == 0 && is_null(s, 0, 2);
			break;
		case AUTHORIZE:
			right = strcmp(state, "authorizing") == 0 && number(s, 0, 2) > 0;
			break;
		case CAPTURE:
			right = strcmp(state, "capturing") == 0 && number(s, 0, 2) > 0;
			break;
		case VOID:
			right = strcmp(state, "voided") == 0;
			break;
		default:
			right = strstr("captured partially_refunded refunding", state) && number(s, 0, 2) > 0;
			break;
	}
	if (i->request == CREATE && !i->names_id)
		right = right && strlen(value(s, 0, 0)) == 36;
	else
		right = right && strcmp(value(s, 0, 0), p->id) == 0;
	if (!right)
		violation("%s of payment %s got %s, %s, call %s\n#   %s", request_name[i->request], p->id,
				  value(s, 0, 0), state, value(s, 0, 2), s->sql);
}

/* A request succeeded. */
static void
accept(Buyer *b, const Session *s, Intent *i)
{
	char answer[96];
	bool replayed = value(s, 0, 3)[0] == 't';

	snprintf(answer, sizeof(answer), "%s|%s|%s", value(s, 0, 0), value(s, 0, 1), value(s, 0, 2));
	b->replayed += replayed;
	if (i->acknowledged)
	{
		if (!replayed)
			violation("key %s was answered, and then worked on again\n#   %s", i->key, s->sql);
		if (strcmp(answer, i->answer) != 0)
			violation("key %s was answered '%s', and then '%s'", i->key, i->answer, answer);
		return;
	}
	if (replayed && !i->doubt && !i->rival)
		violation("key %s is new, but its answer is a replay: %s\n#   %s", i->key, answer, s->sql);
	check_answer(s, i);
	strcpy(i->answer, answer);
	i->acknowledged = true;
	i->call = is_null(s, 0, 2) ? 0 : (int) number(s, 0, 2);
	i->t0 = s->t0;
	i->t1 = s->t1;
	b->done[i->request]++;
	if (i->request == CREATE)
	{
		snprintf(i->payment->id, sizeof(i->payment->id), "%s", value(s, 0, 0));
		i->payment->exists = true;
	}
	switch (i->request == CREATE ? i->then : i->request)
	{
		case AUTHORIZE:
			i->payment->seen = 'g';
			break;
		case CAPTURE:
			i->payment->seen = 'p';
			break;
		case VOID:
			i->payment->seen = 'v';
			break;
		default:
			break;
	}
}

static void
refuse(Buyer *b, const Session *s, Intent *i)
{
	Refusal *refusal;

	if (i->acknowledged)
		violation("key %s was answered, and then refused with %s: %s\n#   %s", i->key, s->sqlstate,
				  session_error(s), s->sql);
	if (!session_is(s, refusals[i->request]) &&
		!(i->currency != NULL && strcmp(i->currency, i->payment->currency) != 0 &&
		  session_is(s, "HF026")))
		violation("%s got %s: %s\n#   %s", request_name[i->request], s->sqlstate, session_error(s),
				  s->sql);
	b->refusal = grow(b->refusal, b->refusals, &b->refusal_room, sizeof(Refusal));
	refusal = &b->refusal[b->refusals++];
	*refusal = (Refusal){.intent = i, .t0 = s->t0, .t1 = s->t1};
	strcpy(refusal->code, s->sqlstate);
	b->refused++;
}

/*
 * Takes note of an answer to the request, which was not in a transaction of its own. True if the
 * buyer knows now what has become of it.
 */
bool
request_judge(Buyer *b, Session *s, Intent *i)
{
	if (session_is(s, "00000"))
	{
		accept(b, s, i);
		return true;
	}
	if (s->lost)
	{
		i->doubt = true;
		b->lost++;
		return false;
	}
	b->retried++;
	if (session_retry(s))
		return false;
	if (session_is(s, "HF022"))
	{
		if (!i->doubt && !i->rival)
			violation("key %s is in flight, but nobody has it\n#   %s", i->key, s->sql);
		usleep(2000);
		return false;
	}
	b->retried--;
	refuse(b, s, i);
	return true;
}

/* Finishes what is prepared: it must not be lost, and keeps others waiting. */
static void
finish_prepared(Buyer *b)
{
	Session *s = &b->session[0];
	char tag[40];

	snprintf(tag, sizeof(tag), "payments %ld %d", (long) options.base, b->number);
	while (options.two_phase)
	{
		if (session_run(s, "SELECT 1 FROM pg_prepared_xacts WHERE gid = '%s'", tag) &&
			(PQntuples(s->result) == 0 || session_run(s, "COMMIT PREPARED '%s'", tag)))
			break;
		if (s->lost)
			session_open(s);
		else
			usleep(1000); /* the server process that had it is not quite gone */
	}
}

static void
reconnect(Buyer *b)
{
	session_open(&b->session[0]);
	finish_prepared(b);
}

/* In a transaction, ended by COMMIT or by both phases. True if the outcome is known. */
static bool
in_transaction(Buyer *b, Intent *i, const char *sql, const char *before, bool two_phase)
{
	Session *s = &b->session[0];
	char tag[40];
	Intent saved = *i, answer;
	Payment *p = i->payment, as_before = *p;
	int refusals = b->refusals;

	if (!session_run(s, "BEGIN") || (before != NULL && !session_run(s, "%s", before)))
		return false;
	if (chance(&b->random, 20))
	{
		(void) (session_run(s, "SAVEPOINT a") && session_run(s, "%s", sql));
		if (s->lost || !session_run(s, "ROLLBACK TO a"))
			return false;
	}
	session_run(s, "%s", sql);
	if (!request_judge(b, s, i) || !session_is(s, "00000"))
	{
		/* Of what came before in the transaction, and explains it, nothing is left. */
		if (before != NULL)
			b->refusals = refusals;
		/* Without a COMMIT nothing is in doubt, but a server process may still be at it. */
		i->rival = i->rival || s->lost;
		i->doubt = saved.doubt;
		return !s->lost && !session_retry(s) && !session_is(s, "HF022");
	}
	answer = *i;
	if (!saved.acknowledged)
	{
		b->done[i->request]--;
		*i = saved;
		p->exists = as_before.exists;
		p->seen = as_before.seen;
	}
	snprintf(tag, sizeof(tag), "payments %ld %d", (long) options.base, b->number);
	if (two_phase ? session_run(s, "PREPARE TRANSACTION '%s'", tag) &&
				session_run(s, "COMMIT PREPARED '%s'", tag)
				  : session_run(s, "COMMIT"))
	{
		if (!saved.acknowledged)
			b->done[i->request]++;
		*i = answer;
		i->t1 = s->t1;
		if (i->request == CREATE)
			p->exists = true;
		return true;
	}
	if (!s->lost && !session_retry(s))
		violation("%s got %s: %s", s->sql, s->sqlstate, session_error(s));
	if (s->lost)
		i->doubt = true;
	else if (two_phase)
	{
		i->doubt = true;
		finish_prepared(b);
	}
	return false;
}

/* The buyer hangs up before the answer is there; his server process may go on. */
static void
hang_up(Buyer *b, Intent *i, const char *sql)
{
	Session *s = &b->session[0];

	session_send(s, "%s", sql);
	if (chance(&b->random, 50))
		usleep(rnd(&b->random, 500));
	operations++;
	i->doubt = true;
	b->lost++;
	session_open(s);
}

static void
roll_back(Buyer *b, Intent *i, const char *sql)
{
	Session *s = &b->session[0];

	b->rolled_back++;
	if (session_run(s, "BEGIN") && session_run(s, "%s", sql))
		session_run(s, "ROLLBACK");
	if (!s->lost)
		(void) session_roll_back(s);
	if (s->lost)
	{
		i->rival = true;
		reconnect(b);
	}
}

/* The same request over both connections at once. */
static bool
both_at_once(Buyer *b, Intent *i, const char *sql)
{
	bool known = false, first;

	b->twins++;
	i->rival = true;
	session_send(&b->session[0], "%s", sql);
	session_send(&b->session[1], "%s", sql);
	for (int k = 0; k < 2; k++)
		session_receive(&b->session[k]);
	/* The one that did the work is judged before the one that got its answer. */
	first = session_is(&b->session[1], "00000") && value(&b->session[1], 0, 3)[0] == 'f';
	for (int k = 0; k < 2; k++)
	{
		Session *s = &b->session[k ^ first];

		if (k == 1 && known && session_is(s, refusals[i->request]) && i->acknowledged)
		{
			/* Refused before the other one was accepted: it left no key. */
			i->acknowledged = false;
			refuse(b, s, i);
			i->acknowledged = true;
		}
		else
			known = request_judge(b, s, i) || known;
	}
	if (b->session[1].lost)
		session_open(&b->session[1]);
	if (b->session[0].lost)
		reconnect(b);
	return i->acknowledged || (known && !i->doubt);
}

/*
 * Sends a request, in one way or another, until its outcome is known.  `before` is a statement to
 * be run before it in the same transaction, the first time.
 */
void
request_run(Buyer *b, Intent *i, const char *before)
{
	Session *s = &b->session[0];
	char sql[1024];
	bool known = false;
	Usec deadline = now() + PATIENCE;

	request_text(sql, sizeof(sql), i);
	while (!known && violations() == 0)
	{
		uint64_t pick = rnd(&b->random, 100);

		if (now() > deadline)
			violation("%s (%s) again and again: %s", session_error(s), s->sqlstate, sql);

		if (before != NULL || pick < 8)
			known = in_transaction(b, i, sql, before, options.two_phase && pick < 2);
		else if (pick < 14)
			known = both_at_once(b, i, sql);
		else
		{
			if (pick < 18)
				hang_up(b, i, sql);
			else if (pick < 22)
				roll_back(b, i, sql);
			session_run(s, "%s", sql);
			known = request_judge(b, s, i);
		}
		before = NULL;
		if (!s->lost)
			(void) session_roll_back(s);
		if (s->lost)
			reconnect(b);
	}
}

/* Two different requests at once. */
void
request_twin(Buyer *b, Intent *one, Intent *two)
{
	Intent *intent[2] = {one, two};
	char sql[1024];
	bool known[2];

	b->twins++;
	for (int k = 0; k < 2; k++)
	{
		request_text(sql, sizeof(sql), intent[k]);
		session_send(&b->session[k], "%s", sql);
	}
	for (int k = 0; k < 2; k++)
	{
		session_receive(&b->session[k]);
		known[k] = request_judge(b, &b->session[k], intent[k]);
	}
	if (b->session[1].lost)
		session_open(&b->session[1]);
	if (b->session[0].lost)
		reconnect(b);
	for (int k = 0; k < 2; k++)
		if (!known[k])
			request_run(b, intent[k], NULL);
}
