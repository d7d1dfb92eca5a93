/*
 * config.c
 *		Reads the settings: lines of "name = value", which conf/api.conf documents.
 *
 * A file with an unknown name, a name twice, or a value that is none for its setting is refused
 * as a whole, with the line in the message: a server that starts has understood all of its
 * settings. What is given once lives as long as the process.
 */
#include "config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 2000
#define WORDS_MAX	   64

HfConfig hf_config;

typedef enum SettingKind
{
	KIND_TEXT,
	KIND_WORDS,
	KIND_NUMBER,
	KIND_TIME,
	KIND_SIZE,
	KIND_SWITCH,
	KIND_LAUNCHER /* api/serve reads it, not we */
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

#define AT(field)	 offsetof(HfConfig, field)
#define SECOND		 1000
#define DAY			 (24ull * 3600 * SECOND)
#define MEGABYTE	 (1024ull * 1024)
#define ANY_LAUNCHER KIND_LAUNCHER, 0, "", 0, 0

static const Setting settings[] = {
	{"access_log", KIND_SWITCH, AT(access_log), "off", 0, 0},
	{"batch_max", KIND_SIZE, AT(batch_max), "4MB", 1024, 64 * MEGABYTE},
	{"bench", KIND_SWITCH, AT(bench), "off", 0, 0},
	{"body_max", KIND_SIZE, AT(body_max), "64kB", 1024, MEGABYTE},
	{"cache_prefix", KIND_TEXT, AT(cache_prefix), "", 0, 0},
	{"cache_ttl", KIND_TIME, AT(cache_ttl), "1h", SECOND, 3600 * SECOND},
	{"cors_origins", KIND_WORDS, AT(cors_origins), "", 0, 0},
	{"database", KIND_TEXT, AT(database), NULL, 0, 0},
	{"database_purchase_connections", KIND_NUMBER, AT(database_purchase_connections), "2", 1, 16},
	{"database_read_connections", KIND_NUMBER, AT(database_read_connections), "2", 1, 16},
	{"database_read_queue", KIND_NUMBER, AT(database_read_queue), "2000", 1, 100000},
	{"database_slow_connections", KIND_NUMBER, AT(database_slow_connections), "1", 1, 16},
	{"database_slow_queue", KIND_NUMBER, AT(database_slow_queue), "32", 1, 1000},
	{"database_write_connections", KIND_NUMBER, AT(database_write_connections), "8", 1, 32},
	{"database_write_queue", KIND_NUMBER, AT(database_write_queue), "500", 1, 100000},
	{"drain_timeout", KIND_TIME, AT(drain_timeout), "10s", 0, 600 * SECOND},
	{"hash_memory", KIND_SIZE, AT(hash_memory), "19MB", MEGABYTE, 1024 * MEGABYTE},
	{"hash_passes", KIND_NUMBER, AT(hash_passes), "2", 1, 100},
	{"hash_queue", KIND_NUMBER, AT(hash_queue), "64", 1, 10000},
	{"hash_threads", KIND_NUMBER, AT(hash_threads), "1", 1, 16},
	{"listen", ANY_LAUNCHER},
	{"live_heartbeat", KIND_TIME, AT(live_heartbeat), "15s", 500, 60 * SECOND},
	{"live_watchers", KIND_NUMBER, AT(live_watchers), "10000", 0, 60000},
	{"max_connections", ANY_LAUNCHER},
	{"near_cache", KIND_SIZE, AT(near_cache), "64MB", 0, 16384 * MEGABYTE},
	{"pid_file", ANY_LAUNCHER},
	{"purchase_batch", KIND_NUMBER, AT(purchase_batch), "256", 1, 1000},
	{"purchase_queue", KIND_NUMBER, AT(purchase_queue), "2000", 1, 100000},
	{"purchase_wait", KIND_TIME, AT(purchase_wait), "150ms", 1, 60 * SECOND},
	{"redis", KIND_TEXT, AT(redis), NULL, 0, 0},
	{"redis_timeout", KIND_TIME, AT(redis_timeout), "250ms", 10, 10 * SECOND},
	{"refresh_ttl", KIND_TIME, AT(refresh_ttl), "30d", 60 * SECOND, UINT32_MAX},
	{"request_timeout", KIND_TIME, AT(request_timeout), "5s", 100, 600 * SECOND},
	{"slow_timeout", KIND_TIME, AT(slow_timeout), "30s", 100, 600 * SECOND},
	{"ticket_ttl", KIND_TIME, AT(ticket_ttl), "2min", SECOND, 3600 * SECOND},
	{"token_audience", KIND_TEXT, AT(token_audience), "holdfast", 0, 0},
	{"token_issuer", KIND_TEXT, AT(token_issuer), "holdfast", 0, 0},
	{"token_keys", KIND_TEXT, AT(token_keys), NULL, 0, 0},
	{"token_ttl", KIND_TIME, AT(token_ttl), "15min", SECOND, DAY},
	{"trusted_proxies", KIND_WORDS, AT(trusted_proxies), "", 0, 0},
	{"upload_directory", KIND_TEXT, AT(upload_directory), "", 0, 0},
	{"upload_max", KIND_SIZE, AT(upload_max), "8MB", 1024, 64 * MEGABYTE},
	{"user", ANY_LAUNCHER},
	{"workers", ANY_LAUNCHER},
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))
#define LIMITS	 (HF_LIMIT_CLASSES * HF_LIMIT_SCOPES)

