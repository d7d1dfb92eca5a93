/*
 * new_id.c
 *		Ids for things: 63 bits, ordered by time, made without a sequence.
 *
 * 41 bits of milliseconds since 2020-01-01 UTC (until 2089), 10 bits of the node (holdfast.node),
 * 12 bits of a counter.  The last id of the cluster is in shared memory and is moved on by
 * compare-and-swap, so an id is never made twice by a running server, however its clock is set, and
 * ids of a node are in the order of their making.  After a restart they follow from the clock: a
 * primary key is what guards against a clock that was set back meanwhile.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "guc.h"
#include "shmem.h"

#define EPOCH_2020	 (((int64) 7305) * USECS_PER_DAY) /* since 2000-01-01 */
#define NODE_BITS	 10
#define COUNTER_BITS 12

PG_FUNCTION_INFO_V1(holdfast_new_id);

StaticAssertDecl((1 << NODE_BITS) - 1 == HF_NODE_MAX, "a node must fit its bits");

Datum
holdfast_new_id(PG_FUNCTION_ARGS)
{
	uint64 last;
	uint64 next;

	(void) fcinfo;
	if (hf_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("new_id() needs shared memory"),
				 errhint("Add holdfast to shared_preload_libraries and restart.")));

	last = pg_atomic_read_u64(&hf_shared->last_id);
	do
	{
		next = (uint64) ((GetCurrentTimestamp() - EPOCH_2020) / 1000) << COUNTER_BITS;
		if (next <= last)
			next = last + 1;
	} while (!pg_atomic_compare_exchange_u64(&hf_shared->last_id, &last, next));

	PG_RETURN_INT64((int64) ((next >> COUNTER_BITS << (NODE_BITS + COUNTER_BITS)) |
							 (uint64) hf_node << COUNTER_BITS |
							 (next & ((1 << COUNTER_BITS) - 1))));
}
