/*
 * template.c
 *		Texts with places for values, in a part of the language Mustache.
 *
 *		{{name}}                 a value, which is escaped in HTML
 *		{{#name}} ... {{/name}}  once for each element of a list; once for a value that is there
 *		{{^name}} ... {{/name}}  if the value is not there, or is false, empty, or an empty list
 *		{{>file}}                a file beside this one
 *
 * A name is looked for in the innermost element of a list first, then outwards.  A line that has
 * nothing but one of the last three leaves no line behind.
 *
 * Invariants: a template that was loaded can be filled with any values.  It says nothing but names
 * that its program knows.  A value never becomes a part of the template, and never more than one
 * line: what is not visible in it becomes a blank, or is left out.
 */
#include "template.h"

#include "../../api/src/refuse.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 32
#define DEPTH_MAX	   8
#define FILE_MAX	   65536

typedef enum PieceKind
{
	PIECE_TEXT,
	PIECE_VALUE,
	PIECE_EACH,
	PIECE_UNLESS,
	PIECE_END
} PieceKind;

typedef struct Piece
{
	PieceKind kind;
	char *text;	   /* or the name */
	size_t length; /* of the text */
	size_t end;	   /* where the end of this section is */
} Piece;

struct HfTemplate
{
	Piece *pieces;
	size_t n;
};

/* Reading: the file, where we are in it, and the sections that are open. */
typedef struct Reading
{
	HfTemplate *template;
	const char *directory;
	const char *const *names;
	size_t open[DEPTH_MAX];
	unsigned depth, files;
	char *error;
	size_t room;
} Reading;

/* The elements that a name is looked for in, from the innermost outwards. */
typedef struct Scope
{
	const struct Scope *outer;
	json_t *values;
} Scope;

static bool read_file(Reading *reading, const char *name);

static bool
add_piece(Reading *reading, PieceKind kind, const char *text, size_t length)
{
	HfTemplate *template = reading->template;
	Piece *longer = reallocarray(template->pieces, template->n + 1, sizeof(Piece));

	if (longer == NULL)
		return hf_refuse(reading->error, reading->room, "out of memory");
	template->pieces = longer;
	longer[template->n] = (Piece){.kind = kind, .text = strndup(text, length), .length = length};
	if (longer[template->n].text == NULL)
		return hf_refuse(reading->error, reading->room, "out of memory");
	template->n++;
	return true;
}

static bool
is_known(const Reading *reading, const char *name)
{
	for (const char *const *known = reading->names; *known != NULL; known++)
		if (strcmp(*known, name) == 0)
			return true;
	return false;
}

/* Closes the section that was opened last; false if it is not of that name. */
static bool
close_section(Reading *reading, const char *name, unsigned depth)
{
	HfTemplate *template = reading->template;
	size_t opened;

	if (reading->depth <= depth)
		return hf_refuse(reading->error, reading->room, "{{/%s}} ends nothing", name);
	opened = reading->open[--reading->depth];
	if (strcmp(template->pieces[opened].text, name) != 0)
		return hf_refuse(reading->error, reading->room, "{{/%s}} where {{/%s}} should be", name,
						 template->pieces[opened].text);
	template->pieces[opened].end = template->n;
	return add_piece(reading, PIECE_END, name, strlen(name));
}

/* Takes a tag: its sort, and its name. The file was begun at this depth. */
static bool
take_tag(Reading *reading, char sort, const char *name, unsigned depth)
{
	if (sort == '>')
		return read_file(reading, name);
	if (!is_known(reading, name))
		return hf_refuse(reading->error, reading->room, "there is no value {{%s}}", name);
	if (sort == '/')
		return close_section(reading, name, depth);
	if (sort == '\0')
		return add_piece(reading, PIECE_VALUE, name, strlen(name));
	if (reading->depth == DEPTH_MAX)
		return hf_refuse(reading->error, reading->room, "too many sections in each other");
	reading->open[reading->depth++] = reading->template->n;
	return add_piece(reading, sort == '#' ? PIECE_EACH : PIECE_UNLESS, name, strlen(name));
}

