/*
 * secret.c
 *		Secrets that are kept in files, which nobody but user and group may use.
 */
#include "secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Reads the first line of the file of a secret; NULL if it is one, otherwise what is wrong. */
const char *
hf_secret_read(const char *path, char *secret, size_t room)
{
	FILE *file = fopen(path, "r");
	struct stat status;
	const char *fault = NULL;

	if (file == NULL)
		return strerror(errno);
	if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode))
		fault = "it is no regular file";
	else if ((status.st_mode & S_IRWXO) != 0)
		fault = "others than user and group may use it";
	else if (fgets(secret, (int) room, file) == NULL)
		fault = "it is empty";
	fclose(file);
	if (fault != NULL)
		return fault;
	secret[strcspn(secret, "\r\n")] = '\0';
	if (strlen(secret) >= room - 2)
		return "it is too long";
	for (const char *c = secret; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return "a secret is printable ASCII without blanks";
	return *secret == '\0' ? "it is empty" : NULL;
}
