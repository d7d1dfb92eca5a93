/*
 * opponents.h
 *		Other ways to sell, in the same server: what they share.
 */
#ifndef OPPONENTS_H
#define OPPONENTS_H

#include "request.h"

#define ORDER_ID_LENGTH 36
#define LIMIT			1 /* units that an account may buy in a sale of bench/flash */

/* A purchase that has been let in. */
typedef struct Purchase
{
	HfRequest *request;
	int64_t sale;
	int64_t quantity;
	const char *key; /* the request's */
	char order[ORDER_ID_LENGTH + 1];
} Purchase;

/* What became of it. */
typedef enum Outcome
{
	BOUGHT,
	BOUGHT_BEFORE, /* with this key: the order is that one */
	LIMIT_REACHED,
	SOLD_OUT
} Outcome;

typedef void (*Seller)(Purchase *purchase);

/* opponents.c */
extern void answer_purchase(Purchase *purchase, Outcome outcome);
extern void answer_nothing_known(Purchase *purchase);

/* sellers.c */
extern void prepare_sellers(void);
extern void sell_one_by_one(Purchase *purchase);
extern void sell_from_redis(Purchase *purchase);
extern void sell_from_redis_and_write(Purchase *purchase);

#endif
