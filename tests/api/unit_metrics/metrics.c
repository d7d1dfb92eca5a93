/*
 * metrics.c
 *		The figures of the API: shared memory, sums, text.
 *
 * Usage: metrics DIRECTORY.  Leaves the texts there as files "own" and "families".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "metrics.h"
#include "test.h"

#define WORKERS	 3 /* the last one is never started */
#define ROUTES	 3
#define REQUESTS 200000

static const char *
method(unsigned route)
{
	return route == 2 ? "POST" : "GET";
}

static const char *
pattern(unsigned route)
{
	static const char *const name[] = {"/v1/products/{id}", "/v1/orders", "/v1/orders"};

	return name[route];
}

static uint64_t
requests(unsigned route, int status)
{
	HfRouteFigures figures;

	hf_metrics_route(route, &figures);
	return figures.status[status - HF_METRICS_STATUS_MIN];
}

static void
count_requests(unsigned worker)
{
	for (int i = 0; i < REQUESTS; i++)
	{
		hf_metrics_request((unsigned) i % 2, i % 4 == 0 ? 404 : 200, (unsigned long) i % 1000);
		hf_metrics_add(HF_METRIC_PG_STATEMENTS, worker);
	}
	hf_metrics_set(HF_METRIC_CONNECTIONS, 10 * worker);
}

static pid_t
start(unsigned worker, void (*work)(unsigned))
{
	pid_t pid = fork();

	if (pid == 0)
	{
		hf_metrics_begin(worker);
		work(worker);
		_exit(0);
	}
	return pid;
}

/* Waits for a worker; false if it did not end well. */
static bool
ended(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && status == 0;
}

static void
nothing(unsigned worker)
{
	(void) worker;
}

static void
before_there_is_memory(void)
{
	hf_metrics_add(HF_METRIC_HASHES, 1);
	hf_metrics_set(HF_METRIC_CONNECTIONS, 1);
	hf_metrics_request(0, 200, 1);
	hf_metrics_process();
	check(hf_metrics_value(HF_METRIC_HASHES) == 0 && hf_metrics_routes() == 0,
		  "something is there");
	claim("before there is memory nothing is counted");
}

static void
two_workers(void)
{
	pid_t first = start(1, count_requests), second = start(2, count_requests);
	uint64_t last = 0;

	for (int i = 0; i < 20000; i++)
	{
		uint64_t value = hf_metrics_value(HF_METRIC_PG_STATEMENTS);

		check(value >= last, "it has gone down");
		last = value;
	}
	claim("a counter that is read while two processes count never goes down");
	check(ended(first) && ended(second), "a worker did not end well");
	check(hf_metrics_value(HF_METRIC_PG_STATEMENTS) == 3 * REQUESTS, "counter: %lu",
		  (unsigned long) hf_metrics_value(HF_METRIC_PG_STATEMENTS));
	check(requests(0, 200) == REQUESTS / 2 && requests(0, 404) == REQUESTS / 2 &&
			  requests(1, 200) == REQUESTS && requests(1, 404) == 0,
		  "requests are not those of both");
	claim("what two processes have counted is summed");
	check(hf_metrics_value(HF_METRIC_CONNECTIONS) == 30, "gauge");
	claim("so are their gauges");
}

static void
restart(void)
{
	HfProcessFigures before, after;

	hf_metrics_worker(1, &before);
	check(ended(start(1, nothing)), "the worker did not end well");
	hf_metrics_worker(1, &after);
	check(hf_metrics_value(HF_METRIC_CONNECTIONS) == 20, "gauge: %lu",
		  (unsigned long) hf_metrics_value(HF_METRIC_CONNECTIONS));
	claim("a worker that is started again begins its gauges at nothing");
	check(requests(1, 200) == REQUESTS && after.started > before.started, "figures");
	check(ended(start(1, count_requests)), "the worker did not end well");
	check(requests(1, 200) == REQUESTS * 3 / 2, "requests");
	claim("and goes on with its counters");
}

static void
strange_requests(void)
{
	uint64_t before = requests(ROUTES, 404);

	hf_metrics_request(ROUTES, 404, 1);
	hf_metrics_request(4711, 404, 1);
	check(requests(ROUTES, 404) == before + 2, "route");
	claim("a request that no route took counts for none");
	hf_metrics_request(ROUTES, 0, 1);
	hf_metrics_request(ROUTES, 600, 1);
	hf_metrics_request(ROUTES, -1, 1);
	hf_metrics_request(ROUTES, 100, 1);
	check(requests(ROUTES, HF_METRICS_STATUS_MAX) == 3 && requests(ROUTES, 100) == 1, "status");
	claim("a status that does not exist counts as the last one");
	hf_metrics_begin(0);
	hf_metrics_begin(WORKERS + 1);
	hf_metrics_begin(~0U);
	claim("a worker that does not exist has no slot");
}

static void
durations(void)
{
	HfRouteFigures figures;

	for (int i = 0; i < HF_METRICS_BUCKETS - 1; i++)
	{
		hf_metrics_request(2, 201, hf_metrics_bound[i]);
		hf_metrics_request(2, 201, hf_metrics_bound[i] + 1);
		check(i == 0 || hf_metrics_bound[i] > hf_metrics_bound[i - 1], "order");
	}
	hf_metrics_request(2, 201, 0);
	hf_metrics_route(2, &figures);
	check(figures.bucket[HF_METRICS_BUCKETS - 1] == 1, "what is longer than all bounds");
	for (int i = 0; i < HF_METRICS_BUCKETS - 1; i++)
		check(figures.bucket[i] == 2, "bucket %d: %lu", i, (unsigned long) figures.bucket[i]);
	check(figures.status[201 - HF_METRICS_STATUS_MIN] == 2 * (HF_METRICS_BUCKETS - 1) + 1,
		  "status");
	claim("a duration belongs to the first bound that it does not exceed");
}

