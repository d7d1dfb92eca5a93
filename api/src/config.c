/*
 * config.c
 *		The settings of the application, and what the file of them may say.
 */
#include "config.h"
#include "refuse.h"
#include "setting.h"

#include <arpa/inet.h>
#include <string.h>

HfConfig hf_config;

#define AT(field)	 offsetof(HfConfig, field)
#define ANY_LAUNCHER HF_KIND_FOREIGN, 0, "", 0, 0 /* api/serve reads it, not we */

static const HfSetting settings[] = {
	{"access_log", HF_KIND_SWITCH, AT(access_log), "off", 0, 0},
	{"batch_max", HF_KIND_SIZE, AT(batch_max), "4MB", 1024, 64 * HF_MEGABYTE},
	{"bench", HF_KIND_SWITCH, AT(bench), "off", 0, 0},
	{"body_max", HF_KIND_SIZE, AT(body_max), "64kB", 1024, HF_MEGABYTE},
	{"cache_prefix", HF_KIND_TEXT, AT(cache_prefix), "", 0, 0},
	{"cache_ttl", HF_KIND_TIME, AT(cache_ttl), "1h", HF_SECOND, 3600 * HF_SECOND},
	{"cors_origins", HF_KIND_WORDS, AT(cors_origins), "", 0, 0},
	{"database", HF_KIND_TEXT, AT(database), NULL, 0, 0},
	{"database_purchase_connections", HF_KIND_NUMBER, AT(database_purchase_connections), "2", 1,
	 16},
	{"database_read_connections", HF_KIND_NUMBER, AT(database_read_connections), "2", 1, 16},
	{"database_read_queue", HF_KIND_NUMBER, AT(database_read_queue), "2000", 1, 100000},
	{"database_slow_connections", HF_KIND_NUMBER, AT(database_slow_connections), "1", 1, 16},
	{"database_slow_queue", HF_KIND_NUMBER, AT(database_slow_queue), "32", 1, 1000},
	{"database_write_connections", HF_KIND_NUMBER, AT(database_write_connections), "8", 1, 32},
	{"database_write_queue", HF_KIND_NUMBER, AT(database_write_queue), "500", 1, 100000},
	{"drain_timeout", HF_KIND_TIME, AT(drain_timeout), "10s", 0, 600 * HF_SECOND},
	{"hash_memory", HF_KIND_SIZE, AT(hash_memory), "19MB", HF_MEGABYTE, 1024 * HF_MEGABYTE},
	{"hash_passes", HF_KIND_NUMBER, AT(hash_passes), "2", 1, 100},
	{"hash_queue", HF_KIND_NUMBER, AT(hash_queue), "64", 1, 10000},
	{"hash_threads", HF_KIND_NUMBER, AT(hash_threads), "1", 1, 16},
	{"listen", ANY_LAUNCHER},
	{"live_heartbeat", HF_KIND_TIME, AT(live_heartbeat), "15s", 500, 60 * HF_SECOND},
	{"live_watchers", HF_KIND_NUMBER, AT(live_watchers), "10000", 0, 60000},
	{"max_connections", ANY_LAUNCHER},
	{"near_cache", HF_KIND_SIZE, AT(near_cache), "64MB", 0, 16384 * HF_MEGABYTE},
	{"pid_file", ANY_LAUNCHER},
	{"purchase_batch", HF_KIND_NUMBER, AT(purchase_batch), "256", 1, 1000},
	{"purchase_queue", HF_KIND_NUMBER, AT(purchase_queue), "800", 1, 100000},
	{"purchase_wait", HF_KIND_TIME, AT(purchase_wait), "150ms", 1, 60 * HF_SECOND},
	{"redis", HF_KIND_TEXT, AT(redis), NULL, 0, 0},
	{"redis_timeout", HF_KIND_TIME, AT(redis_timeout), "250ms", 10, 10 * HF_SECOND},
	{"refresh_ttl", HF_KIND_TIME, AT(refresh_ttl), "30d", 60 * HF_SECOND, UINT32_MAX},
	{"request_timeout", HF_KIND_TIME, AT(request_timeout), "5s", 100, 600 * HF_SECOND},
	{"slow_timeout", HF_KIND_TIME, AT(slow_timeout), "30s", 100, 600 * HF_SECOND},
	{"ticket_ttl", HF_KIND_TIME, AT(ticket_ttl), "2min", HF_SECOND, 3600 * HF_SECOND},
	{"token_audience", HF_KIND_TEXT, AT(token_audience), "holdfast", 0, 0},
	{"token_issuer", HF_KIND_TEXT, AT(token_issuer), "holdfast", 0, 0},
	{"token_keys", HF_KIND_TEXT, AT(token_keys), NULL, 0, 0},
	{"token_ttl", HF_KIND_TIME, AT(token_ttl), "15min", HF_SECOND, HF_DAY},
	{"trusted_proxies", HF_KIND_WORDS, AT(trusted_proxies), "", 0, 0},
	{"upload_directory", HF_KIND_TEXT, AT(upload_directory), "", 0, 0},
	{"upload_max", HF_KIND_SIZE, AT(upload_max), "8MB", 1024, 64 * HF_MEGABYTE},
	{"user", ANY_LAUNCHER},
	{"workers", ANY_LAUNCHER},
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

/* Each limit.CLASS.SCOPE. */
static const HfSetting limit = {"limit", HF_KIND_RATE, 0, "off", 0, 0};

static const char *const class_names[HF_LIMIT_CLASSES] = {"read",  "write",	  "login", "register",
														  "batch", "webhook", "sale"};
static const char *const scope_names[HF_LIMIT_SCOPES] = {"global", "address", "account"};

/* What the file has given. */
static bool given[SETTINGS];
static bool limit_given[HF_LIMIT_CLASSES][HF_LIMIT_SCOPES];

static const HfSettings table = {settings, SETTINGS, &hf_config, given};

static int
find_name(const char *const *names, int n, const char *name, size_t length)
{
	for (int i = 0; i < n; i++)
		if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
			return i;
	return -1;
}

/* Finds limit CLASS.SCOPE. */
static bool
find_limit(const char *name, HfSettingPlace *place)
{
	const char *dot = strchr(name, '.');
	int class, scope;

	if (dot == NULL)
		return false;
	class = find_name(class_names, HF_LIMIT_CLASSES, name, (size_t) (dot - name));
	scope = find_name(scope_names, HF_LIMIT_SCOPES, dot + 1, strlen(dot + 1));
	if (class < 0 || scope < 0)
		return false;
	*place = (HfSettingPlace){&limit, &hf_config.limit[class][scope], &limit_given[class][scope]};
	return true;
}

static bool
find_named(const char *name, HfSettingPlace *place)
{
	return strncmp(name, "limit.", 6) == 0 ? find_limit(name + 6, place)
										   : hf_setting_find(&table, name, place);
}

/* What one setting cannot tell alone. */
static bool
check_whole(char *error, size_t room)
{
	unsigned char address[sizeof(struct in6_addr)];

	for (char **proxy = hf_config.trusted_proxies; *proxy != NULL; proxy++)
		if (inet_pton(AF_INET, *proxy, address) != 1 && inet_pton(AF_INET6, *proxy, address) != 1)
			return hf_refuse(error, room, "trusted_proxies: \"%s\" is not an address", *proxy);
	if (hf_config.slow_timeout < hf_config.request_timeout)
		return hf_refuse(error, room, "slow_timeout is shorter than request_timeout");
	if (hf_config.batch_max < hf_config.body_max)
		return hf_refuse(error, room, "batch_max is less than body_max");
	return true;
}

/* Reads the file; false with a message that names the line or the setting that is wrong. */
bool
hf_config_load(const char *path, char *error, size_t room)
{
	return hf_setting_read(path, find_named, error, room) &&
		hf_setting_complete(&table, "", error, room) && check_whole(error, room);
}
