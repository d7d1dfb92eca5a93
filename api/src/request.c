/*
 * request.c
 *		A request: what is known of it, from its first byte to its answer.
 *
 * A request is held by Kore's until that one is freed, and once by each call that is under way
 * for it.  What is left when nobody holds it is used again for the next one, with its buffer.
 * Requests that wait stand in a list, in the order in which they came; how long they may wait
 * hardly differs, so whoever looks for those that are overdue looks at all of them, but not
 * often.
 */
#include "kore.h"

#include "loop.h"
#include "metrics.h"
#include "request.h"

#include <arpa/inet.h>

#define FREE_MAX  1024		  /* requests kept for the next ones */
#define BODY_KEPT (16 * 1024) /* bytes of an answer's buffer that are kept with them */

static HfRequest *free_requests;
static unsigned frees;
static HfRequest *oldest, *youngest;
static unsigned open_requests;

/* Makes an id: a random beginning for the worker, and a number. */
void
hf_request_make_id(char id[HF_FRAME_ID_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	static char beginning[12];
	static uint32_t number;
	uint64_t random;

	if (number == 0)
	{
		arc4random_buf(&random, sizeof(random));
		for (size_t i = 0; i < sizeof(beginning); i++, random >>= 4)
			beginning[i] = digits[random & 15];
	}
	number++;
	memcpy(id, beginning, sizeof(beginning));
	for (int i = 0; i < 8; i++)
		id[sizeof(beginning) + (size_t) i] = digits[number >> (28 - 4 * i) & 15];
	id[sizeof(beginning) + 8] = '\0';
}

/* Takes over the client's id if it is a word that can stand in a log. */
static void
take_id(HfRequest *request)
{
	const char *given = hf_request_header(request, "x-request-id");
	size_t length = given != NULL ? strlen(given) : 0;

	if (length == 0 || length > HF_REQUEST_ID_MAX ||
		strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") !=
			length)
		hf_request_make_id(request->id);
	else
		memcpy(request->id, given, length + 1);
}

static bool
is_trusted(const char *address)
{
	for (char **proxy = hf_config.trusted_proxies; *proxy != NULL; proxy++)
		if (strcmp(*proxy, address) == 0)
			return true;
	return false;
}

/*
 * Finds out whose request it is: the peer's, or if that is a proxy we trust, whose it says.  A
 * proxy on a socket of the file system is trusted as its permissions are.
 */
static void
take_address(HfRequest *request)
{
	struct connection *connection = request->http->owner;
	unsigned char bytes[sizeof(struct in6_addr)];
	const char *said;
	bool trusted = connection->family == AF_UNIX;

	request->address[0] = '\0';
	if (connection->family == AF_INET)
		inet_ntop(AF_INET, &connection->addr.ipv4.sin_addr, request->address, INET6_ADDRSTRLEN);
	else if (connection->family == AF_INET6)
		inet_ntop(AF_INET6, &connection->addr.ipv6.sin6_addr, request->address, INET6_ADDRSTRLEN);
	if (!trusted && !is_trusted(request->address))
		return;
	said = hf_request_header(request, "x-real-ip");
	if (said != NULL &&
		(inet_pton(AF_INET, said, bytes) == 1 || inet_pton(AF_INET6, said, bytes) == 1))
		snprintf(request->address, sizeof(request->address), "%s", said);
}

/* Kore's request is about to be freed, answered or not. It may say so more than once. */
static void
on_free(struct http_request *http)
{
	HfRequest *request = hf_request_of(http);

	http->onfree = NULL;
	if (!request->replied)
		hf_metrics_add(HF_METRIC_CLIENTS_LEFT, 1);
	request->http = NULL;
	open_requests--;
	hf_request_release(request);
}

/* Begins a request of Kore's; NULL if memory is short. */
HfRequest *
hf_request_new(struct http_request *http)
{
	HfRequest *request = free_requests;
	HfReply kept = {0};

	if (request != NULL)
	{
		free_requests = request->next;
		frees--;
		kept = request->reply;
	}
	else if ((request = malloc(sizeof(HfRequest))) == NULL)
		return NULL;
	memset(request, 0, offsetof(HfRequest, reply));
	memset(&request->reply, 0, offsetof(HfReply, etag));
	request->reply.etag[0] = request->reply.location[0] = '\0';
	request->reply.link[0] = request->reply.allow[0] = '\0';
	request->reply.challenge = NULL;
	request->reply.body = kept.body;
	request->reply.room = kept.room;
	request->state = NULL;
	request->http = http;
	request->holds = 1;
	request->started = hf_loop_microseconds();
	open_requests++;
	*(HfRequest **) http_state_create(http, sizeof(HfRequest *), on_free) = request;
	take_id(request);
	take_address(request);
	return request;
}

/* The request that was begun for one of Kore's, or NULL. */
HfRequest *
hf_request_of(struct http_request *http)
{
	return http_state_exists(http) ? *(HfRequest **) http_state_get(http) : NULL;
}

static void
stop_waiting(HfRequest *request)
{
	if (!request->waiting)
		return;
	*(request->previous != NULL ? &request->previous->next : &oldest) = request->next;
	*(request->next != NULL ? &request->next->previous : &youngest) = request->previous;
	request->waiting = false;
}

void
hf_request_hold(HfRequest *request)
{
	request->holds++;
}

void
hf_request_release(HfRequest *request)
{
	if (--request->holds > 0)
		return;
	stop_waiting(request);
	json_decref(request->json);
	hf_parameters_free(&request->form);
	free(request->captured);
	free(request->query);
	free(request->state);
	if (request->reply.room > BODY_KEPT)
	{
		free(request->reply.body);
		request->reply.body = NULL;
		request->reply.room = 0;
	}
	if (frees == FREE_MAX)
	{
		free(request->reply.body);
		free(request);
		return;
	}
	request->next = free_requests;
	free_requests = request;
	frees++;
}

/* Is there a client who waits for an answer? */
bool
hf_request_is_open(const HfRequest *request)
{
	return request->http != NULL && !request->replied;
}

/* From now on the request may wait so many milliseconds for its answer. */
void
hf_request_wait(HfRequest *request, unsigned timeout)
{
	request->deadline = hf_loop_now() + timeout;
	if (request->waiting)
		return;
	request->waiting = true;
	request->next = NULL;
	request->previous = youngest;
	*(youngest != NULL ? &youngest->next : &oldest) = request;
	youngest = request;
}

/* Takes a request that has waited too long out of the list; NULL if there is none. */
HfRequest *
hf_request_overdue(uint64_t now)
{
	for (HfRequest *request = oldest; request != NULL; request = request->next)
		if (request->deadline <= now)
		{
			stop_waiting(request);
			return request;
		}
	return NULL;
}

/* The value of a header, or NULL. */
const char *
hf_request_header(const HfRequest *request, const char *name)
{
	struct http_header *header;

	TAILQ_FOREACH(header, &request->http->req_headers, list)
	if (strcasecmp(header->header, name) == 0)
		return header->value;
	return NULL;
}

/*
 * Does the client take gzip (RFC 9110, section 12.5.3)?  It must say so by name; weights are read
 * only as far as a 0.
 */
bool
hf_request_accepts_gzip(const HfRequest *request)
{
	const char *value = hf_request_header(request, "accept-encoding");

	while (value != NULL && *value != '\0')
	{
		size_t length;

		value += strspn(value, ", \t");
		length = strcspn(value, ",; \t");
		if (length == 4 && strncasecmp(value, "gzip", 4) == 0)
		{
			value += length;
			value += strspn(value, "; \t");
			return strncasecmp(value, "q=", 2) != 0 || strtod(value + 2, NULL) > 0;
		}
		value += strcspn(value, ",");
	}
	return false;
}

/* Requests that were begun and whose client is still there. */
unsigned
hf_requests_open(void)
{
	return open_requests;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes "%XX" and "+" in place; false if there is half of one, or a NUL comes out. */
static bool
decode(char *text)
{
	char *to = text;

	for (; *text != '\0'; text++)
	{
		int high, low;

		*to = *text == '+' ? ' ' : *text;
		if (*text == '%')
		{
			if ((high = hex(text[1])) < 0 || (low = hex(text[2])) < 0 || high + low == 0)
				return false;
			*to = (char) (high << 4 | low);
			text += 2;
		}
		to++;
	}
	*to = '\0';
	return true;
}

/*
 * Reads a query or a form (application/x-www-form-urlencoded).  False if it cannot be read, there
 * are too many, or one comes twice: which of the two would count?
 */
bool
hf_parameters_read(HfParameters *parameters, const char *text, size_t length)
{
	char *rest, *part;

	parameters->n = 0;
	parameters->memory = length > 0 ? malloc(length + 1) : NULL;
	if (length == 0)
		return true;
	if (parameters->memory == NULL || memchr(text, '\0', length) != NULL)
		return false;
	memcpy(parameters->memory, text, length);
	parameters->memory[length] = '\0';
	rest = parameters->memory;
	while ((part = strsep(&rest, "&")) != NULL)
	{
		HfParameter *parameter = &parameters->of[parameters->n];

		if (*part == '\0')
			continue;
		if (parameters->n == HF_REQUEST_QUERY)
			return false;
		parameter->value = part;
		parameter->name = strsep(&parameter->value, "=");
		if (parameter->value == NULL)
			parameter->value = parameter->name + strlen(parameter->name);
		if (!decode(parameter->name) || !decode(parameter->value) ||
			hf_parameter(parameters, parameter->name) != NULL)
			return false;
		parameters->n++;
	}
	return true;
}

/* The value of a parameter, or NULL. */
const char *
hf_parameter(const HfParameters *parameters, const char *name)
{
	for (size_t i = 0; i < parameters->n; i++)
		if (strcmp(parameters->of[i].name, name) == 0)
			return parameters->of[i].value;
	return NULL;
}

void
hf_parameters_free(HfParameters *parameters)
{
	free(parameters->memory);
	parameters->memory = NULL;
	parameters->n = 0;
}
