/*
 * cache_publish.c
 *		The worker's half of docs/cache-protocol.md: what it writes to Redis.
 *
 * Everything that is ready is deleted and published, in pipelines; each key once however many
 * transactions named it.  If anything was lost, or may have been, the generation is raised first;
 * what waited in the ring until then is covered by that and thrown away.  An entry of the ring is
 * freed only after Redis has answered, so a failure repeats it, which is harmless.
 *
 * The heartbeat ends at a time of Redis's clock.  That clock is known from the last answer: it
 * has moved on by at least what has passed here since, so the deadline is never too late, even if
 * the command lies in the queue of a frozen server for an hour.
 *
 * Every function that speaks to Redis returns false on failure, after which the connection is to
 * be closed.
 */
#include "postgres.h"

#include <limits.h>

#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "cache_key.h"
#include "cache_publish.h"
#include "cache_set.h"
#include "guc.h"

/* Keys after which a pipeline is sent, and those that one command names. */
#define PIPELINE_KEYS 1024
#define COMMAND_KEYS  256

/*
 * Redis's clock, and a heartbeat's life from now on: longer than ARGV[2] only if it was set back.
 */
#define CLOCK                                                  \
	"local time = redis.call('TIME') "                         \
	"local now = time[1] * 1000 + math.floor(time[2] / 1000) " \
	"local last = math.min(tonumber(ARGV[2]), now + " CppAsString2(HF_CACHE_BEAT_LIFE_MS) ") "

/*
 * Keys: generation, heartbeat. Arguments: generation, end of the heartbeat, channel.  One that
 * comes too late says nothing.
 */
static const char beat_script[] =
	CLOCK "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
		  "if last > now then "
		  "redis.call('SET', KEYS[2], ARGV[1], 'PXAT', string.format('%.0f', last)) "
		  "redis.call('PUBLISH', ARGV[3], ARGV[1]) "
		  "end "
		  "return time[1] * 1000000 + time[2]";

/* The same keys. Arguments: least generation, end of the heartbeat (0: none), channel. */
static const char raise_script[] =
	CLOCK "local old = tonumber(redis.call('GET', KEYS[1]) or '0') or 0 "
		  "local new = string.format('%.0f', math.max(old + 1, tonumber(ARGV[1]))) "
		  "redis.call('SET', KEYS[1], new) "
		  "if last > now then "
		  "redis.call('SET', KEYS[2], new, 'PXAT', string.format('%.0f', last)) "
		  "else redis.call('DEL', KEYS[2]) end "
		  "redis.call('PUBLISH', ARGV[3], new) "
		  "return new";

/* Writes the prefix of this database: in the setting, %d stands for its name, and %% for %. */
static void
hf_publisher_write_prefix(HfPublisher *p)
{
	resetStringInfo(&p->prefix);
	for (const char *s = hf_cache_prefix; *s != '\0'; s++)
	{
		if (s[0] == '%' && s[1] == 'd')
			appendStringInfoString(&p->prefix, p->database);
		else
			appendStringInfoChar(&p->prefix, *s);
		if (s[0] == '%' && (s[1] == 'd' || s[1] == '%'))
			s++;
	}
}

static void
hf_publisher_write_name(const HfPublisher *p, StringInfo name, const char *what)
{
	resetStringInfo(name);
	appendStringInfo(name, "%s%s", p->prefix.data, what);
}

/* What decides where the cache is, and what it is called. */
static uint32
hf_publisher_hash_settings(void)
{
	uint32 hash = hash_uint32(hf_redis_database);

	hash = hash_combine(hash, string_hash(hf_redis_address, INT_MAX));
	hash = hash_combine(hash, string_hash(hf_redis_service, INT_MAX));
	hash = hash_combine(hash, string_hash(hf_redis_user, INT_MAX));
	return hash_combine(hash, string_hash(hf_cache_prefix, INT_MAX));
}

