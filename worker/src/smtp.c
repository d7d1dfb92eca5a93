/*
 * smtp.c
 *		Hands mails to a server: SMTP, by libcurl.
 *
 * What an answer means depends on what was said before:
 *
 *		connecting, EHLO, STARTTLS, AUTH: whoever refuses us refuses everybody, he is away
 *		MAIL FROM: so is who does not like our sender, but a mail that is too large (552) is dead
 *		RCPT TO, DATA, the mail: 4xx or nothing, again later; 5xx, never
 *		421, at any time: he is away
 *
 * Invariants: certificates are verified whenever there is TLS, and no password goes out without it.
 * Addresses are those of hf_message_address(), so they end no command.  Of a server that has
 * refused something nothing more is read, so nobody waits for his farewell.
 */
#include "smtp.h"

#include "config.h"
#include "message.h"
#include "secret.h"

#include "../../api/src/refuse.h"

#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASSWORD_MAX 1000
#define SOCKETS		 2
#define REPLY_MAX	 400
#define CONNECT_MOST 30000 /* milliseconds, until MAIL FROM */
#define IDLE_MOST	 20L   /* seconds that a connection waits to be used again */

/* What was said last. */
typedef enum Stage
{
	STAGE_CONNECT,
	STAGE_GREETING, /* EHLO, STARTTLS: other words may follow if it is refused */
	STAGE_LOGIN,
	STAGE_SENDER,
	STAGE_RECIPIENT,
	STAGE_DATA
} Stage;

struct HfSmtp
{
	CURL *easy;
	/* That are open: two if there are two ways to try, -1: none. */
	curl_socket_t sockets[SOCKETS];
};

/* A mail that is under way. */
typedef struct Exchange
{
	HfSmtp *smtp;
	const HfEnvelope *envelope;
	size_t sent;
	Stage stage;
	int code; /* of the last answer, 0 if there is none yet */
	char reply[REPLY_MAX];
	char fault[CURL_ERROR_SIZE];
} Exchange;

static char password[PASSWORD_MAX];
static long use_tls;

/* Is this the URL of a server: smtp or smtps, without anything but host and port? */
static bool
is_server(const char *url, bool *is_smtps)
{
	CURLU *parsed = curl_url();
	char *scheme = NULL, *host = NULL, *user = NULL;
	bool good = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
		(strcmp(scheme, "smtp") == 0 || strcmp(scheme, "smtps") == 0) &&
		strpbrk(url, "?# ") == NULL;

	*is_smtps = good && strcmp(scheme, "smtps") == 0;
	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	curl_url_cleanup(parsed);
	return good;
}

/* Understands the settings of the server; false with a message if they are wrong. */
bool
hf_smtp_load(char *error, size_t room)
{
	bool is_smtps;
	const char *fault;

	if (!is_server(hf_config.mail_server, &is_smtps))
		return hf_refuse(error, room, "mail_server is no URL of smtp or smtps with host and port");
	if (strcmp(hf_config.mail_tls, "required") == 0 || is_smtps)
		use_tls = CURLUSESSL_ALL;
	else
		use_tls = strcmp(hf_config.mail_tls, "off") == 0 ? CURLUSESSL_NONE : CURLUSESSL_TRY;
	if ((*hf_config.mail_user == '\0') != (*hf_config.mail_password_file == '\0'))
		return hf_refuse(error, room, "mail_user and mail_password_file go together");
	if (*hf_config.mail_ca_file != '\0' && access(hf_config.mail_ca_file, R_OK) != 0)
		return hf_refuse(error, room, "mail_ca_file cannot be read");
	if (*hf_config.mail_user == '\0')
		return true;
	if (use_tls != CURLUSESSL_ALL)
		return hf_refuse(error, room, "mail_user needs TLS: mail_tls = required, or smtps");
	fault = hf_secret_read(hf_config.mail_password_file, password, sizeof(password));
	return fault == NULL ? true : hf_refuse(error, room, "mail_password_file: %s", fault);
}

/* Hands out the next piece of the mail. */
static size_t
give_piece(char *room, size_t size, size_t n, void *context)
{
	Exchange *exchange = context;
	size_t left = exchange->envelope->length - exchange->sent;

	n *= size;
	if (n > left)
		n = left;
	memcpy(room, exchange->envelope->text + exchange->sent, n);
	exchange->sent += n;
	return n;
}

static bool
begins(const char *data, size_t size, const char *word)
{
	return size >= strlen(word) && strncmp(data, word, strlen(word)) == 0;
}

