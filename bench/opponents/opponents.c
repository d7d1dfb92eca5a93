/*
 * opponents.c
 *		Other ways to sell, in the same server: the way of a request, from Kore to a seller and back.
 *
 * A second module of Kore beside the application's.  A request for /v1/sales/SELLER/purchases is one
 * for /v1/sales/{id}/purchases, whose id stands in the header X-Sale, so that Kore finds its handler by
 * comparing texts: it has that route's limits, its bearer's token is checked, its body is read and
 * judged, its ticket is checked, its key is required, and the answer has the same headers and as many
 * bytes.  Only who sells is another: see sellers.c.
 */
#include "kore.h"

#include "body.h"
#include "call.h"
#include "limit.h"
#include "opponents.h"
#include "reply.h"
#include "ticket.h"
#include "token.h"

#include <time.h>

#define BEARER	   "bearer "
#define KEY_MIN	   8
#define KEY_MAX	   255
#define PAY_WITHIN 900 /* seconds */
#define TIME_MAX   40

/* The route of purchases, with other handlers. */
static HfRoute route_one, route_redis, route_writer;

static void __attribute__((constructor)) load(void)
{
	prepare_sellers();
}

/* Who asks: as in flow.c. */
static HfTokenVerdict
find_actor(HfRequest *request)
{
	const char *header = hf_request_header(request, "authorization");
	HfText token;

	if (header == NULL || strncasecmp(header, BEARER, strlen(BEARER)) != 0)
		return HF_TOKEN_BAD;
	token = hf_text(header + strlen(BEARER));
	return hf_token_check(&token, &request->account, &request->staff);
}

static void
admitted(HfRequest *request)
{
	if (!request->limit.admitted)
		hf_reply_problem(request, HF_PROBLEM_TOO_MANY_REQUESTS, NULL, NULL);
	else if (request->account == 0)
		hf_reply_problem(request, HF_PROBLEM_INVALID_TOKEN, NULL, NULL);
	else if (hf_body_read(request))
		request->route->handler(request);
}

static void
limited(void *arg, const HfLimitVerdict *verdict)
{
	HfRequest *request = arg;

	request->limit = *verdict;
	if (hf_request_is_open(request))
		admitted(request);
	hf_request_release(request);
}

static void
begin(HfRequest *request, HfRoute *route, HfHandler handler)
{
	const char *sale = hf_request_header(request, "x-sale");
	char path[64], allow[64];

	snprintf(path, sizeof(path), "/v1/sales/%s/purchases", sale != NULL ? sale : "");
	if (!hf_route_find(request, HF_POST, path, allow, sizeof(allow)))
	{
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
		return;
	}
	*route = *request->route;
	route->handler = handler;
	request->route = route;
	find_actor(request);
	hf_request_hold(request);
	if (!hf_limit_check(request->route->limit, request->address, request->account, &request->limit,
						limited, request))
		return;
	admitted(request);
	hf_request_release(request);
}

/* As hf_dispatch() does. */
static int
serve(struct http_request *http, HfRoute *route, HfHandler handler)
{
	HfRequest *request = hf_request_of(http);

	if (request == NULL)
	{
		request = hf_request_new(http);
		if (request == NULL)
			return KORE_RESULT_ERROR;
		begin(request, route, handler);
	}
	if (request->replied)
	{
		hf_reply_send(request);
		return KORE_RESULT_OK;
	}
	if (!request->waiting)
		hf_request_wait(request, hf_config.request_timeout);
	request->sleeping = true;
	http_request_sleep(http);
	return KORE_RESULT_RETRY;
}

/* A new UUID of version 7 (RFC 9562), whose random bits need only differ from each other. */
static void
make_order_id(char id[ORDER_ID_LENGTH + 1])
{
	static uint64_t worker, number;
	struct timespec now;
	uint64_t milliseconds;

	if (worker == 0)
		arc4random_buf(&worker, sizeof(worker));
	number++;
	clock_gettime(CLOCK_REALTIME, &now);
	milliseconds = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
	snprintf(id, ORDER_ID_LENGTH + 1, "%08x-%04x-7%03x-%04x-%012llx",
			 (unsigned) (milliseconds >> 16), (unsigned) (milliseconds & 0xffff),
			 (unsigned) (number & 0xfff), (unsigned) (0x8000 | (worker & 0x3fff)),
			 (unsigned long long) ((worker >> 16 ^ number << 20) & 0xffffffffffff));
}

