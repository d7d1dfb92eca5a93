/*
 * provider.c
 *		The provider: charges by key, decisions, money.
 *
 * The same key is the same charge: it is decided once and moves money at most once.  That Holdfast
 * asks for nothing it must not ask for is seen from here: other arguments under a known key, a
 * capture of more than was authorized, a second capture, a refund of more than was captured.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payments.h"

#define BUCKETS	  65536
#define CHUNK	  4096
#define CHUNKS	  512
#define REFERENCE 10000 /* number in the reference of the first charge */

atomic_bool honest;

static pthread_mutex_t lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static Charge *chunk[CHUNKS];
static int charges;
static int bucket[BUCKETS], next[CHUNK * CHUNKS]; /* 1 + number of the charge, 0: none */

static void
init(void)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&lock, &attributes);
}

void
provider_lock(void)
{
	pthread_once(&once, init);
	pthread_mutex_lock(&lock);
}

void
provider_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

Charge *
provider_charge(int i)
{
	return &chunk[i / CHUNK][i % CHUNK];
}

int
provider_charges(void)
{
	return charges;
}

/* What the provider calls the charge. */
void
provider_reference(int i, char *out, size_t size)
{
	snprintf(out, size, "ch_%d", REFERENCE + i);
}

static unsigned
hash(const char *key)
{
	uint64_t h = UINT64_C(14695981039346656037);

	while (*key)
		h = (h ^ (unsigned char) *key++) * UINT64_C(1099511628211);
	return (unsigned) (h >> 20) % BUCKETS;
}

/* The number of the charge, or -1. */
int
provider_find(const char *key)
{
	int i = bucket[hash(key)];

	while (i != 0 && strcmp(provider_charge(i - 1)->key, key) != 0)
		i = next[i - 1];
	return i - 1;
}

static int
find_or_make(const Call *call)
{
	int i = provider_find(call->key);
	unsigned h = hash(call->key);
	Charge *charge;

	if (i >= 0)
		return i;
	if (charges == CHUNK * CHUNKS)
		abort();
	if (charges % CHUNK == 0)
		chunk[charges / CHUNK] = calloc(CHUNK, sizeof(Charge));
	i = charges++;
	charge = provider_charge(i);
	if (chunk[i / CHUNK] == NULL)
		abort();
	strcpy(charge->key, call->key);
	charge->account = call->account;
	strcpy(charge->payment, call->payment);
	charge->call = call->call;
	charge->kind = call->kind;
	charge->amount = call->amount;
	strcpy(charge->currency, call->currency);
	strcpy(charge->method, call->method);
	charge->root = -1;
	next[i] = bucket[h];
	bucket[h] = i + 1;
	return i;
}

/*
 * A worker has claimed the call between t0 and t1: nobody else may have it on lease, and it must
 * be the same as before.
 */
void
provider_claimed(const Call *call, Usec t0, Usec t1)
{
	Charge *charge;

	provider_lock();
	charge = provider_charge(find_or_make(call));
	if (charge->leased_until > t1)
		violation("call %s was claimed %" PRId64 " us before the end of another worker's lease",
				  call->key, charge->leased_until - t1);
	if (call->leased_until <= t0)
		violation("call %s was claimed without a lease", call->key);
	/* From then on its outcome is unknown, and it is asked about rarely. */
	if (call->attempt > ATTEMPTS && call->leased_until < t0 + BACKOFF_MAX)
		violation("call %s was claimed for the %dth time, as if it were not unknown", call->key,
				  call->attempt);
	if (call->attempt <= charge->attempt)
		violation("attempt %d of call %s came after attempt %d", call->attempt, call->key,
				  charge->attempt);
	if (charge->account != call->account || strcmp(charge->payment, call->payment) != 0 ||
		charge->call != call->call || (charge->kind != call->kind && !call->lookup) ||
		charge->amount != call->amount || strcmp(charge->currency, call->currency) != 0 ||
		strcmp(charge->method, call->method) != 0)
		violation("call %s was %c of %" PRId64 " %s by %s, and is %c of %" PRId64 " %s by %s",
				  call->key, charge->kind, charge->amount, charge->currency, charge->method,
				  call->kind, call->amount, call->currency, call->method);
	charge->attempt = call->attempt;
	charge->leased_until = call->leased_until;
	provider_unlock();
}

/* The charge whose money a capture, void or refund is about. */
static int
root_of(const Call *call)
{
	char reference[24];
	int i;

	if (call->kind == 'a' || call->kind == 's')
	{
		if (call->original[0] != '\0')
			violation("call %s of kind %c names %s", call->key, call->kind, call->original);
		return -1;
	}
	i = atoi(call->original + (call->original[0] ? 3 : 0)) - REFERENCE;
	if (i < 0 || i >= charges)
	{
		violation("call %s of kind %c names no charge of the provider: '%s'", call->key, call->kind,
				  call->original);
		return -1;
	}
	provider_reference(i, reference, sizeof(reference));
	if (strcmp(reference, call->original) != 0 || provider_charge(i)->outcome != DONE)
		violation("call %s of kind %c names '%s', which was not done", call->key, call->kind,
				  call->original);
	return provider_charge(i)->root >= 0 ? provider_charge(i)->root : i;
}

