/*
 * password.h
 *		Passwords: hashed and verified by argon2id (RFC 9106), off the loop.
 */
#ifndef HF_PASSWORD_H
#define HF_PASSWORD_H

#include "text.h"

#include <stdbool.h>

#define HF_PASSWORD_MIN 8	/* characters */
#define HF_PASSWORD_MAX 256 /* bytes */

/* Whether a password may be set. */
typedef enum HfPasswordRule
{
	HF_PASSWORD_GOOD,
	HF_PASSWORD_TOO_SHORT,
	HF_PASSWORD_TOO_LONG
} HfPasswordRule;

/*
 * good: of hf_password_verify(), whether it is the password.  hash: of hf_password_hash() the hash.
 * NULL, of either: nothing was computed, because memory was short or the worker stops; only that
 * tells a password that is wrong from one that was not looked at.
 */
typedef void (*HfPasswordDone)(void *arg, bool good, const char *hash);

extern void hf_password_start(void);
extern HfPasswordRule hf_password_check(const HfText *password);
extern bool hf_password_hash(const HfText *password, HfPasswordDone done, void *arg);
extern bool hf_password_verify(const HfText *password, const char *hash, HfPasswordDone done,
							   void *arg);
extern unsigned hf_password_waiting(void);
extern void hf_password_stop(void);

#endif
