/*
 * routes.c
 *		The routes: the one table of them, and how a path finds its own.
 *
 * A route is a method and a pattern, who may call it, and the function of rest that it calls.  Of
 * arguments, actor is who is logged in; id, uuid and word are the captures of the pattern, in
 * order; key and match are Idempotency-Key and If-Match; query is the query as a JSON object;
 * body is the body.  The tests of authorization and the labels of the metrics are made of this
 * table: a route is a line of it, or two.
 */
#include "kore.h"

#include "routes.h"

#include <assert.h>

#define SEGMENTS_MAX 6

#define ROUTE(method_, pattern_, who_, function_, ...)                                        \
	{                                                                                         \
		.method = HF_##method_, .pattern = pattern_, .who = HF_##who_, .function = function_, \
		__VA_ARGS__                                                                           \
	}

// clang-format off
static HfRoute routes[] = {
	/* account */
	ROUTE(POST, "/v1/accounts", ANYONE, "account_create(actor, body, hash)",
		.handler = hf_route_account_create, .limit = HF_LIMIT_REGISTER),
	ROUTE(POST, "/v1/oauth/token", ANYONE, NULL,
		.handler = hf_route_token, .limit = HF_LIMIT_LOGIN, .body = HF_FORM),
	ROUTE(POST, "/v1/oauth/revoke", ANYONE, NULL, .handler = hf_route_revoke, .body = HF_FORM),
	ROUTE(POST, "/v1/password-resets", ANYONE, "password_reset_request(actor, body, secret, hash)",
		.handler = hf_route_password_reset_request, .limit = HF_LIMIT_REGISTER),
	ROUTE(PUT, "/v1/password-resets/{token}", ANYONE,
		"password_reset_finish(actor, account, hash, password)",
		.handler = hf_route_password_reset_finish, .limit = HF_LIMIT_LOGIN, .body = HF_JSON),
	ROUTE(GET, "/v1/me", USER, "me_get(actor)"),
	ROUTE(PATCH, "/v1/me", USER, "me_update(actor, body, match)"),
	ROUTE(PUT, "/v1/me/password", USER, "me_password_set(actor, current, hash)",
		.handler = hf_route_me_password_set, .limit = HF_LIMIT_LOGIN, .body = HF_JSON),
	ROUTE(DELETE, "/v1/me/tokens", USER, "me_logout(actor)"),
	ROUTE(PUT, "/v1/me/avatar", USER, "me_avatar_set(actor, picture)",
		.handler = hf_route_me_avatar_set, .limit = HF_LIMIT_BATCH, .body = HF_PICTURE),
	ROUTE(POST, "/v1/merchants", USER, "merchant_create(actor, body)"),
	ROUTE(GET, "/v1/merchants/{id}", ANYONE, "merchant_get(actor, id)",
		.handler = hf_route_merchant_get),
	ROUTE(PATCH, "/v1/merchants/{id}", MERCHANT, "merchant_update(actor, id, body, match)"),

	/* catalogue and search */
	ROUTE(GET, "/v1/categories", ANYONE, "category_list(actor)", .handler = hf_route_category_list),
	ROUTE(POST, "/v1/categories", ADMIN, "category_create(actor, body)"),
	ROUTE(PATCH, "/v1/categories/{id}", ADMIN, "category_update(actor, id, body)"),
	ROUTE(GET, "/v1/products", ANYONE, "product_list(actor, query)",
		.handler = hf_route_product_list),
	ROUTE(POST, "/v1/products", MERCHANT, "product_create(actor, body)"),
	ROUTE(GET, "/v1/products/{id}", ANYONE, "product_get(actor, id)",
		.handler = hf_route_product_get),
	ROUTE(PATCH, "/v1/products/{id}", MERCHANT, "product_update(actor, id, body, match)"),
	ROUTE(DELETE, "/v1/products/{id}", MERCHANT, "product_delete(actor, id, match)"),
	ROUTE(POST, "/v1/products/{id}/publish", MERCHANT, "product_publish(actor, id, true)"),
	ROUTE(POST, "/v1/products/{id}/unpublish", MERCHANT, "product_publish(actor, id, false)"),
	ROUTE(GET, "/v1/products/{id}/related", ANYONE, "product_related(actor, id)",
		.handler = hf_route_product_related),
	ROUTE(POST, "/v1/products/{id}/images", MERCHANT, "product_image_add(actor, id, picture)",
		.handler = hf_route_product_image_add, .limit = HF_LIMIT_BATCH, .body = HF_PICTURE),
	ROUTE(GET, "/v1/search", ANYONE, "product_search(actor, query)",
		.handler = hf_route_product_search),
	ROUTE(GET, "/v1/skus/{id}/stock", ANYONE, "sku_stock_get(actor, id)"),
	ROUTE(POST, "/v1/skus/{id}/receipts", MERCHANT, "sku_receive(actor, id, key, body)"),
	ROUTE(POST, "/v1/skus/{id}/adjustments", MERCHANT, "sku_adjust(actor, id, key, body)"),

	/* order */
	ROUTE(POST, "/v1/orders", USER, "order_place(actor, key, body)"),
	ROUTE(POST, "/v1/orders/batch", USER, "order_place_batch(actor, key, body)",
		.limit = HF_LIMIT_BATCH, .lane = HF_PG_SLOW, .body = HF_BATCH),
	ROUTE(GET, "/v1/orders", USER, "order_list(actor, query)"),
	ROUTE(GET, "/v1/orders/{id}", USER, "order_get(actor, uuid)"),
	ROUTE(POST, "/v1/orders/{id}/cancel", USER, "order_cancel(actor, uuid, match)"),
	ROUTE(POST, "/v1/orders/{id}/ship", MERCHANT, "order_ship(actor, uuid, match)"),
	ROUTE(POST, "/v1/orders/{id}/complete", MERCHANT, "order_complete(actor, uuid, match)"),
	ROUTE(POST, "/v1/orders/{id}/returns", MERCHANT, "order_return(actor, uuid, key, body)",
		.body = HF_JSON_OPTIONAL),
	ROUTE(POST, "/v1/orders/{id}/payments", USER, "payment_create(actor, uuid, key, body)"),
	ROUTE(GET, "/v1/payments/{id}", USER, "payment_get(actor, uuid)"),
	ROUTE(POST, "/v1/payments/{id}/refunds", MERCHANT, "payment_refund(actor, uuid, key, body)",
		.body = HF_JSON_OPTIONAL),
	ROUTE(POST, "/v1/webhooks/{provider}", ANYONE,
		"webhook_receive(actor, word, bytes, signature, message, timestamp)",
		.handler = hf_route_webhook, .limit = HF_LIMIT_WEBHOOK, .body = HF_RAW),

	/* sale */
	ROUTE(POST, "/v1/sales", MERCHANT, "sale_create(actor, body)"),
	ROUTE(GET, "/v1/sales", ANYONE, "sale_list(actor, query)", .handler = hf_route_sale_list),
	ROUTE(GET, "/v1/sales/{id}", ANYONE, "sale_get(actor, id)", .handler = hf_route_sale_get),
	ROUTE(PATCH, "/v1/sales/{id}", MERCHANT, "sale_update(actor, id, match, body)"),
	ROUTE(POST, "/v1/sales/{id}/preheat", MERCHANT, "sale_preheat(actor, id)",
		.handler = hf_route_sale_preheat, .lane = HF_PG_SLOW),
	ROUTE(POST, "/v1/sales/{id}/close", MERCHANT, "sale_close(actor, id)"),
	ROUTE(GET, "/v1/sales/{id}/events", ANYONE, NULL, .handler = hf_route_sale_events),
	ROUTE(POST, "/v1/sales/{id}/tickets", USER, NULL, .handler = hf_route_sale_ticket,
		.limit = HF_LIMIT_SALE),
	ROUTE(POST, "/v1/sales/{id}/purchases", USER, "sale_purchase(actor, id, key, body)",
		.handler = hf_route_sale_purchase, .limit = HF_LIMIT_SALE),

	/* webhooks of merchants */
	ROUTE(POST, "/v1/webhook-endpoints", MERCHANT, "webhook_endpoint_create(actor, body)"),
	ROUTE(GET, "/v1/webhook-endpoints", MERCHANT, "webhook_endpoint_list(actor, query)"),
	ROUTE(GET, "/v1/webhook-endpoints/{id}", MERCHANT, "webhook_endpoint_get(actor, id)"),
	ROUTE(PATCH, "/v1/webhook-endpoints/{id}", MERCHANT,
		"webhook_endpoint_update(actor, id, body, match)"),
	ROUTE(DELETE, "/v1/webhook-endpoints/{id}", MERCHANT,
		"webhook_endpoint_delete(actor, id, match)"),
	ROUTE(POST, "/v1/webhook-endpoints/{id}/rotate-secret", MERCHANT,
		"webhook_endpoint_rotate_secret(actor, id)"),
	ROUTE(POST, "/v1/webhook-endpoints/{id}/test", MERCHANT, "webhook_endpoint_test(actor, id)"),
	ROUTE(GET, "/v1/webhook-endpoints/{id}/deliveries", MERCHANT,
		"webhook_delivery_list(actor, id, query)"),
	ROUTE(GET, "/v1/webhook-endpoints/{id}/deliveries/{delivery}", MERCHANT,
		"webhook_delivery_get(actor, id, uuid)"),
	ROUTE(POST, "/v1/webhook-endpoints/{id}/deliveries/{delivery}/redeliver", MERCHANT,
		"webhook_delivery_redeliver(actor, id, uuid)"),

	/* job, report: what admins look at */
	ROUTE(GET, "/v1/admin/jobs", ADMIN, "admin_jobs(actor, query)", .lane = HF_PG_SLOW),
	ROUTE(GET, "/v1/admin/jobs/{id}", ADMIN, "admin_job_get(actor, uuid)", .lane = HF_PG_SLOW),
	ROUTE(POST, "/v1/admin/jobs/{id}/retry", ADMIN, "admin_job_retry(actor, uuid)"),
	ROUTE(POST, "/v1/admin/jobs/{id}/cancel", ADMIN, "admin_job_cancel(actor, uuid)"),
	ROUTE(GET, "/v1/admin/job-kinds", ADMIN, "admin_job_kinds(actor)", .lane = HF_PG_SLOW),
	ROUTE(PATCH, "/v1/admin/job-kinds/{kind}", ADMIN, "admin_job_kind_update(actor, word, body)",
		.lane = HF_PG_SLOW),
	ROUTE(POST, "/v1/admin/job-kinds/{kind}/retry-dead", ADMIN,
		"admin_job_kind_retry(actor, word, body)", .lane = HF_PG_SLOW, .body = HF_JSON_OPTIONAL),
	ROUTE(GET, "/v1/admin/schedules", ADMIN, "admin_schedules(actor)"),
	ROUTE(PATCH, "/v1/admin/schedules/{name}", ADMIN, "admin_schedule_update(actor, word, body)"),
	ROUTE(POST, "/v1/admin/schedules/{name}/run", ADMIN, "admin_schedule_run(actor, word)",
		.lane = HF_PG_SLOW),
	ROUTE(GET, "/v1/admin/locks", ADMIN, "admin_locks(actor)", .lane = HF_PG_SLOW),
	ROUTE(GET, "/v1/admin/cache", ADMIN, "admin_cache(actor)", .lane = HF_PG_SLOW),
	ROUTE(GET, "/v1/admin/invariants", ADMIN, "admin_invariants(actor)", .lane = HF_PG_SLOW),
	ROUTE(GET, "/v1/admin/accounts/{id}", ADMIN, "admin_account_get(actor, id)"),
	ROUTE(POST, "/v1/admin/accounts/{id}/suspend", ADMIN, "admin_account_suspend(actor, id)"),
	ROUTE(POST, "/v1/admin/accounts/{id}/reinstate", ADMIN, "admin_account_reinstate(actor, id)"),
	ROUTE(PUT, "/v1/admin/accounts/{id}/roles", ADMIN, "admin_account_roles_set(actor, id, body)"),

	/* the application itself */
	ROUTE(GET, "/health", OPERATOR, NULL, .handler = hf_route_health, .limit = HF_LIMIT_NONE),
	ROUTE(GET, "/ready", OPERATOR, NULL, .handler = hf_route_ready, .limit = HF_LIMIT_NONE),
	ROUTE(GET, "/metrics", OPERATOR, NULL, .handler = hf_route_metrics, .limit = HF_LIMIT_NONE),
	ROUTE(GET, "/openapi.json", ANYONE, NULL, .handler = hf_route_page),
	ROUTE(GET, "/docs", ANYONE, NULL, .handler = hf_route_page),
	ROUTE(GET, "/docs/{name}", ANYONE, NULL, .handler = hf_route_page),
	ROUTE(GET, "/problems/{name}", ANYONE, NULL, .handler = hf_route_problem),
};
// clang-format on

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