/* Reads the body, ticket and key, and sells. */
static void
handle(HfRequest *request, Seller sell)
{
	const json_t *ticket = json_object_get(request->json, "ticket");
	double quantity = json_real_value(json_object_get(request->json, "quantity"));
	HfText text = {json_string_value(ticket), json_string_length(ticket)};
	Purchase *purchase;

	if (!hf_body_only(request, "ticket", "quantity"))
		return;
	purchase = malloc(sizeof(Purchase)); /* the request frees it */
	request->state = purchase;
	if (purchase == NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		return;
	}
	purchase->request = request;
	purchase->sale = strtoll(request->capture[0].data, NULL, 10);
	purchase->quantity = (int64_t) quantity;
	purchase->key = hf_request_header(request, "idempotency-key");
	if (purchase->key == NULL || strlen(purchase->key) < KEY_MIN || strlen(purchase->key) > KEY_MAX)
		hf_reply_refusal(request, hf_problem_of_sqlstate("HF019"), NULL, NULL);
	else if (quantity < 1 || quantity != (double) purchase->quantity)
		hf_reply_refusal(request, hf_problem_of_sqlstate("HF003"), "/quantity", NULL);
	else if (hf_ticket_check(&text, request->account, purchase->sale) != HF_TICKET_GOOD)
		hf_reply_problem(request, HF_PROBLEM_INVALID_TICKET, NULL, NULL);
	else
	{
		make_order_id(purchase->order);
		sell(purchase);
	}
}

static void
handle_one(HfRequest *request)
{
	handle(request, sell_one_by_one);
}

static void
handle_redis(HfRequest *request)
{
	handle(request, sell_from_redis);
}

static void
handle_writer(HfRequest *request)
{
	handle(request, sell_from_redis_and_write);
}

int
bench_one(struct http_request *http)
{
	return serve(http, &route_one, handle_one);
}

int
bench_redis(struct http_request *http)
{
	return serve(http, &route_redis, handle_redis);
}

int
bench_writer(struct http_request *http)
{
	return serve(http, &route_writer, handle_writer);
}

static void
write_time(char text[TIME_MAX], const struct timespec *time)
{
	struct tm tm;
	size_t used;

	gmtime_r(&time->tv_sec, &tm);
	used = strftime(text, TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + used, TIME_MAX - used, ".%06ldZ", time->tv_nsec / 1000);
}

/* The order, as rest.sale_purchase_batch() shows it; what is the same for all is not looked up. */
static void
answer_order(Purchase *purchase)
{
	static const char format[] =
		"{\"id\" : \"%s\", \"status\" : \"pending_payment\", \"merchant_id\" : \"1\", \"items\" : "
		"[{\"line\" : 1, \"sku_id\" : \"1\", \"product_id\" : \"1\", \"code\" : \"THING-1\", "
		"\"title\" : \"The thing of the sale\", \"quantity\" : %lld, \"unit_price\" : 500, "
		"\"amount\" : %lld, \"returned\" : 0}], \"total\" : %lld, \"currency\" : \"EUR\", "
		"\"placed_at\" : \"%s\", \"expires_at\" : \"%s\", \"sale_id\" : \"%lld\", "
		"\"channel\" : null, \"reference\" : null}";
	HfRequest *request = purchase->request;
	char body[1024], placed[TIME_MAX], expires[TIME_MAX];
	struct timespec now;
	int length;

	clock_gettime(CLOCK_REALTIME, &now);
	write_time(placed, &now);
	now.tv_sec += PAY_WITHIN;
	write_time(expires, &now);
	length = snprintf(body, sizeof(body), format, purchase->order, (long long) purchase->quantity,
					  500 * (long long) purchase->quantity, 500 * (long long) purchase->quantity,
					  placed, expires, (long long) purchase->sale);
	strcpy(request->reply.etag, "\"1\"");
	snprintf(request->reply.location, sizeof(request->reply.location), "/v1/orders/%s",
			 purchase->order);
	hf_reply(request, 201, &(HfText){body, (size_t) length});
}

void
answer_purchase(Purchase *purchase, Outcome outcome)
{
	HfRequest *request = purchase->request;

	if (!hf_request_is_open(request))
		return;
	request->reply.replayed = outcome == BOUGHT_BEFORE;
	if (outcome == BOUGHT || outcome == BOUGHT_BEFORE)
		answer_order(purchase);
	else
		hf_reply_refusal(request, hf_problem_of_sqlstate(outcome == SOLD_OUT ? "HS403" : "HS404"),
						 NULL, NULL);
}

void
answer_nothing_known(Purchase *purchase)
{
	if (hf_request_is_open(purchase->request))
		hf_call_unknown(purchase->request, HF_PROBLEM_UNAVAILABLE);
}
