/*
 * message.c
 *		Mails as they are sent: RFC 5322 and MIME, by GMime.
 *
 * A mail has a text and the same in HTML (multipart/alternative).  It says that no person has
 * written it (Auto-Submitted, RFC 3834), so that nobody's absence is told to it.  Its Message-ID is
 * made of the mail's own id: who gets it twice can tell.
 *
 * Invariants: what goes out is ASCII, in lines of at most 998 characters that end with CRLF.  No
 * header and no command can be made by a name or an address: an address is letters, digits and a
 * few signs, and what is not visible in a name is left out.
 */
#include "message.h"

#include <gmime/gmime.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL_MAX  64
#define DOMAIN_MAX 255
#define PLAIN_MAX  60 /* bytes of a header that is left as it is */
#define WORD_BYTES 39 /* of an encoded word */

/* Begins, before any process is forked. */
void
hf_message_begin(void)
{
	g_mime_init();
}

/* Is this a dot-atom (RFC 5322)? */
static bool
is_local_part(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] == '.' ? i == 0 || i == length - 1 || text[i - 1] == '.'
						   : !isalnum((unsigned char) text[i]) &&
					strchr("!#$%&'*+/=?^_`{|}~-", text[i]) == NULL)
			return false;
	return length > 0;
}

/* Is this a domain of letters, digits and hyphens? */
static bool
is_domain(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length > DOMAIN_MAX)
		return false;
	for (size_t i = 0, label = 0; i <= length; i++)
		if (text[i] == '.' || text[i] == '\0')
		{
			if (label == 0 || label > 63 || text[i - 1] == '-' || text[i - label] == '-')
				return false;
			label = 0;
		}
		else if (isalnum((unsigned char) text[i]) || text[i] == '-')
			label++;
		else
			return false;
	return true;
}

static bool
is_ascii(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) text[i] >= 0x80)
			return false;
	return true;
}

/*
 * Makes of an address what servers take, at most HF_ADDRESS_MAX bytes: a domain in other letters
 * than ASCII is encoded.  NULL if it is one, otherwise why mail cannot be sent there.
 */
const char *
hf_message_address(const char *text, char *address)
{
	const char *at = strrchr(text, '@');
	size_t local = at == NULL ? 0 : (size_t) (at - text);
	char *domain;
	bool good;

	if (at == NULL || local > LOCAL_MAX)
		return "the address is no address of mail";
	if (!is_ascii(text, local))
		return "the address has letters before the @ that mail servers need not know (SMTPUTF8)";
	if (!is_local_part(text, local))
		return "the address is no address of mail";
	if (!g_utf8_validate(at + 1, -1, NULL) || strlen(at + 1) > DOMAIN_MAX)
		return "the address has no domain";
	domain = is_ascii(at + 1, strlen(at + 1)) ? g_strdup(at + 1) : g_hostname_to_ascii(at + 1);
	good = domain != NULL && is_domain(domain);
	if (good)
		snprintf(address, HF_ADDRESS_MAX, "%.*s@%s", (int) local, text, domain);
	g_free(domain);
	return good ? NULL : "the address has no domain";
}

/* Reads "Name <address>"; false if it is not that. */
bool
hf_message_parse(const char *text, HfMailbox *mailbox)
{
	InternetAddressList *list = internet_address_list_parse(NULL, text);
	bool good = false;

	if (list != NULL && internet_address_list_length(list) == 1)
	{
		InternetAddress *one = internet_address_list_get_address(list, 0);
		const char *name = internet_address_get_name(one);

		good = INTERNET_ADDRESS_IS_MAILBOX(one) &&
			hf_message_address(internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(one)),
							   mailbox->address) == NULL;
		mailbox->name = name != NULL && *name != '\0' ? strdup(name) : NULL;
	}
	if (list != NULL)
		g_object_unref(list);
	return good;
}

/* A text of one line, in valid UTF-8, without what is not visible; to be freed by g_free(). */
static char *
one_line(const char *text)
{
	char *valid = g_utf8_make_valid(text, -1);
	GString *line = g_string_new(NULL);

	for (const char *at = valid; *at != '\0'; at = g_utf8_next_char(at))
	{
		gunichar letter = g_utf8_get_char(at);
		GUnicodeType type = g_unichar_type(letter);

		if (type == G_UNICODE_CONTROL || type == G_UNICODE_LINE_SEPARATOR ||
			type == G_UNICODE_PARAGRAPH_SEPARATOR)
			g_string_append_c(line, ' ');
		else if ((letter < 0x202a || letter > 0x202e) && (letter < 0x2066 || letter > 0x2069))
			g_string_append_unichar(line, letter);
	}
	g_free(valid);
	return g_strstrip(g_string_free(line, FALSE));
}

/*
 * Writes a text of one line as the words of a header: as it is if that is short ASCII, quoted if it
 * is a name, otherwise as encoded words (RFC 2047), which have at most 75 characters each.
 */
