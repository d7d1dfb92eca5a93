/*
 * password.c
 *		Passwords: hashed and verified by argon2id (RFC 9106), off the loop.
 *
 * libsodium computes in the threads of a pool; hash_memory and hash_passes say how much work a hash
 * is, hash_threads how many are computed at once, hash_queue how many wait.
 *
 * Invariants: a verification takes as long whether or not there is such an account: without a hash
 * it is made against a dummy of the configured parameters, which no password fits.  So it is
 * against a hash that cannot be read, or with a password that is longer than any may be.  Hashes
 * that were made with other parameters take as long as those say.  A password is copied into the
 * job, and wiped there before the caller is told.  At most hash_threads * hash_memory bytes are in
 * use; libsodium maps them for one hash and gives them back.
 */
#include "password.h"
#include "config.h"
#include "log.h"
#include "metrics.h"
#include "pool.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SALT_BYTES 16 /* as libsodium makes them */
#define HASH_BYTES 32

typedef struct PasswordJob
{
	HfPasswordDone done;
	void *arg;
	bool verify;
	bool good;
	bool computed;
	size_t length;
	char password[HF_PASSWORD_MAX];
	char hash[crypto_pwhash_STRBYTES];
} PasswordJob;

static HfPool *pool;
static char dummy[crypto_pwhash_STRBYTES];

/* Makes the dummy: a hash in PHC format whose salt and whose end are random. */
static void
make_dummy(void)
{
	unsigned char random[SALT_BYTES + HASH_BYTES];
	char salt[sodium_base64_ENCODED_LEN(SALT_BYTES, sodium_base64_VARIANT_ORIGINAL_NO_PADDING)];
	char hash[sodium_base64_ENCODED_LEN(HASH_BYTES, sodium_base64_VARIANT_ORIGINAL_NO_PADDING)];

	randombytes_buf(random, sizeof(random));
	sodium_bin2base64(salt, sizeof(salt), random, SALT_BYTES,
					  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	sodium_bin2base64(hash, sizeof(hash), random + SALT_BYTES, HASH_BYTES,
					  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	snprintf(dummy, sizeof(dummy), "$argon2id$v=19$m=%zu,t=%u,p=1$%s$%s",
			 hf_config.hash_memory / 1024, hf_config.hash_passes, salt, hash);
}

/* Begins, in a worker.  Without threads everything is refused as if the queue were full. */
void
hf_password_start(void)
{
	if (sodium_init() < 0)
	{
		hf_log(HF_LOG_ERROR, "password", "libsodium cannot be used");
		return;
	}
	make_dummy();
	pool = hf_pool_make(hf_config.hash_threads, hf_config.hash_queue);
	if (pool == NULL)
		hf_log(HF_LOG_ERROR, "password", "there are no threads to hash passwords with");
}

/* Whether a password may be set.  Its characters are counted as those of UTF-8. */
HfPasswordRule
hf_password_check(const HfText *password)
{
	size_t characters = 0;

	if (password->length > HF_PASSWORD_MAX)
		return HF_PASSWORD_TOO_LONG;
	for (size_t i = 0; i < password->length; i++)
		characters += ((unsigned char) password->data[i] & 0xc0) != 0x80;
	return characters < HF_PASSWORD_MIN ? HF_PASSWORD_TOO_SHORT : HF_PASSWORD_GOOD;
}

/* Computes, in a thread.  Without memory libsodium makes no hash, and finds no password good. */
static void
work(void *arg)
{
	PasswordJob *job = arg;

	if (job->verify)
	{
		job->good = crypto_pwhash_str_verify(job->hash, job->password, job->length) == 0;
		job->computed = true;
	}
	else
		job->computed =
			crypto_pwhash_str_alg(job->hash, job->password, job->length, hf_config.hash_passes,
								  hf_config.hash_memory, crypto_pwhash_ALG_ARGON2ID13) == 0;
	sodium_memzero(job->password, sizeof(job->password));
}

/* Tells who asked, in the loop. */
static void
finish(void *arg)
{
	PasswordJob *job = arg;

	job->done(job->arg, job->good, job->computed ? job->hash : NULL);
	sodium_memzero(job, sizeof(*job));
	free(job);
}

/* Hands a job to the pool.  False, and it is gone, if there is no room for it. */
static bool
start(PasswordJob *job, const HfText *password)
{
	if (job == NULL || pool == NULL || password->length > sizeof(job->password))
		goto refused;
	job->length = password->length;
	if (password->length > 0)
		memcpy(job->password, password->data, password->length);
	if (!hf_pool_run(pool, work, finish, job))
		goto refused;
	hf_metrics_add(HF_METRIC_HASHES, 1);
	return true;

refused:
	if (job != NULL)
		sodium_memzero(job, sizeof(*job));
	free(job);
	hf_metrics_add(HF_METRIC_HASHES_FULL, 1);
	return false;
}

static PasswordJob *
make_job(bool verify, HfPasswordDone done, void *arg)
{
	PasswordJob *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return NULL;
	job->verify = verify;
	job->done = done;
	job->arg = arg;
	return job;
}

/*
 * Hashes a password that hf_password_check() finds good.  False, and nothing is called, if the
 * queue is full.
 */
bool
hf_password_hash(const HfText *password, HfPasswordDone done, void *arg)
{
	return start(make_job(false, done, arg), password);
}

/*
 * Compares a password with a hash, or if that is NULL with the dummy.  False, and nothing is
 * called, if the queue is full.
 */
bool
hf_password_verify(const HfText *password, const char *hash, HfPasswordDone done, void *arg)
{
	PasswordJob *job = make_job(true, done, arg);
	const HfText none = {"", 0};
	bool possible = password->length <= HF_PASSWORD_MAX && hash != NULL &&
		strlen(hash) < crypto_pwhash_STRBYTES &&
		crypto_pwhash_str_needs_rehash(hash, hf_config.hash_passes, hf_config.hash_memory) >= 0;

	if (job != NULL)
		snprintf(job->hash, sizeof(job->hash), "%s", possible ? hash : dummy);
	return start(job, password->length <= HF_PASSWORD_MAX ? password : &none);
}

/* Passwords that were accepted and not answered. */
unsigned
hf_password_waiting(void)
{
	return pool != NULL ? hf_pool_waiting(pool) : 0;
}

/* Ends the threads; whoever still waits is called. */
void
hf_password_stop(void)
{
	if (pool != NULL)
		hf_pool_stop(pool);
}
