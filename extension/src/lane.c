/*
 * lane.c
 *		Taking units from a SKU's lanes and putting them back.
 *
 * A SKU's available units lie in one or more lanes.  A buyer takes the lock of a lane without
 * waiting, takes the units if the lane has them, and keeps the lock until his transaction ends;
 * another buyer meanwhile uses another lane.  A lane that is short is unlocked at once.
 *
 * Units never hide.  When no lane will do at once, one snapshot over all lanes and all due holds
 * of the SKU decides: if together they have too few, the answer is "short", and it is true as of
 * that snapshot, in which a unit taken by a transaction still running counts as there.  Otherwise
 * the buyer waits for a lane that has enough, or gathers from several, or takes back due holds.
 *
 * Lanes adapt.  Whoever finds lanes locked, or sees somebody wait behind him, splits his lane; the
 * reaper merges lanes that saw no contention for a while.  A session remembers how many lanes a SKU
 * has and which one served it last; that memory is only a hint.
 *
 * Lock order: SKUs ascending; within a SKU its set of lanes (HF_LANE_SET), then lanes ascending.
 * Locks that are tried and not waited for are taken in any order.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "common/int.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/backendid.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "guc.h"
#include "hold.h"
#include "lane.h"
#include "lane_lock.h"
#include "lane_row.h"
#include "lane_set.h"

#define PROBES	   16 /* lanes tried before a buyer looks at all of them */
#define STRIDE	   37 /* from one to the next, a prime: buyers do not pile up behind one another */
#define MISSES_MAX 1  /* locked lanes that a buyer may find without making more */
#define EXPIRE_MAX 64 /* holds that one buyer takes back */
#define HINT_LIFE  (1 * USECS_PER_SEC)

/* What this session believes about a SKU. */
typedef struct HfHint
{
	int64 sku;
	TimestampTz read_at; /* 0: empty */
	int16 lanes;
	int16 home; /* the lane to try first */
} HfHint;

#define HINT_BITS 10
static HfHint hints[1 << HINT_BITS];

/* The session's memory of the SKU, read anew when it is old or was proven wrong. */
static HfHint *
hf_lane_hint(HfStore *store, int64 sku, bool renew)
{
	HfHint *hint = &hints[((uint64) sku * UINT64CONST(0x9E3779B97F4A7C15)) >> (64 - HINT_BITS)];
	TimestampTz now = GetCurrentTimestamp();

	if (renew || hint->sku != sku || hint->read_at == 0 || now - hint->read_at > HINT_LIFE ||
		now < hint->read_at)
	{
		int lanes = Max(hf_lane_row_count(store, sku), 1);

		if (hint->sku != sku || hint->read_at == 0 || hint->lanes != lanes)
			hint->home = MyBackendId % lanes;
		hint->sku = sku;
		hint->lanes = lanes;
		hint->read_at = now;
	}
	return hint;
}

/*
 * Takes units from a lane whose lock the caller has; gives up the lock if it cannot.  `missed`: how
 * many lanes he found locked before this one, the one he waited for included.
 */
static bool
hf_lane_take_locked(HfStore *store, HfHint *hint, int lane, int64 want, int missed)
{
	int64 sku = hint->sku;
	int64 left;
	int crowd = hint->lanes < hf_lane_max ? hf_lane_waiters(sku, lane) : 0;
	HfLaneChange change = hf_lane_row_add(store, sku, lane, -want, missed + crowd > 0, &left);

	if (change != HF_LANE_DONE)
	{
		hf_lane_unlock(sku, lane);
		if (change == HF_LANE_GONE)
			hint->read_at = 0;
		return false;
	}
	hint->home = lane;
	if (missed > MISSES_MAX)
		crowd = Max(crowd, missed);
	if (crowd > 0 && hint->lanes < hf_lane_max)
	{
		hint->read_at = 0;
		hf_lane_split(store, sku, lane, left, crowd);
	}
	return true;
}

/* The lane to try at the n-th attempt, beginning with the session's own. */
static int
hf_lane_probe(const HfHint *hint, int n)
{
	int stride = hint->lanes % STRIDE == 0 ? 1 : STRIDE;

	return (hint->home + n * stride) % hint->lanes;
}

/* The fast path: the session's own lane, or one of the next few, without waiting. */
static bool
hf_lane_take_home(HfStore *store, int64 sku, int64 want, int *lane)
{
	HfHint *hint = hf_lane_hint(store, sku, false);

	for (int probe = 0; probe < Min(hint->lanes, PROBES); probe++)
	{
		*lane = hf_lane_probe(hint, probe);
		if (hf_lane_lock(store, sku, *lane, false))
			return hf_lane_take_locked(store, hint, *lane, want, probe);
	}
	return false;
}

/* All that can be said of a SKU's units in one snapshot. */
typedef struct HfSurvey
{
	int lanes; /* 0: unknown SKU */
	int64 in_lanes;
	int64 due; /* in holds whose deadline has passed */
	HfLane lane[HF_LANE_LIMIT];
} HfSurvey;

