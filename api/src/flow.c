/*
 * flow.c
 *		The way of a request, from Kore to its handler and back.
 *
 * Kore runs hf_dispatch() when a request has come in.  Its route is found, its bearer's token is
 * checked, its limits are asked, its body is read, and then its handler answers: at once, or
 * later, while the request sleeps.  An answer wakes it, Kore runs hf_dispatch() again, and the
 * answer is sent.  A request that sleeps longer than its route may is answered with 503; whatever
 * comes for it afterwards finds it answered.
 */
#include "kore.h"

#include "body.h"
#include "call.h"
#include "flow.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "reply.h"
#include "token.h"

#define OVERDUE_EVERY 50 /* milliseconds */
#define BEARER		  "bearer "

static bool
find_method(int method, HfMethod *found)
{
	switch (method)
	{
		case HTTP_METHOD_GET:
		case HTTP_METHOD_HEAD:
			*found = HF_GET;
			return true;
		case HTTP_METHOD_POST:
			*found = HF_POST;
			return true;
		case HTTP_METHOD_PUT:
			*found = HF_PUT;
			return true;
		case HTTP_METHOD_PATCH:
			*found = HF_PATCH;
			return true;
		case HTTP_METHOD_DELETE:
			*found = HF_DELETE;
			return true;
		default:
			return false;
	}
}

/* Finds the route; false if that was answered: OPTIONS, or that there is none. */
static bool
find_route(HfRequest *request)
{
	HfText nothing = {NULL, 0};
	HfMethod method = HF_METHODS;
	char *allow = request->reply.allow;
	bool is_method = find_method(request->http->method, &method);

	if (hf_route_find(request, method, request->http->path, allow, sizeof(request->reply.allow)))
	{
		allow[0] = '\0';
		return true;
	}
	if (allow[0] == '\0')
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
	else if (request->http->method == HTTP_METHOD_OPTIONS)
		hf_reply(request, 204, &nothing);
	else
		hf_reply_problem(request,
						 is_method ? HF_PROBLEM_METHOD_NOT_ALLOWED : HF_PROBLEM_NOT_IMPLEMENTED,
						 NULL, NULL);
	return false;
}

/*
 * Finds out who asks (RFC 6750, section 2.1).  At the token endpoint a client may show who it is
 * (RFC 6749, section 2.3.1), which makes no difference here.
 */
static HfTokenVerdict
find_actor(HfRequest *request)
{
	const char *header = hf_request_header(request, "authorization");
	HfText token;

	if (header == NULL || request->route->body == HF_FORM)
		return HF_TOKEN_GOOD;
	if (strncasecmp(header, BEARER, strlen(BEARER)) != 0)
		return HF_TOKEN_BAD;
	token.data = header + strlen(BEARER);
	token.data += strspn(token.data, " ");
	token.length = strlen(token.data);
	return hf_token_check(&token, &request->account, &request->staff);
}

/* The rest of the way, once the limits have let the request in. */
static void
admitted(HfRequest *request, HfTokenVerdict token)
{
	const HfRoute *route = request->route;

	if (token != HF_TOKEN_GOOD)
	{
		hf_reply_problem(request, HF_PROBLEM_INVALID_TOKEN, NULL,
						 token == HF_TOKEN_EXPIRED ? "it has expired" : NULL);
		return;
	}
	if (request->account == 0 && route->who != HF_ANYONE && route->who != HF_OPERATOR)
	{
		hf_reply_problem(request, HF_PROBLEM_UNAUTHENTICATED, NULL, NULL);
		return;
	}
	if (!hf_body_read(request))
		return;
	if (route->handler != NULL)
		route->handler(request);
	else
		hf_call_route(request);
}

static void
judge(HfRequest *request, HfTokenVerdict token)
{
	if (request->limit.admitted)
	{
		admitted(request, token);
		return;
	}
	request->reply.retry_after = request->limit.retry_after;
	hf_reply_problem(request, HF_PROBLEM_TOO_MANY_REQUESTS, NULL, NULL);
}

/* The limits have been asked, and the verdict came late. */
static void
limited(void *arg, const HfLimitVerdict *verdict)
{
	HfRequest *request = arg;

	request->limit = *verdict;
	if (hf_request_is_open(request))
		judge(request, find_actor(request));
	hf_request_release(request);
}

static void
begin(HfRequest *request)
{
	HfTokenVerdict token;

	if (!find_route(request))
		return;
	token = find_actor(request);
	hf_request_hold(request);
	if (!hf_limit_check(request->route->limit, request->address,
						token == HF_TOKEN_GOOD ? request->account : 0, &request->limit, limited,
						request))
		return;
	judge(request, token);
	hf_request_release(request);
}

/* Handler of all routes, for Kore. */
int
hf_dispatch(struct http_request *http)
{
	HfRequest *request = hf_request_of(http);

	if (request == NULL)
	{
		request = hf_request_new(http);
		if (request == NULL)
			return KORE_RESULT_ERROR;
		begin(request);
	}
	if (request->replied)
	{
		hf_reply_send(request);
		return KORE_RESULT_OK;
	}
	if (!request->waiting)
		hf_request_wait(request,
						request->route->lane == HF_PG_SLOW ? hf_config.slow_timeout
														   : hf_config.request_timeout);
	request->sleeping = true;
	http_request_sleep(http);
	return KORE_RESULT_RETRY;
}

static void
answer_overdue(void)
{
	HfRequest *request;

	while ((request = hf_request_overdue(hf_loop_now())) != NULL)
	{
		if (!hf_request_is_open(request))
			continue;
		hf_metrics_add(HF_METRIC_TIMED_OUT, 1);
		hf_call_unknown(request, HF_PROBLEM_TIMED_OUT);
	}
}

void
hf_flow_start(void)
{
	hf_loop_every(OVERDUE_EVERY, answer_overdue);
}
