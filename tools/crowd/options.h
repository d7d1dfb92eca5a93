/*
 * options.h
 *		What the command line asks for.
 */
#ifndef HF_CROWD_OPTIONS_H
#define HF_CROWD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef enum HfMode
{
	HF_MODE_POST,
	HF_MODE_TICKET,
	HF_MODE_PURCHASE,
	HF_MODE_SOLD_OUT,
	HF_MODE_WHOLE
} HfMode;

typedef struct HfOptions
{
	/* where */
	struct sockaddr_storage address;
	socklen_t address_length;
	char host[128];
	uint32_t
		from; /* the first address that connections come from, and how many there are; 0: any */
	uint32_t from_count;
	unsigned connections;

	/* what */
	HfMode mode;
	const char *method;
	const char *path;
	const char *body;
	char headers[1024]; /* lines */
	bool keys;			/* each request of mode post has an Idempotency-Key */
	const char *sale;
	unsigned quantity;
	const char *payment; /* the method */

	/* who */
	const char *buyers;
	const char *tickets;
	bool once;
	unsigned retries;
	double abandon; /* shares, 0 to 1 */
	double leave;
	double twice;

	/* how many, and how fast; times in nanoseconds */
	uint64_t duration; /* 0: no end */
	uint64_t requests; /* 0: no end */
	double rate;	   /* 0: whenever an answer has come */
	uint64_t timeout;
	uint64_t grace;
	uint64_t pay_timeout;
	uint64_t poll;
	uint64_t seed;

	/* what is told */
	const char *journal;
	const char *write_tickets;
	bool json;
	bool progress;
	uint64_t interval;
} HfOptions;

extern HfOptions hf_options;

/* Reads the command line, or says what is wrong with it and exits. */
extern void hf_options_read(int argc, char **argv);

extern void hf_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
