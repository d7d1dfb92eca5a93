/*
 * sweep.c
 *		Takes away files that nobody wants any more.
 *
 * A step of the sweep is about uploads or sizes whose names begin alike; the first also about
 * drafts, which whoever wrote them has left behind.  Whatever is younger than a day stays: somebody
 * may be about to want it.  Who comes to want a file that is there makes it new; to see that in
 * time, a file is renamed before its age is looked at for the last time, and renamed back if it has
 * become new meanwhile.
 */
#include "sweep.h"

#include "store.h"

#include <glib.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define AGE (24 * 3600) /* seconds */

/* Is it a file that nobody has made new lately? */
static bool
is_old(int directory, const char *name)
{
	struct stat stat;

	return fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(stat.st_mode) &&
		stat.st_mtime < time(NULL) - AGE;
}

/* Takes a file away, unless it has become new. Returns how many have gone. */
static unsigned
take_away(int directory, const char *name)
{
	char aside[64];

	if (!is_old(directory, name))
		return 0;
	snprintf(aside, sizeof(aside), ".swept.%08x%08x", g_random_int(), g_random_int());
	if (renameat(directory, name, directory, aside) != 0)
		return 0;
	if (is_old(directory, aside))
		return unlinkat(directory, aside, 0) == 0;
	(void) renameat(directory, aside, directory, name);
	return 0;
}

static bool
is_wanted(GHashTable *wanted, const char *parent, const char *name)
{
	char path[NAME_MAX + 8];

	snprintf(path, sizeof(path), "%s%s", parent, name);
	return g_hash_table_contains(wanted, path);
}

/* The names of an array, to be looked up. */
static GHashTable *
index_names(const json_t *names)
{
	GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		if (json_is_string(name))
			g_hash_table_add(table, (gpointer) json_string_value(name));
	}
	return table;
}

/*
 * Sweeps a directory: of the files whose names begin so, those that are not wanted.  The wanted are
 * known by their names with the parent's before them.  Returns how many have gone; -1: it cannot be
 * read.
 */
static int
sweep(int above, const char *parent, const char *prefix, const json_t *wanted)
{
	int directory =
		openat(above, *parent == '\0' ? "." : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = directory < 0 ? NULL : fdopendir(directory);
	const struct dirent *entry;
	GHashTable *table;
	unsigned gone = 0;

	if (listing == NULL)
	{
		if (directory >= 0)
			close(directory);
		return errno == ENOENT && *parent != '\0' ? 0 : -1;
	}
	table = index_names(wanted);
	while ((entry = readdir(listing)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
			!is_wanted(table, parent, entry->d_name))
			gone += take_away(directory, entry->d_name);
	g_hash_table_destroy(table);
	closedir(listing);
	return (int) gone;
}

/*
 * Does a step of the sweep: of uploads whose names begin with a digit, or of sizes whose names
 * begin with two.  False if that has ended the work otherwise.
 */
bool
hf_sweep(HfWork *work, const char *beginning, const json_t *wanted)
{
	size_t length = strlen(beginning);
	int gone[3] = {0};
	char parent[4];

	/* Who does not say what is wanted does not say that nothing is. */
	if (length < 1 || length > 2 || strspn(beginning, "0123456789abcdef") != length ||
		!json_is_array(wanted))
		return hf_work_end(work, HF_WORK_FAILED, "no step of a sweep");
	if (length == 2)
	{
		snprintf(parent, sizeof(parent), "%.2s/", beginning);
		gone[0] = sweep(hf_store_directory(), parent, "", wanted);
	}
	else
		gone[0] = sweep(hf_store_source(), "", beginning, wanted);
	if (strcmp(beginning, "0") == 0)
	{
		gone[1] = sweep(hf_store_source(), "", ".", NULL);
		gone[2] = sweep(hf_store_directory(), "", ".", NULL);
	}
	if (gone[0] < 0 || gone[1] < 0 || gone[2] < 0)
		return hf_work_end(work, HF_WORK_AWAY, "cannot read the directories of pictures");
	work->answer = json_pack("{s:i}", "swept", gone[0] + gone[1] + gone[2]);
	return true;
}
