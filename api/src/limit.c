/*
 * limit.c
 *		Rate limits over all workers and machines: GCRA in one Redis script, by Redis's clock.
 *
 * Requests of the same class, address and account are a crowd.  A crowd has one script call under
 * way at most, which asks for all who were there when it began; whoever comes meanwhile waits for
 * the next.  The call judges all keys of the crowd together: it admits as many as all of them have
 * room for, and takes only those from each.  What a key has in hand (limit_local.c) is used first,
 * and a key with enough of that is left out.
 *
 * Invariants: a request that waits is told exactly once, whatever becomes of Redis.  While Redis is
 * away, or answers with an error, this process judges by itself, with its share of what its machine
 * may let in, and now and then one crowd tries.
 * What waits is a request of this worker, and so bounded by what Kore lets in; a crowd lives while
 * somebody waits in it.  During a call, and while its crowd is told, the crowd is `asking`: nobody
 * starts another, whatever those who are told do next.
 */
#include "limit_local.h"
#include "kore.h"
#include "metrics.h"
#include "redis.h"
#include "redis_patience.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS		1024
#define PER_KEY		4 /* arguments */
#define NAME_LENGTH (HF_CACHE_PREFIX_MAX + 32 + HF_LIMIT_KEY_TEXT)
#define NUMBER_MAX	24

/*
 * Arguments: how many are to be admitted, and of each key how many of those it has in hand, how
 * many more to take if all are admitted, interval, capacity.  The answer: how many are admitted,
 * and of each key how many it gave and in how many microseconds all of its quota is back.
 */
static const char script[] =
	"local time = redis.call('TIME')\n"
	"local now = time[1] * 1000000 + time[2]\n"
	"local wanted = tonumber(ARGV[1])\n"
	"local admitted = wanted\n"
	"local key = {}\n"
	"for i, name in ipairs(KEYS) do\n"
	"  local a = 4 * i - 2\n"
	"  local k = {hand = tonumber(ARGV[a]), ahead = tonumber(ARGV[a + 1]),\n"
	"    interval = tonumber(ARGV[a + 2])}\n"
	"  local span = k.interval * tonumber(ARGV[a + 3])\n"
	"  k.full = math.max(now, tonumber(redis.call('GET', name) or 0) or 0)\n"
	"  k.full = math.min(k.full, now + span)\n"
	"  k.room = math.floor((span - (k.full - now)) / k.interval)\n"
	"  admitted = math.min(admitted, k.room + k.hand)\n"
	"  key[i] = k\n"
	"end\n"
	"local answer = {admitted}\n"
	"for i, name in ipairs(KEYS) do\n"
	"  local k = key[i]\n"
	"  local taken = math.max(admitted - k.hand, 0)\n"
	"  if admitted == wanted then\n"
	"    taken = taken + math.min(k.ahead, math.floor((k.room - taken) / 2))\n"
	"  end\n"
	"  if taken > 0 then\n"
	"    k.full = k.full + taken * k.interval\n"
	"    local ttl = math.ceil((k.full - now) / 1000)\n"
	"    redis.call('SET', name, string.format('%.2f', k.full), 'PX', ttl)\n"
	"  end\n"
	"  answer[2 * i] = taken\n"
	"  answer[2 * i + 1] = math.ceil(k.full - now)\n"
	"end\n"
	"return answer\n";
static const char digest[] = "faa0352ebba9d119f500b69a96acaeb6b325072d"; /* SHA-1 */

/* A request that waits. */
typedef struct Waiter
{
	HfLimitDone done;
	void *arg;
	STAILQ_ENTRY(Waiter) link;
} Waiter;

STAILQ_HEAD(WaiterList, Waiter);

/* What a call asks of a key. */
typedef struct Ask
{
	unsigned hand;	   /* permits in hand that are used */
	double hand_lapse; /* until when they would have been good */
	bool sent;		   /* whether Redis is asked */
} Ask;

