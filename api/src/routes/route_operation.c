/*
 * route_operation.c
 *		What the application says of itself.
 *
 * None of this waits long for anybody: a monitor that hangs when the database does is no monitor.
 */
#include "kore.h"

#include "cache.h"
#include "call.h"
#include "loop.h"
#include "metrics.h"
#include "page.h"
#include "password.h"
#include "redis.h"
#include "reply.h"

#define PATIENCE	 1000 /* milliseconds */
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

void
hf_route_health(HfRequest *request)
{
	HfText body = hf_text("{\"status\":\"ok\"}");

	request->reply.no_store = true;
	hf_reply(request, 200, &body);
}

static json_t *
lane_state(HfPgLane lane)
{
	HfPgState state;

	hf_pg_state(lane, &state);
	return json_pack("{s:s, s:i, s:i, s:i}", "state", state.up > 0 ? "up" : "down", "connections",
					 state.connections, "up", state.up, "waiting", state.waiting);
}

static bool
lane_is_up(HfPgLane lane)
{
	HfPgState state;

	hf_pg_state(lane, &state);
	return state.up > 0;
}

/*
 * Says what state everything is in; a shop without its cache is ready, one without its database
 * not.
 */
static void
reply_ready(HfRequest *request, const HfRow *row)
{
	bool ready = row != NULL && lane_is_up(HF_PG_READ) && lane_is_up(HF_PG_WRITE);
	json_t *shop =
		row != NULL ? json_loadb(row->body.data, row->body.length, 0, NULL) : json_null();
	json_t *all =
		json_pack("{s:b, s:{s:o, s:o, s:o, s:o, s:o}, s:s, s:s, s:o}", "ready", ready, "database",
				  "read", lane_state(HF_PG_READ), "write", lane_state(HF_PG_WRITE), "slow",
				  lane_state(HF_PG_SLOW), "purchase", lane_state(HF_PG_PURCHASE), "live",
				  lane_state(HF_PG_LIVE), "redis", hf_redis_is_up() ? "up" : "down", "cache",
				  hf_cache_is_on() ? "on" : "off", "shop", shop);
	char *text = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(9));
	HfText body = hf_text(text);

	request->reply.no_store = true;
	if (!ready)
		request->reply.retry_after = 1;
	hf_reply(request, ready ? 200 : 503, &body);
	free(text);
	json_decref(all);
}

/* No answer in time: that is an answer as well. */
static void
lose_patience(void *arg)
{
	HfRequest *request = arg;

	if (hf_request_is_open(request))
		reply_ready(request, NULL);
	hf_request_release(request);
}

void
hf_route_ready(HfRequest *request)
{
	HfText nobody = {NULL, 0};

	if (!lane_is_up(HF_PG_READ) || !hf_problem_loaded())
	{
		reply_ready(request, NULL);
		return;
	}
	hf_request_hold(request);
	hf_loop_after(PATIENCE, lose_patience, request);
	hf_call(request, &hf_call_ready, &nobody, reply_ready);
}

/* Writes down of this worker what nobody else does, for whichever worker is asked. */
void
hf_operation_note(void)
{
	hf_metrics_process();
	hf_metrics_set(HF_METRIC_CONNECTIONS, worker_active_connections);
	hf_metrics_set(HF_METRIC_REQUESTS_OPEN, hf_requests_open());
	hf_metrics_set(HF_METRIC_HASHES_WAITING, hf_password_waiting());
}

static const char *
method_of(unsigned number)
{
	return hf_route_method_name(hf_route_at(number)->method);
}

static const char *
pattern_of(unsigned number)
{
	return hf_route_at(number)->pattern;
}

/* Our own figures, and if there is a row, the database's. */
static void
reply_metrics(HfRequest *request, const HfRow *row)
{
	size_t own_length, length = 0;
	char *own, *families = row != NULL ? hf_metrics_families(&row->body, &length) : NULL, *all;

	hf_operation_note();
	own = hf_metrics_text(method_of, pattern_of, &own_length);
	all = own != NULL ? realloc(own, own_length + length + 1) : NULL;
	request->reply.no_store = true;
	if (all == NULL)
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	else
	{
		HfText text = {all, own_length + length};

		if (length > 0)
			memcpy(all + own_length, families, length);
		hf_reply_text(request, 200, METRICS_TYPE, &text);
	}
	free(all);
	free(families);
}

static void
metrics_answered(void *arg, const HfPgAnswer *answer)
{
	HfRequest *request = arg;
	HfRow row;

	if (hf_request_is_open(request))
		reply_metrics(request, hf_call_row(answer, &row) ? &row : NULL);
	hf_request_release(request);
}

static void
metrics_waited(void *arg)
{
	HfRequest *request = arg;

	if (hf_request_is_open(request))
		reply_metrics(request, NULL);
	hf_request_release(request);
}

void
hf_route_metrics(HfRequest *request)
{
	HfText nobody = {NULL, 0};

	hf_request_hold(request);
	if (!hf_pg_send(hf_call_metrics.lane, hf_call_metrics.statement, &nobody, 1, metrics_answered,
					request))
	{
		reply_metrics(request, NULL);
		hf_request_release(request);
		return;
	}
	hf_request_hold(request);
	hf_loop_after(PATIENCE, metrics_waited, request);
}

/* GET /openapi.json, /docs and what belongs to it */
void
hf_route_page(HfRequest *request)
{
	const HfPage *page = hf_page_find(request->http->path);

	if (page == NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
		return;
	}
	snprintf(request->reply.etag, sizeof(request->reply.etag), "%s", page->etag);
	hf_reply_packed(request, 200, &page->plain, &page->gzip);
	if (request->reply.status == 200)
		request->reply.type = page->type;
}

/* GET /problems/{name}: what the type of a problem document leads to. */
void
hf_route_problem(HfRequest *request)
{
	const HfProblem *problem =
		hf_problem_of_name(request->capture[0].data, request->capture[0].length);
	json_t *json;
	char *text;
	HfText body;

	if (problem == NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
		return;
	}
	json = json_pack("{s:s, s:s, s:i}", "code", problem->name, "title", problem->title, "status",
					 problem->status);
	text = json_dumps(json, JSON_COMPACT);
	body = hf_text(text);
	hf_reply(request, 200, &body);
	free(text);
	json_decref(json);
}
