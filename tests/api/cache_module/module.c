/*
 * module.c
 *		A small Kore application around the read cache, for tests/api/cache.py.
 *
 * The cache, Redis and the loop are the real ones; settings, log and figures are stand-ins in this
 * file.  The database is asked synchronously, but at a time that the request chooses, so that
 * a load takes as long as a test wants, before its snapshot and after it.
 *
 * GET /item?id=N	 the version of an item. shelf=S: with a tag. before=, after=: milliseconds of a
 *					 load around the query. ttl=: of the entry. fail=1: the load fails. pad=: bytes
 *					 that are added.  The answer is "LAYER VERSION", where the layer of the one who
 *					 loads is "load", or "failed".
 * GET /flood?from=N&n=N&pad=N	 asks for n entries at once, each of which any load brings at once.
 * GET /stats		 figures, a line each.
 * GET /noop
 */
#include "kore.h"

#include <kore/hooks.h>
#include <kore/seccomp.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "config.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "near_cache.h"
#include "redis.h"

#define TTL 60000

KORE_SECCOMP_FILTER("cache", KORE_SYSCALL_ALLOW(newfstatat), KORE_SYSCALL_ALLOW(uname),
					KORE_SYSCALL_ALLOW(getdents64), KORE_SYSCALL_ALLOW(rseq),
					KORE_SYSCALL_ALLOW(mremap))

/* A request that waits, or whose client has left. */
typedef struct Asking
{
	struct http_request *request;
	bool ready, sleeping;
	char text[128];
	size_t length, pad;
	long id, before, after, ttl;
	bool fail;
	HfCacheLoad *load;
	long left, twice; /* of a flood */
	unsigned char *answered;
	size_t bytes;
} Asking;

typedef struct Floating
{
	Asking *asking;
	long index;
} Floating;

HfConfig hf_config;

static char conninfo[300], redis_address[300], prefix[100];
static PGconn *conn;
static unsigned long metric[HF_METRICS];
static unsigned long gets, answers, loads;

int noop(struct http_request *);
int item(struct http_request *);
int flood(struct http_request *);
int stats(struct http_request *);

void
hf_log(HfLogLevel level, const char *event, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%d %s: ", level, event);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
}

void
hf_metrics_add(HfMetric counter, unsigned long n)
{
	metric[counter] += n;
}

void
hf_metrics_set(HfMetric gauge, unsigned long value)
{
	metric[gauge] = value;
}

/* Settings are lines "name value", in the working directory. */
void
kore_parent_configure(int argc, char **argv)
{
	FILE *file = fopen("settings", "r");
	char name[50], value[300];

	(void) argc;
	(void) argv;
	if (file == NULL)
		fatal("no settings");
	while (fscanf(file, "%49s %299[^\n]", name, value) == 2)
	{
		if (strcmp(name, "database") == 0)
			strcpy(conninfo, value);
		else if (strcmp(name, "redis") == 0)
			strcpy(redis_address, value);
		else if (strcmp(name, "prefix") == 0)
			snprintf(prefix, sizeof(prefix), "%.99s", value);
		else if (strcmp(name, "near_cache") == 0)
			hf_config.near_cache = (size_t) atol(value);
		else if (strcmp(name, "redis_timeout") == 0)
			hf_config.redis_timeout = (unsigned) atoi(value);
	}
	fclose(file);
	hf_config.redis = redis_address;
	hf_config.cache_prefix = prefix;
	hf_config.cache_ttl = 3600 * 1000;
	setvbuf(stdout, NULL, _IOLBF, 0);
}

void
kore_worker_configure(void)
{
	hf_loop_start();
	hf_redis_start();
	if (!hf_cache_start())
		fatal("no cache");
}

void
kore_worker_teardown(void)
{
	hf_redis_stop();
}

static long
number(const struct http_request *request, const char *name, long otherwise)
{
	const char *at = request->query_string;
	size_t length = strlen(name);

	while (at != NULL)
	{
		if (strncmp(at, name, length) == 0 && at[length] == '=')
			return atol(at + length + 1);
		at = strchr(at, '&');
		at = at != NULL ? at + 1 : NULL;
	}
	return otherwise;
}

