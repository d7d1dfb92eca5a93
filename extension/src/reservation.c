/*
 * reservation.c
 *		Holding units: one engine for one SKU, carts and batches.
 *
 * A reservation goes through four steps: find the owners' holds and lock them; take units, SKU by
 * SKU in ascending order, for all lines together; share them out, earlier lines first, all lines of
 * an owner or none; write the holds, new ones in one go.  Work is done per set: a batch costs one
 * decrement per lane and one multi-row insert.  One line of an owner who has nothing yet, the
 * commonest case, takes a shorter way (hf_reservation_try_new).
 *
 * Locks: hold rows by owner and SKU, then lanes by SKU (lane.c).  Two sessions that make a hold of
 * the same owner and SKU in the same instant meet at the primary key: the second gets 40001.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "errors.h"
#include "guc.h"
#include "reservation.h"

static bool
hf_want_is_good(const HfWant *want)
{
	return want->verdict == ERRCODE_SUCCESSFUL_COMPLETION;
}

static int
hf_want_by_identity(const void *a, const void *b)
{
	const HfWant *x = a, *y = b;
	int owner = memcmp(&x->owner, &y->owner, sizeof(pg_uuid_t));

	if (owner != 0)
		return owner;
	if (x->sku != y->sku)
		return x->sku < y->sku ? -1 : 1;
	return x->line - y->line;
}

static int
hf_want_by_sku(const void *a, const void *b)
{
	const HfWant *x = *(HfWant *const *) a, *y = *(HfWant *const *) b;

	if (x->sku != y->sku)
		return x->sku < y->sku ? -1 : 1;
	return x->group != y->group ? x->group - y->group : x->line - y->line;
}

static int
hf_want_by_group(const void *a, const void *b)
{
	const HfWant *x = *(HfWant *const *) a, *y = *(HfWant *const *) b;

	return x->group != y->group ? x->group - y->group : x->line - y->line;
}

/* Pointers to the wants in another order; palloc'd. */
static HfWant **
hf_reservation_order(const HfReservation *r, int (*compare)(const void *, const void *))
{
	HfWant **order = palloc(sizeof(HfWant *) * r->n);

	for (int i = 0; i < r->n; i++)
		order[i] = &r->want[i];
	if (r->n > 1)
		qsort(order, r->n, sizeof(HfWant *), compare);
	return order;
}

/* Lets every line of an owner fall with the first that fell. */
static void
hf_reservation_fail_groups(HfReservation *r)
{
	for (int i = 0, end; i < r->n; i = end)
	{
		bool good = true;

		for (end = i; end < r->n && r->want[end].group == r->want[i].group; end++)
			good = good && hf_want_is_good(&r->want[end]);
		for (int j = i; !good && j < end; j++)
			if (hf_want_is_good(&r->want[j]))
				r->want[j].verdict = ERRCODE_HF_REFUSED_WITH_OWNER;
	}
}

/* Puts the wants in order of identity, sums lines that name the same, and numbers the owners. */
void
hf_reservation_sort(HfReservation *r)
{
	int n = 0;

	if (r->n > 1)
		qsort(r->want, r->n, sizeof(HfWant), hf_want_by_identity);
	for (int i = 0; i < r->n; i++)
	{
		HfWant *last = n > 0 ? &r->want[n - 1] : NULL;
		HfWant *want = &r->want[i];

		if (last && last->sku == want->sku &&
			memcmp(&last->owner, &want->owner, sizeof(pg_uuid_t)) == 0)
		{
			if (!hf_want_is_good(last))
				continue;
			if (!hf_want_is_good(want))
			{
				last->verdict = want->verdict;
				last->quantity = want->quantity;
			}
			else if (pg_add_s64_overflow(last->quantity, want->quantity, &last->quantity))
				last->verdict = ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		}
		else
			r->want[n++] = *want;
	}
	r->n = n;
	for (int i = 0, end; i < n; i = end)
	{
		int first = r->want[i].line;

		for (end = i;
			 end < n && memcmp(&r->want[end].owner, &r->want[i].owner, sizeof(pg_uuid_t)) == 0;
			 end++)
			first = Min(first, r->want[end].line);
		for (int j = i; j < end; j++)
			r->want[j].group = first;
	}
	hf_reservation_fail_groups(r);
}

