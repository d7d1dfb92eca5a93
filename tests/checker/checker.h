/*
 * checker.h
 *		An independent checker of the cache: writers and readers of a watched table, and a journal
 *		that knows what a reader may still be served.
 *
 * checker.c	options, the commands on standard input, the claims at the end
 * journal.c	what was acknowledged when, and the judgement of what was served
 * figures.c	staleness around faults and without them; counts
 * db.c			a connection to the database
 * writer.c		ways to change rows; ways.c the transactions of several statements
 * cache.c		the reader's part of docs/cache-protocol.md, written from that page alone
 * reader.c		readers that fill the cache, and those who only look at what was just changed
 * audit.c		the whole table against the journal, and in the end against all of Redis
 *
 * How it knows.  Rows have a version from one sequence; it is taken while the row is locked, so of
 * two versions of a row the greater was committed later.  A writer notes in the journal what it
 * changed, after the commit was acknowledged and with the time of that.  A reader notes the time,
 * then asks Redis, then the journal: what it was served is too old if a version that replaces it had
 * been acknowledged longer ago than BOUND when the question was asked.
 *
 * It never cries wolf: the acknowledgement comes after the commit, and the question before
 * the answer, so the answer was older than the bound by at least as much as is claimed; whatever
 * is newer than the journal knows is taken for a commit that is being acknowledged.  And it never
 * looks away: nothing that Redis serves to any reader goes without judgement, each changed key
 * is asked for again a second and five seconds later, and where a connection broke before the
 * acknowledgement, the database says within a second what has become of the change, which from then
 * on counts as acknowledged.  In the end, when nobody writes any more, every entry in Redis must be
 * as the database has it.
 *
 * A row that is missing has no version.  Rows are deleted for longer than a transaction only by
 * the writer they belong to, or all of them by TRUNCATE; who does so tells the journal before it
 * commits.  What the checker does not do itself, such as restoring a dump, happens while
 * writers rest and the journal is blind.
 *
 * Locks: the journal has one for many rows.  He who holds it may take that of the probes or of a
 * looker's queue; whoever holds one of those takes no other.
 */
#ifndef CHECKER_H
#define CHECKER_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t Usec; /* microseconds of this machine's monotonic clock */

#define SECOND INT64_C(1000000)
#define BOUND  (1600 * 1000) /* of the protocol, 1.5 s, and a little for rounding */

#define SHELF  10		   /* rows whose versions are cached together, under a tag */
#define BATCH  64		   /* entries that are asked for at once */
#define ROWS   200		   /* most that a transaction changes, but for TRUNCATE */
#define ABSENT INT64_C(-1) /* the version of a missing row */

typedef struct Options
{
	const char *redis; /* path of its socket */
	const char *prefix;
	int keys;
	int writers;
	int readers;
	long writes; /* that are to be made at least */
	double late; /* milliseconds, in which 99 of a hundred commits are to be seen */
	double hits; /* of a hundred questions without a fault, at least */
	int pause;	 /* of a writer between transactions, at most, in microseconds */
	uint64_t seed;
} Options;

extern Options options;
extern atomic_bool stop_writers;
extern atomic_bool stop_readers;
extern atomic_bool truncate_wanted;

/* checker.c */
extern Usec now(void);
extern void nap(Usec time);
extern uint64_t rnd(uint64_t *state, uint64_t n);
extern bool chance(uint64_t *state, int percent);
extern void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* journal.c */

/* What a transaction has done to a row. */
typedef struct Change
{
	int id;
	int64_t version;
	bool absent;   /* deleted it */
	bool prepared; /* was committed in two phases */
} Change;

/* What has become of a row by an acknowledged commit. */
typedef struct Event
{
	Usec acked;
	int64_t version;
	int64_t newest;	   /* of this version and those before it, since a restore */
	int64_t watermark; /* versions up to this one were there when the row was restored */
	Usec late;		   /* how long after `acked` something older was served, as far as seen */
	bool absent;	   /* the newest is a deletion */
	bool probed;	   /* somebody watched for that from the first moment */
	bool prepared;	   /* it was committed in two phases */
} Event;

