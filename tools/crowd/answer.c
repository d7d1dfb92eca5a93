/*
 * answer.c
 *		Answers of HTTP/1.1 as they come in.
 *
 * The head and the beginning of the body are kept; of a longer body the rest is only counted.  An
 * answer ends where Content-Length says: one without it is an error, for nothing that is measured
 * here sends any, and so is whatever comes behind the end, because nothing was asked for.
 */
#include "answer.h"

#include <string.h>
#include <strings.h>

#define HEAD_MAX   (HF_ANSWER_ROOM / 2)
#define LENGTH_MAX UINT64_C(1000000000000)

void
hf_answer_begin(HfAnswer *answer)
{
	answer->got = answer->length = 0;
	answer->head = 0;
	answer->status = 0;
	answer->retry_after = 0;
	answer->close = false;
}

char *
hf_answer_room(HfAnswer *answer, size_t *room)
{
	static char nowhere[65536];

	if (answer->got < HF_ANSWER_ROOM)
	{
		*room = HF_ANSWER_ROOM - (size_t) answer->got;
		return answer->text + answer->got;
	}
	*room = sizeof(nowhere);
	return nowhere;
}

/* Reads digits, all of them; false if they are none or too many. */
static bool
read_number(HfPiece text, uint64_t most, uint64_t *number)
{
	*number = 0;
	if (text.length == 0)
		return false;
	for (size_t i = 0; i < text.length; i++)
	{
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		*number = *number * 10 + (uint64_t) (text.data[i] - '0');
		if (*number > most)
			return false;
	}
	return true;
}

static bool
is_name(HfPiece line, const char *name, size_t length)
{
	return line.length > length && line.data[length] == ':' &&
		strncasecmp(line.data, name, length) == 0;
}

/* What stands behind a name of so many letters, without blanks around it. */
static HfPiece
value_of(HfPiece line, size_t length)
{
	HfPiece value = {line.data + length + 1, line.length - length - 1};

	while (value.length > 0 && (*value.data == ' ' || *value.data == '\t'))
		value.data++, value.length--;
	while (value.length > 0 &&
		   (value.data[value.length - 1] == ' ' || value.data[value.length - 1] == '\t'))
		value.length--;
	return value;
}

/* Takes a line of the head; length is that of the body, or UINT64_MAX as long as it is unknown. */
static HfAnswerState
read_line(HfAnswer *answer, HfPiece line, uint64_t *length)
{
	uint64_t number;
	HfPiece value;

	if (is_name(line, "content-length", 14))
	{
		if (!read_number(value_of(line, 14), LENGTH_MAX, &number) ||
			(*length != UINT64_MAX && *length != number))
			return HF_ANSWER_BAD;
		*length = number;
	}
	else if (is_name(line, "transfer-encoding", 17))
		return HF_ANSWER_NO_LENGTH;
	else if (is_name(line, "connection", 10))
	{
		value = value_of(line, 10);
		answer->close |= value.length == 5 && strncasecmp(value.data, "close", 5) == 0;
	}
	else if (is_name(line, "retry-after", 11))
	{
		if (read_number(value_of(line, 11), UINT32_MAX, &number))
			answer->retry_after = (uint32_t) number;
	}
	return HF_ANSWER_PART;
}

/* The line that begins at a place of the head: up to CR LF. */
static HfPiece
line_at(const HfAnswer *answer, size_t at)
{
	const char *end = memchr(answer->text + at, '\r', answer->head - at);

	return (HfPiece){answer->text + at, (size_t) (end - answer->text) - at};
}

static HfAnswerState
read_head(HfAnswer *answer)
{
	HfPiece line = line_at(answer, 0);
	uint64_t number, length = UINT64_MAX;
	HfAnswerState state;

	if (line.length < 12 || memcmp(line.data, "HTTP/1.", 7) != 0 || line.data[8] != ' ' ||
		!read_number((HfPiece){line.data + 9, 3}, 599, &number) || number < 200 ||
		(line.length > 12 && line.data[12] != ' '))
		return HF_ANSWER_BAD;
	answer->status = (int) number;
	answer->close = line.data[7] == '0';
	for (size_t at = line.length + 2; at < answer->head - 2; at += line.length + 2)
	{
		line = line_at(answer, at);
		if (line.data[line.length + 1] != '\n')
			return HF_ANSWER_BAD;
		state = read_line(answer, line, &length);
		if (state != HF_ANSWER_PART)
			return state;
	}
	if (number == 204 || number == 304)
		length = 0;
	if (length == UINT64_MAX)
		return HF_ANSWER_NO_LENGTH;
	answer->length = answer->head + length;
	return HF_ANSWER_PART;
}

HfAnswerState
hf_answer_take(HfAnswer *answer, size_t bytes)
{
	/* The end of a head may lie across two pieces. */
	size_t from = answer->got < 3 ? 0 : (size_t) answer->got - 3;

	answer->got += bytes;
	if (answer->head == 0)
	{
		const char *end = memmem(answer->text + from, (size_t) answer->got - from, "\r\n\r\n", 4);
		HfAnswerState state;

		if (end == NULL)
			return answer->got > HEAD_MAX ||
					memcmp(answer->text, "HTTP/1.", answer->got < 7 ? answer->got : 7) != 0
				? HF_ANSWER_BAD
				: HF_ANSWER_PART;
		answer->head = (size_t) (end - answer->text) + 4;
		state = read_head(answer);
		if (state != HF_ANSWER_PART)
			return state;
	}
	if (answer->got < answer->length)
		return HF_ANSWER_PART;
	return answer->got == answer->length ? HF_ANSWER_WHOLE : HF_ANSWER_MORE;
}

/* The end of the text that begins behind a quotation mark, or NULL. */
static const char *
end_of_text(const char *at, const char *end)
{
	for (; at < end && *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at < end ? at : NULL;
}

HfPiece
hf_answer_field(const HfAnswer *answer, const char *name)
{
	const char *at = answer->text + answer->head;
	const char *end = answer->text + (answer->got < HF_ANSWER_ROOM ? answer->got : HF_ANSWER_ROOM);
	size_t length = strlen(name);
	int depth = 0;

	for (; at < end; at++)
	{
		const char *begin = at + 1;
		bool found;

		depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
		if (*at != '"')
			continue;
		at = end_of_text(begin, end);
		if (at == NULL)
			break;
		found = depth == 1 && (size_t) (at - begin) == length && memcmp(begin, name, length) == 0;
		begin = at + 1;
		while (begin < end && (*begin == ' ' || *begin == ':'))
			begin++;
		/* A name is what has a colon behind it. */
		if (!found || memchr(at + 1, ':', (size_t) (begin - at - 1)) == NULL)
			continue;
		if (begin == end || *begin != '"')
			break;
		at = end_of_text(++begin, end);
		if (at == NULL)
			break;
		return (HfPiece){begin, (size_t) (at - begin)};
	}
	return (HfPiece){NULL, 0};
}
