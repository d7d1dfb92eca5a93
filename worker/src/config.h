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
	char *protocol;		   /* holdfast or stripe */
	char *secret_file;	   /* empty: none */
	unsigned timeout;	   /* milliseconds, as all times */
	unsigned calls;		   /* at a time */
	unsigned search_delay; /* how long a call may be missing in what stripe's search finds */
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

	bool clock; /* whether it runs what the database has due */
	bool jobs;	/* whether jobs of the queue are done */

	char *mail_server;	/* URL; empty: none */
	char *mail_spool;	/* directory; empty: none */
	char *mail_tls;		/* required, opportunistic or off */
	char *mail_ca_file; /* empty: the system's */
	char *mail_user;	/* empty: no login */
	char *mail_password_file;
	char *mail_from;
	char *mail_link;	  /* URL of the shop's pages */
	char *mail_templates; /* directory */
	unsigned mail_jobs;	  /* at a time */
	unsigned mail_timeout;

	char *image_source;	   /* directory of uploads; empty: no images are made */
	char *image_directory; /* where the sizes go */
	unsigned image_jobs;
	unsigned image_timeout;
	unsigned image_pixels; /* millions */
	size_t image_memory;

	unsigned webhook_jobs;
	unsigned webhook_timeout;
	bool webhook_private; /* whether private addresses may be called */

	bool simulated; /* whether the built-in provider does its work */
	HfProviderConfig provider[HF_PROVIDERS_MAX];
	size_t providers;
} HfConfig;

extern HfConfig hf_config;

extern bool hf_config_load(const char *path, char *error, size_t room);

#endif