static const char *const class_names[HF_LIMIT_CLASSES] = {"read",  "write",	  "login", "register",
														  "batch", "webhook", "sale"};
static const char *const scope_names[HF_LIMIT_SCOPES] = {"global", "address", "account"};

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
	return errno == 0 && *value <= UINT64_MAX / DAY;
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
	static const uint64_t factors[] = {1, SECOND, 60 * SECOND, 3600 * SECOND, DAY};

	return read_unit(text, units, factors, milliseconds);
}

static bool
read_size(const char *text, uint64_t *bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", NULL};
	static const uint64_t factors[] = {1, 1024, MEGABYTE, 1024 * MEGABYTE};

	return read_unit(text, units, factors, bytes);
}

/* Splits at blanks into an array that ends with NULL; NULL if there are too many or no memory. */
static char **
read_words(const char *text)
{
	char **words = calloc(WORDS_MAX + 1, sizeof(char *));
	char *copy = strdup(text), *rest = NULL;
	size_t n = 0;

	if (words == NULL || copy == NULL)
		return NULL;
	for (char *word = strtok_r(copy, " \t", &rest); word != NULL;
		 word = strtok_r(NULL, " \t", &rest))
	{
		if (n == WORDS_MAX)
			return NULL;
		words[n++] = word;
	}
	return words;
}

