/*
 * config.c
 *		The settings of the worker, and what the file of them may say.
 *
 * Files of settings are read as the application reads its own.
 */
#include "config.h"
#include "../../api/src/refuse.h"
#include "../../api/src/setting.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 63 /* of a provider, as the database has it */

HfConfig hf_config;

#define AT(field) offsetof(HfConfig, field)
#define OF(field) offsetof(HfProviderConfig, field)

static const HfSetting settings[] = {
	{"batch", HF_KIND_NUMBER, AT(batch), "100", 1, 1000},
	{"clock", HF_KIND_SWITCH, AT(clock), "off", 0, 0},
	{"database", HF_KIND_TEXT, AT(database), NULL, 0, 0},
	{"database_timeout", HF_KIND_TIME, AT(database_timeout), "10s", 100, 600 * HF_SECOND},
	{"drain_timeout", HF_KIND_TIME, AT(drain_timeout), "10s", 0, 600 * HF_SECOND},
	{"image_directory", HF_KIND_TEXT, AT(image_directory), "", 0, 0},
	{"image_jobs", HF_KIND_NUMBER, AT(image_jobs), "2", 1, 64},
	{"image_memory", HF_KIND_SIZE, AT(image_memory), "1GB", 256 * HF_MEGABYTE, 65536 * HF_MEGABYTE},
	{"image_pixels", HF_KIND_NUMBER, AT(image_pixels), "50", 1, 1000},
	{"image_source", HF_KIND_TEXT, AT(image_source), "", 0, 0},
	{"image_timeout", HF_KIND_TIME, AT(image_timeout), "30s", 100, 600 * HF_SECOND},
	{"jobs", HF_KIND_SWITCH, AT(jobs), "on", 0, 0},
	{"lease", HF_KIND_TIME, AT(lease), "60s", 2 * HF_SECOND, HF_DAY},
	{"mail_ca_file", HF_KIND_TEXT, AT(mail_ca_file), "", 0, 0},
	{"mail_from", HF_KIND_TEXT, AT(mail_from), "Holdfast <shop@localhost>", 0, 0},
	{"mail_jobs", HF_KIND_NUMBER, AT(mail_jobs), "8", 1, 1000},
	{"mail_link", HF_KIND_TEXT, AT(mail_link), "http://localhost", 0, 0},
	{"mail_password_file", HF_KIND_TEXT, AT(mail_password_file), "", 0, 0},
	{"mail_server", HF_KIND_TEXT, AT(mail_server), "", 0, 0},
	{"mail_spool", HF_KIND_TEXT, AT(mail_spool), "", 0, 0},
	{"mail_templates", HF_KIND_TEXT, AT(mail_templates), "/usr/local/lib/holdfast/worker/templates",
	 0, 0},
	{"mail_timeout", HF_KIND_TIME, AT(mail_timeout), "60s", 100, 3600 * HF_SECOND},
	{"mail_tls", HF_KIND_TEXT, AT(mail_tls), "required", 0, 0},
	{"mail_user", HF_KIND_TEXT, AT(mail_user), "", 0, 0},
	{"poll_interval", HF_KIND_TIME, AT(poll_interval), "1s", 20, 60 * HF_SECOND},
	{"simulated", HF_KIND_SWITCH, AT(simulated), "off", 0, 0},
	{"user", HF_KIND_TEXT, AT(user), "www-data", 0, 0},
	{"webhook_jobs", HF_KIND_NUMBER, AT(webhook_jobs), "32", 1, 1000},
	{"webhook_private", HF_KIND_SWITCH, AT(webhook_private), "off", 0, 0},
	{"webhook_timeout", HF_KIND_TIME, AT(webhook_timeout), "15s", 100, 600 * HF_SECOND},
	{"workers", HF_KIND_NUMBER, AT(workers), "1", 1, 64},
};

/* Of each provider: provider.NAME.calls and so on. */
static const HfSetting provider_settings[] = {
	{"calls", HF_KIND_NUMBER, OF(calls), "32", 1, 1000},
	{"protocol", HF_KIND_TEXT, OF(protocol), "holdfast", 0, 0},
	{"search_delay", HF_KIND_TIME, OF(search_delay), "1h", 0, HF_DAY},
	{"secret_file", HF_KIND_TEXT, OF(secret_file), "", 0, 0},
	{"timeout", HF_KIND_TIME, OF(timeout), "15s", 10, 3600 * HF_SECOND},
	{"url", HF_KIND_TEXT, OF(url), NULL, 0, 0},
};

#define SETTINGS		  (sizeof(settings) / sizeof(settings[0]))
#define PROVIDER_SETTINGS (sizeof(provider_settings) / sizeof(provider_settings[0]))

/* What the file has given. */
static bool given[SETTINGS];
static bool provider_given[HF_PROVIDERS_MAX][PROVIDER_SETTINGS];

static const HfSettings table = {settings, SETTINGS, &hf_config, given};

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

/* The settings of a provider. */
static HfSettings
provider_table(size_t provider)
{
	return (HfSettings){provider_settings, PROVIDER_SETTINGS, &hf_config.provider[provider],
						provider_given[provider]};
}

static bool
find_named(const char *name, HfSettingPlace *place)
{
	HfSettings of = table;

	if (strncmp(name, "provider.", 9) == 0)
	{
		const char *dot = strchr(name + 9, '.');
		int provider = dot == NULL ? -1 : find_provider(name + 9, (size_t) (dot - name - 9));

		if (provider < 0)
			return false;
		of = provider_table((size_t) provider);
		name = dot + 1;
	}
	return hf_setting_find(&of, name, place);
}

/* What one setting cannot tell alone. */
static bool
check_whole(char *error, size_t room)
{
	/* While the clock runs no heartbeat is sent, and jobs whose lease is over are done twice. */
	if (hf_config.clock && hf_config.jobs && hf_config.database_timeout > hf_config.lease / 2)
		return hf_refuse(
			error, room,
			"database_timeout is more than half of lease, so of jobs and clock one must be off");
	for (size_t i = 0; i < hf_config.providers; i++)
	{
		const HfProviderConfig *provider = &hf_config.provider[i];

		/* A call is over, and recorded, before anybody else may make it. */
		if (provider->timeout > hf_config.lease / 2)
			return hf_refuse(error, room, "provider.%s.timeout is more than half of lease",
							 provider->name);
		if (hf_config.simulated && strcmp(provider->name, "simulated") == 0)
			return hf_refuse(error, room, "provider.simulated has a URL, so simulated must be off");
	}
	return true;
}

/* Reads the file; false with a message that names the line or the setting that is wrong. */
bool
hf_config_load(const char *path, char *error, size_t room)
{
	if (!hf_setting_read(path, find_named, error, room) ||
		!hf_setting_complete(&table, "", error, room))
		return false;
	for (size_t i = 0; i < hf_config.providers; i++)
	{
		HfSettings of = provider_table(i);
		char prefix[NAME_MAX_BYTES + 16];

		snprintf(prefix, sizeof(prefix), "provider.%s.", hf_config.provider[i].name);
		if (!hf_setting_complete(&of, prefix, error, room))
			return false;
	}
	return check_whole(error, room);
}
