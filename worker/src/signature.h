/*
 * signature.h
 *		Signatures of Standard Webhooks.
 */
#ifndef HF_SIGNATURE_H
#define HF_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>

#define HF_SIGNATURE_SIZE 48 /* "v1,", base64 of 32 bytes, '\0' */

extern bool hf_signature_make(const char *secret, const char *id, const char *timestamp,
							  const char *body, char *signature);

#endif
