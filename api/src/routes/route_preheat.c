/*
 * route_preheat.c
 *		Sales, before they begin.
 *
 * The database moves the units and says what of the sale is right.  Then the sale is read as its
 * buyers' requests will read it, and the product's page is put into the cache; and it is said
 * whether that could be done, and who counts the tickets.  All of it comes about by itself with the
 * first who asks: here somebody is told beforehand, who can do something about it.
 */
#include "kore.h"

#include "cached.h"
#include "call.h"
#include "live.h"
#include "loop.h"
#include "redis.h"
#include "reply.h"

/* Milliseconds in which our own change is announced; until then the sale may pass for a draft. */
#define SETTLE 100

typedef struct Preheat
{
	HfRequest *request;
	json_t *answer; /* of the database */
	char etag[HF_REPLY_ETAG_MAX + 1];
	int64_t quota; /* 0: this worker could not learn the sale */
	bool warm;
} Preheat;

static void
add_check(const Preheat *preheat, const char *name, bool ok, const char *detail)
{
	json_array_append_new(json_object_get(preheat->answer, "checks"),
						  json_pack("{s:s, s:b, s:s}", "name", name, "ok", ok, "detail", detail));
	if (!ok)
		json_object_set_new(preheat->answer, "ready", json_false());
}

static void
add_checks(const Preheat *preheat)
{
	bool counted = hf_redis_is_up();
	char detail[120];

	if (!hf_cache_is_on())
		add_check(preheat, "cache", false, "off: all is read from the database");
	else
		add_check(preheat, "cache", preheat->warm,
				  preheat->warm ? "the product is in it" : "the product cannot be read");
	if (preheat->quota == 0)
		strcpy(detail, "the sale cannot be read");
	else
		snprintf(detail, sizeof(detail), "%lld at a time, counted %s", (long long) preheat->quota,
				 counted ? "over all workers" : "by each worker alone: Redis is away");
	add_check(preheat, "tickets", preheat->quota > 0 && counted, detail);
}

/* Answers, and frees it. */
static void
finish(Preheat *preheat)
{
	HfRow row = {.status = 200, .etag = hf_text(preheat->etag)};
	char *text;

	if (hf_request_is_open(preheat->request))
	{
		add_checks(preheat);
		text = json_dumps(preheat->answer, JSON_COMPACT);
		row.body = hf_text(text);
		if (text != NULL)
			hf_call_reply(preheat->request, &row);
		else
			hf_reply_problem(preheat->request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		free(text);
	}
	hf_request_release(preheat->request);
	json_decref(preheat->answer);
	free(preheat);
}

static void
warmed(void *arg, bool good)
{
	Preheat *preheat = arg;

	preheat->warm = good;
	finish(preheat);
}

static void
told(void *arg, const HfLive *live)
{
	Preheat *preheat = arg;
	const char *product =
		json_string_value(json_object_get(json_object_get(preheat->answer, "sale"), "product_id"));
	HfText id = hf_text(product);
	HfCacheEntry entry;

	if (live != NULL)
		preheat->quota = live->quota;
	if (product != NULL && hf_cache_entry_begin(&entry, "product:{id}", &id, 1))
		hf_cached_warm(&hf_call_product_get, &entry, &id, warmed, preheat);
	else
		finish(preheat);
}

static void
settled(void *arg)
{
	Preheat *preheat = arg;

	hf_live_get(strtoll(preheat->request->capture[0].data, NULL, 10), told, preheat);
}

static void
preheated(HfRequest *request, const HfRow *row)
{
	Preheat *preheat = calloc(1, sizeof(*preheat));
	json_t *answer = json_loadb(row->body.data, row->body.length, 0, NULL);

	if (preheat == NULL || answer == NULL)
	{
		free(preheat);
		json_decref(answer);
		hf_call_reply(request, row);
		return;
	}
	preheat->request = request;
	preheat->answer = answer;
	hf_text_copy(preheat->etag, sizeof(preheat->etag), &row->etag);
	hf_request_hold(request);
	hf_loop_after(SETTLE, settled, preheat);
}

void
hf_route_sale_preheat(HfRequest *request)
{
	HfText values[HF_ROUTE_ARGUMENTS];
	HfNumber number;

	if (hf_call_arguments(request, false, values, &number))
		hf_call(request, &request->route->call, values, preheated);
}
