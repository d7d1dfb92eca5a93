/*
 * mail.c
 *		Mails: jobs of kind mail.
 *
 * A mail is written by what the database knows when it is sent (shop.mail_details()), and handed to
 * the server, or to the spool where there is no server.  Where there is neither, nobody claims the
 * jobs, and the mails wait.
 *
 * Invariants: a mail's Message-ID is made of its key in the database, so it is the same at every
 * attempt, and a mail is sent once or more.  Nothing of what mails say is logged.
 */
#include "mail.h"

#include "config.h"
#include "job.h"
#include "letter.h"
#include "message.h"
#include "post.h"
#include "smtp.h"
#include "spool.h"

#include "../../api/src/refuse.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID_MAX 128
#define LATER  5000 /* milliseconds: the transfer ends first, and says what was wrong */

/* A mail that is under way. */
typedef struct Mail
{
	HfSending *sending;
	char *text;
	size_t length;
	char id[ID_MAX];
	HfMailbox to;
} Mail;

static HfMailbox sender;

static void
free_mail(Mail *mail)
{
	free(mail->text);
	free(mail);
}

static void
end_mail(HfJob *job, HfJobEnd end, const char *reason)
{
	free_mail(job->work);
	job->work = NULL;
	hf_job_end(job, end, reason, NULL);
}

/* What a mail is called for ever, in letters that a Message-ID and a file may have. */
static void
set_id(Mail *mail, const char *key)
{
	size_t used = 0;

	for (; *key != '\0' && used < sizeof(mail->id) - 1; key++)
		mail->id[used++] = isalnum((unsigned char) *key) || *key == '_' || *key == '-' ? *key : '.';
	mail->id[used] = '\0';
}

/* Writes the mail; NULL if that is done, otherwise why it cannot be. */
static const char *
write_mail(Mail *mail, json_t *details)
{
	const char *address = json_string_value(json_object_get(details, "address"));
	const char *key = json_string_value(json_object_get(details, "key")), *fault;
	HfMessage message = {.from = &sender, .to = &mail->to, .id = mail->id, .date = time(NULL)};
	HfLetter letter;

	if (address == NULL || key == NULL)
		return "there is no such mail";
	set_id(mail, key);
	fault = hf_message_address(address, mail->to.address);
	if (fault != NULL || !hf_letter_write(&letter, details, &fault))
		return fault;
	mail->to.name = (char *) letter.name;
	message.language = letter.language;
	message.subject = letter.subject;
	message.text = letter.text;
	message.html = letter.html;
	mail->text = hf_message_write(&message, &mail->length);
	hf_letter_free(&letter);
	return mail->text != NULL ? NULL : "out of memory";
}

static void
mail_sent(void *context, HfJobEnd end, const char *reason)
{
	end_mail(context, end, reason);
}

static void
start_mail(HfJob *job)
{
	Mail *mail = calloc(1, sizeof(Mail));
	const char *fault = mail == NULL ? "out of memory" : write_mail(mail, job->details);

	job->work = mail;
	if (mail == NULL)
		hf_job_end(job, HF_JOB_FAILED, fault, NULL);
	else if (fault != NULL)
		end_mail(job, strcmp(fault, "out of memory") == 0 ? HF_JOB_FAILED : HF_JOB_DEAD, fault);
	else if (*hf_config.mail_server == '\0')
	{
		fault = hf_spool_write(hf_config.mail_spool, mail->id, mail->text, mail->length);
		end_mail(job, fault == NULL ? HF_JOB_DONE : HF_JOB_AWAY, fault);
	}
	else
	{
		mail->sending = hf_post_send(sender.address, mail->to.address, mail->text, mail->length,
									 mail_sent, job);
		if (mail->sending != NULL)
			mail->text = NULL;
		else
			end_mail(job, HF_JOB_FAILED, "out of memory");
	}
}

static void
cancel_mail(HfJob *job)
{
	Mail *mail = job->work;

	hf_post_cancel(mail->sending);
	free_mail(mail);
	job->work = NULL;
}

static HfKind kind = {.label = "mail",
					  .kinds = "{mail}",
					  .details = "shop.mail_details",
					  .start = start_mail,
					  .cancel = cancel_mail};

/* Is this where pages of a shop may be? */
static bool
is_link(const char *link)
{
	for (const char *c = link; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~' || strchr("\"<>?#", *c) != NULL)
			return false;
	return (strncmp(link, "http://", 7) == 0 || strncmp(link, "https://", 8) == 0) &&
		link[strlen(link) - 1] != '/';
}

static bool
check_spool(char *error, size_t room)
{
	struct stat status;

	if (stat(hf_config.mail_spool, &status) == 0 && S_ISDIR(status.st_mode) &&
		access(hf_config.mail_spool, W_OK | X_OK) == 0)
		return true;
	return hf_refuse(error, room, "mail_spool is no directory that we may write to");
}

/* Does mails from now on, if the settings want it; false with a message if they are wrong. */
bool
hf_mail_load(char *error, size_t room)
{
	const char *tls = hf_config.mail_tls;
	bool has_server = *hf_config.mail_server != '\0';

	if (strcmp(tls, "required") != 0 && strcmp(tls, "opportunistic") != 0 &&
		strcmp(tls, "off") != 0)
		return hf_refuse(error, room, "mail_tls is required, opportunistic or off");
	if (!has_server && *hf_config.mail_spool == '\0')
		return true;
	hf_message_begin();
	if (!hf_message_parse(hf_config.mail_from, &sender))
		return hf_refuse(error, room, "mail_from is no address, and no name with an address");
	if (!is_link(hf_config.mail_link))
		return hf_refuse(error, room,
						 "mail_link is no URL of http or https without a / at its end");
	if (!hf_letter_load(hf_config.mail_templates, hf_config.mail_link,
						sender.name != NULL ? sender.name : strchr(sender.address, '@') + 1, error,
						room))
		return false;
	if (has_server ? !hf_smtp_load(error, room) : !check_spool(error, room))
		return false;
	kind.most = hf_config.mail_jobs;
	kind.timeout = hf_config.mail_timeout + LATER;
	hf_job_add(&kind);
	return true;
}