/* Splits "{{# name }}" into its sort and its name; false if it is no tag. */
static bool
split_tag(const char *text, size_t length, char *sort, char *name)
{
	size_t used = 0;

	*sort = '\0';
	if (length > 0 && strchr("#^/>", *text) != NULL)
	{
		*sort = *text;
		text++;
		length--;
	}
	for (; length > 0 && *text == ' '; text++)
		length--;
	while (length > 0 && text[length - 1] == ' ')
		length--;
	for (; used < length && used < NAME_MAX_BYTES - 1; used++)
		if (islower((unsigned char) text[used]) || text[used] == '_' ||
			(*sort == '>' && text[used] == '.'))
			name[used] = text[used];
		else
			return false;
	name[used] = '\0';
	return used > 0 && used == length && *name != '.';
}

/*
 * Widens a tag that is alone on its line to the whole line.  The text has been taken as far as
 * `at`.
 */
static void
take_line(const char *text, const char *at, const char **from, const char **to)
{
	const char *left = *from, *right = *to;

	while (left > at && (left[-1] == ' ' || left[-1] == '\t'))
		left--;
	while (*right == ' ' || *right == '\t')
		right++;
	if ((left > text && left[-1] != '\n') || (*right != '\n' && *right != '\0'))
		return;
	*from = left;
	*to = *right == '\n' ? right + 1 : right;
}

static unsigned
line_of(const char *begin, const char *at)
{
	unsigned line = 1;

	for (; begin < at; begin++)
		line += *begin == '\n';
	return line;
}

/* Says where in a file something is wrong. */
static bool
refuse_at(Reading *reading, const char *file, unsigned line)
{
	char what[160];

	snprintf(what, sizeof(what), "%s", reading->error);
	return hf_refuse(reading->error, reading->room, "%s line %u: %s", file, line, what);
}

/* Takes the text of a file apart. */
static bool
read_text(Reading *reading, const char *file, const char *text)
{
	const char *at = text;
	unsigned depth = reading->depth;

	for (;;)
	{
		const char *from = strstr(at, "{{"), *to = from == NULL ? NULL : strstr(from, "}}"),
				   *tag = from;
		char sort, name[NAME_MAX_BYTES];

		if (from == NULL)
			break;
		if (to == NULL || !split_tag(from + 2, (size_t) (to - from - 2), &sort, name))
		{
			hf_refuse(reading->error, reading->room, "{{ begins no tag");
			return refuse_at(reading, file, line_of(text, tag));
		}
		to += 2;
		if (sort != '\0')
			take_line(text, at, &from, &to);
		if (!add_piece(reading, PIECE_TEXT, at, (size_t) (from - at)) ||
			!take_tag(reading, sort, name, depth))
			return sort == '>' ? false : refuse_at(reading, file, line_of(text, tag));
		at = to;
	}
	if (reading->depth > depth)
	{
		hf_refuse(reading->error, reading->room, "{{#%s}} is not ended",
				  reading->template->pieces[reading->open[reading->depth - 1]].text);
		return refuse_at(reading, file, line_of(text, text + strlen(text)));
	}
	return add_piece(reading, PIECE_TEXT, at, strlen(at));
}

/* Reads a file of the directory. */
static bool
read_file(Reading *reading, const char *name)
{
	char path[4096], *text = calloc(1, FILE_MAX + 1);
	FILE *file;
	size_t length = 0;
	bool good = false;

	snprintf(path, sizeof(path), "%s/%s", reading->directory, name);
	file = fopen(path, "r");
	if (file != NULL && text != NULL)
		length = fread(text, 1, FILE_MAX + 1, file);
	if (file == NULL || text == NULL || ferror(file) != 0)
		hf_refuse(reading->error, reading->room, "%s: %s", path, strerror(errno));
	else if (length > FILE_MAX || strlen(text) < length || ++reading->files > DEPTH_MAX)
		hf_refuse(reading->error, reading->room, "%s is too long, no text, or contains itself",
				  path);
	else
		good = read_text(reading, path, text);
	if (file != NULL)
		fclose(file);
	free(text);
	return good;
}