/* The version that the database has now; -1 if it does not answer. */
static long
read_database(long id)
{
	char text[24];
	const char *values[] = {text};
	PGresult *result;
	long version = -1;

	if (conn == NULL || PQstatus(conn) != CONNECTION_OK)
	{
		PQfinish(conn);
		conn = PQconnectdb(conninfo);
	}
	snprintf(text, sizeof(text), "%ld", id);
	result = PQexecParams(conn, "SELECT version FROM item WHERE id = $1", 1, NULL, values, NULL,
						  NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		version = atol(PQgetvalue(result, 0, 0));
	else
		fprintf(stderr, "database: %s\n", PQerrorMessage(conn));
	PQclear(result);
	return version;
}

static void
finish(Asking *asking)
{
	answers++;
	asking->ready = true;
	if (asking->request == NULL)
		free(asking);
	else if (asking->sleeping)
		http_request_wakeup(asking->request);
}

static void
give_back(void *arg)
{
	Asking *asking = arg;
	size_t length = asking->length + asking->pad;
	char *text = malloc(length + 1);
	HfText payload = {text, length};
	long ttl = asking->ttl;
	bool fail = asking->fail;
	HfCacheLoad *load = asking->load;

	memset(text, ' ', length);
	memcpy(text, asking->text, asking->length);
	memmove(asking->text + strlen("load "), asking->text, asking->length);
	memcpy(asking->text, "load ", strlen("load "));
	asking->length += strlen("load ");
	finish(asking);
	hf_cache_loaded(load, fail ? NULL : &payload, (unsigned) ttl);
	free(text);
}

static void
query(void *arg)
{
	Asking *asking = arg;

	asking->length = (size_t) snprintf(asking->text, 60, "%ld", read_database(asking->id));
	if (asking->after > 0)
		hf_loop_after((unsigned) asking->after, give_back, asking);
	else
		give_back(asking);
}

static void
item_done(void *arg, const HfCacheResult *result)
{
	static const char *const layer[] = {"near", "redis", "database"};
	Asking *asking = arg;

	if (result->load != NULL)
	{
		loads++;
		asking->load = result->load;
		if (asking->before > 0)
			hf_loop_after((unsigned) asking->before, query, asking);
		else
			query(asking);
		return;
	}
	if (result->payload == NULL)
		asking->length = (size_t) snprintf(asking->text, sizeof(asking->text), "failed -1");
	else
		asking->length =
			(size_t) snprintf(asking->text, sizeof(asking->text), "%s %.*s", layer[result->layer],
							  (int) (result->payload->length < 20 ? result->payload->length : 20),
							  result->payload->data);
	finish(asking);
}

static void
forget(struct http_request *request)
{
	Asking **state = request->hdlr_extra;

	request->onfree = NULL;
	if (state == NULL || *state == NULL)
		return;
	if ((*state)->ready)
		free(*state);
	else
		(*state)->request = NULL;
	*state = NULL;
}

/* Begins a request; NULL if it has begun, and is to be answered now. */
static Asking *
begin(struct http_request *request, Asking **known)
{
	Asking **state = request->hdlr_extra;
	Asking *asking;

	if (state != NULL)
	{
		*known = *state;
		return NULL;
	}
	request->owner->http_timeout = 0;
	state = http_state_create(request, sizeof(*state), forget);
	asking = calloc(1, sizeof(*asking));
	asking->request = request;
	*state = *known = asking;
	return asking;
}

static int
reply_or_sleep(struct http_request *request, Asking *asking)
{
	if (!asking->ready)
	{
		asking->sleeping = true;
		http_request_sleep(request);
		return KORE_RESULT_RETRY;
	}
	http_response(request, 200, asking->text, asking->length);
	return KORE_RESULT_OK;
}

int
item(struct http_request *request)
{
	Asking *known, *asking = begin(request, &known);

	if (asking != NULL)
	{
		HfCacheEntry entry;
		char id[24], shelf[24];
		HfText value = {id, 0}, tag = {shelf, 0};
		long on = number(request, "shelf", -1);

		asking->id = number(request, "id", 1);
		asking->before = number(request, "before", 0);
		asking->after = number(request, "after", 0);
		asking->ttl = number(request, "ttl", TTL);
		asking->pad = (size_t) number(request, "pad", 0);
		asking->fail = number(request, "fail", 0) != 0;
		value.length = (size_t) snprintf(id, sizeof(id), "%ld", asking->id);
		tag.length = (size_t) snprintf(shelf, sizeof(shelf), "%ld", on);
		if (!hf_cache_entry_begin(&entry, on < 0 ? "item:{id}" : "shelved:{id}", &value, 1) ||
			(on >= 0 && !hf_cache_entry_tag(&entry, "tag:shelf:{shelf}", &tag, 1)))
			fatal("no entry");
		gets++;
		hf_cache_get(&entry, item_done, asking);
	}
	return reply_or_sleep(request, known);
}

static void
flood_done(void *arg, const HfCacheResult *result)
{
	Floating *one = arg;
	Asking *asking = one->asking;

	asking->twice += asking->answered[one->index]++ > 0;
	answers++;
	if (result->load != NULL)
	{
		char *text = calloc(1, asking->pad + 1);
		HfText payload = {text, asking->pad};

		loads++;
		hf_cache_loaded(result->load, &payload, TTL);
		free(text);
	}
	asking->bytes += result->payload != NULL ? result->payload->length : 0;
	free(one);
	if (--asking->left > 0)
		return;
	asking->length = (size_t) snprintf(asking->text, sizeof(asking->text), "%ld %zu", asking->twice,
									   asking->bytes);
	free(asking->answered);
	answers--; /* finish() counts one */
	finish(asking);
}

int
flood(struct http_request *request)
{
	Asking *known, *asking = begin(request, &known);

	if (asking != NULL)
	{
		long from = number(request, "from", 0), n = number(request, "n", 1);

		asking->pad = (size_t) number(request, "pad", 0);
		asking->left = n;
		asking->answered = calloc((size_t) n, 1);
		for (long i = 0; i < n; i++)
		{
			Floating *one = malloc(sizeof(*one));
			HfCacheEntry entry;
			char id[24];
			HfText value = {id, (size_t) snprintf(id, sizeof(id), "%ld", from + i)};

			*one = (Floating){asking, i};
			if (!hf_cache_entry_begin(&entry, "flood:{id}", &value, 1))
				fatal("no entry");
			gets++;
			hf_cache_get(&entry, flood_done, one);
		}
	}
	return reply_or_sleep(request, known);
}

int
stats(struct http_request *request)
{
	char text[600];
	int length = snprintf(
		text, sizeof(text),
		"pid %d\ngets %lu\nanswers %lu\nloads %lu\nnear %lu\nredis %lu\ndatabase %lu\noff %lu\n"
		"commands %lu\nlost %lu\nconnects %lu\nup %d\non %d\nalive %d\nentries %lu\nbytes %lu\n",
		(int) getpid(), gets, answers, loads, metric[HF_METRIC_CACHE_NEAR],
		metric[HF_METRIC_CACHE_REDIS], metric[HF_METRIC_CACHE_DATABASE],
		metric[HF_METRIC_CACHE_OFF], metric[HF_METRIC_REDIS_COMMANDS], metric[HF_METRIC_REDIS_LOST],
		metric[HF_METRIC_REDIS_RECONNECTS], hf_redis_is_up(), hf_cache_is_on(),
		hf_near_cache_is_alive(), metric[HF_METRIC_NEAR_ENTRIES], metric[HF_METRIC_NEAR_BYTES]);

	http_response(request, 200, text, (size_t) length);
	return KORE_RESULT_OK;
}

int
noop(struct http_request *request)
{
	http_response(request, 200, "near 1", 6);
	return KORE_RESULT_OK;
}
