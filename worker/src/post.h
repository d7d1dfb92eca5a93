/*
 * post.h
 *		Mails on their way to the server, all at once.
 */
#ifndef HF_POST_H
#define HF_POST_H

#include "job.h"
#include "part.h"

#include <stddef.h>

typedef struct HfSending HfSending;

/* The mail was taken, or not, and why. */
typedef void (*HfSendingDone)(void *context, HfJobEnd end, const char *reason);

extern const HfPart hf_post_part;

extern HfSending *hf_post_send(const char *from, const char *to, char *text, size_t length,
							   HfSendingDone done, void *context);
extern void hf_post_cancel(HfSending *sending);

#endif
