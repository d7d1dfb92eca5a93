/*
 * ticket_issue.c
 *		Drawing tickets: so many at a time, one for an account.
 *
 * Time is cut into windows (ticket_local.h), and Redis has a set of accounts for each window of a
 * sale, under the time when its tickets expire.  Those of this window and the one before are out,
 * and together they are never more than the sale's quota.  Whoever is in a set has the same ticket
 * again; once his is of the window before and has less than a part of ticket_ttl left, he draws
 * anew, and competes with all others for it.
 *
 * All who ask for tickets of a sale in one pass of the loop, or while a call is under way, are one
 * call of a script, in the order in which they came.
 *
 * Invariants: whoever waits is told exactly once, whatever becomes of Redis.  While Redis is away
 * or talks nonsense, this process draws by itself up to its share of the quota, and now and then
 * one call tries again; what it has drawn is good for as long as any other.  So no more than twice
 * the quota is ever out of one machine, the quota in Redis and the shares of its workers, and of
 * several one quota more for each.  If Redis forgets a set, it may fill it again.  Machines that
 * disagree on the time by a second may count in different windows for that long.  What waits is a
 * request of this worker, and so bounded; there are as many sales here as were open lately.
 */
#include "ticket_issue.h"
#include "kore.h"
#include "config.h"
#include "loop.h"
#include "metrics.h"
#include "redis.h"
#include "redis_patience.h"
#include "ticket_local.h"

#define ACCOUNTS_MAX 256 /* in a call */
#define BUCKETS		 64
#define TICK		 1000
#define RENEW_PART	 4	   /* of ticket_ttl: with less than this left a ticket is drawn anew */
#define SLACK		 10000 /* milliseconds that a set outlives its tickets, for other clocks */
#define NAME_LENGTH	 (HF_CACHE_PREFIX_MAX + 64)
#define NUMBER_MAX	 24

/*
 * Keys: the sets of the window before and of this one.  Arguments: the quota, for how many
 * milliseconds the set is kept, whether a ticket of the window before is to be renewed, and the
 * accounts.  The answer is a character for each, an HfTicketDraw, and one that says whether there
 * are tickets of the window before.
 */
static const char script[] =
	"local renew = ARGV[3] == '1'\n"
	"local old = redis.call('SMISMEMBER', KEYS[1], unpack(ARGV, 4))\n"
	"local now = redis.call('SMISMEMBER', KEYS[2], unpack(ARGV, 4))\n"
	"local olds = redis.call('SCARD', KEYS[1])\n"
	"local room = tonumber(ARGV[1]) - olds - redis.call('SCARD', KEYS[2])\n"
	"local answer, drawn, is_drawn = {}, {}, {}\n"
	"for i, is_now in ipairs(now) do\n"
	"  local account = ARGV[i + 3]\n"
	"  if is_now == 1 or is_drawn[account] then\n"
	"    answer[i] = '2'\n"
	"  elseif old[i] == 1 and (not renew or room <= 0) then\n"
	"    answer[i] = '1'\n"
	"  elseif room > 0 then\n"
	"    room = room - 1\n"
	"    is_drawn[account] = true\n"
	"    drawn[#drawn + 1] = account\n"
	"    answer[i] = '3'\n"
	"  else\n"
	"    answer[i] = '0'\n"
	"  end\n"
	"end\n"
	"if #drawn > 0 then\n"
	"  redis.call('SADD', KEYS[2], unpack(drawn))\n"
	"  redis.call('PEXPIRE', KEYS[2], ARGV[2])\n"
	"end\n"
	"answer[#answer + 1] = olds > 0 and '1' or '0'\n"
	"return table.concat(answer)\n";
static const char digest[] = "da8d4fbd12e3a43a463cc66265b52d8e085ce8ad"; /* SHA-1 */

/* Somebody who waits. */
typedef struct Waiter
{
	STAILQ_ENTRY(Waiter) link;
	int64_t account;
	HfTicketDone done;
	void *arg;
} Waiter;

