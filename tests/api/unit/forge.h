/*
 * forge.h
 *		Tokens that somebody else made, for the unit tests.
 */
#ifndef FORGE_H
#define FORGE_H

#include "token.h"

#include <stddef.h>

#define SECRET "0123456789abcdef0123456789abcdef" /* half of the key "new", which signs, in hex */
#define OTHER  "fedcba9876543210fedcba9876543210" /* half of the key "old" */

extern void sign(char *token, const char *header, const char *payload, const char *secret);
extern HfTokenVerdict judge(const char *token);
extern void test_forged(void);

#endif
