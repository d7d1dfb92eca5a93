/*
 * provider.c
 *		Calls providers by HTTP.
 *
 * A call is a request of its provider's protocol, or two: README.md has both protocols.  Of
 * holdfast it is a POST of JSON to the provider's URL with the call's key as Idempotency-Key; to
 * look one up is a GET of URL/KEY; that of Stripe is in stripe.c.  Many are under way at once; each
 * ends within its provider's timeout, and with exactly one call of `done`.
 *
 * Invariants: of an answer at most ANSWER_MAX bytes are kept.  Secrets and bodies are not logged.
 */
#include "provider.h"

#include "answer.h"
#include "clock.h"
#include "secret.h"
#include "stripe.h"
#include "transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX	  65536
#define SECRET_MAX	  1000
#define URL_MAX		  4096
#define HEADER_PREFIX "Authorization: Bearer "
#define API_VERSION	  "Stripe-Version: 2024-06-20" /* what stripe.c has read about */

struct HfProvider
{
	const HfProviderConfig *config;
	bool is_stripe;
	char authorization[sizeof(HEADER_PREFIX) + SECRET_MAX]; /* empty: none */
};

/* A call that is under way. */
typedef struct Exchange
{
	struct Exchange *next, *previous;
	const HfProvider *provider;
	HfCall *call;
	HfStripeStep step; /* of protocol stripe */
	CURL *easy;
	struct curl_slist *headers;
	char *path; /* what the URL of the provider goes on with */
	char *body; /* NULL: GET */
	size_t length;
	bool is_too_long;
	char answer[ANSWER_MAX];
} Exchange;

static HfProviderDone when_done;
static Exchange *exchanges;

/* Makes a provider out of its settings; NULL with a message if they are wrong. */
HfProvider *
hf_provider_load(const HfProviderConfig *config, char *error, size_t room)
{
	HfProvider *provider = calloc(1, sizeof(HfProvider));
	const char *fault = provider == NULL ? "out of memory" : NULL;

	if (fault == NULL && !hf_transfer_is_url(config->url, "https", "http"))
	{
		snprintf(error, room, "provider.%s.url is no URL of http or https without user and query",
				 config->name);
		free(provider);
		return NULL;
	}
	if (fault == NULL && strcmp(config->protocol, "holdfast") != 0 &&
		strcmp(config->protocol, "stripe") != 0)
	{
		snprintf(error, room, "provider.%s.protocol is neither holdfast nor stripe", config->name);
		free(provider);
		return NULL;
	}
	if (fault == NULL && *config->secret_file != '\0')
	{
		memcpy(provider->authorization, HEADER_PREFIX, sizeof(HEADER_PREFIX));
		fault = hf_secret_read(config->secret_file,
							   provider->authorization + sizeof(HEADER_PREFIX) - 1, SECRET_MAX);
	}
	if (fault != NULL)
	{
		snprintf(error, room, "provider.%s.secret_file: %s", config->name, fault);
		free(provider);
		return NULL;
	}
	provider->config = config;
	provider->is_stripe = strcmp(config->protocol, "stripe") == 0;
	return provider;
}

/* Begins, in the process that is going to call: `done` is told of each call that has ended. */
void
hf_provider_begin(HfProviderDone done)
{
	when_done = done;
}

/* Keeps a piece of an answer; one that is too long is given up. */
static size_t
take_piece(char *data, size_t size, size_t n, void *context)
{
	Exchange *exchange = context;

	(void) size; /* is 1 */
	if (n > sizeof(exchange->answer) - exchange->length)
	{
		exchange->is_too_long = true;
		return 0;
	}
	memcpy(exchange->answer + exchange->length, data, n);
	exchange->length += n;
	return n;
}

/* Frees what a request is made of. */
static void
free_request(Exchange *exchange)
{
	curl_easy_cleanup(exchange->easy);
	curl_slist_free_all(exchange->headers);
	free(exchange->path);
	free(exchange->body);
	exchange->easy = NULL;
	exchange->headers = NULL;
	exchange->path = exchange->body = NULL;
}

/* Ends an exchange whose call has an answer by now. */
static void
end_exchange(Exchange *exchange)
{
	HfCall *call = exchange->call;

	if (exchange->previous != NULL)
		exchange->previous->next = exchange->next;
	else
		exchanges = exchange->next;
	if (exchange->next != NULL)
		exchange->next->previous = exchange->previous;
	free_request(exchange);
	free(exchange);
	when_done(call);
}

static bool
add_header(Exchange *exchange, const char *header)
{
	struct curl_slist *longer = curl_slist_append(exchange->headers, header);

	if (longer != NULL)
		exchange->headers = longer;
	return longer != NULL;
}

