/*
 * request.h
 *		A request: what is known of it, from its first byte to its answer.
 *
 * It is not Kore's: that one is gone at once when the client leaves, while a statement of ours may
 * still be under way.  So whoever waits for something holds ours, which knows whether there is
 * anybody left to answer.
 */
#ifndef HF_REQUEST_H
#define HF_REQUEST_H

#include "frame.h"
#include "limit.h"
#include "problem.h"

#include <jansson.h>
#include <netinet/in.h>

#define HF_REQUEST_ID_MAX	128
#define HF_REQUEST_CAPTURES 2
#define HF_REPLY_ETAG_MAX	159
#define HF_REQUEST_QUERY	32 /* parameters, at most */

struct http_request;

typedef struct HfRoute HfRoute;

/* One parameter of a query or a form, decoded. */
typedef struct HfParameter
{
	char *name;
	char *value;
} HfParameter;

typedef struct HfParameters
{
	size_t n;
	HfParameter of[HF_REQUEST_QUERY];
	char *memory;
} HfParameters;

typedef struct HfRequest HfRequest;

/*
 * Takes over the connection of an answer that goes on as long as the client likes, and makes its
 * first part; false if that cannot be done.
 */
typedef bool (*HfReplyBegin)(HfRequest *request, HfText *first);

/* The answer; what is NULL or 0 is not sent. Texts that are no constants are the request's own. */
typedef struct HfReply
{
	int status;
	const char *type;
	const char *code; /* of the problem */
	bool endless;	  /* its length is not known */
	HfReplyBegin begin;
	char *body;
	size_t length, room;
	bool gzip;
	bool replayed;
	bool no_store;
	unsigned retry_after; /* seconds */
	char etag[HF_REPLY_ETAG_MAX + 1];
	char location[300];
	char link[2200];
	char allow[64];
	const char *challenge; /* WWW-Authenticate */
} HfReply;

struct HfRequest
{
	struct http_request *http; /* NULL: the client has left */
	HfRequest *next,
		*previous;	/* of those that wait, the oldest first; or of those that are free */
	unsigned holds; /* Kore's, and one of each that will call back */
	bool replied;
	bool waiting; /* in the list */
	bool sleeping;
	uint64_t started;  /* microseconds */
	uint64_t deadline; /* milliseconds */

	const HfRoute *route;
	char id[HF_REQUEST_ID_MAX + 1];
	char address[INET6_ADDRSTRLEN];
	HfText capture[HF_REQUEST_CAPTURES];
	char *captured;

	int64_t account; /* 0: nobody is logged in */
	bool staff;		 /* who may see more than the public does */
	HfLimitVerdict limit;

	char *query; /* the query as a JSON object of strings, its names in order; NULL: not read */
	HfText body; /* Kore's memory: there as long as the client is */
	json_t *json;
	HfParameters form;

	HfReply reply;

	void *state; /* the handler's own, from malloc() */
};

extern void hf_request_make_id(char id[HF_FRAME_ID_MAX + 1]);
extern HfRequest *hf_request_new(struct http_request *http);
extern HfRequest *hf_request_of(struct http_request *http);
extern void hf_request_hold(HfRequest *request);
extern void hf_request_release(HfRequest *request);
extern bool hf_request_is_open(const HfRequest *request);
extern void hf_request_wait(HfRequest *request, unsigned timeout);
extern HfRequest *hf_request_overdue(uint64_t now);
extern const char *hf_request_header(const HfRequest *request, const char *name);
extern bool hf_request_accepts_gzip(const HfRequest *request);
extern unsigned hf_requests_open(void);

extern bool hf_parameters_read(HfParameters *parameters, const char *text, size_t length);
extern const char *hf_parameter(const HfParameters *parameters, const char *name);
extern void hf_parameters_free(HfParameters *parameters);

#endif
