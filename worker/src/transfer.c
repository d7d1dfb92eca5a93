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

#define WAITS_MAX 96

typedef struct Transfer
{
	HfTransferDone done;
	void *context;
} Transfer;

static CURLM *multi;

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
