/*
 * replies.c
 *		What is made of replies: good, bad, and random ones.
 *
 * Each text of a random reply lies in memory of its own and just as long, so that valgrind or a
 * sanitizer sees whoever reads beyond it.  What a hit is, is written here a second time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

#define ROUNDS 100000

static uint64_t random_state = 1;

/* A text in memory of its own. */
static HfText
copy(const char *data, size_t length)
{
	char *own = malloc(length > 0 ? length : 1);

	if (own == NULL)
		abort();
	if (length > 0)
		memcpy(own, data, length);
	return (HfText){own, length};
}

static HfCacheReply
string(const char *data, size_t length)
{
	return (HfCacheReply){.type = HF_CACHE_REPLY_STRING, .text = copy(data, length)};
}

/* One element of a reply: mostly from few texts, so that they often fit each other. */
static HfCacheReply
any_element(void)
{
	static const char *const word[] = {"5",	   "6",		"a",	 "b",	 "a b\nx", "a a\nx",
									   "\n",   "\nx",	"a\n",	 "a\nx", "a b\n",  "a b",
									   "a  b", "a\n\n", "b a\n", "",	 " ",	   "05"};
	HfCacheReply reply = {.type = (HfCacheReplyType) rnd(&random_state, 6)};
	char noise[200];
	size_t length = rnd(&random_state, sizeof(noise));

	if (reply.type == HF_CACHE_REPLY_ERROR)
		reply.text = copy("ERR wrong", 9);
	else if (reply.type != HF_CACHE_REPLY_NIL && rnd(&random_state, 10) > 0)
	{
		const char *text = word[rnd(&random_state, sizeof(word) / sizeof(word[0]))];

		return string(text, strlen(text));
	}
	else if (reply.type == HF_CACHE_REPLY_STRING)
	{
		for (size_t i = 0; i < length; i++)
			noise[i] = (char) rnd(&random_state, 256);
		return string(noise, length);
	}
	return reply;
}

/* Is it one, and where does its payload begin? */
static bool
is_hit(const HfCacheReply *reply, const char *generation, size_t tags, size_t *begin)
{
	char line[HF_CACHE_TAGS_MAX * 300] = "";
	size_t length = 0;

	if (reply->type != HF_CACHE_REPLY_ARRAY || reply->elements != tags + 2)
		return false;
	for (size_t i = 0; i < reply->elements; i++)
		if (reply->element[i].type != HF_CACHE_REPLY_STRING)
			return false;
	for (size_t i = 0; i < tags; i++)
	{
		HfText token = reply->element[2 + i].text;

		if (token.length == 0 || token.length > HF_CACHE_TOKEN_MAX)
			return false;
		for (size_t k = 0; k < token.length; k++)
			if (token.data[k] < 33 || token.data[k] > 126)
				return false;
		length += (size_t) sprintf(line + length, "%s%.*s", i > 0 ? " " : "", (int) token.length,
								   token.data);
	}
	line[length++] = '\n';
	*begin = length;
	return same(reply->element[0].text, generation, strlen(generation)) &&
		reply->element[1].text.length >= length &&
		memcmp(reply->element[1].text.data, line, length) == 0;
}

static void
free_reply(HfCacheReply *reply, HfCacheReply *element, size_t elements)
{
	free((char *) reply->text.data);
	for (size_t i = 0; i < elements; i++)
		free((char *) element[i].text.data);
}

/* Judges a reply as one to a question; true if it is a hit. */
static bool
judge_asked(int round, const HfCacheEntry *entry, const HfCacheReply *reply)
{
	HfCacheSpace space;
	HfText payload = {NULL, 0};
	HfCacheAnswer answer;
	size_t begin = 0;
	bool expected = is_hit(reply, "5", entry->tags, &begin);

	hf_cache_space_begin(&space, PREFIX);
	strcpy(space.generation, "5");
	answer = hf_cache_asked(&space, entry, reply, &payload);
	check((answer == HF_CACHE_HIT) == expected, "round %d: %s", round, answer_name(answer));
	check(answer != HF_CACHE_HIT ||
			  same(payload, reply->element[1].text.data + begin,
				   reply->element[1].text.length - begin),
		  "round %d: the payload is another", round);
	check((answer == HF_CACHE_MOVED) == (strcmp(space.generation, "5") != 0),
		  "round %d: %s, and the generation is %s", round, answer_name(answer), space.generation);
	return answer == HF_CACHE_HIT;
}

/* Judges a reply as one to a request for a lease; true if there is one. */
static bool
judge_leased(int round, const HfCacheEntry *entry, const HfCacheReply *reply)
{
	HfCacheSpace space;
	HfCacheLease lease;
	HfCacheAnswer answer;
	unsigned char random[2 * HF_CACHE_RANDOM_BYTES] = {0};

	hf_cache_space_begin(&space, PREFIX);
	hf_cache_lease_begin(&lease, &space, entry, random);
	answer = hf_cache_leased(&lease, reply);
	check((answer == HF_CACHE_LEASED || answer == HF_CACHE_NOSCRIPT) == (lease.token[0] != '\0'),
		  "round %d: %s, and the lease is \"%s\"", round, answer_name(answer), lease.token);
	check(answer != HF_CACHE_LEASED || hf_cache_frame_length(&lease, 0) >= 2 * entry->tags,
		  "round %d: a token is empty", round);
	return answer == HF_CACHE_LEASED;
}