HfCall hf_call_login_find = {"login_find", 2, HF_PG_READ, 0};
HfCall hf_call_token_issue = {"token_issue", 5, HF_PG_WRITE, 0};
HfCall hf_call_token_refresh = {"token_refresh", 4, HF_PG_WRITE, 0};
HfCall hf_call_token_revoke = {"token_revoke", 3, HF_PG_WRITE, 0};
HfCall hf_call_product_check = {"product_check", 2, HF_PG_WRITE, 0};
HfCall hf_call_product_get = {"product_get", 2, HF_PG_READ, 0};
HfCall hf_call_me_get = {"me_get", 1, HF_PG_READ, 0};
HfCall hf_call_problems = {"problems", 1, HF_PG_READ, 0};
HfCall hf_call_ready = {"ready", 1, HF_PG_READ, 0};
HfCall hf_call_metrics = {"metrics", 1, HF_PG_SLOW, 0};
HfCall hf_call_sale_purchase_batch = {"sale_purchase_batch", 4, HF_PG_PURCHASE, 0};
HfCall hf_call_tickets_note = {"tickets_note", 3, HF_PG_WRITE, 0};

static HfCall *const calls[] = {&hf_call_login_find,	&hf_call_token_issue,
								&hf_call_token_refresh, &hf_call_token_revoke,
								&hf_call_product_check, &hf_call_me_get,
								&hf_call_problems,		&hf_call_ready,
								&hf_call_metrics,		&hf_call_sale_purchase_batch,
								&hf_call_tickets_note,	&hf_call_product_get};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* How a path or pattern is cut at its slashes. */
