/*
 * near_cache.c
 *		The hottest entries in the worker's own memory, and what the channel says about entries.
 *
 * By the rules of docs/cache-protocol.md, "The channel".  The messages have an order, and so has
 * everything else by the last message before it: a moment.  The moment of the last message that
 * named a key or a tag is written into a table, at a place that its hash chooses.  What was asked
 * for before that moment is void.  Names that share a place void each other's entries, which costs
 * a miss; that is all that is remembered of names, so neither keys that are not here nor tags take
 * any memory, and a tag of a million entries is void with one store.
 *
 * Invariants: an entry is served only while the last message is known to have been sent less than
 * SILENCE_MAX ago; hf_redis_heard() is the time that dates it.  Whatever breaks the chain of
 * messages (a gap, a lost or new subscription, another generation, a message that is none) empties
 * the cache and voids what has been asked for until then.  An entry lives no longer than what it
 * was made of, and LIFE_MAX.  A hit allocates and frees nothing, and its payload stays where it is
 * until the loop handles the next event.  Entries with the table they are found by have no more
 * than the bytes of hf_near_cache_create(); the table of moments comes on top, and is fixed.
 */
#include "near_cache.h"

#include "loop.h"
#include "metrics.h"
#include "redis.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SILENCE_MAX	 1500			/* milliseconds: of the protocol */
#define LIFE_MAX	 5000			/* milliseconds that an entry is kept, at most */
#define MARKS		 65536			/* moments in the table; the top 16 bits of a hash choose */
#define ENTRY_PART	 16				/* an entry takes no larger part of the memory than 1/16 */
#define ENTRY_MAX	 (1024 * 1024)	/* bytes, nor more than this */
#define BUCKET_BYTES 1024			/* of the memory, for each place of the table of entries */
#define CHUNK_BYTES	 sizeof(size_t) /* that malloc() takes for itself */

/* An entry, followed by its marks, its key and its payload. */
typedef struct NearEntry
{
	struct NearEntry *next;			   /* of its bucket */
	struct NearEntry *older, *younger; /* in the order of the second chance */
	uint64_t hash;
	HfNearMoment asked;
	uint64_t expires; /* hf_loop_now() */
	size_t bytes;
	size_t marks, key, payload; /* lengths */
	bool used;					/* since it was last spared */
	uint32_t mark[];
} NearEntry;

static HfNearMoment mark[MARKS];	   /* when a name with such a hash was last named */
static HfNearMoment moment = 1, begun; /* of the last message; what was asked before is void */
static uint64_t dated;				   /* when the last message was sent, or later; 0: none came */
static bool subscribed;
static char generation[HF_CACHE_GENERATION_MAX + 1]; /* of the last message */

static NearEntry **bucket;
static size_t buckets; /* a power of 2; 0: there is no near cache */
static NearEntry *oldest, *youngest;
static size_t bytes_max, bytes_used, entries;
static uint64_t secret[2]; /* so that nobody can choose names with equal hashes */

static uint64_t
mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128) a * b;

	return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static uint64_t
hash_text(const char *text, size_t length)
{
	uint64_t hash = secret[0] ^ length, word;

	for (; length >= sizeof(word); text += sizeof(word), length -= sizeof(word))
	{
		memcpy(&word, text, sizeof(word));
		hash = mix(hash ^ word, secret[1]);
	}
	word = 0;
	memcpy(&word, text, length);
	return mix(mix(hash ^ word, secret[1]), secret[0]);
}

static uint32_t
mark_of(uint64_t hash)
{
	return (uint32_t) (hash >> 48) % MARKS;
}

/* Begins, with room for so many bytes of entries; false if there is no memory for it. */
bool
hf_near_cache_create(size_t bytes)
{
	if (getrandom(secret, sizeof(secret), 0) != (ssize_t) sizeof(secret))
		return false;
	secret[0] |= 1;
	secret[1] |= 1;
	if (bytes < BUCKET_BYTES * ENTRY_PART)
		return true;
	for (buckets = 1; buckets * 2 <= bytes / BUCKET_BYTES;)
		buckets *= 2;
	bucket = calloc(buckets, sizeof(void *));
	if (bucket == NULL)
		return false;
	bytes_max = bytes;
	bytes_used = buckets * sizeof(void *);
	return true;
}

