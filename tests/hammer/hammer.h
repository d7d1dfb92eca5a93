/*
 * hammer.h
 *		A load generator for Holdfast that knows the right answer.
 *
 * db.c		one client's connection: runs a statement, sorts out its answer
 * model.c	what a client believes of its holds, and what it compares with the database
 * expect.c	what the model allows an answer to be
 * reserve.c	random reservations
 * storm.c	all the other operations
 * transaction.c	transactions around them, and recovery after a lost connection
 * last_unit.c	many buyers, one unit, round after round
 * audit.c	the checks while the storm blows and after it
 * hammer.c	options, threads, the report
 *
 * Every owner belongs to one client, a client is one thread with one connection, and nothing is
 * shared between clients but the stock itself; so a client's model needs no lock.
 */
#ifndef HAMMER_H
#define HAMMER_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SKUS_MAX 64
#define OWNERS	 4		   /* that a client acts for at a time */
#define FOREVER	 INT64_MAX /* the deadline of a pinned hold */

typedef int64_t Usec; /* microseconds since 1970 */

typedef enum State
{
	NOTHING,
	HELD, /* or expired: the deadline tells */
	CONFIRMED,
	RELEASED
} State;

/* A hold as acknowledged. Where the answer does not tell the deadline, it lies from lo to hi. */
typedef struct Hold
{
	State state;
	int64_t quantity;
	int64_t returned;
	Usec lo;
	Usec hi;
} Hold;

typedef struct Owner
{
	char id[37];
	Hold hold[SKUS_MAX];
} Owner;

/* What a client believes; copied at the beginning of a transaction and of a savepoint. */
typedef struct World
{
	Owner owner[OWNERS];
	int64_t gained[SKUS_MAX]; /* received and adjusted by this client */
} World;

/* A hold of an owner that the client is done with. */
typedef struct Record
{
	char owner[37];
	int sku;
	Hold hold;
} Record;

typedef enum Operation
{
	OP_RESERVE,
	OP_REVIVE,
	OP_CART,
	OP_BATCH_ROWS,
	OP_BATCH_ALL,
	OP_CONFIRM,
	OP_CONFIRM_LINES,
	OP_RELEASE,
	OP_RELEASE_LINES,
	OP_EXTEND,
	OP_PIN,
	OP_UNPIN,
	OP_GIVE_BACK,
	OP_RECEIVE,
	OP_ADJUST,
	OP_SET_LANES,
	OP_REAP,
	OP_AVAILABLE,
	OPERATIONS
} Operation;

typedef struct Client
{
	int number;
	pthread_t thread;
	uint64_t random;
	PGconn *conn;

	/* The last statement and its answer. */
	char sql[4096];
	PGresult *result;
	char sqlstate[6]; /* 00000 if it succeeded, empty if the connection was lost */
	bool lost;
	Usec t0, t1;	   /* the server's clock was in between */
	char allowed[128]; /* SQLSTATEs that the model allows it */

	World world;
	Record *journal;
	int records, room;
	char tag[64]; /* reference of its movements, name of its prepared transaction */

	long done[OPERATIONS];
	long refused, retried, lost_connections;
	int64_t sold; /* while selling out */
} Client;

typedef struct Options
{
	int clients;
	int skus;
	double seconds;
	uint64_t seed;
	int rounds;
	bool lane_locking;
	bool survive;	/* lost connections are part of the game */
	bool two_phase; /* the server has prepared transactions */
	int64_t base;	/* the first SKU of this run */
} Options;

extern Options options;
extern atomic_bool stop;

/* hammer.c */
extern uint64_t rnd(Client *c, uint64_t n);
extern bool chance(Client *c, int percent);
extern void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern long violations(void);
extern void claim(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void run_threads(Client *clients, int n, void *(*body)(void *) );

/* db.c */
extern Usec db_now(void);
extern void db_connect(Client *c);
extern void db_close(Client *c);
extern bool db_run(Client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern bool db_is(const Client *c, const char *sqlstates);
extern bool db_retry(const Client *c);
extern const char *db_value(const Client *c, int row, int column);
extern int64_t db_number(const Client *c, int row, int column);

/* model.c */
extern void model_new_owner(Client *c, Owner *owner);
extern void model_retire(Client *c, int slot);
extern bool model_read_hold(Client *c, int row, int column, Hold *hold);
extern bool model_read_owner(Client *c, const Owner *who, Owner *actual);
extern bool model_matches(const Hold *expected, const Hold *actual);
extern const char *model_text(const Hold *hold, char *buffer, size_t size);
extern int model_settle(Client *c, const Owner *before, Owner *after, const Owner *actual);

#define HOLD_COLUMNS "quantity, returned, state, extract(epoch FROM expires_at) * 1000000"

/* expect.c */
#define LINES 6 /* most lines of a cart or a batch */

/* What the model knows about a hold at a moment between t0 and t1. */
typedef enum Life
{
	NEVER, /* there is no hold */
	LIVE,
	MAYBE, /* the deadline is about now */
	LATE,  /* expired */
	SOLD,
	BACK
} Life;

extern const char *const ending[];
extern Life life(const Client *c, const Hold *hold);
extern void allow(Client *c, const char *sqlstate);
extern bool judge(Client *c);
extern void expect_number(Client *c, int64_t low, int64_t high);
extern int any_ttl(Client *c);
extern Owner *any_owner(Client *c);
extern int64_t any_quantity(Client *c);
extern int any_skus(Client *c, int most, int *skus);
extern char *array(char *buffer, const int64_t *numbers, int n);

/* reserve.c */
extern void reserve(Client *c, bool revive);
extern void cart(Client *c);
extern void batch(Client *c, bool all);

/* storm.c, transaction.c, last_unit.c, audit.c */
extern const char *const operation_name[OPERATIONS];
extern Operation storm_operate(Client *c);
extern void *storm_run(void *client);
extern void *last_unit_run(void *client);
extern void last_unit_report(Client *clients);
extern void *audit_watch(void *client);
extern long audit_looks(void);
extern void audit_after(Client *checker, Client *clients);
extern void *audit_sell_out(void *client);

#endif
