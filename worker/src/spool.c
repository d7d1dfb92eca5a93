/*
 * spool.c
 *		Mails as files in a directory, where there is no server for them.
 *
 * Invariants: a file NAME.eml is a whole mail, and stays one if the machine loses its power.  A
 * mail that is written again takes the place of itself.
 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE 0640

/* Writes all of it to the disk; false with errno. */
static bool
write_out(int fd, const char *text, size_t length)
{
	while (length > 0)
	{
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text += n;
		length -= (size_t) n;
	}
	return fchmod(fd, MODE) == 0 && fsync(fd) == 0;
}

static bool
write_file(int home, const char *temporary, const char *text, size_t length)
{
	int fd = openat(home, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, MODE);
	bool good;
	int fault;

	if (fd < 0)
		return false;
	good = write_out(fd, text, length);
	fault = errno;
	if (close(fd) != 0 && good)
		return false;
	errno = fault;
	return good;
}

/* Writes a mail; NULL if that is done, otherwise why it is not. */
const char *
hf_spool_write(const char *directory, const char *name, const char *text, size_t length)
{
	int home = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fault = 0;
	char temporary[300], final[280];

	if (home < 0)
		return strerror(errno);
	snprintf(final, sizeof(final), "%s.eml", name);
	snprintf(temporary, sizeof(temporary), ".%s.%d", name, (int) getpid());
	if (!write_file(home, temporary, text, length) || renameat(home, temporary, home, final) != 0 ||
		fsync(home) != 0)
	{
		fault = errno;
		(void) unlinkat(home, temporary, 0);
	}
	close(home);
	return fault == 0 ? NULL : strerror(fault);
}
