/*
 * record.c
 *		Records in the database what providers have answered.
 *
 * All answers that wait go out as one statement.  If it fails, they go out one by one, so that one
 * that cannot be recorded keeps nobody else's back: it is logged and forgotten, and its call made
 * again, with its key, when the lease is over.
 *
 * Invariants: what was added is kept until it is recorded or forgotten, however often the
 * connection is lost.  To record something twice changes nothing.
 */
#include "record.h"

#include "array.h"
#include "database.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 500
#define TRIES_MAX 5 /* against deadlocks and the like, which are rare */
#define ARRAYS	  6

static HfRecordDone when_done;
static HfCall *first, *last;
static unsigned sent; /* so many from the first on are under way */
static bool one_by_one;

void
hf_record_begin(HfRecordDone done)
{
	when_done = done;
}

/* Takes a call whose answer is known. */
void
hf_record_add(HfCall *call)
{
	call->next = NULL;
	if (last != NULL)
		last->next = call;
	else
		first = call;
	last = call;
}

/* Is there anything to be sent? */
bool
hf_record_is_waiting(void)
{
	return first != NULL && sent == 0;
}

static HfCall *
take_first(void)
{
	HfCall *call = first;

	first = call->next;
	if (first == NULL)
		last = NULL;
	return call;
}

/* Is this worth another try at once? */
static bool
is_transient(const char *code)
{
	return strncmp(code, "40", 2) == 0 || strcmp(code, "55P03") == 0 || strcmp(code, "57014") == 0;
}

/* What was sent has failed: it is tried one by one, and then not any more. */
static void
fail(unsigned n, const char *code, const char *message)
{
	HfCall *call;

	if (*code == '\0')
		return; /* the connection was lost: all of it again */
	one_by_one = true;
	if (n > 1)
		return;
	call = take_first();
	if (is_transient(code) && ++call->tries < TRIES_MAX)
	{
		hf_record_add(call);
		return;
	}
	hf_log(HF_LOG_ERROR, "not_recorded", "%s: %s (SQLSTATE %s)", call->key, message, code);
	when_done(call);
}

static void
recorded(void *context, const HfRows *rows, const char *code, const char *message)
{
	unsigned n = sent;

	(void) context;
	sent = 0;
	if (rows == NULL)
		fail(n, code, message);
	else
		for (; n > 0; n--)
			when_done(take_first());
	if (first == NULL)
		one_by_one = false;
}

/* One element of each array, in the order of the statement's parameters; "" is NULL. */
static void
elements(const HfCall *call, const char *element[ARRAYS])
{
	static const char *const words[] = {"retry", "unknown", "pending", "declined", "succeeded"};

	element[0] = call->account;
	element[1] = call->payment;
	element[2] = call->number;
	element[3] = words[call->answer.outcome];
	element[4] = call->answer.reference;
	element[5] = call->answer.reason;
}

/* The arrays of the first n calls, to be freed; false if there is no memory for one. */
static bool
write_arrays(unsigned n, char *written[ARRAYS])
{
	HfArray array[ARRAYS];
	const HfCall *call = first;
	bool good = true;

	for (int a = 0; a < ARRAYS; a++)
		hf_array_open(&array[a]);
	for (unsigned i = 0; i < n; i++, call = call->next)
	{
		const char *element[ARRAYS];

		elements(call, element);
		for (int a = 0; a < ARRAYS; a++)
			hf_array_add(&array[a], *element[a] == '\0' ? NULL : element[a]);
	}
	for (int a = 0; a < ARRAYS; a++)
	{
		written[a] = hf_array_close(&array[a]);
		good = written[a] != NULL && good;
	}
	return good;
}

/* Sends what waits, as far as it fits into a statement. The connection is ready. */
void
hf_record_send(void)
{
	unsigned n = 0, most = one_by_one ? 1 : BATCH_MAX;
	char *array[ARRAYS] = {NULL};

	for (const HfCall *call = first; call != NULL && n < most; call = call->next)
		n++;
	if (write_arrays(n, array))
	{
		sent = n;
		hf_database_send("SELECT holdfast.record_results($1, $2, $3, $4, $5, $6)", ARRAYS,
						 (const char *const *) array, recorded, NULL);
	}
	for (int a = 0; a < ARRAYS; a++)
		free(array[a]);
}
