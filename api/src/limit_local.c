/*
 * limit_local.c
 *		What a process knows of limits by itself: permits in hand, refusals, GCRA without Redis.
 *
 * GCRA has one number a key: when all of its quota will be back.  A request moves it by an
 * interval, and is admitted if it is not moved further ahead of the clock than `capacity`
 * intervals.  So in any window there are at most capacity + quota requests, and capacity is the
 * rule's burst.
 *
 * Permits in hand were admitted by Redis before they were asked for, and are used up to `lapse`
 * later.  A window may thus have those in it that were counted up to `lapse` before it began: as
 * many as the quota has in that time are taken off the capacity of rules with such permits.  Those
 * are rules of RATE_MIN requests a second or more and with a burst that is large enough; all others
 * are exact.
 *
 * Invariants: what is here never admits more than Redis did while Redis answers.  The table is
 * bounded; addresses are chosen by whoever attacks, so a state that is lost (the least recently
 * used of its set) loses permits and the memory of refusals, and Redis knows better.  While Redis
 * is away it loses a limit: then the global rules, whose states are never lost, are what holds.
 */
#include "limit_local.h"
#include "loop.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SECOND	  1e6
#define SETS	  2048
#define WAYS	  4
#define RATE_MIN  100 /* requests a second */
#define LAPSE_MAX (SECOND / 10)
#define LAPSE_MIN (SECOND / 100)
#define PERIOD	  LAPSE_MAX
#define AHEAD	  10   /* of what is asked for while permits are good, this part is taken ahead */
#define GRAIN	  0.25 /* of intervals: so that sums with a time of day are exact in a double */

static HfLimitPace pace[HF_LIMIT_CLASSES][HF_LIMIT_SCOPES];
static HfLimitPace local_pace[HF_LIMIT_CLASSES][HF_LIMIT_SCOPES];
static HfLimitState global[HF_LIMIT_CLASSES];
static HfLimitState table[SETS][WAYS];
static uint64_t seed;

/* The clock that states go by. */
double
hf_limit_now(void)
{
	return (double) hf_loop_microseconds();
}

static HfLimitPace
make_pace(const HfRate *rule)
{
	double rate = (double) rule->quota / rule->window; /* a second */
	HfLimitPace made = {.capacity = rule->burst > 1 ? rule->burst : 1};

	made.interval = ceil(SECOND / rate / GRAIN) * GRAIN;
	made.lapse = fmin(LAPSE_MAX, rule->burst / rate / 2 * SECOND);
	if (rate < RATE_MIN || made.lapse < LAPSE_MIN)
		made.lapse = 0;
	else
		made.capacity -= (unsigned) ceil(rate * made.lapse / SECOND);
	return made;
}

/* The share that one of several processes has. */
static HfLimitPace
share_pace(const HfLimitPace *whole, unsigned processes)
{
	HfLimitPace share = {whole->interval * processes, whole->capacity / processes, 0};

	if (share.capacity < 1)
		share.capacity = 1;
	return share;
}

/* Begins, in one of so many processes, with nothing known. */
void
hf_limit_local_start(unsigned processes)
{
	memset(global, 0, sizeof(global));
	memset(table, 0, sizeof(table));
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = hf_loop_microseconds();
	memset(pace, 0, sizeof(pace));
	for (int i = 0; i < HF_LIMIT_CLASSES * HF_LIMIT_SCOPES; i++)
	{
		int class = i / HF_LIMIT_SCOPES, scope = i % HF_LIMIT_SCOPES;
		const HfRate *rule = &hf_config.limit[class][scope];

		if (rule->quota == 0 || rule->window == 0)
			continue;
		pace[class][scope] = make_pace(rule);
		local_pace[class][scope] = share_pace(&pace[class][scope], processes);
	}
}

/* Takes an address apart.  IPv4 in IPv6 is IPv4; of IPv6 all of a /64 is one client. */
static void
read_address(HfLimitKey *key, const char *address)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	unsigned char bytes[16];
	size_t length = 4, from = 0;

	key->family = 0;
	key->id = 0;
	if (address == NULL)
		return;
	if (inet_pton(AF_INET, address, bytes) == 1)
		key->family = 4;
	else if (inet_pton(AF_INET6, address, bytes) == 1)
	{
		bool is_mapped = memcmp(bytes, mapped, sizeof(mapped)) == 0;

		key->family = is_mapped ? 4 : 6;
		from = is_mapped ? sizeof(mapped) : 0;
		length = is_mapped ? 4 : 8;
	}
	else
		return;
	for (size_t i = from; i < from + length; i++)
		key->id = key->id << 8 | bytes[i];
}

