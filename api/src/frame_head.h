/*
 * frame_head.h
 *		The header section of a request, before Kore sees it.
 */
#ifndef HF_FRAME_HEAD_H
#define HF_FRAME_HEAD_H

#include "text.h"

#include <stdbool.h>
#include <sys/types.h>

#define HF_FRAME_FIELDS_MAX 23	 /* header lines that Kore keeps */
#define HF_FRAME_TARGET_MAX 1998 /* bytes of path and query that Kore takes */
#define HF_FRAME_HOST_MAX	253

#define HF_FRAME_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

/* What a header section says, if it is good. */
typedef struct HfFrameHead
{
	HfText method;
	HfText path;   /* without the query */
	size_t length; /* bytes of the section, which may have become shorter */
	size_t body;   /* bytes that follow it and belong to the request */
	bool expects;  /* the client waits for "100 Continue" before it sends them */
} HfFrameHead;

extern ssize_t hf_frame_head_find(const char *bytes, size_t length, size_t *seen);
extern int hf_frame_head_read(HfFrameHead *head, char *section, size_t length, const char **detail);

#endif
