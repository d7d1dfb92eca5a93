/*
 * stream.c
 *		Sales live: who watches which, and who is told what when.
 *
 * An event is the whole truth about a sale, so it is made once for all who watch, and whoever has
 * missed some gets the newest.  Watchers are sent it in rounds, a slice of a round at a time, so
 * that the loop is never held up.  Rounds take a fifth of the worker's time at most: the longer one
 * takes, the later the next one begins.
 *
 * Invariants: a watcher stands in the list of his sale in the order in which watchers were looked
 * at last.  So those whom a round has not come to are in front, and so are those who have heard
 * nothing for the longest time; to look at one puts him at the end.  The state of a sale is what
 * live.c told last, and its news are counted: a watcher lacks something as long as he has other
 * news.  A sale that nobody watches is forgotten in the next tick and not before, so that nobody
 * who goes through the list of sales loses one under his hands.
 */
#include "kore.h"

#include "loop.h"
#include "metrics.h"
#include "reply.h"
#include "stream.h"
#include "watcher.h"

#define TYPE		"text/event-stream"
#define SLICE		200	 /* watchers that are looked at in a pass of the loop */
#define TICK		50	 /* milliseconds, as all times here */
#define ROUND_EVERY 250	 /* from one round to the next, at least */
#define ROUND_SHARE 5	 /* or so many times what a round takes */
#define FRESH		1000 /* what an older event says of the time is wrong */
#define SILENCES	2	 /* whoever takes nothing for so long a time is gone */
#define COME_BACK	10	 /* seconds, if there are too many */

/* A sale that is watched, or was until a moment ago. */
struct HfStream
{
	LIST_ENTRY(HfStream) entry;
	TAILQ_HEAD(, HfWatcher) watchers;
	HfLive live;
	char id[HF_STREAM_ID_MAX];
	unsigned news;	/* a number for what is known of it */
	unsigned round; /* the news when the last round began */
	HfPart *event;	/* NULL: none was made of the news */
	uint64_t made;	/* when it was */
};

static LIST_HEAD(, HfStream) streams = LIST_HEAD_INITIALIZER(streams);
static unsigned watchers;
static HfPart *comment; /* what breaks a silence, and nobody reads */
static bool stopped;
static bool awake;			/* a slice is on its way */
static bool going;			/* a round has begun and is not at its end */
static uint64_t began;		/* the last round */
static uint64_t took;		/* microseconds, all its slices */
static uint64_t next_round; /* not before */

/* The event that is the newest truth; NULL if memory is short. */
static HfPart *
event_of(HfStream *stream)
{
	char text[HF_STREAM_EVENT_MAX];

	if (stream->event != NULL && hf_loop_now() - stream->made > FRESH)
		hf_part_drop(&stream->event);
	if (stream->event == NULL)
	{
		stream->event = hf_part_make(text, hf_stream_event(text, &stream->live));
		stream->made = hf_loop_now();
	}
	return stream->event;
}

/* Sends a watcher what he lacks; false if this is his end, as it is when a sale is over. */
static bool
send_news(HfWatcher *watcher)
{
	HfStream *stream = watcher->stream;
	HfPart *event;

	if (watcher->has != stream->news && (event = event_of(stream)) != NULL)
	{
		watcher->has = stream->news;
		hf_metrics_add(HF_METRIC_LIVE_EVENTS, 1);
		if (!hf_watcher_send(watcher, event))
			return false;
	}
	return watcher->blocked || watcher->has != stream->news || !hf_stream_is_over(&stream->live);
}

/* Sends a watcher whatever he is to be sent now; false if this is his end. */
static bool
serve(HfWatcher *watcher, uint64_t now)
{
	if (hf_watcher_is_blocked(watcher))
	{
		if (now - watcher->since < (uint64_t) SILENCES * hf_config.live_heartbeat)
			return true;
		hf_metrics_add(HF_METRIC_LIVE_DROPPED, 1);
		return false;
	}
	if (watcher->has != watcher->stream->news)
		return send_news(watcher);
	return watcher->due > now || comment == NULL || hf_watcher_send(watcher, comment);
}

static void
look_at(HfWatcher *watcher, uint64_t now)
{
	HfStream *stream = watcher->stream;

	if (!serve(watcher, now))
	{
		hf_watcher_end(watcher);
		return;
	}
	watcher->round = stream->round;
	watcher->due = now + hf_config.live_heartbeat;
	TAILQ_REMOVE(&stream->watchers, watcher, entry);
	TAILQ_INSERT_TAIL(&stream->watchers, watcher, entry);
}

/* Begins a round for all sales of which there is news. */
static void
begin_round(uint64_t now)
{
	HfStream *stream;

	LIST_FOREACH(stream, &streams, entry)
	stream->round = stream->news;
	going = true;
	began = now;
	took = 0;
}

static void send_slice(void *arg);

static void
wake(void)
{
	if (awake)
		return;
	awake = true;
	hf_loop_after(1, send_slice, NULL);
}

/* Goes on with the round, or begins one. */
static void
send_slice(void *arg)
{
	uint64_t now = hf_loop_now(), started = hf_loop_microseconds();
	unsigned most = SLICE;
	HfStream *stream;
	HfWatcher *watcher;

	(void) arg;
	awake = false;
	if (!going)
		begin_round(now);
	LIST_FOREACH(stream, &streams, entry)
	for (; most > 0 && (watcher = TAILQ_FIRST(&stream->watchers)) != NULL &&
		 watcher->round != stream->round;
		 most--)
		look_at(watcher, now);
	took += hf_loop_microseconds() - started;
	if (most == 0)
	{
		wake();
		return;
	}
	going = false;
	next_round = began + MAX(ROUND_EVERY, ROUND_SHARE * took / 1000);
}

