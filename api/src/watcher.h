/*
 * watcher.h
 *		A connection whose answer goes on as long as its client likes.
 */
#ifndef HF_WATCHER_H
#define HF_WATCHER_H

#include "stream_event.h"

#include <sys/queue.h>

struct connection;

typedef struct HfStream HfStream;

typedef struct HfWatcher
{
	TAILQ_ENTRY(HfWatcher) entry;
	struct connection *connection;
	HfPart *part;	/* what the kernel has not taken yet */
	size_t sent;	/* of it */
	bool blocked;	/* the kernel takes nothing */
	uint64_t since; /* blocked: since when */
	size_t wasted;
	/* Those who send: */
	HfStream *stream;
	unsigned has;	/* the news that was sent last */
	unsigned round; /* of the stream, that has come here last */
	uint64_t due;	/* when to look here, whatever happens */
} HfWatcher;

/* The watcher has taken everything and can be sent more; false if this is its end. */
typedef bool (*HfWatcherReady)(HfWatcher *watcher);

/* The connection is at its end, and the watcher soon gone. */
typedef void (*HfWatcherGone)(HfWatcher *watcher);

extern void hf_watcher_configure(HfWatcherReady ready, HfWatcherGone gone);
extern HfWatcher *hf_watcher_take(struct connection *connection);
extern bool hf_watcher_send(HfWatcher *watcher, HfPart *part);
extern bool hf_watcher_is_blocked(HfWatcher *watcher);
extern void hf_watcher_end(HfWatcher *watcher);

#endif
