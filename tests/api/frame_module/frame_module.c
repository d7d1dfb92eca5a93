/*
 * frame_module.c
 *		A module of Kore for the framing guard alone: api/src/frame.c without the application.
 *
 *     /health          200, a small document
 *     /v1/oauth/token  400, a problem document
 *     /echo            200, what Kore understood: method, path, query, headers, body
 *     /slow?MS         200 after so many milliseconds
 *     /large?N         200 with so many bytes
 *     /count           200, what the guard refused and what reached a handler
 *
 * A body has at most 64 kB, one of /v1/batch 1 MB.  /health answers without hf_frame_responding(),
 * which a handler may forget.
 */
#include "kore.h"

#include <kore/seccomp.h>

#include "config.h"
#include "frame.h"
#include "loop.h"
#include "metrics.h"

#define LARGE_MAX (4 * 1024 * 1024)

extern int frame_module_handler(struct http_request *request);
extern int frame_module_plain(struct http_request *request);
extern void kore_parent_configure(int argc, char **argv);
extern void kore_worker_configure(void);

/* A request that sleeps; request is NULL if its client left. */
typedef struct Sleeper
{
	struct http_request *request;
	bool awake;
} Sleeper;

HfConfig hf_config = {.body_max = 64 * 1024};

static unsigned long refused, handled;
static char large[LARGE_MAX];

KORE_SECCOMP_FILTER("frame_module", KORE_SYSCALL_ALLOW(newfstatat), KORE_SYSCALL_ALLOW(shutdown))

void
hf_metrics_add(HfMetric counter, unsigned long n)
{
	if (counter == HF_METRIC_FRAMING_REFUSED)
		refused += n;
}

static size_t
write_problem(char *document, size_t room, char id[HF_FRAME_ID_MAX + 1], int status,
			  const char *detail)
{
	strcpy(id, "frame");
	int n = snprintf(document, room, "{\"type\":\"/problems/x\",\"status\":%d,\"detail\":\"%s\"}",
					 status, detail);

	return (size_t) n;
}

static size_t
body_max(const char *method, size_t method_length, const char *path, size_t path_length)
{
	if (method_length == 4 && memcmp(method, "POST", 4) == 0 && path_length == 9 &&
		memcmp(path, "/v1/batch", 9) == 0)
		return 1024 * 1024;
	return 0;
}

/* Adds "x-request-id", as the application does, so that each answer can be told from the others. */
static void
respond(struct http_request *request, int status, const char *type, const void *body, size_t length)
{
	struct connection *connection = request->owner;
	const char *id;

	if (http_request_header(request, "x-request-id", &id))
		http_response_header(request, "x-request-id", id);
	http_response_header(request, "content-type", type);
	hf_frame_responding(connection, true);
	http_response(request, status, body, length);
	hf_frame_responding(connection, false);
}

static int
echo(struct http_request *request)
{
	struct kore_buf *text = kore_buf_alloc(1024);
	struct http_header *header;

	kore_buf_appendf(text, "%s\n%s\n?%s\n", http_method_text(request->method), request->path,
					 request->query_string != NULL ? request->query_string : "");
	kore_buf_appendf(text, "host: %s\n", request->host);
	TAILQ_FOREACH(header, &request->req_headers, list)
	kore_buf_appendf(text, "%s: %s\n", header->header, header->value);
	kore_buf_appendf(text, "\n");
	if (request->http_body != NULL)
		kore_buf_append(text, request->http_body->data, request->http_body_length);
	respond(request, 200, "text/plain", text->data, text->offset);
	kore_buf_free(text);
	return KORE_RESULT_OK;
}

static void
wake(void *arg)
{
	Sleeper *sleeper = arg;

	sleeper->awake = true;
	if (sleeper->request != NULL)
		http_request_wakeup(sleeper->request);
	else
		free(sleeper);
}

static void
leave(struct http_request *request)
{
	Sleeper *sleeper = *(Sleeper **) http_state_get(request);

	request->onfree = NULL;
	sleeper->request = NULL;
	if (sleeper->awake)
		free(sleeper);
}

static int
sleep_for(struct http_request *request)
{
	Sleeper *sleeper;

	if (http_state_exists(request))
	{
		if (!(*(Sleeper **) http_state_get(request))->awake)
			return KORE_RESULT_RETRY;
		respond(request, 200, "application/json", "{\"slept\":true}", 14);
		return KORE_RESULT_OK;
	}
	sleeper = calloc(1, sizeof(*sleeper));
	sleeper->request = request;
	*(Sleeper **) http_state_create(request, sizeof(Sleeper *), leave) = sleeper;
	hf_loop_after((unsigned) atoi(request->query_string != NULL ? request->query_string : "1"),
				  wake, sleeper);
	http_request_sleep(request);
	return KORE_RESULT_RETRY;
}

static int
count(struct http_request *request)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "{\"refused\":%lu,\"handled\":%lu}", refused, handled);

	respond(request, 200, "application/json", text, (size_t) n);
	return KORE_RESULT_OK;
}

int
frame_module_handler(struct http_request *request)
{
	size_t size;

	if (strcmp(request->path, "/slow") == 0)
		return sleep_for(request);
	if (strcmp(request->path, "/count") == 0)
		return count(request);
	handled++;
	if (strcmp(request->path, "/echo") == 0)
		return echo(request);
	if (strcmp(request->path, "/large") == 0)
	{
		size = request->query_string != NULL ? strtoul(request->query_string, NULL, 10) : 0;
		respond(request, 200, "text/plain", large, MIN(size, sizeof(large)));
	}
	else if (strcmp(request->path, "/health") == 0 && request->method != HTTP_METHOD_POST)
	{
		const char *id;

		if (http_request_header(request, "x-request-id", &id))
			http_response_header(request, "x-request-id", id);
		http_response_header(request, "content-type", "application/json");
		http_response(request, 200, "{\"status\":\"ok\"}", 15);
	}
	else
		respond(request, 400, "application/problem+json", "{\"status\":400}", 14);
	return KORE_RESULT_OK;
}

/* The least that can be answered, to compare guarded connections with plain ones. */
int
frame_module_plain(struct http_request *request)
{
	http_response_header(request, "content-type", "application/json");
	http_response(request, 200, "{\"ok\":true}", 11);
	return KORE_RESULT_OK;
}

void
kore_parent_configure(int argc, char **argv)
{
	(void) argc;
	(void) argv;
	setvbuf(stdout, NULL, _IOLBF, 0);
}

void
kore_worker_configure(void)
{
	memset(large, 'x', sizeof(large));
	hf_loop_start();
	hf_frame_configure(write_problem, body_max);
}
