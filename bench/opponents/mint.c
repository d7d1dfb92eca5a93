/*
 * mint.c
 *		Access tokens and tickets of many accounts, as the application gives them out.
 *
 * Usage: mint CONF FIRST LAST		lines of ACCOUNT TOKEN
 *        mint CONF FIRST LAST SALE	lines of ACCOUNT TICKET, good for an hour
 *
 * For accounts FIRST to LAST, in an order that is none, as buyers come.  CONF is the application's
 * configuration, which names the keys.
 */
#include "config.h"
#include "ticket.h"
#include "token.h"

#include <stdio.h>
#include <stdlib.h>

#define STRIDE 7919
#define HOUR   INT64_C(3600000)

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "mint: %s\n", what);
	exit(1);
}

int
main(int argc, char **argv)
{
	char token[HF_TOKEN_ACCESS_MAX + 1], ticket[HF_TICKET_MAX + 1], error[512];
	int64_t first, count, sale;

	if (argc != 4 && argc != 5)
		die("usage: mint CONF FIRST LAST [SALE]");
	if (!hf_config_load(argv[1], error, sizeof(error)) ||
		!hf_token_load_keys(hf_config.token_keys, error, sizeof(error)))
		die(error);
	hf_ticket_prepare();
	first = strtoll(argv[2], NULL, 10);
	count = strtoll(argv[3], NULL, 10) - first + 1;
	sale = argc == 5 ? strtoll(argv[4], NULL, 10) : 0;
	if (count < 1 || count % STRIDE == 0)
		die("so many accounts cannot be put into another order");
	for (int64_t i = 0; i < count; i++)
	{
		int64_t account = first + i * STRIDE % count;

		if (sale != 0)
		{
			hf_ticket_sign(ticket, account, sale, hf_ticket_now() + HOUR);
			printf("%lld %s\n", (long long) account, ticket);
			continue;
		}
		if (!hf_token_issue(token, account, false))
			die("out of memory");
		printf("%lld %s\n", (long long) account, token);
	}
	return 0;
}
