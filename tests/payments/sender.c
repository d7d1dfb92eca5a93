/*
 * sender.c
 *		Delivers the provider's webhooks, and some that were forged.
 *
 * What counts is the first delivery of an event; every other one must be told to be a duplicate,
 * even if two meet.  A forged one must be refused with its code.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "payments.h"

char secrets[2][80]; /* the provider's secret, and the one before */
long forged, hooks_delivered;

/* The body as JSON, in one of the ways that people write it. */
static void
make_body(char *body, size_t size, const Event *e, const Charge *charge, uint64_t style)
{
	char reference[24];

	provider_reference(e->charge, reference, sizeof(reference));
	switch (style)
	{
		case 0:
			snprintf(body, size,
					 "{\"type\":\"%s\",\"data\":{\"key\":\"%s\",\"amount\":%ld,\"currency\":\"%s\","
					 "\"reference\":\"%s\"}}",
					 e->type, charge->key, (long) e->amount, charge->currency, reference);
			break;
		case 1:
			snprintf(body, size,
					 "{\n  \"data\" : {\n    \"reference\": \"%s\",\n    \"currency\": \"%s\",\n"
					 "    \"reason\": \"so \\\"sagt\\\" die Bank: \\u00fc \xc3\xbc\",\n"
					 "    \"amount\": %ld, \"key\":\t\"%s\"\n  },\n  \"type\" : \"%s\"\n}\n",
					 reference, charge->currency, (long) e->amount, charge->key, e->type);
			break;
		default:
			snprintf(body, size,
					 "{\"previous\":{\"type\":\"call.declined\",\"key\":\"hf_1\",\"amount\":1},"
					 "\"list\":[1,[2.5e3,{}],null],\"type\":\"%s\",\"data\":{\"more\":true,"
					 "\"key\":\"%s\",\"amount\":%ld,\"currency\":\"%s\",\"reference\":\"%s\","
					 "\"reason\":null}}",
					 e->type, charge->key, (long) e->amount, charge->currency, reference);
			break;
	}
}

/* Hands a webhook to the database; true if it was taken. */
static bool
deliver(Session *s, const char *id, const char *timestamp, const char *signature, const char *body)
{
	char hex[2 * 1024 + 1] = "";

	for (size_t i = 0; body[i] && i < 1024; i++)
		sprintf(hex + 2 * i, "%02x", (unsigned char) body[i]);
	return session_run(s, "SELECT holdfast.receive_webhook('%s', '\\x%s'::bytea, '%s', '%s', '%s')",
					   options.provider, hex, signature, id, timestamp);
}

/* A webhook that somebody else has sent, or that is broken. */
static void
forge(Session *s, const Event *e, const char *body, const char *secret)
{
	char id[100], timestamp[24], other[80], broken[1100], signature[200];
	time_t when = time(NULL);
	const char *expected;
	uint64_t pick = rnd(s->random, 7);

	snprintf(broken, sizeof(broken), "%s", body);
	snprintf(id, sizeof(id), "%s_x%d", e->id, (int) rnd(s->random, 1000000));
	if (pick == 0 || pick == 1)
		when += pick == 0 ? -400 : 400;
	snprintf(timestamp, sizeof(timestamp), "%ld", (long) when);
	signature_make(other, sizeof(other), s->random);
	if (pick == 2)
		broken[strlen(broken) / 2] = '\0';
	if (pick == 6)
		snprintf(broken, sizeof(broken), "{\"type\":\"customer.created\",\"data\":{\"id\":7}}");
	signature_sign(signature, sizeof(signature), pick == 3 ? other : secret, id, timestamp, broken);
	if (pick == 4)
		broken[rnd(s->random, strlen(broken))] ^= 1;
	if (pick == 5)
		strcpy(signature, "nonsense");
	expected = pick < 2 ? "HF038" : pick == 2 ? "HF039" : pick == 5 ? "HF036" : "HF037";
	if (pick == 6)
		expected = "00000";
	deliver(s, id, timestamp, signature, broken);
	if (s->lost || session_retry(s))
		return;
	if (!session_is(s, expected) || (pick == 6 && strcmp(value(s, 0, 0), "ignored") != 0))
		violation("a forged webhook (%d) got %s (%s) instead of %s: %s", (int) pick, s->sqlstate,
				  session_is(s, "00000") ? value(s, 0, 0) : session_error(s), expected, broken);
	forged++;
}