/* We have said something. Secrets are among it, so it is not kept. */
static void
note_command(Exchange *exchange, const char *data, size_t size)
{
	if (begins(data, size, "EHLO") || begins(data, size, "HELO") || begins(data, size, "STARTTLS"))
		exchange->stage = STAGE_GREETING;
	else if (begins(data, size, "MAIL FROM:"))
		exchange->stage = STAGE_SENDER;
	else if (begins(data, size, "RCPT TO:"))
		exchange->stage = STAGE_RECIPIENT;
	else if (begins(data, size, "DATA"))
		exchange->stage = STAGE_DATA;
	else if (exchange->stage < STAGE_SENDER)
		exchange->stage = STAGE_LOGIN;
	else
		return; /* QUIT */
	exchange->code = 0;
	*exchange->reply = '\0';
}

/* Adds a line of an answer to it: what can be shown, and stored anywhere. */
static void
keep_reply(Exchange *exchange, const char *data, size_t size)
{
	size_t used = strlen(exchange->reply);

	if (used > 0 && used < REPLY_MAX - 1)
		exchange->reply[used++] = ' ';
	for (size_t i = 0; i < size && used < REPLY_MAX - 1; i++)
		if (data[i] != '\r' && data[i] != '\n')
			exchange->reply[used++] = data[i] >= ' ' && data[i] <= '~' ? data[i] : '?';
	exchange->reply[used] = '\0';
}

/* Reads nothing more: whoever waits for an answer learns at once that there is none. */
static void
stop_listening(const HfSmtp *smtp)
{
	for (size_t i = 0; i < SOCKETS; i++)
		if (smtp->sockets[i] != CURL_SOCKET_BAD)
			(void) shutdown(smtp->sockets[i], SHUT_RD);
}

/* The server has answered something; this is a line of it. */
static void
note_reply(Exchange *exchange, const char *data, size_t size)
{
	if (size < 3 || data[0] < '2' || data[0] > '5' ||
		(exchange->code >= 400 && exchange->stage != STAGE_GREETING))
		return;
	keep_reply(exchange, data, size);
	if (size > 3 && data[3] == '-')
		return;
	exchange->code = (data[0] - '0') * 100 + (data[1] - '0') * 10 + (data[2] - '0');
	if (exchange->code < 400)
		*exchange->reply = '\0';
	else if (exchange->stage != STAGE_GREETING)
		stop_listening(exchange->smtp);
}

/* Hears what is said. */
static int
overhear(CURL *easy, curl_infotype type, char *data, size_t size, void *context)
{
	Exchange *exchange = context;

	(void) easy;
	if (type == CURLINFO_HEADER_OUT)
		note_command(exchange, data, size);
	else if (type == CURLINFO_HEADER_IN)
		note_reply(exchange, data, size);
	return 0;
}

static HfJobEnd
judge(const Exchange *exchange, CURLcode result)
{
	if (result == CURLE_OK)
		return HF_JOB_DONE;
	if (result == CURLE_OUT_OF_MEMORY)
		return HF_JOB_FAILED;
	if (exchange->stage == STAGE_SENDER && exchange->code == 552)
		return HF_JOB_DEAD;
	if (exchange->stage <= STAGE_SENDER || exchange->code == 421)
		return HF_JOB_AWAY;
	return exchange->code >= 500 ? HF_JOB_DEAD : HF_JOB_FAILED;
}

#define SET(option, value)                                         \
	do                                                             \
	{                                                              \
		if (curl_easy_setopt(easy, (option), (value)) != CURLE_OK) \
			return false;                                          \
	} while (0)

/* Notes that a socket is open. */
static int
note_open(void *context, curl_socket_t fd, curlsocktype purpose)
{
	HfSmtp *smtp = context;

	(void) purpose;
	for (size_t i = 0; i < SOCKETS; i++)
		if (smtp->sockets[i] == CURL_SOCKET_BAD)
		{
			smtp->sockets[i] = fd;
			break;
		}
	return CURL_SOCKOPT_OK;
}

static int
note_close(void *context, curl_socket_t fd)
{
	HfSmtp *smtp = context;

	for (size_t i = 0; i < SOCKETS; i++)
		if (smtp->sockets[i] == fd)
			smtp->sockets[i] = CURL_SOCKET_BAD;
	return close(fd);
}

