/*
 * trouble.c
 *		Kills connections, cancels statements, changes the secret of the webhooks.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "payments.h"

/* A new secret; the one before stays valid for a while. */
void
trouble_change_secret(Session *s, uint64_t *random)
{
	char secret[80];

	signature_make(secret, sizeof(secret), random);
	must(s, "SELECT holdfast.set_webhook_secret('%s', '%s', '1 hour')", options.provider, secret);
	provider_lock();
	strcpy(secrets[1], secrets[0][0] ? secrets[0] : secret);
	strcpy(secrets[0], secret);
	provider_unlock();
}

/* The thread that makes trouble until the buyers have done. */
void *
trouble_run(void *random)
{
	Session session = {0}, *s = &session;
	uint64_t *state = random;
	Usec secret_due = now() + 4 * SECOND;

	session_open(s);
	while (!stop && violations() == 0)
	{
		const char *how = chance(state, 80) ? "terminate" : "cancel";

		if (options.provider[0] && now() >= secret_due)
		{
			trouble_change_secret(s, state);
			secret_due = now() + 4 * SECOND;
		}
		must(s,
			 "SELECT count(pg_%s_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
			 " WHERE application_name = 'payments' AND pid <> pg_backend_pid()"
			 " ORDER BY random() LIMIT 1) one",
			 how);
		if (how[0] == 't' && session_is(s, "00000"))
			killed += number(s, 0, 0);
		usleep(20000 + (useconds_t) rnd(state, 60000));
	}
	session_close(s);
	free(s->sql);
	return NULL;
}
