/*
 * message.h
 *		Mails as they are sent: RFC 5322 and MIME.
 */
#ifndef HF_MESSAGE_H
#define HF_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define HF_ADDRESS_MAX 321 /* 64 bytes, @, 255 bytes */

/* Who writes or is written to. */
typedef struct HfMailbox
{
	char address[HF_ADDRESS_MAX]; /* as servers take it: ASCII */
	char *name;					  /* NULL: none */
} HfMailbox;

typedef struct HfMessage
{
	const HfMailbox *from, *to;
	const char *id; /* of the mail, for ever: left part of its Message-ID */
	const char *language;
	time_t date;
	char *subject, *text, *html; /* UTF-8 */
} HfMessage;

extern void hf_message_begin(void);
extern bool hf_message_parse(const char *text, HfMailbox *mailbox);
extern const char *hf_message_address(const char *text, char *address);
extern char *hf_message_write(const HfMessage *message, size_t *length);

#endif
