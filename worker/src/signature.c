/*
 * signature.c
 *		Signatures of Standard Webhooks (standardwebhooks.com).
 *
 * HMAC-SHA256 over ID.TIMESTAMP.BODY with the bytes that the secret is the base64 of.
 */
#include "signature.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define PREFIX	"whsec_"
#define KEY_MAX 64

/*
 * Signs a body for one attempt: HF_SIGNATURE_SIZE bytes at most, with the final zero.  False if the
 * secret is none.
 */
bool
hf_signature_make(const char *secret, const char *id, const char *timestamp, const char *body,
				  char *signature)
{
	crypto_auth_hmacsha256_state state;
	unsigned char key[KEY_MAX], tag[crypto_auth_hmacsha256_BYTES];
	size_t length;

	if (strncmp(secret, PREFIX, strlen(PREFIX)) == 0)
		secret += strlen(PREFIX);
	if (sodium_base642bin(key, sizeof(key), secret, strlen(secret), NULL, &length, NULL,
						  sodium_base64_VARIANT_ORIGINAL) != 0 ||
		length == 0)
		return false;
	crypto_auth_hmacsha256_init(&state, key, length);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *) id, strlen(id));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *) ".", 1);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *) timestamp, strlen(timestamp));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *) ".", 1);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *) body, strlen(body));
	crypto_auth_hmacsha256_final(&state, tag);
	snprintf(signature, HF_SIGNATURE_SIZE, "v1,");
	sodium_bin2base64(signature + 3, HF_SIGNATURE_SIZE - 3, tag, sizeof(tag),
					  sodium_base64_VARIANT_ORIGINAL);
	sodium_memzero(key, sizeof(key));
	return true;
}
