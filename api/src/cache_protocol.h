/*
 * cache_protocol.h
 *		A reader's half of the cache protocol, without any I/O: docs/cache-protocol.md.
 *
 * Who reads the cache makes an entry of a key and its tags, and then sends commands and has their
 * replies judged: hf_cache_ask() until the answer is a hit, a miss or off; after a miss
 * hf_cache_lease(), then the database, then hf_cache_fill().
 */
#ifndef HF_CACHE_PROTOCOL_H
#define HF_CACHE_PROTOCOL_H

#include "cache_key.h"

#define HF_CACHE_PREFIX_MAX		128
#define HF_CACHE_TAGS_MAX		16
#define HF_CACHE_GENERATION_MAX 20 /* digits */
#define HF_CACHE_TOKEN_MAX		64
#define HF_CACHE_RANDOM_BYTES	16 /* of a token that we make, which is their hex */
#define HF_CACHE_PAYLOAD_MAX	(16 * 1024 * 1024)

/* Bytes of the longest reply that is none of an error: one value with its tokens. */
#define HF_CACHE_FRAME_MAX (HF_CACHE_TAGS_MAX * (HF_CACHE_TOKEN_MAX + 1) + 1 + HF_CACHE_PAYLOAD_MAX)

/* What is asked for: a key, and the tags that its value depends on, in an order that is kept. */
typedef struct HfCacheEntry
{
	HfCacheKey key;
	size_t tags;
	HfCacheKey tag[HF_CACHE_TAGS_MAX];
} HfCacheEntry;

/* A cache: how its names begin, and the generation that was last seen there. */
typedef struct HfCacheSpace
{
	char prefix[HF_CACHE_PREFIX_MAX + 1];
	char generation[HF_CACHE_GENERATION_MAX + 1];
	unsigned lease_ttl; /* milliseconds */
	unsigned tag_ttl;	/* milliseconds; longer than any value's and a lease's together */
} HfCacheSpace;

/* The right to fill one value once, with the tokens that its tags had when it was given. */
typedef struct HfCacheLease
{
	HfCacheKey key;
	char generation[HF_CACHE_GENERATION_MAX + 1];
	char token[2 * HF_CACHE_RANDOM_BYTES + 1];	   /* empty: there is no right */
	char tag_token[2 * HF_CACHE_RANDOM_BYTES + 1]; /* for tags that have none */
	size_t tags;
	char tag[HF_CACHE_TAGS_MAX][HF_CACHE_TOKEN_MAX + 1];
} HfCacheLease;

/* Longest name, and the arguments of the longest command: a lease with all its tags. */
#define HF_CACHE_NAME_MAX \
	(HF_CACHE_PREFIX_MAX + HF_CACHE_GENERATION_MAX + sizeof(":value:{}") + HF_CACHE_KEY_MAX)
#define HF_CACHE_ARGUMENTS (3 + 1 + HF_CACHE_TAGS_MAX + 4)

/*
 * A command, as hiredis's ...CommandArgv() functions take it.  It points into itself and to what it
 * was made of: it cannot be copied, and is sent before any of that changes.
 */
typedef struct HfCacheCommand
{
	int argc;
	const char *argv[HF_CACHE_ARGUMENTS];
	size_t length[HF_CACHE_ARGUMENTS];
	size_t used;
	char text[(HF_CACHE_TAGS_MAX + 3) * HF_CACHE_NAME_MAX];
} HfCacheCommand;

typedef enum HfCacheReplyType
{
	HF_CACHE_REPLY_NIL,
	HF_CACHE_REPLY_STRING,
	HF_CACHE_REPLY_INTEGER,
	HF_CACHE_REPLY_ERROR,
	HF_CACHE_REPLY_ARRAY,
	HF_CACHE_REPLY_OTHER
} HfCacheReplyType;

/* Elements that a reply to one of our commands may have. */
#define HF_CACHE_REPLY_ELEMENTS (2 + HF_CACHE_TAGS_MAX)

/* A reply of Redis, whatever library it came through. An array of more elements is OTHER. */
typedef struct HfCacheReply
{
	HfCacheReplyType type;
	long long integer;
	HfText text;	 /* of a string or an error */
	size_t elements; /* of an array */
	const struct HfCacheReply *element;
} HfCacheReply;

typedef enum HfCacheAnswer
{
	HF_CACHE_OFF,	   /* nothing can be said or done: use the database, fill nothing */
	HF_CACHE_MOVED,	   /* the generation is a new one: ask again */
	HF_CACHE_HIT,	   /* here is the payload */
	HF_CACHE_MISS,	   /* ask for a lease */
	HF_CACHE_LEASED,   /* read the database, then fill */
	HF_CACHE_BUSY,	   /* another has the lease: wait, or use the database and fill nothing */
	HF_CACHE_STORED,   /* filled */
	HF_CACHE_REFUSED,  /* not filled: there was a change, or the cache is off */
	HF_CACHE_NOSCRIPT, /* send the command again, with its whole script */
	HF_CACHE_BROKEN	   /* not a reply to that command: use this connection no more */
} HfCacheAnswer;

extern bool hf_cache_space_begin(HfCacheSpace *space, const char *prefix);
extern bool hf_cache_entry_begin(HfCacheEntry *entry, const char *template, const HfText *values,
								 size_t n);
extern bool hf_cache_entry_tag(HfCacheEntry *entry, const char *template, const HfText *values,
							   size_t n);

extern void hf_cache_ask(HfCacheCommand *command, const HfCacheSpace *space,
						 const HfCacheEntry *entry);
extern HfCacheAnswer hf_cache_asked(HfCacheSpace *space, const HfCacheEntry *entry,
									const HfCacheReply *reply, HfText *payload);

extern void hf_cache_lease_begin(HfCacheLease *lease, const HfCacheSpace *space,
								 const HfCacheEntry *entry,
								 const unsigned char random[2 * HF_CACHE_RANDOM_BYTES]);
extern void hf_cache_lease(HfCacheCommand *command, const HfCacheSpace *space,
						   const HfCacheEntry *entry, const HfCacheLease *lease, bool whole_script);
extern HfCacheAnswer hf_cache_leased(HfCacheLease *lease, const HfCacheReply *reply);

extern size_t hf_cache_frame_length(const HfCacheLease *lease, size_t payload);
extern void hf_cache_frame(char *frame, const HfCacheLease *lease, const HfText *payload);
extern void hf_cache_fill(HfCacheCommand *command, const HfCacheSpace *space,
						  const HfCacheLease *lease, const HfText *frame, unsigned ttl,
						  bool whole_script);
extern HfCacheAnswer hf_cache_filled(const HfCacheReply *reply);

#endif
