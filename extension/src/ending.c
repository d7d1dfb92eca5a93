/*
 * ending.c
 *		SQL functions on holds that exist: confirm(), release(), extend(), pin(), unpin().
 *
 * A hold ends exactly once.  Every function reads the owner's holds, decides for all of them before
 * it writes any, and writes each on condition that it is still the version that was read; if not,
 * it reads that hold again and decides again.  The deadline is compared with the clock at that
 * moment, not with the transaction's start.
 *
 * Locks: hold rows by SKU, then lanes by SKU.  Confirming whole holds touches no lane.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "ending.h"
#include "errors.h"
#include "guc.h"
#include "hold.h"
#include "lane.h"
#include "movement.h"

PG_FUNCTION_INFO_V1(holdfast_confirm);
PG_FUNCTION_INFO_V1(holdfast_release);
PG_FUNCTION_INFO_V1(holdfast_extend);
PG_FUNCTION_INFO_V1(holdfast_pin);
PG_FUNCTION_INFO_V1(holdfast_unpin);

static int
hf_line_by_sku(const void *a, const void *b)
{
	const HfLine *x = a, *y = b;

	return x->hold.sku < y->hold.sku ? -1 : x->hold.sku > y->hold.sku;
}

/* Says how a hold ended that the caller takes for live. */
static void
hf_ending_raise(const HfHold *hold)
{
	hf_raise_ended(hold,
				   hold->state == HF_CONFIRMED
					   ? "The units are sold; returns go through holdfast.give_back()."
					   : "Hold the units again under a new owner.");
}

/* Reads a hold that must be there. */
static void
hf_line_find(HfEnding *e, HfLine *line)
{
	int64 sku = line->hold.sku;

	if (!hf_hold_find(e->store, &e->owner, sku, &line->hold))
		hf_raise_unknown_hold(&e->owner, &sku);
}

/* The lines that arrays of SKUs and, perhaps, quantities name. Lines of one SKU are summed. */
static void
hf_ending_named_lines(HfEnding *e, FunctionCallInfo fcinfo)
{
	HfArray skus = hf_argument_array(fcinfo, 1, "p_skus", INT8OID);
	HfArray quantities = {0};

	hf_argument_array_without_nulls(&skus, "p_skus");
	if (!PG_ARGISNULL(2))
	{
		quantities = hf_argument_array(fcinfo, 2, "p_quantities", INT8OID);
		hf_argument_array_without_nulls(&quantities, "p_quantities");
		hf_argument_same_length(skus.n, quantities.n, "p_skus and p_quantities");
	}
	e->line = palloc0(sizeof(HfLine) * skus.n);
	for (int i = 0; i < skus.n; i++)
	{
		e->line[i].hold.sku = DatumGetInt64(skus.value[i]);
		e->line[i].quantity = quantities.n > 0 ? DatumGetInt64(quantities.value[i]) : HF_WHOLE;
		if (quantities.n > 0)
			hf_argument_quantity(e->line[i].quantity, "quantity");
	}
	qsort(e->line, skus.n, sizeof(HfLine), hf_line_by_sku);
	for (int i = 0; i < skus.n; i++)
	{
		HfLine *last = e->n > 0 ? &e->line[e->n - 1] : NULL;

		if (last == NULL || last->hold.sku != e->line[i].hold.sku)
			e->line[e->n++] = e->line[i];
		else if (last->quantity != HF_WHOLE)
			last->quantity = last->quantity > PG_INT64_MAX - e->line[i].quantity
				? PG_INT64_MAX
				: last->quantity + e->line[i].quantity;
	}
	for (int i = 0; i < e->n; i++)
		hf_line_find(e, &e->line[i]);
}

/*
 * All holds of the owner that have units. If there are none, raises how the last one ended. With
 * `all_alive`, a hold that has expired is an error too: the caller must not act on a remainder.
 */