typedef struct Sale
{
	LIST_ENTRY(Sale) link;
	STAILQ_ENTRY(Sale) ready; /* if somebody waits and there is no call under way */
	int64_t id;
	int64_t quota;
	int64_t ends_at;
	STAILQ_HEAD(, Waiter) waiting;
	unsigned waiters;
	bool asking;		/* it is among those that are ready, or in a call */
	unsigned asked_for; /* of those who wait the first so many are in the call */
	int64_t begins;		/* the window of the call */
	bool whole;			/* the call has the script, and not only its digest */
	HfTicketHolders here;
	int64_t drawn; /* and not noted yet */
} Sale;

static LIST_HEAD(, Sale) bucket[BUCKETS];
static STAILQ_HEAD(, Sale) ready = STAILQ_HEAD_INITIALIZER(ready);
static char prefix[HF_CACHE_PREFIX_MAX + 16];
static HfRedisPatience patience = {
	.event = "ticket",
	.lost = "without Redis each process has its share of tickets",
	.found = "tickets are counted over all processes again",
};

/* The beginning of the window. */
static int64_t
window(void)
{
	int64_t now = hf_ticket_now();

	return now - now % hf_config.ticket_ttl;
}

/* When tickets of a window expire: at the end of the next one, but with their sale. */
static int64_t
expiry(const Sale *of, int64_t begins)
{
	int64_t expires = begins + 2 * (int64_t) hf_config.ticket_ttl;

	return expires < of->ends_at ? expires : of->ends_at;
}

/* Are tickets of the window before about to expire, and would new ones be good for longer? */
static bool
is_time(const Sale *of, int64_t begins)
{
	int64_t before = expiry(of, begins - hf_config.ticket_ttl);

	return before - hf_ticket_now() < hf_config.ticket_ttl / RENEW_PART &&
		before < expiry(of, begins);
}

/* Seconds until a ticket expires: one of the window before, if there are any. */
static unsigned
wait_for(int64_t begins, bool before)
{
	int64_t wait = begins + (before ? 1 : 2) * (int64_t) hf_config.ticket_ttl - hf_ticket_now();

	return wait > 0 ? (unsigned) (wait / 1000 + 1) : 1;
}

/* Tells somebody, who is free to ask for more. */
static void
tell(Sale *of, const Waiter *waiter, int64_t begins, HfTicketDraw draw, bool before)
{
	HfTicket ticket = {.text = ""};

	if (draw == HF_TICKET_NONE)
	{
		ticket.retry_after = wait_for(begins, before);
		hf_metrics_add(HF_METRIC_TICKETS_REFUSED, 1);
	}
	else
	{
		int64_t its = draw == HF_TICKET_OLD ? begins - hf_config.ticket_ttl : begins;

		ticket.expires = expiry(of, its);
		hf_ticket_sign(ticket.text, waiter->account, of->id, ticket.expires);
	}
	if (draw == HF_TICKET_NEW)
	{
		hf_metrics_add(HF_METRIC_TICKETS, 1);
		of->drawn++;
	}
	waiter->done(waiter->arg, &ticket);
}

/* Takes the first who waits. */
static Waiter
take_waiter(Sale *from)
{
	Waiter *first = STAILQ_FIRST(&from->waiting), taken = *first;

	STAILQ_REMOVE_HEAD(&from->waiting, link);
	from->waiters--;
	free(first);
	return taken;
}

/* Draws for the first so many by what this process knows. */
static void
draw_here(Sale *of, unsigned n)
{
	int64_t begins = window();
	int64_t most = of->quota > HF_WORKERS ? of->quota / HF_WORKERS : 1;

	hf_metrics_add(HF_METRIC_TICKETS_LOCALLY, n);
	hf_ticket_holders_turn(&of->here, begins);
	while (n-- > 0)
	{
		Waiter waiter = take_waiter(of);
		HfTicketDraw draw =
			hf_ticket_holders_draw(&of->here, waiter.account, (size_t) most, is_time(of, begins));

		tell(of, &waiter, begins, draw, hf_ticket_holders_before(&of->here));
	}
}