static void
hf_lane_survey(HfStore *store, int64 sku, HfSurvey *survey)
{
	Snapshot snapshot;

	PushActiveSnapshot(GetTransactionSnapshot());
	snapshot = GetActiveSnapshot();
	survey->lanes = hf_lane_row_list(store, sku, snapshot, survey->lane);
	survey->in_lanes = 0;
	for (int i = 0; i < survey->lanes; i++)
		if (pg_add_s64_overflow(survey->in_lanes, survey->lane[i].available, &survey->in_lanes))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("stock out of range"),
					 errdetail("The units of SKU %lld do not fit a bigint.", (long long) sku)));
	survey->due =
		survey->lanes == 0 ? 0 : hf_hold_due_units(store, sku, GetCurrentTimestamp(), snapshot);
	PopActiveSnapshot();
}

/*
 * Evens out: moves half of what a lane has, whose lock the caller has, into the session's own lane,
 * which has run dry, so that it need not look for units every time.
 */
static void
hf_lane_refill_home(HfStore *store, HfHint *hint, int home, int from)
{
	int64 sku = hint->sku;
	HfLane rich;
	int64 left;

	if (home == from || !hf_lane_row_find(store, sku, from, &rich) ||
		rich.available < 2 * HF_LANE_UNITS_MIN || !hf_lane_lock(store, sku, home, false))
		return;
	if (hf_lane_row_add(store, sku, home, rich.available / 2, false, &left) != HF_LANE_DONE)
		return;
	/* The lane cannot have shrunk under our lock; without locks, the writer that was first wins. */
	if (hf_lane_row_add(store, sku, from, -(rich.available / 2), false, &left) != HF_LANE_DONE)
		hf_raise_changed();
	hint->home = home;
}

/*
 * Takes from one lane that can give all: from a free one if there is one, better a rich one, else
 * the buyer queues at one of them, for a while.  *lane is left alone if there was no such lane;
 * false with a lane means that its units went meanwhile, or that it is time to look around again.
 */
static bool
hf_lane_take_single(HfStore *store, HfSurvey *survey, int64 sku, int64 want, int *lane)
{
	HfHint *hint = hf_lane_hint(store, sku, true);
	int home = hint->home;
	int start = pg_prng_uint32(&pg_global_prng_state) % survey->lanes;
	int64 enough = Max(want, survey->in_lanes / survey->lanes);
	int missed = 0;

	for (int i = 0; i < 2 * survey->lanes; i++)
	{
		HfLane *candidate = &survey->lane[(start + i) % survey->lanes];
		bool rich = candidate->available >= enough;

		if (candidate->available < want || rich != (i < survey->lanes))
			continue;
		*lane = candidate->lane;
		if (!hf_lane_lock(store, sku, *lane, false))
			missed++;
		else if (hf_lane_take_locked(store, hint, *lane, want, missed))
		{
			hf_lane_refill_home(store, hint, home, *lane);
			return true;
		}
	}
	if (missed == 0 || !hf_lane_wait_a_while(store, sku, *lane))
		return false;
	/* Who waited at the same lane before us may have made more: leave it to those behind us. */
	if (hf_lane_row_count(store, sku) > survey->lanes)
	{
		hf_lane_unlock(sku, *lane);
		return false;
	}
	return hf_lane_take_locked(store, hint, *lane, want, missed);
}

/* Takes what a lane has, up to `want`, if its lock can be had; adds it to *got. */
static void
hf_lane_gather_one(HfStore *store, int64 sku, int lane, int64 want, bool wait, int64 *got)
{
	HfLane now;
	int64 take, left;

	if (!hf_lane_lock(store, sku, lane, wait))
		return;
	take = hf_lane_row_find(store, sku, lane, &now) ? Min(now.available, want - *got) : 0;
	if (take > 0 && hf_lane_row_add(store, sku, lane, -take, false, &left) == HF_LANE_DONE)
		*got += take;
	else
		hf_lane_unlock(sku, lane);
}

/*
 * Gathers units from several lanes and from due holds; returns how many came together, which may
 * be fewer than wanted if others were quicker.  First from what nobody is using, then waiting for
 * those who are.  A surplus goes back.
 */
static int64
hf_lane_gather(HfStore *store, int64 sku, int64 want, int *lane)
{
	HfSurvey *survey = palloc(sizeof(HfSurvey));
	int64 got = 0;

	(void) hf_lane_lock(store, sku, HF_LANE_SET, true);
	*lane = hf_lane_lock_any(store, sku);
	hf_lane_survey(store, sku, survey);
	for (int wait = 0; wait <= 1; wait++)
	{
		int ended = 1;

		for (int i = 0; i < survey->lanes && got < want; i++)
			if (survey->lane[i].available > 0)
				hf_lane_gather_one(store, sku, survey->lane[i].lane, want, wait, &got);
		while (survey->due > 0 && got < want && ended > 0)
			got += hf_hold_expire(store, sku, PG_INT64_MAX, EXPIRE_MAX, wait, &ended);
	}
	pfree(survey);
	if (got > want)
		hf_lane_put(store, sku, *lane, got - want);
	return Min(got, want);
}