/* Says why a want cannot be. */
static void
hf_want_refuse(HfWant *want, HfTake result, int64 left)
{
	want->left = left;
	want->verdict =
		result == HF_UNKNOWN_SKU ? ERRCODE_HF_UNKNOWN_SKU : ERRCODE_HF_INSUFFICIENT_STOCK;
}

/* The row that a good want makes or remakes. */
static HfHold
hf_want_hold(const HfReservation *r, const HfWant *want)
{
	HfHold hold = want->hold;

	if (!want->exists || hold.state != HF_HELD)
		hold.held_at = r->now;
	if (!want->exists || !hf_hold_is_pinned(&hold))
		hold.expires_at = r->deadline;
	hold.owner = want->owner;
	hold.sku = want->sku;
	hold.quantity = want->quantity;
	hold.returned = 0;
	hold.ended_at = DT_NOEND;
	hold.state = HF_HELD;
	return hold;
}

/* Sets the time of decision. To be called when there is no more to wait for. */
static void
hf_reservation_clock(HfReservation *r)
{
	r->now = GetCurrentTimestamp();
	r->deadline = r->now + r->ttl;
}

/*
 * The commonest case, one want of an owner who has no hold of the SKU: takes the units and inserts.
 * False, and nothing changed, if he has one: then the four steps must tell.
 */
bool
hf_reservation_try_new(HfReservation *r)
{
	HfWant *want = r->want;
	HfHold hold;
	HfTake result;
	int64 units;

	if (hf_hold_exists(r->store, &want->owner, want->sku))
		return false;
	want->more = want->quantity;
	result = hf_lane_take(r->store, want->sku, want->more, HF_ALL_OR_NONE, &units, &want->lane);
	if (result != HF_TAKEN)
	{
		hf_want_refuse(want, result, units);
		return true;
	}
	hf_reservation_clock(r);
	hold = hf_want_hold(r, want);
	hf_hold_insert(r->store, &hold, 1);
	return true;
}

/*
 * Decides what an existing hold means for the want. Units of a live hold are the owner's already.
 * So are those of a due one that is to be revived: ending it first takes it out of everybody's
 * reach.
 */
static void
hf_want_meet_hold(HfReservation *r, HfWant *want)
{
	HfHold *hold = &want->hold;

	hf_reservation_clock(r);
	if (hf_hold_is_live(hold, r->now))
	{
		want->more = want->quantity - hold->quantity;
		if (!hf_hold_is_pinned(hold) &&
			r->deadline > hold->held_at + hf_lifetime_max * USECS_PER_SEC)
			want->verdict = ERRCODE_HF_LIFETIME_EXCEEDED;
		return;
	}
	if (!r->revive || hold->state == HF_CONFIRMED)
	{
		want->verdict = hf_hold_ending(hold);
		return;
	}
	if (hf_hold_is_due(hold, r->now))
	{
		want->more = want->quantity - hold->quantity;
		hold->state = HF_EXPIRED;
		hold->ended_at = hold->expires_at;
		if (hf_hold_update(r->store, hold, true) != HF_WRITTEN ||
			!hf_hold_find(r->store, &want->owner, want->sku, hold))
			hf_raise_changed();
	}
}

/* Finds and locks the holds that the owners have already. */
void
hf_reservation_find_holds(HfReservation *r)
{
	for (int i = 0; i < r->n; i++)
	{
		HfWant *want = &r->want[i];

		if (!hf_want_is_good(want))
			continue;
		want->more = want->quantity;
		want->exists = hf_hold_find_and_lock(r->store, &want->owner, want->sku, false, &want->hold);
		if (want->exists)
			hf_want_meet_hold(r, want);
	}
	hf_reservation_fail_groups(r);
}