void
hf_near_cache_names(HfNearNames *names, const HfCacheEntry *entry)
{
	names->hash = hash_text(entry->key.text, entry->key.length);
	names->marks = 1 + entry->tags;
	names->mark[0] = mark_of(names->hash);
	for (size_t i = 0; i < entry->tags; i++)
		names->mark[1 + i] = mark_of(hash_text(entry->tag[i].text, entry->tag[i].length));
}

static NearEntry **
find(uint64_t hash, const char *key, size_t length)
{
	NearEntry **at = &bucket[hash & (buckets - 1)];

	for (; *at != NULL; at = &(*at)->next)
	{
		const NearEntry *entry = *at;

		if (entry->hash == hash && entry->key == length &&
			memcmp(&entry->mark[entry->marks], key, length) == 0)
			break;
	}
	return at;
}

/* Puts an entry at the end where the youngest are. */
static void
line_up(NearEntry *entry)
{
	entry->older = youngest;
	entry->younger = NULL;
	*(youngest != NULL ? &youngest->younger : &oldest) = entry;
	youngest = entry;
}

static void
leave_line(NearEntry *entry)
{
	*(entry->older != NULL ? &entry->older->younger : &oldest) = entry->younger;
	*(entry->younger != NULL ? &entry->younger->older : &youngest) = entry->older;
}

static void
drop(NearEntry **at)
{
	NearEntry *entry = *at;

	assert(entry != NULL);
	*at = entry->next;
	leave_line(entry);
	bytes_used -= entry->bytes;
	entries--;
	free(entry);
}

/* Drops the entry that was stored first of those that were not used since they were last spared. */
static void
evict(void)
{
	NearEntry *entry = oldest;

	for (; entry->used; entry = oldest)
	{
		entry->used = false;
		leave_line(entry);
		line_up(entry);
	}
	drop(find(entry->hash, (const char *) &entry->mark[entry->marks], entry->key));
}

/* Voids whatever was asked for until now. */
static void
forget(void)
{
	NearEntry *younger;

	begun = ++moment;
	if (entries == 0)
		return;
	for (NearEntry *entry = oldest; entry != NULL; entry = younger)
	{
		younger = entry->younger;
		bytes_used -= entry->bytes;
		free(entry);
	}
	memset(bucket, 0, buckets * sizeof(void *));
	oldest = youngest = NULL;
	entries = 0;
}

static bool
is_silent(uint64_t now)
{
	return !subscribed || dated == 0 || now - dated >= SILENCE_MAX;
}

/* The subscription was confirmed or lost. */
void
hf_near_cache_state(bool up)
{
	subscribed = up;
	dated = 0;
	generation[0] = '\0';
	forget();
}

/* Takes the first line from a text; false if there is no more. */
static bool
next_line(HfText *text, HfText *line)
{
	const char *end;

	if (text->data == NULL)
		return false;
	*line = *text;
	end = text->length > 0 ? memchr(text->data, '\n', text->length) : NULL;
	if (end == NULL)
	{
		text->data = NULL;
		return true;
	}
	line->length = (size_t) (end - text->data);
	text->data += line->length + 1;
	text->length -= line->length + 1;
	return true;
}

static bool
is_generation(const HfText *line)
{
	for (size_t i = 0; i < line->length; i++)
		if (line->data[i] < '0' || line->data[i] > '9')
			return false;
	return line->length > 0 && line->length <= HF_CACHE_GENERATION_MAX;
}

/* A message without a generation is of one that no entry has. */
static void
set_generation(const HfText *line)
{
	size_t length = is_generation(line) ? line->length : 0;

	if (length > 0 && strlen(generation) == length && memcmp(generation, line->data, length) == 0)
		return;
	memcpy(generation, line->data, length);
	generation[length] = '\0';
	forget();
}

/* Takes in a message of the channel. */
void
hf_near_cache_message(const HfText *text)
{
	HfText rest = *text, line = {"", 0};

	if (is_silent(hf_loop_now()))
		forget();
	dated = hf_redis_heard();
	moment++;
	(void) next_line(&rest, &line);
	set_generation(&line);
	while (next_line(&rest, &line))
	{
		uint64_t hash = hash_text(line.data, line.length);

		mark[mark_of(hash)] = moment;
		if (entries > 0)
		{
			NearEntry **at = find(hash, line.data, line.length);

			if (*at != NULL)
				drop(at);
		}
	}
}

