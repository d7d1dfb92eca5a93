/*
 * main.c
 *		The worker: does for the shop what is to be done in the outside world.
 *
 * Reads its settings, becomes the user they name, and lets processes work (process.c, loop.c).
 */
#include "claim.h"
#include "config.h"
#include "image.h"
#include "loop.h"
#include "mail.h"
#include "process.h"
#include "provider.h"
#include "simple.h"
#include "webhook.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define GRACE 5000 /* milliseconds that a process may need beyond drain_timeout */

/* Makes sources of what the settings name; false with a message if one of them is wrong. */
static bool
add_sources(char *error, size_t room)
{
	if (hf_config.simulated)
		hf_claim_add("simulated", NULL, hf_config.batch);
	for (size_t i = 0; i < hf_config.providers; i++)
	{
		const HfProviderConfig *config = &hf_config.provider[i];
		const HfProvider *provider = hf_provider_load(config, error, room);

		if (provider == NULL)
			return false;
		hf_claim_add(config->name, provider, config->calls);
	}
	return true;
}

/* Makes kinds of jobs of what the settings say; false with a message if they are wrong. */
static bool
add_kinds(char *error, size_t room)
{
	if (!hf_config.jobs)
		return true;
	hf_simple_load(hf_config.batch);
	return hf_mail_load(error, room) && hf_image_load(error, room) && hf_webhook_load(error, room);
}

/* Becomes the user, if root starts us; false with a message if that cannot be. */
static bool
become(const char *user, char *error, size_t room)
{
	const struct passwd *entry;

	if (geteuid() != 0)
		return true;
	errno = 0;
	entry = getpwnam(user);
	if (entry == NULL || entry->pw_uid == 0)
	{
		snprintf(error, room,
				 entry == NULL ? "user: there is no \"%s\"" : "user must not be \"%s\"", user);
		return false;
	}
	if (initgroups(user, entry->pw_gid) != 0 || setgid(entry->pw_gid) != 0 ||
		setuid(entry->pw_uid) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
	{
		snprintf(error, room, "cannot become %s: %s", user, strerror(errno));
		return false;
	}
	return true;
}

/* Takes as many descriptors as there may be: each transfer has some. */
static void
raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
	{
		files.rlim_cur = files.rlim_max;
		(void) setrlimit(RLIMIT_NOFILE, &files);
	}
}

int
main(int argc, char **argv)
{
	bool check = argc == 3 && strcmp(argv[1], "--check") == 0;
	const char *file = argv[argc - 1];
	char error[512];

	if ((argc != 2 && !check) || *file == '-')
	{
		fprintf(stderr, "usage: worker [--check] FILE\n");
		return 2;
	}
	if (!hf_config_load(file, error, sizeof(error)) ||
		!become(hf_config.user, error, sizeof(error)) || !add_sources(error, sizeof(error)) ||
		!add_kinds(error, sizeof(error)))
	{
		fprintf(stderr, "%s: %s\n", file, error);
		return 1;
	}
	if (check)
		return 0;
	raise_limits();
	return hf_process_run(hf_config.workers, hf_config.drain_timeout + GRACE, hf_loop_run);
}