static void
write_file(const char *directory, const char *name, const char *text, size_t length)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	check(file != NULL && fwrite(text, 1, length, file) == length && fclose(file) == 0, "%s", path);
}

static void
own_text(const char *directory)
{
	static const char *const lines[] = {
		"\nholdfast_http_requests_total{method=\"GET\",route=\"/v1/orders\",status=\"200\"} 300000\n",
		"\nholdfast_http_requests_total{method=\"none\",route=\"none\",status=\"404\"} 2\n",
		"\nholdfast_http_request_duration_seconds_bucket{method=\"POST\",route=\"/v1/orders\",le=\"0.0001\"} 2\n",
		"\nholdfast_http_request_duration_seconds_bucket{method=\"POST\",route=\"/v1/orders\",le=\"10\"} 32\n",
		"\nholdfast_http_request_duration_seconds_bucket{method=\"POST\",route=\"/v1/orders\",le=\"+Inf\"} 33\n",
		"\nholdfast_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/orders\"} 33\n",
		"\nholdfast_http_request_duration_seconds_sum{method=\"POST\",route=\"/v1/orders\"} 38.888716\n",
		"\nholdfast_database_statements_waiting{lane=\"slow\"} 0\n",
		"\nholdfast_rate_limited_total{scope=\"address\"} 0\n",
		"\nholdfast_workers 2\n",
		"\nprocess_open_fds{worker=\"2\"} ",
	};
	size_t length;
	char *text = hf_metrics_text(method, pattern, &length);

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check(strstr(text, lines[i]) != NULL, "no line %s", lines[i] + 1);
	check(strstr(text, "worker=\"3\"") == NULL, "a worker that was never started");
	check(strlen(text) == length && text[length - 1] == '\n', "its end");
	claim("the text has a line for each figure");
	write_file(directory, "own", text, length);
	free(text);
}

static char *
families(const char *json, size_t *length)
{
	HfText text = {json, strlen(json)};

	return hf_metrics_families(&text, length);
}

static void
families_of_the_shop(const char *directory)
{
	static const char *const broken[] = {
		"",
		"{}",
		"[1]",
		"[{\"name\": \"a\", \"type\": \"gauge\", \"help\": \"A.\"}]",
		"[{\"name\": \"a b\", \"type\": \"gauge\", \"help\": \"A.\", \"samples\": []}]",
		"[{\"name\": \"1a\", \"type\": \"gauge\", \"help\": \"A.\", \"samples\": []}]",
		"[{\"name\": \"a\", \"type\": \"gauge\\n\", \"help\": \"A.\", \"samples\": []}]",
		"[{\"name\": \"a\", \"type\": \"gauge\", \"help\": \"A.\", \"samples\": [{\"value\": \"1\"}]}]",
		"[{\"name\": \"a\", \"type\": \"gauge\", \"help\": \"A.\", \"samples\": [{\"value\": 1, \"labels\": {\"l\": 1}}]}]",
		"[{\"name\": \"a\", \"type\": \"gauge\", \"help\": \"A.\", \"samples\": [{\"value\": 1, \"labels\": {\"l\\n\": \"1\"}}]}]",
	};
	size_t length;
	char *text = families(
		"[{\"name\": \"holdfast_jobs\", \"type\": \"gauge\", \"help\": \"A\\\\B\\nC.\", \"samples\": ["
		"{\"labels\": {\"kind\": \"q\\\"b\\\\n\\n\", \"state\": \"running\"}, \"value\": 1795669366.588855},"
		"{\"labels\": {}, \"value\": 12345678901}]},"
		"{\"name\": \"holdfast_none\", \"type\": \"gauge\", \"help\": \"None.\", \"samples\": []}]",
		&length);

	check(text != NULL &&
			  strcmp(text,
					 "# HELP holdfast_jobs A\\\\B\\nC.\n# TYPE holdfast_jobs gauge\n"
					 "holdfast_jobs{kind=\"q\\\"b\\\\n\\n\",state=\"running\"} 1795669366.588855\n"
					 "holdfast_jobs 12345678901\n"
					 "# HELP holdfast_none None.\n# TYPE holdfast_none gauge\n") == 0,
		  "%s", text);
	claim("families that come as JSON become text");
	write_file(directory, "families", text, length);
	free(text);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		check(families(broken[i], &length) == NULL, "%s", broken[i]);
	claim("what is not a family does not");
}

static void
cost(void)
{
	Usec best = SECOND;

	for (int i = 0; i < 20; i++)
	{
		Usec began = now();

		for (unsigned j = 0; j < 100000; j++)
			hf_metrics_request(j % ROUTES, 200, j % 30000);
		if (now() - began < best)
			best = now() - began;
	}
	printf("# to count a request takes %.1f ns\n", (double) best / 100);
}

int
main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	before_there_is_memory();
	if (!hf_metrics_create(WORKERS, ROUTES))
		return 1;
	two_workers();
	restart();
	strange_requests();
	durations();
	own_text(argv[1]);
	families_of_the_shop(argv[1]);
	cost();
	return claims_broken() > 0;
}
