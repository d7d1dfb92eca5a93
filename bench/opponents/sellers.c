/*
 * sellers.c
 *		Other ways to sell: one statement for each purchase, and a function in Redis.
 *
 * Each checks the idempotency key, the account's limit and the stock, and takes the units: flash.buy()
 * of schema.sql, or a function of sell.lua.  Of those there are two: one that is content with Redis,
 * and one that also appends the order to a stream, from which writer.c takes it to PostgreSQL.
 */
#include "kore.h"

#include "call.h"
#include "opponents.h"
#include "pg.h"
#include "redis.h"

#define STREAM "flash:orders"

static int statement;

/* In the parent, before the application registers its own statements. */
void
prepare_sellers(void)
{
	statement = hf_pg_statement("flash_buy", "SELECT * FROM flash.buy($1, $2, $3, $4, $5, $6)", 6);
}

static void
release(Purchase *purchase)
{
	hf_request_release(purchase->request);
}

static void
statement_answered(void *arg, const HfPgAnswer *answer)
{
	Purchase *purchase = arg;

	if (answer->outcome == HF_PG_ROWS && answer->rows == 1)
	{
		HfText order = hf_pg_value(answer, 0, 1);

		if (order.data != NULL)
			hf_text_copy(purchase->order, sizeof(purchase->order), &order);
		answer_purchase(purchase, (Outcome) (*hf_pg_value(answer, 0, 0).data - '0'));
	}
	else if (answer->outcome == HF_PG_REFUSED && hf_request_is_open(purchase->request))
		hf_call_refused(purchase->request, "flash.buy", answer);
	else
		answer_nothing_known(purchase);
	release(purchase);
}

void
sell_one_by_one(Purchase *purchase)
{
	HfNumber number[4];
	HfText values[] = {hf_number(&number[0], purchase->request->account),
					   hf_number(&number[1], purchase->sale),
					   hf_text(purchase->key),
					   hf_number(&number[2], purchase->quantity),
					   hf_number(&number[3], LIMIT),
					   hf_text(purchase->order)};

	hf_request_hold(purchase->request);
	if (!hf_pg_send(HF_PG_WRITE, statement, values, 6, statement_answered, purchase))
	{
		answer_nothing_known(purchase);
		release(purchase);
	}
}

static void
function_answered(void *arg, const HfCacheReply *reply)
{
	Purchase *purchase = arg;

	if (reply != NULL && reply->type == HF_CACHE_REPLY_INTEGER)
		answer_purchase(purchase, (Outcome) reply->integer);
	else if (reply != NULL && reply->type == HF_CACHE_REPLY_STRING)
	{
		hf_text_copy(purchase->order, sizeof(purchase->order), &reply->text);
		answer_purchase(purchase, BOUGHT_BEFORE);
	}
	else
		answer_nothing_known(purchase);
	release(purchase);
}

static void
call_function(Purchase *purchase, bool append)
{
	char stock[64], buyer[64];
	HfNumber number[4];
	const char *argv[] = {"FCALL",
						  append ? "sell_and_append" : "sell",
						  append ? "3" : "2",
						  stock,
						  buyer,
						  STREAM,
						  purchase->key,
						  hf_number(&number[0], purchase->quantity).data,
						  hf_number(&number[1], LIMIT).data,
						  purchase->order,
						  hf_number(&number[2], purchase->request->account).data,
						  hf_number(&number[3], purchase->sale).data};
	size_t length[sizeof(argv) / sizeof(argv[0])];
	int argc = sizeof(argv) / sizeof(argv[0]);

	snprintf(stock, sizeof(stock), "flash:stock:%lld", (long long) purchase->sale);
	snprintf(buyer, sizeof(buyer), "flash:buyer:%lld:%lld", (long long) purchase->sale,
			 (long long) purchase->request->account);
	if (!append)
	{
		/* Neither the stream nor what only it is told. */
		memmove(&argv[5], &argv[6], 4 * sizeof(argv[0]));
		argc = 9;
	}
	for (int i = 0; i < argc; i++)
		length[i] = strlen(argv[i]);
	hf_request_hold(purchase->request);
	if (!hf_redis_send(argc, argv, length, function_answered, purchase))
	{
		answer_nothing_known(purchase);
		release(purchase);
	}
}

void
sell_from_redis(Purchase *purchase)
{
	call_function(purchase, false);
}

void
sell_from_redis_and_write(Purchase *purchase)
{
	call_function(purchase, true);
}