static void answered(void *arg, const HfCacheReply *reply);

/* Sends the sale's call; false if Redis takes none. */
static bool
send_call(Sale *of)
{
	static char account[ACCOUNTS_MAX][NUMBER_MAX];
	char name[2][NAME_LENGTH], quota[NUMBER_MAX], kept[NUMBER_MAX];
	const char *argv[5 + 3 + ACCOUNTS_MAX];
	size_t length[sizeof(argv) / sizeof(argv[0])];
	int64_t ttl = hf_config.ticket_ttl, left = of->begins + 2 * ttl - hf_ticket_now() + SLACK;
	const Waiter *waiter = STAILQ_FIRST(&of->waiting);
	int argc = 0;

	for (int i = 0; i < 2; i++)
		snprintf(name[i], NAME_LENGTH, "%s{%lld}:%lld", prefix, (long long) of->id,
				 (long long) (of->begins + (i + 1) * ttl));
	snprintf(quota, NUMBER_MAX, "%lld", (long long) of->quota);
	snprintf(kept, NUMBER_MAX, "%lld", (long long) left);
	argv[argc++] = of->whole ? "EVAL" : "EVALSHA";
	argv[argc++] = of->whole ? script : digest;
	argv[argc++] = "2";
	argv[argc++] = name[0];
	argv[argc++] = name[1];
	argv[argc++] = quota;
	argv[argc++] = kept;
	argv[argc++] = is_time(of, of->begins) ? "1" : "0";
	for (int i = 0; i < argc; i++)
		length[i] = strlen(argv[i]);
	for (unsigned i = 0; i < of->asked_for; i++, waiter = STAILQ_NEXT(waiter, link))
	{
		length[argc] =
			(size_t) snprintf(account[i], NUMBER_MAX, "%lld", (long long) waiter->account);
		argv[argc++] = account[i];
	}
	return hf_redis_send(argc, argv, length, answered, of);
}

/* Goes on with a sale that has no call under way: asks Redis for those who wait, or draws here. */
static void
ask_or_draw(Sale *of)
{
	while (of->waiters > 0)
	{
		of->asked_for = of->waiters < ACCOUNTS_MAX ? of->waiters : ACCOUNTS_MAX;
		if (hf_redis_may_ask(&patience))
		{
			of->begins = window();
			of->whole = false;
			if (send_call(of))
				return;
			hf_redis_lost(&patience);
		}
		draw_here(of, of->asked_for);
	}
	of->asking = false;
}

/* Is it the answer to this sale's call? */
static bool
is_answer(const Sale *of, const HfCacheReply *reply)
{
	if (reply == NULL || reply->type != HF_CACHE_REPLY_STRING ||
		reply->text.length != of->asked_for + 1)
		return false;
	for (size_t i = 0; i < reply->text.length; i++)
		if (reply->text.data[i] < HF_TICKET_NONE || reply->text.data[i] > HF_TICKET_NEW)
			return false;
	return true;
}

/* Redis has answered a sale's call, or will not. */
static void
answered(void *arg, const HfCacheReply *reply)
{
	Sale *of = arg;
	unsigned n = of->asked_for;
	bool is_error = reply != NULL && reply->type == HF_CACHE_REPLY_ERROR;

	if (is_answer(of, reply))
	{
		bool before = reply->text.data[n] == '1';

		hf_redis_found(&patience);
		for (unsigned i = 0; i < n; i++)
		{
			Waiter waiter = take_waiter(of);

			tell(of, &waiter, of->begins, (HfTicketDraw) reply->text.data[i], before);
		}
	}
	else if (is_error && !of->whole && reply->text.length > 8 &&
			 memcmp(reply->text.data, "NOSCRIPT", 8) == 0)
	{
		of->whole = true;
		if (send_call(of))
			return;
		hf_redis_lost(&patience);
		draw_here(of, n);
	}
	else
	{
		if (reply != NULL && !is_error)
			hf_redis_distrust();
		hf_redis_lost(&patience);
		draw_here(of, n);
	}
	ask_or_draw(of);
}