/* A SKU of the reservation: its wants, and the units that were taken for them. */
typedef struct HfPool
{
	int64 sku;
	int64 units;
	HfTake result;
	int64 left; /* if short: units there were */
	int lane;	/* a lane of the SKU that we hold, to put back into */
} HfPool;

static HfPool *
hf_pool_find(HfPool *pools, int n, int64 sku)
{
	int low = 0, high = n - 1;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (pools[middle].sku < sku)
			low = middle + 1;
		else
			high = middle;
	}
	Assert(n > 0 && pools[low].sku == sku);
	return &pools[low];
}

/*
 * Takes units for all good wants of one SKU together. Whoever will put units back takes the lock of
 * a lane now, so that lanes are locked in the order of SKUs.
 */
static void
hf_pool_fill(HfReservation *r, HfPool *pool, HfWant **wants, int n)
{
	int64 total = 0;
	bool puts_back = false;

	pool->sku = wants[0]->sku;
	pool->result = HF_TAKEN;
	for (int i = 0; i < n; i++)
	{
		if (!hf_want_is_good(wants[i]))
			continue;
		puts_back = puts_back || wants[i]->more < 0;
		if (wants[i]->more > 0 && pg_add_s64_overflow(total, wants[i]->more, &total))
			total = PG_INT64_MAX;
	}
	if (total > 0)
		pool->result =
			hf_lane_take(r->store, pool->sku, total, r->appetite, &pool->units, &pool->lane);
	if (puts_back && (total == 0 || pool->result != HF_TAKEN))
		pool->lane = hf_lane_lock_any(r->store, pool->sku);
	pool->left = pool->units;
	if (pool->result != HF_TAKEN)
		pool->units = 0;
}

/* Does the pool have enough for the want? If not, says why in its verdict. */
static bool
hf_want_fits(HfWant *want, const HfPool *pool)
{
	if (want->more <= 0 || want->more <= pool->units)
		return true;
	hf_want_refuse(want, pool->result, pool->result == HF_SHORT ? pool->left : pool->units);
	return false;
}

/* Shares the pools out: owners in order of their first line, all lines of an owner or none. */
static void
hf_reservation_share_out(HfReservation *r, HfPool *pools, int npools)
{
	HfWant **order = hf_reservation_order(r, hf_want_by_group);

	for (int i = 0, end; i < r->n; i = end)
	{
		bool good = true;

		for (end = i; end < r->n && order[end]->group == order[i]->group; end++)
			good = good && hf_want_is_good(order[end]) &&
				hf_want_fits(order[end], hf_pool_find(pools, npools, order[end]->sku));
		for (int j = i; good && j < end; j++)
		{
			HfPool *pool = hf_pool_find(pools, npools, order[j]->sku);

			order[j]->lane = pool->lane;
			if (order[j]->more > 0)
				pool->units -= order[j]->more;
		}
	}
	pfree(order);
	hf_reservation_fail_groups(r);
}

/* Takes the units that the good wants need, and refuses those for whom there are too few. */
void
hf_reservation_take(HfReservation *r)
{
	HfWant **order = hf_reservation_order(r, hf_want_by_sku);
	HfPool *pools = palloc0(sizeof(HfPool) * r->n);
	int npools = 0;

	for (int i = 0, end; i < r->n; i = end)
	{
		for (end = i; end < r->n && order[end]->sku == order[i]->sku; end++)
			;
		hf_pool_fill(r, &pools[npools++], order + i, end - i);
	}
	hf_reservation_share_out(r, pools, npools);
	for (int i = 0; i < npools; i++)
		if (pools[i].units > 0)
			hf_lane_put(r->store, pools[i].sku, pools[i].lane, pools[i].units);
	pfree(pools);
	pfree(order);
}