typedef struct Segments
{
	int n;
	HfText of[SEGMENTS_MAX];
} Segments;

static Segments patterns[ROUTES];

static bool
cut(const char *path, Segments *segments)
{
	segments->n = 0;
	while (*path == '/')
	{
		size_t length = strcspn(++path, "/");

		if (segments->n == SEGMENTS_MAX)
			return false;
		segments->of[segments->n++] = (HfText){path, length};
		path += length;
	}
	return segments->n > 0;
}

static bool
is_capture(const HfText *segment)
{
	return segment->length > 0 && segment->data[0] == '{';
}

/* Prepares SELECT * FROM rest.FUNCTION($1, …), once for all who call it. */
static void
prepare_call(HfCall *call)
{
	static const HfCall *prepared[ROUTES + CALLS];
	static size_t n;
	char text[256];
	size_t used = (size_t) snprintf(text, sizeof(text), "SELECT * FROM rest.%s(", call->function);

	for (size_t i = 0; i < n; i++)
		if (strcmp(prepared[i]->function, call->function) == 0)
		{
			call->statement = prepared[i]->statement;
			return;
		}
	for (int i = 1; i <= call->parameters; i++)
		used += (size_t) snprintf(text + used, sizeof(text) - used, i > 1 ? ", $%d" : "$%d", i);
	snprintf(text + used, sizeof(text) - used, ")");
	/* The name and the text are kept, not copied. */
	call->statement = hf_pg_statement(call->function, strdup(text), call->parameters);
	prepared[n++] = call;
}

