/*
 * cache_protocol.c
 *		A reader's half of the cache protocol, without any I/O: docs/cache-protocol.md.
 *
 * Makes the names of what is in Redis, builds commands, and judges replies.  What is sent and
 * received is somebody else's: cache_reader.c waits for it, an event loop does not.
 *
 * Invariants: a hit is only what stood in Redis together with a heartbeat of the same generation,
 * under the tokens that its tags had at that moment.  A reply that has another form than the
 * command's is never a hit, a lease or a fill, whatever is in it; nothing of it is trusted to end
 * where it should.  No memory is allocated; all sizes are bounded by the constants of the header.
 * Nothing here is shared between threads.
 */
#include "cache_protocol.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LEASE_TTL 2000			 /* milliseconds: longer than the database takes to answer */
#define TAG_TTL	  (7200 * 1000u) /* milliseconds: longer than values live */

static const char lease_script[] =
	"if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end\n"
	"local tokens = {}\n"
	"for i = 2, #KEYS do\n"
	"  redis.call('SET', KEYS[i], ARGV[3], 'NX', 'PX', ARGV[4])\n"
	"  redis.call('PEXPIRE', KEYS[i], ARGV[4])\n"
	"  tokens[i - 1] = redis.call('GET', KEYS[i])\n"
	"end\n"
	"return tokens\n";
static const char lease_digest[] = "843ea3752e3d4d7145b126a64e867c349f7c6ed4"; /* SHA-1 */

static const char fill_script[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
								  "redis.call('DEL', KEYS[1])\n"
								  "if redis.call('GET', KEYS[3]) ~= ARGV[4] then return 0 end\n"
								  "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])\n"
								  "return 1\n";
static const char fill_digest[] = "fdd688321775bdd147d3b954a9ecd1204168310b"; /* SHA-1 */

/*
 * Begins an entry, with a key as hf_cache_key_make() makes it and no tags.  False if there is no
 * such key or it is a tag: nothing can be cached then.
 */
bool
hf_cache_entry_begin(HfCacheEntry *entry, const char *template, const HfText *values, size_t n)
{
	entry->tags = 0;
	return hf_cache_key_make(&entry->key, template, values, n) && !hf_cache_key_is_tag(&entry->key);
}

/*
 * Makes an entry depend on one more tag.  False if there are too many or it is no tag; the entry
 * must not be used then, because it would outlive a change.
 */
bool
hf_cache_entry_tag(HfCacheEntry *entry, const char *template, const HfText *values, size_t n)
{
	HfCacheKey *tag = &entry->tag[entry->tags];

	if (entry->tags == HF_CACHE_TAGS_MAX || !hf_cache_key_make(tag, template, values, n) ||
		!hf_cache_key_is_tag(tag))
		return false;
	entry->tags++;
	return true;
}

/* A cache with this prefix, of which nothing has been seen; false if the prefix is too long. */
bool
hf_cache_space_begin(HfCacheSpace *space, const char *prefix)
{
	size_t length = strlen(prefix);

	if (length > HF_CACHE_PREFIX_MAX)
		return false;
	memcpy(space->prefix, prefix, length + 1);
	strcpy(space->generation, "0");
	space->lease_ttl = LEASE_TTL;
	space->tag_ttl = TAG_TTL;
	return true;
}

static void
add_argument(HfCacheCommand *command, const char *data, size_t length)
{
	assert(command->argc < HF_CACHE_ARGUMENTS);
	command->argv[command->argc] = data;
	command->length[command->argc++] = length;
}

/* Adds what is printed, which the command's own text has room for. */
static void __attribute__((format(printf, 2, 3)))
add_printed(HfCacheCommand *command, const char *format, ...)
{
	char *text = command->text + command->used;
	size_t room = sizeof(command->text) - command->used;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text, room, format, args);
	va_end(args);
	assert(length >= 0 && (size_t) length < room);
	add_argument(command, text, (size_t) length);
	command->used += (size_t) length + 1;
}

static void
add_heartbeat(HfCacheCommand *command, const HfCacheSpace *space)
{
	add_printed(command, "%sheartbeat", space->prefix);
}

/* Adds the name of a value, a lease or a tag. */
static void
add_name(HfCacheCommand *command, const HfCacheSpace *space, const char *generation,
		 const char *kind, const HfCacheKey *key)
{
	add_printed(command, "%s%s:%s:{%s}", space->prefix, generation, kind, key->text);
}

static void
begin_script(HfCacheCommand *command, const char *script, const char *digest, bool whole,
			 size_t keys)
{
	const char *text = whole ? script : digest;

	command->argc = 0;
	command->used = 0;
	add_argument(command, whole ? "EVAL" : "EVALSHA", strlen(whole ? "EVAL" : "EVALSHA"));
	add_argument(command, text, strlen(text));
	add_printed(command, "%zu", keys);
}

