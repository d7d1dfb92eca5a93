/*
 * metrics_text.c
 *		Figures as text, in the format of Prometheus (text format, version 0.0.4).
 *
 * Two parts that are sent one after the other: the application's own figures, and those that
 * rest.metrics() has brought as JSON.  Families of the one are not in the other.  Those of the
 * first part are all there from the start; a route has samples once it was asked for.  The label
 * `route` is a pattern, so that their number is bounded.
 */
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* A family, or one more sample of the family before it: then without a help. */
typedef struct Family
{
	HfMetric metric;
	const char *name; /* without "holdfast_" */
	const char *label;
	const char *help;
} Family;

static const Family families[] = {
	{HF_METRIC_CACHE_NEAR, "cache_reads_total", "layer=\"near\"",
	 "Reads through the cache, by the layer that answered."},
	{HF_METRIC_CACHE_REDIS, "cache_reads_total", "layer=\"redis\"", NULL},
	{HF_METRIC_CACHE_DATABASE, "cache_reads_total", "layer=\"database\"", NULL},
	{HF_METRIC_CACHE_OFF, "cache_off_reads_total", NULL,
	 "Reads asked for while the cache was off."},
	{HF_METRIC_LIMITED_GLOBAL, "rate_limited_total", "scope=\"global\"",
	 "Requests refused by a rate limit, by what it is of."},
	{HF_METRIC_LIMITED_ADDRESS, "rate_limited_total", "scope=\"address\"", NULL},
	{HF_METRIC_LIMITED_ACCOUNT, "rate_limited_total", "scope=\"account\"", NULL},
	{HF_METRIC_LIMITED_LOCALLY, "rate_limit_local_checks_total", NULL,
	 "Rate limits judged by a worker alone, because Redis was away."},
	{HF_METRIC_FRAMING_REFUSED, "http_framing_refused_total", NULL,
	 "Requests refused before they reached a route, because of their form."},
	{HF_METRIC_CLIENTS_LEFT, "http_clients_left_total", NULL,
	 "Clients that left before their answer."},
	{HF_METRIC_TIMED_OUT, "http_requests_timed_out_total", NULL,
	 "Requests that were given up because of their deadline."},
	{HF_METRIC_CONNECTIONS, "http_connections", NULL, "Open connections of clients."},
	{HF_METRIC_REQUESTS_OPEN, "http_requests_open", NULL, "Requests without an answer."},
	{HF_METRIC_PG_STATEMENTS, "database_statements_total", NULL, "Statements sent to PostgreSQL."},
	{HF_METRIC_PG_BATCHES, "database_batches_total", NULL,
	 "Groups of statements that were sent to PostgreSQL with one Sync."},
	{HF_METRIC_PG_LOST, "database_statements_lost_total", NULL,
	 "Statements that PostgreSQL has not answered."},
	{HF_METRIC_PG_RECONNECTS, "database_reconnects_total", NULL,
	 "Connections to PostgreSQL that were made again."},
	{HF_METRIC_PG_FULL, "database_refused_total", NULL,
	 "Requests refused because a lane to PostgreSQL was full or down."},
	{HF_METRIC_PG_UP_READ, "database_connections", "lane=\"read\"",
	 "Connections to PostgreSQL that are up, by lane."},
	{HF_METRIC_PG_UP_WRITE, "database_connections", "lane=\"write\"", NULL},
	{HF_METRIC_PG_UP_SLOW, "database_connections", "lane=\"slow\"", NULL},
	{HF_METRIC_PG_UP_PURCHASE, "database_connections", "lane=\"purchase\"", NULL},
	{HF_METRIC_PG_UP_LIVE, "database_connections", "lane=\"live\"", NULL},
	{HF_METRIC_PG_WAITING_READ, "database_statements_waiting", "lane=\"read\"",
	 "Statements that wait for their answer, by lane."},
	{HF_METRIC_PG_WAITING_WRITE, "database_statements_waiting", "lane=\"write\"", NULL},
	{HF_METRIC_PG_WAITING_SLOW, "database_statements_waiting", "lane=\"slow\"", NULL},
	{HF_METRIC_PG_WAITING_PURCHASE, "database_statements_waiting", "lane=\"purchase\"", NULL},
	{HF_METRIC_PG_WAITING_LIVE, "database_statements_waiting", "lane=\"live\"", NULL},
	{HF_METRIC_PURCHASE_BATCHES, "purchase_batches_total", NULL,
	 "Batches of purchases sent to PostgreSQL."},
	{HF_METRIC_PURCHASE_LINES, "purchase_lines_total", NULL, "Purchases in these batches."},
	{HF_METRIC_PURCHASE_SPLITS, "purchase_splits_total", NULL,
	 "Batches that failed as a whole and were sent again by halves."},
	{HF_METRIC_PURCHASES_FULL, "purchases_refused_total", NULL,
	 "Purchases refused because too many were waiting, or PostgreSQL was away."},
	{HF_METRIC_PURCHASES_WAITING, "purchases_waiting", NULL,
	 "Purchases without an answer, waiting or under way."},
	{HF_METRIC_LIVE_WATCHERS, "live_watchers", NULL, "Clients that watch a sale live."},
	{HF_METRIC_LIVE_EVENTS, "live_events_total", NULL, "Events sent to them."},
	{HF_METRIC_LIVE_DROPPED, "live_watchers_dropped_total", NULL,
	 "Clients dropped because they took nothing for too long."},
	{HF_METRIC_LIVE_REFUSED, "purchases_refused_from_memory_total", NULL,
	 "Purchases refused without asking PostgreSQL: not open yet, over, or sold out."},
	{HF_METRIC_LIVE_LOADS, "sale_live_reads_total", NULL,
	 "Reads of a sale's state or of its buyers, for the workers' own memory."},
	{HF_METRIC_LIVE_SALES, "sales_known", NULL, "Sales in the workers' own memory."},
	{HF_METRIC_REDIS_COMMANDS, "redis_commands_total", NULL, "Commands sent to Redis."},
	{HF_METRIC_REDIS_LOST, "redis_commands_lost_total", NULL,
	 "Commands that Redis has not answered."},
	{HF_METRIC_REDIS_RECONNECTS, "redis_reconnects_total", NULL,
	 "Connections to Redis that were made again."},
	{HF_METRIC_REDIS_UP, "workers_with_redis", NULL, "Workers whose connection to Redis is up."},
	{HF_METRIC_CACHE_ON, "workers_with_cache", NULL, "Workers that may read from the cache."},
	{HF_METRIC_NEAR_ENTRIES, "cache_near_entries", NULL, "Entries in the workers' own memory."},
	{HF_METRIC_NEAR_BYTES, "cache_near_bytes", NULL,
	 "Size of the entries in the workers' own memory."},
	{HF_METRIC_TICKETS, "tickets_total", NULL, "Tickets of sales issued."},
	{HF_METRIC_TICKETS_REFUSED, "tickets_refused_total", NULL,
	 "Tickets refused because as many were out as the sale has."},
	{HF_METRIC_TICKETS_LOCALLY, "ticket_local_checks_total", NULL,
	 "Tickets asked of a worker alone, because Redis was away."},
	{HF_METRIC_HASHES, "password_hashes_total", NULL, "Passwords hashed."},
	{HF_METRIC_HASHES_FULL, "password_hashes_refused_total", NULL,
	 "Passwords that were not hashed because too many were waiting."},
	{HF_METRIC_HASHES_WAITING, "password_hashes_waiting", NULL,
	 "Passwords that wait to be hashed."},
	{HF_METRIC_LOG_LOST, "log_lines_lost_total", NULL, "Lines that the log could not take."},
};