/* Takes up changed settings, after which the connection is to be made anew. */
void
hf_publisher_reload(HfPublisher *p)
{
	uint32 settings = hf_publisher_hash_settings();

	if (settings == p->settings)
		return;
	p->settings = settings;
	hf_publisher_write_prefix(p);
	hf_publisher_write_name(p, &p->heartbeat, "heartbeat");
	hf_publisher_write_name(p, &p->generation, "generation");
	hf_publisher_write_name(p, &p->channel, "invalidations");
	if (p->redis != NULL)
		hf_publisher_disconnect(p);
}

/* To be called once, in a transaction. What it makes lives as long as the process. */
void
hf_publisher_init(HfPublisher *p, HfCacheDatabase *db)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	memset(p, 0, sizeof(HfPublisher));
	p->db = db;
	p->database = get_database_name(MyDatabaseId);
	p->context =
		AllocSetContextCreate(TopMemoryContext, "holdfast cache pipeline", ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&p->batch);
	initStringInfo(&p->prefix);
	initStringInfo(&p->heartbeat);
	initStringInfo(&p->generation);
	initStringInfo(&p->channel);
	p->settings = ~hf_publisher_hash_settings();
	hf_publisher_reload(p);
	MemoryContextSwitchTo(old);
}

/* The whole cache is to be abandoned before anything else. */
void
hf_publisher_drift(HfPublisher *p, const char *reason)
{
	if (!p->adrift)
		strlcpy(p->adrift_reason, reason, HF_CACHE_REASON_MAX);
	p->adrift = true;
}

static void
hf_publisher_note_time(HfPublisher *p, int64 redis_time)
{
	INSTR_TIME_SET_CURRENT(p->told_at);
	p->redis_time = redis_time;
}

static bool
hf_publisher_ask_time(HfPublisher *p)
{
	const char *command[] = {"TIME"};
	HfRedisAnswer answer, seconds, micros;

	if (!hf_redis_send(p->redis, 1, command, NULL) || !hf_redis_receive(p->redis, &answer))
		return false;
	if (!hf_redis_element(p->redis, 0, &seconds) || seconds.type != HF_REDIS_TEXT ||
		!hf_redis_element(p->redis, 1, &micros) || micros.type != HF_REDIS_TEXT)
		return false;
	hf_publisher_note_time(p, atoll(seconds.text) * 1000000 + atoll(micros.text));
	return true;
}

/* Connects, unless there is nobody; then false, and `error` says why. */
bool
hf_publisher_connect(HfPublisher *p, char *error)
{
	HfCacheReport *report = &p->db->report;

	p->redis = hf_redis_open(error);
	if (p->redis == NULL)
		return false;
	if (!hf_publisher_ask_time(p))
	{
		strlcpy(error, hf_redis_error(p->redis), HF_REDIS_ERROR_MAX);
		hf_publisher_disconnect(p);
		return false;
	}
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	report->connected = true;
	LWLockRelease(hf_cache_ring_lock);
	if (report->generation == 0)
		hf_publisher_drift(p, "the server was started");
	else if (report->settings != p->settings)
		hf_publisher_drift(p, "settings were changed");
	else if (strcmp(report->run_id, hf_redis_run_id(p->redis)) != 0)
		hf_publisher_drift(p, "another Redis, or Redis was restarted");
	return true;
}

void
hf_publisher_disconnect(HfPublisher *p)
{
	hf_redis_close(p->redis);
	p->redis = NULL;
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	p->db->report.connected = false;
	LWLockRelease(hf_cache_ring_lock);
}

/*
 * When a heartbeat of this round ends, in milliseconds of Redis's clock; 0: there is to be none.
 * What was committed since the round began may be missing in Redis: its life begins there.
 */
static int64
hf_publisher_beat_end(const HfPublisher *p)
{
	instr_time passed;

	if (p->blocked)
		return 0;
	passed = p->began_at;
	INSTR_TIME_SUBTRACT(passed, p->told_at);
	return (p->redis_time + (int64) INSTR_TIME_GET_MICROSEC(passed)) / 1000 + HF_CACHE_BEAT_LIFE_MS;
}

