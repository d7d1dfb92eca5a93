/*
 * token.h
 *		Access tokens (JWT, RFC 7519) and opaque secrets.
 */
#ifndef HF_TOKEN_H
#define HF_TOKEN_H

#include "text.h"

#include <stdbool.h>
#include <stdint.h>

#define HF_TOKEN_SECRET_MAX	 43 /* characters: 32 random bytes in base64url (RFC 4648) */
#define HF_TOKEN_OPAQUE_MAX	 (20 + 1 + HF_TOKEN_SECRET_MAX) /* "<account>.<secret>" */
#define HF_TOKEN_HASH_LENGTH 32								/* SHA-256 of the secret */
#define HF_TOKEN_ACCESS_MAX	 1024

typedef enum HfTokenVerdict
{
	HF_TOKEN_GOOD,
	HF_TOKEN_EXPIRED,
	HF_TOKEN_BAD
} HfTokenVerdict;

/* What we give out that is not a JWT: a refresh token, or the link to a password reset. */
typedef struct HfTokenOpaque
{
	int64_t account;
	char text[HF_TOKEN_OPAQUE_MAX + 1];
	unsigned char hash[HF_TOKEN_HASH_LENGTH];
} HfTokenOpaque;

extern bool hf_token_load_keys(const char *path, char *error, size_t room);
extern bool hf_token_issue(char token[HF_TOKEN_ACCESS_MAX + 1], int64_t account, bool staff);
extern HfTokenVerdict hf_token_check(const HfText *token, int64_t *account, bool *staff);
extern void hf_token_new_opaque(HfTokenOpaque *opaque, int64_t account);
extern bool hf_token_read_opaque(HfTokenOpaque *opaque, const HfText *text);
extern bool hf_token_derive(size_t number, const char *purpose, unsigned char *secret,
							size_t length);

#endif
