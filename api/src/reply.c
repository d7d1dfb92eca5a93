/*
 * reply.c
 *		Answers: made as soon as they are known, sent when Kore runs the request again.
 *
 * An answer is made once; whoever comes later with another finds the request answered.  All headers
 * go to Kore as one: it copies each that it is given, and its name.
 *
 * A compressed body is another representation and so has another ETag: "x-gzip" instead of "x"
 * (RFC 9110, section 8.8.3.3).  Whoever sends one back means "x".
 */
#include "kore.h"

#include "frame.h"
#include "gzip.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "reply.h"
#include "routes.h"

#include <sodium.h>
#include <stdarg.h>

#define HEAD_MAX	 8192
#define PROBLEM_MAX	 2048
#define TYPE_JSON	 "application/json"
#define TYPE_PROBLEM "application/problem+json"

static struct
{
	char text[HEAD_MAX];
	size_t used;
} head;

/*
 * Adds what all these texts, up to a NULL, are together, or nothing if there is no room.  This runs
 * for every answer many times, and so without a format.
 */
static void __attribute__((sentinel)) add_header(const char *text, ...)
{
	size_t used = head.used;
	va_list args;

	va_start(args, text);
	for (; text != NULL; text = va_arg(args, const char *))
	{
		size_t length = strlen(text);

		if (length >= HEAD_MAX - used)
			break;
		memcpy(head.text + used, text, length);
		used += length;
	}
	va_end(args);
	if (text == NULL)
		head.used = used;
}

/* A number in decimal. */
typedef struct Digits
{
	char text[11];
} Digits;

static const char *
write_digits(Digits *digits, unsigned value)
{
	char *at = digits->text + sizeof(digits->text) - 1;

	*at = '\0';
	do
		*--at = (char) ('0' + value % 10);
	while ((value /= 10) > 0);
	return at;
}

/* Makes the answer final; Kore sends it, soon. */
static void
finish(HfRequest *request, int status, const char *type)
{
	request->reply.status = status;
	request->reply.type = type;
	request->replied = true;
	if (request->sleeping)
	{
		request->sleeping = false;
		http_request_wakeup(request->http);
	}
}

/* Takes a copy of the body; false if memory is short. */
static bool
take_body(HfReply *reply, const HfText *body)
{
	if (reply->room < body->length)
	{
		free(reply->body);
		reply->body = malloc(body->length);
		reply->room = reply->body != NULL ? body->length : 0;
		if (reply->body == NULL)
			return false;
	}
	if (body->length > 0)
		memcpy(reply->body, body->data, body->length);
	reply->length = body->length;
	return true;
}

/* Answers with a document of JSON, or without a body if its data is NULL. */
void
hf_reply(HfRequest *request, int status, const HfText *json)
{
	hf_reply_packed(request, status, json, NULL);
}

/*
 * Does a list of ETags, such as If-None-Match, name this one? Weakly (RFC 9110, section 8.8.3.2).
 */
static bool
matches(const char *header, const char *etag)
{
	size_t length = strlen(etag);

	for (const char *at = header; (at = strchr(at, '"')) != NULL;)
	{
		const char *end = strchr(at + 1, '"');

		if (end == NULL)
			return false;
		if (strncmp(at, etag, length - 1) == 0 &&
			(at + length - 1 == end || strncmp(at + length - 1, "-gzip\"", 6) == 0))
			return true;
		at = end + 1;
	}
	return strcmp(header, "*") == 0;
}

static bool
is_unchanged(const HfRequest *request)
{
	const char *header;

	if (request->reply.etag[0] == '\0' ||
		(header = hf_request_header(request, "if-none-match")) == NULL)
		return false;
	return matches(header, request->reply.etag);
}

/* As hf_reply(), for a body that somebody may have compressed already: then gzip has data. */
void
hf_reply_packed(HfRequest *request, int status, const HfText *plain, const HfText *gzip)
{
	HfText packed = {NULL, 0}, none = {NULL, 0};
	bool is_get = request->route != NULL && request->route->method == HF_GET;

	if (!hf_request_is_open(request))
		return;
	if (plain->length >= HF_GZIP_LEAST && is_get && hf_request_accepts_gzip(request))
		packed = gzip != NULL ? *gzip : hf_gzip(plain);
	request->reply.gzip = packed.data != NULL;
	if (status == 200 && is_get && is_unchanged(request))
	{
		take_body(&request->reply, &none);
		finish(request, 304, NULL);
		return;
	}
	if (!take_body(&request->reply, packed.data != NULL ? &packed : plain))
	{
		request->reply.gzip = false;
		request->reply.length = 0;
		status = 503;
	}
	finish(request, status, plain->data != NULL ? TYPE_JSON : NULL);
}

/* Answers with text of some type, which is a constant. */
void
hf_reply_text(HfRequest *request, int status, const char *type, const HfText *text)
{
	hf_reply_packed(request, status, text, NULL);
	if (request->replied && request->reply.status == status)
		request->reply.type = type;
}

