/*
 * image_process.h
 *		Processes of the image program.
 */
#ifndef HF_IMAGE_PROCESS_H
#define HF_IMAGE_PROCESS_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pollfd;

/* How a process has answered; without an answer it is gone, and there is a reason. */
typedef enum HfImageEnd
{
	HF_IMAGE_ANSWERED,
	HF_IMAGE_CRASHED, /* in the middle of the request, or because its time was over */
	HF_IMAGE_ABSENT	  /* it could not be started */
} HfImageEnd;

typedef void (*HfImageDone)(void *context, HfImageEnd end, const json_t *answer,
							const char *reason);

extern bool hf_image_process_load(HfImageDone done, char *error, size_t room);
extern bool hf_image_process_ask(const json_t *request, unsigned timeout, void *context);
extern void hf_image_process_drop(const void *context);
extern void hf_image_process_step(int64_t now);
extern int64_t hf_image_process_deadline(void);
extern int hf_image_process_watch(struct pollfd *sockets, int room);
extern void hf_image_process_end(void);

#endif
