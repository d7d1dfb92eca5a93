/*
 * guc.c
 *		The settings of the extension, in alphabetical order, and nowhere else.
 *
 * Each can be set when the library is loaded into one backend only; those of the workers
 * (reaper_*, worker_role, lane_calm) matter only where there are workers or reap() is called.
 * extension/README.md has the table for operators; a check keeps it complete.
 */
#include "postgres.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "guc.h"

char *hf_cache_prefix = NULL;
int hf_cache_ring_kb = 8 * 1024;
int hf_key_retention = 24 * 3600;
int hf_key_wait = 1000;
int hf_lane_calm = 30;
bool hf_lane_locking = true;
int hf_lane_max = 1024;
int hf_lifetime_max = 24 * 3600;
int hf_lock_timeout = 5000;
int hf_node = 0;
int hf_reaper_batch = 1000;
int hf_reaper_interval = 1000;
char *hf_redis_address = NULL;
int hf_redis_database = 0;
const char *hf_redis_password = "";
char *hf_redis_service = NULL;
int hf_redis_timeout = 500;
char *hf_redis_user = NULL;
int hf_ttl_default = 600;
int hf_ttl_max = 24 * 3600;
char *hf_worker_role = NULL;

/* Always the same, so that the server does not log that it has changed, and to what. */
#define STARS "********"
static char *shown_password = NULL;

/* Check hook: keeps the password aside. */
static bool
hf_guc_hide_password(char **value, void **extra, GucSource source)
{
	char *stars;

	(void) source;
	*extra = strdup(*value);
	stars = strdup(STARS);
	if (*extra == NULL || stars == NULL)
	{
		free(*extra);
		free(stars);
		return false;
	}
	free(*value);
	*value = stars;
	return true;
}

/* Assign hook. */
static void
hf_guc_take_password(const char *value, void *extra)
{
	(void) value;
	hf_redis_password = extra;
}

void
hf_guc_register(void)
{
	DefineCustomStringVariable("holdfast.cache_prefix",
							   "What the names of everything in Redis begin with.",
							   "%d stands for the name of the database.", &hf_cache_prefix,
							   "holdfast:%d:", PGC_SIGHUP, 0, NULL, NULL, NULL);
	/* Without preloading there is no ring, and no time left to set this. */
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("holdfast.cache_ring_size",
								"Shared memory for cache keys on their way to Redis.",
								"When it is full, the whole cache is abandoned.", &hf_cache_ring_kb,
								8 * 1024, 64, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL,
								NULL);
	DefineCustomIntVariable("holdfast.key_retention",
							"Shortest time that an idempotency key is remembered.",
							"Keys are dropped all at once, between one and two of these later.",
							&hf_key_retention, 24 * 3600, 1, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomIntVariable("holdfast.key_wait",
							"Longest that a call waits for another one with the same key.",
							"Then the key is in flight.", &hf_key_wait, 1000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.lane_calm",
							"Time without contention after which a SKU's lanes are merged by half.",
							NULL, &hf_lane_calm, 30, 1, 24 * 3600, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomBoolVariable(
		"holdfast.lane_locking", "Queues buyers at a lane with an advisory lock.",
		"Off proves that the lock is only a queue: the conditional update keeps "
		"the guarantee, slowly. For tests.",
		&hf_lane_locking, true, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.lane_max",
							"Most lanes that contention or set_lanes() gives a SKU.", NULL,
							&hf_lane_max, 1024, 1, HF_LANE_LIMIT, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.lifetime_max",
							"Longest time from a hold's beginning to its last deadline.",
							"Extending and holding again cannot go beyond it; a pinned hold can.",
							&hf_lifetime_max, 24 * 3600, 1, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"holdfast.lock_timeout",
		"Longest that a call waits for other transactions; 0 leaves it to lock_timeout.", NULL,
		&hf_lock_timeout, 5000, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.node",
							"Number of this server among those that make ids with new_id().",
							"Two servers of one number can make the same id.", &hf_node, 0, 0,
							HF_NODE_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.reaper_batch",
							"Most holds that the reaper ends in one transaction.", NULL,
							&hf_reaper_batch, 1000, 1, 100000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.reaper_interval", "Time between two sweeps of the reaper.",
							"A sweep that took long makes the next one wait ten times as long.",
							&hf_reaper_interval, 1000, 10, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL,
							NULL, NULL);
	DefineCustomStringVariable("holdfast.redis_address",
							   "Redis servers, or their sentinels, separated by commas.",
							   "host:port, [IPv6 address]:port, or the path of a Unix socket.",
							   &hf_redis_address, "127.0.0.1:6379", PGC_SIGHUP, 0, NULL, NULL,
							   NULL);
	DefineCustomIntVariable("holdfast.redis_database", "Number of the Redis database.", NULL,
							&hf_redis_database, 0, 0, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("holdfast.redis_password", "Password for Redis.", NULL,
							   &shown_password, "", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   hf_guc_hide_password, hf_guc_take_password, NULL);
	DefineCustomStringVariable("holdfast.redis_service",
							   "Name by which sentinels know the Redis to be used.", NULL,
							   &hf_redis_service, "mymaster", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.redis_timeout",
							"Longest that the cache worker waits for an answer of Redis.", NULL,
							&hf_redis_timeout, 500, 10, 10000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL,
							NULL);
	DefineCustomStringVariable("holdfast.redis_user", "User for Redis; empty: its default user.",
							   NULL, &hf_redis_user, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("holdfast.ttl_default",
							"Time to live of a hold when the caller gives none.", NULL,
							&hf_ttl_default, 600, 1, INT_MAX, PGC_USERSET, GUC_UNIT_S, NULL, NULL,
							NULL);
	DefineCustomIntVariable("holdfast.ttl_max", "Longest time to live that a caller may ask for.",
							NULL, &hf_ttl_max, 24 * 3600, 1, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomStringVariable("holdfast.worker_role",
							   "Role that background workers connect as; must not be a superuser.",
							   NULL, &hf_worker_role, "holdfast_worker", PGC_SIGHUP, 0, NULL, NULL,
							   NULL);
	MarkGUCPrefixReserved("holdfast");
}
