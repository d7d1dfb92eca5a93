/*
 * stream_event.h
 *		Server-sent events: what a stream says of a sale.
 */
#ifndef HF_STREAM_EVENT_H
#define HF_STREAM_EVENT_H

#include "live.h"

#include <stddef.h>

#define HF_STREAM_EVENT_MAX 512 /* bytes of an event, or of the first part of a stream */
#define HF_STREAM_ID_MAX	64

/* Bytes that are sent to many. */
typedef struct HfPart
{
	unsigned refs;
	size_t length;
	char text[];
} HfPart;

extern HfPart *hf_part_make(const char *text, size_t length);
extern void hf_part_drop(HfPart **part);

extern bool hf_stream_is_over(const HfLive *live);
extern void hf_stream_id(char id[HF_STREAM_ID_MAX], const HfLive *live);
extern size_t hf_stream_event(char text[HF_STREAM_EVENT_MAX], const HfLive *live);
extern size_t hf_stream_first(char text[HF_STREAM_EVENT_MAX], const HfLive *live,
							  const char *last_id);

#endif