/* Undoes hf_reservation_take(): the good wants get nothing after all. */
void
hf_reservation_give_back(HfReservation *r)
{
	for (int i = 0; i < r->n; i++)
		if (hf_want_is_good(&r->want[i]) && r->want[i].more > 0)
			hf_lane_put(r->store, r->want[i].sku, r->want[i].lane, r->want[i].more);
}

/*
 * Writes a hold that exists and that we have locked.  If its deadline came while we waited for
 * units, it is too late; we ourselves may have taken it for a stranger's and ended it.
 */
static void
hf_reservation_rewrite(HfReservation *r, const HfHold *hold)
{
	HfHold now;

	if (!hf_hold_find(r->store, &hold->owner, hold->sku, &now) ||
		!ItemPointerEquals(&now.tid, (ItemPointer) &hold->tid) || hf_hold_is_due(&now, r->now) ||
		hf_hold_update(r->store, hold, true) != HF_WRITTEN)
		hf_raise_changed();
}

/* Writes the holds of all good wants, and puts back what owners now hold less. */
void
hf_reservation_write(HfReservation *r)
{
	HfHold *made = palloc(sizeof(HfHold) * r->n);
	int n = 0;

	hf_reservation_clock(r);
	for (int i = 0; i < r->n; i++)
	{
		HfWant *want = &r->want[i];
		HfHold hold;

		if (!hf_want_is_good(want))
			continue;
		hold = hf_want_hold(r, want);
		if (want->exists)
			hf_reservation_rewrite(r, &hold);
		else
			made[n++] = hold;
	}
	if (n > 0)
		hf_hold_insert(r->store, made, n);
	pfree(made);
	for (int i = 0; i < r->n; i++)
		if (hf_want_is_good(&r->want[i]) && r->want[i].more < 0)
			hf_lane_put(r->store, r->want[i].sku, r->want[i].lane, -r->want[i].more);
}

static void
hf_reservation_raise_short(const HfWant *want)
{
	ereport(ERROR,
			(errcode(ERRCODE_HF_INSUFFICIENT_STOCK), errmsg("insufficient stock"),
			 errdetail("SKU %lld has %lld units available; %lld are needed.", (long long) want->sku,
					   (long long) want->left, (long long) want->more),
			 want->left > 0 ? errhint("Ask for fewer units.")
							: errhint("Try again when units have been released or received.")));
}

/* Raises what stands against the first line that is not good, if any. */
void
hf_reservation_raise(const HfReservation *r)
{
	const HfWant *first = NULL;

	for (int i = 0; i < r->n; i++)
		if (!hf_want_is_good(&r->want[i]) && r->want[i].verdict != ERRCODE_HF_REFUSED_WITH_OWNER &&
			(first == NULL || r->want[i].line < first->line))
			first = &r->want[i];
	if (first == NULL)
		return;
	switch (first->verdict)
	{
		case ERRCODE_HF_INSUFFICIENT_STOCK:
			hf_reservation_raise_short(first);
			break;
		case ERRCODE_HF_UNKNOWN_SKU:
			hf_raise_unknown_sku(first->sku);
			break;
		case ERRCODE_HF_LIFETIME_EXCEEDED:
			hf_check_lifetime(&first->owner, first->hold.held_at, r->deadline);
			break;
		case ERRCODE_HF_INVALID_QUANTITY:
			hf_argument_quantity(first->quantity, "quantity");
			break;
		case ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE:
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("quantity out of range"),
					 errdetail("The lines for SKU %lld add up to more than a bigint holds.",
							   (long long) first->sku)));
			break;
		default:
			hf_raise_ended(&first->hold,
						   first->hold.state == HF_CONFIRMED
							   ? "Use a new owner for a new purchase."
							   : "Use a new owner, or pass p_revive => true to hold again.");
	}
	elog(ERROR, "unexpected verdict %d", first->verdict);
}