/* Runs one of the scripts. */
static bool
hf_publisher_run(HfPublisher *p, const char *script, int64 generation, HfRedisAnswer *answer)
{
	char number[24], end[24];
	const char *command[] =
		{"EVAL", script, "2", p->generation.data, p->heartbeat.data, number, end, p->channel.data};

	snprintf(number, sizeof(number), INT64_FORMAT, generation);
	snprintf(end, sizeof(end), INT64_FORMAT, hf_publisher_beat_end(p));
	return hf_redis_send(p->redis, lengthof(command), command, NULL) &&
		hf_redis_receive(p->redis, answer);
}

/* Microseconds since 1970: higher than any generation of before, even if Redis has forgotten it. */
static int64
hf_publisher_least_generation(void)
{
	return GetCurrentTimestamp() +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC;
}

static void
hf_publisher_report_raise(HfPublisher *p, int64 generation, uint32 wanted)
{
	HfCacheReport *report = &p->db->report;

	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	report->generation = generation;
	report->raised_at = report->beat_at = GetCurrentTimestamp();
	report->raised++;
	strlcpy(report->reason, p->adrift_reason, HF_CACHE_REASON_MAX);
	strlcpy(report->run_id, hf_redis_run_id(p->redis), HF_CACHE_RUN_ID_MAX);
	report->settings = p->settings;
	pg_atomic_fetch_sub_u32(&p->db->abandon, wanted);
	LWLockRelease(hf_cache_ring_lock);
	p->adrift = false;
}

/*
 * Abandons the whole cache.  Commits that want it after their number was read are left
 * for the next time; entries that were ready before are covered.
 */
static bool
hf_publisher_raise(HfPublisher *p)
{
	uint32 wanted;
	HfRedisAnswer answer;

	LWLockAcquire(hf_cache_ring_lock, LW_SHARED);
	wanted = pg_atomic_read_u32(&p->db->abandon);
	if (wanted > 0)
		hf_publisher_drift(p, p->db->abandon_reason);
	LWLockRelease(hf_cache_ring_lock);
	hf_cache_ring_empty(p->db);
	if (!hf_publisher_run(p, raise_script, hf_publisher_least_generation(), &answer))
		return false;
	if (answer.type != HF_REDIS_TEXT || atoll(answer.text) <= 0)
		return false;
	hf_publisher_report_raise(p, atoll(answer.text), wanted);
	return true;
}

/* Sends the commands for keys of the set, from `first` on, up to COMMAND_KEYS. */
static bool
hf_publisher_send_keys(HfPublisher *p, const HfCacheSet *set, int first)
{
	int64 generation = p->db->report.generation;
	int count = Min(set->nkeys - first, COMMAND_KEYS);
	const char **argv = palloc(sizeof(char *) * (2 * count + 1));
	const char *publish[] = {"PUBLISH", p->channel.data, NULL};
	StringInfoData message;
	int argc = 0;

	initStringInfo(&message);
	appendStringInfo(&message, INT64_FORMAT, generation);
	argv[argc++] = "UNLINK";
	for (int i = first; i < first + count; i++)
	{
		int length;
		const char *key = hf_cache_set_get(set, i, &length);
		bool tag = hf_cache_key_is_tag(key, length);

		argv[argc++] = psprintf("%s" INT64_FORMAT ":%s:{%.*s}", p->prefix.data, generation,
								tag ? "tag" : "value", length, key);
		if (!tag)
			argv[argc++] = psprintf("%s" INT64_FORMAT ":lease:{%.*s}", p->prefix.data, generation,
									length, key);
		appendStringInfo(&message, "\n%.*s", length, key);
	}
	publish[2] = message.data;
	return hf_redis_send(p->redis, argc, argv, NULL) &&
		hf_redis_send(p->redis, lengthof(publish), publish, NULL);
}

