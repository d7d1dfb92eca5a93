/*
 * live_load.c
 *		Reading what is to be known of a sale: rest.sale_live() and rest.sale_buyers().
 *
 * Invariants: a sale has one load under way at most, and one read of its buyers.  Who waits is told
 * exactly once.  Who comes after something was announced is not told what was asked for before: he
 * waits for the next load, which is sent when this one has come, for all who are late.  WAITERS
 * wait at most.
 *
 * Buyers are read only while the state that needs them is true, and then belong to its era.  A new
 * era begins with a load that is sent when the state is not true any more: whoever buys in between
 * is not among them.  Without the channel each load begins one.  A read of buyers that takes long
 * is not repeated soon.
 */
#include "live_sale.h"

#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "pg.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define WAITERS		 10000
#define JOIN		 1000	 /* milliseconds that others may join in a load */
#define JOIN_DEAF	 200	 /* without the channel */
#define PAUSE		 100	 /* milliseconds after a load that has failed */
#define BUYERS_MAX	 2000000 /* of all sales together */
#define BUYERS_QUICK 50000	 /* units of a sale whose buyers are read soon */
#define BUYERS_REST	 3		 /* times as long as a read of buyers takes, none is sent */
#define BUYERS_PAUSE 5000	 /* milliseconds if they are too many, or cannot be read */
#define SLICE		 20000	 /* accounts that are taken in at a time, in some ms */

static int statement_live, statement_buyers;
static HfLiveLoaded when_loaded;
static unsigned waiters;
static size_t buyers; /* of all sales */

/* In the parent. */
void
hf_live_load_prepare(void)
{
	statement_live = hf_pg_statement("sale_live", "SELECT * FROM rest.sale_live($1, $2)", 2);
	statement_buyers = hf_pg_statement("sale_buyers", "SELECT * FROM rest.sale_buyers($1, $2)", 2);
}

/* Who hears of each load that has come, before those who wait for it. */
void
hf_live_load_start(HfLiveLoaded loaded)
{
	when_loaded = loaded;
}

void
hf_live_drop_buyers(HfLiveSale *sale)
{
	if (sale->buyers != NULL)
		buyers -= hf_account_set_count(sale->buyers);
	hf_account_set_free(sale->buyers);
	sale->buyers = NULL;
}

static bool
send(HfPgLane lane, int statement, HfLiveSale *sale, HfPgDone done)
{
	char id[24];
	HfText values[2] = {{NULL, 0}, {id, 0}};

	values[1].length = (size_t) snprintf(id, sizeof(id), "%" PRId64, sale->read.sale);
	if (!hf_pg_send(lane, statement, values, 2, done, sale))
		return false;
	hf_metrics_add(HF_METRIC_LIVE_LOADS, 1);
	sale->holds++;
	return true;
}

static int64_t
integer(const json_t *json, const char *member)
{
	return json_integer_value(json_object_get(json, member));
}

/* So many milliseconds after another time, or before it, but not before all time. */
static uint64_t
after(uint64_t time, int64_t milliseconds)
{
	if (milliseconds < 0)
		return time > (uint64_t) -milliseconds ? time - (uint64_t) -milliseconds : 0;
	return time + (uint64_t) milliseconds;
}

static bool
read_state(HfLiveSale *sale, const json_t *json)
{
	static const char *const names[] = {[HF_LIVE_SCHEDULED] = "scheduled",
										[HF_LIVE_OPEN] = "open",
										[HF_LIVE_SOLD_OUT] = "sold_out",
										[HF_LIVE_CLOSED] = "closed"};
	const char *state = json_string_value(json_object_get(json, "state"));
	const json_t *due = json_object_get(json, "release_in_ms");
	HfLive *live = &sale->read;
	int i = HF_LIVE_SCHEDULED;

	if (state == NULL)
		return false;
	while (i < HF_LIVE_CLOSED && strcmp(names[i], state) != 0)
		i++;
	if (strcmp(names[i], state) != 0)
		return false;
	/* The clock of the database was read after this was sent: all of it is a little early. */
	*live = (HfLive){.sale = live->sale,
					 .state = (HfLiveState) i,
					 .version = integer(json, "version"),
					 .left = integer(json, "left"),
					 .quota = integer(json, "ticket_quota"),
					 .starts = after(sale->load_sent, integer(json, "starts_in_ms")),
					 .ends = after(sale->load_sent, integer(json, "ends_in_ms")),
					 .ends_at = integer(json, "ends_at_ms")};
	sale->due = json_is_integer(due) ? after(sale->load_sent, json_integer_value(due)) : UINT64_MAX;
	sale->quantity = integer(json, "quantity");
	return true;
}

