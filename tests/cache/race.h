/*
 * race.h
 *		Slow readers and fast writers of a watched table, and who compares the cache with it.
 *
 * race.c		options, threads, the report
 * writer.c		changes rows, and remembers when that was done
 * slow_reader.c	reads through the cache, with a pause between the database and the fill
 * auditor.c	stops everybody, and compares what is cached with what is in the table
 * probe.c		measures how long an old value can be read after a commit
 * parity.c		values that are hard to write: do writer and reader mean the same key?
 * session.c	a connection to the database
 *
 * Each row has a version, which every change raises by one.  It is cached twice: as item:{id}, by
 * the protocol, and as naive:{id}, as is often done: ask, on a miss read the database and set.  The
 * watched table invalidates both alike.
 *
 * A phase of load ends when the auditor says so; writers then wait until their changes have reached
 * Redis, readers until their last fill is done.  All meet at a barrier, the auditor compares, all
 * meet again.
 */
#ifndef RACE_H
#define RACE_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../../api/src/cache_reader.h"
#include "test.h"

#define PREFIX	  "holdfast:holdfast_test:"
#define HISTORY	  64 /* changes of a row whose time is known */
#define VALUE_TTL 3600000

typedef struct redisContext redisContext;

typedef struct Options
{
	int readers, writers, keys;
	long checks;	/* to be done by the auditor */
	double seconds; /* to do them in */
	int delay;		/* longest pause of a reader, microseconds */
	int phase;		/* length of a phase, microseconds */
	uint64_t seed;
	const char *redis; /* its socket */
} Options;

/* A change of a row that was committed, and a moment when it had been. */
typedef struct Change
{
	_Atomic int64_t version;
	_Atomic Usec at;
} Change;

typedef struct Row
{
	Change change[HISTORY]; /* by version */
} Row;

typedef struct Client
{
	pthread_t thread;
	int number;
	uint64_t random;
	PGconn *conn;
	HfCacheReader *reader;
	redisContext *redis;
	long writes, hits, leases, stored, refused, busy, off, naive_hits, naive_fills;
	Usec behind; /* the oldest hit */
} Client;

extern Options options;
extern Row *row;				  /* by id, from 1 on; 0 is the probe's */
extern atomic_bool quiet;		  /* the phase is over */
extern atomic_bool stop;		  /* no phase follows */
extern pthread_barrier_t meeting; /* of readers, writers and the auditor */

/* session.c */
extern PGconn *session_open(const char *name);
extern PGresult *session_run(PGconn *conn, const char *sql, int n, const char *const *values);
extern int64_t session_number(PGconn *conn, const char *sql, int64_t parameter);
extern void session_do(PGconn *conn, const char *sql);
extern void session_sync(PGconn *conn);

/* race.c */
extern HfCacheReader *reader_open(void);
extern redisContext *redis_open(void);
extern HfCacheEntry entry_of(int64_t id);

/* writer.c */
extern void *writer_run(void *client);
extern void row_changed(int64_t id, int64_t version);
extern Usec row_behind(int64_t id, int64_t version, Usec when);

/* slow_reader.c, probe.c, parity.c */
extern void *slow_reader_run(void *client);
extern void *probe_run(void *client);
extern void probe_report(void);
extern void parity_run(void);

/* auditor.c */
typedef struct Audit
{
	long checks, stale, naive_checks, naive_stale, phases, generations;
} Audit;

extern void auditor_run(Audit *audit);

#endif
