/*
 * demand.c
 *		Demand that was refused without asking the database, counted for its reports.
 *
 * Counts collect here and are sent together, one statement at a time.
 *
 * Invariants: a count is sent once.  What cannot be sent is kept.  Of what was sent and not
 * answered nothing is known, and the log says so: to send it again might count it twice.  There
 * are STOCKS counts at most; whoever comes when all are taken and none can be sent is counted as
 * lost.
 */
#include "demand.h"

#include "log.h"
#include "pg.h"

#include <inttypes.h>
#include <stdio.h>

#define STOCKS		 256
#define NUMBER_BYTES 21 /* of a bigint, with a comma */

typedef struct Demand
{
	int64_t stock;
	uint64_t refusals;
} Demand;

static int statement;
static Demand demand[STOCKS];
static unsigned stocks;
static bool is_sent; /* a statement is under way */
static uint64_t under_way, lost;

void
hf_demand_prepare(void)
{
	statement = hf_pg_statement("refusals_note", "SELECT * FROM rest.refusals_note($1, $2, $3)", 3);
}

/* The count of a stock; NULL if all are taken by others. */
static Demand *
find(int64_t stock)
{
	for (unsigned i = 0; i < stocks; i++)
		if (demand[i].stock == stock)
			return &demand[i];
	if (stocks == STOCKS)
		return NULL;
	demand[stocks] = (Demand){.stock = stock};
	return &demand[stocks++];
}

void
hf_demand_refused(int64_t stock)
{
	Demand *of = find(stock);

	if (of == NULL)
	{
		(void) hf_demand_note();
		of = find(stock);
	}
	if (of != NULL)
		of->refusals++;
	else
		lost++;
}

static void
noted(void *arg, const HfPgAnswer *answer)
{
	(void) arg;
	is_sent = false;
	if (answer->outcome != HF_PG_ROWS)
		hf_log(HF_LOG_WARNING, "refusals_unnoted",
			   "%" PRIu64 " refusals may be missing in the reports: %s %s", under_way,
			   answer->sqlstate, answer->message);
}

bool
hf_demand_note(void)
{
	static char skus[STOCKS * NUMBER_BYTES + 3], counts[STOCKS * NUMBER_BYTES + 3];
	int skus_length = 0, counts_length = 0;
	HfText values[3] = {{NULL, 0}};
	uint64_t sum = 0;

	if (lost > 0)
	{
		hf_log(HF_LOG_WARNING, "refusals_lost", "%" PRIu64 " refusals were not counted", lost);
		lost = 0;
	}
	if (is_sent || stocks == 0)
		return is_sent;
	for (unsigned i = 0; i < stocks; i++)
	{
		char mark = i == 0 ? '{' : ',';

		skus_length += sprintf(skus + skus_length, "%c%" PRId64, mark, demand[i].stock);
		counts_length += sprintf(counts + counts_length, "%c%" PRIu64, mark, demand[i].refusals);
		sum += demand[i].refusals;
	}
	skus_length += sprintf(skus + skus_length, "}");
	counts_length += sprintf(counts + counts_length, "}");
	values[1] = (HfText){skus, (size_t) skus_length};
	values[2] = (HfText){counts, (size_t) counts_length};
	if (!hf_pg_send(HF_PG_WRITE, statement, values, 3, noted, NULL))
		return true;
	is_sent = true;
	under_way = sum;
	stocks = 0;
	return true;
}
