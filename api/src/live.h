/*
 * live.h
 *		Sales as they are at this moment, as far as this worker knows.
 *
 * A hint, never a decision, with one exception that is safe: a refusal of what cannot be bought.
 */
#ifndef HF_LIVE_H
#define HF_LIVE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum HfLiveState
{
	HF_LIVE_NONE, /* no such sale, or a draft */
	HF_LIVE_SCHEDULED,
	HF_LIVE_OPEN,
	HF_LIVE_SOLD_OUT,
	HF_LIVE_CLOSED
} HfLiveState;

typedef struct HfLive
{
	int64_t sale;
	HfLiveState state; /* by the clock, when this is handed out */
	int64_t version;   /* of the sale's row */
	int64_t left;	   /* units that can be bought */
	int64_t quota;	   /* tickets that may be out at a time */
	uint64_t starts;   /* hf_loop_now() */
	uint64_t ends;
	int64_t ends_at; /* the same in milliseconds since 1970, as the database has it */
} HfLive;

/* The SQLSTATE with which a sale in this state refuses buyers; NULL: it is open. */
extern const char *hf_live_sqlstate(HfLiveState state);

typedef void (*HfLiveDone)(void *arg, const HfLive *live);

/* In the parent. */
extern void hf_live_prepare(void);

/* Begins in a worker, after hf_cache_start(). */
extern void hf_live_start(void);

/* At the end of a worker: true as long as something is still to be noted or under way. */
extern bool hf_live_stop(void);

/*
 * Tells of a sale, once, perhaps before this returns.  That a sale is open may be a second old;
 * everything else is not known to have changed.  NULL: it cannot be read at the moment.
 */
extern void hf_live_get(int64_t sale, HfLiveDone done, void *arg);

/*
 * The SQLSTATE with which a purchase by this account is to be refused, without asking anybody:
 * HS401, HS402 or HS403.  NULL: only the database knows.  Never a refusal for an account that has
 * bought in the sale, because it may be asking again with its key; nor once anything about the sale
 * has been announced or fallen due since it was read.  A refusal for lack of units is counted for
 * the reports.
 */
extern const char *hf_live_refusal(int64_t sale, int64_t account);

/* The database has just refused a purchase because nothing is left: worth a look. */
extern void hf_live_sold_out(int64_t sale);

/*
 * Calls back whenever the sale looks different from what it told last, a few times a second at
 * most, for as long as anybody follows; follow and unfollow come in pairs.
 */
typedef void (*HfLiveChanged)(const HfLive *live);
extern void hf_live_on_change(HfLiveChanged changed);
extern bool hf_live_follow(int64_t sale);
extern void hf_live_unfollow(int64_t sale);

#endif
