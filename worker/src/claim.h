/*
 * claim.h
 *		Claims due calls from the database, has them made, and records what has come of them.
 */
#ifndef HF_CLAIM_H
#define HF_CLAIM_H

#include "call.h"
#include "provider.h"

#include <stdint.h>

extern void hf_claim_add(const char *name, const HfProvider *provider, unsigned most);
extern void hf_claim_begin(void);
extern void hf_claim_answered(HfCall *call);
extern void hf_claim_step(int64_t now);
extern int64_t hf_claim_deadline(void);
extern void hf_claim_stop(void);
extern unsigned hf_claim_held(void);

#endif