static void
write_help(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s ", name);
	for (const char *s = help; *s != '\0'; s++)
		if (*s == '\\' || *s == '\n')
			fputs(*s == '\n' ? "\\n" : "\\\\", out);
		else
			fputc(*s, out);
	fprintf(out, "\n# TYPE %s %s\n", name, type);
}

static void
write_families(FILE *out)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
	{
		const Family *family = &families[i];

		if (family->help != NULL)
		{
			char name[64];

			snprintf(name, sizeof(name), "holdfast_%s", family->name);
			write_help(out, name, family->metric < HF_METRIC_FIRST_GAUGE ? "counter" : "gauge",
					   family->help);
		}
		fprintf(out, "holdfast_%s", family->name);
		if (family->label != NULL)
			fprintf(out, "{%s}", family->label);
		fprintf(out, " %" PRIu64 "\n", hf_metrics_value(family->metric));
	}
}

/* The labels of a route, which is "none" if it has no pattern. Valid until the next call. */
static const char *
route_labels(unsigned route, HfRouteText method, HfRouteText pattern)
{
	static char labels[320];
	bool known = route < hf_metrics_routes();

	snprintf(labels, sizeof(labels), "method=\"%s\",route=\"%s\"", known ? method(route) : "none",
			 known ? pattern(route) : "none");
	return labels;
}

static uint64_t
requests_of(const HfRouteFigures *figures)
{
	uint64_t requests = 0;

	for (int i = 0; i < HF_METRICS_BUCKETS; i++)
		requests += figures->bucket[i];
	return requests;
}

static void
write_statuses(FILE *out, const HfRouteFigures *figures, const char *labels)
{
	for (int i = 0; i < HF_METRICS_STATUSES; i++)
		if (figures->status[i] > 0)
			fprintf(out, "holdfast_http_requests_total{%s,status=\"%d\"} %" PRIu64 "\n", labels,
					HF_METRICS_STATUS_MIN + i, figures->status[i]);
}

static void
write_durations(FILE *out, const HfRouteFigures *figures, const char *labels)
{
	static const char name[] = "holdfast_http_request_duration_seconds";
	uint64_t below = 0;

	for (int i = 0; i < HF_METRICS_BUCKETS - 1; i++)
	{
		below += figures->bucket[i];
		fprintf(out, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, labels,
				(double) hf_metrics_bound[i] / 1e6, below);
	}
	below += figures->bucket[HF_METRICS_BUCKETS - 1];
	fprintf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, below);
	fprintf(out, "%s_sum{%s} %.6f\n", name, labels, (double) figures->microseconds / 1e6);
	fprintf(out, "%s_count{%s} %" PRIu64 "\n", name, labels, below);
}