extern void journal_open(void);
extern void journal_intend(int id, int deletions);
extern void journal_ack(const Change *change, int n, bool watch);
extern bool journal_find(int id, int64_t version);
extern void journal_restore(int id, int64_t version, int64_t watermark);
extern int64_t journal_newest(int id, bool *absent);
extern bool journal_deleted_since(int id, Usec since);
extern void journal_be_blind(bool blind);
extern void journal_served(int id, int64_t version, Usec asked, const char *key);
extern void journal_each(void (*visit)(const Event *event));

/* figures.c */
typedef enum Count
{
	COUNT_HITS,
	COUNT_MISSES,
	COUNT_OFF, /* asked for while there was no heartbeat, or no Redis */
	COUNT_FILLED,
	COUNT_REFUSED, /* fills that came too late */
	COUNT_LOOKS,   /* keys that were asked for some time after they had changed */
	COUNT_SEEN,	   /* and served */
	COUNT_STALE,   /* served longer than the bound after a newer version */
	COUNT_WRITES,
	COUNT_RELOADED, /* rows written by TRUNCATE and reload */
	COUNT_FOUND,	/* changes that only the database could tell of */
	COUNT_AUDITS,
	COUNT_FORGOTTEN, /* acknowledged, and not in the database */
	COUNTS
} Count;

extern void count(Count what, long n);
extern long counted(Count what);
extern long counted_healthy(Count what);
extern void fault_begin(const char *name);
extern void fault_end(void);
extern const char *fault_name(void);
extern double figures_print(void);

/* db.c */
typedef struct Session
{
	PGconn *conn;
	PGresult *result;
	char sqlstate[6]; /* 00000 if the last statement succeeded, empty if the connection broke */
	bool lost;
} Session;

extern bool db_connect(Session *s, const atomic_bool *stop);
extern void db_close(Session *s);
extern bool db_run(Session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern bool db_copy(Session *s, const char *statement, const char *rows);
extern int64_t db_number(const Session *s, int row, int column);

/* writer.c */
typedef struct Writer
{
	int number;
	uint64_t random;
	Session own;
	Session other; /* which ends prepared transactions */
	Change change[ROWS];
	int changes;
	long done, rolled_back, refused, lost;
} Writer;

extern void writer_note(Writer *w);
extern bool writer_change_row(Writer *w, int id);
extern bool writer_change_rows(Writer *w, int first, int last);
extern int writer_range(Writer *w, int most, int *last);
extern void writer_acknowledge(Writer *w);
extern bool writer_commit(Writer *w);
extern void writer_roll_back(Writer *w);
extern bool writer_settle(Writer *w, const char *gid);
extern void *writer_run(void *writer);
extern void writer_pause(bool pause);
extern int writers_idle(void);
extern const char *writer_setup(void);

/* ways.c */
typedef struct Way
{
	const char *name;
	int weight;
	bool (*run)(Writer *w); /* true: it came to its end */
	atomic_long done;
} Way;

extern Way ways[];
extern const int nways;
extern bool way_truncate(Writer *w);

/* cache.c */
typedef struct redisContext redisContext;

typedef enum Answer
{
	MISS,
	HIT,
	LEASED
} Answer;

/* What is cached under one key: versions of rows, from the first one on. */
typedef struct Entry
{
	char key[32];
	char tag[32]; /* empty: none */
	int first;
	int rows;
	Answer answer;
	char token[40]; /* of the lease */
	char tags[64];	/* the tag's token, as it is stored */
	char payload[512];
} Entry;

/* A reader's connection to Redis, and the generation it saw last. */
typedef struct Cache
{
	redisContext *redis;
	char generation[32];
	uint64_t random;
	Usec asked; /* when the last question was about to be sent */
	Usec retry_at;
} Cache;

extern void cache_name(Entry *entry, int id, bool shelf);
extern bool cache_ask(Cache *c, Entry *entry, int n);
extern bool cache_lease(Cache *c, Entry *entry, int n);
extern bool cache_fill(Cache *c, Entry *entry, int n);
extern void cache_close(Cache *c);

/* reader.c */
extern int64_t reader_version(const Entry *entry, int id);
extern void *reader_run(void *number);
extern void *prober_run(void *unused);
extern bool prober_offer(int id, int64_t version);
extern void *looker_run(void *delay);
extern void looker_expect(int id, Usec acked);

/* audit.c */
extern bool audit_table(Session *s, int64_t *version);
extern void *audit_run(void *unused);
extern void audit_pause(void);
extern bool audit_resume(void);
extern void audit_end(long *cached, long *different);

#endif
