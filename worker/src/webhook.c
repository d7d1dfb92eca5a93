/*
 * webhook.c
 *		Webhooks of merchants: jobs of kind webhook, each one attempt of a delivery.
 *
 * An attempt is a POST of the delivery's body, signed by the scheme of Standard Webhooks.  What
 * comes of it, good or bad, is what the job results in: shop.record_deliveries() decides whether
 * and when the next attempt is made.
 *
 * Only so many attempts are made at a time at one host, and for one merchant, who may have many
 * names for one host.  Those beyond wait, as long as these are quick; once one of them has taken
 * SLOW, those that wait for it are put off, so that a host that hangs holds no more than its share,
 * which is one as long as its endpoint fails, and the others go on.
 *
 * Invariants: a URL is a stranger's.  No address of one's own network is connected to unless the
 * settings allow it, whatever name, notation or answer of the name server leads there: the address
 * is looked at when its socket is made.  Nothing is spoken but HTTP, certificates are verified,
 * redirections are not followed, there is no proxy, and of an answer at most ANSWER_MAX bytes are
 * read.  Secrets, bodies and answers are not logged.
 */
#include "webhook.h"

#include "address.h"
#include "clock.h"
#include "config.h"
#include "job.h"
#include "signature.h"
#include "transfer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX	65536
#define EXCERPT_MAX 200
#define SLOW		1000 /* milliseconds, as all times */
#define MARGIN		5000
#define HIDDEN		"it has no address that may be called"

/* What becomes of a job: it is under way, or waits until there is room. */
typedef struct Attempt
{
	struct Attempt *next, *previous;
	HfJob *job;
	CURL *easy; /* NULL: it waits */
	struct curl_slist *headers;
	int64_t began_at;
	bool is_private; /* an address was refused */
	size_t length;	 /* of the answer */
	size_t kept;
	char excerpt[EXCERPT_MAX + 1];
	const char *merchant; /* of the job */
	char host[256];
	unsigned share; /* how many of its host and merchant may be under way when it begins */
} Attempt;

static Attempt *attempts, *last; /* in order of their jobs */
static unsigned share;			 /* how many attempts at a time one host, or merchant, gets */
static bool may_begin;			 /* one that waits: there is one more, or there is more room */

static const char *
detail(const Attempt *attempt, const char *name)
{
	const char *text = json_string_value(json_object_get(attempt->job->details, name));

	return text != NULL ? text : "";
}

static void
link_attempt(Attempt *attempt)
{
	attempt->previous = last;
	if (last != NULL)
		last->next = attempt;
	else
		attempts = attempt;
	last = attempt;
}

/* Takes an attempt out, and frees it. Its transfer has ended, or was stopped. */
static void
free_attempt(Attempt *attempt)
{
	if (attempt->previous != NULL)
		attempt->previous->next = attempt->next;
	else
		attempts = attempt->next;
	if (attempt->next != NULL)
		attempt->next->previous = attempt->previous;
	else
		last = attempt->previous;
	curl_easy_cleanup(attempt->easy);
	curl_slist_free_all(attempt->headers);
	free(attempt);
	may_begin = true;
}

/* How an answer begins, as text; NULL if there is none. */
static json_t *
excerpt(Attempt *attempt)
{
	json_t *text = NULL;

	for (size_t i = 0; i < attempt->kept; i++)
		if ((unsigned char) attempt->excerpt[i] < ' ' || attempt->excerpt[i] == 0x7f)
			attempt->excerpt[i] = ' ';
	/* A character may have been cut in two. */
	for (size_t cut = 0; text == NULL && cut < 4 && cut < attempt->kept; cut++)
		text = json_stringn(attempt->excerpt, attempt->kept - cut);
	if (text != NULL || attempt->kept == 0)
		return text;
	for (size_t i = 0; i < attempt->kept; i++)
		if ((unsigned char) attempt->excerpt[i] > '~')
			attempt->excerpt[i] = '?';
	return json_stringn(attempt->excerpt, attempt->kept);
}

/* Ends an attempt that was made, or could not be. No error: it is delivered. */
static void
end_attempt(Attempt *attempt, long status, long retry_after, const char *error)
{
	HfJob *job = attempt->job;
	json_t *result = json_object();

	if (status > 0)
		json_object_set_new(result, "status", json_integer(status));
	json_object_set_new(result, "duration", json_integer(hf_clock() - attempt->began_at));
	if (error != NULL)
		json_object_set_new(result, "error", json_string(error));
	if (attempt->kept > 0)
		json_object_set_new(result, "answer", excerpt(attempt));
	if (retry_after > 0)
		json_object_set_new(result, "retry_after", json_integer(retry_after));
	free_attempt(attempt);
	hf_job_end(job, HF_JOB_DONE, NULL, result);
}

