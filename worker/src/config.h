/*
 * config.h
 *		The settings of conf/worker.conf, which documents them.
 *
 * Read before the worker processes are forked; nothing changes afterwards.
 */
#ifndef HF_CONFIG_H
#define HF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define HF_PROVIDERS_MAX 16

/* A provider that is called by HTTP. */
typedef struct HfProviderConfig
{
	char *name;
	char *url;
	char *secret_file; /* empty: none */
	unsigned timeout;  /* milliseconds, as all times */
	unsigned calls;	   /* at a time */
} HfProviderConfig;

typedef struct HfConfig
{
	char *user;
	unsigned workers;
	unsigned drain_timeout;

	char *database; /* conninfo */
	unsigned database_timeout;

	unsigned batch; /* calls of a statement */
	unsigned lease;
	unsigned poll_interval;

	bool simulated; /* whether the built-in provider does its work */
	HfProviderConfig provider[HF_PROVIDERS_MAX];
	size_t providers;
} HfConfig;

extern HfConfig hf_config;

extern bool hf_config_load(const char *path, char *error, size_t room);

#endif