/* What an argument's name means; those that only a handler knows are HANDLER. */
static HfArgument
find_argument(const char *name, size_t length)
{
	static const char *const names[] =
		{[HF_ARGUMENT_ACTOR] = "actor", [HF_ARGUMENT_ID] = "id",	 [HF_ARGUMENT_UUID] = "uuid",
		 [HF_ARGUMENT_WORD] = "word",	[HF_ARGUMENT_KEY] = "key",	 [HF_ARGUMENT_MATCH] = "match",
		 [HF_ARGUMENT_QUERY] = "query", [HF_ARGUMENT_BODY] = "body", [HF_ARGUMENT_TRUE] = "true",
		 [HF_ARGUMENT_FALSE] = "false"};

	for (int i = 0; i < HF_ARGUMENT_HANDLER; i++)
		if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
			return (HfArgument) i;
	return HF_ARGUMENT_HANDLER;
}

static bool
takes(const HfRoute *route, HfArgument argument)
{
	for (int i = 0; i < route->call.parameters; i++)
		if (route->argument[i] == argument)
			return true;
	return false;
}

/* Takes "name(argument, …)" apart. */
static void
read_function(HfRoute *route)
{
	const char *at = strchr(route->function, '(');

	route->call.function = strndup(route->function, (size_t) (at - route->function));
	while (*at != ')')
	{
		size_t length;

		at += 1 + strspn(at + 1, " ");
		length = strcspn(at, ",)");
		assert(route->call.parameters < HF_ROUTE_ARGUMENTS);
		route->argument[route->call.parameters++] = find_argument(at, length);
		at += length;
	}
}

static void
complete(HfRoute *route)
{
	if (route->function != NULL)
		read_function(route);
	if (route->method != HF_GET)
	{
		if (route->limit == HF_LIMIT_READ)
			route->limit = HF_LIMIT_WRITE;
		if (route->lane == HF_PG_READ)
			route->lane = HF_PG_WRITE;
		if (route->body == HF_NO_BODY && route->method != HF_DELETE)
			route->body = takes(route, HF_ARGUMENT_BODY) ? HF_JSON : HF_EMPTY;
	}
	route->call.lane = route->lane;
	if (route->function != NULL)
		prepare_call(&route->call);
}