/* Puts an attempt off: it does not count. */
static void
put_off(Attempt *attempt)
{
	HfJob *job = attempt->job;

	free_attempt(attempt);
	hf_job_end(job, HF_JOB_DONE, NULL, json_pack("{s:b}", "busy", 1));
}

/* Are these two of one share? */
static bool
is_alike(const Attempt *one, const Attempt *other)
{
	return strcmp(one->host, other->host) == 0 || strcmp(one->merchant, other->merchant) == 0;
}

/* Is there room for an attempt that waits? */
static bool
has_room(const Attempt *waiting)
{
	unsigned n = 0;

	for (const Attempt *attempt = attempts; attempt != NULL; attempt = attempt->next)
		n += attempt->easy != NULL && is_alike(attempt, waiting);
	return n < waiting->share;
}

/* Puts off what waits for this one. */
static void
put_off_alike(const Attempt *slow)
{
	Attempt *next;

	for (Attempt *attempt = attempts; attempt != NULL; attempt = next)
	{
		next = attempt->next;
		if (attempt->easy == NULL && is_alike(attempt, slow) && !has_room(attempt))
			put_off(attempt);
	}
}

/* Keeps the beginning of an answer; what goes on without end is given up. */
static size_t
take_piece(char *data, size_t size, size_t n, void *context)
{
	Attempt *attempt = context;
	size_t room = EXCERPT_MAX - attempt->kept;

	(void) size; /* is 1 */
	memcpy(attempt->excerpt + attempt->kept, data, n < room ? n : room);
	attempt->kept += n < room ? n : room;
	attempt->length += n;
	return attempt->length > ANSWER_MAX ? 0 : n;
}