/* Deletes and publishes all keys of the set. */
static bool
hf_publisher_send_set(HfPublisher *p, const HfCacheSet *set)
{
	HfRedisAnswer answer;
	int answers = 0;

	for (int first = 0; first < set->nkeys; first += COMMAND_KEYS, answers += 2)
		if (!hf_publisher_send_keys(p, set, first))
			return false;
	for (; answers > 0; answers--)
		if (!hf_redis_receive(p->redis, &answer))
			return false;
	return true;
}

/* Takes keys from the ring until they fill a pipeline. Returns the number of entries. */
static int
hf_publisher_collect(HfPublisher *p, HfCacheSet *set, int *keys, TimestampTz *oldest)
{
	uint32 entry = 0;
	int entries = 0;
	int nkeys;
	TimestampTz ready_at;

	*keys = 0;
	while (*keys < PIPELINE_KEYS)
	{
		resetStringInfo(&p->batch);
		if (!hf_cache_ring_read(p->db, &entry, &p->batch, &nkeys, &ready_at))
			break;
		for (const char *s = p->batch.data; s < p->batch.data + p->batch.len; s += (uint8) *s + 1)
			(void) hf_cache_set_add(set, s + 1, (uint8) *s, 0);
		*oldest = entries == 0 ? ready_at : Min(*oldest, ready_at);
		*keys += nkeys;
		entries++;
	}
	return entries;
}

/* Publishes a pipeline's worth of what was taken; *entries is 0 if there was nothing. */
static bool
hf_publisher_publish(HfPublisher *p, int *entries)
{
	MemoryContext old = MemoryContextSwitchTo(p->context);
	HfCacheSet set;
	int keys;
	TimestampTz oldest = 0;
	bool sent;

	MemoryContextReset(p->context);
	hf_cache_set_init(&set, p->context);
	*entries = hf_publisher_collect(p, &set, &keys, &oldest);
	sent = *entries > 0 && hf_publisher_send_set(p, &set);
	MemoryContextSwitchTo(old);
	if (!sent)
		return *entries == 0;
	hf_cache_ring_free(p->db, *entries);
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	p->db->report.lag = Max(p->db->report.lag, GetCurrentTimestamp() - oldest);
	p->db->report.published += set.nkeys;
	p->db->report.coalesced += keys - set.nkeys;
	LWLockRelease(hf_cache_ring_lock);
	return true;
}

/* To be called before anything of a round is looked at. */
void
hf_publisher_begin_round(HfPublisher *p)
{
	INSTR_TIME_SET_CURRENT(p->began_at);
}

/* Brings to Redis all that was ready when it was called. */
bool
hf_publisher_work(HfPublisher *p)
{
	int entries;

	if ((p->adrift || pg_atomic_read_u32(&p->db->abandon) > 0) && !hf_publisher_raise(p))
		return false;
	hf_cache_ring_take(p->db);
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	p->db->report.lag = 0;
	LWLockRelease(hf_cache_ring_lock);
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!hf_publisher_publish(p, &entries))
			return false;
	} while (entries > 0);
	return true;
}

/*
 * Tells readers that invalidation is alive. If Redis has lost the generation, the next work
 * raises it.
 */
bool
hf_publisher_beat(HfPublisher *p)
{
	HfRedisAnswer answer;

	if (!hf_publisher_run(p, beat_script, p->db->report.generation, &answer))
		return false;
	if (answer.type != HF_REDIS_INTEGER || answer.integer == 0)
	{
		hf_publisher_drift(p, "the generation was gone from Redis");
		return true;
	}
	hf_publisher_note_time(p, answer.integer);
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	p->db->report.beat_at = GetCurrentTimestamp();
	LWLockRelease(hf_cache_ring_lock);
	return true;
}

/* Takes the heartbeat back: readers leave the cache at once. */
bool
hf_publisher_stop_beating(HfPublisher *p)
{
	const char *command[] = {"UNLINK", p->heartbeat.data};
	HfRedisAnswer answer;

	return hf_redis_send(p->redis, lengthof(command), command, NULL) &&
		hf_redis_receive(p->redis, &answer);
}
