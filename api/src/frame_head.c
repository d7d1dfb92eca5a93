/*
 * frame_head.c
 *		The header section of a request, before Kore sees it: RFC 9112, strictly.
 *
 * Where a request ends must be beyond doubt for us, for Kore and for every proxy in front of us, or
 * one of them takes for a request what another took for a body.  So what RFC 9112 lets a server
 * repair or guess is refused here.  What Kore cannot read although it is right is rewritten: it
 * refuses a field without a value, and tabs and bytes beyond ASCII in one; it drops what comes
 * after HF_FRAME_FIELDS_MAX lines; it takes any field whose name begins with "host" for Host; and
 * it keeps blanks at the end of a value.
 *
 * Invariants: a section that is not refused begins with a request line, "METHOD /PATH HTTP/1.1",
 * and has exactly one Host.  No value that decides about anything was altered: the fields that may
 * come only once are refused if they hold what Kore cannot read, and only other ones are repaired.
 * HTTP/1.0 is not spoken, because a request may end where the connection does; a proxy in front of
 * us speaks HTTP/1.1.  A section never grows.  Nothing is allocated.
 */
#include "frame_head.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* What a byte may be part of. */
#define TARGET 1
#define TOKEN  2

static const unsigned char kinds[256] = {
	['!'] = TARGET | TOKEN, ['"'] = TARGET,
	['#'] = TOKEN,			['$' ... '\''] = TARGET | TOKEN,
	['(' ... ')'] = TARGET, ['*' ... '+'] = TARGET | TOKEN,
	[','] = TARGET,			['-' ... '.'] = TARGET | TOKEN,
	['/'] = TARGET,			['0' ... '9'] = TARGET | TOKEN,
	[':' ... '@'] = TARGET, ['A' ... 'Z'] = TARGET | TOKEN,
	['[' ... ']'] = TARGET, ['^' ... 'z'] = TARGET | TOKEN,
	['{'] = TARGET,			['|'] = TARGET | TOKEN,
	['}'] = TARGET,			['~'] = TARGET | TOKEN,
};

/* The fields of which there can be one only; a list in several lines is not worth a doubt. */
typedef enum Field
{
	HOST,
	CONTENT_LENGTH,
	EXPECT,
	TRANSFER_ENCODING,
	AUTHORIZATION,
	CONTENT_TYPE,
	CONTENT_ENCODING,
	IDEMPOTENCY_KEY,
	IF_MATCH,
	IF_NONE_MATCH,
	ORIGIN,
	X_REAL_IP,
	OTHER
} Field;

static const HfText names[OTHER] = {
	[HOST] = {"host", 4},
	[CONTENT_LENGTH] = {"content-length", 14},
	[EXPECT] = {"expect", 6},
	[TRANSFER_ENCODING] = {"transfer-encoding", 17},
	[AUTHORIZATION] = {"authorization", 13},
	[CONTENT_TYPE] = {"content-type", 12},
	[CONTENT_ENCODING] = {"content-encoding", 16},
	[IDEMPOTENCY_KEY] = {"idempotency-key", 15},
	[IF_MATCH] = {"if-match", 8},
	[IF_NONE_MATCH] = {"if-none-match", 13},
	[ORIGIN] = {"origin", 6},
	[X_REAL_IP] = {"x-real-ip", 9},
};

typedef enum Method
{
	WITHOUT_BODY,
	WITH_BODY,
	FORBIDDEN
} Method;

static const struct
{
	HfText name;
	Method method;
} methods[] = {
	{{"GET", 3}, WITHOUT_BODY},		{{"POST", 4}, WITH_BODY},	   {{"PUT", 3}, WITH_BODY},
	{{"PATCH", 5}, WITH_BODY},		{{"DELETE", 6}, WITHOUT_BODY}, {{"HEAD", 4}, WITHOUT_BODY},
	{{"OPTIONS", 7}, WITHOUT_BODY}, {{"TRACE", 5}, FORBIDDEN},	   {{"CONNECT", 7}, FORBIDDEN},
};

/* A section that is being read. */
typedef struct Reading
{
	HfFrameHead *head;
	const char **detail;
	Method method;
	bool of_server;		 /* the target is "*", the server itself */
	char *to;			 /* where the next line goes */
	unsigned lines;		 /* fields that are kept */
	HfText value[OTHER]; /* NULL data: not seen */
} Reading;

