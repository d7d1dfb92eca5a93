/*
 * setting.c
 *		Reads files of settings into structures.
 *
 * What is given once lives as long as the process.
 */
#include "setting.h"
#include "refuse.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 2000
#define WORDS_MAX	   64

/* Reads digits and puts what follows them into `unit`; false if there are none or too many. */
static bool
read_number(const char *text, uint64_t *value, const char **unit)
{
	char *end;

	if (!isdigit((unsigned char) *text))
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	*unit = end;
	return errno == 0 && *value <= UINT64_MAX / HF_DAY;
}

/* Reads a number with one of these units; without a unit only 0 is read. */
static bool
read_unit(const char *text, const char *const *units, const uint64_t *factors, uint64_t *value)
{
	const char *unit;

	if (!read_number(text, value, &unit))
		return false;
	for (size_t i = 0; units[i] != NULL; i++)
		if (strcmp(unit, units[i]) == 0)
		{
			*value *= factors[i];
			return true;
		}
	return *value == 0 && *unit == '\0';
}

static bool
read_time(const char *text, uint64_t *milliseconds)
{
	static const char *const units[] = {"ms", "s", "min", "h", "d", NULL};
	static const uint64_t factors[] = {1, HF_SECOND, 60 * HF_SECOND, 3600 * HF_SECOND, HF_DAY};

	return read_unit(text, units, factors, milliseconds);
}

static bool
read_size(const char *text, uint64_t *bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", NULL};
	static const uint64_t factors[] = {1, 1024, HF_MEGABYTE, 1024 * HF_MEGABYTE};

	return read_unit(text, units, factors, bytes);
}

/* Splits at blanks into an array that ends with NULL; NULL if there are too many or no memory. */
static char **
read_words(const char *text)
{
	char **words = calloc(1, (WORDS_MAX + 1) * sizeof(char *) + strlen(text) + 1);
	char *copy, *rest = NULL;
	size_t n = 0;

	if (words == NULL)
		return NULL;
	copy = memcpy(words + WORDS_MAX + 1, text, strlen(text) + 1);
	for (char *word = strtok_r(copy, " \t", &rest); word != NULL;
		 word = strtok_r(NULL, " \t", &rest))
	{
		if (n == WORDS_MAX)
		{
			free(words);
			return NULL;
		}
		words[n++] = word;
	}
	return words;
}

/* Reads "QUOTA/WINDOW [burst N]", or "off". */
static bool
read_rate(const char *text, HfRate *rate)
{
	char window_text[32], burst_text[10];
	unsigned quota, burst = 0;
	uint64_t window;
	int end = -1;

	if (strcmp(text, "off") == 0)
	{
		rate->quota = 0;
		return true;
	}
	if (sscanf(text, "%9u/%31s%n", &quota, window_text, &end) != 2 ||
		!isdigit((unsigned char) *text) || !read_time(window_text, &window))
		return false;
	if (text[end] != '\0')
	{
		const char *rest = text + end;

		end = -1;
		if (sscanf(rest, " burst %9[0-9]%n", burst_text, &end) != 1 || rest[end] != '\0')
			return false;
		burst = (unsigned) strtoul(burst_text, NULL, 10);
	}
	if (quota == 0 || window < HF_SECOND || window > HF_DAY || window % HF_SECOND != 0)
		return false;
	*rate = (HfRate){quota, (uint32_t) (window / HF_SECOND), burst};
	return true;
}

/* Puts a value into its field; false if it is none for this setting. */
static bool
set_value(const HfSetting *setting, void *structure, const char *text)
{
	char *field = (char *) structure + setting->offset;
	const char *unit;
	uint64_t number = 0;

	switch (setting->kind)
	{
		case HF_KIND_FOREIGN:
			return true;
		case HF_KIND_TEXT:
			return (*(char **) field = strdup(text)) != NULL;
		case HF_KIND_WORDS:
			return (*(char ***) field = read_words(text)) != NULL;
		case HF_KIND_RATE:
			return read_rate(text, (HfRate *) field);
		case HF_KIND_SWITCH:
			*(bool *) field = strcmp(text, "on") == 0;
			return *(bool *) field || strcmp(text, "off") == 0;
		case HF_KIND_NUMBER:
			if (!read_number(text, &number, &unit) || *unit != '\0')
				return false;
			break;
		case HF_KIND_TIME:
			if (!read_time(text, &number))
				return false;
			break;
		case HF_KIND_SIZE:
			if (!read_size(text, &number) || number < setting->least || number > setting->most)
				return false;
			*(size_t *) field = number;
			return true;
	}
	if (number < setting->least || number > setting->most)
		return false;
	*(unsigned *) field = (unsigned) number;
	return true;
}