/* The keys that rules of a class apply to for this request; how many there are. */
unsigned
hf_limit_keys(HfLimitKey key[HF_LIMIT_SCOPES], HfLimitClass class, const char *address,
			  int64_t account)
{
	unsigned keys = 0;

	if (class >= HF_LIMIT_NONE)
		return 0;
	for (int scope = 0; scope < HF_LIMIT_SCOPES; scope++)
	{
		if (pace[class][scope].interval == 0 || (scope == HF_LIMIT_ACCOUNT && account == 0))
			continue;
		key[keys] = (HfLimitKey){.class = (uint8_t) class, .scope = (uint8_t) scope};
		if (scope == HF_LIMIT_ADDRESS)
			read_address(&key[keys], address);
		else if (scope == HF_LIMIT_ACCOUNT)
			key[keys].id = (uint64_t) account;
		keys++;
	}
	return keys;
}

/* The id of a key, for a name. */
void
hf_limit_key_text(char text[HF_LIMIT_KEY_TEXT], const HfLimitKey *key)
{
	unsigned char bytes[16] = {0};
	size_t length = key->family == 4 ? 4 : 8;

	for (size_t i = 0; i < length; i++)
		bytes[i] = (unsigned char) (key->id >> 8 * (length - 1 - i));
	if (key->scope == HF_LIMIT_GLOBAL)
		snprintf(text, HF_LIMIT_KEY_TEXT, "all");
	else if (key->scope == HF_LIMIT_ACCOUNT)
		snprintf(text, HF_LIMIT_KEY_TEXT, "%llu", (unsigned long long) key->id);
	else if (key->family == 0)
		snprintf(text, HF_LIMIT_KEY_TEXT, "unknown");
	else
	{
		inet_ntop(key->family == 4 ? AF_INET : AF_INET6, bytes, text, HF_LIMIT_KEY_TEXT);
		if (key->family == 6)
			snprintf(text + strlen(text), HF_LIMIT_KEY_TEXT - strlen(text), "/64");
	}
}

