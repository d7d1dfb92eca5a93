/*
 * metrics.h
 *		Figures of all workers, in memory that they share.
 *
 * Routes are numbered from 0; the number after the last one is for requests that no route took.
 */
#ifndef HF_METRICS_H
#define HF_METRICS_H

#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Counters, which only grow, and after them gauges, which a worker sets. */
typedef enum HfMetric
{
	HF_METRIC_CACHE_NEAR, /* by layer, in the order of HfCacheLayer */
	HF_METRIC_CACHE_REDIS,
	HF_METRIC_CACHE_DATABASE,
	HF_METRIC_CACHE_OFF,	  /* asked for while the cache was off */
	HF_METRIC_LIMITED_GLOBAL, /* refused, in the order of HfLimitScope */
	HF_METRIC_LIMITED_ADDRESS,
	HF_METRIC_LIMITED_ACCOUNT,
	HF_METRIC_LIMITED_LOCALLY, /* judged while Redis was away */
	HF_METRIC_FRAMING_REFUSED, /* requests that never reached a route */
	HF_METRIC_PG_STATEMENTS,
	HF_METRIC_PG_BATCHES, /* Syncs */
	HF_METRIC_PG_LOST,	  /* statements without an answer */
	HF_METRIC_PG_RECONNECTS,
	HF_METRIC_PG_FULL, /* requests refused because a lane was full or down */
	HF_METRIC_REDIS_COMMANDS,
	HF_METRIC_REDIS_LOST,
	HF_METRIC_REDIS_RECONNECTS,
	HF_METRIC_CLIENTS_LEFT, /* clients that left before their answer */
	HF_METRIC_TIMED_OUT,
	HF_METRIC_PURCHASE_BATCHES,
	HF_METRIC_PURCHASE_LINES,  /* in those */
	HF_METRIC_PURCHASE_SPLITS, /* batches that failed as a whole and were sent again by halves */
	HF_METRIC_PURCHASES_FULL,  /* refused because too many were waiting, or the lane was down */
	HF_METRIC_LIVE_REFUSED,	   /* purchases, from memory */
	HF_METRIC_LIVE_LOADS,
	HF_METRIC_TICKETS,
	HF_METRIC_TICKETS_REFUSED, /* because as many were out as there may be */
	HF_METRIC_TICKETS_LOCALLY, /* asked for while Redis was away */
	HF_METRIC_LIVE_EVENTS,	   /* sent to watchers of sales */
	HF_METRIC_LIVE_DROPPED,	   /* watchers who took nothing for too long */
	HF_METRIC_HASHES,
	HF_METRIC_HASHES_FULL, /* refused because the queue was full */
	HF_METRIC_LOG_LOST,	   /* lines that the log could not take */
	HF_METRIC_CONNECTIONS, /* from here on gauges */
	HF_METRIC_REQUESTS_OPEN,
	HF_METRIC_PG_UP_READ, /* in the order of HfPgLane */
	HF_METRIC_PG_UP_WRITE,
	HF_METRIC_PG_UP_SLOW,
	HF_METRIC_PG_UP_PURCHASE,
	HF_METRIC_PG_UP_LIVE,
	HF_METRIC_PG_WAITING_READ,
	HF_METRIC_PG_WAITING_WRITE,
	HF_METRIC_PG_WAITING_SLOW,
	HF_METRIC_PG_WAITING_PURCHASE,
	HF_METRIC_PG_WAITING_LIVE,
	HF_METRIC_PURCHASES_WAITING,
	HF_METRIC_LIVE_SALES,
	HF_METRIC_LIVE_WATCHERS,
	HF_METRIC_REDIS_UP,
	HF_METRIC_CACHE_ON,
	HF_METRIC_NEAR_ENTRIES,
	HF_METRIC_NEAR_BYTES,
	HF_METRIC_HASHES_WAITING,
	HF_METRICS
} HfMetric;

#define HF_METRIC_FIRST_GAUGE HF_METRIC_CONNECTIONS

#define HF_METRICS_STATUS_MIN 100
#define HF_METRICS_STATUS_MAX 599
#define HF_METRICS_STATUSES	  (HF_METRICS_STATUS_MAX - HF_METRICS_STATUS_MIN + 1)
#define HF_METRICS_BUCKETS	  17 /* the last one is without a bound */

/* What became of the requests of a route. */
typedef struct HfRouteFigures
{
	uint64_t status[HF_METRICS_STATUSES]; /* from HF_METRICS_STATUS_MIN on */
	uint64_t bucket[HF_METRICS_BUCKETS];  /* each without those below it */
	uint64_t microseconds;
} HfRouteFigures;

/* What a worker's process is like. */
typedef struct HfProcessFigures
{
	double started; /* seconds since 1970 */
	uint64_t cpu;	/* nanoseconds */
	uint64_t memory;
	uint64_t files;
} HfProcessFigures;

/* The method or the pattern of a route. */
typedef const char *(*HfRouteText)(unsigned route);

extern const uint64_t hf_metrics_bound[HF_METRICS_BUCKETS - 1]; /* microseconds */

extern bool hf_metrics_create(unsigned workers, unsigned routes);
extern void hf_metrics_begin(unsigned worker);
extern void hf_metrics_add(HfMetric counter, unsigned long n);
extern void hf_metrics_set(HfMetric gauge, unsigned long value);
extern void hf_metrics_request(unsigned route, int status, unsigned long microseconds);
extern void hf_metrics_process(void);

extern uint64_t hf_metrics_value(HfMetric metric);
extern unsigned hf_metrics_routes(void);
extern void hf_metrics_route(unsigned route, HfRouteFigures *sum);
extern unsigned hf_metrics_workers(void);
extern bool hf_metrics_worker(unsigned worker, HfProcessFigures *figures);

extern char *hf_metrics_text(HfRouteText method, HfRouteText pattern, size_t *length);
extern char *hf_metrics_families(const HfText *json, size_t *length);

#endif