void
hf_ending_all_lines(HfEnding *e, bool all_alive)
{
	TimestampTz now = GetCurrentTimestamp();
	HfHold *holds;
	int n = hf_hold_list(e->store, &e->owner, &holds);
	const HfHold *dead = NULL;

	e->line = palloc0(sizeof(HfLine) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		const HfHold *hold = &holds[i];

		if (hf_hold_is_live(hold, now))
		{
			e->line[e->n].hold = *hold;
			e->line[e->n++].quantity = HF_WHOLE;
		}
		else if (dead == NULL || hf_hold_ending(hold) == ERRCODE_HF_HOLD_EXPIRED)
			dead = hold;
	}
	if (dead != NULL &&
		(e->n == 0 || (all_alive && hf_hold_ending(dead) == ERRCODE_HF_HOLD_EXPIRED)))
		hf_ending_raise(dead);
	if (e->n == 0)
		hf_raise_unknown_hold(&e->owner, NULL);
	pfree(holds);
}

static void
hf_ending_begin(HfEnding *e, const char *command, FunctionCallInfo fcinfo)
{
	hf_argument_not_null(fcinfo, 0, "p_owner");
	e->owner = *PG_GETARG_UUID_P(0);
	e->store = hf_row_begin(command);
}

/* As above, with the holds that p_skus and p_quantities name, or all. */
static void
hf_ending_begin_lines(HfEnding *e, const char *command, FunctionCallInfo fcinfo, bool all_alive)
{
	hf_ending_begin(e, command, fcinfo);
	if (!PG_ARGISNULL(1))
		hf_ending_named_lines(e, fcinfo);
	else if (!PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_HF_INVALID_LINES), errmsg("p_quantities without p_skus"),
				 errhint("Name the SKUs that the quantities are of.")));
	else
		hf_ending_all_lines(e, all_alive);
}

/* Refuses to act on a hold that is not live, or on more than is held; settles the quantity. */
static int64
hf_line_check(const HfLine *line, TimestampTz now)
{
	if (!hf_hold_is_live(&line->hold, now))
		hf_ending_raise(&line->hold);
	if (line->quantity > line->hold.quantity)
		ereport(ERROR,
				(errcode(ERRCODE_HF_EXCEEDS_HOLD), errmsg("more units than are held"),
				 errdetail("Owner %s holds %lld of SKU %lld; %lld were named.",
						   hf_uuid_text(&line->hold.owner), (long long) line->hold.quantity,
						   (long long) line->hold.sku, (long long) line->quantity),
				 errhint("Name at most as many units as are held.")));
	return line->quantity == HF_WHOLE ? line->hold.quantity : line->quantity;
}

/* Locks the hold, waiting for whoever is changing it, and reads it as it is then. */
void
hf_line_lock(HfEnding *e, HfLine *line)
{
	int64 sku = line->hold.sku;

	if (!hf_hold_find_and_lock(e->store, &e->owner, sku, true, &line->hold))
		hf_raise_unknown_hold(&e->owner, &sku);
}

/*
 * Decides by the clock and writes, for one line, without waiting in between: if somebody else is
 * changing the hold, it is locked first and decided upon anew.  Returns the units acted on.
 */
static int64
hf_line_act(HfEnding *e, HfLine *line, HfAct act)
{
	HfLine changed = *line;
	int64 units = act(e, &changed, GetCurrentTimestamp());

	if (hf_hold_update(e->store, &changed.hold, false) != HF_WRITTEN)
	{
		hf_line_lock(e, line);
		changed = *line;
		units = act(e, &changed, GetCurrentTimestamp());
		if (hf_hold_update(e->store, &changed.hold, true) != HF_WRITTEN)
			hf_raise_changed();
	}
	*line = changed;
	return units;
}

/* Does it to every line; then units that came free go back to their SKUs. Returns the units. */
int64
hf_ending_act(HfEnding *e, HfAct act)
{
	int64 units = 0;

	for (int i = 0; i < e->n; i++)
		(void) hf_line_check(&e->line[i], GetCurrentTimestamp());
	for (int i = 0; i < e->n; i++)
		units += hf_line_act(e, &e->line[i], act);
	for (int i = 0; i < e->n; i++)
		if (e->line[i].to_lane > 0 &&
			!hf_lane_give(e->store, e->line[i].hold.sku, e->line[i].to_lane))
			hf_raise_unknown_sku(e->line[i].hold.sku);
	return units;
}

void
hf_line_end(HfLine *line, char state, TimestampTz now)
{
	line->hold.state = state;
	line->hold.ended_at = Max(now, line->hold.held_at);
}

