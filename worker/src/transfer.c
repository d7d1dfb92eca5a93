/*
 * transfer.c
 *		Transfers of libcurl, all under way at once, and the one place where the process waits.
 *
 * Invariants: nothing here waits but hf_transfer_wait().  A transfer that was started ends with
 * exactly one call of its `done`, unless it is stopped; `done` may start others, and stop them.
 */
#include "transfer.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define WAITS_MAX	 96
#define CONNECT_MOST 5000L /* milliseconds */

typedef struct Transfer
{
	HfTransferDone done;
	void *context;
} Transfer;

static CURLM *multi;

/* Is this a URL of one of two schemes with a host, without user and query? */
bool
hf_transfer_is_url(const char *url, const char *scheme, const char *other)
{
	CURLU *parsed = curl_url();
	char *its = NULL, *host = NULL, *user = NULL;
	bool good = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_SCHEME, &its, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
		(strcmp(its, scheme) == 0 || strcmp(its, other) == 0) && strpbrk(url, "?# ") == NULL;

	curl_free(its);
	curl_free(host);
	curl_free(user);
	curl_url_cleanup(parsed);
	return good;
}

/*
 * Makes a handle one of HTTP: nothing else is spoken, certificates are verified, redirections are
 * not followed.  Headers and body are the caller's until it has ended.  False if there is no
 * memory.
 */
bool
hf_transfer_set_http(CURL *easy, const HfRequest *request)
{
	long timeout = (long) request->timeout;

	HF_TRANSFER_SET(easy, CURLOPT_URL, request->url);
	HF_TRANSFER_SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	HF_TRANSFER_SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
	HF_TRANSFER_SET(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	HF_TRANSFER_SET(easy, CURLOPT_NOSIGNAL, 1L);
	/* Nobody waits for a name server when the time is over. */
	HF_TRANSFER_SET(easy, CURLOPT_QUICK_EXIT, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_USERAGENT, request->agent);
	HF_TRANSFER_SET(easy, CURLOPT_TIMEOUT_MS, timeout);
	HF_TRANSFER_SET(easy, CURLOPT_CONNECTTIMEOUT_MS,
					timeout < CONNECT_MOST ? timeout : CONNECT_MOST);
	HF_TRANSFER_SET(easy, CURLOPT_WRITEFUNCTION, request->take);
	HF_TRANSFER_SET(easy, CURLOPT_WRITEDATA, request->context);
	HF_TRANSFER_SET(easy, CURLOPT_HTTPHEADER, request->headers);
	if (request->body == NULL)
		return true;
	HF_TRANSFER_SET(easy, CURLOPT_POSTFIELDS, request->body);
	HF_TRANSFER_SET(easy, CURLOPT_POSTFIELDSIZE, (long) strlen(request->body));
	return true;
}

/* Begins, in the process that is going to transfer; false if there is no memory. */
bool
hf_transfer_begin(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return false;
	multi = curl_multi_init();
	return multi != NULL;
}

/*
 * Starts a transfer.  Its options are set, but for CURLOPT_PRIVATE, which is ours until it has
 * ended.  False if there is no memory: then nothing was begun.
 */
bool
hf_transfer_start(CURL *easy, HfTransferDone done, void *context)
{
	Transfer *transfer = malloc(sizeof(Transfer));

	if (transfer == NULL)
		return false;
	*transfer = (Transfer){.done = done, .context = context};
	if (curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK &&
		curl_multi_add_handle(multi, easy) == CURLM_OK)
		return true;
	free(transfer);
	return false;
}

/* Takes the handle out, and returns what was to be done at its end. */
static Transfer
take(CURL *easy)
{
	Transfer *transfer = NULL, taken;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer);
	curl_multi_remove_handle(multi, easy);
	taken = *transfer;
	free(transfer);
	return taken;
}

/* Gives a transfer up that has not ended: nobody is told. The handle is the caller's again. */
void
hf_transfer_stop(CURL *easy)
{
	(void) take(easy);
}

/* Does what can be done without waiting, and tells of the transfers that have ended. */
void
hf_transfer_step(void)
{
	CURLMsg *message;
	int n;

	curl_multi_perform(multi, &n);
	while ((message = curl_multi_info_read(multi, &n)) != NULL)
		if (message->msg == CURLMSG_DONE)
		{
			CURL *easy = message->easy_handle;
			CURLcode result = message->data.result;
			Transfer transfer = take(easy);

			transfer.done(transfer.context, easy, result);
		}
}

/* Waits until a transfer goes on, one of the others is ready, or the time is over. */
void
hf_transfer_wait(struct pollfd *others, int n, int milliseconds)
{
	struct curl_waitfd extra[WAITS_MAX];
	unsigned used = 0;

	for (int i = 0; i < n && used < WAITS_MAX; i++)
		if (others[i].fd >= 0)
			extra[used++] =
				(struct curl_waitfd){.fd = others[i].fd,
									 .events = (short) (((others[i].events & POLLIN) != 0
															 ? CURL_WAIT_POLLIN
															 : 0) |
														((others[i].events & POLLOUT) != 0
															 ? CURL_WAIT_POLLOUT
															 : 0))};
	curl_multi_poll(multi, extra, used, milliseconds, NULL);
	/* It does not tell of errors. */
	(void) poll(others, (nfds_t) n, 0);
}

void
hf_transfer_end(void)
{
	curl_multi_cleanup(multi);
	curl_global_cleanup();
}