static void
put_words(GString *out, const char *text, bool is_name)
{
	size_t length = strlen(text);

	if (is_ascii(text, length) && length <= PLAIN_MAX && strstr(text, "=?") == NULL)
	{
		if (is_name)
			g_string_append_c(out, '"');
		for (; *text != '\0'; text++)
		{
			if (is_name && (*text == '"' || *text == '\\'))
				g_string_append_c(out, '\\');
			g_string_append_c(out, *text);
		}
		if (is_name)
			g_string_append_c(out, '"');
		return;
	}
	while (*text != '\0')
	{
		const char *end = text;
		char *word;

		while (*end != '\0' && g_utf8_next_char(end) - text <= WORD_BYTES)
			end = g_utf8_next_char(end);
		word = g_base64_encode((const guchar *) text, (gsize) (end - text));
		g_string_append_printf(out, "=?UTF-8?B?%s?=%s", word, *end == '\0' ? "" : "\n ");
		g_free(word);
		text = end;
	}
}

/* Sets a header to a text, and an address if there is one. */
static void
set_words(GMimeMessage *mail, const char *header, const char *text, const char *address)
{
	GString *raw = g_string_new(" ");
	char *line = one_line(text != NULL ? text : "");
	GMimeHeaderList *headers = g_mime_object_get_header_list(GMIME_OBJECT(mail));

	if (*line != '\0')
		put_words(raw, line, address != NULL);
	if (address != NULL)
		g_string_append_printf(raw, "%s<%s>", *line != '\0' ? "\n " : "", address);
	g_string_append_c(raw, '\n');
	g_mime_header_list_append(headers, header, "", NULL);
	g_mime_header_set_raw_value(g_mime_header_list_get_header(headers, header), raw->str);
	g_string_free(raw, TRUE);
	g_free(line);
}

/* A part with a text, encoded so that every server passes it on unchanged. */
static GMimeObject *
new_part(const char *subtype, const char *text)
{
	GMimePart *part = g_mime_part_new_with_type("text", subtype);
	char *valid = g_utf8_make_valid(text, -1);
	size_t length = strlen(valid), foreign = 0;
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(valid, length);
	GMimeDataWrapper *content =
		g_mime_data_wrapper_new_with_stream(stream, GMIME_CONTENT_ENCODING_DEFAULT);

	g_mime_object_set_content_type_parameter(GMIME_OBJECT(part), "charset", "utf-8");
	for (size_t i = 0; i < length; i++)
		foreign += (unsigned char) valid[i] >= 0x80;
	g_mime_part_set_content(part, content);
	g_mime_part_set_content_encoding(part,
									 foreign > length / 6 ? GMIME_CONTENT_ENCODING_BASE64
														  : GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE);
	g_object_unref(content);
	g_object_unref(stream);
	g_free(valid);
	return GMIME_OBJECT(part);
}

static GMimeObject *
new_body(const HfMessage *message)
{
	GMimeMultipart *body = g_mime_multipart_new_with_subtype("alternative");
	GMimeObject *text = new_part("plain", message->text), *html = new_part("html", message->html);

	g_mime_multipart_add(body, text);
	g_mime_multipart_add(body, html);
	g_object_unref(text);
	g_object_unref(html);
	return GMIME_OBJECT(body);
}

static void
set_headers(GMimeMessage *mail, const HfMessage *message)
{
	GDateTime *date = g_date_time_new_from_unix_utc(message->date);
	char *id = g_strdup_printf("%s%s", message->id, strrchr(message->from->address, '@'));

	g_mime_message_set_date(mail, date);
	set_words(mail, "From", message->from->name, message->from->address);
	set_words(mail, "To", message->to->name, message->to->address);
	set_words(mail, "Subject", message->subject, NULL);
	g_mime_message_set_message_id(mail, id);
	g_mime_object_set_header(GMIME_OBJECT(mail), "Auto-Submitted", "auto-generated", NULL);
	g_mime_object_set_header(GMIME_OBJECT(mail), "Content-Language", message->language, NULL);
	g_date_time_unref(date);
	g_free(id);
}

/* The mail as it goes over the wire, to be freed; NULL if there is no memory. */
char *
hf_message_write(const HfMessage *message, size_t *length)
{
	GMimeMessage *mail = g_mime_message_new(FALSE);
	GMimeObject *body = new_body(message);
	GMimeFormatOptions *format = g_mime_format_options_new();
	GMimeStream *stream = g_mime_stream_mem_new();
	const GByteArray *bytes;
	char *text;

	set_headers(mail, message);
	g_mime_message_set_mime_part(mail, body);
	g_object_unref(body);
	g_mime_format_options_set_newline_format(format, GMIME_NEWLINE_FORMAT_DOS);
	g_mime_object_write_to_stream(GMIME_OBJECT(mail), format, stream);
	bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
	*length = bytes->len;
	text = malloc(*length + 1);
	if (text != NULL)
	{
		memcpy(text, bytes->data, *length);
		text[*length] = '\0';
	}
	g_object_unref(stream);
	g_mime_format_options_free(format);
	g_object_unref(mail);
	return text;
}
