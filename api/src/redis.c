/*
 * redis.c
 *		Redis, without waiting: one connection for commands, one for the subscription.
 *
 * Commands are collected during a pass of the loop and sent together; Redis answers in their order.
 * If the oldest has waited for too long, Redis is taken for frozen: the connection is given up, and
 * all that wait are told.  After that nobody waits, because a new connection takes commands only
 * when Redis has answered a PING on it.
 *
 * Invariants: a command that was taken is answered exactly once, and never while it is being sent.
 * A reply that is too late is none, even if it is there, since a reader is promised that it never
 * serves what lay in a queue for long.  Of the subscription it is known since when it is complete:
 * what was published before the last PING that has been answered was sent has been handed on.  That
 * dates a message from before, however long it lay in a queue of a frozen Redis or of our own.
 * Queue and output are bounded.
 */
#include "redis.h"

#include "config.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "redis_link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMANDS_MAX 16384 /* that are unanswered; a power of 2 */
#define LATE_MAX	 500   /* milliseconds: one that was there before we looked is good */
#define PING_EVERY	 250   /* milliseconds between two PINGs of the subscription */
#define PING_TIMEOUT 1000  /* milliseconds */

typedef struct Command
{
	HfRedisDone done;
	void *arg;
	uint64_t sent_at;
} Command;

static HfRedisLink commands = {.name = "commands"};
static Command queue[COMMANDS_MAX]; /* a ring */
static unsigned oldest, waiting;
static unsigned long unreported; /* commands that the metrics do not know yet */

static HfRedisLink subscription = {.name = "subscription"};
static const char *channel; /* NULL: nobody has subscribed */
static void (*handle_message)(const HfText *text);
static void (*handle_state)(bool up);
static uint64_t heard;	 /* of an hf_loop_now(); 0: not subscribed */
static uint64_t ping_at; /* when the last PING was sent */
static bool pinging;	 /* it is unanswered */

static bool
send_words(HfRedisLink *link, int argc, const char *const *word)
{
	size_t length[2];

	for (int i = 0; i < argc; i++)
		length[i] = strlen(word[i]);
	return hf_redis_link_write(link, argc, word, length);
}

static void
push(HfRedisDone done, void *arg)
{
	queue[(oldest + waiting++) % COMMANDS_MAX] = (Command){done, arg, hf_loop_now()};
}

static Command
pop(void)
{
	Command command = queue[oldest];

	oldest = (oldest + 1) % COMMANDS_MAX;
	waiting--;
	return command;
}

static void
commands_greeted(void *arg, const HfCacheReply *reply)
{
	(void) arg;
	if (reply == NULL)
		return;
	if (reply->type == HF_CACHE_REPLY_ERROR)
	{
		commands.broken = "Redis refuses us";
		return;
	}
	hf_redis_link_up(&commands);
	hf_metrics_set(HF_METRIC_REDIS_UP, 1);
}

static void
commands_greet(void)
{
	static const char *const ping[] = {"PING"};

	if (send_words(&commands, 1, ping))
		push(commands_greeted, NULL);
}

static void
commands_reply(const HfCacheReply *reply)
{
	unsigned most = hf_config.redis_timeout > LATE_MAX ? hf_config.redis_timeout : LATE_MAX;
	Command command;

	if (waiting == 0)
	{
		commands.broken = "a reply to nothing";
		return;
	}
	command = pop();
	if (hf_loop_now() - command.sent_at > most)
	{
		commands.broken = "a reply that is too late";
		reply = NULL;
	}
	command.done(command.arg, reply);
}

/* Whoever is told cannot send: there is no connection. */
static void
commands_lost(void)
{
	hf_metrics_set(HF_METRIC_REDIS_UP, 0);
	hf_metrics_add(HF_METRIC_REDIS_LOST, waiting);
	while (waiting > 0)
	{
		Command command = pop();

		command.done(command.arg, NULL);
	}
}

static void
subscription_greet(void)
{
	const char *subscribe[] = {"SUBSCRIBE", channel};
	static const char *const ping[] = {"PING"};

	ping_at = hf_loop_now();
	pinging = send_words(&subscription, 2, subscribe) && send_words(&subscription, 1, ping);
}

static bool
is_word(const HfCacheReply *reply, const char *word)
{
	return reply->type == HF_CACHE_REPLY_STRING && reply->text.length == strlen(word) &&
		memcmp(reply->text.data, word, reply->text.length) == 0;
}