/*
 * Loads a template that may say these names, the last of which is NULL; NULL with a message that
 * has file and line if it is wrong.
 */
HfTemplate *
hf_template_load(const char *directory, const char *name, const char *const *names, char *error,
				 size_t room)
{
	Reading reading = {.directory = directory, .names = names, .error = error, .room = room};

	reading.template = calloc(1, sizeof(HfTemplate));
	if (reading.template != NULL && read_file(&reading, name))
		return reading.template;
	hf_template_free(reading.template);
	return NULL;
}

void
hf_template_free(HfTemplate *template)
{
	for (size_t i = 0; template != NULL && i < template->n; i++)
		free(template->pieces[i].text);
	if (template != NULL)
		free(template->pieces);
	free(template);
}

static json_t *
look_up(const Scope *scope, const char *name)
{
	for (; scope != NULL; scope = scope->outer)
	{
		json_t *value = json_object_get(scope->values, name);

		if (value != NULL)
			return value;
	}
	return NULL;
}

static bool
is_there(const json_t *value)
{
	if (json_is_array(value))
		return json_array_size(value) > 0;
	if (json_is_string(value))
		return json_string_length(value) > 0;
	return value != NULL && !json_is_null(value) && !json_is_false(value);
}

/*
 * How long the character is that begins here if it is one that nobody sees: control characters,
 * other ends of lines, and those that change the direction of what follows.  0 if it is not.
 */
static size_t
invisible(const unsigned char *at)
{
	if (*at < 0x20 || *at == 0x7f)
		return 1;
	if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
		return 2;
	if (at[0] == 0xe2 && at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae)
		return 3;
	if (at[0] == 0xe2 && at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9)
		return 3;
	return 0;
}

static void
put_value(FILE *out, const char *value, bool is_html)
{
	static const char special[] = "&<>\"'";
	static const char *const escaped[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

	while (*value != '\0')
	{
		size_t hidden = invisible((const unsigned char *) value);
		const char *found = is_html ? strchr(special, *value) : NULL;

		if (hidden > 0)
			fputc(' ', out);
		else if (found != NULL)
			fputs(escaped[found - special], out);
		else
			fputc(*value, out);
		value += hidden > 0 ? hidden : 1;
	}
}

/* Fills the pieces from one to another. */
static void
fill(FILE *out, const HfTemplate *template, size_t from, size_t to, const Scope *scope,
	 bool is_html)
{
	for (size_t i = from; i < to; i++)
	{
		const Piece *piece = &template->pieces[i];
		json_t *value = piece->kind == PIECE_TEXT ? NULL : look_up(scope, piece->text);

		if (piece->kind == PIECE_TEXT)
			fwrite(piece->text, 1, piece->length, out);
		else if (piece->kind == PIECE_VALUE && json_is_string(value))
			put_value(out, json_string_value(value), is_html);
		else if (piece->kind == PIECE_VALUE && json_is_integer(value))
			fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		else if (piece->kind == PIECE_EACH && is_there(value))
		{
			size_t n = json_is_array(value) ? json_array_size(value) : 1;

			for (size_t k = 0; k < n; k++)
			{
				Scope inner = {scope, json_is_array(value) ? json_array_get(value, k) : value};

				fill(out, template, i + 1, piece->end, &inner, is_html);
			}
		}
		else if (piece->kind == PIECE_UNLESS && !is_there(value))
			fill(out, template, i + 1, piece->end, scope, is_html);
		if (piece->kind == PIECE_EACH || piece->kind == PIECE_UNLESS)
			i = piece->end;
	}
}

/* The text with these values in their places, to be freed; NULL if there is no memory. */
char *
hf_template_fill(const HfTemplate *template, json_t *values, bool is_html)
{
	char *text = NULL;
	size_t length;
	Scope scope = {NULL, values};
	FILE *out = open_memstream(&text, &length);
	bool good;

	if (out == NULL)
		return NULL;
	fill(out, template, 0, template->n, &scope, is_html);
	good = ferror(out) == 0;
	if (fclose(out) == 0 && good)
		return text;
	free(text);
	return NULL;
}
