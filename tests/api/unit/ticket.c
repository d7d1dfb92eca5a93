/*
 * ticket.c
 *		Good tickets, forged ones, keys and their rotation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ticket_test.h"
#include "token.h"

#define ACCOUNT INT64_C(7123456789012345678)
#define SALE	INT64_C(7123456789012345679)
#define MINUTE	60000

int64_t ahead;

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

/* The linker puts this in the place of clock_gettime(). */
int
__wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int result = __real_clock_gettime(clock, t);

	if (clock == CLOCK_REALTIME)
	{
		int64_t at = (int64_t) t->tv_sec * 1000 + t->tv_nsec / 1000000 + ahead;

		t->tv_sec = at / 1000;
		t->tv_nsec = at % 1000 * 1000000;
	}
	return result;
}

void
load_keys(const char *lines)
{
	char path[] = "/tmp/holdfast-ticket.XXXXXX", error[300];
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, lines, strlen(lines)) != (ssize_t) strlen(lines) || close(fd) != 0 ||
		!hf_token_load_keys(path, error, sizeof(error)))
		abort();
	unlink(path);
	hf_ticket_prepare();
}

HfTicketVerdict
judge(const char *ticket, int64_t account, int64_t sale)
{
	HfText text = {ticket, strlen(ticket)};

	return hf_ticket_check(&text, account, sale);
}

static void
test_good(void)
{
	char ticket[HF_TICKET_MAX + 1], again[HF_TICKET_MAX + 1];
	int64_t expires = hf_ticket_now() + MINUTE;

	hf_ticket_sign(ticket, ACCOUNT, SALE, expires);
	hf_ticket_sign(again, ACCOUNT, SALE, expires);
	check(strlen(ticket) == HF_TICKET_MAX && strcmp(ticket, again) == 0, "%s, %s", ticket, again);
	check(strspn(ticket, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
			  HF_TICKET_MAX,
		  "%s", ticket);
	check(judge(ticket, ACCOUNT, SALE) == HF_TICKET_GOOD, "it is not good");
	claim("a ticket is good, and the same for who asks for the same");
	ahead = MINUTE - 15000;
	check(judge(ticket, ACCOUNT, SALE) == HF_TICKET_GOOD, "it expires too soon");
	ahead = MINUTE;
	check(judge(ticket, ACCOUNT, SALE) == HF_TICKET_EXPIRED, "it does not expire");
	check(judge(ticket, ACCOUNT + 1, SALE) == HF_TICKET_BAD, "another's has expired");
	check(judge(ticket, ACCOUNT, SALE + 1) == HF_TICKET_BAD, "another sale's has expired");
	ahead = 0;
	claim("a ticket expires at its time, and only its owner hears of that");
	check(judge(ticket, ACCOUNT + 1, SALE) == HF_TICKET_BAD, "it is another's");
	check(judge(ticket, SALE, ACCOUNT) == HF_TICKET_BAD, "it is another's");
	check(judge(ticket, ACCOUNT, SALE + 1) == HF_TICKET_BAD, "it is another sale's");
	check(judge(ticket, 0, SALE) == HF_TICKET_BAD && judge(ticket, -ACCOUNT, SALE) == HF_TICKET_BAD,
		  "it is nobody's");
	claim("a stolen ticket is a bad one");
}

static void
test_forged(void)
{
	char ticket[HF_TICKET_MAX + 1], forged[2 * HF_TICKET_MAX], text[HF_TICKET_MAX * 2];

	/* One with the characters that are easily taken for others. */
	for (int64_t more = 0; more == 0 || strpbrk(ticket + 16, "_") == NULL; more++)
		hf_ticket_sign(ticket, ACCOUNT, SALE, hf_ticket_now() + MINUTE + more);
	for (int i = 0; i < HF_TICKET_MAX; i++)
		for (int c = 0; c < 256; c++)
		{
			HfText with = {text, HF_TICKET_MAX};

			memcpy(text, ticket, HF_TICKET_MAX);
			if (text[i] == (char) c)
				continue;
			text[i] = (char) c;
			check(hf_ticket_check(&with, ACCOUNT, SALE) == HF_TICKET_BAD, "byte %d is %d", i, c);
		}
	claim("with any one byte changed it is a bad one");
	for (int i = 0; i < HF_TICKET_MAX; i++)
	{
		snprintf(forged, sizeof(forged), "%.*s", i, ticket);
		check(judge(forged, ACCOUNT, SALE) == HF_TICKET_BAD, "%d characters", i);
	}
	for (const char *more = "A=. \n"; *more != '\0'; more++)
	{
		snprintf(forged, sizeof(forged), "%s%c", ticket, *more);
		check(judge(forged, ACCOUNT, SALE) == HF_TICKET_BAD, "\"%s\"", forged);
		snprintf(forged, sizeof(forged), "%c%s", *more, ticket);
		check(judge(forged, ACCOUNT, SALE) == HF_TICKET_BAD, "\"%s\"", forged);
	}
	snprintf(forged, sizeof(forged), "%s%.31s", ticket, ticket);
	check(judge(forged, ACCOUNT, SALE) == HF_TICKET_BAD, "twice");
	claim("a part of one, or more than one, is a bad one");
}

static void
test_keys(void)
{
	char ticket[HF_TICKET_MAX + 1], next[HF_TICKET_MAX + 1];
	int64_t expires = hf_ticket_now() + MINUTE;

	load_keys(SECOND_KEY);
	hf_ticket_sign(ticket, ACCOUNT, SALE, expires);
	load_keys(FIRST_KEY SECOND_KEY);
	hf_ticket_sign(next, ACCOUNT, SALE, expires);
	check(strcmp(ticket, next) != 0, "the new key does not sign");
	check(judge(ticket, ACCOUNT, SALE) == HF_TICKET_GOOD, "the old key is not taken");
	check(judge(next, ACCOUNT, SALE) == HF_TICKET_GOOD, "the new key is not taken");
	memcpy(next + 2, ticket + 2, HF_TICKET_MAX - 2);
	check(judge(next, ACCOUNT, SALE) == HF_TICKET_BAD, "the one key is taken for the other");
	load_keys(FIRST_KEY);
	check(judge(ticket, ACCOUNT, SALE) == HF_TICKET_BAD, "a key that is gone is taken");
	claim("all keys are taken, the first one signs, and one that is gone is not taken");
}

static void
test_cost(void)
{
	char ticket[HF_TICKET_MAX + 1];
	int rounds = slow ? 1000 : 300000;
	double before = time_of_process(), each;

	hf_ticket_sign(ticket, ACCOUNT, SALE, hf_ticket_now() + MINUTE);
	for (int i = 0; i < rounds; i++)
		check(judge(ticket, ACCOUNT, SALE) == HF_TICKET_GOOD, "it is not good");
	each = (time_of_process() - before) / rounds * 1e9;
	printf("# a check takes %.0f ns of the processor\n", each);
	claim("a ticket is good as often as it is shown");
}

int
main(int argc, char **argv)
{
	begin(argc, argv);
	load_keys(FIRST_KEY);
	test_good();
	test_forged();
	test_keys();
	test_cost();
	test_draws();
	return end();
}
