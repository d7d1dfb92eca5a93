/*
 * pg.h
 *		PostgreSQL, without waiting: prepared statements over pipelined connections.
 *
 * libpq enters the program here alone, in pg.c and the files whose names begin with pg_.
 */
#ifndef HF_PG_H
#define HF_PG_H

#include "text.h"

#include <stdbool.h>

#define HF_PG_PARAMETERS 8 /* of a statement, at most */

/* Statements of one lane never wait for those of another. */
typedef enum HfPgLane
{
	HF_PG_READ,		/* several statements share a Sync; one whose neighbour failed is sent again */
	HF_PG_WRITE,	/* a Sync, and so a transaction, a statement */
	HF_PG_SLOW,		/* what takes long: as WRITE, on connections of its own */
	HF_PG_PURCHASE, /* batches of purchases: as WRITE, on connections of its own */
	HF_PG_LIVE,		/* what is to be known of sales: as READ, on a connection of its own */
	HF_PG_LANES
} HfPgLane;

typedef enum HfPgOutcome
{
	HF_PG_ROWS,	   /* the statement ran; here are its rows */
	HF_PG_REFUSED, /* an error of the server, which sqlstate tells */
	HF_PG_LOST	   /* no answer: whether a statement of WRITE or SLOW has run is not known */
} HfPgOutcome;

/* Valid during the callback. The texts end with a NUL, and are empty if there is none. */
typedef struct HfPgAnswer
{
	HfPgOutcome outcome;
	int rows;
	const char *sqlstate; /* of REFUSED */
	const char *message;
	const char *detail;
	const char *column; /* the error's field COLUMN: the pointer of shop.refuse() */
	const void *result;
} HfPgAnswer;

typedef void (*HfPgDone)(void *arg, const HfPgAnswer *answer);

/* How a lane does. */
typedef struct HfPgState
{
	unsigned connections; /* that there are to be */
	unsigned up;
	unsigned waiting; /* statements sent and not answered */
} HfPgState;

/* In the parent. */
extern int hf_pg_statement(const char *name, const char *text, int parameters);
extern bool hf_pg_resolve(const char *conninfo, char **resolved, char **error);
extern char *hf_pg_database(const char *conninfo);

/* In a worker. */
extern void hf_pg_start(void);
extern bool hf_pg_send(HfPgLane lane, int statement, const HfText *values, int n, HfPgDone done,
					   void *arg);
extern HfText hf_pg_value(const HfPgAnswer *answer, int row, int column);
extern void hf_pg_state(HfPgLane lane, HfPgState *state);
extern void hf_pg_stop(void);

#endif