static bool
set_named(HfSettingFind find, const char *name, const char *text, int line, char *error,
		  size_t room)
{
	HfSettingPlace place;

	if (!find(name, &place))
		return hf_refuse(error, room, "line %d: there is no setting %s", line, name);
	if (*place.given)
		return hf_refuse(error, room, "line %d: %s is given twice", line, name);
	*place.given = true;
	if (set_value(place.setting, place.structure, text))
		return true;
	if (place.setting->kind == HF_KIND_RATE)
		return hf_refuse(error, room,
						 "line %d: %s is QUOTA/WINDOW [burst N], such as 20/60s burst 5, or off",
						 line, name);
	return hf_refuse(error, room, "line %d: %s cannot be \"%s\"", line, name, text);
}

/* Takes a line apart; true with an empty name if it is blank or a comment. */
static bool
split_line(char *line, char **name, char **value)
{
	char *end = line + strlen(line), *equals;

	while (end > line && isspace((unsigned char) end[-1]))
		*--end = '\0';
	while (isspace((unsigned char) *line))
		line++;
	*name = line;
	if (*line == '\0' || *line == '#')
	{
		*name = "";
		return true;
	}
	equals = strchr(line, '=');
	if (equals == NULL)
		return false;
	*value = equals + 1;
	while (isspace((unsigned char) **value))
		(*value)++;
	while (equals > line && isspace((unsigned char) equals[-1]))
		equals--;
	*equals = '\0';
	return true;
}

static bool
read_lines(FILE *file, HfSettingFind find, char *error, size_t room)
{
	char line[LINE_MAX_BYTES], *name, *value = NULL;

	for (int n = 1; fgets(line, sizeof(line), file) != NULL; n++)
	{
		if (strlen(line) == sizeof(line) - 1)
			return hf_refuse(error, room, "line %d is too long", n);
		if (!split_line(line, &name, &value))
			return hf_refuse(error, room, "line %d is not \"name = value\"", n);
		if (*name != '\0' && !set_named(find, name, value, n, error, room))
			return false;
	}
	return true;
}

/* Finds a setting in a table; false if it is not there. */
bool
hf_setting_find(const HfSettings *of, const char *name, HfSettingPlace *place)
{
	for (size_t i = 0; i < of->n; i++)
		if (strcmp(of->setting[i].name, name) == 0)
		{
			*place = (HfSettingPlace){&of->setting[i], of->structure, &of->given[i]};
			return true;
		}
	return false;
}

/* Sets what the file gives; false with a message that names the line that is wrong. */
bool
hf_setting_read(const char *path, HfSettingFind find, char *error, size_t room)
{
	FILE *file = fopen(path, "r");
	bool good;

	if (file == NULL)
		return hf_refuse(error, room, "cannot open it: %s", strerror(errno));
	good = read_lines(file, find, error, room);
	fclose(file);
	return good;
}

/*
 * Sets what the file was silent about; false with a message if that must be given.  The prefix is
 * what the names of the table begin with in the file.
 */
bool
hf_setting_complete(const HfSettings *of, const char *prefix, char *error, size_t room)
{
	for (size_t i = 0; i < of->n; i++)
	{
		const HfSetting *setting = &of->setting[i];

		if (of->given[i])
			continue;
		if (setting->otherwise == NULL)
			return hf_refuse(error, room, "%s%s is not given", prefix, setting->name);
		if (!set_value(setting, of->structure, setting->otherwise))
			return hf_refuse(error, room, "out of memory");
	}
	return true;
}
