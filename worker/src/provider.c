/*
 * provider.c
 *		Calls providers by HTTP.
 *
 * A call is a POST of JSON to the provider's URL with
 * the call's key as Idempotency-Key, and to look one up is a GET of URL/KEY: README.md has the
 * protocol.  Many are under way at once; each ends within its provider's timeout, and with exactly
 * one call of `done`.
 *
 * Invariants: certificates are verified, redirections are not followed, and nothing is spoken but
 * HTTP.  Of an answer at most ANSWER_MAX bytes are kept.  Secrets and bodies are not logged.
 */
#include "provider.h"

#include "answer.h"
#include "clock.h"
#include "transfer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ANSWER_MAX	  65536
#define SECRET_MAX	  1000
#define CONNECT_MOST  5000L /* milliseconds */
#define HEADER_PREFIX "Authorization: Bearer "

struct HfProvider
{
	const HfProviderConfig *config;
	char authorization[sizeof(HEADER_PREFIX) + SECRET_MAX]; /* empty: none */
};

/* A call that is under way. */
typedef struct Exchange
{
	struct Exchange *next, *previous;
	CURL *easy;
	struct curl_slist *headers;
	HfCall *call;
	size_t length;
	bool is_too_long;
	char answer[ANSWER_MAX];
} Exchange;

static HfProviderDone when_done;
static Exchange *exchanges;

/* Is this the URL of a provider: http or https, and nothing after the path? */
static bool
is_good_url(const char *url)
{
	CURLU *parsed = curl_url();
	char *scheme = NULL, *host = NULL;
	bool good = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		(strcmp(scheme, "https") == 0 || strcmp(scheme, "http") == 0) &&
		strpbrk(url, "?# ") == NULL;

	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(parsed);
	return good;
}

/* Reads the first line of the file of a secret; NULL if it is one, otherwise what is wrong. */
static const char *
read_secret(const char *path, char *secret, size_t room)
{
	FILE *file = fopen(path, "r");
	struct stat status;
	const char *fault = NULL;

	if (file == NULL)
		return strerror(errno);
	if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode))
		fault = "it is no regular file";
	else if ((status.st_mode & S_IRWXO) != 0)
		fault = "others than user and group may use it";
	else if (fgets(secret, (int) room, file) == NULL)
		fault = "it is empty";
	fclose(file);
	if (fault != NULL)
		return fault;
	secret[strcspn(secret, "\r\n")] = '\0';
	if (strlen(secret) >= room - 2)
		return "it is too long";
	for (const char *c = secret; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return "a secret is printable ASCII without blanks";
	return *secret == '\0' ? "it is empty" : NULL;
}

/* Makes a provider out of its settings; NULL with a message if they are wrong. */
HfProvider *
hf_provider_load(const HfProviderConfig *config, char *error, size_t room)
{
	HfProvider *provider = calloc(1, sizeof(HfProvider));
	const char *fault = provider == NULL ? "out of memory" : NULL;

	if (fault == NULL && !is_good_url(config->url))
	{
		snprintf(error, room, "provider.%s.url is no URL of http or https without a query",
				 config->name);
		free(provider);
		return NULL;
	}
	if (fault == NULL && *config->secret_file != '\0')
	{
		memcpy(provider->authorization, HEADER_PREFIX, sizeof(HEADER_PREFIX));
		fault = read_secret(config->secret_file,
							provider->authorization + sizeof(HEADER_PREFIX) - 1, SECRET_MAX);
	}
	if (fault != NULL)
	{
		snprintf(error, room, "provider.%s.secret_file: %s", config->name, fault);
		free(provider);
		return NULL;
	}
	provider->config = config;
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

static void
free_exchange(Exchange *exchange)
{
	curl_easy_cleanup(exchange->easy);
	curl_slist_free_all(exchange->headers);
	free(exchange);
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
	free_exchange(exchange);
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
add_headers(const HfProvider *provider, Exchange *exchange)
{
	char key[HF_KEY_MAX + 32];

	snprintf(key, sizeof(key), "Idempotency-Key: %s", exchange->call->key);
	return add_header(exchange, "Accept: application/json") &&
		(exchange->call->body == NULL ||
		 (add_header(exchange, "Content-Type: application/json") && add_header(exchange, key) &&
		  add_header(exchange, "Expect:"))) &&
		(*provider->authorization == '\0' || add_header(exchange, provider->authorization));
}

#define SET(option, value)                                         \
	do                                                             \
	{                                                              \
		if (curl_easy_setopt(easy, (option), (value)) != CURLE_OK) \
			return false;                                          \
	} while (0)

static bool
set_options(const HfProvider *provider, Exchange *exchange, long timeout)
{
	CURL *easy = exchange->easy;
	const HfCall *call = exchange->call;
	char url[2200];

	if (snprintf(url, sizeof(url), "%s%s%s", provider->config->url, call->body == NULL ? "/" : "",
				 call->body == NULL ? call->key : "") >= (int) sizeof(url))
		return false;
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_USERAGENT, "holdfast-worker");
	SET(CURLOPT_TIMEOUT_MS, timeout);
	SET(CURLOPT_CONNECTTIMEOUT_MS, timeout < CONNECT_MOST ? timeout : CONNECT_MOST);
	SET(CURLOPT_WRITEFUNCTION, take_piece);
	SET(CURLOPT_WRITEDATA, exchange);
	SET(CURLOPT_HTTPHEADER, exchange->headers);
	if (call->body != NULL)
	{
		SET(CURLOPT_POSTFIELDS, call->body);
		SET(CURLOPT_POSTFIELDSIZE, (long) strlen(call->body));
	}
	return true;
}

/* The exchange has ended. */
static void
exchanged(void *context, CURL *easy, CURLcode result)
{
	Exchange *exchange = context;
	long status = 0, sent = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
	if (result == CURLE_OK)
		hf_answer_read(exchange->call, status, exchange->answer, exchange->length);
	else
		hf_answer_none(exchange->call, sent > 0,
					   exchange->is_too_long ? "the answer is too long"
											 : curl_easy_strerror(result));
	end_exchange(exchange);
}

/* Begins an exchange; NULL if there is no memory for it. */
static Exchange *
begin_exchange(const HfProvider *provider, HfCall *call)
{
	Exchange *exchange = calloc(1, sizeof(Exchange));

	if (exchange == NULL)
		return NULL;
	exchange->call = call;
	exchange->easy = curl_easy_init();
	if (exchange->easy != NULL && add_headers(provider, exchange) &&
		set_options(provider, exchange, (long) provider->config->timeout) &&
		hf_transfer_start(exchange->easy, exchanged, exchange))
		return exchange;
	free_exchange(exchange);
	return NULL;
}

/*
 * Makes a call, or looks it up if it has no body.  `done` may be called before this returns, for
 * one that cannot even begin or whose time is over.  The call stays the caller's.
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
