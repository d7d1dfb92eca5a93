/*
 * claim.h
 *		Claims due calls from the database, has them made, and records what has come of them.
 */
#ifndef HF_CLAIM_H
#define HF_CLAIM_H

#include "part.h"
#include "provider.h"

extern const HfPart hf_claim_part;

extern void hf_claim_add(const char *name, const HfProvider *provider, unsigned most);

#endif