/* Makes the socket for an address, if it may be connected to. */
static curl_socket_t
open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	Attempt *attempt = context;

	(void) purpose;
	if (!hf_config.webhook_private && !hf_address_is_public(&address->addr))
	{
		attempt->is_private = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Called now and then while an attempt goes on. */
static int
look(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const Attempt *attempt = context;

	(void) a, (void) b, (void) c, (void) d;
	if (hf_clock() - attempt->began_at > SLOW)
		put_off_alike(attempt);
	return 0;
}

/* Which names are known in this network is nobody's business. */
static bool
is_hidden(const Attempt *attempt, CURLcode result)
{
	return attempt->is_private ||
		(result == CURLE_COULDNT_RESOLVE_HOST && !hf_config.webhook_private);
}

/* The attempt has ended: what the status says counts, even if the answer has no end. */
static void
ended(void *context, CURL *easy, CURLcode result)
{
	Attempt *attempt = context;
	bool is_cut = result == CURLE_WRITE_ERROR && attempt->length > ANSWER_MAX;
	long status = 0;
	curl_off_t retry_after = 0;
	char error[96];

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (result != CURLE_OK && !is_cut)
		end_attempt(attempt, status, 0,
					is_hidden(attempt, result) ? HIDDEN : curl_easy_strerror(result));
	else if (status >= 200 && status < 300)
		end_attempt(attempt, status, 0, NULL);
	else
	{
		snprintf(error, sizeof(error), "answered %ld%s", status,
				 status >= 301 && status <= 308 && status != 304 ? "; redirections are not followed"
																 : "");
		end_attempt(attempt, status, status == 429 || status == 503 ? (long) retry_after : 0,
					error);
	}
}

static bool
add_header(Attempt *attempt, const char *name, const char *value)
{
	char header[256];
	struct curl_slist *longer;

	if (snprintf(header, sizeof(header), "%s: %s", name, value) >= (int) sizeof(header))
		return false;
	longer = curl_slist_append(attempt->headers, header);
	if (longer != NULL)
		attempt->headers = longer;
	return longer != NULL;
}

/* Adds the headers of Standard Webhooks, signed with each secret. */
static bool
add_headers(Attempt *attempt)
{
	const json_t *secrets = json_object_get(attempt->job->details, "secrets");
	char timestamp[24], signatures[2 * (HF_SIGNATURE_SIZE + 1)] = "";
	size_t used = 0;

	snprintf(timestamp, sizeof(timestamp), "%lld", (long long) time(NULL));
	for (size_t i = 0; i < json_array_size(secrets) && i < 2; i++)
	{
		const char *secret = json_string_value(json_array_get(secrets, i));

		if (used > 0)
			signatures[used++] = ' ';
		if (secret == NULL ||
			!hf_signature_make(secret, detail(attempt, "id"), timestamp, detail(attempt, "body"),
							   signatures + used))
			return false;
		used += strlen(signatures + used);
	}
	return used > 0 && add_header(attempt, "Content-Type", "application/json") &&
		add_header(attempt, "Accept", "*/*") &&
		add_header(attempt, "Webhook-Id", detail(attempt, "id")) &&
		add_header(attempt, "Webhook-Timestamp", timestamp) &&
		add_header(attempt, "Webhook-Signature", signatures);
}

static bool
set_options(Attempt *attempt)
{
	CURL *easy = attempt->easy;
	const HfRequest request = {.url = detail(attempt, "url"),
							   .agent = "Holdfast-Webhooks",
							   .headers = attempt->headers,
							   .body = detail(attempt, "body"),
							   .timeout = hf_config.webhook_timeout,
							   .take = take_piece,
							   .context = attempt};

	HF_TRANSFER_SET(easy, CURLOPT_PROXY, "");
	/* An address is looked at when a socket is made: no connection is one that others have made. */
	HF_TRANSFER_SET(easy, CURLOPT_FRESH_CONNECT, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_FORBID_REUSE, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	HF_TRANSFER_SET(easy, CURLOPT_OPENSOCKETDATA, attempt);
	HF_TRANSFER_SET(easy, CURLOPT_NOPROGRESS, 0L);
	HF_TRANSFER_SET(easy, CURLOPT_XFERINFOFUNCTION, look);
	HF_TRANSFER_SET(easy, CURLOPT_XFERINFODATA, attempt);
	return hf_transfer_set_http(easy, &request);
}

/* Begins an attempt whose turn it is. */
static void
begin(Attempt *attempt)
{
	attempt->began_at = hf_clock();
	attempt->easy = curl_easy_init();
	if (attempt->easy == NULL || !add_headers(attempt) || !add_header(attempt, "Expect", "") ||
		!set_options(attempt) || !hf_transfer_start(attempt->easy, ended, attempt))
		end_attempt(attempt, 0, 0, "it could not be sent");
}

/* Begins what there is room for, those first that wait longest. */
static void
step(int64_t now)
{
	Attempt *next;

	if (!may_begin)
		return;
	may_begin = false;
	for (Attempt *attempt = attempts; attempt != NULL; attempt = next)
	{
		next = attempt->next;
		if (attempt->easy != NULL)
			continue;
		/* Late is worse than put off: its time might be over in the middle. */
		if (attempt->job->until - now < (int64_t) hf_config.webhook_timeout)
			put_off(attempt);
		else if (has_room(attempt))
			begin(attempt);
	}
}

static int64_t
deadline(bool database_is_ready)
{
	(void) database_is_ready;
	return may_begin ? 0 : HF_NEVER;
}

/* It comes after the jobs, who may give some up in their turn. */
const HfPart hf_webhook_part = {.step = step, .deadline = deadline};

/* Notes the host of a URL; none that cannot be read. */
static void
read_host(Attempt *attempt)
{
	CURLU *url = curl_url();
	char *host = NULL;

	if (url != NULL && curl_url_set(url, CURLUPART_URL, detail(attempt, "url"), 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK)
		for (size_t i = 0; host[i] != '\0' && i < sizeof(attempt->host) - 1; i++)
			attempt->host[i] = (char) tolower((unsigned char) host[i]);
	curl_free(host);
	curl_url_cleanup(url);
}

static void
start(HfJob *job)
{
	Attempt *attempt = calloc(1, sizeof(Attempt));

	if (attempt == NULL)
	{
		hf_job_end(job, HF_JOB_FAILED, "out of memory", NULL);
		return;
	}
	attempt->job = job;
	attempt->merchant = json_string_value(json_object_get(job->payload, "merchant_id"));
	if (attempt->merchant == NULL)
		attempt->merchant = "";
	read_host(attempt);
	/* Who has answered nothing good lately may hang again. */
	attempt->share = json_is_true(json_object_get(job->details, "failing")) ? 1 : share;
	job->work = attempt;
	link_attempt(attempt);
	may_begin = true;
}

static void
cancel(HfJob *job)
{
	Attempt *attempt = job->work;

	if (attempt->easy != NULL)
		hf_transfer_stop(attempt->easy);
	free_attempt(attempt);
}

static HfKind kind = {
	.label = "webhook",
	.kinds = "{webhook}",
	.details = "shop.delivery_details",
	.record = "shop.record_deliveries",
	.start = start,
	.cancel = cancel,
};

/* Does the webhooks of merchants. */
bool
hf_webhook_load(char *error, size_t room)
{
	(void) error;
	(void) room;
	kind.most = hf_config.webhook_jobs;
	kind.timeout = 2 * hf_config.webhook_timeout + MARGIN;
	share = hf_config.webhook_jobs < 4 ? 1 : hf_config.webhook_jobs / 4;
	hf_job_add(&kind);
	return true;
}