/* Makes the table ready, before the workers are there. */
void
hf_routes_prepare(void)
{
	for (size_t i = 0; i < CALLS; i++)
		prepare_call(calls[i]);
	for (size_t i = 0; i < ROUTES; i++)
	{
		cut(routes[i].pattern, &patterns[i]);
		complete(&routes[i]);
	}
}

unsigned
hf_routes_count(void)
{
	return ROUTES;
}

const HfRoute *
hf_route_at(unsigned number)
{
	return &routes[number];
}

unsigned
hf_route_number(const HfRoute *route)
{
	return (unsigned) (route - routes);
}

const char *
hf_route_method_name(HfMethod method)
{
	static const char *const names[HF_METHODS] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

	return names[method];
}

static bool
matches(const Segments *pattern, const Segments *path)
{
	if (pattern->n != path->n)
		return false;
	for (int i = 0; i < pattern->n; i++)
		if (is_capture(&pattern->of[i]) ? path->of[i].length == 0
										: pattern->of[i].length != path->of[i].length ||
					memcmp(pattern->of[i].data, path->of[i].data, path->of[i].length) != 0)
			return false;
	return true;
}

/* Is the path a pattern itself? Then it is no other's, whose capture would take its last word. */
static bool
is_pattern(const char *path)
{
	for (size_t i = 0; i < ROUTES; i++)
		if (strcmp(routes[i].pattern, path) == 0)
			return true;
	return false;
}

/* Copies what the path says where the pattern has captures; false if memory is short. */
static bool
take_captures(HfRequest *request, const Segments *pattern, const Segments *path)
{
	size_t size = 0;
	int n = 0;
	char *to;

	for (int i = 0; i < pattern->n; i++)
		size += is_capture(&pattern->of[i]) ? path->of[i].length + 1 : 0;
	if (size == 0)
		return true;
	request->captured = to = malloc(size);
	if (to == NULL)
		return false;
	for (int i = 0; i < pattern->n && n < HF_REQUEST_CAPTURES; i++)
		if (is_capture(&pattern->of[i]))
		{
			memcpy(to, path->of[i].data, path->of[i].length);
			to[path->of[i].length] = '\0';
			request->capture[n++] = (HfText){to, path->of[i].length};
			to += path->of[i].length + 1;
		}
	return true;
}

/*
 * Finds the route of a path and takes its captures.  False if there is none of that method; then
 * `allow` lists the methods that the path has, or is empty if there is no such path.
 */
bool
hf_route_find(HfRequest *request, HfMethod method, const char *path, char *allow, size_t room)
{
	Segments segments;
	size_t used = 0;
	bool literally = is_pattern(path);

	allow[0] = '\0';
	if (!cut(path, &segments))
		return false;
	for (size_t i = 0; i < ROUTES; i++)
	{
		if (literally ? strcmp(routes[i].pattern, path) != 0 : !matches(&patterns[i], &segments))
			continue;
		if (routes[i].method == method)
		{
			request->route = &routes[i];
			return take_captures(request, &patterns[i], &segments);
		}
		used += (size_t) snprintf(allow + used, room - used, "%s%s, ",
								  hf_route_method_name(routes[i].method),
								  routes[i].method == HF_GET ? ", HEAD" : "");
	}
	if (used > 0)
		snprintf(allow + used, room - used, "OPTIONS");
	return false;
}

/* Bytes that the body of such a request may have, for the framing guard. */
size_t
hf_route_body_max(const char *method, size_t method_length, const char *path, size_t path_length)
{
	char text[HTTP_URI_LEN];
	Segments segments;

	path_length = strcspn(path, " ?") < path_length ? strcspn(path, " ?") : path_length;
	if (path_length >= sizeof(text))
		return hf_config.body_max;
	memcpy(text, path, path_length);
	text[path_length] = '\0';
	if (!cut(text, &segments))
		return hf_config.body_max;
	for (size_t i = 0; i < ROUTES; i++)
	{
		const char *name = hf_route_method_name(routes[i].method);

		if (strlen(name) != method_length || memcmp(name, method, method_length) != 0 ||
			!matches(&patterns[i], &segments))
			continue;
		if (routes[i].body == HF_PICTURE)
			return hf_config.upload_max;
		if (routes[i].body == HF_BATCH)
			return hf_config.batch_max;
	}
	return hf_config.body_max;
}