/* To be called now and then: after a gap the entries' memory is free for others. */
void
hf_near_cache_tick(void)
{
	if (entries > 0 && is_silent(hf_loop_now()))
		forget();
	hf_metrics_set(HF_METRIC_NEAR_ENTRIES, entries);
	hf_metrics_set(HF_METRIC_NEAR_BYTES, bytes_used);
}

/* Does the channel tell of changes? */
bool
hf_near_cache_is_alive(void)
{
	return !is_silent(hf_loop_now());
}

/* Would an entry be kept? */
bool
hf_near_cache_keeps(void)
{
	return buckets > 0 && hf_near_cache_is_alive();
}

/* Now, for hf_near_cache_is_void() and hf_near_cache_put(). */
HfNearMoment
hf_near_cache_moment(void)
{
	return moment;
}

/*
 * May what was asked for in that moment have changed since?  While the channel is not alive there
 * may have been changes of which nothing is known.
 */
bool
hf_near_cache_is_void(const HfNearNames *names, HfNearMoment since)
{
	if (since < begun)
		return true;
	for (size_t i = 0; i < names->marks; i++)
		if (mark[names->mark[i]] > since)
			return true;
	return false;
}

/* Finds an entry.  The payload is valid until the caller's caller returns to the loop. */
bool
hf_near_cache_get(const HfNearNames *names, const HfCacheKey *key, HfText *payload)
{
	NearEntry *entry;
	uint64_t now;

	if (entries == 0)
		return false;
	entry = *find(names->hash, key->text, key->length);
	if (entry == NULL)
		return false;
	now = hf_loop_now();
	if (is_silent(now) || now >= entry->expires || entry->marks != names->marks ||
		memcmp(entry->mark, names->mark, entry->marks * sizeof(entry->mark[0])) != 0 ||
		hf_near_cache_is_void(names, entry->asked))
		return false;
	entry->used = true;
	payload->data = (const char *) &entry->mark[entry->marks] + entry->key;
	payload->length = entry->payload;
	return true;
}

/* Frees the place of a new entry, and memory for it; false if what is there is as good. */
static bool
make_way(const HfNearNames *names, const HfCacheKey *key, HfNearMoment asked, size_t bytes)
{
	NearEntry **at = find(names->hash, key->text, key->length);

	if (bytes > bytes_max / ENTRY_PART || bytes > ENTRY_MAX)
		return false;
	if (*at != NULL && (*at)->asked > asked && !hf_near_cache_is_void(names, (*at)->asked))
		return false;
	if (*at != NULL)
		drop(at);
	while (entries > 0 && bytes_used + bytes > bytes_max)
		evict();
	return bytes_used + bytes <= bytes_max;
}

/*
 * Keeps an entry of a generation that was asked for in a moment before it was read, until a time of
 * hf_loop_now() at most.  Not to be called while the payload of a hit is in use.
 */
void
hf_near_cache_put(const HfNearNames *names, const HfCacheKey *key, const char *of_generation,
				  HfNearMoment asked, uint64_t expires, const HfText *payload)
{
	size_t marks = names->marks * sizeof(names->mark[0]);
	size_t bytes = (sizeof(NearEntry) + marks + key->length + payload->length + CHUNK_BYTES + 15) &
		~(size_t) 15;
	uint64_t now = hf_loop_now();
	NearEntry *entry, **at;

	if (buckets == 0 || is_silent(now) || now >= expires ||
		strcmp(generation, of_generation) != 0 || hf_near_cache_is_void(names, asked) ||
		!make_way(names, key, asked, bytes))
		return;
	entry = malloc(bytes - CHUNK_BYTES);
	if (entry == NULL)
		return;
	*entry = (NearEntry){.hash = names->hash,
						 .asked = asked,
						 .expires = expires < now + LIFE_MAX ? expires : now + LIFE_MAX,
						 .bytes = bytes,
						 .marks = names->marks,
						 .key = key->length,
						 .payload = payload->length};
	memcpy(entry->mark, names->mark, marks);
	memcpy(&entry->mark[entry->marks], key->text, key->length);
	if (payload->length > 0)
		memcpy((char *) &entry->mark[entry->marks] + key->length, payload->data, payload->length);
	at = &bucket[entry->hash & (buckets - 1)];
	entry->next = *at;
	*at = entry;
	line_up(entry);
	bytes_used += bytes;
	entries++;
}