/*
 * Takes units of the SKU out of its lanes, and with them out of everybody's reach until this
 * transaction ends.  *units: on HF_TAKEN what was taken, which is fewer than wanted only with
 * HF_AS_MANY_AS_THERE_ARE; on HF_SHORT what there is.  *lane: a lane whose lock we have, for
 * hf_lane_put().  May wait for transactions that hold lanes.
 */
HfTake
hf_lane_take(HfStore *store, int64 sku, int64 want, HfAppetite appetite, int64 *units, int *lane)
{
	HfSurvey *survey;
	HfTake result;

	*units = want;
	if (hf_lane_take_home(store, sku, want, lane))
		return HF_TAKEN;

	survey = palloc(sizeof(HfSurvey));
	for (;;)
	{
		int64 there;

		CHECK_FOR_INTERRUPTS();
		hf_lane_survey(store, sku, survey);
		there = survey->in_lanes + survey->due;
		if (survey->lanes == 0)
		{
			result = HF_UNKNOWN_SKU;
			break;
		}
		*units = Min(want, there);
		if (there == 0 || (there < want && appetite == HF_ALL_OR_NONE))
		{
			*units = there;
			result = HF_SHORT;
			break;
		}
		result = HF_TAKEN;
		*lane = -1;
		if (hf_lane_take_single(store, survey, sku, *units, lane))
			break;
		if (*lane >= 0)
			continue; /* somebody was quicker: look again */
		there = hf_lane_gather(store, sku, *units, lane);
		if (there == *units || (there > 0 && appetite == HF_AS_MANY_AS_THERE_ARE))
		{
			*units = there;
			break;
		}
		if (there > 0)
			hf_lane_put(store, sku, *lane, there);
	}
	pfree(survey);
	return result;
}

/* Takes the lock of a lane that nobody is using, the session's own first; -1 if there is none. */
int
hf_lane_lock_free(HfStore *store, int64 sku)
{
	HfHint *hint = hf_lane_hint(store, sku, false);

	for (int probe = 0; probe < Min(hint->lanes, PROBES); probe++)
	{
		int lane = hf_lane_probe(hint, probe);

		if (hf_lane_lock(store, sku, lane, false))
			return lane;
	}
	return -1;
}

/* The same, waiting for lane 0, which is always there, if there is none. */
int
hf_lane_lock_any(HfStore *store, int64 sku)
{
	int lane = hf_lane_lock_free(store, sku);

	if (lane >= 0)
		return lane;
	(void) hf_lane_lock(store, sku, 0, true);
	return 0;
}

/* Puts units into a lane whose lock the caller has; into lane 0 if it has been merged away. */
static bool
hf_lane_add(HfStore *store, int64 sku, int lane, int64 units)
{
	int64 left;

	if (hf_lane_row_add(store, sku, lane, units, false, &left) == HF_LANE_DONE)
		return true;
	hf_lane_unlock(sku, lane);
	(void) hf_lane_lock(store, sku, 0, true);
	if (hf_lane_row_add(store, sku, 0, units, false, &left) == HF_LANE_DONE)
		return true;
	hf_lane_unlock(sku, 0);
	return false;
}

/* Puts units into a lane, preferably one that nobody is using. False if the SKU is unknown. */
bool
hf_lane_give(HfStore *store, int64 sku, int64 units)
{
	return hf_lane_add(store, sku, hf_lane_lock_any(store, sku), units);
}

/* Puts units back that came from the SKU, into a lane whose lock the caller has. */
void
hf_lane_put(HfStore *store, int64 sku, int lane, int64 units)
{
	if (!hf_lane_add(store, sku, lane, units))
		hf_raise_unknown_sku(sku);
}

/* Puts units into the SKU, making it known if it is not. */
void
hf_lane_receive(HfStore *store, int64 sku, int64 units)
{
	int64 left;

	if (hf_lane_give(store, sku, units))
		return;
	/* Two who make the same SKU known queue at its lane 0; the second finds it made. */
	(void) hf_lane_lock(store, sku, 0, true);
	if (hf_lane_row_add(store, sku, 0, units, false, &left) != HF_LANE_DONE)
		hf_lane_row_insert(store, sku, 0, units);
}

/* Units that can be held now, and the number of lanes. False if the SKU is unknown. Only reads. */
bool
hf_lane_total(HfStore *store, int64 sku, int64 *units, int *lanes)
{
	HfSurvey *survey = palloc(sizeof(HfSurvey));

	hf_lane_survey(store, sku, survey);
	*units = survey->in_lanes + survey->due;
	*lanes = survey->lanes;
	pfree(survey);
	return *lanes > 0;
}