/* Forgets a sale that nobody watches any more. */
static void
forget(HfStream *stream)
{
	LIST_REMOVE(stream, entry);
	hf_live_unfollow(stream->live.sale);
	hf_part_drop(&stream->event);
	free(stream);
}

/* Looks at those who have heard nothing for long, and begins a round that had to wait. */
static void
tick(void)
{
	uint64_t now = hf_loop_now();
	unsigned most = SLICE;
	HfStream *stream, *next;
	HfWatcher *watcher;

	for (stream = LIST_FIRST(&streams); stream != NULL; stream = next)
	{
		next = LIST_NEXT(stream, entry);
		for (;
			 most > 0 && (watcher = TAILQ_FIRST(&stream->watchers)) != NULL && watcher->due <= now;
			 most--)
			look_at(watcher, now);
		if (stream->news != stream->round && now >= next_round)
			wake();
		if (TAILQ_EMPTY(&stream->watchers))
			forget(stream);
	}
	hf_metrics_set(HF_METRIC_LIVE_WATCHERS, watchers);
}

static void
gone(HfWatcher *watcher)
{
	TAILQ_REMOVE(&watcher->stream->watchers, watcher, entry);
	watchers--;
}

static HfStream *
find(int64_t sale)
{
	HfStream *stream;

	LIST_FOREACH(stream, &streams, entry)
	if (stream->live.sale == sale)
		break;
	return stream;
}

/* What is known of a sale has changed. */
static void
changed(const HfLive *live)
{
	HfStream *stream = find(live->sale);
	char id[HF_STREAM_ID_MAX];

	if (stream == NULL)
		return;
	stream->live = *live;
	hf_stream_id(id, live);
	if (strcmp(id, stream->id) == 0)
		return;
	memcpy(stream->id, id, sizeof(id));
	stream->news++;
	hf_part_drop(&stream->event);
	if (hf_loop_now() >= next_round)
		wake();
}

/* Begins to follow a sale; NULL if that cannot be done now. */
static HfStream *
follow(const HfLive *live)
{
	HfStream *stream = calloc(1, sizeof(HfStream));

	if (stream == NULL)
		return NULL;
	TAILQ_INIT(&stream->watchers);
	stream->live = *live;
	hf_stream_id(stream->id, live);
	stream->news = stream->round = 1;
	LIST_INSERT_HEAD(&streams, stream, entry);
	if (hf_live_follow(live->sale))
		return stream;
	LIST_REMOVE(stream, entry);
	free(stream);
	return NULL;
}

/* No watcher more is taken. Whoever wants something else must find a connection, too. */
static bool
is_full(void)
{
	return stopped || watchers >= hf_config.live_watchers ||
		watchers >= worker_max_connections / 4 * 3;
}

/* Begins a stream, whose first part this makes; false if there can be none now. */
static bool
begin(HfRequest *request, HfText *first)
{
	static char text[HF_STREAM_EVENT_MAX];
	const HfLive *live = request->state;
	HfStream *stream = find(live->sale);
	HfWatcher *watcher;

	if (is_full() || (stream == NULL && (stream = follow(live)) == NULL))
	{
		request->reply.retry_after = COME_BACK;
		return false;
	}
	watcher = hf_watcher_take(request->http->owner);
	watcher->stream = stream;
	watcher->has = stream->news;
	watcher->round = stream->round;
	watcher->due = hf_loop_now() + hf_config.live_heartbeat;
	TAILQ_INSERT_TAIL(&stream->watchers, watcher, entry);
	watchers++;
	hf_metrics_add(HF_METRIC_LIVE_EVENTS, 1);
	first->data = text;
	first->length =
		hf_stream_first(text, &stream->live, hf_request_header(request, "last-event-id"));
	return true;
}

/*
 * A sale that is over has one event more, and a stream that ends.  A client who has had that comes
 * back once more, and is told by 204 to stay away.
 */
static void
answer_over(HfRequest *request, const HfLive *live)
{
	const char *last_id = hf_request_header(request, "last-event-id");
	char text[HF_STREAM_EVENT_MAX], id[HF_STREAM_ID_MAX];
	HfText body = {NULL, 0};

	hf_stream_id(id, live);
	if (last_id != NULL && strcmp(last_id, id) == 0)
	{
		hf_reply(request, 204, &body);
		return;
	}
	body = (HfText){text, hf_stream_first(text, live, last_id)};
	hf_reply_text(request, 200, TYPE, &body);
}

/* Answers a request for the events of a sale that there is. */
void
hf_stream_answer(HfRequest *request, const HfLive *live)
{
	request->reply.no_store = true;
	if (hf_stream_is_over(live))
	{
		answer_over(request, live);
		return;
	}
	request->state = malloc(sizeof(HfLive));
	if (request->state == NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		return;
	}
	memcpy(request->state, live, sizeof(HfLive));
	hf_reply_stream(request, TYPE, begin);
}

void
hf_stream_start(void)
{
	comment = hf_part_make(":\n\n", 3);
	hf_watcher_configure(send_news, gone);
	hf_live_on_change(changed);
	hf_loop_every(TICK, tick);
}

/* Ends all streams, and takes no watcher more. */
void
hf_stream_stop(void)
{
	HfStream *stream;
	HfWatcher *watcher;

	stopped = true;
	LIST_FOREACH(stream, &streams, entry)
	while ((watcher = TAILQ_FIRST(&stream->watchers)) != NULL)
		hf_watcher_end(watcher);
}
