/*
 * arguments.h
 *		Arguments of the SQL functions, checked, and errors that several of them raise.
 */
#ifndef HF_ARGUMENTS_H
#define HF_ARGUMENTS_H

#include "datatype/timestamp.h"
#include "access/tupdesc.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/uuid.h"

#include "hold.h"

/* Lines that one call may carry: bounds its memory and the time it holds locks. */
#define HF_LINES_MAX 100000
/* Units that one call may bring in or write off; a bigint holds the sum of 9,000 such calls. */
#define HF_UNITS_MAX INT64CONST(1000000000000000)

/* A one-dimensional array argument without NULLs, taken apart. */
typedef struct HfArray
{
	Datum *value;
	bool *isnull;
	int n;
} HfArray;

extern void hf_argument_not_null(FunctionCallInfo fcinfo, int n, const char *name);
extern HfArray hf_argument_array(FunctionCallInfo fcinfo, int n, const char *name, Oid type);
extern void hf_argument_array_without_nulls(const HfArray *array, const char *name);
extern void hf_argument_same_length(int a, int b, const char *names);
extern Datum hf_result_record(TupleDesc *kept, FunctionCallInfo fcinfo, Datum *values, bool *nulls);
extern int64 hf_default_ttl(void);
extern int64 hf_argument_ttl(FunctionCallInfo fcinfo, int n);
extern void hf_argument_quantity(int64 quantity, const char *name);
extern void hf_argument_units(int64 units, const char *name);
extern void hf_check_lifetime(const pg_uuid_t *owner, TimestampTz held_at, TimestampTz deadline);
extern void hf_raise_unknown_sku(int64 sku) pg_attribute_noreturn();
extern void hf_raise_unknown_hold(const pg_uuid_t *owner, const int64 *sku) pg_attribute_noreturn();
extern void hf_raise_unknown_payment(int64 account, const pg_uuid_t *id) pg_attribute_noreturn();
extern void hf_raise_ended(const HfHold *hold, const char *hint) pg_attribute_noreturn();
extern void hf_raise_changed(void) pg_attribute_noreturn();
extern char *hf_uuid_text(const pg_uuid_t *uuid);

#endif