static int
refuse(const Reading *reading, int status, const char *detail)
{
	*reading->detail = detail;
	return status;
}

/*
 * Finds the end of a header section; `seen` bytes of it, 0 at first, were looked at before.  The
 * length of the section, 0 as long as it has no end, or -1 if no section of ours begins like this.
 */
ssize_t
hf_frame_head_find(const char *bytes, size_t length, size_t *seen)
{
	const char *at = bytes + *seen, *end = bytes + length;

	if (length > 0 && !(kinds[(unsigned char) *bytes] & TOKEN))
		return -1;
	while ((at = memchr(at, '\n', (size_t) (end - at))) != NULL)
	{
		if (at[-1] != '\r')
			return -1;
		if (at - bytes >= 3 && at[-2] == '\n')
			return at + 1 - bytes;
		at++;
		*seen = (size_t) (at - bytes);
	}
	*seen = length;
	return 0;
}

/* The first byte that is not of a kind. */
static const char *
skip(const char *at, const char *end, unsigned char kind)
{
	while (at < end && (kinds[(unsigned char) *at] & kind))
		at++;
	return at;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int
read_method(Reading *reading)
{
	const HfText *method = &reading->head->method;

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (methods[i].name.length == method->length &&
			memcmp(methods[i].name.data, method->data, method->length) == 0)
		{
			reading->method = methods[i].method;
			if (reading->method == FORBIDDEN)
				return refuse(reading, 405, "not a method of this server");
			return 0;
		}
	return refuse(reading, 501, "not a method that is known here");
}

static int
read_target(Reading *reading, const char *target, size_t length)
{
	const char *query;

	if (length == 1 && *target == '*' && reading->head->method.length == 7)
	{
		reading->of_server = true; /* of the methods with seven letters only OPTIONS gets here */
		return 0;
	}
	if (*target != '/')
		return refuse(reading, 400, "the target of the request is not a path");
	if (length > HF_FRAME_TARGET_MAX)
		return refuse(reading, 414, "path and query are too long");
	query = memchr(target, '?', length);
	reading->head->path.data = target;
	reading->head->path.length = query != NULL ? (size_t) (query - target) : length;
	return 0;
}

static int
read_request_line(Reading *reading, const char *line, const char *end)
{
	const char *method_end = skip(line, end, TOKEN), *target = method_end + 1, *target_end,
			   *version;
	int status;

	if (method_end == line || *method_end != ' ')
		return refuse(reading, 400, "the request line is malformed");
	target_end = skip(target, end, TARGET);
	version = target_end + 1;
	if (target_end == target || *target_end != ' ' || end - version != 8 ||
		memcmp(version, "HTTP/", 5) != 0 || !is_digit(version[5]) || version[6] != '.' ||
		!is_digit(version[7]))
		return refuse(reading, 400, "the request line is malformed");
	if (version[5] != '1' || version[7] != '1')
		return refuse(reading, 505, "only HTTP/1.1 is spoken here");
	reading->head->method = (HfText){line, (size_t) (method_end - line)};
	if ((status = read_method(reading)) != 0)
		return status;
	return read_target(reading, target, (size_t) (target_end - target));
}

static Field
field_of(const char *name, size_t length)
{
	for (Field field = 0; field < OTHER; field++)
		if (names[field].length == length && strncasecmp(names[field].data, name, length) == 0)
			return field;
	return OTHER;
}

/* Makes a value readable to Kore; false if it holds what no value may, or what this one may not. */
static bool
clean(char *value, const char *end, Field field)
{
	for (; value < end; value++)
	{
		unsigned char c = (unsigned char) *value;

		if (c >= 0x20 && c < 0x7f)
			continue;
		if (field != OTHER || (c < 0x80 && c != '\t'))
			return false;
		*value = c == '\t' ? ' ' : '?';
	}
	return true;
}

/* Reads a field and writes it back, to where the section ends so far, if Kore is to see it. */
static int
read_field(Reading *reading, char *line, char *end)
{
	char *name_end = (char *) skip(line, end, TOKEN), *value = name_end + 1;
	size_t name = (size_t) (name_end - line);
	Field field = field_of(line, name);

	if (name_end == line || name_end == end || *name_end != ':')
		return refuse(reading, 400, "a header line is malformed");
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (!clean(value, end, field))
		return refuse(reading, 400, "a header has a character that it may not have");
	if (field != OTHER && (value == end || reading->value[field].data != NULL))
		return refuse(reading, 400, "a header is empty or there twice that must be there once");
	if (value == end || (field == OTHER && name > 4 && strncasecmp(line, "host", 4) == 0))
		return 0;
	if (++reading->lines > HF_FRAME_FIELDS_MAX)
		return refuse(reading, 431, "there are too many headers");
	if (field != OTHER)
		reading->value[field] = (HfText){reading->to + (value - line), (size_t) (end - value)};
	if (reading->to != line)
		memmove(reading->to, line, (size_t) (end - line));
	reading->to += end - line;
	*reading->to++ = '\r';
	*reading->to++ = '\n';
	return 0;
}

/* Is it a name, an IPv4 address, or an IPv6 address in brackets, with or without a port? */
static bool
is_host(const HfText *host)
{
	/* A '\r' follows each value and stops the search. */
	const char *at = host->data, *end = host->data + host->length;
	size_t length;

	if (host->length > HF_FRAME_HOST_MAX)
		return false;
	if (*at == '[')
	{
		length = strspn(at + 1, "0123456789abcdefABCDEF:.");
		if (length < 2 || at[1 + length] != ']')
			return false;
		at += length + 2;
	}
	else
	{
		length = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");
		if (length == 0)
			return false;
		at += length;
	}
	if (at < end && *at == ':')
		at += 1 + strspn(at + 1, "0123456789");
	return at == end;
}

static int
read_length(Reading *reading)
{
	const HfText *value = &reading->value[CONTENT_LENGTH];
	size_t length = 0;

	if (value->data == NULL && reading->method == WITH_BODY)
		return refuse(reading, 411, "the length of the body is missing");
	for (size_t i = 0; i < value->length; i++)
	{
		if (!is_digit(value->data[i]))
			return refuse(reading, 400, "the length of the body is not a number");
		if (length < INT64_MAX / 16)
			length = length * 10 + (size_t) (value->data[i] - '0');
	}
	if (length > 0 && reading->method == WITHOUT_BODY)
		return refuse(reading, 400, "a request with this method has no body");
	reading->head->body = length;
	return 0;
}

/* Judges the fields together. */
static int
judge(Reading *reading)
{
	const HfText *expect = &reading->value[EXPECT];
	int status;

	if (reading->value[TRANSFER_ENCODING].data != NULL)
	{
		if (reading->value[CONTENT_LENGTH].data != NULL)
			return refuse(reading, 400, "the body has a length and a transfer coding");
		return refuse(reading, 501, "no transfer coding is known here");
	}
	if (reading->value[HOST].data == NULL || !is_host(&reading->value[HOST]))
		return refuse(reading, 400, "there is no valid host");
	if ((status = read_length(reading)) != 0)
		return status;
	if (expect->data != NULL)
	{
		if (expect->length != 12 || strncasecmp(expect->data, "100-continue", 12) != 0)
			return refuse(reading, 417, "nothing but 100-continue can be expected");
		reading->head->expects = reading->head->body > 0;
	}
	/* OPTIONS of the server as a whole: what any of its resources allows. */
	return reading->of_server ? 204 : 0;
}

/*
 * Reads a header section that hf_frame_head_find() has found, and makes it one that Kore reads as
 * we do; it may become shorter.  0, or the status to answer with instead, and why.
 */
int
hf_frame_head_read(HfFrameHead *head, char *section, size_t length, const char **detail)
{
	Reading reading = {.head = head, .detail = detail};
	char *end = section + length - 2, *line_end;
	int status;

	memset(head, 0, sizeof(*head));
	*detail = NULL;
	line_end = memchr(section, '\n', length);
	if ((status = read_request_line(&reading, section, line_end - 1)) != 0)
		return status;
	reading.to = line_end + 1;
	for (char *line = line_end + 1; line < end; line = line_end + 1)
	{
		line_end = memchr(line, '\n', (size_t) (end - line));
		if ((status = read_field(&reading, line, line_end - 1)) != 0)
			return status;
	}
	memcpy(reading.to, "\r\n", 2);
	head->length = (size_t) (reading.to + 2 - section);
	return judge(&reading);
}
