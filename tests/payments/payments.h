/*
 * payments.h
 *		Random payments, and a provider outside of the database who keeps a ledger of his own.
 *
 * session.c	a connection: runs a statement, sorts out its answer
 * signature.c	signs webhooks as the specification says, without the extension
 * provider.c	the provider: charges by key, decisions, money
 * moods.c	how he behaves: silent, late, of two minds; what webhooks he sends
 * sender.c	delivers his webhooks: twice, out of order, forged
 * worker.c	claims due calls, makes them, records what came of it, or dies
 * request.c	a buyer's request with its key: sent until the answer is known
 * buyer.c	what buyers do: orders, holds, payments
 * rules.c	the legal transitions and the money they move, written a second time
 * audit.c	verify() all the time; what is read from the database at the end
 * compare.c	both ledgers, the holds and the buyers' journals against each other
 * explain.c	what buyers were told against the history
 * keys.c	idempotency keys alone, one by one; keys_batch.c many at once, and the report
 * rotation.c	the same while keys are dropped
 * trouble.c	kills connections, changes secrets
 * main.c	options, threads, the report
 *
 * A buyer is one thread with two connections. What he was told he keeps in memory; payments, orders
 * and refusals belong to the buyer until the threads have ended, then to the checker. What the
 * provider keeps is guarded by one mutex in provider.c.
 */
#ifndef PAYMENTS_H
#define PAYMENTS_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t Usec; /* microseconds since 1970 */

#define SECOND		INT64_C(1000000)
#define FOREVER		INT64_MAX
#define PATIENCE	(60 * SECOND) /* that anybody has with "try again" */
#define ACCOUNTS	5
#define SKUS		8
#define ATTEMPTS	3 /* of a call, until its outcome is unknown */
#define BACKOFF_MAX SECOND
#define KEY_SIZE	96 /* of a provider key, and of ours */

typedef struct Options
{
	int clients;
	long operations; /* 0: by time */
	double seconds;
	uint64_t seed;
	long keys;
	bool two_phase;
	int64_t base; /* the first account and SKU of this run */
	char provider[40];
	Usec begun;
} Options;

extern Options options;
extern atomic_bool stop;		  /* buyers and trouble end */
extern atomic_bool finish;		  /* everybody ends */
extern atomic_long operations;	  /* statements answered */
extern atomic_long killed, looks; /* connections killed; looks at verify() */

