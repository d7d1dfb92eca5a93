/*
 * cache_utility.c
 *		What commands mean for the cache that neither triggers nor event triggers can tell.
 *
 * COMMIT PREPARED makes keys visible that the worker looks for only now and then.  ALTER TABLE …
 * DETACH PARTITION CONCURRENTLY lets rows go in a transaction of its own, long before it ends.
 * And event triggers do not say whether ALTER TABLE attaches or detaches a partition
 * (cache_watch.c).
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "tcop/utility.h"

#include "cache_ring.h"
#include "cache_utility.h"
#include "cache_xact.h"

HfPartitionChange hf_cache_partition_change = HF_PARTITIONS_STAY;

static ProcessUtility_hook_type next_utility_hook = NULL;

/* Looks through the commands of an ALTER TABLE. */
static HfPartitionChange
hf_cache_look_at_partitions(Node *statement)
{
	HfPartitionChange change = HF_PARTITIONS_STAY;
	ListCell *lc;

	if (!IsA(statement, AlterTableStmt))
		return change;
	foreach(lc, ((AlterTableStmt *) statement)->cmds)
	{
		AlterTableCmd *command = lfirst(lc);

		if (command->subtype == AT_AttachPartition)
			change = HF_PARTITION_COMES;
		if (command->subtype == AT_DetachPartition ||
			command->subtype == AT_DetachPartitionFinalize)
			change = HF_PARTITION_GOES;
		if (command->subtype == AT_DetachPartition && ((PartitionCmd *) command->def)->concurrent)
			hf_cache_add_everything("DETACH PARTITION CONCURRENTLY");
	}
	return change;
}

/* Wakes the worker to look for keys in the table. */
static void
hf_cache_wake_for_prepared(void)
{
	HfCacheDatabase *db = hf_cache_ring_database(false);

	if (db == NULL)
		return;
	pg_atomic_write_u32(&db->prepared, 1);
	hf_cache_ring_wake(db);
}

static bool
hf_cache_is_commit_prepared(Node *statement)
{
	return IsA(statement, TransactionStmt) &&
		((TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

static void
hf_cache_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
				 DestReceiver *dest, QueryCompletion *completion)
{
	HfPartitionChange outer = hf_cache_partition_change;

	hf_cache_partition_change = hf_cache_look_at_partitions(statement->utilityStmt);
	PG_TRY();
	{
		if (next_utility_hook)
			next_utility_hook(statement, query, read_only_tree, context, params, environment, dest,
							  completion);
		else
			standard_ProcessUtility(statement, query, read_only_tree, context, params, environment,
									dest, completion);
	}
	PG_FINALLY();
	{
		hf_cache_partition_change = outer;
	}
	PG_END_TRY();
	if (hf_cache_is_commit_prepared(statement->utilityStmt))
		hf_cache_wake_for_prepared();
}

/* Called while libraries are preloaded. */
void
hf_cache_utility_register(void)
{
	next_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = hf_cache_utility;
}
