/*
 * digest.c
 *		SHA-256, to tell whether two things are the same without keeping them.
 */
#include "postgres.h"

#include "common/cryptohash.h"

#include "digest.h"

/* Writes PG_SHA256_DIGEST_LENGTH bytes to digest. */
void
hf_digest_make(const void *data, Size length, uint8 *digest)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	bool good = hash != NULL && pg_cryptohash_init(hash) == 0 &&
		pg_cryptohash_update(hash, data, length) == 0 &&
		pg_cryptohash_final(hash, digest, PG_SHA256_DIGEST_LENGTH) == 0;

	pg_cryptohash_free(hash);
	if (!good)
		elog(ERROR, "could not compute a SHA-256");
}
