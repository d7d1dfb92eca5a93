/*
 * transfer.h
 *		Transfers of libcurl, all under way at once.
 */
#ifndef HF_TRANSFER_H
#define HF_TRANSFER_H

#include <curl/curl.h>

#include <stdbool.h>

struct pollfd;

/* The transfer has ended, and its handle is its owner's again, who cleans it up. */
typedef void (*HfTransferDone)(void *context, CURL *easy, CURLcode result);

extern bool hf_transfer_begin(void);
extern bool hf_transfer_start(CURL *easy, HfTransferDone done, void *context);
extern void hf_transfer_stop(CURL *easy);
extern void hf_transfer_step(void);
extern void hf_transfer_wait(struct pollfd *others, int n, int milliseconds);
extern void hf_transfer_end(void);

#endif
