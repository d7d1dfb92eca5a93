/*
 * idempotency.h
 *		Idempotency keys: claimed once, completed with an answer that is replayed.
 */
#ifndef HF_IDEMPOTENCY_H
#define HF_IDEMPOTENCY_H

#include "row.h"

/* A key, and what has become of it. */
typedef struct HfKey
{
	int64 account;
	Datum operation;   /* text */
	Datum key;		   /* text */
	Datum fingerprint; /* bytea */
	TimestampTz claimed_at;
	HfTableId half;		 /* the table it is in */
	ItemPointerData tid; /* the version that was read or written */
	bool late;			 /* that table has had its turn */
	bool open;			 /* not yet completed, else: */
	int32 status;
	Datum response; /* bytea, palloc'd */
} HfKey;

extern bool hf_key_is_good(Datum text, int shortest, int longest);
extern void hf_key_check(Datum text, const char *name, int shortest, int longest);
extern int hf_key_claim(HfStore *store, HfKey *key, bool wait);
extern void hf_key_raise(const HfKey *key, int verdict) pg_attribute_noreturn();
extern bool hf_key_find(HfStore *store, HfKey *key);
extern void hf_key_complete(HfStore *store, HfKey *key, int32 status, Datum response);
extern void hf_key_abandon(HfStore *store, HfKey *key);

/* Verdicts of hf_key_claim() that are no refusals. */
#define HF_KEY_CLAIMED ERRCODE_SUCCESSFUL_COMPLETION
#define HF_KEY_DONE	   ERRCODE_NO_DATA

#define HF_KEY_MIN		 8
#define HF_KEY_MAX		 255
#define HF_OPERATION_MAX 64
/* What the operations of our own functions begin with, and no others. */
#define HF_OPERATION_OURS "holdfast."

#endif