/*
 * Answers with a stream of some type, which begins when the answer is sent; if it cannot begin, the
 * answer is 503.
 */
void
hf_reply_stream(HfRequest *request, const char *type, HfReplyBegin begin)
{
	if (!hf_request_is_open(request))
		return;
	request->reply.endless = true;
	request->reply.begin = request->http->method == HTTP_METHOD_HEAD ? NULL : begin;
	request->reply.length = 0;
	finish(request, 200, type);
}

/* Answers with a problem of ours. */
void
hf_reply_problem(HfRequest *request, HfProblemCode code, const char *pointer, const char *detail)
{
	if (code == HF_PROBLEM_INVALID_TOKEN)
		request->reply.challenge = "Bearer realm=\"holdfast\", error=\"invalid_token\"";
	hf_reply_refusal(request, hf_problem(code), pointer, detail);
}

/* What is wrong with a request for a token, in the words of RFC 6749, section 5.2. */
static size_t
write_oauth_error(char *document, size_t room, const HfProblem *problem, const char *detail)
{
	const char *error = "invalid_request";

	if (strcmp(problem->name, "invalid_grant") == 0 ||
		strcmp(problem->name, "unsupported_grant_type") == 0)
		error = problem->name;
	else if (problem->status == 403)
		error = "invalid_grant";
	return hf_problem_write_oauth(document, room, error,
								  detail != NULL && *detail != '\0' ? detail : problem->title);
}

/* Answers with a problem, whoever refused. What is only for the moment says when to come again. */
void
hf_reply_refusal(HfRequest *request, const HfProblem *problem, const char *pointer,
				 const char *detail)
{
	static char document[PROBLEM_MAX];
	HfText body = {document, 0};

	bool is_oauth = request->route != NULL && request->route->body == HF_FORM &&
		(problem->status == 400 || problem->status == 403 || problem->status == 422);

	if (!hf_request_is_open(request))
		return;
	if (is_oauth)
		body.length = write_oauth_error(document, sizeof(document), problem, detail);
	else
		body.length =
			hf_problem_write(document, sizeof(document), problem, pointer, detail, request->id);
	request->reply.code = problem->name;
	request->reply.gzip = false;
	request->reply.etag[0] = '\0';
	if ((problem->status == 429 || problem->status == 503) && request->reply.retry_after == 0)
		request->reply.retry_after = 1;
	if (problem->status == 401 && request->reply.challenge == NULL)
		request->reply.challenge = "Bearer realm=\"holdfast\"";
	if (!take_body(&request->reply, &body))
		request->reply.length = 0;
	request->reply.no_store = request->reply.no_store || is_oauth;
	finish(request, is_oauth ? 400 : problem->status, is_oauth ? TYPE_JSON : TYPE_PROBLEM);
}

/* An ETag for a body that has no version: BLAKE2b (RFC 7693) of what is in it. */
void
hf_reply_etag(char etag[HF_REPLY_ETAG_MAX + 1], const HfText *body)
{
	unsigned char hash[crypto_generichash_BYTES_MIN];
	char text[2 * sizeof(hash) + 1];

	crypto_generichash(hash, sizeof(hash), (const unsigned char *) body->data, body->length, NULL,
					   0);
	sodium_bin2hex(text, sizeof(text), hash, sizeof(hash));
	snprintf(etag, HF_REPLY_ETAG_MAX + 1, "\"%s\"", text);
}

static const char *
allowed_origin(const HfRequest *request)
{
	const char *origin;

	if (hf_config.cors_origins[0] == NULL ||
		(origin = hf_request_header(request, "origin")) == NULL)
		return NULL;
	for (char **allowed = hf_config.cors_origins; *allowed != NULL; allowed++)
		if (strcmp(*allowed, origin) == 0 || strcmp(*allowed, "*") == 0)
			return origin;
	return NULL;
}

/* What a page of another origin may do (Fetch standard, section 3.2); no cookies are used here. */
static void
add_cors(const HfRequest *request)
{
	const char *origin = allowed_origin(request);

	if (origin == NULL)
		return;
	add_header("\r\naccess-control-allow-origin: ", origin, NULL);
	if (request->http->method == HTTP_METHOD_OPTIONS)
		add_header(
			"\r\naccess-control-allow-methods: ", request->reply.allow,
			"\r\naccess-control-allow-headers: authorization, content-type, idempotency-key, "
			"if-match, if-none-match, x-request-id"
			"\r\naccess-control-max-age: 7200",
			NULL);
	else
		add_header("\r\naccess-control-expose-headers: etag, idempotency-replayed, link, location, "
				   "ratelimit, ratelimit-policy, retry-after, x-request-id",
				   NULL);
}

/* RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10). */
static void
add_limits(const HfRequest *request)
{
	static const char *const scope[HF_LIMIT_SCOPES] = {"global", "address", "account"};
	const HfLimitVerdict *limit = &request->limit;
	Digits digits[4];

	if (limit->quota == 0)
		return;
	add_header("\r\nratelimit-policy: \"", scope[limit->scope],
			   "\";q=", write_digits(&digits[0], limit->quota),
			   ";w=", write_digits(&digits[1], limit->window), "\r\nratelimit: \"",
			   scope[limit->scope], "\";r=", write_digits(&digits[2], limit->remaining),
			   ";t=", write_digits(&digits[3], limit->reset), NULL);
}

static void
add_caching(const HfRequest *request)
{
	const HfReply *reply = &request->reply;
	bool is_get = request->route != NULL && request->route->method == HF_GET;

	if (reply->no_store || reply->status >= 400)
		add_header("\r\ncache-control: no-store", NULL);
	else if (is_get)
		add_header("\r\ncache-control: ", request->account != 0 ? "private" : "public",
				   ", no-cache", NULL);
	/* RFC 6749, section 5.1, wants this beside it. */
	if (reply->no_store && request->route != NULL && request->route->body == HF_FORM)
		add_header("\r\npragma: no-cache", NULL);
	if (is_get)
		add_header("\r\nvary: accept-encoding, authorization",
				   hf_config.cors_origins[0] != NULL ? ", origin" : "", NULL);
	else if (hf_config.cors_origins[0] != NULL)
		add_header("\r\nvary: origin", NULL);
	if (reply->etag[0] != '\0')
	{
		add_header("\r\netag: ", reply->etag, NULL);
		/* Before the quotation mark at its end. */
		if (reply->gzip)
		{
			head.used--;
			add_header("-gzip\"", NULL);
		}
	}
	if (reply->gzip && reply->status != 304)
		add_header("\r\ncontent-encoding: gzip", NULL);
}

static void
make_head(const HfRequest *request)
{
	const HfReply *reply = &request->reply;
	Digits digits;

	head.used = 0;
	add_header(request->id, NULL);
	if (reply->type != NULL)
		add_header("\r\ncontent-type: ", reply->type, NULL);
	add_caching(request);
	if (reply->location[0] != '\0')
		add_header("\r\nlocation: ", reply->location, NULL);
	if (reply->link[0] != '\0')
		add_header("\r\nlink: ", reply->link, NULL);
	if (reply->allow[0] != '\0')
		add_header("\r\nallow: ", reply->allow, NULL);
	if (reply->replayed)
		add_header("\r\nidempotency-replayed: true", NULL);
	if (reply->challenge != NULL)
		add_header("\r\nwww-authenticate: ", reply->challenge, NULL);
	if (reply->retry_after > 0)
		add_header("\r\nretry-after: ", write_digits(&digits, reply->retry_after), NULL);
	add_limits(request);
	add_cors(request);
	head.text[head.used] = '\0';
}

static void
note(const HfRequest *request)
{
	const HfReply *reply = &request->reply;
	uint64_t took = hf_loop_microseconds() - request->started;
	HfLogRequest line = {.id = request->id,
						 .method = http_method_text(request->http->method),
						 .route = request->route != NULL ? request->route->pattern : NULL,
						 .address = request->address,
						 .code = reply->code,
						 .account = request->account,
						 .status = reply->status,
						 .microseconds = took,
						 .bytes = reply->length};

	hf_metrics_request(request->route != NULL ? hf_route_number(request->route) : hf_routes_count(),
					   reply->status, took);
	if (hf_config.access_log || reply->status >= 500)
		hf_log_request(&line);
}

/* Begins a stream; if it cannot be, the answer is another one. */
static bool
begin_stream(HfRequest *request)
{
	HfReply *reply = &request->reply;
	HfText first = {NULL, 0};

	if (reply->begin == NULL)
		return false;
	if (reply->begin(request, &first))
	{
		take_body(reply, &first);
		return true;
	}
	reply->endless = false;
	request->replied = false;
	hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	return false;
}

/* Gives the answer to Kore, which sends it. */
void
hf_reply_send(HfRequest *request)
{
	struct http_request *http = request->http;
	struct connection *connection = http->owner;
	HfReply *reply = &request->reply;
	bool streams = begin_stream(request);

	make_head(request);
	note(request);
	/* A 304 says nothing of how long the body would be. */
	if (reply->status == 304 || reply->endless)
		http->flags |= HTTP_REQUEST_NO_CONTENT_LENGTH;
	http_response_header(http, "x-request-id", head.text);
	/* A stream ends with its connection, which Kore must say, and not do. */
	if (streams)
		connection->flags |= CONN_CLOSE_EMPTY;
	else
		hf_frame_responding(connection, true);
	http_response(http, reply->status, reply->length > 0 ? reply->body : NULL, reply->length);
	if (streams)
		connection->flags &= ~CONN_CLOSE_EMPTY;
	else
		hf_frame_responding(connection, false);
}
