/*
 * live_sale.h
 *		A sale as this worker knows it, and how it comes to know it.
 */
#ifndef HF_LIVE_SALE_H
#define HF_LIVE_SALE_H

#include "account_set.h"
#include "live.h"
#include "near_cache.h"

#include <sys/queue.h>

#define HF_LIVE_SALES 4096 /* that are known, at most */

/* Who waits for a load. */
typedef struct HfLiveWaiter
{
	STAILQ_ENTRY(HfLiveWaiter) link;
	HfLiveDone done;
	void *arg;
} HfLiveWaiter;

STAILQ_HEAD(HfLiveWaiters, HfLiveWaiter);

/* Times are those of hf_loop_now(). */
typedef struct HfLiveSale
{
	LIST_ENTRY(HfLiveSale) link;	 /* of its bucket */
	TAILQ_ENTRY(HfLiveSale) line;	 /* in the order in which they were asked for last */
	LIST_ENTRY(HfLiveSale) followed; /* while it is in the list of those */
	uint64_t asked_for;
	unsigned holds; /* statements and callbacks under way */
	HfNearNames stock_name, sale_name;

	/* As it was read. */
	bool known;
	HfLive read;
	int64_t quantity;	/* units that are sold in it */
	uint64_t due;		/* when units that are held fall due, if they do */
	uint64_t read_sent; /* when it was asked for */
	HfNearMoment read_moment;
	unsigned read_era;

	/* Nobody but the clock has changed anything between two reads of the same era, it seems. */
	unsigned era;

	/* Who has bought, read after the state was. */
	HfAccountSet *buyers; /* NULL: not known */
	uint64_t buyers_sent;
	uint64_t buyers_pause; /* not to be read before */
	unsigned buyers_era;
	bool buyers_reading;
	char *buyers_text;	   /* the answer, of which a slice is taken in at a time */
	const char *buyers_at; /* what is left of it */
	HfAccountSet *buyers_coming;

	/* The load that is under way, or was last. */
	bool loading;
	uint64_t load_sent;
	uint64_t load_pause; /* none before */
	HfNearMoment load_moment;
	unsigned load_era;
	struct HfLiveWaiters joined, late; /* who gets what it brings, and who what the next one does */

	unsigned followers;
	bool is_followed; /* is in the list */
	bool told;		  /* something, to those */
	uint64_t told_at;
	HfLive last; /* that */
} HfLiveSale;

typedef void (*HfLiveLoaded)(HfLiveSale *sale);

extern HfLiveSale *hf_live_sale_find(int64_t id);
extern HfLiveSale *hf_live_sale_get(int64_t id);
extern void hf_live_sale_forget(void);

extern bool hf_live_sale_has_changed(const HfLiveSale *sale);
extern bool hf_live_sale_is_due(const HfLiveSale *sale, uint64_t now);
extern bool hf_live_sale_is_true(const HfLiveSale *sale, uint64_t now);
extern HfLive hf_live_sale_at(const HfLiveSale *sale, uint64_t now);
extern bool hf_live_sale_knows_buyers(const HfLiveSale *sale);
extern bool hf_live_sale_wants_buyers(const HfLiveSale *sale, uint64_t now);

extern void hf_live_load_prepare(void);
extern void hf_live_load_start(HfLiveLoaded loaded);
extern bool hf_live_load(HfLiveSale *sale);
extern void hf_live_load_for(HfLiveSale *sale, HfLiveDone done, void *arg);
extern void hf_live_load_buyers(HfLiveSale *sale);
extern void hf_live_drop_buyers(HfLiveSale *sale);

#endif
