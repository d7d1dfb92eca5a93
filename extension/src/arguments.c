/*
 * arguments.c
 *		Arguments of the SQL functions, checked, and errors that several of them raise.
 *
 * The functions are not STRICT where a NULL would be a caller's mistake: it is refused with 22004,
 * and never means "do nothing".
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "errors.h"
#include "guc.h"

void
hf_argument_not_null(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s is null", name)));
}

/* Takes an array argument apart. Refuses no array, several dimensions, no elements, too many. */
HfArray
hf_argument_array(FunctionCallInfo fcinfo, int n, const char *name, Oid type)
{
	ArrayType *array;
	HfArray result;
	int16 length;
	bool by_value;
	char align;

	hf_argument_not_null(fcinfo, n, name);
	array = PG_GETARG_ARRAYTYPE_P(n);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_LINES), errmsg("%s has several dimensions", name),
				 errhint("Pass one-dimensional arrays.")));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &result.value, &result.isnull,
					  &result.n);
	if (result.n == 0)
		ereport(ERROR, (errcode(ERRCODE_HF_INVALID_LINES), errmsg("%s is empty", name)));
	if (result.n > HF_LINES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_LINES), errmsg("%s is too long", name),
				 errdetail("It has %d elements; %d are allowed.", result.n, HF_LINES_MAX),
				 errhint("Send several smaller calls.")));
	return result;
}

void
hf_argument_array_without_nulls(const HfArray *array, const char *name)
{
	for (int i = 0; i < array->n; i++)
		if (array->isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s contains a null", name),
					 errdetail("Element %d is null.", i + 1)));
}

void
hf_argument_same_length(int a, int b, const char *names)
{
	if (a != b)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_LINES), errmsg("%s differ in length", names),
				 errdetail("They have %d and %d elements.", a, b)));
}

/* Is the time to live so far from any sense that adding it to a time might overflow? */
static bool
hf_ttl_is_absurd(const Interval *ttl)
{
	double days = ttl->month * 31.0 + ttl->day + (double) ttl->time / USECS_PER_DAY;

	return days > 100000 || days < 0;
}

/*
 * A composite result, of the columns that the function declares.  The descriptor is made at the
 * session's first call and kept.
 */
Datum
hf_result_record(TupleDesc *kept, FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	if (*kept == NULL)
	{
		TupleDesc declared;
		MemoryContext old;

		(void) get_call_result_type(fcinfo, NULL, &declared);
		old = MemoryContextSwitchTo(TopMemoryContext);
		*kept = BlessTupleDesc(CreateTupleDescCopy(declared));
		MemoryContextSwitchTo(old);
	}
	return HeapTupleGetDatum(heap_form_tuple(*kept, values, nulls));
}

/* The time to live of those who ask for none, in microseconds. */
int64
hf_default_ttl(void)
{
	return Min(hf_ttl_default, Min(hf_ttl_max, hf_lifetime_max)) * USECS_PER_SEC;
}

/* A time to live in microseconds, or the default. Refuses what the settings do not allow. */
int64
hf_argument_ttl(FunctionCallInfo fcinfo, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	int limit = Min(hf_ttl_max, hf_lifetime_max);
	TimestampTz deadline = now;

	if (PG_ARGISNULL(n))
		return hf_default_ttl();
	if (!hf_ttl_is_absurd(PG_GETARG_INTERVAL_P(n)))
		deadline =
			DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(now), PG_GETARG_DATUM(n)));
	if (deadline <= now || deadline > now + limit * USECS_PER_SEC)
	{
		char *ttl = DatumGetCString(DirectFunctionCall1(interval_out, PG_GETARG_DATUM(n)));

		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_TTL), errmsg("invalid time to live"),
				 errdetail("It is %s; it must be above 0 and at most %d seconds.", ttl, limit),
				 errhint("holdfast.ttl_max and holdfast.lifetime_max set the limit.")));
	}
	return deadline - now;
}

/* Refuses units that a SKU's sum could not bear, many times over. */
void
hf_argument_units(int64 units, const char *name)
{
	if (units > HF_UNITS_MAX || units < -HF_UNITS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("%s out of range", name),
				 errdetail("It is %lld; one call can move %lld.", (long long) units,
						   (long long) HF_UNITS_MAX)));
}

void
hf_argument_quantity(int64 quantity, const char *name)
{
	if (quantity <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_QUANTITY), errmsg("%s must be positive", name),
				 errdetail("It is %lld.", (long long) quantity)));
}

/* Refuses a deadline further from the hold's beginning than the settings allow. */
void
hf_check_lifetime(const pg_uuid_t *owner, TimestampTz held_at, TimestampTz deadline)
{
	if (deadline > held_at + hf_lifetime_max * USECS_PER_SEC)
		ereport(
			ERROR,
			(errcode(ERRCODE_HF_LIFETIME_EXCEEDED), errmsg("hold would live too long"),
			 errdetail("Owner %s holds since %s; the last deadline allowed is %d seconds later.",
					   hf_uuid_text(owner), timestamptz_to_str(held_at), hf_lifetime_max),
			 errhint("Ask for a shorter time; the setting holdfast.lifetime_max is the limit.")));
}

char *
hf_uuid_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

void
hf_raise_unknown_sku(int64 sku)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_UNKNOWN_SKU), errmsg("unknown SKU"),
			 errdetail("SKU %lld has never been received.", (long long) sku),
			 errhint("Take units into stock with holdfast.receive().")));
	pg_unreachable();
}

void
hf_raise_unknown_hold(const pg_uuid_t *owner, const int64 *sku)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_UNKNOWN_HOLD), errmsg("unknown hold"),
			 sku ? errdetail("Owner %s has no hold of SKU %lld.", hf_uuid_text(owner),
							 (long long) *sku)
				 : errdetail("Owner %s has no holds.", hf_uuid_text(owner)),
			 errhint("Hold units with holdfast.reserve().")));
	pg_unreachable();
}

void
hf_raise_unknown_payment(int64 account, const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_UNKNOWN_PAYMENT), errmsg("unknown payment"),
			 errdetail("Account %lld has no payment %s.", (long long) account, hf_uuid_text(id)),
			 errhint("Create it with holdfast.create_payment().")));
	pg_unreachable();
}

/* Says how and when a hold ended that somebody takes for live. */
void
hf_raise_ended(const HfHold *hold, const char *hint)
{
	TimestampTz at = hold->state == HF_HELD ? hold->expires_at : hold->ended_at;

	ereport(ERROR,
			(errcode(hf_hold_ending(hold)), errmsg("hold has %s", hf_hold_ending_name(hold)),
			 errdetail("The hold of owner %s for %lld of SKU %lld ended at %s.",
					   hf_uuid_text(&hold->owner), (long long) hold->quantity,
					   (long long) hold->sku, timestamptz_to_str(at)),
			 errhint("%s", hint)));
	pg_unreachable();
}

/* For rows that we have locked and that changed all the same. */
void
hf_raise_changed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access to holds due to concurrent update"),
			 errhint("Try again.")));
	pg_unreachable();
}