/* A number that nobody outside can foresee. */
uint64_t
hf_limit_key_hash(const HfLimitKey *key)
{
	uint64_t z = key->id ^ seed;

	z += ((uint64_t) key->class << 16 | (uint64_t) key->scope << 8 | key->family) *
		UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * (seed | 1);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

bool
hf_limit_key_same(const HfLimitKey *a, const HfLimitKey *b)
{
	return a->class == b->class && a->scope == b->scope && a->family == b->family && a->id == b->id;
}

const HfLimitPace *
hf_limit_pace(const HfLimitKey *key)
{
	return &pace[key->class][key->scope];
}

/* The state of a key, which is made if there is none; valid until another is asked for. */
HfLimitState *
hf_limit_state(const HfLimitKey *key, double now)
{
	HfLimitState *set, *oldest;

	if (key->scope == HF_LIMIT_GLOBAL)
	{
		global[key->class].key = *key;
		return &global[key->class];
	}
	set = table[hf_limit_key_hash(key) % SETS];
	oldest = &set[0];
	for (int i = 0; i < WAYS; i++)
	{
		if (set[i].seen > 0 && hf_limit_key_same(&set[i].key, key))
		{
			set[i].seen = now;
			return &set[i];
		}
		if (set[i].seen < oldest->seen)
			oldest = &set[i];
	}
	*oldest = (HfLimitState){.key = *key, .seen = now};
	return oldest;
}

/* Permits in hand that are still good. */
unsigned
hf_limit_permits(const HfLimitState *state, double now)
{
	return state->lapse > now ? state->permits : 0;
}

/* A request has come: counts it for each of its keys. */
void
hf_limit_asked(const HfLimitKey *key, unsigned keys)
{
	double now = hf_limit_now();

	for (unsigned i = 0; i < keys; i++)
	{
		HfLimitState *state;

		if (hf_limit_pace(&key[i])->lapse == 0)
			continue;
		state = hf_limit_state(&key[i], now);
		if (now - state->period >= PERIOD)
		{
			state->asked_before = now - state->period < 2 * PERIOD ? state->asked : 0;
			state->asked = 0;
			state->period = now;
		}
		state->asked++;
	}
}

/*
 * Permits to take beyond what is asked for: those of a tenth of the time for which they are good,
 * as fast as requests came of late.  Of a steady stream none lapse; of one that stops, so many do.
 * Only one call at a time is told to take any.
 */
unsigned
hf_limit_ahead(HfLimitState *state, double now)
{
	double lapse = hf_limit_pace(&state->key)->lapse;
	unsigned ahead = (unsigned) (state->asked_before * lapse / PERIOD / AHEAD);

	if (ahead == 0 || state->fetching > now)
		return 0;
	state->fetching = now + lapse;
	return ahead;
}

static unsigned
seconds(double time)
{
	return time > 0 ? (unsigned) ceil(time / SECOND) : 0;
}

/* Requests that a pace has room for, beside permits in hand. */
static unsigned
room_of(const HfLimitState *state, const HfLimitPace *at, double now)
{
	double behind = fmax(state->full - now, 0);

	return (unsigned) fmax(floor((at->interval * at->capacity - behind) / at->interval), 0);
}

/* How long until a pace has room for one. */
static double
wait_of(const HfLimitState *state, const HfLimitPace *at, double now)
{
	return fmax(state->full + at->interval - at->interval * at->capacity - now, 0);
}

static void
describe(HfLimitVerdict *verdict, const HfLimitState *state, double now)
{
	const HfRate *rule = &hf_config.limit[state->key.class][state->key.scope];

	verdict->scope = state->key.scope;
	verdict->quota = rule->quota;
	verdict->window = rule->window;
	verdict->reset = seconds(state->full - now);
}

/* Tells of the key that has the least part of its quota left. */
static void
admit_at(const HfLimitKey *key, unsigned keys, const HfLimitPace *const *at,
		 HfLimitVerdict *verdict)
{
	double now = hf_limit_now(), least = INFINITY;

	*verdict = (HfLimitVerdict){.admitted = true};
	for (unsigned i = 0; i < keys; i++)
	{
		HfLimitState *state = hf_limit_state(&key[i], now);
		unsigned remaining = room_of(state, at[i], now) + hf_limit_permits(state, now);
		double part = remaining / (double) hf_config.limit[key[i].class][key[i].scope].quota;

		if (part >= least)
			continue;
		least = part;
		describe(verdict, state, now);
		verdict->remaining = remaining;
		verdict->retry_after = remaining > 0 ? 0 : seconds(wait_of(state, at[i], now));
	}
}

void
hf_limit_admit(const HfLimitKey *key, unsigned keys, HfLimitVerdict *verdict)
{
	const HfLimitPace *at[HF_LIMIT_SCOPES];

	for (unsigned i = 0; i < keys; i++)
		at[i] = hf_limit_pace(&key[i]);
	admit_at(key, keys, at, verdict);
}

/* Tells of a key that admits nothing for so long. */
void
hf_limit_refuse(const HfLimitKey *key, double retry, HfLimitVerdict *verdict)
{
	double now = hf_limit_now();

	*verdict = (HfLimitVerdict){0};
	describe(verdict, hf_limit_state(key, now), now);
	verdict->retry_after = seconds(retry);
	if (verdict->retry_after < 1)
		verdict->retry_after = 1;
}

/*
 * Judges a request if that needs no Redis: it is refused if one of its keys has no permit and is
 * known to admit nothing yet, and admitted if all of them have permits in hand.
 */
bool
hf_limit_at_once(const HfLimitKey *key, unsigned keys, HfLimitVerdict *verdict)
{
	double now = hf_limit_now(), longest = 0;
	const HfLimitKey *refused = NULL;
	bool in_hand = true;

	for (unsigned i = 0; i < keys; i++)
	{
		const HfLimitState *state = hf_limit_state(&key[i], now);

		if (hf_limit_permits(state, now) > 0)
			continue;
		in_hand = false;
		if (state->refused_until - now > longest)
		{
			longest = state->refused_until - now;
			refused = &key[i];
		}
	}
	if (refused != NULL)
		hf_limit_refuse(refused, longest, verdict);
	else if (in_hand)
	{
		for (unsigned i = 0; i < keys; i++)
			hf_limit_state(&key[i], now)->permits--;
		hf_limit_admit(key, keys, verdict);
	}
	return refused != NULL || in_hand;
}

/* Judges a request without Redis, by this process's share of the rules. */
void
hf_limit_locally(const HfLimitKey *key, unsigned keys, HfLimitVerdict *verdict)
{
	double now = hf_limit_now(), longest = 0;
	const HfLimitPace *at[HF_LIMIT_SCOPES];
	const HfLimitKey *refused = NULL;

	for (unsigned i = 0; i < keys; i++)
	{
		HfLimitState *state = hf_limit_state(&key[i], now);

		at[i] = &local_pace[key[i].class][key[i].scope];
		state->full = fmin(fmax(state->full, now), now + at[i]->interval * at[i]->capacity);
		if (room_of(state, at[i], now) < 1 && wait_of(state, at[i], now) >= longest)
		{
			longest = wait_of(state, at[i], now);
			refused = &key[i];
		}
	}
	if (refused != NULL)
	{
		hf_limit_refuse(refused, longest, verdict);
		return;
	}
	for (unsigned i = 0; i < keys; i++)
		hf_limit_state(&key[i], now)->full += at[i]->interval;
	admit_at(key, keys, at, verdict);
}
