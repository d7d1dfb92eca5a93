/*
 * audit.c
 *		The whole table against the journal, again and again, and in the end against all of Redis.
 *
 * What the journal knew before the table was read must be there, or something newer.  What it
 * does not know yet is acknowledged now: the writer's connection broke, or he is about to tell.
 *
 * While the journal is blind, nobody audits; afterwards what the table has counts.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

#define AUDIT_PAUSE SECOND
#define PATIENCE	(60 * SECOND)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Reads the version of each row, ABSENT if it is missing. */
bool
audit_table(Session *s, int64_t *version)
{
	if (!db_run(s, "SELECT id, version FROM item"))
		return false;
	for (int id = 1; id <= options.keys; id++)
		version[id] = ABSENT;
	for (int row = 0; row < PQntuples(s->result); row++)
		version[db_number(s, row, 0)] = db_number(s, row, 1);
	return true;
}

/* Compares a row with what the journal knew of it before. */
static void
compare(int id, int64_t is, int64_t was, bool was_absent, Usec since)
{
	bool absent = is == ABSENT;

	if (absent ? was_absent || journal_deleted_since(id, since) : is >= was)
	{
		if (!absent && journal_find(id, is))
			count(COUNT_FOUND, 1);
		return;
	}
	count(COUNT_FORGOTTEN, 1);
	violation("row %d had version %" PRId64 ", and has %" PRId64, id, was, is);
}

static bool
audit(Session *s)
{
	int64_t *is = calloc(2 * (options.keys + 1), sizeof(int64_t));
	int64_t *was = is + options.keys + 1;
	bool *was_absent = calloc(options.keys + 1, sizeof(bool));
	Usec since = now() - BOUND;
	bool done;

	if (is == NULL || was_absent == NULL)
		abort();
	for (int id = 1; id <= options.keys; id++)
		was[id] = journal_newest(id, &was_absent[id]);
	done = audit_table(s, is);
	for (int id = 1; id <= options.keys && done; id++)
		compare(id, is[id], was[id], was_absent[id], since);
	count(COUNT_AUDITS, done);
	free(is);
	free(was_absent);
	return done;
}

/* The auditor's life. */
void *
audit_run(void *unused)
{
	Session s = {0};

	(void) unused;
	(void) db_connect(&s, &stop_readers);
	while (!stop_readers)
	{
		bool done;

		pthread_mutex_lock(&lock);
		done = audit(&s);
		pthread_mutex_unlock(&lock);
		if (!done && PQstatus(s.conn) == CONNECTION_BAD)
			(void) db_connect(&s, &stop_readers);
		nap(AUDIT_PAUSE);
	}
	db_close(&s);
	return NULL;
}

/* From here on rows change without the journal's knowledge, until audit_resume() in this thread. */
void
audit_pause(void)
{
	pthread_mutex_lock(&lock);
	journal_be_blind(true);
}

/* What the table has, counts from now on. False if it cannot be read. */
bool
audit_resume(void)
{
	Session s = {0};
	int64_t *version = calloc(options.keys + 1, sizeof(int64_t));
	int64_t watermark = 0;
	bool done = db_connect(&s, &stop_writers) && db_run(&s, "SELECT last_value FROM item_version");

	if (version == NULL)
		abort();
	if (done)
		watermark = db_number(&s, 0, 0);
	done = done && audit_table(&s, version);
	for (int id = 1; id <= options.keys && done; id++)
	{
		bool absent;
		int64_t newest = journal_newest(id, &absent);

		if (version[id] == ABSENT ? !absent : version[id] != newest)
			journal_restore(id, version[id], watermark);
	}
	journal_be_blind(false);
	pthread_mutex_unlock(&lock);
	free(version);
	db_close(&s);
	return done;
}

/* Is everything of the entry as the database has it? */
static bool
is_current(const Entry *entry, const int64_t *version)
{
	for (int id = entry->first; id < entry->first + entry->rows; id++)
		if (reader_version(entry, id) != version[id])
		{
			violation("in the end %s has version %" PRId64 " of row %d, whose version is %" PRId64,
					  entry->key, reader_version(entry, id), id, version[id]);
			return false;
		}
	return true;
}

/* Asks until the cache is on. */
static bool
ask_patiently(Cache *c, Entry *entry, int n)
{
	Usec end = now() + PATIENCE;

	while (!cache_ask(c, entry, n))
	{
		if (now() > end)
			return false;
		nap(10000);
	}
	return true;
}

/* When nobody writes any more: compares every entry that is cached with the database. */
void
audit_end(long *cached, long *different)
{
	Session s = {0};
	Cache c = {0};
	Entry *entry = calloc(BATCH, sizeof(Entry));
	int64_t *version = calloc(options.keys + 1, sizeof(int64_t));
	int entries = options.keys + options.keys / SHELF;
	bool on = true;

	*cached = *different = 0;
	if (entry == NULL || version == NULL)
		abort();
	if (!db_connect(&s, &stop_writers) || !db_run(&s, "SELECT holdfast.cache_sync('10 s')") ||
		!audit_table(&s, version))
		violation("at the end: %s", PQerrorMessage(s.conn));
	for (int done = 0; done < entries && on; done += BATCH)
	{
		int n = entries - done < BATCH ? entries - done : BATCH;

		for (int i = 0; i < n; i++)
			if (done + i < options.keys)
				cache_name(&entry[i], done + i + 1, false);
			else
				cache_name(&entry[i], (done + i - options.keys) * SHELF + 1, true);
		on = ask_patiently(&c, entry, n);
		if (!on)
			violation("at the end the cache is off");
		for (int i = 0; i < n; i++)
		{
			*cached += entry[i].answer == HIT;
			*different += entry[i].answer == HIT && !is_current(&entry[i], version);
		}
	}
	cache_close(&c);
	db_close(&s);
	free(entry);
	free(version);
}
