/*
 * call.h
 *		Rows of _holdfast.provider_call, and of the providers they go to.
 */
#ifndef HF_CALL_H
#define HF_CALL_H

#include "payment_row.h"

/* Kinds of call. */
#define HF_CALL_AUTHORIZE 'a'
#define HF_CALL_CHARGE	  's'
#define HF_CALL_CAPTURE	  'k'
#define HF_CALL_VOID	  'v'
#define HF_CALL_REFUND	  'r'

/* States of a call. */
#define HF_CALL_DUE		  'd'
#define HF_CALL_UNKNOWN	  'u'
#define HF_CALL_SUCCEEDED 's'
#define HF_CALL_DECLINED  'f'
#define HF_CALL_CANCELLED 'x'
#define HF_CALL_EXCESS	  'o'

typedef struct HfCall
{
	ItemPointerData tid; /* the version that was read, locked by us */
	int64 account;
	pg_uuid_t payment;
	int32 n;
	int32 attempts;
	int64 amount;
	TimestampTz created_at;
	TimestampTz due_at;
	TimestampTz settled_at; /* infinity while it is open */
	char kind;
	char state;
	Datum provider;	 /* text, palloc'd */
	Datum reference; /* text or 0 */
	Datum reason;	 /* text or 0 */
} HfCall;

typedef struct HfProvider
{
	int32 attempts;
	int32 backoff; /* seconds, as the following: */
	int32 backoff_max;
} HfProvider;

static inline bool
hf_call_is_open(const HfCall *call)
{
	return call->state == HF_CALL_DUE || call->state == HF_CALL_UNKNOWN;
}

extern int32 hf_call_make(HfStore *store, HfPayment *payment, char kind, int64 amount);
extern bool hf_call_find_and_lock(HfStore *store, int64 account, const pg_uuid_t *payment, int32 n,
								  HfCall *call);
extern void hf_call_write(HfStore *store, HfCall *call);
extern bool hf_call_parse_key(const char *key, int64 *account, pg_uuid_t *payment, int32 *n);
extern bool hf_provider_find(HfStore *store, Datum name, HfProvider *provider);
extern void hf_raise_unknown_provider(Datum name) pg_attribute_noreturn();

#endif
