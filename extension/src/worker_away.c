/*
 * worker_away.c
 *		Sends workers away from a database that a command needs for itself.
 *
 * DROP DATABASE, renaming, moving and CREATE DATABASE from a template wait for others to leave, and
 * give up after five seconds: so the database's workers leave first, for as long as AWAY, and such
 * commands need no FORCE.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "shmem.h"
#include "worker.h"

#define AWAY (10 * USECS_PER_SEC)

static ProcessUtility_hook_type next_utility_hook = NULL;

/* Sends the workers of a database away for a while. */
static void
hf_worker_send_away(Oid database)
{
	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < HF_WORKERS_MAX; i++)
	{
		HfWorkerSlot *slot = &hf_shared->slot[i];

		if (slot->state != HF_WORKER_RUNNING || slot->database != database)
			continue;
		slot->retry_at = GetCurrentTimestamp() + AWAY;
		if (slot->pid != 0)
			kill(slot->pid, SIGTERM);
	}
	LWLockRelease(hf_shared->lock);
}

/* The database that a command needs for itself, or NULL. */
static const char *
hf_utility_database(Node *command)
{
	ListCell *lc;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) command)->dbname;
		case T_RenameStmt:
			return ((RenameStmt *) command)->renameType == OBJECT_DATABASE
				? ((RenameStmt *) command)->subname
				: NULL;
		case T_AlterDatabaseStmt:
			foreach(lc, ((AlterDatabaseStmt *) command)->options)
				if (strcmp(((DefElem *) lfirst(lc))->defname, "tablespace") == 0)
					return ((AlterDatabaseStmt *) command)->dbname;
			return NULL;
		case T_CreatedbStmt:
			foreach(lc, ((CreatedbStmt *) command)->options)
				if (strcmp(((DefElem *) lfirst(lc))->defname, "template") == 0 &&
					((DefElem *) lfirst(lc))->arg != NULL)
					return defGetString((DefElem *) lfirst(lc));
			return "template1";
		default:
			return NULL;
	}
}

/* Not every minor version of PostgreSQL lends us its own function for it. */
static bool
hf_may_create_databases(Oid role)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool may = superuser_arg(role) ||
		(HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb);

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

static void
hf_worker_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				  ProcessUtilityContext context, ParamListInfo params,
				  QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	const char *name = hf_shared ? hf_utility_database(statement->utilityStmt) : NULL;
	Oid database = name ? get_database_oid(name, true) : InvalidOid;

	/* Only for those whose command has a chance; the command itself does the checking. */
	if (OidIsValid(database) &&
		(pg_database_ownercheck(database, GetUserId()) || hf_may_create_databases(GetUserId())))
		hf_worker_send_away(database);
	if (next_utility_hook)
		next_utility_hook(statement, query, read_only_tree, context, params, environment, dest,
						  completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params, environment,
								dest, completion);
}

/* Called while libraries are preloaded. */
void
hf_worker_away_register(void)
{
	next_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = hf_worker_utility;
}