/* Puts a value into its field; false if it is none for this setting. */
static bool
set_value(const Setting *setting, const char *text)
{
	char *field = (char *) &hf_config + setting->offset;
	const char *unit;
	uint64_t number = 0;

	switch (setting->kind)
	{
		case KIND_LAUNCHER:
			return true;
		case KIND_TEXT:
			return (*(char **) field = strdup(text)) != NULL;
		case KIND_WORDS:
			return (*(char ***) field = read_words(text)) != NULL;
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
		case KIND_SIZE:
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

static int
find_name(const char *const *names, int n, const char *name, size_t length)
{
	for (int i = 0; i < n; i++)
		if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
			return i;
	return -1;
}

/* Reads "QUOTA/WINDOW [burst N]", or "off". */
static bool
read_rule(const char *text, HfLimitRule *rule)
{
	char window_text[32], burst_text[10];
	unsigned quota, burst = 0;
	uint64_t window;
	int end = -1;

	if (strcmp(text, "off") == 0)
	{
		rule->quota = 0;
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
	if (quota == 0 || window < SECOND || window > DAY || window % SECOND != 0)
		return false;
	rule->quota = quota;
	rule->window = (uint32_t) (window / SECOND);
	rule->burst = burst;
	return true;
}

/* The number of limit CLASS.SCOPE, or -1. */
static int
find_limit(const char *name)
{
	const char *dot = strchr(name, '.');
	int class, scope;

	if (dot == NULL)
		return -1;
	class = find_name(class_names, HF_LIMIT_CLASSES, name, (size_t) (dot - name));
	scope = find_name(scope_names, HF_LIMIT_SCOPES, dot + 1, strlen(dot + 1));
	return class < 0 || scope < 0 ? -1 : class * HF_LIMIT_SCOPES + scope;
}

static int
find_setting(const char *name)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (strcmp(settings[i].name, name) == 0)
			return (int) i;
	return -1;
}

static bool
set_named(const char *name, const char *text, bool *given, int line, char *error, size_t room)
{
	bool is_limit = strncmp(name, "limit.", 6) == 0;
	int at = is_limit ? find_limit(name + 6) : find_setting(name);
	int number = is_limit ? (int) SETTINGS + at : at;

	if (at < 0)
		return refuse(error, room, "line %d: there is no setting %s", line, name);
	if (given[number])
		return refuse(error, room, "line %d: %s is given twice", line, name);
	given[number] = true;
	if (!is_limit)
		return set_value(&settings[at], text) ||
			refuse(error, room, "line %d: %s cannot be \"%s\"", line, name, text);
	return read_rule(text, &hf_config.limit[at / HF_LIMIT_SCOPES][at % HF_LIMIT_SCOPES]) ||
		refuse(error, room, "line %d: %s is QUOTA/WINDOW [burst N], such as 20/60s burst 5, or off",
			   line, name);
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
read_lines(FILE *file, bool *given, char *error, size_t room)
{
	char line[LINE_MAX_BYTES], *name, *value = NULL;

	for (int n = 1; fgets(line, sizeof(line), file) != NULL; n++)
	{
		if (strlen(line) == sizeof(line) - 1)
			return refuse(error, room, "line %d is too long", n);
		if (!split_line(line, &name, &value))
			return refuse(error, room, "line %d is not \"name = value\"", n);
		if (*name != '\0' && !set_named(name, value, given, n, error, room))
			return false;
	}
	return true;
}

/* What one setting cannot tell alone. */
static bool
check_whole(char *error, size_t room)
{
	unsigned char address[sizeof(struct in6_addr)];

	for (char **proxy = hf_config.trusted_proxies; *proxy != NULL; proxy++)
		if (inet_pton(AF_INET, *proxy, address) != 1 && inet_pton(AF_INET6, *proxy, address) != 1)
			return refuse(error, room, "trusted_proxies: \"%s\" is not an address", *proxy);
	if (hf_config.slow_timeout < hf_config.request_timeout)
		return refuse(error, room, "slow_timeout is shorter than request_timeout");
	if (hf_config.batch_max < hf_config.body_max)
		return refuse(error, room, "batch_max is less than body_max");
	return true;
}

/* Reads the file; false with a message that names the line or the setting that is wrong. */
bool
hf_config_load(const char *path, char *error, size_t room)
{
	bool given[SETTINGS + LIMITS] = {false}, good;
	FILE *file = fopen(path, "r");

	if (file == NULL)
		return refuse(error, room, "cannot open %s: %s", path, strerror(errno));
	memset(&hf_config, 0, sizeof(hf_config));
	good = read_lines(file, given, error, room);
	fclose(file);
	if (!good)
		return false;
	for (size_t i = 0; i < SETTINGS; i++)
	{
		if (given[i])
			continue;
		if (settings[i].otherwise == NULL)
			return refuse(error, room, "%s is not given", settings[i].name);
		if (!set_value(&settings[i], settings[i].otherwise))
			return refuse(error, room, "out of memory");
	}
	return check_whole(error, room);
}
