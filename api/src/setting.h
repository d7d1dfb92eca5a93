/*
 * setting.h
 *		Files of settings, lines of "name = value", for every program that has one.
 *
 * A program has tables of settings, each with the structure that it fills.  A file with an unknown
 * name, a name twice, or a value that is none for its setting is refused as a whole, with the line
 * in the message: who starts has understood all of its settings.
 */
#ifndef HF_SETTING_H
#define HF_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a setting is, and the type of its field. */
typedef enum HfSettingKind
{
	HF_KIND_TEXT,	/* char * */
	HF_KIND_WORDS,	/* char **, which ends with NULL */
	HF_KIND_NUMBER, /* unsigned */
	HF_KIND_TIME,	/* unsigned, in milliseconds */
	HF_KIND_SIZE,	/* size_t, in bytes */
	HF_KIND_SWITCH, /* bool */
	HF_KIND_RATE,	/* HfRate */
	HF_KIND_FOREIGN /* none: somebody else reads it */
} HfSettingKind;

/* So many in any window, and so many more at once. No quota: as many as like. */
typedef struct HfRate
{
	uint32_t quota;
	uint32_t window; /* seconds */
	uint32_t burst;
} HfRate;

/* A setting: where it goes, what it is if the file is silent, and what it may be. */
typedef struct HfSetting
{
	const char *name;
	HfSettingKind kind;
	size_t offset;
	const char *otherwise; /* NULL: it must be given */
	uint64_t least, most;
} HfSetting;

/* A table of settings, the structure that they are fields of, and which of them were given. */
typedef struct HfSettings
{
	const HfSetting *setting;
	size_t n;
	void *structure;
	bool *given;
} HfSettings;

/* Where a value of a file goes. */
typedef struct HfSettingPlace
{
	const HfSetting *setting;
	void *structure;
	bool *given;
} HfSettingPlace;

/* Finds the setting that a name of a file means; false if there is none. */
typedef bool (*HfSettingFind)(const char *name, HfSettingPlace *place);

#define HF_SECOND	1000
#define HF_DAY		(24ull * 3600 * HF_SECOND)
#define HF_MEGABYTE (1024ull * 1024)

extern bool hf_setting_find(const HfSettings *of, const char *name, HfSettingPlace *place);
extern bool hf_setting_read(const char *path, HfSettingFind find, char *error, size_t room);
extern bool hf_setting_complete(const HfSettings *of, const char *prefix, char *error, size_t room);

#endif