/* A family comes in one piece, so each of the two goes through all routes. */
static void
write_routes(FILE *out, HfRouteText method, HfRouteText pattern)
{
	static const char *const name[] = {"holdfast_http_requests_total",
									   "holdfast_http_request_duration_seconds"};
	HfRouteFigures figures;

	for (int family = 0; family < 2; family++)
	{
		write_help(out, name[family], family == 0 ? "counter" : "histogram",
				   family == 0 ? "Requests that were answered, by route and status."
							   : "Time from a request to its answer, by route.");
		for (unsigned route = 0; route <= hf_metrics_routes(); route++)
		{
			hf_metrics_route(route, &figures);
			if (requests_of(&figures) == 0)
				continue;
			if (family == 0)
				write_statuses(out, &figures, route_labels(route, method, pattern));
			else
				write_durations(out, &figures, route_labels(route, method, pattern));
		}
	}
}

/* Processes under the names that all programs give them, told apart by their worker. */
static void
write_processes(FILE *out)
{
	static const struct
	{
		const char *name, *type, *help;
	} family[] = {
		{"process_start_time_seconds", "gauge", "When the process was started."},
		{"process_cpu_seconds_total", "counter", "Processor time of the process."},
		{"process_resident_memory_bytes", "gauge", "Memory of the process that is resident."},
		{"process_open_fds", "gauge", "Files that the process has open."},
	};
	HfProcessFigures figures;
	unsigned workers = 0;

	for (unsigned i = 1; i <= hf_metrics_workers(); i++)
		workers += hf_metrics_worker(i, &figures);
	write_help(out, "holdfast_workers", "gauge", "Workers that were started.");
	fprintf(out, "holdfast_workers %u\n", workers);
	for (size_t f = 0; f < sizeof(family) / sizeof(family[0]); f++)
	{
		write_help(out, family[f].name, family[f].type, family[f].help);
		for (unsigned i = 1; i <= hf_metrics_workers(); i++)
			if (hf_metrics_worker(i, &figures))
			{
				double value[] = {figures.started, (double) figures.cpu / 1e9,
								  (double) figures.memory, (double) figures.files};

				fprintf(out, "%s{worker=\"%u\"} %.16g\n", family[f].name, i, value[f]);
			}
	}
}

/*
 * The figures of all workers as text, which the caller frees, or NULL if there is no memory.  A
 * route's method and pattern are asked for by its number.
 */
char *
hf_metrics_text(HfRouteText method, HfRouteText pattern, size_t *length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, length);

	if (out == NULL)
		return NULL;
	hf_metrics_process();
	write_routes(out, method, pattern);
	write_families(out);
	write_processes(out);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static bool
is_name(const char *name)
{
	return name != NULL && *name != '\0' && strspn(name, "0123456789") == 0 &&
		name[strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

static bool
write_labels(FILE *out, json_t *labels)
{
	const char *name, *before = "{";
	json_t *value;

	json_object_foreach(labels, name, value)
	{
		if (!is_name(name) || !json_is_string(value))
			return false;
		fprintf(out, "%s%s=\"", before, name);
		for (const char *s = json_string_value(value); *s != '\0'; s++)
			if (*s == '\n')
				fputs("\\n", out);
			else
			{
				if (*s == '\\' || *s == '"')
					fputc('\\', out);
				fputc(*s, out);
			}
		fputc('"', out);
		before = ",";
	}
	if (*before == ',')
		fputc('}', out);
	return true;
}

static bool
write_family(FILE *out, json_t *family)
{
	const char *name = json_string_value(json_object_get(family, "name"));
	const char *type = json_string_value(json_object_get(family, "type"));
	const char *help = json_string_value(json_object_get(family, "help"));
	json_t *samples = json_object_get(family, "samples");

	if (!is_name(name) || !is_name(type) || help == NULL || !json_is_array(samples))
		return false;
	write_help(out, name, type, help);
	for (size_t i = 0; i < json_array_size(samples); i++)
	{
		json_t *sample = json_array_get(samples, i);
		json_t *value = json_object_get(sample, "value");

		fputs(name, out);
		if (!json_is_number(value) || !write_labels(out, json_object_get(sample, "labels")))
			return false;
		fprintf(out, " %.16g\n", json_number_value(value));
	}
	return true;
}

/*
 * The families that rest.metrics() has brought as text, which the caller frees; NULL if that is not
 * what they should be, or there is no memory.
 */
char *
hf_metrics_families(const HfText *json, size_t *length)
{
	json_t *array = json_loadb(json->data, json->length, JSON_REJECT_DUPLICATES, NULL);
	char *text = NULL;
	FILE *out = json_is_array(array) ? open_memstream(&text, length) : NULL;
	bool good = out != NULL;

	for (size_t i = 0; good && i < json_array_size(array); i++)
		good = write_family(out, json_array_get(array, i));
	json_decref(array);
	if (out != NULL && fclose(out) != 0)
		good = false;
	if (good)
		return text;
	free(text);
	return NULL;
}