/* Moves the money, if it can be moved. What Holdfast should not have asked for is a violation. */
static bool
move(Charge *charge)
{
	Charge *root = charge->root >= 0 ? provider_charge(charge->root) : charge;

	switch (charge->kind)
	{
		case 'a':
			return true;
		case 's':
			root->captured = charge->amount;
			return true;
		case 'k':
			if (root->kind != 'a' || root->voided || root->captured > 0 ||
				charge->amount > root->amount)
			{
				violation("capture %s of %" PRId64 ": of %" PRId64 " authorized, %" PRId64
						  " captured before, %svoided",
						  charge->key, charge->amount, root->amount, root->captured,
						  root->voided ? "" : "not ");
				return false;
			}
			root->captured = charge->amount;
			return true;
		case 'v':
			if (root->captured > 0)
			{
				if (!root->two_minds)
					violation("void %s of what was captured", charge->key);
				return false;
			}
			root->voided = true;
			return true;
		default:
			if (charge->amount > root->captured - root->refunded)
			{
				if (!root->two_minds)
					violation("refund %s of %" PRId64 ": captured %" PRId64 ", refunded %" PRId64,
							  charge->key, charge->amount, root->captured, root->refunded);
				return false;
			}
			root->refunded += charge->amount;
			return true;
	}
}

/* Decides what was left open, and lets the world know. */
void
provider_settle(int i, bool decline)
{
	Charge *charge = provider_charge(i);
	bool flips;

	if (charge->outcome != UNDECIDED)
		return;
	charge->outcome = !decline && move(charge) ? DONE : DECLINED;
	flips = decline && mood_flips(charge);
	if (flips)
		mood_push(now() + SECOND / 10 + mood_delay(charge, "flip", SECOND / 2), FLIP, i);
	mood_hooks(i, charge->outcome == DONE ? "call.succeeded" : "call.declined", false);
}

/* What was declined is done after all, if it can be. */
void
provider_flip(int i)
{
	Charge *charge = provider_charge(i);
	Charge *root = charge->root >= 0 ? provider_charge(charge->root) : charge;

	if (charge->outcome != DECLINED)
		return;
	if (charge->kind == 'r' ? charge->amount > root->captured - root->refunded : root->voided)
		return;
	root->two_minds = true;
	if (!move(charge))
		return;
	charge->outcome = DONE;
	mood_hooks(i, "call.succeeded", true);
}

/* A worker asks what has become of a call, and does not make it. Is there an answer to it? */
static bool
look_up(Charge *charge)
{
	if (!charge->known)
		charge->in_vain = true;
	return charge->known;
}

/* A worker makes the call, if he is in time. */
void
provider_ask(const Call *call, Answer *answer)
{
	int i;
	Charge *charge;
	Mood mood;

	memset(answer, 0, sizeof(Answer));
	provider_lock();
	i = find_or_make(call);
	charge = provider_charge(i);
	charge->heard++;
	if (now() >= call->leased_until)
	{
		provider_unlock();
		return;
	}
	mood = honest ? PROMPT : mood_of(charge, call->attempt);
	if (mood == NEVER_ARRIVES)
	{
		provider_unlock();
		return;
	}
	if (call->lookup && !look_up(charge))
	{
		answer->outcome = "declined";
		answer->reason = "never_made";
		provider_unlock();
		return;
	}
	if (!charge->known)
	{
		if (charge->in_vain)
			violation("call %s is made after somebody was told that it never was", call->key);
		if (charge->kind != call->kind)
			charge->kind = call->kind;
		charge->known = true;
		charge->root = root_of(call);
		if (honest || !mood_hesitates(charge))
			provider_settle(i, mood_declines(charge));
		else
			mood_push(now() + mood_delay(charge, "settle", SECOND / 2), SETTLE, i);
	}
	if (honest && charge->outcome == UNDECIDED)
		provider_settle(i, mood_declines(charge));
	if (mood != NO_ANSWER)
	{
		answer->outcome = charge->outcome == DONE ? "succeeded"
			: charge->outcome == DECLINED		  ? "declined"
												  : "pending";
		answer->reason = charge->outcome == DECLINED ? "card_declined" : NULL;
		if (charge->outcome == DONE)
			provider_reference(i, answer->reference, sizeof(answer->reference));
		answer->delay = mood == LATE ? 50000 + mood_delay(charge, "late", SECOND / 2) : 0;
	}
	provider_unlock();
}

/* Of two words about a call the higher one stands. */
int
rank(char state)
{
	switch (state)
	{
		case 's':
			return 3;
		case 'f':
			return 2;
		case 'u':
			return 1;
		default:
			return 0;
	}
}

/* The database has acknowledged that it knows: it must never forget. */
void
provider_acknowledged(const char *key, const char *outcome)
{
	int word = rank(outcome[0] == 's' ? 's' : outcome[0] == 'd' ? 'f' : 'd');
	Charge *charge;

	provider_lock();
	charge = provider_charge(provider_find(key));
	if (charge->acknowledged < word)
		charge->acknowledged = word;
	provider_unlock();
}
