/*
 * stream_event.c
 *		Server-sent events (WHATWG HTML, section 9.2): what a stream says of a sale.
 *
 * Invariants: an event says everything, so that one alone is enough.  Its id stands for all that it
 * says but the time that has passed, in every worker: who has the id knows the rest.
 */
#include "stream_event.h"

#include "loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Milliseconds until a client whose stream has ended comes back; not all at once. */
#define RETRY_LEAST 1000
#define RETRY_MORE	4000

/* A copy that belongs to the caller; NULL if memory is short. */
HfPart *
hf_part_make(const char *text, size_t length)
{
	HfPart *part = malloc(sizeof(HfPart) + length);

	if (part == NULL)
		return NULL;
	part->refs = 1;
	part->length = length;
	memcpy(part->text, text, length);
	return part;
}

/* Gives back a reference, or none. */
void
hf_part_drop(HfPart **part)
{
	if (*part != NULL && --(*part)->refs == 0)
		free(*part);
	*part = NULL;
}

/* Nothing more will happen: a sale that was public and is none any more is closed. */
bool
hf_stream_is_over(const HfLive *live)
{
	return live->state == HF_LIVE_CLOSED || live->state == HF_LIVE_NONE;
}

static const char *
state_name(HfLiveState state)
{
	static const char *const names[] = {[HF_LIVE_NONE] = "closed",
										[HF_LIVE_SCHEDULED] = "scheduled",
										[HF_LIVE_OPEN] = "open",
										[HF_LIVE_SOLD_OUT] = "sold_out",
										[HF_LIVE_CLOSED] = "closed"};

	return names[state];
}

void
hf_stream_id(char id[HF_STREAM_ID_MAX], const HfLive *live)
{
	snprintf(id, HF_STREAM_ID_MAX, "%" PRId64 ".%s.%" PRId64, live->version,
			 state_name(live->state), live->left);
}

/* Whole seconds until then, as the sale's own document counts them. */
static uint64_t
seconds_until(uint64_t then, uint64_t now)
{
	return then > now ? (then - now + 999) / 1000 : 0;
}

/* Writes the event of this moment; its length. */
size_t
hf_stream_event(char text[HF_STREAM_EVENT_MAX], const HfLive *live)
{
	uint64_t now = hf_loop_now();
	char id[HF_STREAM_ID_MAX];

	hf_stream_id(id, live);
	return (size_t) snprintf(text, HF_STREAM_EVENT_MAX,
							 "event: sale\nid: %s\ndata: {\"state\":\"%s\",\"left\":%" PRId64
							 ",\"starts_in\":%" PRIu64 ",\"ends_in\":%" PRIu64
							 ",\"version\":%" PRId64 "}\n\n",
							 id, state_name(live->state), live->left,
							 seconds_until(live->starts, now),
							 hf_stream_is_over(live) ? 0 : seconds_until(live->ends, now),
							 live->version);
}

/*
 * Writes what a stream begins with: when to come back, and the event, unless its id is the last
 * that the client has had.
 */
size_t
hf_stream_first(char text[HF_STREAM_EVENT_MAX], const HfLive *live, const char *last_id)
{
	size_t used = (size_t) snprintf(text, HF_STREAM_EVENT_MAX, "retry: %u\n",
									RETRY_LEAST + arc4random_uniform(RETRY_MORE));
	char id[HF_STREAM_ID_MAX], event[HF_STREAM_EVENT_MAX];

	hf_stream_id(id, live);
	if (last_id != NULL && strcmp(last_id, id) == 0)
		strcpy(event, ": as before\n\n");
	else
		hf_stream_event(event, live);
	return used +
		(size_t) snprintf(text + used, HF_STREAM_EVENT_MAX - used, "%.*s",
						  (int) (HF_STREAM_EVENT_MAX - used - 1), event);
}
