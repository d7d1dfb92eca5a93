/*
 * mint.c
 *		Access tokens and tickets of many accounts, as the application gives them out.
 *
 * Usage: mint CONF FIRST LAST COUNT			lines of ACCOUNT TOKEN
 *        mint CONF FIRST LAST COUNT SALE	lines of ACCOUNT TICKET, good for an hour
 *
 * For COUNT accounts of FIRST to LAST, in an order that is none, as buyers come.  CONF is the
 * application's configuration, which names the keys.
 */
#include "config.h"
#include "ticket.h"
#include "token.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#define STRIDE 7919
#define HOUR   INT64_C(3600000)

int
main(int argc, char **argv)
{
	char token[HF_TOKEN_ACCESS_MAX + 1], ticket[HF_TICKET_MAX + 1], error[512];
	int64_t first, all, count, sale;

	if (argc != 5 && argc != 6)
		errx(1, "usage: mint CONF FIRST LAST COUNT [SALE]");
	if (!hf_config_load(argv[1], error, sizeof(error)) ||
		!hf_token_load_keys(hf_config.token_keys, error, sizeof(error)))
		errx(1, "%s", error);
	hf_ticket_prepare();
	first = strtoll(argv[2], NULL, 10);
	all = strtoll(argv[3], NULL, 10) - first + 1;
	count = strtoll(argv[4], NULL, 10);
	sale = argc == 6 ? strtoll(argv[5], NULL, 10) : 0;
	if (count > all || all % STRIDE == 0)
		errx(1, "these accounts cannot be put into another order");
	for (int64_t i = 0; i < count; i++)
	{
		int64_t account = first + i * STRIDE % all;

		if (sale != 0)
			hf_ticket_sign(ticket, account, sale, hf_ticket_now() + HOUR);
		else if (!hf_token_issue(token, account, false))
			errx(1, "out of memory");
		printf("%lld %s\n", (long long) account, sale != 0 ? ticket : token);
	}
	return 0;
}
