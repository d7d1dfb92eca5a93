/*
 * token_claims.h
 *		The claims of access tokens (RFC 7519, section 4), once their signature was found good.
 */
#ifndef HF_TOKEN_CLAIMS_H
#define HF_TOKEN_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct HfTokenClaims
{
	int64_t account;
	bool staff;
	int64_t expires; /* seconds since 1970 */
} HfTokenClaims;

/* Makes ready to read tokens of hf_config's issuer and audience; false if memory is short. */
extern bool hf_token_claims_prepare(void);

/* Reads a payload; false if a claim that is needed is missing, another or not in its form. */
extern bool hf_token_claims_read(const char *payload, size_t length, HfTokenClaims *claims);

extern bool hf_token_read_account(const char *text, size_t length, int64_t *account);
extern int64_t hf_token_now(void);

#endif
