/*
 * rules.c
 *		The legal transitions and the money they move, written a second time, from the documentation.
 *
 * The history of every payment is played back at the end: each step must be legal, and what the
 * steps add up to must be what the payment's row and its ledger say.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "payments.h"

/* state, input, next state */
static const char *const rule[] = {
	"n authorize g",
	"n capture p",
	"n void v",
	"g void v",
	"g authorized a",
	"g declined d",
	"g unknown u",
	"a capture p",
	"a void v",
	"p captured c",
	"p captured b",
	"p declined d",
	"p unknown u",
	"c refund c",
	"c refunded q",
	"c refunded r",
	"c refund_declined c",
	"q refund q",
	"q refunded q",
	"q refunded r",
	"q refund_declined q",
	"b refund b",
	"b refunded b",
	"b refunded r",
	"b refund_declined b",
	"d authorized d",
	"d captured b",
	"v authorized v",
	"v captured b",
	"v declined v",
	"u void v",
	"u authorized a",
	"u captured c",
	"u captured b",
	"u declined d",
};
#define RULES ((int) (sizeof(rule) / sizeof(rule[0])))

static long seen[RULES]; /* steps of that kind in all histories */

static bool
matches(const char *one, char state, const char *input, char next)
{
	size_t n = strlen(input);

	return one[0] == state && strncmp(one + 2, input, n) == 0 && one[2 + n] == ' ' &&
		(next == '\0' || one[3 + n] == next);
}

/* May the input lead from the state to the next one? */
bool
rule_allows(char state, const char *input, char next)
{
	for (int i = 0; i < RULES; i++)
		if (matches(rule[i], state, input, next))
			return true;
	return false;
}

/* May the request be made in the state? */
bool
rule_knows(char state, const char *input)
{
	return rule_allows(state, input, '\0');
}

/* Tells which kinds of steps there were, and how many are missing. */
int
rule_missing(void)
{
	int missing = 0;

	printf("# steps:");
	for (int i = 0; i < RULES; i++)
	{
		printf("%s %s %ld", i > 0 ? "," : "", rule[i], seen[i]);
		missing += seen[i] == 0;
	}
	printf("\n");
	return missing;
}

/* Does a payment in the state keep others of its owner from being made? */
bool
rule_live(char state)
{
	return strchr("gapcqu", state) != NULL;
}

const char *
rule_name(char state)
{
	static const char *const name[] = {"n created",	  "g authorizing", "a authorized",
									   "p capturing", "c captured",	   "q partially_refunded",
									   "r refunded",  "b refunding",   "d declined",
									   "v voided",	  "u unknown"};

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if (name[i][0] == state)
			return name[i] + 2;
	return "no state";
}

/* What the steps so far add up to. */
typedef struct Sums
{
	char state;
	int64_t authorized, captured, refunding, refunded;
	int64_t p, s, d;
} Sums;

static void
captured(Sums *sums, const Line *line)
{
	sums->captured += line->amount;
	if (sums->authorized < line->amount)
		sums->authorized = line->amount;
	sums->p += line->amount;
	if (line->to == 'c')
		sums->s -= line->amount;
	else
	{
		sums->d -= line->amount;
		sums->refunding += line->amount;
	}
}

/* Was the refund declined by an earlier line? */
static bool
declined_before(const Payment *p, int line)
{
	for (int i = 0; i < line; i++)
		if (p->line[i].call == p->line[line].call &&
			strcmp(p->line[i].input, "refund_declined") == 0)
			return true;
	return false;
}

static void
refunded(Sums *sums, const Payment *p, int i)
{
	const Line *line = &p->line[i];

	sums->refunded += line->amount;
	sums->p -= line->amount;
	if (!declined_before(p, i))
	{
		sums->refunding -= line->amount;
		sums->d += line->amount;
	}
	else if (line->from == 'b')
		sums->d += line->amount;
	else
		sums->s += line->amount;
}

static void
apply(Sums *sums, const Payment *p, int i)
{
	const Line *line = &p->line[i];
	bool dead = line->from == 'b';

	if (strcmp(line->input, "authorized") == 0 && line->to == 'a')
		sums->authorized = line->amount;
	else if (strcmp(line->input, "captured") == 0)
		captured(sums, line);
	else if (strcmp(line->input, "refund") == 0)
	{
		sums->refunding += line->amount;
		sums->s += dead ? 0 : line->amount;
		sums->d -= dead ? 0 : line->amount;
	}
	else if (strcmp(line->input, "refunded") == 0)
		refunded(sums, p, i);
	else if (strcmp(line->input, "refund_declined") == 0)
	{
		sums->refunding -= line->amount;
		sums->d += dead ? 0 : line->amount;
		sums->s -= dead ? 0 : line->amount;
	}
	sums->state = line->to;
	if (sums->captured < 0 || sums->refunding < 0 || sums->refunded < 0 ||
		sums->refunding + sums->refunded > sums->captured || sums->captured > p->amount ||
		sums->p + sums->s + sums->d != 0)
		violation("payment %s, line %d: captured %" PRId64 ", refunding %" PRId64
				  ", refunded %" PRId64 ", books %" PRId64 " %" PRId64 " %" PRId64,
				  p->id, line->n, sums->captured, sums->refunding, sums->refunded, sums->p, sums->s,
				  sums->d);
}

/* Plays the history of a payment and compares what comes of it with its row and its ledger. */
void
rule_replay(Payment *p)
{
	Sums sums = {.state = 'n'};

	for (int i = 0; i < p->lines; i++)
	{
		Line *line = &p->line[i];

		if (line->n != i + 1 || line->from != sums.state ||
			!rule_allows(line->from, line->input, line->to))
			violation("payment %s, line %d: %s by %s to %s, after line %d to %s", p->id, line->n,
					  rule_name(line->from), line->input, rule_name(line->to), i,
					  rule_name(sums.state));
		if (i > 0 && line->at < p->line[i - 1].at)
			violation("payment %s, line %d happened before the line before it", p->id, line->n);
		for (int k = 0; k < RULES; k++)
			seen[k] += matches(rule[k], line->from, line->input, line->to);
		apply(&sums, p, i);
		line->left = sums.captured - sums.refunding - sums.refunded;
	}
	if (sums.state != p->state || sums.authorized != p->authorized ||
		sums.captured != p->captured || sums.refunding != p->refunding ||
		sums.refunded != p->refunded || p->steps != p->lines)
		violation("payment %s is %s, %d steps, authorized %" PRId64 ", captured %" PRId64
				  ", refunding %" PRId64 ", refunded %" PRId64 "; its history of %d lines says %s, "
				  "%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64,
				  p->id, rule_name(p->state), p->steps, p->authorized, p->captured, p->refunding,
				  p->refunded, p->lines, rule_name(sums.state), sums.authorized, sums.captured,
				  sums.refunding, sums.refunded);
	if (sums.p != p->book[0] || sums.s != p->book[1] || sums.d != p->book[2])
		violation("payment %s: books %" PRId64 " %" PRId64 " %" PRId64 ", by its history %" PRId64
				  " %" PRId64 " %" PRId64,
				  p->id, p->book[0], p->book[1], p->book[2], sums.p, sums.s, sums.d);
}
