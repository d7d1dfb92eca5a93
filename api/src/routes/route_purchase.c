/*
 * route_purchase.c
 *		Purchases in sales.
 *
 * What is plainly well formed goes the fast way.  The rest is shown to the function of a single
 * purchase, which says what is wrong with it: it refuses all that is not plain here.
 */
#include "kore.h"

#include "call.h"
#include "live.h"
#include "purchase.h"
#include "reply.h"
#include "ticket.h"

#include <math.h>

#define KEY_MAX		 255
#define QUANTITY_MAX 1000000

/* A well-formed purchase. */
typedef struct Purchase
{
	int64_t sale;
	HfText ticket;
	HfText key;
	int64_t quantity;
} Purchase;

static bool
read_purchase(const HfRequest *request, const HfText *id, Purchase *purchase)
{
	json_t *ticket = json_object_get(request->json, "ticket");
	double quantity = json_real_value(json_object_get(request->json, "quantity"));

	purchase->sale = strtoll(id->data, NULL, 10);
	purchase->ticket = (HfText){json_string_value(ticket), json_string_length(ticket)};
	purchase->key = hf_text(hf_request_header(request, "idempotency-key"));
	purchase->quantity = quantity >= 1 && quantity <= QUANTITY_MAX ? (int64_t) quantity : 0;
	return json_object_size(request->json) == 2 && purchase->ticket.data != NULL &&
		quantity == trunc(quantity) && purchase->quantity > 0 && purchase->key.length > 0 &&
		purchase->key.length <= KEY_MAX;
}

/*
 * Without a good ticket nobody buys, and if nobody can buy at all, that is what is told.  Whoever
 * had a good one may still ask with his key for the order that he has.
 */
static void
judge(void *arg, const HfLive *live)
{
	HfRequest *request = arg;
	HfText values[HF_ROUTE_ARGUMENTS];
	HfNumber number;
	Purchase purchase;
	bool expired;

	if (!hf_request_is_open(request))
		;
	else if (live == NULL || !hf_problem_loaded())
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	else if (hf_call_arguments(request, false, values, &number) &&
			 read_purchase(request, &values[1], &purchase))
	{
		expired =
			hf_ticket_check(&purchase.ticket, request->account, purchase.sale) != HF_TICKET_BAD;
		if (expired)
			hf_purchase(request, purchase.sale, &purchase.key, -purchase.quantity,
						hf_live_sqlstate(live->state));
		else if (live->state == HF_LIVE_OPEN)
			hf_reply_problem(request, HF_PROBLEM_INVALID_TICKET, "/ticket", NULL);
		else
			hf_reply_refusal(request, hf_problem_of_sqlstate(hf_live_sqlstate(live->state)), NULL,
							 NULL);
	}
	hf_request_release(request);
}

void
hf_route_sale_purchase(HfRequest *request)
{
	HfText values[HF_ROUTE_ARGUMENTS];
	HfNumber number;
	Purchase purchase;
	const char *refusal;

	if (!hf_call_arguments(request, false, values, &number))
		return;
	if (!read_purchase(request, &values[1], &purchase))
	{
		hf_call_route(request);
		return;
	}
	refusal = hf_live_refusal(purchase.sale, request->account);
	if (refusal != NULL && hf_problem_loaded())
		hf_reply_refusal(request, hf_problem_of_sqlstate(refusal), NULL, NULL);
	else if (hf_ticket_check(&purchase.ticket, request->account, purchase.sale) == HF_TICKET_GOOD)
		hf_purchase(request, purchase.sale, &purchase.key, purchase.quantity, NULL);
	else
	{
		hf_request_hold(request);
		hf_live_get(purchase.sale, judge, request);
	}
}
