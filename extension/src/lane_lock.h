/*
 * lane_lock.h
 *		The advisory locks of lanes: a class of their own.
 *
 * A lane lock is an advisory lock whose fourth field is 16384 + lane.  pg_advisory_lock() and its
 * kin use 1 and 2 there, so a user's keys can never meet it, whatever they are; the SKU stands in
 * the tag whole, unhashed.  In pg_locks: locktype advisory, classid and objid the SKU's halves,
 * objsubid 16384 + lane.  They are transaction-level: commit, abort and rollback to a savepoint
 * free them, two-phase commit carries them over.
 */
#ifndef HF_LANE_LOCK_H
#define HF_LANE_LOCK_H

#include "storage/lock.h"

#include "row.h"

#define HF_LANE_LOCK_CLASS 0x4000
/* Stands for a SKU's set of lanes: held to add or merge lanes and to expire the SKU's holds. */
#define HF_LANE_SET 0x3FFF

extern bool hf_lane_lock(HfStore *store, int64 sku, int lane, bool wait);
extern bool hf_lane_wait_a_while(HfStore *store, int64 sku, int lane);
extern void hf_lane_unlock(int64 sku, int lane);
extern int hf_lane_waiters(int64 sku, int lane);

#endif