typedef struct Crowd
{
	LIST_ENTRY(Crowd) link;
	unsigned keys;
	HfLimitKey key[HF_LIMIT_SCOPES];
	struct WaiterList waiting;
	unsigned waiters;
	bool asking;
	unsigned asked_for; /* of those who wait the first so many are in the call */
	Ask ask[HF_LIMIT_SCOPES];
	double sent_at;
	bool whole; /* the call has the script, and not only its digest */
} Crowd;

static LIST_HEAD(, Crowd) crowd[BUCKETS];
static char prefix[HF_CACHE_PREFIX_MAX + 8];
static HfRedisPatience patience = {
	.event = "limit",
	.lost = "without Redis each process limits by itself",
	.found = "limits hold over all processes again",
};

static const char *const class_names[HF_LIMIT_CLASSES] = {"read",  "write",	  "login", "register",
														  "batch", "webhook", "sale"};
static const char *const scope_names[HF_LIMIT_SCOPES] = {"global", "address", "account"};

static void send_or_judge(Crowd *of);

/* Begins, in a worker, as if Redis were there. */
void
hf_limit_start(void)
{
	snprintf(prefix, sizeof(prefix),
			 "%slimit:", hf_config.cache_prefix[0] != '\0' ? hf_config.cache_prefix : "holdfast:");
	patience.away = false;
	hf_limit_local_start(HF_WORKERS);
}

static void
count(const HfLimitVerdict *verdict)
{
	if (!verdict->admitted)
		hf_metrics_add(HF_METRIC_LIMITED_GLOBAL + (HfMetric) verdict->scope, 1);
}

static void
judge_locally(const HfLimitKey *key, unsigned keys, HfLimitVerdict *verdict)
{
	hf_limit_locally(key, keys, verdict);
	hf_metrics_add(HF_METRIC_LIMITED_LOCALLY, 1);
}

static Crowd *
find_crowd(const HfLimitKey *key, unsigned keys)
{
	uint64_t hash = 0;
	Crowd *found;

	for (unsigned i = 0; i < keys; i++)
		hash += hf_limit_key_hash(&key[i]);
	LIST_FOREACH(found, &crowd[hash % BUCKETS], link)
	{
		unsigned same = 0;

		while (same < keys && found->keys == keys &&
			   hf_limit_key_same(&found->key[same], &key[same]))
			same++;
		if (same == keys)
			return found;
	}
	found = calloc(1, sizeof(*found));
	if (found == NULL)
		return NULL;
	found->keys = keys;
	memcpy(found->key, key, keys * sizeof(*key));
	STAILQ_INIT(&found->waiting);
	LIST_INSERT_HEAD(&crowd[hash % BUCKETS], found, link);
	return found;
}

static bool
add_waiter(Crowd *to, HfLimitDone done, void *arg)
{
	Waiter *waiter = malloc(sizeof(*waiter));

	if (waiter == NULL)
		return false;
	waiter->done = done;
	waiter->arg = arg;
	STAILQ_INSERT_TAIL(&to->waiting, waiter, link);
	to->waiters++;
	return true;
}

/* Takes the first who waits. */
static Waiter
take_waiter(Crowd *from)
{
	Waiter *first = STAILQ_FIRST(&from->waiting), taken = *first;

	STAILQ_REMOVE_HEAD(&from->waiting, link);
	from->waiters--;
	free(first);
	return taken;
}

static void
tell(const Waiter *waiter, const HfLimitVerdict *verdict)
{
	count(verdict);
	waiter->done(waiter->arg, verdict);
}

/* A crowd in which nobody waits is gone. */
static void
leave_crowd(Crowd *of)
{
	LIST_REMOVE(of, link);
	free(of);
}

/* Uses what each key has in hand; a key that has not enough for all is to be asked for. */
static void
take_in_hand(Crowd *of)
{
	double now = hf_limit_now();

	for (unsigned i = 0; i < of->keys; i++)
	{
		HfLimitState *state = hf_limit_state(&of->key[i], now);
		unsigned permits = hf_limit_permits(state, now);
		Ask *ask = &of->ask[i];

		ask->hand = permits < of->asked_for ? permits : of->asked_for;
		ask->hand_lapse = state->lapse;
		ask->sent = ask->hand < of->asked_for;
		state->permits = permits - ask->hand;
	}
}