/* Asks for heartbeat, value and tags; hf_cache_asked() judges the reply. */
void
hf_cache_ask(HfCacheCommand *command, const HfCacheSpace *space, const HfCacheEntry *entry)
{
	command->argc = 0;
	command->used = 0;
	add_argument(command, "MGET", strlen("MGET"));
	add_heartbeat(command, space);
	add_name(command, space, space->generation, "value", &entry->key);
	for (size_t i = 0; i < entry->tags; i++)
		add_name(command, space, space->generation, "tag", &entry->tag[i]);
}

static bool
same_text(const HfText *text, const char *other)
{
	return text->length == strlen(other) && memcmp(text->data, other, text->length) == 0;
}

/* Is it a string of 1 to `most` characters, all of them from `low` to `high`? */
static bool
is_text(const HfCacheReply *reply, size_t most, char low, char high)
{
	if (reply->type != HF_CACHE_REPLY_STRING || reply->text.length == 0 ||
		reply->text.length > most)
		return false;
	for (size_t i = 0; i < reply->text.length; i++)
		if (reply->text.data[i] < low || reply->text.data[i] > high)
			return false;
	return true;
}

static bool
is_generation(const HfCacheReply *reply)
{
	return is_text(reply, HF_CACHE_GENERATION_MAX, '0', '9');
}

/* A token is printable, and so can stand in the line of a stored value. */
static bool
is_token(const HfCacheReply *reply)
{
	return is_text(reply, HF_CACHE_TOKEN_MAX, '!', '~');
}

/* Takes a stored value apart; false unless it begins with just these tokens in one line. */
static bool
open_frame(const HfText *frame, const HfCacheReply *token, size_t tokens, HfText *payload)
{
	const char *p = frame->data;
	size_t left = frame->length;

	for (size_t i = 0; i < tokens; i++)
	{
		const HfText *text = &token[i].text;

		if (!is_token(&token[i]) || left <= text->length ||
			memcmp(p, text->data, text->length) != 0)
			return false;
		p += text->length;
		left -= text->length;
		if (i + 1 < tokens)
		{
			if (*p != ' ')
				return false;
			p++;
			left--;
		}
	}
	if (left == 0 || *p != '\n' || left - 1 > HF_CACHE_PAYLOAD_MAX)
		return false;
	payload->data = p + 1;
	payload->length = left - 1;
	return true;
}

/*
 * Judges the reply to hf_cache_ask(): OFF, MOVED, HIT, MISS or BROKEN.
 *
 * Of a hit the payload points into the reply.  MOVED has put the new generation into the space; one
 * who asks again and again gives up some time.  What is wrong with the value or a tag is a miss, a
 * heartbeat that is none is as good as no heartbeat, and so is an error.
 */
HfCacheAnswer
hf_cache_asked(HfCacheSpace *space, const HfCacheEntry *entry, const HfCacheReply *reply,
			   HfText *payload)
{
	const HfCacheReply *heartbeat, *value;

	if (reply->type == HF_CACHE_REPLY_ERROR)
		return HF_CACHE_OFF;
	if (reply->type != HF_CACHE_REPLY_ARRAY || reply->elements != 2 + entry->tags)
		return HF_CACHE_BROKEN;
	heartbeat = &reply->element[0];
	value = &reply->element[1];
	if (!is_generation(heartbeat))
		return HF_CACHE_OFF;
	if (!same_text(&heartbeat->text, space->generation))
	{
		memcpy(space->generation, heartbeat->text.data, heartbeat->text.length);
		space->generation[heartbeat->text.length] = '\0';
		return HF_CACHE_MOVED;
	}
	if (value->type == HF_CACHE_REPLY_STRING &&
		open_frame(&value->text, &reply->element[2], entry->tags, payload))
		return HF_CACHE_HIT;
	return HF_CACHE_MISS;
}

static void
write_token(char *token, const unsigned char *random)
{
	for (int i = 0; i < HF_CACHE_RANDOM_BYTES; i++)
		sprintf(token + 2 * i, "%02x", random[i]);
}

/*
 * Begins a lease for an entry that was a miss in the space's generation.  The random bytes are new
 * ones for each lease: they are what tells it from others.
 */
void
hf_cache_lease_begin(HfCacheLease *lease, const HfCacheSpace *space, const HfCacheEntry *entry,
					 const unsigned char random[2 * HF_CACHE_RANDOM_BYTES])
{
	lease->key = entry->key;
	memcpy(lease->generation, space->generation, sizeof(lease->generation));
	write_token(lease->token, random);
	write_token(lease->tag_token, random + HF_CACHE_RANDOM_BYTES);
	lease->tags = entry->tags;
	for (size_t i = 0; i < lease->tags; i++)
		lease->tag[i][0] = '\0';
}

