/*
 * live_sale.c
 *		The sales that this worker knows, and what can be said of one.
 *
 * Invariants: there are HF_LIVE_SALES at most.  The one that was asked for least recently makes way
 * for a new one, unless something of it is under way or somebody follows it; who is not asked for
 * in FORGET is gone.  An id that is no sale's has a place like others, so that it is asked for once
 * a second, however often it is guessed.
 *
 * What was read is true as long as nothing about it was announced since the read was sent, nothing
 * fell due, no boundary of its window has passed, and it is not older than the channel of
 * announcements allows: the channel tells within that time that it is silent.
 */
#include "live_sale.h"

#include "loop.h"
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BUCKETS		  4096
#define EVICT_TRIES	  16
#define FORGET		  60000 /* milliseconds */
#define AGE_MAX		  1000	/* milliseconds that a read is true */
#define AGE_MAX_DEAF  100	/* without the channel */
#define CLOSING_GRACE 2000	/* milliseconds until all who were let in before the end are answered */

static LIST_HEAD(, HfLiveSale) bucket[BUCKETS];
static TAILQ_HEAD(, HfLiveSale) line = TAILQ_HEAD_INITIALIZER(line);
static unsigned sales;

static unsigned
bucket_of(int64_t id)
{
	return (unsigned) ((uint64_t) id * UINT64_C(0x9e3779b97f4a7c15) >> 32) % BUCKETS;
}

HfLiveSale *
hf_live_sale_find(int64_t id)
{
	HfLiveSale *sale;

	LIST_FOREACH(sale, &bucket[bucket_of(id)], link)
	if (sale->read.sale == id)
		return sale;
	return NULL;
}

static bool
is_busy(const HfLiveSale *sale)
{
	return sale->holds > 0 || sale->followers > 0 || sale->is_followed;
}

static void
drop(HfLiveSale *sale)
{
	LIST_REMOVE(sale, link);
	TAILQ_REMOVE(&line, sale, line);
	hf_live_drop_buyers(sale);
	free(sale);
	hf_metrics_set(HF_METRIC_LIVE_SALES, --sales);
}

/* Makes room for one more; false if all that could make way are busy. */
static bool
evict(void)
{
	HfLiveSale *sale = TAILQ_FIRST(&line);

	for (int i = 0; i < EVICT_TRIES && sale != NULL; i++, sale = TAILQ_NEXT(sale, line))
		if (!is_busy(sale))
		{
			drop(sale);
			return true;
		}
	return false;
}

/* The key of something of a sale, as it is announced. */
static void
name(HfNearNames *names, const char *template, int64_t id)
{
	static HfCacheEntry entry;
	char text[24];
	HfText value = {text, (size_t) snprintf(text, sizeof(text), "%" PRId64, id)};

	hf_cache_entry_begin(&entry, template, &value, 1);
	hf_near_cache_names(names, &entry);
}

static HfLiveSale *
add(int64_t id)
{
	HfLiveSale *sale;

	if (sales >= HF_LIVE_SALES && !evict())
		return NULL;
	sale = calloc(1, sizeof(*sale));
	if (sale == NULL)
		return NULL;
	sale->read.sale = id;
	name(&sale->stock_name, "stock:{sale}", id);
	name(&sale->sale_name, "sale:{id}", id);
	STAILQ_INIT(&sale->joined);
	STAILQ_INIT(&sale->late);
	LIST_INSERT_HEAD(&bucket[bucket_of(id)], sale, link);
	TAILQ_INSERT_TAIL(&line, sale, line);
	hf_metrics_set(HF_METRIC_LIVE_SALES, ++sales);
	return sale;
}

/* The sale of an id, of which nothing is known if it is new; NULL if there is no room for it. */
HfLiveSale *
hf_live_sale_get(int64_t id)
{
	HfLiveSale *sale = hf_live_sale_find(id);

	if (sale == NULL)
		sale = add(id);
	if (sale == NULL)
		return NULL;
	sale->asked_for = hf_loop_now();
	TAILQ_REMOVE(&line, sale, line);
	TAILQ_INSERT_TAIL(&line, sale, line);
	return sale;
}

/* Drops those that nobody has asked for in FORGET; to be called now and then. */
void
hf_live_sale_forget(void)
{
	uint64_t now = hf_loop_now();
	HfLiveSale *sale, *next;

	for (sale = TAILQ_FIRST(&line); sale != NULL && now - sale->asked_for > FORGET; sale = next)
	{
		next = TAILQ_NEXT(sale, line);
		if (!is_busy(sale))
			drop(sale);
	}
}

/* Has something been announced since the sale was read? */
bool
hf_live_sale_has_changed(const HfLiveSale *sale)
{
	return hf_near_cache_is_void(&sale->stock_name, sale->read_moment) ||
		hf_near_cache_is_void(&sale->sale_name, sale->read_moment);
}

/* Has the clock made units available, or taken the sale into another state? */
bool
hf_live_sale_is_due(const HfLiveSale *sale, uint64_t now)
{
	return now >= sale->due || hf_live_sale_at(sale, now).state != sale->read.state;
}

/* Is what was read true at this moment? */
bool
hf_live_sale_is_true(const HfLiveSale *sale, uint64_t now)
{
	unsigned age_max = hf_near_cache_is_alive() ? AGE_MAX : AGE_MAX_DEAF;

	return sale->known && now - sale->read_sent < age_max && !hf_live_sale_is_due(sale, now) &&
		!hf_live_sale_has_changed(sale);
}

/* What was read, by the clock. */
HfLive
hf_live_sale_at(const HfLiveSale *sale, uint64_t now)
{
	HfLive live = sale->read;

	if (live.state == HF_LIVE_SCHEDULED && now >= live.starts)
		live.state = live.left > 0 ? HF_LIVE_OPEN : HF_LIVE_SOLD_OUT;
	if (live.state != HF_LIVE_NONE && live.state != HF_LIVE_CLOSED && now >= live.ends)
	{
		live.state = HF_LIVE_CLOSED;
		live.left = 0;
	}
	return live;
}

/*
 * From when on those who have bought can be known: purchases that were let in before the end of the
 * sale may become known a little after it.
 */
static uint64_t
buyers_from(const HfLiveSale *sale)
{
	return sale->read.state == HF_LIVE_CLOSED ? sale->read.ends + CLOSING_GRACE : 0;
}

/* Are those who have bought known, as far as what was read is true? */
bool
hf_live_sale_knows_buyers(const HfLiveSale *sale)
{
	return sale->buyers != NULL && sale->buyers_era == sale->read_era &&
		sale->buyers_sent >= buyers_from(sale);
}

/* Should they be known? */
bool
hf_live_sale_wants_buyers(const HfLiveSale *sale, uint64_t now)
{
	return (sale->read.state == HF_LIVE_SOLD_OUT || sale->read.state == HF_LIVE_CLOSED) &&
		now >= buyers_from(sale) && !hf_live_sale_knows_buyers(sale);
}
