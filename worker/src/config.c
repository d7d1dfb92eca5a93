/*
 * config.c
 *		Reads the settings: lines of "name = value", which conf/worker.conf documents.
 *
 * A file with an unknown name, a name twice, or a value that is none for its setting is refused
 * as a whole, with the line in the message: a worker that starts has understood all of its
 * settings.  What is given once lives as long as the process.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 2000
#define NAME_MAX_BYTES 63 /* of a provider, as the database has it */
#define SECOND		   1000

HfConfig hf_config;

typedef enum SettingKind
{
	KIND_TEXT,
	KIND_NUMBER,
	KIND_TIME,
	KIND_SWITCH
} SettingKind;

/* A setting: where it goes, what it is if the file is silent, and what it may be. */
typedef struct Setting
{
	const char *name;
	SettingKind kind;
	size_t offset;
	const char *otherwise; /* NULL: it must be given */
	uint64_t least, most;
} Setting;

#define AT(field) offsetof(HfConfig, field)
#define OF(field) offsetof(HfProviderConfig, field)

static const Setting settings[] = {
	{"batch", KIND_NUMBER, AT(batch), "100", 1, 1000},
	{"database", KIND_TEXT, AT(database), NULL, 0, 0},
	{"database_timeout", KIND_TIME, AT(database_timeout), "10s", 100, 600 * SECOND},
	{"drain_timeout", KIND_TIME, AT(drain_timeout), "10s", 0, 600 * SECOND},
	{"lease", KIND_TIME, AT(lease), "60s", 2 * SECOND, 24 * 3600 * SECOND},
	{"poll_interval", KIND_TIME, AT(poll_interval), "1s", 20, 60 * SECOND},
	{"simulated", KIND_SWITCH, AT(simulated), "off", 0, 0},
	{"user", KIND_TEXT, AT(user), "www-data", 0, 0},
	{"workers", KIND_NUMBER, AT(workers), "1", 1, 64},
};

/* Of each provider: provider.NAME.calls and so on. */
static const Setting provider_settings[] = {
	{"calls", KIND_NUMBER, OF(calls), "32", 1, 1000},
	{"secret_file", KIND_TEXT, OF(secret_file), "", 0, 0},
	{"timeout", KIND_TIME, OF(timeout), "15s", 10, 3600 * SECOND},
	{"url", KIND_TEXT, OF(url), NULL, 0, 0},
};

#define SETTINGS		  (sizeof(settings) / sizeof(settings[0]))
#define PROVIDER_SETTINGS (sizeof(provider_settings) / sizeof(provider_settings[0]))

/* What the file has given. */
static bool given[SETTINGS];
static bool provider_given[HF_PROVIDERS_MAX][PROVIDER_SETTINGS];

static bool __attribute__((format(printf, 3, 4)))
refuse(char *error, size_t room, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, room, format, args);
	va_end(args);
	return false;
}

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
	return errno == 0 && *value <= UINT32_MAX;
}

static bool
read_time(const char *text, uint64_t *milliseconds)
{
	static const char *const units[] = {"ms", "s", "min", "h", "d"};
	static const unsigned factors[] = {1, SECOND, 60 * SECOND, 3600 * SECOND, 24 * 3600 * SECOND};
	const char *unit;

	if (!read_number(text, milliseconds, &unit))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i]) == 0)
		{
			*milliseconds *= factors[i];
			return true;
		}
	return *milliseconds == 0 && *unit == '\0';
}

/* Puts a value into its field of the structure; false if it is none for this setting. */
static bool
set_value(const Setting *setting, void *structure, const char *text)
{
	char *field = (char *) structure + setting->offset;
	const char *unit;
	uint64_t number = 0;

	switch (setting->kind)
	{
		case KIND_TEXT:
			return (*(char **) field = strdup(text)) != NULL;
		case KIND_SWITCH:
			*(bool *) field = strcmp(text, "on") == 0;
			return *(bool *) field || strcmp(text, "off") == 0;
		case KIND_NUMBER:
			if (!read_number(text, &number, &unit) || *unit != '\0')
				return false;
			break;
		case KIND_TIME:
			if (!read_time(text, &number))
				return false;
			break;
	}
	if (number < setting->least || number > setting->most)
		return false;
	*(unsigned *) field = (unsigned) number;
	return true;
}

static int
find_setting(const Setting *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return (int) i;
	return -1;
}

