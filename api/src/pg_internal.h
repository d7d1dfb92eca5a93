/*
 * pg_internal.h
 *		What the files of pg.c share: pg_conninfo.c, pg_pipeline.c, pg_connection.c.
 *
 * A connection belongs to a pool, which is one lane of one worker.  A call is a statement that
 * was accepted by hf_pg_send() and not answered; it is either spare or in the list of exactly one
 * connection, so that no memory but libpq's own is allocated for it.
 */
#ifndef HF_PG_INTERNAL_H
#define HF_PG_INTERNAL_H

#include "kore.h"
#include "pg.h"

#include <libpq-fe.h>
#include <stdint.h>

#define HF_PG_COPY_MAX	  1024 /* bytes of parameters that are kept, with a NUL each */
#define HF_PG_REASON_MAX  256
#define HF_PG_STATEMENTS  256 /* that can be registered */
#define HF_PG_CONNECTIONS 32  /* of a lane, at most */

typedef struct HfPgStatement
{
	const char *name;
	const char *text;
	int parameters;
} HfPgStatement;

typedef struct HfPgCall
{
	struct HfPgCall *next;
	HfPgDone done;
	void *arg;
	PGresult *result; /* so far */
	uint64_t born;
	unsigned group; /* the statements between two Syncs, by number */
	int statement;
	bool alone;		 /* has a Sync of its own, and is answered after it */
	bool repeatable; /* may be sent once more: its values stand in copy */
	const char *values[HF_PG_PARAMETERS];
	char copy[HF_PG_COPY_MAX];
} HfPgCall;

typedef enum HfPgPhase
{
	HF_PG_DOWN,
	HF_PG_CONNECTING,
	HF_PG_PREPARING,
	HF_PG_UP,
	HF_PG_LEAVING /* takes no more statements, and ends with the last answer */
} HfPgPhase;

typedef struct HfPgConnection
{
	struct kore_event event; /* first: Kore knows the connection by it */
	struct HfPgPool *pool;
	PGconn *pg; /* NULL: down */
	HfPgPhase phase;
	bool broken;	/* to be given up, as soon as that may call back */
	bool open;		/* statements were sent that no Sync follows yet */
	bool writing;	/* waits for room in the socket */
	unsigned nulls; /* in a row, from PQgetResult() */
	int prepared;
	unsigned groups; /* Syncs sent */
	unsigned synced; /* and answered */
	unsigned waiting;
	HfPgCall *first, **last;
	unsigned endpoint; /* to try next */
	unsigned backoff;  /* milliseconds */
	uint64_t due;	   /* DOWN: the next try; CONNECTING, PREPARING: the end of this one */
	uint64_t moved;	   /* when an answer came, or the first statement was sent */
	char reason[HF_PG_REASON_MAX];
} HfPgConnection;

typedef struct HfPgPool
{
	HfPgLane lane;
	unsigned connections;
	unsigned up;
	unsigned waiting;
	unsigned patience; /* milliseconds without any answer before a connection is given up */
	bool troubled;	   /* what is wrong was logged */
	char *options;	   /* the server's, for this lane */
	HfPgConnection *connection;
	HfPgCall *spare;
} HfPgPool;

/* pg.c */
extern const HfPgStatement *hf_pg_statements(int *n);
extern void hf_pg_answer(HfPgConnection *c, HfPgCall *call);
extern void hf_pg_lose(HfPgPool *pool, HfPgCall *call);

/* pg_conninfo.c */
extern bool hf_pg_conninfo_begin(const char *conninfo);
extern unsigned hf_pg_conninfo_endpoints(void);
extern char *hf_pg_conninfo_options(unsigned milliseconds);
extern PGconn *hf_pg_conninfo_connect(unsigned endpoint, const char *options);

/* pg_pipeline.c */
extern void hf_pg_pipeline_send(HfPgConnection *c, HfPgCall *call);
extern void hf_pg_pipeline_sync(HfPgConnection *c);
extern void hf_pg_pipeline_receive(HfPgConnection *c);
extern bool hf_pg_pipeline_is_idle(const HfPgConnection *c);

/* pg_connection.c */
extern void hf_pg_connection_begin(HfPgConnection *c, HfPgPool *pool);
extern void hf_pg_connection_break(HfPgConnection *c, const char *reason);
extern void hf_pg_connection_flush(HfPgConnection *c);
extern void hf_pg_connection_watch(HfPgConnection *c, uint64_t now);
extern void hf_pg_connection_end(HfPgConnection *c);

#endif
