/*
 * webhook.h
 *		Webhooks of merchants: jobs of kind webhook.
 */
#ifndef HF_WEBHOOK_H
#define HF_WEBHOOK_H

#include "part.h"

#include <stddef.h>

extern const HfPart hf_webhook_part;

extern bool hf_webhook_load(char *error, size_t room);

#endif
