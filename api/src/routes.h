/*
 * routes.h
 *		The routes: what a request is for.
 */
#ifndef HF_ROUTES_H
#define HF_ROUTES_H

#include "pg.h"
#include "request.h"

#define HF_ROUTE_ARGUMENTS HF_PG_PARAMETERS

typedef enum HfMethod
{
	HF_GET,
	HF_POST,
	HF_PUT,
	HF_PATCH,
	HF_DELETE,
	HF_METHODS
} HfMethod;

/* Who may call a route. What a role may do to which thing, the database knows: P10. */
typedef enum HfWho
{
	HF_ANYONE,
	HF_USER, /* whoever is logged in */
	HF_MERCHANT,
	HF_ADMIN,
	HF_OPERATOR /* who can reach the application itself: the edge lets only him through */
} HfWho;

typedef enum HfBodyKind
{
	HF_NO_BODY,		  /* none that is read */
	HF_EMPTY,		  /* nothing, or an object without members */
	HF_JSON,		  /* an object */
	HF_JSON_OPTIONAL, /* an object, or nothing */
	HF_BATCH,		  /* an object that may be large */
	HF_FORM,
	HF_PICTURE,
	HF_RAW /* bytes that are signed */
} HfBodyKind;

/* A statement: SELECT * FROM rest.FUNCTION($1, …). */
typedef struct HfCall
{
	const char *function;
	int parameters;
	HfPgLane lane;
	int statement;
} HfCall;

/* Where an argument of a route's function comes from. */
typedef enum HfArgument
{
	HF_ARGUMENT_ACTOR,
	HF_ARGUMENT_ID,	   /* the next capture of the path, a bigint */
	HF_ARGUMENT_UUID,  /* the next capture, a uuid */
	HF_ARGUMENT_WORD,  /* the next capture, any text */
	HF_ARGUMENT_KEY,   /* Idempotency-Key */
	HF_ARGUMENT_MATCH, /* If-Match */
	HF_ARGUMENT_QUERY, /* the query, as a JSON object of strings */
	HF_ARGUMENT_BODY,
	HF_ARGUMENT_TRUE,
	HF_ARGUMENT_FALSE,
	HF_ARGUMENT_HANDLER /* what only the handler knows */
} HfArgument;

typedef void (*HfHandler)(HfRequest *request);

struct HfRoute
{
	HfMethod method;
	const char *pattern;
	HfWho who;
	const char *function; /* "name(argument, …)"; NULL: the handler knows */
	HfHandler handler;	  /* NULL: call the function and answer with its reply */
	/* By default: of GET the first ones, of others WRITE, WRITE, and what the arguments need. */
	HfLimitClass limit;
	HfPgLane lane;
	HfBodyKind body;
	/* Made at the start. */
	HfCall call;
	HfArgument argument[HF_ROUTE_ARGUMENTS];
};

/* Calls of handlers that are not their route's function. */
extern HfCall hf_call_login_find, hf_call_token_issue, hf_call_token_refresh, hf_call_token_revoke;
extern HfCall hf_call_product_check, hf_call_product_get, hf_call_me_get, hf_call_problems,
	hf_call_ready, hf_call_metrics, hf_call_sale_purchase_batch, hf_call_tickets_note;

extern void hf_routes_prepare(void);
extern unsigned hf_routes_count(void);
extern const HfRoute *hf_route_at(unsigned number);
extern unsigned hf_route_number(const HfRoute *route);
extern const char *hf_route_method_name(HfMethod method);
extern bool hf_route_find(HfRequest *request, HfMethod method, const char *path, char *allow,
						  size_t room);
extern size_t hf_route_body_max(const char *method, size_t method_length, const char *path,
								size_t path_length);

/* The handlers, by the resource's file. */
extern void hf_route_account_create(HfRequest *request);
extern void hf_route_me_password_set(HfRequest *request);
extern void hf_route_me_avatar_set(HfRequest *request);
extern void hf_route_password_reset_request(HfRequest *request);
extern void hf_route_password_reset_finish(HfRequest *request);
extern void hf_route_token(HfRequest *request);
extern void hf_route_revoke(HfRequest *request);
extern void hf_route_product_list(HfRequest *request);
extern void hf_route_product_search(HfRequest *request);
extern void hf_route_product_get(HfRequest *request);
extern void hf_route_product_related(HfRequest *request);
extern void hf_route_product_image_add(HfRequest *request);
extern void hf_route_category_list(HfRequest *request);
extern void hf_route_merchant_get(HfRequest *request);
extern void hf_route_sale_list(HfRequest *request);
extern void hf_route_sale_get(HfRequest *request);
extern void hf_route_sale_preheat(HfRequest *request);
extern void hf_route_sale_events(HfRequest *request);
extern void hf_route_sale_ticket(HfRequest *request);
extern void hf_route_sale_purchase(HfRequest *request);
extern void hf_route_webhook(HfRequest *request);
extern void hf_operation_note(void);
extern void hf_ticket_note(void);
extern void hf_route_health(HfRequest *request);
extern void hf_route_ready(HfRequest *request);
extern void hf_route_metrics(HfRequest *request);
extern void hf_route_page(HfRequest *request);
extern void hf_route_problem(HfRequest *request);

#endif
