/*
 * config.h
 *		The settings of conf/api.conf, which documents them.
 *
 * Read in the parent before the workers are forked; nothing changes afterwards.
 */
#ifndef HF_CONFIG_H
#define HF_CONFIG_H

#include "setting.h"

#include <stdbool.h>
#include <stddef.h>

/* What a rate limit is of. */
typedef enum HfLimitScope
{
	HF_LIMIT_GLOBAL,
	HF_LIMIT_ADDRESS,
	HF_LIMIT_ACCOUNT, /* of requests that nobody is logged in for: none */
	HF_LIMIT_SCOPES
} HfLimitScope;

/* The classes of routes that have limits of their own. */
typedef enum HfLimitClass
{
	HF_LIMIT_READ,
	HF_LIMIT_WRITE,
	HF_LIMIT_LOGIN,	   /* whatever hashes a password */
	HF_LIMIT_REGISTER, /* new accounts, and mails to strangers */
	HF_LIMIT_BATCH,
	HF_LIMIT_WEBHOOK,
	HF_LIMIT_SALE, /* tickets and purchases */
	HF_LIMIT_CLASSES,
	HF_LIMIT_NONE = HF_LIMIT_CLASSES /* for the operator's routes */
} HfLimitClass;

/* Times are in milliseconds and sizes in bytes. */
typedef struct HfConfig
{
	char *database;						/* conninfo, with addresses instead of the names of hosts */
	unsigned database_read_connections; /* of each worker, as all that follows */
	unsigned database_write_connections;
	unsigned database_slow_connections;
	unsigned database_purchase_connections;
	unsigned database_read_queue;
	unsigned database_write_queue;
	unsigned database_slow_queue;

	char *redis; /* "unix:PATH", or ADDRESS:PORT */
	unsigned redis_timeout;
	char *cache_prefix; /* empty: as the extension does by default */
	unsigned cache_ttl;
	size_t near_cache;

	unsigned request_timeout;
	unsigned slow_timeout; /* of requests of the slow lane */
	unsigned drain_timeout;

	char *token_keys; /* a file */
	char *token_issuer;
	char *token_audience;
	unsigned token_ttl;
	unsigned refresh_ttl;

	unsigned ticket_ttl;
	unsigned purchase_batch; /* lines */
	unsigned purchase_queue;
	unsigned purchase_wait;
	unsigned live_watchers;
	unsigned live_heartbeat;

	unsigned hash_threads;
	unsigned hash_queue;
	size_t hash_memory;
	unsigned hash_passes;

	char *upload_directory; /* empty: pictures are refused */
	size_t upload_max;
	size_t batch_max;
	size_t body_max;

	char **cors_origins;	/* ends with NULL */
	char **trusted_proxies; /* addresses; ends with NULL */
	bool access_log;
	bool bench; /* whether /bench/noop is there */

	HfRate limit[HF_LIMIT_CLASSES][HF_LIMIT_SCOPES];
} HfConfig;

extern HfConfig hf_config;

extern bool hf_config_load(const char *path, char *error, size_t room);

#endif
