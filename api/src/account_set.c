/*
 * account_set.c
 *		A set of accounts.
 *
 * A hash table with open addressing; 0, which is nobody's account, marks a free place.
 *
 * Invariants: at least a quarter of the places is free, so that every search ends, and ends soon.
 * A set has 8 to 22 bytes for each account, and never more places than its bound needs.  Ids come
 * from the database, not from clients, so nobody can choose those that collide.
 */
#include "account_set.h"

#include <stdlib.h>
#include <string.h>

#define PLACES_MIN 64 /* a power of 2 */

struct HfAccountSet
{
	int64_t *place;
	size_t places; /* a power of 2, or 0 */
	size_t count;
	size_t max;
};

/* The place of an account, or the free one where it belongs. */
static size_t
find(const int64_t *place, size_t places, int64_t account)
{
	uint64_t hash = (uint64_t) account * UINT64_C(0x9e3779b97f4a7c15);
	size_t at = (size_t) (hash ^ (hash >> 32)) & (places - 1);

	while (place[at] != 0 && place[at] != account)
		at = (at + 1) & (places - 1);
	return at;
}

HfAccountSet *
hf_account_set_create(size_t max)
{
	HfAccountSet *set = calloc(1, sizeof(HfAccountSet));

	if (set != NULL)
		set->max = max;
	return set;
}

/* Makes twice as many places. */
static bool
grow(HfAccountSet *set)
{
	size_t places = set->places == 0 ? PLACES_MIN : set->places * 2;
	int64_t *place = calloc(places, sizeof(int64_t));

	if (place == NULL)
		return false;
	for (size_t i = 0; i < set->places; i++)
		if (set->place[i] != 0)
			place[find(place, places, set->place[i])] = set->place[i];
	free(set->place);
	set->place = place;
	set->places = places;
	return true;
}

bool
hf_account_set_add(HfAccountSet *set, int64_t account)
{
	size_t at = set->places > 0 ? find(set->place, set->places, account) : 0;

	if (account != 0 && set->places > 0 && set->place[at] == account)
		return true;
	if (account == 0 || set->count >= set->max)
		return false;
	if (set->count + 1 > set->places / 4 * 3)
	{
		if (!grow(set))
			return false;
		at = find(set->place, set->places, account);
	}
	set->place[at] = account;
	set->count++;
	return true;
}

bool
hf_account_set_has(const HfAccountSet *set, int64_t account)
{
	return set->count > 0 && account != 0 &&
		set->place[find(set->place, set->places, account)] == account;
}

size_t
hf_account_set_count(const HfAccountSet *set)
{
	return set->count;
}

void
hf_account_set_clear(HfAccountSet *set)
{
	free(set->place);
	set->place = NULL;
	set->places = 0;
	set->count = 0;
}

void
hf_account_set_free(HfAccountSet *set)
{
	if (set == NULL)
		return;
	free(set->place);
	free(set);
}
