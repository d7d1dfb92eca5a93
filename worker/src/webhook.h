/*
 * webhook.h
 *		Webhooks of merchants: jobs of kind webhook.
 */
#ifndef HF_WEBHOOK_H
#define HF_WEBHOOK_H

#include <stdbool.h>
#include <stddef.h>

extern bool hf_webhook_load(char *error, size_t room);

#endif
