/*
 * route_order.c
 *		What providers of payments tell us of orders.
 */
#include "kore.h"

#include "call.h"
#include "reply.h"

/* POST /v1/webhooks/{provider}: the bytes as they came, since it is they that are signed. */
void
hf_route_webhook(HfRequest *request)
{
	const char *signature = hf_request_header(request, "webhook-signature");
	char *bytes = malloc(2 * request->body.length + 3);
	HfText values[6] = {{NULL, 0}, request->capture[0]};

	if (bytes == NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		return;
	}
	values[2] = hf_bytea(bytes, request->body.data, request->body.length);
	values[3] =
		hf_text(signature != NULL ? signature : hf_request_header(request, "stripe-signature"));
	values[4] = hf_text(hf_request_header(request, "webhook-id"));
	values[5] = hf_text(hf_request_header(request, "webhook-timestamp"));
	hf_call(request, &request->route->call, values, hf_call_reply);
	free(bytes);
}
