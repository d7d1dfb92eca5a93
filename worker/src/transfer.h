/*
 * transfer.h
 *		Transfers of libcurl, all under way at once.
 */
#ifndef HF_TRANSFER_H
#define HF_TRANSFER_H

#include <curl/curl.h>

#include <stdbool.h>

struct pollfd;

/* Sets an option of a handle; if that cannot be, the function that does returns false. */
#define HF_TRANSFER_SET(easy, option, value)                         \
	do                                                               \
	{                                                                \
		if (curl_easy_setopt((easy), (option), (value)) != CURLE_OK) \
			return false;                                            \
	} while (0)

/* A request of HTTP, as far as all are alike. */
typedef struct HfRequest
{
	const char *url;
	const char *agent;
	struct curl_slist *headers;
	const char *body;		  /* to be posted; NULL: GET */
	unsigned timeout;		  /* milliseconds */
	curl_write_callback take; /* pieces of the answer */
	void *context;
} HfRequest;

/* The transfer has ended, and its handle is its owner's again, who cleans it up. */
typedef void (*HfTransferDone)(void *context, CURL *easy, CURLcode result);

extern bool hf_transfer_is_url(const char *url, const char *scheme, const char *other);
extern bool hf_transfer_set_http(CURL *easy, const HfRequest *request);
extern bool hf_transfer_begin(void);
extern bool hf_transfer_start(CURL *easy, HfTransferDone done, void *context);
extern void hf_transfer_stop(CURL *easy);
extern void hf_transfer_step(void);
extern void hf_transfer_wait(struct pollfd *others, int n, int milliseconds);
extern void hf_transfer_end(void);

#endif
