/*
 * store.c
 *		The files of pictures: uploads are read, sizes are kept.
 *
 * A size is a file that is named after what is in it, so the same is kept once, and one that is
 * there is whole: it is written under another name, synced and renamed, and its name is synced
 * before anybody hears of it.  One that is there already is made new again, so that the sweep
 * leaves it alone until the database knows that it is wanted.  Uploads are never written to.
 */
#include "store.h"

#include <glib.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UPLOAD_MAX (64 * 1024 * 1024) /* as much as the application takes, whatever its settings */

static int source = -1, directory = -1;

/* Opens the directories; false with a message. */
bool
hf_store_open(const char *source_path, const char *directory_path, char *error, size_t room)
{
	const char *wrong = source_path;

	source = open(source_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source >= 0)
	{
		wrong = directory_path;
		directory = open(directory_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (directory >= 0)
		return true;
	snprintf(error, room, "cannot open %s: %s", wrong, strerror(errno));
	return false;
}

/* The directory of uploads. */
int
hf_store_source(void)
{
	return source;
}

/* The directory of sizes. */
int
hf_store_directory(void)
{
	return directory;
}

static bool
read_all(int file, char *data, size_t length)
{
	while (length > 0)
	{
		ssize_t n = read(file, data, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		length -= (size_t) n;
	}
	return true;
}

/* Is it the name of a file in the directory itself, and of no draft? */
static bool
is_plain(const char *name)
{
	return *name != '\0' && *name != '.' && strchr(name, '/') == NULL;
}

/* Reads an upload; the bytes are to be freed. False if that has ended the work. */
bool
hf_store_read(HfWork *work, const char *name, HfBytes *bytes)
{
	struct stat stat;
	bool good;
	int file;

	if (!is_plain(name))
		return hf_work_end(work, HF_WORK_REFUSED, "the file has no name of a file");
	file = openat(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file < 0)
		return hf_work_end(work, HF_WORK_FAILED, "cannot open the upload: %s", strerror(errno));
	if (fstat(file, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_size > UPLOAD_MAX)
	{
		close(file);
		return hf_work_end(work, HF_WORK_REFUSED, "the file is not one that can be read");
	}
	bytes->length = (size_t) stat.st_size;
	bytes->data = malloc(bytes->length + 1);
	good = bytes->data != NULL && read_all(file, bytes->data, bytes->length);
	close(file);
	if (good)
		return true;
	free(bytes->data);
	bytes->data = NULL;
	return hf_work_end(work, HF_WORK_FAILED, "cannot read the upload");
}

static bool
write_all(int file, const char *data, size_t length)
{
	while (length > 0)
	{
		ssize_t n = write(file, data, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		data += n;
		length -= (size_t) n;
	}
	return fsync(file) == 0;
}

/* Makes sure that the name of a new file in this directory outlives a crash. */
static bool
sync_directory(const char *name)
{
	int file = openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = file >= 0 && fsync(file) == 0;

	if (file >= 0)
		close(file);
	return good;
}

/* Writes a new file; false with errno. */
static bool
write_file(const HfBytes *bytes, const char *name)
{
	char draft[64], parent[3] = {name[0], name[1], '\0'};
	bool good;
	int file;

	/* Others may write here, on other machines as well. */
	snprintf(draft, sizeof(draft), ".%08x%08x", g_random_int(), g_random_int());
	file = openat(directory, draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (file < 0)
		return false;
	good = fchmod(file, 0644) == 0 && write_all(file, bytes->data, bytes->length);
	good = close(file) == 0 && good;
	if (good && mkdirat(directory, parent, 0755) == 0)
		good = fchmodat(directory, parent, 0755, 0) == 0 && fsync(directory) == 0;
	else if (good)
		good = errno == EEXIST;
	good = good && renameat(directory, draft, directory, name) == 0 && sync_directory(parent);
	if (!good)
	{
		int error = errno;

		unlinkat(directory, draft, 0);
		errno = error;
	}
	return good;
}

/* Keeps a size, and names its file. False if that has ended the work. */
bool
hf_store_keep(HfWork *work, const HfBytes *bytes, const char *extension, char file[HF_FILE_MAX])
{
	gchar *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes->data, bytes->length);

	snprintf(file, HF_FILE_MAX, "%.2s/%s.%s", hash, hash, extension);
	g_free(hash);
	if (utimensat(directory, file, NULL, AT_SYMLINK_NOFOLLOW) == 0 || write_file(bytes, file))
		return true;
	return hf_work_end(work, HF_WORK_AWAY, "cannot write a picture: %s", strerror(errno));
}
