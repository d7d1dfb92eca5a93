/*
 * stream.h
 *		Sales live: what each watcher is told, as server-sent events.
 */
#ifndef HF_STREAM_H
#define HF_STREAM_H

#include "live.h"
#include "request.h"

/* Begins in a worker, after hf_live_start(). */
extern void hf_stream_start(void);

/* Answers a request for the events of a sale; with 503 if there are too many watchers. */
extern void hf_stream_answer(HfRequest *request, const HfLive *live);

/* Ends all streams, and takes no more watchers. */
extern void hf_stream_stop(void);

#endif