/* The calls of all who have come in this pass. */
static void
send_calls(void)
{
	Sale *of;

	while ((of = STAILQ_FIRST(&ready)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&ready, ready);
		ask_or_draw(of);
	}
}

static Sale *
find_sale(int64_t id)
{
	Sale *found;

	LIST_FOREACH(found, &bucket[(uint64_t) id % BUCKETS], link)
	if (found->id == id)
		return found;
	found = calloc(1, sizeof(*found));
	if (found == NULL)
		return NULL;
	found->id = id;
	STAILQ_INIT(&found->waiting);
	LIST_INSERT_HEAD(&bucket[(uint64_t) id % BUCKETS], found, link);
	return found;
}

/* Forgets sales of which nothing is to be remembered. */
static void
forget_sales(void)
{
	int64_t begins = window();

	for (int i = 0; i < BUCKETS; i++)
		for (Sale *of = LIST_FIRST(&bucket[i]), *next; of != NULL; of = next)
		{
			next = LIST_NEXT(of, link);
			hf_ticket_holders_turn(&of->here, begins);
			if (of->asking || of->drawn > 0 || hf_ticket_holders_any(&of->here))
				continue;
			hf_ticket_holders_turn(&of->here, INT64_MIN);
			LIST_REMOVE(of, link);
			free(of);
		}
}

void
hf_ticket_start(void)
{
	snprintf(prefix, sizeof(prefix), "%stickets:",
			 hf_config.cache_prefix[0] != '\0' ? hf_config.cache_prefix : "holdfast:");
	patience.away = false;
	hf_loop_at_pass(send_calls);
	hf_loop_every(TICK, forget_sales);
}

/* Tells somebody of the ticket that he has drawn here; false if he has not. */
static bool
tell_here(Sale *of, const Waiter *waiter)
{
	int64_t begins = window();
	HfTicketDraw draw;

	if (!hf_ticket_holders_any(&of->here))
		return false;
	hf_ticket_holders_turn(&of->here, begins);
	draw = hf_ticket_holders_know(&of->here, waiter->account, is_time(of, begins));
	if (draw != HF_TICKET_NONE)
		tell(of, waiter, begins, draw, false);
	return draw != HF_TICKET_NONE;
}

bool
hf_ticket_issue(const HfLive *live, int64_t account, HfTicketDone done, void *arg)
{
	Sale *of = find_sale(live->sale);
	Waiter *waiter = malloc(sizeof(*waiter));

	if (of == NULL || waiter == NULL)
	{
		free(waiter);
		return false;
	}
	of->quota = live->quota;
	of->ends_at = live->ends_at;
	*waiter = (Waiter){.account = account, .done = done, .arg = arg};
	if (tell_here(of, waiter))
	{
		free(waiter);
		return true;
	}
	STAILQ_INSERT_TAIL(&of->waiting, waiter, link);
	of->waiters++;
	if (!of->asking)
	{
		of->asking = true;
		STAILQ_INSERT_TAIL(&ready, of, ready);
	}
	hf_loop_ask();
	return true;
}

unsigned
hf_ticket_counts(int64_t *sale, int64_t *count, unsigned n)
{
	unsigned found = 0;
	Sale *of;

	for (int i = 0; i < BUCKETS; i++)
		LIST_FOREACH(of, &bucket[i], link)
	if (of->drawn > 0 && found < n)
	{
		sale[found] = of->id;
		count[found++] = of->drawn;
		of->drawn = 0;
	}
	return found;
}

void
hf_ticket_count(int64_t sale, int64_t count)
{
	Sale *of = find_sale(sale);

	if (of != NULL)
		of->drawn += count;
}