/* main.c */
extern uint64_t rnd(uint64_t *state, uint64_t n);
extern bool chance(uint64_t *state, int percent);
extern uint64_t mix(uint64_t z);
extern void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern long violations(void);
extern void claim(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void *grow(void *array, int n, int *room, size_t size);
extern Usec now(void);
extern void run_threads(pthread_t *threads, int n, void *(*body)(void *), void *first, size_t size);
extern void join_threads(pthread_t *threads, int n);

/* session.c */
typedef struct Session
{
	PGconn *conn;
	PGresult *result;
	char *sql;
	char sqlstate[6]; /* 00000 if it succeeded, empty if the connection was lost */
	bool lost;
	Usec t0, t1; /* the server's clock was in between */
	uint64_t *random;
} Session;

extern void session_open(Session *s);
extern void session_close(Session *s);
extern bool session_run(Session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void session_send(Session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern bool session_receive(Session *s);
extern bool session_is(const Session *s, const char *sqlstates);
extern bool session_retry(const Session *s);
extern bool session_roll_back(Session *s);
extern const char *session_error(const Session *s);
extern const char *value(const Session *s, int row, int column);
extern int64_t number(const Session *s, int row, int column);
extern bool is_null(const Session *s, int row, int column);
extern void must(Session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* signature.c */
extern void signature_make(char *secret, size_t size, uint64_t *random);
extern void signature_sign(char *out, size_t size, const char *secret, const char *id,
						   const char *timestamp, const char *body);

/* provider.c */
typedef enum Outcome
{
	UNDECIDED,
	DONE,
	DECLINED
} Outcome;

/* What was asked under one key. Money of a capture, void or refund is that of its root. */
typedef struct Charge
{
	char key[KEY_SIZE];
	int64_t account;
	char payment[37];
	int call;
	char kind;	  /* a authorize, s charge, k capture, v void, r refund */
	bool known;	  /* the provider has heard of it */
	bool in_vain; /* somebody was told that it never was made */
	int64_t amount;
	char currency[4];
	char method[48];
	int root;
	Outcome outcome;
	bool voided;
	bool two_minds; /* a refund that was declined was made after all */
	int64_t captured, refunded;
	int attempt;
	Usec leased_until; /* of the last claim */
	int acknowledged;  /* the best word about it that the database has acknowledged */
	int heard;		   /* times it was asked for */
	/* Found in the database at the end. */
	bool found;
} Charge;

/* What claim_calls() hands out. */
typedef struct Call
{
	char key[KEY_SIZE];
	int64_t account;
	char payment[37];
	int call;
	char kind;
	int64_t amount;
	char currency[4];
	char method[48];
	char original[24];
	bool lookup; /* only asked about */
	int attempt;
	Usec leased_until;
} Call;

/* What the worker hears from the provider: the outcome to record, or NULL for silence. */
typedef struct Answer
{
	const char *outcome;
	char reference[24];
	const char *reason;
	Usec delay;
} Answer;

typedef struct Event
{
	char id[80];
	int charge;
	const char *type;
	int64_t amount;
	int attempts;  /* deliveries begun */
	int effective; /* deliveries acknowledged, not as a duplicate */
} Event;

extern atomic_bool honest; /* the provider answers everything at once */
extern void provider_lock(void);
extern void provider_unlock(void);
extern Charge *provider_charge(int i);
extern int provider_charges(void);
extern int provider_find(const char *key);
extern void provider_claimed(const Call *call, Usec t0, Usec t1);
extern void provider_ask(const Call *call, Answer *answer);
extern void provider_acknowledged(const char *key, const char *outcome);
extern void provider_settle(int i, bool decline);
extern void provider_flip(int i);
extern void provider_reference(int i, char *out, size_t size);
extern int rank(char state);

/* moods.c */
typedef enum Mood
{
	NEVER_ARRIVES,
	NO_ANSWER,
	LATE,
	PROMPT
} Mood;

typedef enum Due
{
	SETTLE,
	FLIP,
	HOOK
} Due;

extern Mood mood_of(const Charge *charge, int attempt);
extern bool mood_declines(const Charge *charge);
extern bool mood_hesitates(const Charge *charge);
extern bool mood_flips(const Charge *charge);
extern Usec mood_delay(const Charge *charge, const char *what, Usec most);
extern void mood_hooks(int i, const char *type, bool certain);
extern void mood_push(Usec due, Due what, int index);
extern bool mood_pop(Due *what, int *index);
extern int mood_pending(void);
extern Event *mood_event(int i);
extern int mood_events(void);

/* sender.c, worker.c, trouble.c */
extern char secrets[2][80];
extern void *sender_run(void *random);
extern void sender_repeat_all(Session *s);
extern void *worker_run(void *random);
extern void *trouble_run(void *random);
extern void trouble_change_secret(Session *s, uint64_t *random);
extern long forged, claimed_calls, hooks_delivered;

/* request.c */
typedef enum Request
{
	CREATE,
	AUTHORIZE,
	CAPTURE,
	VOID,
	REFUND,
	REQUESTS
} Request;

typedef struct Order Order;
typedef struct Payment Payment;

/* Something a buyer wants, under a key, until he knows what has become of it. */
typedef struct Intent
{
	Payment *payment;
	Request request;
	Request then;		  /* of CREATE: AUTHORIZE or CAPTURE, else REQUESTS */
	bool names_id;		  /* of CREATE: with p_payment */
	int64_t amount;		  /* 0: the default */
	const char *currency; /* NULL: not named */
	char key[KEY_SIZE];
	bool doubt; /* an answer was lost */
	bool rival; /* somebody may still be at work on the key */
	bool acknowledged;
	char answer[96]; /* payment, state, call */
	int call;
	Usec t0, t1;
} Intent;

typedef struct Refusal
{
	Intent *intent;
	char code[6];
	Usec t0, t1;
} Refusal;

/* A line of the history of a payment. */
typedef struct Line
{
	int n, call;
	int64_t amount;
	Usec at;
	char from, to;
	char input[20];
	bool claimed; /* a buyer was told of it */
	int64_t left; /* to be refunded, after it */
} Line;

struct Payment
{
	int64_t account;
	char id[37];
	int64_t amount;
	const char *currency;
	char method[48];
	Order *order;
	Intent **intent;
	int intents, intent_room;
	bool exists; /* acknowledged */
	char seen;	 /* its state when the buyer looked */
	int serial;	 /* of the buyer's payments by the account */
	/* Read from the database at the end. */
	bool found;
	char state;
	int64_t authorized, captured, refunding, refunded;
	int steps, calls;
	Line *line;
	int lines, line_room;
	int64_t book[3];   /* p, s, d */
	int calls_of[128]; /* by kind */
	/* At the provider. */
	int captures;
	bool set_aside; /* an authorization stands that was neither captured nor voided */
	int64_t their_captured, their_refunded;
};

/* A hold, and what has become of it. */
typedef struct Held
{
	char state[12];
	Usec held_at, ended_at;
} Held;

/* Units that are held together, and the payments that were tried for them. */
struct Order
{
	char owner[37]; /* empty: none */
	int64_t account;
	Payment **payment;
	int payments, payment_room;
	/* Read from the database at the end. */
	Held *held;
	int holds, hold_room;
};

#define SLOTS 6

typedef struct Buyer
{
	int number;
	uint64_t random;
	uint64_t owners;
	int serial[ACCOUNTS];
	int steps[SLOTS]; /* since the order in the slot began */
	Session session[2];
	Order *slot[SLOTS];
	Order **order;
	int orders, order_room;
	Refusal *refusal;
	int refusals, refusal_room;
	long done[REQUESTS], refused, replayed, reused, twins, retried, lost, rolled_back;
} Buyer;

extern const char *const request_name[REQUESTS];
extern void buyer_uuid(const Buyer *b, unsigned what, uint64_t n, char *id);
extern Payment *payment_new(Buyer *b, Order *order, int64_t account);
extern Intent *intent_new(Buyer *b, Payment *payment, Request request);
extern void request_text(char *sql, size_t size, const Intent *intent);
extern void request_run(Buyer *b, Intent *intent, const char *before);
extern void request_twin(Buyer *b, Intent *one, Intent *two);
extern bool request_judge(Buyer *b, Session *s, Intent *intent);

/* buyer.c */
extern void *buyer_run(void *buyer);

/* rules.c */
extern bool rule_allows(char state, const char *input, char next);
extern bool rule_knows(char state, const char *input);
extern bool rule_live(char state);
extern const char *rule_name(char state);
extern void rule_replay(Payment *payment);
extern int rule_missing(void);

/* audit.c */
extern void *audit_watch(void *unused);
extern bool audit_drain(Session *s, double seconds);
extern void audit_hand_back(Session *s);
extern void audit_read(Session *s, Buyer *buyers, int n);
extern Payment *audit_find(int64_t account, const char *id);

/* explain.c, compare.c */
extern void explain_payment(Payment *payment);
extern bool explain_refusal(const Refusal *refusal);
extern void compare_all(Session *s, Buyer *buyers, int n);

/* keys.c, rotation.c */
extern void keys_storm(void);
extern void rotation_storm(void);

#endif