static bool
add_headers(Exchange *exchange)
{
	const HfProvider *provider = exchange->provider;
	char key[HF_KEY_MAX + 32];

	snprintf(key, sizeof(key), "Idempotency-Key: %s", exchange->call->key);
	return add_header(exchange, "Accept: application/json") &&
		(!provider->is_stripe || add_header(exchange, API_VERSION)) &&
		(exchange->body == NULL ||
		 (add_header(exchange,
					 provider->is_stripe ? "Content-Type: application/x-www-form-urlencoded"
										 : "Content-Type: application/json") &&
		  add_header(exchange, key) && add_header(exchange, "Expect:"))) &&
		(*provider->authorization == '\0' || add_header(exchange, provider->authorization));
}

/* Writes the path and the body of a request; false if there is no memory. */
static bool
write_request(Exchange *exchange)
{
	const HfCall *call = exchange->call;

	if (exchange->provider->is_stripe)
		return hf_stripe_write(call, exchange->step, &exchange->path, &exchange->body);
	if (call->is_lookup)
		return asprintf(&exchange->path, "/%s", call->key) > 0;
	exchange->path = strdup("");
	exchange->body = strdup(call->body);
	return exchange->path != NULL && exchange->body != NULL;
}

/* How long a request may take: of two each has half of the time. */
static unsigned
time_of(const Exchange *exchange)
{
	unsigned timeout = exchange->provider->config->timeout;

	return exchange->provider->is_stripe && hf_stripe_first(exchange->call) == HF_STRIPE_LOOK &&
			!exchange->call->is_lookup
		? timeout / 2
		: timeout;
}

static bool
set_options(Exchange *exchange)
{
	char url[URL_MAX];
	HfRequest request = {.url = url,
						 .agent = "holdfast-worker",
						 .headers = exchange->headers,
						 .body = exchange->body,
						 .timeout = time_of(exchange),
						 .take = take_piece,
						 .context = exchange};

	return snprintf(url, sizeof(url), "%s%s", exchange->provider->config->url, exchange->path) <
		(int) sizeof(url) &&
		hf_transfer_set_http(exchange->easy, &request);
}

static void exchanged(void *context, CURL *easy, CURLcode result);

/* Begins a request of an exchange; false if there is no memory for it. */
static bool
begin_request(Exchange *exchange)
{
	exchange->length = 0;
	exchange->easy = curl_easy_init();
	return exchange->easy != NULL && write_request(exchange) && add_headers(exchange) &&
		set_options(exchange) && hf_transfer_start(exchange->easy, exchanged, exchange);
}

/* Notes what an answer means for the call; false if it is to be made now. */
static bool
read_answer(Exchange *exchange, long status)
{
	if (exchange->provider->is_stripe)
		return hf_stripe_read(exchange->provider->config, exchange->call, exchange->step, status,
							  exchange->answer, exchange->length);
	hf_answer_read(exchange->call, status, exchange->answer, exchange->length);
	return true;
}

/* A request has ended. */
static void
exchanged(void *context, CURL *easy, CURLcode result)
{
	Exchange *exchange = context;
	long status = 0, sent = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
	if (result != CURLE_OK)
		hf_answer_none(exchange->call, sent > 0,
					   exchange->is_too_long ? "the answer is too long"
											 : curl_easy_strerror(result));
	else if (!read_answer(exchange, status))
	{
		free_request(exchange);
		exchange->step = HF_STRIPE_MAKE;
		if (begin_request(exchange))
			return;
		hf_answer_none(exchange->call, true, "not made: out of memory");
	}
	end_exchange(exchange);
}

/* Begins an exchange; NULL if there is no memory for it. */
static Exchange *
begin_exchange(const HfProvider *provider, HfCall *call)
{
	Exchange *exchange = calloc(1, sizeof(Exchange));

	if (exchange == NULL)
		return NULL;
	exchange->provider = provider;
	exchange->call = call;
	exchange->step = hf_stripe_first(call);
	if (begin_request(exchange))
		return exchange;
	free_request(exchange);
	free(exchange);
	return NULL;
}

/*
 * Makes a call, or looks it up.  `done` may be called before this returns, for one that cannot even
 * begin or whose time is over.  The call stays the caller's.
 */
void
hf_provider_call(const HfProvider *provider, HfCall *call)
{
	int64_t left = call->until - hf_clock();
	Exchange *exchange = NULL;

	if (left >= (int64_t) provider->config->timeout)
		exchange = begin_exchange(provider, call);
	if (exchange == NULL)
	{
		hf_answer_none(call, true,
					   left < (int64_t) provider->config->timeout ? "not made: too late"
																  : "not made: out of memory");
		when_done(call);
		return;
	}
	if (exchanges != NULL)
		exchanges->previous = exchange;
	exchange->next = exchanges;
	exchanges = exchange;
}

/* Gives up what is under way: nobody knows what becomes of it. */
void
hf_provider_cancel(void)
{
	while (exchanges != NULL)
	{
		hf_transfer_stop(exchanges->easy);
		hf_answer_none(exchanges->call, true, "the worker was stopped");
		end_exchange(exchanges);
	}
}
