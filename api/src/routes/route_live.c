/*
 * route_live.c
 *		Sales live: who may watch one.
 *
 * Until the stream begins this is a request like any other, and refusals are problem documents.
 */
#include "kore.h"

#include "call.h"
#include "reply.h"
#include "stream.h"

static void
told(void *arg, const HfLive *live)
{
	HfRequest *request = arg;

	if (live == NULL)
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	else if (live->state == HF_LIVE_NONE)
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
	else if (hf_request_is_open(request))
		hf_stream_answer(request, live);
	hf_request_release(request);
}

void
hf_route_sale_events(HfRequest *request)
{
	int64_t sale;

	if (!hf_call_read_id(&request->capture[0], &sale))
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
	else
	{
		hf_request_hold(request);
		hf_live_get(sale, told, request);
	}
}