/* Asks for a lease that was begun for the entry; hf_cache_leased() judges the reply. */
void
hf_cache_lease(HfCacheCommand *command, const HfCacheSpace *space, const HfCacheEntry *entry,
			   const HfCacheLease *lease, bool whole_script)
{
	begin_script(command, lease_script, lease_digest, whole_script, 1 + entry->tags);
	add_name(command, space, lease->generation, "lease", &entry->key);
	for (size_t i = 0; i < entry->tags; i++)
		add_name(command, space, lease->generation, "tag", &entry->tag[i]);
	add_argument(command, lease->token, strlen(lease->token));
	add_printed(command, "%u", space->lease_ttl);
	add_argument(command, lease->tag_token, strlen(lease->tag_token));
	add_printed(command, "%u", space->tag_ttl);
}

/* What an error in reply to a script means. */
static HfCacheAnswer
script_error(const HfCacheReply *reply)
{
	static const char noscript[] = "NOSCRIPT";

	return reply->text.length >= strlen(noscript) &&
			memcmp(reply->text.data, noscript, strlen(noscript)) == 0
		? HF_CACHE_NOSCRIPT
		: HF_CACHE_OFF;
}

/*
 * Judges the reply to hf_cache_lease(): LEASED, BUSY, NOSCRIPT, OFF or BROKEN.  Only LEASED leaves
 * a right to fill in the lease, and only what the database is asked for after that may be filled.
 */
HfCacheAnswer
hf_cache_leased(HfCacheLease *lease, const HfCacheReply *reply)
{
	HfCacheAnswer answer = HF_CACHE_LEASED;

	if (reply->type == HF_CACHE_REPLY_ERROR)
		answer = script_error(reply);
	else if (reply->type == HF_CACHE_REPLY_NIL)
		answer = HF_CACHE_BUSY;
	else if (reply->type != HF_CACHE_REPLY_ARRAY || reply->elements != lease->tags)
		answer = HF_CACHE_BROKEN;
	for (size_t i = 0; answer == HF_CACHE_LEASED && i < lease->tags; i++)
	{
		const HfCacheReply *token = &reply->element[i];

		/* A value with such a token could not be told from others: nothing can be filled. */
		if (!is_token(token))
			answer = HF_CACHE_OFF;
		else
		{
			memcpy(lease->tag[i], token->text.data, token->text.length);
			lease->tag[i][token->text.length] = '\0';
		}
	}
	if (answer != HF_CACHE_LEASED && answer != HF_CACHE_NOSCRIPT)
		lease->token[0] = '\0';
	return answer;
}

/* Bytes of a stored value with such a payload; 0 if it is too large to be stored. */
size_t
hf_cache_frame_length(const HfCacheLease *lease, size_t payload)
{
	size_t length = 1;

	if (payload > HF_CACHE_PAYLOAD_MAX)
		return 0;
	for (size_t i = 0; i < lease->tags; i++)
		length += strlen(lease->tag[i]) + (i > 0);
	return length + payload;
}

/* Writes a stored value, which has hf_cache_frame_length() bytes. */
void
hf_cache_frame(char *frame, const HfCacheLease *lease, const HfText *payload)
{
	for (size_t i = 0; i < lease->tags; i++)
	{
		if (i > 0)
			*frame++ = ' ';
		memcpy(frame, lease->tag[i], strlen(lease->tag[i]));
		frame += strlen(lease->tag[i]);
	}
	*frame++ = '\n';
	if (payload->length > 0)
		memcpy(frame, payload->data, payload->length);
}

/*
 * Fills with a stored value that lives so many milliseconds, 1 or more; hf_cache_filled() judges
 * the reply.  The lease is LEASED, and is used for this only, except again after NOSCRIPT.
 */
void
hf_cache_fill(HfCacheCommand *command, const HfCacheSpace *space, const HfCacheLease *lease,
			  const HfText *frame, unsigned ttl, bool whole_script)
{
	begin_script(command, fill_script, fill_digest, whole_script, 3);
	add_name(command, space, lease->generation, "lease", &lease->key);
	add_name(command, space, lease->generation, "value", &lease->key);
	add_heartbeat(command, space);
	add_argument(command, lease->token, strlen(lease->token));
	add_argument(command, frame->data, frame->length);
	add_printed(command, "%u", ttl > 0 ? ttl : 1);
	add_argument(command, lease->generation, strlen(lease->generation));
}

/* Judges the reply to hf_cache_fill(): STORED, REFUSED, NOSCRIPT, OFF or BROKEN. */
HfCacheAnswer
hf_cache_filled(const HfCacheReply *reply)
{
	if (reply->type == HF_CACHE_REPLY_ERROR)
		return script_error(reply);
	if (reply->type != HF_CACHE_REPLY_INTEGER)
		return HF_CACHE_BROKEN;
	return reply->integer == 1 ? HF_CACHE_STORED : HF_CACHE_REFUSED;
}
