/*
 * digest.h
 *		SHA-256.
 */
#ifndef HF_DIGEST_H
#define HF_DIGEST_H

#include "common/sha2.h"

extern void hf_digest_make(const void *data, Size length, uint8 *digest);

#endif
