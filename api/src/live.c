/*
 * live.c
 *		Sales as they are at this moment, as far as this worker knows.
 *
 * Whoever asks is told what was read less than a second ago, and more strictly if it keeps him from
 * buying: then it must still be true.  What is about to become too old is read again meanwhile, so
 * that a crowd before a sale that is sold out is answered from memory without a gap, and the
 * database is asked about once a second.
 *
 * Invariants: a refusal is given only by what is true (live_sale.c), and by who has bought, read
 * after it.  Between a purchase and its announcement, some milliseconds, the buyer is not known: he
 * could be refused falsely only if he asks again in that time, after units had come back meanwhile,
 * another worker has sold him one, and he did not hear of it.  Loads that nobody waits for have a
 * pause between them.
 */
#include "live.h"

#include "demand.h"
#include "live_sale.h"
#include "loop.h"
#include "metrics.h"

#include <stddef.h>

#define TICK		 100  /* milliseconds */
#define TICKS_NOTE	 10	  /* ticks between two notes of what was refused */
#define HINT		 1000 /* milliseconds that a hint is good */
#define HINT_DEAF	 200  /* without the channel */
#define AHEAD		 800  /* milliseconds until what is asked for is read again */
#define AHEAD_DEAF	 80
#define LOAD_PAUSE	 20	 /* milliseconds between loads that nobody waits for */
#define FOLLOW_PAUSE 250 /* of sales that are followed */
#define START_MARGIN 20	 /* milliseconds before the start the database is asked */

static LIST_HEAD(, HfLiveSale) followed;
static HfLiveChanged when_changed;

/* In the parent. */
void
hf_live_prepare(void)
{
	hf_live_load_prepare();
	hf_demand_prepare();
}

static bool
is_old(const HfLiveSale *sale, uint64_t now)
{
	return !sale->known || now - sale->read_sent >= (hf_near_cache_is_alive() ? AHEAD : AHEAD_DEAF);
}

static bool
needs_buyers(const HfLiveSale *sale, uint64_t now)
{
	return !sale->loading && !sale->buyers_reading && now >= sale->buyers_pause &&
		hf_live_sale_wants_buyers(sale, now) && hf_live_sale_is_true(sale, now);
}

/* Does it keep people from buying who may, or the other way round? */
static bool
is_misleading(const HfLiveSale *sale, uint64_t now)
{
	if (sale->read.state == HF_LIVE_OPEN)
		return hf_live_sale_at(sale, now).state != HF_LIVE_OPEN;
	return hf_live_sale_is_due(sale, now) || hf_live_sale_has_changed(sale);
}

/* Reads again, for those who come later, what they should not be told. */
static void
refresh(HfLiveSale *sale, uint64_t now)
{
	if (needs_buyers(sale, now))
		hf_live_load_buyers(sale);
	else if (!sale->loading && now - sale->load_sent >= LOAD_PAUSE &&
			 (is_old(sale, now) || is_misleading(sale, now)))
		(void) hf_live_load(sale);
}

static bool
is_hint(const HfLiveSale *sale, uint64_t now)
{
	return sale->known && now - sale->read_sent < (hf_near_cache_is_alive() ? HINT : HINT_DEAF) &&
		(hf_live_sale_at(sale, now).state == HF_LIVE_OPEN ||
		 (now < sale->due && !hf_live_sale_has_changed(sale)));
}

const char *
hf_live_sqlstate(HfLiveState state)
{
	static const char *const sqlstate[] = {[HF_LIVE_NONE] = "HS004",
										   [HF_LIVE_SCHEDULED] = "HS401",
										   [HF_LIVE_OPEN] = NULL,
										   [HF_LIVE_SOLD_OUT] = "HS403",
										   [HF_LIVE_CLOSED] = "HS402"};

	return sqlstate[state];
}

void
hf_live_get(int64_t id, HfLiveDone done, void *arg)
{
	HfLiveSale *sale = hf_live_sale_get(id);
	uint64_t now = hf_loop_now();
	HfLive live;

	if (sale == NULL)
		done(arg, NULL);
	else if (!is_hint(sale, now))
		hf_live_load_for(sale, done, arg);
	else
	{
		refresh(sale, now);
		live = hf_live_sale_at(sale, now);
		done(arg, &live);
	}
}

