/*
 * app.c
 *		The application: what Kore calls when it starts and stops, and what its workers may do.
 *
 * The parent reads everything: configuration, keys, pages, names of hosts.  A server that cannot
 * start says why and exits with 1.  The workers are forked from it, connect without waiting, and
 * answer 503 until they have.
 *
 * A worker that is told to stop takes no more connections, finishes the requests it has, bounded by
 * drain_timeout, and then ends; streams end at once, because their clients come back by themselves.
 */
#include "kore.h"

#include <kore/hooks.h>
#include <kore/seccomp.h>

#include "cache.h"
#include "call.h"
#include "flow.h"
#include "frame.h"
#include "limit.h"
#include "live.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "page.h"
#include "password.h"
#include "pg.h"
#include "problem.h"
#include "purchase.h"
#include "redis.h"
#include "reply.h"
#include "stream.h"
#include "ticket_issue.h"
#include "token.h"
#include "upload.h"

#include <dlfcn.h>
#include <libgen.h>
#include <netdb.h>
#include <sodium.h>
#include <sys/prctl.h>

#define LOAD_EVERY	100 /* milliseconds between attempts to load the table of problems */
#define FLUSH_EVERY 200
#define NOTE_EVERY	1000
#define ERROR_MAX	512
#define NOTE_WAIT	1000 /* milliseconds in the end, until the database has noted what we counted */

/* What Kore 4.1 forbids, though libraries of today need it. */
KORE_SECCOMP_FILTER("holdfast", KORE_SYSCALL_ALLOW(newfstatat), KORE_SYSCALL_ALLOW(faccessat2),
					KORE_SYSCALL_ALLOW(getdents64), KORE_SYSCALL_ALLOW(uname),
					KORE_SYSCALL_ALLOW(rseq), KORE_SYSCALL_ALLOW(shutdown),
					KORE_SYSCALL_ALLOW(eventfd2), KORE_SYSCALL_ALLOW(fsync),
					KORE_SYSCALL_ALLOW(rename), KORE_SYSCALL_ALLOW(utimensat),
					KORE_SYSCALL_ALLOW(mremap), KORE_SYSCALL_ALLOW(tgkill),
					KORE_SYSCALL_ALLOW(gettid), KORE_SYSCALL_ALLOW_ARG(prctl, 0, PR_SET_PDEATHSIG),
					KORE_SYSCALL_DENY(clone3, ENOSYS))

