/*
 * smtp.h
 *		Hands a mail to the server, and waits for what becomes of it.
 */
#ifndef HF_SMTP_H
#define HF_SMTP_H

#include "job.h"
#include "message.h"

#include <stdbool.h>
#include <stddef.h>

#define HF_SMTP_REASON_MAX 512

typedef struct HfEnvelope HfEnvelope;

/* A way to the server, of one thread: it keeps its connection from one mail to the next. */
typedef struct HfSmtp HfSmtp;

struct HfEnvelope
{
	char from[HF_ADDRESS_MAX + 2], to[HF_ADDRESS_MAX + 2]; /* with their brackets */
	char *text;
	size_t length;
	bool (*is_given_up)(const HfEnvelope *envelope);
};

extern bool hf_smtp_load(char *error, size_t room);
extern HfSmtp *hf_smtp_open(void);
extern HfJobEnd hf_smtp_send(HfSmtp *smtp, const HfEnvelope *envelope, char *reason);
extern void hf_smtp_close(HfSmtp *smtp);

#endif