/* Is this a name that a provider may have in the database? */
static bool
is_provider_name(const char *name, size_t length)
{
	if (length == 0 || length > NAME_MAX_BYTES || !islower((unsigned char) *name))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!islower((unsigned char) name[i]) && !isdigit((unsigned char) name[i]) &&
			name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

/* The number of the provider of that name, which is there from now on; -1 if it cannot be. */
static int
find_provider(const char *name, size_t length)
{
	for (size_t i = 0; i < hf_config.providers; i++)
		if (strlen(hf_config.provider[i].name) == length &&
			memcmp(hf_config.provider[i].name, name, length) == 0)
			return (int) i;
	if (hf_config.providers == HF_PROVIDERS_MAX || !is_provider_name(name, length))
		return -1;
	hf_config.provider[hf_config.providers].name = strndup(name, length);
	return hf_config.provider[hf_config.providers].name == NULL ? -1 : (int) hf_config.providers++;
}

/*
 * Finds the setting of that name, the structure it is in, and where to note that it was given.
 * NULL if there is none.
 */
static const Setting *
find_named(const char *name, void **structure, bool **is_given)
{
	const char *dot;
	int provider, at;

	if (strncmp(name, "provider.", 9) != 0)
	{
		at = find_setting(settings, SETTINGS, name);
		if (at < 0)
			return NULL;
		*structure = &hf_config;
		*is_given = &given[at];
		return &settings[at];
	}
	name += 9;
	dot = strchr(name, '.');
	at = dot == NULL ? -1 : find_setting(provider_settings, PROVIDER_SETTINGS, dot + 1);
	provider = at < 0 ? -1 : find_provider(name, (size_t) (dot - name));
	if (provider < 0)
		return NULL;
	*structure = &hf_config.provider[provider];
	*is_given = &provider_given[provider][at];
	return &provider_settings[at];
}

static bool
set_named(const char *name, const char *text, int line, char *error, size_t room)
{
	void *structure = NULL;
	bool *is_given = NULL;
	const Setting *setting = find_named(name, &structure, &is_given);

	if (setting == NULL)
		return refuse(error, room, "line %d: there is no setting %s", line, name);
	if (*is_given)
		return refuse(error, room, "line %d: %s is given twice", line, name);
	*is_given = true;
	return set_value(setting, structure, text) ||
		refuse(error, room, "line %d: %s cannot be \"%s\"", line, name, text);
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
read_lines(FILE *file, char *error, size_t room)
{
	char line[LINE_MAX_BYTES], *name, *value = NULL;

	for (int n = 1; fgets(line, sizeof(line), file) != NULL; n++)
	{
		if (strlen(line) == sizeof(line) - 1)
			return refuse(error, room, "line %d is too long", n);
		if (!split_line(line, &name, &value))
			return refuse(error, room, "line %d is not \"name = value\"", n);
		if (*name != '\0' && !set_named(name, value, n, error, room))
			return false;
	}
	return true;
}

/* Sets what the file is silent about. The prefix is what its names begin with. */
static bool
set_others(const Setting *table, size_t n, const bool *was_given, void *structure,
		   const char *prefix, char *error, size_t room)
{
	for (size_t i = 0; i < n; i++)
	{
		if (was_given[i])
			continue;
		if (table[i].otherwise == NULL)
			return refuse(error, room, "%s%s is not given", prefix, table[i].name);
		if (!set_value(&table[i], structure, table[i].otherwise))
			return refuse(error, room, "out of memory");
	}
	return true;
}

/* What one setting cannot tell alone. */
static bool
check_whole(char *error, size_t room)
{
	for (size_t i = 0; i < hf_config.providers; i++)
	{
		const HfProviderConfig *provider = &hf_config.provider[i];

		/* A call is over, and recorded, before anybody else may make it. */
		if (provider->timeout > hf_config.lease / 2)
			return refuse(error, room, "provider.%s.timeout is more than half of lease",
						  provider->name);
		if (hf_config.simulated && strcmp(provider->name, "simulated") == 0)
			return refuse(error, room, "provider.simulated has a URL, so simulated must be off");
	}
	return true;
}

/* Reads the file; false with a message that names the line or the setting that is wrong. */
bool
hf_config_load(const char *path, char *error, size_t room)
{
	FILE *file = fopen(path, "r");
	bool good;

	if (file == NULL)
		return refuse(error, room, "cannot open it: %s", strerror(errno));
	memset(&hf_config, 0, sizeof(hf_config));
	good = read_lines(file, error, room);
	fclose(file);
	if (!good || !set_others(settings, SETTINGS, given, &hf_config, "", error, room))
		return false;
	for (size_t i = 0; i < hf_config.providers; i++)
	{
		char prefix[NAME_MAX_BYTES + 16];

		snprintf(prefix, sizeof(prefix), "provider.%s.", hf_config.provider[i].name);
		if (!set_others(provider_settings, PROVIDER_SETTINGS, provider_given[i],
						&hf_config.provider[i], prefix, error, room))
			return false;
	}
	return check_whole(error, room);
}