/* Gives back what was in hand and was not used, if it is still good. */
static void
give_back(Crowd *of, unsigned used)
{
	double now = hf_limit_now();

	for (unsigned i = 0; i < of->keys; i++)
	{
		HfLimitState *state = hf_limit_state(&of->key[i], now);
		const Ask *ask = &of->ask[i];

		if (ask->hand > used && state->lapse == ask->hand_lapse)
			state->permits += ask->hand - used;
	}
}

static void answered(void *arg, const HfCacheReply *reply);

/* Sends the crowd's call; false if Redis takes none. */
static bool
send_call(Crowd *of)
{
	char text[HF_LIMIT_SCOPES][NAME_LENGTH];
	char number[2 + PER_KEY * HF_LIMIT_SCOPES][NUMBER_MAX];
	const char *argv[3 + HF_LIMIT_SCOPES + 1 + PER_KEY * HF_LIMIT_SCOPES];
	size_t length[sizeof(argv) / sizeof(argv[0])];
	int argc = 3, numbers = 1, names = 0;

	of->sent_at = hf_limit_now();
	for (unsigned i = 0; i < of->keys; i++)
	{
		const HfLimitKey *key = &of->key[i];
		const HfLimitPace *at = hf_limit_pace(key);
		char id[HF_LIMIT_KEY_TEXT];

		if (!of->ask[i].sent)
			continue;
		hf_limit_key_text(id, key);
		snprintf(text[names], sizeof(text[names]), "%s%s:%s:{%s}", prefix, class_names[key->class],
				 scope_names[key->scope], id);
		argv[argc++] = text[names++];
		snprintf(number[++numbers], NUMBER_MAX, "%u", of->ask[i].hand);
		snprintf(number[++numbers], NUMBER_MAX, "%u",
				 hf_limit_ahead(hf_limit_state(key, of->sent_at), of->sent_at));
		snprintf(number[++numbers], NUMBER_MAX, "%.2f", at->interval);
		snprintf(number[++numbers], NUMBER_MAX, "%u", at->capacity);
	}
	argv[0] = of->whole ? "EVAL" : "EVALSHA";
	argv[1] = of->whole ? script : digest;
	snprintf(number[0], NUMBER_MAX, "%d", names);
	argv[2] = number[0];
	snprintf(number[1], NUMBER_MAX, "%u", of->asked_for);
	for (int i = 1; i <= numbers; i++)
		argv[argc++] = number[i];
	for (int i = 0; i < argc; i++)
		length[i] = strlen(argv[i]);
	return hf_redis_send(argc, argv, length, answered, of);
}

/* Is it the answer to this crowd's call? */
static bool
is_answer(const Crowd *of, const HfCacheReply *reply)
{
	size_t elements = 1;

	for (unsigned i = 0; i < of->keys; i++)
		elements += of->ask[i].sent ? 2 : 0;
	if (reply == NULL || reply->type != HF_CACHE_REPLY_ARRAY || reply->elements != elements)
		return false;
	for (size_t i = 0; i < elements; i++)
		if (reply->element[i].type != HF_CACHE_REPLY_INTEGER || reply->element[i].integer < 0)
			return false;
	return reply->element[0].integer <= of->asked_for;
}

/* Learns what an answer says of each key; the key that is the last to admit another, or NULL. */
static const HfLimitKey *
learn(Crowd *of, unsigned admitted, const HfCacheReply *element, double *retry)
{
	double now = hf_limit_now();
	const HfLimitKey *last = NULL;

	*retry = 0;
	for (unsigned i = 0; i < of->keys; i++)
	{
		const HfLimitPace *at = hf_limit_pace(&of->key[i]);
		HfLimitState *state = hf_limit_state(&of->key[i], now);
		const Ask *ask = &of->ask[i];
		unsigned taken, needed = admitted > ask->hand ? admitted - ask->hand : 0;
		double wait;

		if (!ask->sent)
			continue;
		taken = (unsigned) element[0].integer;
		state->full = now + (double) element[1].integer;
		element += 2;
		if (taken > needed)
		{
			state->permits = taken - needed;
			state->lapse = of->sent_at + at->lapse;
			state->fetching = 0;
		}
		wait = state->full + at->interval - at->interval * at->capacity - now;
		state->refused_until = now + wait;
		if (wait > *retry)
		{
			*retry = wait;
			last = &of->key[i];
		}
	}
	return last;
}

