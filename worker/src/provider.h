/*
 * provider.h
 *		Providers that are called by HTTP.
 */
#ifndef HF_PROVIDER_H
#define HF_PROVIDER_H

#include "call.h"
#include "config.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct HfProvider HfProvider;

/* The call has been made, or not: its answer says. */
typedef void (*HfProviderDone)(HfCall *call);

extern HfProvider *hf_provider_load(const HfProviderConfig *config, char *error, size_t room);
extern void hf_provider_begin(HfProviderDone done);
extern void hf_provider_call(const HfProvider *provider, HfCall *call);
extern void hf_provider_cancel(void);

#endif