static void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *format, ...)
{
	va_list args;

	fputs("holdfast: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* Makes HOST:PORT into ADDRESS:PORT, while looking up names may still wait. */
static void
resolve_redis(void)
{
	char *colon = strrchr(hf_config.redis, ':'), host[NI_MAXHOST], *resolved;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int error;

	if (strncmp(hf_config.redis, "unix:", 5) == 0)
		return;
	if (colon == NULL || (size_t) (colon - hf_config.redis) >= sizeof(host))
		give_up("redis is unix:PATH or HOST:PORT, not \"%s\"", hf_config.redis);
	snprintf(host, sizeof(host), "%.*s", (int) (colon - hf_config.redis), hf_config.redis);
	error = getaddrinfo(host, colon + 1, &hints, &found);
	if (error != 0)
		give_up("redis: cannot look up %s: %s", host, gai_strerror(error));
	if (getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof(host), NULL, 0,
					NI_NUMERICHOST) != 0 ||
		asprintf(&resolved, "%s%s", host, colon) < 0)
		give_up("redis: cannot look up %s", hf_config.redis);
	freeaddrinfo(found);
	hf_config.redis = resolved;
}

static void
resolve_database(void)
{
	char *resolved, *error, *name;

	if (!hf_pg_resolve(hf_config.database, &resolved, &error))
		give_up("database: %s", error);
	hf_config.database = resolved;
	name = hf_pg_database(resolved);
	if (hf_config.cache_prefix[0] == '\0' &&
		asprintf(&hf_config.cache_prefix, "holdfast:%s:", name) < 0)
		give_up("out of memory");
	free(name);
}

/* The pages stand beside the module. */
static void
load_pages(void)
{
	char error[ERROR_MAX], directory[PATH_MAX];
	Dl_info module;
	char *path;

	if (dladdr((void *) hf_dispatch, &module) == 0 || (path = strdup(module.dli_fname)) == NULL)
		give_up("cannot find out where the module is");
	snprintf(directory, sizeof(directory), "%s/www", dirname(path));
	free(path);
	if (!hf_page_load(directory, error, sizeof(error)))
		give_up("%s", error);
}

static size_t
write_problem(char *document, size_t room, char id[HF_FRAME_ID_MAX + 1], int status,
			  const char *detail)
{
	hf_request_make_id(id);
	return hf_problem_write(document, room, hf_problem_of_status(status), NULL, detail, id);
}

void
kore_parent_configure(int argc, char **argv)
{
	char error[ERROR_MAX];
	const char *path = getenv("HOLDFAST_CONF");

	(void) argc;
	(void) argv;
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Kore would load the module anew into workers that have pointers into it. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (path == NULL)
		give_up("no configuration is given; api/serve does that");
	if (sodium_init() < 0)
		give_up("there is no source of random numbers");
	if (!hf_config_load(path, error, sizeof(error)))
		give_up("%s: %s", path, error);
	if (!hf_token_load_keys(hf_config.token_keys, error, sizeof(error)))
		give_up("token_keys: %s", error);
	hf_ticket_prepare();
	if (hf_config.upload_directory[0] != '\0' && access(hf_config.upload_directory, F_OK) != 0)
		give_up("upload_directory: %s: %s", hf_config.upload_directory, strerror(errno));
	resolve_database();
	resolve_redis();
	load_pages();
	hf_routes_prepare();
	hf_live_prepare();
	if (!hf_metrics_create(worker_count, hf_routes_count()))
		give_up("no shared memory for the metrics");
}

/* The table of problems has come, or not. */
static void
problems_answered(void *arg, const HfPgAnswer *answer)
{
	HfRow row;

	(void) arg;
	if (hf_call_row(answer, &row) && !hf_problem_load(&row.body))
		hf_log(HF_LOG_ERROR, "problems_unreadable", "rest.problems() answered something else");
}

static void
load_problems(void)
{
	HfText nobody = {NULL, 0};

	if (!hf_problem_loaded())
		hf_pg_send(hf_call_problems.lane, hf_call_problems.statement, &nobody, 1, problems_answered,
				   NULL);
}

void
kore_worker_configure(void)
{
	/* Kore's workers would outlive a parent that was killed. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGHUP, SIG_IGN);
	hf_log_begin(worker->id);
	hf_metrics_begin(worker->id);
	hf_loop_start();
	hf_frame_configure(write_problem, hf_route_body_max);
	hf_pg_start();
	if (!hf_purchase_start())
		hf_log(HF_LOG_ERROR, "purchase_failed", "no memory for purchases");
	hf_ticket_start();
	hf_redis_start();
	if (!hf_cache_start())
		hf_log(HF_LOG_ERROR, "cache_failed", "no memory for the near cache");
	hf_limit_start();
	hf_live_start();
	hf_password_start();
	hf_upload_start();
	hf_flow_start();
	hf_stream_start();
	hf_loop_every(LOAD_EVERY, load_problems);
	hf_loop_every(FLUSH_EVERY, hf_log_flush);
	hf_loop_every(NOTE_EVERY, hf_operation_note);
	hf_loop_every(NOTE_EVERY, hf_ticket_note);
	hf_log(HF_LOG_INFO, "worker_started", "worker %d", worker->id);
}

/* No more connections: this worker's epoll hears no more of the listeners. */
static void
stop_listening(void)
{
	struct kore_server *server;
	struct listener *listener;

	LIST_FOREACH(server, &kore_servers, list)
	LIST_FOREACH(listener, &server->listeners, list)
	kore_platform_event_schedule(listener->fd, 0, 0, listener);
}

/*
 * Finishes what the worker is working on.  Connections that are idle are left to the proxy to
 * close: it may be sending a request at this moment.
 */
static void
drain(void)
{
	uint64_t end = hf_loop_now() + hf_config.drain_timeout;

	stop_listening();
	hf_stream_stop();
	http_keepalive_time = 0; /* answers say that they are the last of their connection */
	while ((http_request_count > 0 || worker_active_connections > 0) && hf_loop_now() < end)
	{
		kore_platform_event_wait(10);
		kore_timer_run(kore_time_ms());
		http_process();
		kore_connection_prune(KORE_CONNECTION_PRUNE_DISCONNECT);
	}
}

/* Leaves nothing that was counted for the reports behind. */
static void
note(void)
{
	uint64_t end = hf_loop_now() + NOTE_WAIT;

	while (hf_live_stop() && hf_loop_now() < end)
	{
		kore_platform_event_wait(10);
		kore_timer_run(kore_time_ms());
	}
}

void
kore_worker_teardown(void)
{
	drain();
	note();
	hf_upload_stop();
	hf_password_stop();
	hf_log(HF_LOG_INFO, "worker_stopped", "worker %d, %u requests unfinished", worker->id,
		   http_request_count);
	hf_log_flush();
	hf_redis_stop();
	hf_pg_stop();
}

/* The ceiling for benchmarks: an answer, with nothing of ours but the framing guard. */
int
hf_bench_noop(struct http_request *http)
{
	static const char body[] = "{\"ok\":true}";

	if (!hf_config.bench)
		return hf_dispatch(http);
	http_response_header(http, "content-type", "application/json");
	hf_frame_responding(http->owner, true);
	http_response(http, 200, body, sizeof(body) - 1);
	hf_frame_responding(http->owner, false);
	return KORE_RESULT_OK;
}
