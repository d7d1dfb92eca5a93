/*
 * account_set.h
 *		A set of accounts.
 */
#ifndef HF_ACCOUNT_SET_H
#define HF_ACCOUNT_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct HfAccountSet HfAccountSet;

/* An empty set that takes no more than so many accounts; NULL if there is no memory. */
extern HfAccountSet *hf_account_set_create(size_t max);

/* False if the account is not in the set now: there is no room or no memory for it. */
extern bool hf_account_set_add(HfAccountSet *set, int64_t account);

extern bool hf_account_set_has(const HfAccountSet *set, int64_t account);
extern size_t hf_account_set_count(const HfAccountSet *set);

/* Empties the set and frees what it has grown by. */
extern void hf_account_set_clear(HfAccountSet *set);

extern void hf_account_set_free(HfAccountSet *set); /* NULL is a set as well */

#endif