static void
test_random_replies(void)
{
	int hits = 0, leases = 0;

	for (int round = 0; round < ROUNDS; round++)
	{
		HfCacheEntry entry = entry_of("item:1");
		HfCacheReply element[HF_CACHE_REPLY_ELEMENTS] = {{.type = HF_CACHE_REPLY_NIL}};
		HfCacheReply reply = {.type = HF_CACHE_REPLY_ARRAY};
		size_t tags = rnd(&random_state, 3);
		size_t made = rnd(&random_state, 8) > 0 ? tags + 2 : rnd(&random_state, 6);

		for (size_t i = 0; i < tags; i++)
			hf_cache_entry_tag(&entry, "tag:x", NULL, 0);
		if (rnd(&random_state, 20) == 0)
			reply = any_element();
		for (size_t i = 0; i < made; i++)
			element[i] = i > 0 || rnd(&random_state, 2) > 0 ? any_element() : string("5", 1);
		reply.element = element;
		reply.elements = made;
		hits += judge_asked(round, &entry, &reply);
		leases += judge_leased(round, &entry, &reply);
		check(hf_cache_filled(&reply) != HF_CACHE_STORED, "round %d: stored", round);
		free_reply(&reply, element, made);
	}
	check(hits > ROUNDS / 500 && leases > ROUNDS / 1000, "only %d hits and %d leases", hits,
		  leases);
	claim("random replies are hits or leases only if they ought to be");
}

static HfCacheAnswer
judge_heartbeat(HfCacheReply heartbeat)
{
	HfCacheEntry entry = entry_of("item:1");
	HfCacheReply element[2] = {heartbeat, string("\nx", 2)};
	HfCacheReply reply = {.type = HF_CACHE_REPLY_ARRAY, .elements = 2, .element = element};
	HfCacheSpace space;
	HfText payload;
	HfCacheAnswer answer;

	hf_cache_space_begin(&space, PREFIX);
	strcpy(space.generation, "5");
	answer = hf_cache_asked(&space, &entry, &reply, &payload);
	free_reply(&(HfCacheReply){.type = HF_CACHE_REPLY_NIL}, element, 2);
	return answer;
}

static void
test_heartbeats(void)
{
	expect(judge_heartbeat(string("5", 1)), HF_CACHE_HIT, "5");
	expect(judge_heartbeat(string("6", 1)), HF_CACHE_MOVED, "6");
	expect(judge_heartbeat(string("51", 2)), HF_CACHE_MOVED, "51");
	expect(judge_heartbeat(string("18446744073709551615", 20)), HF_CACHE_MOVED, "2^64 - 1");
	expect(judge_heartbeat(string("100000000000000000000", 21)), HF_CACHE_OFF, "21 digits");
	expect(judge_heartbeat(string("", 0)), HF_CACHE_OFF, "an empty heartbeat");
	expect(judge_heartbeat(string("5\0", 2)), HF_CACHE_OFF, "5 and NUL");
	expect(judge_heartbeat(string("-5", 2)), HF_CACHE_OFF, "-5");
	expect(judge_heartbeat(string("5 ", 2)), HF_CACHE_OFF, "5 and a blank");
	expect(judge_heartbeat((HfCacheReply){.type = HF_CACHE_REPLY_NIL}), HF_CACHE_OFF, "nothing");
	expect(judge_heartbeat((HfCacheReply){.type = HF_CACHE_REPLY_INTEGER, .integer = 5}),
		   HF_CACHE_OFF, "an integer");
	claim("a heartbeat is a number of 1 to 20 digits, and all else is none");
}

static void
test_bounds(void)
{
	static HfCacheCommand command;
	HfCacheSpace space;
	HfCacheEntry entry;
	HfCacheLease lease;
	HfText frame = {"x", 1};
	unsigned char random[2 * HF_CACHE_RANDOM_BYTES] = {0};
	char prefix[HF_CACHE_PREFIX_MAX + 2], name[HF_CACHE_KEY_MAX + 1];
	size_t longest = 0;

	memset(prefix, 'p', sizeof(prefix));
	prefix[HF_CACHE_PREFIX_MAX + 1] = '\0';
	check(!hf_cache_space_begin(&space, prefix), "a prefix of %zu bytes is taken", strlen(prefix));
	prefix[HF_CACHE_PREFIX_MAX] = '\0';
	check(hf_cache_space_begin(&space, prefix), "a prefix of %zu bytes is not", strlen(prefix));
	strcpy(space.generation, "18446744073709551615");
	space.lease_ttl = space.tag_ttl = (unsigned) -1;
	memset(name, 'k', HF_CACHE_KEY_MAX);
	name[HF_CACHE_KEY_MAX] = '\0';
	entry = entry_of(name);
	memcpy(name, "tag:", 4);
	for (int i = 0; i < HF_CACHE_TAGS_MAX; i++)
		hf_cache_entry_tag(&entry, name, NULL, 0);
	hf_cache_ask(&command, &space, &entry);
	check(command.argc == 3 + HF_CACHE_TAGS_MAX, "%d arguments", command.argc);
	hf_cache_lease_begin(&lease, &space, &entry, random);
	hf_cache_lease(&command, &space, &entry, &lease, true);
	check(command.argc == HF_CACHE_ARGUMENTS, "%d arguments", command.argc);
	for (int i = 0; i < command.argc; i++)
		if (command.length[i] > longest && command.argv[i] != command.argv[1])
			longest = command.length[i];
	check(longest == strlen(prefix) + 20 + strlen(":value:{}") - 2 + 250 ||
			  longest == strlen(prefix) + 20 + strlen(":lease:{}") + 250,
		  "the longest name has %zu bytes", longest);
	hf_cache_fill(&command, &space, &lease, &frame, 0, true);
	check(command.argc == 10 && strcmp(command.argv[8], "1") == 0, "a TTL of 0 is %s",
		  command.argv[8]);
	claim("the longest prefix, key and tags still make commands");
}

void
test_replies(void)
{
	test_heartbeats();
	test_random_replies();
	test_bounds();
}