static int64
hf_act_confirm(HfEnding *e, HfLine *line, TimestampTz now)
{
	int64 units = hf_line_check(line, now);

	(void) e;
	line->to_lane = line->hold.quantity - units;
	line->hold.quantity = units;
	hf_line_end(line, HF_CONFIRMED, now);
	return units;
}

static int64
hf_act_release(HfEnding *e, HfLine *line, TimestampTz now)
{
	int64 units = hf_line_check(line, now);

	(void) e;
	line->to_lane = units;
	if (units < line->hold.quantity)
		line->hold.quantity -= units;
	else
		hf_line_end(line, HF_RELEASED, now);
	return units;
}

int64
hf_act_pin(HfEnding *e, HfLine *line, TimestampTz now)
{
	(void) e;
	(void) hf_line_check(line, now);
	line->hold.expires_at = DT_NOEND;
	return 1;
}

/* Confirms all lines and enters them in the ledger. Returns the units. */
int64
hf_ending_sell(HfEnding *e)
{
	int64 units = hf_ending_act(e, hf_act_confirm);

	for (int i = 0; i < e->n; i++)
		hf_movement_insert(e->store, HF_SOLD, e->line[i].hold.sku, -e->line[i].hold.quantity,
						   e->line[i].hold.ended_at, &e->owner, (Datum) 0);
	return units;
}

Datum
holdfast_confirm(PG_FUNCTION_ARGS)
{
	HfEnding e = {0};
	int64 units;

	hf_ending_begin_lines(&e, "holdfast.confirm()", fcinfo, true);
	units = hf_ending_sell(&e);
	hf_row_end(e.store);
	PG_RETURN_INT64(units);
}

Datum
holdfast_release(PG_FUNCTION_ARGS)
{
	HfEnding e = {0};
	int64 units;

	hf_ending_begin_lines(&e, "holdfast.release()", fcinfo, false);
	units = hf_ending_act(&e, hf_act_release);
	hf_row_end(e.store);
	PG_RETURN_INT64(units);
}

Datum
holdfast_pin(PG_FUNCTION_ARGS)
{
	HfEnding e = {0};
	int64 holds;

	hf_ending_begin(&e, "holdfast.pin()", fcinfo);
	hf_ending_all_lines(&e, true);
	holds = hf_ending_act(&e, hf_act_pin);
	hf_row_end(e.store);
	PG_RETURN_INT64(holds);
}

/* Moves the deadline of a hold that is not pinned, never to an earlier time. */
static int64
hf_act_extend(HfEnding *e, HfLine *line, TimestampTz now)
{
	(void) hf_line_check(line, now);
	if (line->hold.expires_at < now + e->ttl)
	{
		hf_check_lifetime(&e->owner, line->hold.held_at, now + e->ttl);
		line->hold.expires_at = now + e->ttl;
	}
	return 1;
}

/* Gives a pinned hold a deadline again. */
int64
hf_act_unpin(HfEnding *e, HfLine *line, TimestampTz now)
{
	(void) hf_line_check(line, now);
	if (!hf_hold_is_pinned(&line->hold))
		return 0;
	line->hold.expires_at = now + e->ttl;
	return 1;
}

Datum
holdfast_extend(PG_FUNCTION_ARGS)
{
	HfEnding e = {0};
	TimestampTz earliest = DT_NOEND;

	hf_ending_begin(&e, "holdfast.extend()", fcinfo);
	e.ttl = hf_argument_ttl(fcinfo, 1);
	hf_ending_all_lines(&e, true);
	(void) hf_ending_act(&e, hf_act_extend);
	for (int i = 0; i < e.n; i++)
		earliest = Min(earliest, e.line[i].hold.expires_at);
	hf_row_end(e.store);
	PG_RETURN_TIMESTAMPTZ(earliest);
}

Datum
holdfast_unpin(PG_FUNCTION_ARGS)
{
	HfEnding e = {0};
	int64 holds;

	hf_ending_begin(&e, "holdfast.unpin()", fcinfo);
	e.ttl = hf_argument_ttl(fcinfo, 1);
	hf_ending_all_lines(&e, false);
	holds = hf_ending_act(&e, hf_act_unpin);
	hf_row_end(e.store);
	PG_RETURN_INT64(holds);
}