/* Takes an answer in; false if it is none. */
static bool
take(HfLiveSale *sale, const HfPgAnswer *answer)
{
	HfText body = hf_pg_value(answer, 0, 4);
	json_t *json;
	bool good = false;

	if (answer->outcome == HF_PG_REFUSED && strcmp(answer->sqlstate, "HS004") == 0)
	{
		sale->read = (HfLive){.sale = sale->read.sale};
		sale->due = UINT64_MAX;
		good = true;
	}
	else if (answer->outcome == HF_PG_ROWS && body.data != NULL)
	{
		json = json_loadb(body.data, body.length, 0, NULL);
		good = read_state(sale, json);
		json_decref(json);
	}
	if (!good)
	{
		if (answer->outcome != HF_PG_LOST)
			hf_log(HF_LOG_ERROR, "statement_failed", "rest.sale_live: %s %s", answer->sqlstate,
				   answer->message);
		return false;
	}
	sale->known = true;
	sale->read_sent = sale->load_sent;
	sale->read_moment = sale->load_moment;
	sale->read_era = sale->load_era;
	if (sale->buyers_era != sale->read_era)
		hf_live_drop_buyers(sale);
	return true;
}

static void
tell(struct HfLiveWaiters *those, const HfLive *live)
{
	HfLiveWaiter *waiter;

	while ((waiter = STAILQ_FIRST(those)) != NULL)
	{
		HfLiveWaiter first = *waiter;

		STAILQ_REMOVE_HEAD(those, link);
		free(waiter);
		waiters--;
		first.done(first.arg, live);
	}
}

static void
loaded(void *arg, const HfPgAnswer *answer)
{
	HfLiveSale *sale = arg;
	struct HfLiveWaiters those = STAILQ_HEAD_INITIALIZER(those);
	struct HfLiveWaiters in_vain = STAILQ_HEAD_INITIALIZER(in_vain);
	bool good = take(sale, answer);
	HfLive live = hf_live_sale_at(sale, hf_loop_now());

	sale->loading = false;
	STAILQ_CONCAT(&those, &sale->joined);
	if (!good)
		sale->load_pause = hf_loop_now() + PAUSE;
	if (!STAILQ_EMPTY(&sale->late) && hf_live_load(sale))
		STAILQ_CONCAT(&sale->joined, &sale->late);
	STAILQ_CONCAT(&in_vain, &sale->late);
	if (good)
		when_loaded(sale);
	tell(&those, good ? &live : NULL);
	tell(&in_vain, NULL);
	sale->holds--;
}

/* Sends a load; false if one is under way, or it cannot be sent. */
bool
hf_live_load(HfLiveSale *sale)
{
	uint64_t now = hf_loop_now();

	if (sale->loading || now < sale->load_pause)
		return false;
	if (!hf_near_cache_is_alive() || !hf_live_sale_is_true(sale, now))
		sale->era++;
	sale->load_era = sale->era;
	sale->load_sent = now;
	sale->load_moment = hf_near_cache_moment();
	sale->loading = send(HF_PG_LIVE, statement_live, sale, loaded);
	return sale->loading;
}

