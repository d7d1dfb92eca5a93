/*
 * smtp.c
 *		Hands mails to a server: SMTP, by libcurl.
 *
 * What an answer means depends on what was said before:
 *
 *		connecting, EHLO, STARTTLS, AUTH: whoever refuses us refuses everybody, he is away
 *		MAIL FROM: so is who does not like our sender, but a mail that is too large (552) is dead
 *		RCPT TO, DATA, the mail: 4xx or nothing, again later; 5xx, never.  421 may be about this one
 *		recipient, whom nobody else has to wait for
 *
 * Invariants: certificates are verified whenever there is TLS, and no password goes out without it.
 * Addresses are those of hf_message_address(), so they end no command.  Of a server that has
 * refused something nothing more is read, so nobody waits for his farewell.
 */
#include "smtp.h"

#include "config.h"
#include "message.h"
#include "secret.h"
#include "transfer.h"

#include "../../api/src/refuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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

/* Understands the settings of the server; false with a message if they are wrong. */
bool
hf_smtp_load(char *error, size_t room)
{
	const char *fault;

	if (!hf_transfer_is_url(hf_config.mail_server, "smtp", "smtps"))
		return hf_refuse(error, room, "mail_server is no URL of smtp or smtps with host and port");
	if (strcmp(hf_config.mail_tls, "required") == 0 ||
		strncasecmp(hf_config.mail_server, "smtps:", 6) == 0)
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

/* Overwrites addresses, which replies like to quote: reasons are shown to more people. */
static void
hide_addresses(char *text)
{
	static const char *const bounds = " <>()\"',;:";

	for (char *at = text; (at = strchr(at, '@')) != NULL;)
	{
		while (at > text && strchr(bounds, at[-1]) == NULL)
			at--;
		for (; *at != '\0' && strchr(bounds, *at) == NULL; at++)
			*at = '*';
	}
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
	if (exchange->stage <= STAGE_SENDER)
		return HF_JOB_AWAY;
	return exchange->code >= 500 ? HF_JOB_DEAD : HF_JOB_FAILED;
}

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

	HF_TRANSFER_SET(easy, CURLOPT_URL, hf_config.mail_server);
	HF_TRANSFER_SET(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	HF_TRANSFER_SET(easy, CURLOPT_USE_SSL, use_tls);
	HF_TRANSFER_SET(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	HF_TRANSFER_SET(easy, CURLOPT_NOSIGNAL, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_QUICK_EXIT, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_TIMEOUT_MS, timeout);
	HF_TRANSFER_SET(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	HF_TRANSFER_SET(easy, CURLOPT_PROXY, "");
	HF_TRANSFER_SET(easy, CURLOPT_SOCKOPTFUNCTION, note_open);
	HF_TRANSFER_SET(easy, CURLOPT_SOCKOPTDATA, smtp);
	HF_TRANSFER_SET(easy, CURLOPT_CLOSESOCKETFUNCTION, note_close);
	HF_TRANSFER_SET(easy, CURLOPT_CLOSESOCKETDATA, smtp);
	HF_TRANSFER_SET(easy, CURLOPT_CONNECTTIMEOUT_MS,
					timeout / 2 < CONNECT_MOST ? timeout / 2 : CONNECT_MOST);
	HF_TRANSFER_SET(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, timeout / 1000 + 1);
	HF_TRANSFER_SET(easy, CURLOPT_MAXAGE_CONN, IDLE_MOST);
	if (*hf_config.mail_ca_file != '\0')
	{
		HF_TRANSFER_SET(easy, CURLOPT_CAINFO, hf_config.mail_ca_file);
		HF_TRANSFER_SET(easy, CURLOPT_CAPATH, NULL);
	}
	if (*hf_config.mail_user != '\0')
	{
		HF_TRANSFER_SET(easy, CURLOPT_USERNAME, hf_config.mail_user);
		HF_TRANSFER_SET(easy, CURLOPT_PASSWORD, password);
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

	HF_TRANSFER_SET(easy, CURLOPT_MAIL_FROM, exchange->envelope->from);
	HF_TRANSFER_SET(easy, CURLOPT_MAIL_RCPT, recipients);
	HF_TRANSFER_SET(easy, CURLOPT_UPLOAD, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_READFUNCTION, give_piece);
	HF_TRANSFER_SET(easy, CURLOPT_READDATA, exchange);
	HF_TRANSFER_SET(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) exchange->envelope->length);
	HF_TRANSFER_SET(easy, CURLOPT_ERRORBUFFER, exchange->fault);
	HF_TRANSFER_SET(easy, CURLOPT_DEBUGFUNCTION, overhear);
	HF_TRANSFER_SET(easy, CURLOPT_DEBUGDATA, exchange);
	HF_TRANSFER_SET(easy, CURLOPT_VERBOSE, 1L);
	HF_TRANSFER_SET(easy, CURLOPT_XFERINFOFUNCTION, ask);
	HF_TRANSFER_SET(easy, CURLOPT_XFERINFODATA, exchange->envelope);
	HF_TRANSFER_SET(easy, CURLOPT_NOPROGRESS, 0L);
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
	hide_addresses(reason);
	if (result != CURLE_OK)
		hang_up(smtp);
	return judge(&exchange, result);
}

void
hf_smtp_close(HfSmtp *smtp)
{
	hang_up(smtp);
	free(smtp);
}