/* Tells all who are in the call, of whom so many are admitted. */
static void
tell_asked(Crowd *of, unsigned admitted, const HfLimitKey *last, double retry)
{
	unsigned asked_for = of->asked_for;

	for (unsigned i = 0; i < asked_for; i++)
	{
		Waiter waiter = take_waiter(of);
		HfLimitVerdict verdict;

		if (i < admitted)
			hf_limit_admit(of->key, of->keys, &verdict);
		else
			hf_limit_refuse(last != NULL ? last : &of->key[0], retry, &verdict);
		tell(&waiter, &verdict);
	}
}

/* Redis has answered a crowd's call, or will not. */
static void
answered(void *arg, const HfCacheReply *reply)
{
	Crowd *of = arg;

	if (is_answer(of, reply))
	{
		unsigned admitted = (unsigned) reply->element[0].integer;
		const HfLimitKey *last;
		double retry;

		hf_redis_found(&patience);
		last = learn(of, admitted, reply->element + 1, &retry);
		give_back(of, admitted);
		tell_asked(of, admitted, last, retry);
		of->whole = false;
	}
	else if (reply != NULL && reply->type == HF_CACHE_REPLY_ERROR && !of->whole &&
			 reply->text.length > 8 && memcmp(reply->text.data, "NOSCRIPT", 8) == 0)
	{
		of->whole = true;
		if (send_call(of))
			return;
		hf_redis_lost(&patience);
	}
	else
		hf_redis_lost(&patience);
	send_or_judge(of);
}

/*
 * Goes on with a crowd that has no call under way: judges whom it can without Redis, and asks for
 * the others.  The crowd may be gone afterwards.
 */
static void
send_or_judge(Crowd *of)
{
	of->asking = true;
	while (of->waiters > 0)
	{
		HfLimitVerdict verdict;
		Waiter waiter;

		if (!hf_limit_at_once(of->key, of->keys, &verdict))
		{
			of->asked_for = of->waiters;
			if (hf_redis_may_ask(&patience))
			{
				take_in_hand(of);
				if (send_call(of))
					return;
				hf_redis_lost(&patience);
			}
			judge_locally(of->key, of->keys, &verdict);
		}
		waiter = take_waiter(of);
		tell(&waiter, &verdict);
	}
	leave_crowd(of);
}

/*
 * Judges a request of a class: by the address of its client, and by its account, which is 0 if
 * there is none.  True: here is the verdict.  False: `done` is called with it later, once.
 */
bool
hf_limit_check(HfLimitClass class, const char *address, int64_t account, HfLimitVerdict *verdict,
			   HfLimitDone done, void *arg)
{
	HfLimitKey key[HF_LIMIT_SCOPES];
	unsigned keys = hf_limit_keys(key, class, address, account);
	Crowd *of = NULL;

	*verdict = (HfLimitVerdict){.admitted = true};
	if (keys == 0)
		return true;
	hf_limit_asked(key, keys);
	if (!hf_limit_at_once(key, keys, verdict))
	{
		if (hf_redis_may_ask(&patience))
			of = find_crowd(key, keys);
		if (of != NULL && add_waiter(of, done, arg))
		{
			if (of->asking)
				return false;
			of->asking = true;
			of->asked_for = of->waiters;
			take_in_hand(of);
			if (send_call(of))
				return false;
			hf_redis_lost(&patience);
			take_waiter(of);
		}
		if (of != NULL && of->waiters == 0)
			leave_crowd(of);
		judge_locally(key, keys, verdict);
	}
	count(verdict);
	return true;
}
