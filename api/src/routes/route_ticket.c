/*
 * route_ticket.c
 *		Tickets of sales, which the application issues by itself.
 *
 * The database is not asked: what is known of the sale is in memory, and who is suspended learns it
 * when he buys.  Reports count tickets, so it is told of them once a second, of all together; of
 * the last ones of a worker that is killed it never hears.
 */
#include "kore.h"

#include "call.h"
#include "reply.h"
#include "ticket_issue.h"

#include <time.h>

#define NOTED_MAX	 64 /* sales in a call */
#define NUMBER_BYTES 20 /* of a bigint, with a comma */

/* RFC 3339, with microseconds as in all other answers; a crowd's tickets expire at one time. */
static const char *
write_time(int64_t time)
{
	static char text[48];
	static int64_t written;
	time_t seconds = time / 1000;
	struct tm tm;
	size_t used;

	if (time == written || gmtime_r(&seconds, &tm) == NULL)
		return text;
	written = time;
	used = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + used, sizeof(text) - used, ".%03d000Z", (int) (time % 1000));
	return text;
}

static void
drawn(void *arg, const HfTicket *ticket)
{
	HfRequest *request = arg;
	char text[160];
	HfText body = {text, 0};

	if (!hf_request_is_open(request))
		;
	else if (ticket->text[0] != '\0')
	{
		body.length =
			(size_t) snprintf(text, sizeof(text), "{\"ticket\":\"%s\",\"expires_at\":\"%s\"}",
							  ticket->text, write_time(ticket->expires));
		hf_reply(request, 201, &body);
	}
	else
	{
		request->reply.retry_after = ticket->retry_after;
		hf_reply_refusal(request, hf_problem_of_sqlstate("HS405"), NULL, NULL);
	}
	hf_request_release(request);
}

/*
 * The SQLSTATE with which a sale refuses to give tickets; NULL if it is open.  By our own clock,
 * which is the one that tickets expire by, it may be over.
 */
static const char *
refusal_of(const HfLive *live)
{
	if (live->state == HF_LIVE_OPEN && live->ends_at <= hf_ticket_now())
		return hf_live_sqlstate(HF_LIVE_CLOSED);
	return hf_live_sqlstate(live->state);
}

static void
told(void *arg, const HfLive *live)
{
	HfRequest *request = arg;
	bool is_known = live != NULL && hf_problem_loaded();
	const char *refusal = is_known ? refusal_of(live) : NULL;

	if (!hf_request_is_open(request))
		;
	else if (refusal != NULL)
		hf_reply_refusal(request, hf_problem_of_sqlstate(refusal), NULL, NULL);
	else if (is_known && hf_ticket_issue(live, request->account, drawn, request))
		return;
	else
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	hf_request_release(request);
}

void
hf_route_sale_ticket(HfRequest *request)
{
	int64_t sale;

	if (!hf_call_read_id(&request->capture[0], &sale))
	{
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
		return;
	}
	hf_request_hold(request);
	hf_live_get(sale, told, request);
}

static HfText
write_array(char *text, const int64_t *number, unsigned n)
{
	size_t used = 0;

	text[used++] = '{';
	for (unsigned i = 0; i < n; i++)
		used += (size_t) sprintf(text + used, "%lld,", (long long) number[i]);
	text[used - 1] = '}';
	text[used] = '\0';
	return (HfText){text, used};
}

static void
noted(void *arg, const HfPgAnswer *answer)
{
	(void) arg;
	(void) answer;
}

/* Tells the database how many tickets this worker has issued since it was told last. */
void
hf_ticket_note(void)
{
	static char text[2][NOTED_MAX * NUMBER_BYTES + 2];
	int64_t sale[NOTED_MAX], count[NOTED_MAX];
	unsigned n = hf_ticket_counts(sale, count, NOTED_MAX);
	HfText values[3] = {{NULL, 0}};

	if (n == 0)
		return;
	values[1] = write_array(text[0], sale, n);
	values[2] = write_array(text[1], count, n);
	if (hf_pg_send(hf_call_tickets_note.lane, hf_call_tickets_note.statement, values, 3, noted,
				   NULL))
		return;
	for (unsigned i = 0; i < n; i++)
		hf_ticket_count(sale[i], count[i]);
}