/* May somebody who comes now be told what the load under way brings? */
static bool
can_join(const HfLiveSale *sale)
{
	unsigned join = hf_near_cache_is_alive() ? JOIN : JOIN_DEAF;

	return hf_loop_now() - sale->load_sent < join &&
		!hf_near_cache_is_void(&sale->stock_name, sale->load_moment) &&
		!hf_near_cache_is_void(&sale->sale_name, sale->load_moment);
}

/* Loads for somebody. */
void
hf_live_load_for(HfLiveSale *sale, HfLiveDone done, void *arg)
{
	HfLiveWaiter *waiter = waiters < WAITERS ? malloc(sizeof(*waiter)) : NULL;

	if (waiter == NULL || (!sale->loading && !hf_live_load(sale)))
	{
		free(waiter);
		done(arg, NULL);
		return;
	}
	*waiter = (HfLiveWaiter){.done = done, .arg = arg};
	STAILQ_INSERT_TAIL(can_join(sale) ? &sale->joined : &sale->late, waiter, link);
	waiters++;
}

/* Takes up to SLICE accounts out of the array of numbers; false if they are too many. */
static bool
take_slice(HfLiveSale *sale)
{
	const char *at = sale->buyers_at;

	for (int taken = 0; taken < SLICE && *at != '\0'; taken++)
	{
		int64_t account = 0;

		at += strcspn(at, "0123456789");
		if (*at == '\0')
			break;
		for (; isdigit((unsigned char) *at); at++)
			account = account * 10 + (*at - '0');
		if (!hf_account_set_add(sale->buyers_coming, account))
			return false;
	}
	sale->buyers_at = at;
	return true;
}

/* The read has ended: with a set of accounts, or NULL. */
static void
end_buyers(HfLiveSale *sale, HfAccountSet *set)
{
	uint64_t now = hf_loop_now();

	if (set != sale->buyers_coming)
		hf_account_set_free(sale->buyers_coming);
	free(sale->buyers_text);
	sale->buyers_text = NULL;
	sale->buyers_coming = NULL;
	sale->buyers_reading = false;
	sale->buyers = set;
	if (set == NULL)
		sale->buyers_pause = now + BUYERS_PAUSE;
	else
	{
		buyers += hf_account_set_count(set);
		sale->buyers_pause = now + (now - sale->buyers_sent) * BUYERS_REST;
	}
	sale->holds--;
}

/* Takes in the next accounts; the loop has other things to do between two slices. */
static void
take_buyers(void *arg)
{
	HfLiveSale *sale = arg;

	if (!take_slice(sale) || hf_account_set_count(sale->buyers_coming) > BUYERS_MAX - buyers)
		end_buyers(sale, NULL);
	else if (*sale->buyers_at != '\0')
		hf_loop_after(1, take_buyers, sale);
	else
		end_buyers(sale, sale->buyers_coming);
}

static void
buyers_loaded(void *arg, const HfPgAnswer *answer)
{
	HfLiveSale *sale = arg;
	HfText body = hf_pg_value(answer, 0, 4);

	if (answer->outcome == HF_PG_ROWS && body.data != NULL)
	{
		sale->buyers_text = strndup(body.data, body.length);
		sale->buyers_coming = hf_account_set_create(BUYERS_MAX);
	}
	else if (answer->outcome == HF_PG_REFUSED)
		hf_log(HF_LOG_ERROR, "statement_failed", "rest.sale_buyers: %s %s", answer->sqlstate,
			   answer->message);
	sale->buyers_at = sale->buyers_text;
	if (sale->buyers_text == NULL || sale->buyers_coming == NULL)
		end_buyers(sale, NULL);
	else
		take_buyers(sale);
}

/* Reads who has bought.  Not to be called but while the state is true and nothing is under way. */
void
hf_live_load_buyers(HfLiveSale *sale)
{
	HfPgLane lane = sale->quantity > BUYERS_QUICK ? HF_PG_SLOW : HF_PG_READ;

	hf_live_drop_buyers(sale);
	sale->buyers_sent = hf_loop_now();
	sale->buyers_era = sale->read_era;
	sale->buyers_reading = send(lane, statement_buyers, sale, buyers_loaded);
}
