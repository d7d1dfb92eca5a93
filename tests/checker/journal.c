/*
 * journal.c
 *		What was acknowledged when, and the judgement of what was served.
 *
 * Each row has a list of events, in the order of their acknowledgement.  An event contradicts a
 * version that was served if the row had another one from then on; the events that contradict
 * are the last of the list, because versions only grow.  What was served is too old by the time
 * since the first of them.
 *
 * A restored dump brings old versions back.  Its event carries a watermark: all other versions up to that
 * one are contradicted by it.  While a dump is restored the journal is blind, and for the
 * bound after it.
 *
 * A deletion that has been sent, and is not yet acknowledged or given up, is an intention: as long
 * as there is one, the row may be missing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "checker.h"

#define LOCKS 256

typedef struct Row
{
	Event *event;
	int n, room;
	int intentions;
} Row;

static Row *rows; /* from 1 on */
static pthread_mutex_t locks[LOCKS];
static _Atomic Usec blind_from = INT64_MAX;
static _Atomic Usec blind_until;

void
journal_open(void)
{
	rows = calloc(options.keys + 1, sizeof(Row));
	if (rows == NULL)
		abort();
	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_init(&locks[i], NULL);
}

static Row *
lock_row(int id)
{
	pthread_mutex_lock(&locks[id % LOCKS]);
	return &rows[id];
}

static void
unlock_row(int id)
{
	pthread_mutex_unlock(&locks[id % LOCKS]);
}

/* The row's last event, or NULL. */
static Event *
last_event(const Row *row)
{
	return row->n > 0 ? &row->event[row->n - 1] : NULL;
}

/* Adds an event of now; its time is read under the lock, so that events are in its order. */
static Event *
add_event(Row *row, int64_t version, bool absent, bool restored)
{
	const Event *last;
	Event *event;

	if (row->n == row->room)
	{
		row->room = row->room * 2 + 8;
		row->event = realloc(row->event, row->room * sizeof(Event));
		if (row->event == NULL)
			abort();
	}
	last = last_event(row);
	event = &row->event[row->n++];
	*event = (Event){.acked = now(), .version = version, .newest = version, .absent = absent};
	if (last != NULL && !restored)
	{
		event->watermark = last->watermark;
		if (last->newest > version)
		{
			event->newest = last->newest;
			event->absent = last->absent;
		}
	}
	return event;
}

/* So many more transactions, or fewer, may be about to delete the row for good. */
void
journal_intend(int id, int deletions)
{
	lock_row(id)->intentions += deletions;
	unlock_row(id);
}

/* A transaction has been acknowledged. With `watch` its keys are looked at from now on. */
void
journal_ack(const Change *change, int n, bool watch)
{
	for (int i = 0; i < n; i++)
	{
		int id = change[i].id;
		Event *event = add_event(lock_row(id), change[i].version, change[i].absent, false);

		event->prepared = change[i].prepared;
		event->probed = watch && prober_offer(id, change[i].version);
		if (watch)
			looker_expect(id, event->acked);
		unlock_row(id);
	}
}

/* The database has the version; true if nobody has told so before. */
bool
journal_find(int id, int64_t version)
{
	Row *row = lock_row(id);
	bool found = row->n == 0 || version > last_event(row)->newest;

	if (found)
		looker_expect(id, add_event(row, version, false, false)->acked);
	unlock_row(id);
	return found;
}

/* A restored dump has given the row this version, or taken it away. */
void
journal_restore(int id, int64_t version, int64_t watermark)
{
	add_event(lock_row(id), version, version == ABSENT, true)->watermark = watermark;
	unlock_row(id);
}

/* The newest version that was acknowledged, 0 if none was. */
int64_t
journal_newest(int id, bool *absent)
{
	const Event *last = last_event(lock_row(id));
	int64_t version = last != NULL ? last->newest : 0;

	*absent = last == NULL || last->absent;
	unlock_row(id);
	return version;
}

/* May the row have been missing at some time since then? The caller holds the lock. */
static bool
may_be_absent(const Row *row, Usec since)
{
	bool absent = row->intentions > 0 || row->n == 0;

	for (int i = row->n - 1; i >= 0 && !absent; i--)
	{
		absent = row->event[i].absent;
		if (row->event[i].acked <= since)
			break;
	}
	return absent;
}

bool
journal_deleted_since(int id, Usec since)
{
	bool absent = may_be_absent(lock_row(id), since);

	unlock_row(id);
	return absent;
}

/* Until further notice, rows change without the journal's knowledge. Or not any more. */
void
journal_be_blind(bool blind)
{
	if (blind)
	{
		blind_until = INT64_MAX;
		blind_from = now();
	}
	else
		blind_until = now() + BOUND;
}

static bool
contradicts(const Event *event, int64_t version)
{
	if (version == ABSENT)
		return !event->absent;
	return version < event->newest || (version > event->newest && version <= event->watermark);
}

/* Counts it, and tells of it unless `key` is NULL. */
static void
tell_stale(int id, int64_t version, const Event *event, Usec late, const char *key)
{
	const char *fault = fault_name();

	count(COUNT_STALE, 1);
	if (key == NULL)
		return;
	violation("%s: row %d was served with version %" PRId64 ", %.3f s after %s %" PRId64
			  " was acknowledged; %s",
			  key, id, version, late / 1e6, event->absent ? "its deletion" : "version",
			  event->newest, fault != NULL ? fault : "no fault");
}

/* A reader has asked for the key at that time, and was served this version of the row. */
void
journal_served(int id, int64_t version, Usec asked, const char *key)
{
	Row *row;
	int first;

	if (asked >= blind_from && asked <= blind_until)
		return;
	row = lock_row(id);
	for (first = row->n; first > 0 && contradicts(&row->event[first - 1], version); first--)
		;
	if (version == ABSENT && row->intentions > 0)
		first = row->n;
	for (int i = first; i < row->n && row->event[i].acked < asked; i++)
	{
		Usec before = row->event[i].late;
		Usec late = asked - row->event[i].acked;

		if (late > before)
			row->event[i].late = late;
		if (i == first && late > BOUND)
			tell_stale(id, version, &row->event[i], late, before > BOUND ? NULL : key);
	}
	unlock_row(id);
}

/* To be called when nobody else is at work. */
void
journal_each(void (*visit)(const Event *event))
{
	for (int id = 1; id <= options.keys; id++)
		for (int i = 0; i < rows[id].n; i++)
			visit(&rows[id].event[i]);
}