/* Is the answer to a delivery right? The provider is locked. */
static void
check(const Session *s, Event *e, const Charge *charge)
{
	const char *verdict = value(s, 0, 0);
	bool wrong = e->amount != charge->amount;

	if (strcmp(verdict, "duplicate") == 0)
	{
		if (e->attempts == 1)
			violation("event %s is new, but called a duplicate", e->id);
		return;
	}
	if (++e->effective > 1)
		violation("event %s took effect twice (%s)", e->id, verdict);
	if (strcmp(verdict, wrong ? "mismatch" : "applied") != 0 &&
		(wrong || strcmp(verdict, "stale") != 0))
		violation("event %s (%s%s of %s) was told %s", e->id, e->type,
				  wrong ? ", wrong amount" : "", charge->key, verdict);
	if (!wrong)
		provider_acknowledged(charge->key, e->type + strlen("call."));
}

/* Delivers an event once; false if the answer was lost, and the provider is to try again. */
static bool
send_event(Session *s, Event *e)
{
	char body[1024], signature[200], timestamp[24], secret[2][80];
	const Charge *charge;

	provider_lock();
	charge = provider_charge(e->charge);
	e->attempts++;
	make_body(body, sizeof(body), e, charge, rnd(s->random, 3));
	memcpy(secret, secrets, sizeof(secret));
	provider_unlock();
	snprintf(timestamp, sizeof(timestamp), "%ld", (long) time(NULL));
	if (!honest && chance(s->random, 4))
		forge(s, e, body, secret[0]);
	if (s->lost)
		session_open(s);
	signature_sign(signature, sizeof(signature), secret[rnd(s->random, 2)], e->id, timestamp, body);
	if (deliver(s, e->id, timestamp, signature, body))
	{
		provider_lock();
		check(s, e, charge);
		hooks_delivered++;
		provider_unlock();
		return true;
	}
	if (s->lost)
		session_open(s);
	else if (session_retry(s))
	{
		/* Refused for a moment is as if never sent. */
		provider_lock();
		e->attempts--;
		provider_unlock();
	}
	else
		violation("event %s got %s: %s\n#   %s", e->id, s->sqlstate, session_error(s), body);
	return false;
}

/* Every event once more, after all is over: the database must not have forgotten one. */
void
sender_repeat_all(Session *s)
{
	int n = mood_events(), forgotten = 0;
	uint64_t random = options.seed;

	s->random = &random;
	for (int i = 0; i < n && violations() == 0; i++)
	{
		for (int tries = 0; !send_event(s, mood_event(i)) && violations() == 0; tries++)
			if (tries > 1000)
				violation("event %s is not taken: %s", mood_event(i)->id, session_error(s));
		if (violations() > 0)
			break;
		forgotten += strcmp(value(s, 0, 0), "duplicate") != 0;
	}
	s->random = NULL;
	claim(n > 0 && forgotten == 0, "%d webhooks sent once more are duplicates", n);
}

/* The thread of one sender. */
void *
sender_run(void *random)
{
	Session session = {.random = random}, *s = &session;

	session_open(s);
	while (!finish && violations() == 0)
	{
		Due what;
		int index;
		Event *e = NULL;
		bool found;

		provider_lock();
		found = mood_pop(&what, &index);
		if (found && what == SETTLE)
			provider_settle(index, mood_declines(provider_charge(index)));
		else if (found && what == FLIP)
			provider_flip(index);
		else if (found)
			e = mood_event(index);
		provider_unlock();
		if (!found)
			usleep(1000);
		else if (e != NULL && !send_event(s, e))
		{
			provider_lock();
			mood_push(now() + SECOND / 50, HOOK, index);
			provider_unlock();
		}
	}
	session_close(s);
	free(s->sql);
	return NULL;
}
