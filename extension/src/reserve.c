/*
 * reserve.c
 *		SQL functions that hold units: reserve() of one SKU and of a cart, reserve_batch().
 *
 * All three fill in wants and run the steps of reservation.c.  reserve() raises at the first line
 * that cannot be; reserve_batch() gives verdicts and raises only for the call as a whole.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "errors.h"
#include "reservation.h"

PG_FUNCTION_INFO_V1(holdfast_reserve);
PG_FUNCTION_INFO_V1(holdfast_reserve_cart);
PG_FUNCTION_INFO_V1(holdfast_reserve_batch);

static void
hf_reserve_begin(HfReservation *r, const char *command, FunctionCallInfo fcinfo, int ttl_argument)
{
	r->store = hf_row_begin(command);
	r->ttl = hf_argument_ttl(fcinfo, ttl_argument);
}

static void
hf_reserve_want(HfWant *want, int line, const pg_uuid_t *owner, int64 sku, int64 quantity)
{
	want->owner = *owner;
	want->sku = sku;
	want->quantity = quantity;
	want->line = line;
	want->verdict = quantity > 0 ? ERRCODE_SUCCESSFUL_COMPLETION : ERRCODE_HF_INVALID_QUANTITY;
}

/* Runs the steps for one owner, all or nothing; returns the earliest deadline. */
static TimestampTz
hf_reserve_or_raise(HfReservation *r)
{
	TimestampTz earliest = DT_NOEND;

	r->appetite = HF_ALL_OR_NONE;
	hf_reservation_raise(r);
	if (r->n == 1 && hf_reservation_try_new(r))
		hf_reservation_raise(r);
	else
	{
		hf_reservation_find_holds(r);
		hf_reservation_raise(r);
		hf_reservation_take(r);
		hf_reservation_raise(r);
		hf_reservation_write(r);
	}
	hf_row_end(r->store);
	for (int i = 0; i < r->n; i++)
		if (!r->want[i].exists || !hf_hold_is_pinned(&r->want[i].hold))
			earliest = r->deadline;
	return earliest;
}

Datum
holdfast_reserve(PG_FUNCTION_ARGS)
{
	HfWant want = {0};
	HfReservation r = {.want = &want, .n = 1};

	hf_argument_not_null(fcinfo, 0, "p_owner");
	hf_argument_not_null(fcinfo, 1, "p_sku");
	hf_argument_not_null(fcinfo, 2, "p_quantity");
	hf_reserve_begin(&r, "holdfast.reserve()", fcinfo, 3);
	r.revive = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	hf_reserve_want(&want, 0, PG_GETARG_UUID_P(0), PG_GETARG_INT64(1), PG_GETARG_INT64(2));
	PG_RETURN_TIMESTAMPTZ(hf_reserve_or_raise(&r));
}

Datum
holdfast_reserve_cart(PG_FUNCTION_ARGS)
{
	HfReservation r = {0};
	HfArray skus, quantities;

	hf_argument_not_null(fcinfo, 0, "p_owner");
	skus = hf_argument_array(fcinfo, 1, "p_skus", INT8OID);
	quantities = hf_argument_array(fcinfo, 2, "p_quantities", INT8OID);
	hf_argument_same_length(skus.n, quantities.n, "p_skus and p_quantities");
	hf_argument_array_without_nulls(&skus, "p_skus");
	hf_argument_array_without_nulls(&quantities, "p_quantities");
	hf_reserve_begin(&r, "holdfast.reserve()", fcinfo, 3);
	r.revive = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	r.n = skus.n;
	r.want = palloc0(sizeof(HfWant) * r.n);
	for (int i = 0; i < r.n; i++)
		hf_reserve_want(&r.want[i], i, PG_GETARG_UUID_P(0), DatumGetInt64(skus.value[i]),
						DatumGetInt64(quantities.value[i]));
	hf_reservation_sort(&r);
	PG_RETURN_TIMESTAMPTZ(hf_reserve_or_raise(&r));
}

/* all_or_nothing: one refusal, of a want or of a line that became none, refuses all. */
static void
hf_batch_refuse_all(HfReservation *r, bool refused)
{
	for (int i = 0; i < r->n; i++)
		refused = refused || r->want[i].verdict != ERRCODE_SUCCESSFUL_COMPLETION;
	if (!refused)
		return;
	hf_reservation_give_back(r);
	for (int i = 0; i < r->n; i++)
		if (r->want[i].verdict == ERRCODE_SUCCESSFUL_COMPLETION ||
			r->want[i].verdict == ERRCODE_HF_REFUSED_WITH_OWNER)
			r->want[i].verdict = ERRCODE_HF_REFUSED_WITH_BATCH;
}