/* How to reach the server, and to be known by him. */
static bool
set_server(HfSmtp *smtp)
{
	CURL *easy = smtp->easy;
	long timeout = (long) hf_config.mail_timeout;

	SET(CURLOPT_URL, hf_config.mail_server);
	SET(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	SET(CURLOPT_USE_SSL, use_tls);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TIMEOUT_MS, timeout);
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_SOCKOPTFUNCTION, note_open);
	SET(CURLOPT_SOCKOPTDATA, smtp);
	SET(CURLOPT_CLOSESOCKETFUNCTION, note_close);
	SET(CURLOPT_CLOSESOCKETDATA, smtp);
	SET(CURLOPT_CONNECTTIMEOUT_MS, timeout / 2 < CONNECT_MOST ? timeout / 2 : CONNECT_MOST);
	SET(CURLOPT_SERVER_RESPONSE_TIMEOUT, timeout / 1000 + 1);
	SET(CURLOPT_MAXAGE_CONN, IDLE_MOST);
	if (*hf_config.mail_ca_file != '\0')
	{
		SET(CURLOPT_CAINFO, hf_config.mail_ca_file);
		SET(CURLOPT_CAPATH, NULL);
	}
	if (*hf_config.mail_user != '\0')
	{
		SET(CURLOPT_USERNAME, hf_config.mail_user);
		SET(CURLOPT_PASSWORD, password);
	}
	return true;
}

/* Is the mail to be given up? Asked by libcurl, at least once a second. */
static int
ask(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const HfEnvelope *envelope = context;

	(void) a, (void) b, (void) c, (void) d;
	return envelope->is_given_up(envelope);
}

static bool
set_mail(Exchange *exchange, struct curl_slist *recipients)
{
	CURL *easy = exchange->smtp->easy;

	SET(CURLOPT_MAIL_FROM, exchange->envelope->from);
	SET(CURLOPT_MAIL_RCPT, recipients);
	SET(CURLOPT_UPLOAD, 1L);
	SET(CURLOPT_READFUNCTION, give_piece);
	SET(CURLOPT_READDATA, exchange);
	SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t) exchange->envelope->length);
	SET(CURLOPT_ERRORBUFFER, exchange->fault);
	SET(CURLOPT_DEBUGFUNCTION, overhear);
	SET(CURLOPT_DEBUGDATA, exchange);
	SET(CURLOPT_VERBOSE, 1L);
	SET(CURLOPT_XFERINFOFUNCTION, ask);
	SET(CURLOPT_XFERINFODATA, exchange->envelope);
	SET(CURLOPT_NOPROGRESS, 0L);
	return true;
}

/* Ends the connection: the server is told, but nobody waits for what he says. */
static void
hang_up(HfSmtp *smtp)
{
	stop_listening(smtp);
	curl_easy_cleanup(smtp->easy);
	smtp->easy = NULL;
}

/* NULL if there is no memory. */
HfSmtp *
hf_smtp_open(void)
{
	HfSmtp *smtp = calloc(1, sizeof(HfSmtp));

	if (smtp == NULL)
		return NULL;
	for (size_t i = 0; i < SOCKETS; i++)
		smtp->sockets[i] = CURL_SOCKET_BAD;
	return smtp;
}

/* Sends a mail, and waits for what becomes of it. The reason has HF_SMTP_REASON_MAX bytes. */
HfJobEnd
hf_smtp_send(HfSmtp *smtp, const HfEnvelope *envelope, char *reason)
{
	struct curl_slist *recipients = curl_slist_append(NULL, envelope->to);
	Exchange exchange = {.smtp = smtp, .envelope = envelope};
	CURLcode result = CURLE_OUT_OF_MEMORY;
	const char *words = exchange.fault;

	if (smtp->easy == NULL)
		smtp->easy = curl_easy_init();
	if (smtp->easy != NULL && recipients != NULL && set_server(smtp) &&
		set_mail(&exchange, recipients))
		result = curl_easy_perform(smtp->easy);
	if (smtp->easy != NULL)
		curl_easy_reset(smtp->easy);
	curl_slist_free_all(recipients);
	if (exchange.code >= 400)
		words = exchange.reply;
	else if (*words == '\0')
		words = curl_easy_strerror(result);
	snprintf(reason, HF_SMTP_REASON_MAX, "%s", words);
	if (result != CURLE_OK)
		hang_up(smtp);
	/* That he is away is logged; what he says then may be about the recipient. */
	if (exchange.code == 421 && exchange.stage >= STAGE_RECIPIENT)
		snprintf(reason, HF_SMTP_REASON_MAX, "answered 421");
	return judge(&exchange, result);
}

void
hf_smtp_close(HfSmtp *smtp)
{
	hang_up(smtp);
	free(smtp);
}