/*
 * Until the subscription is confirmed it is complete since it was sent, and no message comes; the
 * PING was sent behind it.
 */
static void
subscription_reply(const HfCacheReply *reply)
{
	const HfCacheReply *element = reply->element;
	bool confirmed = subscription.state == HF_REDIS_LINK_UP;

	if (reply->type != HF_CACHE_REPLY_ARRAY || reply->elements < 2)
		subscription.broken = "no reply to a subscription";
	else if (confirmed && is_word(&element[0], "pong") && pinging)
	{
		heard = ping_at;
		pinging = false;
	}
	else if (reply->elements != 3 || !is_word(&element[1], channel))
		subscription.broken = "no reply to this subscription";
	else if (!confirmed && is_word(&element[0], "subscribe"))
	{
		heard = ping_at;
		hf_redis_link_up(&subscription);
		handle_state(true);
	}
	else if (confirmed && is_word(&element[0], "message") &&
			 element[2].type == HF_CACHE_REPLY_STRING)
		handle_message(&element[2].text);
	else
		subscription.broken = "something else than a message";
}

static void
subscription_lost(void)
{
	bool was_up = heard > 0;

	heard = 0;
	pinging = false;
	if (was_up)
		handle_state(false);
}

static void
flush(void)
{
	if (unreported > 0)
		hf_metrics_add(HF_METRIC_REDIS_COMMANDS, unreported);
	unreported = 0;
	hf_redis_link_flush(&commands);
}

/* Gives up before the oldest command has waited for too long, not after it. */
static void
tick_commands(uint64_t now)
{
	unsigned most = hf_config.redis_timeout;

	if (most > 2 * HF_REDIS_LINK_TICK)
		most -= HF_REDIS_LINK_TICK;
	if (waiting > 0 && now - queue[oldest].sent_at > most)
		hf_redis_link_fail(&commands, "no reply in time");
	hf_redis_link_tick(&commands);
}

static void
tick_subscription(uint64_t now)
{
	static const char *const ping[] = {"PING"};

	hf_redis_link_tick(&subscription);
	if (subscription.state != HF_REDIS_LINK_UP)
		return;
	if (pinging && now - ping_at > PING_TIMEOUT)
		hf_redis_link_fail(&subscription, "no reply in time");
	else if (!pinging && now - ping_at >= PING_EVERY && send_words(&subscription, 1, ping))
	{
		ping_at = now;
		pinging = true;
		hf_redis_link_flush(&subscription);
	}
}

static void
tick(void)
{
	uint64_t now = hf_loop_now();

	tick_commands(now);
	if (channel != NULL)
		tick_subscription(now);
}

void
hf_redis_start(void)
{
	srandom((unsigned) getpid() ^ (unsigned) hf_loop_microseconds());
	commands.greet = commands_greet;
	commands.reply = commands_reply;
	commands.lost = commands_lost;
	if (!hf_redis_link_resolve(hf_config.redis))
		hf_log(HF_LOG_ERROR, "redis_address", "neither unix:PATH nor ADDRESS:PORT; doing without");
	hf_loop_at_pass(flush);
	hf_loop_every(HF_REDIS_LINK_TICK, tick);
	hf_redis_link_start(&commands);
}

bool
hf_redis_send(int argc, const char *const *argv, const size_t *length, HfRedisDone done, void *arg)
{
	if (commands.state != HF_REDIS_LINK_UP || waiting == COMMANDS_MAX ||
		!hf_redis_link_write(&commands, argc, argv, length))
		return false;
	push(done, arg);
	unreported++;
	hf_loop_ask();
	return true;
}

bool
hf_redis_is_up(void)
{
	return commands.state == HF_REDIS_LINK_UP;
}

/* Only notes it: who calls this is called by the connection. */
void
hf_redis_distrust(void)
{
	commands.broken = "another kind of reply than was asked for";
}

void
hf_redis_subscribe(const char *name, void (*message)(const HfText *text), void (*state)(bool up))
{
	channel = name;
	handle_message = message;
	handle_state = state;
	subscription.greet = subscription_greet;
	subscription.reply = subscription_reply;
	subscription.lost = subscription_lost;
	hf_redis_link_start(&subscription);
}

uint64_t
hf_redis_heard(void)
{
	return heard;
}

void
hf_redis_stop(void)
{
	hf_redis_link_stop(&commands);
	if (channel != NULL)
		hf_redis_link_stop(&subscription);
}