/* One row per line: its number, its want's verdict, and what was left if that is why. */
static void
hf_batch_answer(FunctionCallInfo fcinfo, const HfReservation *r, const HfWant *lines, int n)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum success = CStringGetTextDatum(unpack_sql_state(ERRCODE_SUCCESSFUL_COMPLETION));

	for (int i = 0; i < n; i++)
	{
		const HfWant *want = &lines[i];
		int low = 0, high = r->n;
		Datum values[3];
		bool nulls[3] = {false, false, true};

		/* The want that the line became a part of; lines with a NULL became none. */
		while (want->group == 0 && low < high)
		{
			int middle = (low + high) / 2;
			const HfWant *m = &r->want[middle];
			int order = memcmp(&m->owner, &want->owner, sizeof(pg_uuid_t));

			if (order < 0 || (order == 0 && m->sku < want->sku))
				low = middle + 1;
			else
				high = middle;
		}
		if (want->group == 0)
			want = &r->want[low];
		values[0] = Int32GetDatum(i + 1);
		values[1] = want->verdict == ERRCODE_SUCCESSFUL_COMPLETION
			? success
			: CStringGetTextDatum(unpack_sql_state(want->verdict));
		nulls[2] = want->verdict != ERRCODE_HF_INSUFFICIENT_STOCK;
		values[2] = nulls[2] ? (Datum) 0 : Int64GetDatum(want->left);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

static bool
hf_batch_policy_is_all(FunctionCallInfo fcinfo, int n)
{
	char *policy;

	hf_argument_not_null(fcinfo, n, "p_policy");
	policy = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (strcmp(policy, "valid_rows") == 0)
		return false;
	if (strcmp(policy, "all_or_nothing") == 0)
		return true;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown policy \"%s\"", policy),
			 errhint("Policies are valid_rows and all_or_nothing.")));
	pg_unreachable();
}

Datum
holdfast_reserve_batch(PG_FUNCTION_ARGS)
{
	HfReservation r = {.appetite = HF_AS_MANY_AS_THERE_ARE};
	HfArray owners = hf_argument_array(fcinfo, 0, "p_owners", UUIDOID);
	HfArray skus = hf_argument_array(fcinfo, 1, "p_skus", INT8OID);
	HfArray quantities = hf_argument_array(fcinfo, 2, "p_quantities", INT8OID);
	bool all = hf_batch_policy_is_all(fcinfo, 4);
	HfWant *lines;
	bool ownerless = false;
	static const pg_uuid_t nobody;

	hf_argument_same_length(owners.n, skus.n, "p_owners and p_skus");
	hf_argument_same_length(owners.n, quantities.n, "p_owners and p_quantities");
	InitMaterializedSRF(fcinfo, 0);
	hf_reserve_begin(&r, "holdfast.reserve_batch()", fcinfo, 3);

	lines = palloc0(sizeof(HfWant) * owners.n);
	r.want = palloc(sizeof(HfWant) * owners.n);
	for (int i = 0; i < owners.n; i++)
	{
		bool null = skus.isnull[i] || quantities.isnull[i];

		hf_reserve_want(&lines[i], i, owners.isnull[i] ? &nobody : DatumGetUUIDP(owners.value[i]),
						null ? PG_INT64_MIN : DatumGetInt64(skus.value[i]),
						null ? 1 : DatumGetInt64(quantities.value[i]));
		if (null || owners.isnull[i])
			lines[i].verdict = ERRCODE_NULL_VALUE_NOT_ALLOWED;
		/* A line without an owner falls alone; all others are somebody's. */
		if (owners.isnull[i])
		{
			lines[i].group = -1;
			ownerless = true;
		}
		else
			r.want[r.n++] = lines[i];
	}
	if (r.n > 0)
	{
		hf_reservation_sort(&r);
		hf_reservation_find_holds(&r);
		hf_reservation_take(&r);
		if (all)
			hf_batch_refuse_all(&r, ownerless);
		hf_reservation_write(&r);
	}
	hf_row_end(r.store);
	hf_batch_answer(fcinfo, &r, lines, owners.n);
	return (Datum) 0;
}
