/*
 * signature.c
 *		Signs webhooks as Standard Webhooks 1.0 says, with OpenSSL: what the provider does.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payments.h"

/* A new secret: whsec_ and 24 to 32 bytes in base64. */
void
signature_make(char *secret, size_t size, uint64_t *random)
{
	unsigned char bytes[32];
	char text[64];
	int n = 24 + (int) rnd(random, 9);

	for (int i = 0; i < n; i++)
		bytes[i] = (unsigned char) rnd(random, 256);
	EVP_EncodeBlock((unsigned char *) text, bytes, n);
	snprintf(secret, size, "whsec_%s", text);
}

/* The header webhook-signature, sometimes with another signature in front. */
void
signature_sign(char *out, size_t size, const char *secret, const char *id, const char *timestamp,
			   const char *body)
{
	unsigned char key[64], mac[EVP_MAX_MD_SIZE];
	unsigned int length;
	const char *text = secret + strlen("whsec_");
	int n = EVP_DecodeBlock(key, (const unsigned char *) text, (int) strlen(text));
	char *content, encoded[64];

	/* EVP_DecodeBlock() counts the padding. */
	for (const char *end = text + strlen(text); n > 0 && *--end == '=';)
		n--;
	if (asprintf(&content, "%s.%s.%s", id, timestamp, body) < 0 ||
		HMAC(EVP_sha256(), key, n, (const unsigned char *) content, strlen(content), mac,
			 &length) == NULL)
		abort();
	EVP_EncodeBlock((unsigned char *) encoded, mac, (int) length);
	snprintf(out, size, "%sv1,%s",
			 mac[0] % 8 == 0 ? "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= " : "", encoded);
	free(content);
}
