/*
 * payment_row.h
 *		Rows of _holdfast.payment, their history and their ledger entries.
 */
#ifndef HF_PAYMENT_ROW_H
#define HF_PAYMENT_ROW_H

#include "utils/uuid.h"

#include "payment_state.h"
#include "row.h"

/* Books of the ledger. */
#define HF_BOOK_PROVIDER	'p'
#define HF_BOOK_SALES		's'
#define HF_BOOK_REFUNDS_DUE 'd'

typedef struct HfPayment
{
	ItemPointerData tid; /* the version that was read, locked by us */
	bool exists;		 /* false until it is inserted */
	int64 account;
	pg_uuid_t id;
	int64 amount;
	int64 authorized;
	int64 captured;
	int64 refunding;
	int64 refunded;
	int64 cart; /* what the open call is to pay for (cart.c) */
	TimestampTz created_at;
	TimestampTz changed_at;
	int32 steps; /* lines of history */
	int32 calls;
	char state;
	Datum currency; /* text, palloc'd, as the following: */
	Datum provider;
	Datum method;
	bool has_owner;
	pg_uuid_t owner;
} HfPayment;

/* What can still be refunded: refunds under way are spoken for. */
static inline int64
hf_payment_left(const HfPayment *payment)
{
	return payment->captured - payment->refunding - payment->refunded;
}

extern bool hf_payment_find_and_lock(HfStore *store, int64 account, const pg_uuid_t *id,
									 HfPayment *payment);
extern bool hf_payment_exists(HfStore *store, const HfPayment *payment);
extern bool hf_payment_find_live(HfStore *store, const HfPayment *payment, HfPayment *live);
extern void hf_payment_step(HfStore *store, HfPayment *payment, HfInput input, char next,
							int32 call, int64 amount, Datum reason);
extern void hf_payment_book(HfStore *store, const HfPayment *payment, char debit, char credit,
							int64 amount);
extern void hf_payment_write(HfStore *store, HfPayment *payment);

#endif