static const char *
judge(const HfLiveSale *sale, int64_t account, uint64_t now)
{
	if (!hf_live_sale_is_true(sale, now))
		return NULL;
	switch (sale->read.state)
	{
		case HF_LIVE_SCHEDULED:
			return now + START_MARGIN < sale->read.starts ? hf_live_sqlstate(HF_LIVE_SCHEDULED)
														  : NULL;
		case HF_LIVE_SOLD_OUT:
		case HF_LIVE_CLOSED:
			if (!hf_live_sale_knows_buyers(sale) || hf_account_set_has(sale->buyers, account))
				return NULL;
			return hf_live_sqlstate(sale->read.state);
		default:
			return NULL;
	}
}

const char *
hf_live_refusal(int64_t id, int64_t account)
{
	HfLiveSale *sale = hf_live_sale_get(id);
	uint64_t now = hf_loop_now();
	const char *code;

	if (sale == NULL)
		return NULL;
	code = judge(sale, account, now);
	refresh(sale, now);
	if (code == NULL)
		return NULL;
	hf_metrics_add(HF_METRIC_LIVE_REFUSED, 1);
	if (sale->read.state == HF_LIVE_SOLD_OUT)
		hf_demand_refused(id);
	return code;
}

void
hf_live_sold_out(int64_t id)
{
	HfLiveSale *sale = hf_live_sale_get(id);
	uint64_t now = hf_loop_now();

	if (sale != NULL && now - sale->load_sent >= LOAD_PAUSE &&
		(sale->read.state != HF_LIVE_SOLD_OUT || !hf_live_sale_is_true(sale, now)))
		(void) hf_live_load(sale);
}

void
hf_live_on_change(HfLiveChanged changed)
{
	when_changed = changed;
}

/* Tells those who follow a sale if it looks different from what they were told last. */
static void
show(HfLiveSale *sale, uint64_t now)
{
	HfLive live = hf_live_sale_at(sale, now);

	if (!sale->known || sale->followers == 0 || when_changed == NULL)
		return;
	if (sale->told &&
		(now - sale->told_at < FOLLOW_PAUSE ||
		 (live.state == sale->last.state && live.left == sale->last.left &&
		  live.version == sale->last.version)))
		return;
	sale->told = true;
	sale->told_at = now;
	sale->last = live;
	sale->holds++;
	when_changed(&live);
	sale->holds--;
}

/* A load has come. */
static void
loaded(HfLiveSale *sale)
{
	uint64_t now = hf_loop_now();

	if (needs_buyers(sale, now))
		hf_live_load_buyers(sale);
	show(sale, now);
}

bool
hf_live_follow(int64_t id)
{
	HfLiveSale *sale = hf_live_sale_get(id);

	if (sale == NULL)
		return false;
	if (sale->followers++ == 0)
		sale->told = false;
	if (!sale->is_followed)
		LIST_INSERT_HEAD(&followed, sale, followed);
	sale->is_followed = true;
	return true;
}

void
hf_live_unfollow(int64_t id)
{
	HfLiveSale *sale = hf_live_sale_find(id);

	if (sale != NULL && sale->followers > 0)
		sale->followers--;
}

static void
look_after(HfLiveSale *sale, uint64_t now)
{
	if (!sale->loading && now - sale->load_sent >= FOLLOW_PAUSE &&
		(is_old(sale, now) || hf_live_sale_is_due(sale, now) || hf_live_sale_has_changed(sale)))
		(void) hf_live_load(sale);
	show(sale, now);
}

/*
 * Looks after the sales that are followed.  Those that are not any more leave the list here and
 * nowhere else: whoever is told of a change may unfollow any of them.
 */
static void
tick(void)
{
	static unsigned ticks;
	uint64_t now = hf_loop_now();
	HfLiveSale *sale, *next;

	for (sale = LIST_FIRST(&followed); sale != NULL; sale = next)
	{
		if (sale->followers > 0)
			look_after(sale, now);
		next = LIST_NEXT(sale, followed);
		if (sale->followers > 0)
			continue;
		LIST_REMOVE(sale, followed);
		sale->is_followed = false;
	}
	if (++ticks % TICKS_NOTE == 0)
	{
		(void) hf_demand_note();
		hf_live_sale_forget();
	}
}

void
hf_live_start(void)
{
	hf_live_load_start(loaded);
	hf_loop_every(TICK, tick);
}

bool
hf_live_stop(void)
{
	return hf_demand_note();
}
