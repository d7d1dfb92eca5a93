/*
 * launcher.c
 *		The launcher of background workers.
 *
 * One launcher per cluster, registered while the library is preloaded, starts workers in every
 * database that has the extension: a reaper, and where tables are watched a cache worker.  Like
 * the autovacuum launcher it is connected to no database and runs no SQL: it reads pg_database
 * and pg_authid.  Workers connect as holdfast.worker_role, and are not started if that role is a
 * superuser or does not exist.
 *
 * Life of a worker: the launcher finds a database it knows nothing of, claims a slot and starts a
 * worker there; the worker looks for the extension, and either stays or marks the slot "not
 * needed" and exits.  CREATE EXTENSION wakes the launcher at commit (holdfast_wake_workers),
 * which then looks again; databases copied from a template are found by looking again every
 * RESCAN.  A worker that exits for any other reason is started again after HF_WORKER_RETRY, and
 * later and later if it keeps failing, as long as its database exists.
 *
 * A cache worker is started where one is wanted: by watch() and other DDL when it has committed,
 * and by the reaper, which looks for triggers when it is started and every minute.
 *
 * On a standby nothing runs until it is promoted.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "shmem.h"
#include "worker.h"

#define RESCAN (60 * USECS_PER_SEC)

PG_FUNCTION_INFO_V1(holdfast_wake_workers);

static bool wake_at_commit = false;
static bool want_cache_at_commit = false;

/* The slot of the database's worker, or a free one, or NULL. The caller holds the lock. */
static HfWorkerSlot *
hf_launcher_find_slot(Oid database, HfWorkerKind kind)
{
	HfWorkerSlot *unused = NULL;

	for (int i = 0; i < HF_WORKERS_MAX; i++)
	{
		HfWorkerSlot *slot = &hf_shared->slot[i];

		if (slot->state == HF_WORKER_NONE)
			unused = unused == NULL ? slot : unused;
		else if (slot->database == database && slot->kind == kind)
			return slot;
	}
	return unused;
}

/*
 * Asks for a cache worker in this database, unless it has one; one that is about to leave is
 * started again. Only stores and a latch, so it cannot fail.
 */
void
hf_launcher_want_cache(void)
{
	HfWorkerSlot *slot;

	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	slot = hf_launcher_find_slot(MyDatabaseId, HF_WORKER_CACHE);
	if (slot != NULL)
	{
		slot->wanted = true;
		if (slot->state == HF_WORKER_NONE || slot->state == HF_WORKER_NOT_NEEDED)
		{
			slot->database = MyDatabaseId;
			slot->kind = HF_WORKER_CACHE;
			slot->failures = 0;
			slot->state = HF_WORKER_WANTED;
			if (hf_shared->launcher)
				SetLatch(hf_shared->launcher);
		}
	}
	LWLockRelease(hf_shared->lock);
}

/* Asks the launcher to look at all databases again; only stores and a latch, so it cannot fail. */
static void
hf_launcher_wake(void)
{
	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	hf_shared->rescan = true;
	if (hf_shared->launcher)
		SetLatch(hf_shared->launcher);
	LWLockRelease(hf_shared->lock);
}

/* Transaction callback, registered once per backend that has asked for it. */
static void
hf_worker_at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_COMMIT && wake_at_commit)
		hf_launcher_wake();
	if (event == XACT_EVENT_COMMIT && want_cache_at_commit)
		hf_launcher_want_cache();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		wake_at_commit = want_cache_at_commit = false;
}

static void
hf_worker_ask_at_commit(bool *what)
{
	static bool registered = false;

	if (!hf_shared)
		return;
	if (!registered)
		RegisterXactCallback(hf_worker_at_transaction_end, NULL);
	registered = true;
	*what = true;
}

/* Has a cache worker started in this database once the transaction has committed. */
void
hf_launcher_want_cache_at_commit(void)
{
	hf_worker_ask_at_commit(&want_cache_at_commit);
}

Datum
holdfast_wake_workers(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	hf_worker_ask_at_commit(&wake_at_commit);
	PG_RETURN_VOID();
}

/* Called by _PG_init while libraries are preloaded. */
void
hf_worker_register(void)
{
	BackgroundWorker worker = {.bgw_flags =
								   BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
							   .bgw_start_time = BgWorkerStart_RecoveryFinished,
							   .bgw_restart_time = 5};

	strlcpy(worker.bgw_name, "holdfast launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "holdfast launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "holdfast", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "hf_launcher_main", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/*
 * The role that workers connect as, or InvalidOid. Before the extension is created anywhere the
 * role is missing, and that is well. In a transaction.
 */
static Oid
hf_launcher_role(void)
{
	static bool warned = false;
	Oid role = get_role_oid(hf_worker_role, true);

	if (!OidIsValid(role) || !superuser_arg(role))
		return role;
	if (!warned)
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_ROLE_SPECIFICATION),
				 errmsg("holdfast workers do not run as a superuser"),
				 errdetail("Role \"%s\" is one.", hf_worker_role),
				 errhint("Change the setting holdfast.worker_role.")));
	warned = true;
	return InvalidOid;
}

/* Databases that the role can connect to. The others are named once in the log. */
static List *
hf_launcher_databases(Oid role)
{
	static bool told = false;
	List *databases = NIL;
	Relation rel = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (!database->datallowconn)
			continue;
		if (pg_database_aclcheck(database->oid, role, ACL_CONNECT) == ACLCHECK_OK)
			databases = lappend_oid(databases, database->oid);
		else if (!told)
			ereport(LOG,
					(errmsg("holdfast workers cannot connect to database \"%s\"",
							NameStr(database->datname)),
					 errhint("If it has the extension, grant CONNECT on it to role \"%s\".",
							 hf_worker_role)));
	}
	told = true;
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return databases;
}

/* What each kind of worker is called, and where it begins. */
static const struct
{
	const char *type;
	const char *function;
} kinds[] = {
	[HF_WORKER_REAPER] = {"holdfast reaper", "hf_reaper_main"},
	[HF_WORKER_CACHE] = {"holdfast cache", "hf_cache_main"},
};

/*
 * Starts the worker of a slot that is marked running; if there is no room, it is to be tried
 * again.
 */
static bool
hf_launcher_start(int index)
{
	static bool warned = false;
	HfWorkerSlot *slot = &hf_shared->slot[index];
	BackgroundWorker worker = {.bgw_flags =
								   BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
							   .bgw_start_time = BgWorkerStart_RecoveryFinished,
							   .bgw_restart_time = BGW_NEVER_RESTART,
							   .bgw_main_arg = Int32GetDatum(index),
							   .bgw_notify_pid = MyProcPid};

	snprintf(worker.bgw_name, BGW_MAXLEN, "%s of database %u", kinds[slot->kind].type,
			 slot->database);
	strlcpy(worker.bgw_type, kinds[slot->kind].type, BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "holdfast", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, kinds[slot->kind].function, BGW_MAXLEN);
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;

	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	slot->state = HF_WORKER_GONE;
	slot->retry_at = GetCurrentTimestamp() + HF_WORKER_RETRY;
	LWLockRelease(hf_shared->lock);
	if (!warned)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no room for a holdfast worker"),
				 errhint("Increase max_worker_processes.")));
	warned = true;
	return false;
}

/* Forgets databases that are gone, and workers that never came to life. */
static void
hf_launcher_clean_slots(List *databases)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < HF_WORKERS_MAX; i++)
	{
		HfWorkerSlot *slot = &hf_shared->slot[i];

		if (slot->state == HF_WORKER_RUNNING && slot->pid == 0 && now - slot->started_at > RESCAN)
			slot->state = HF_WORKER_GONE;
		if (slot->state != HF_WORKER_RUNNING && !list_member_oid(databases, slot->database))
			slot->state = HF_WORKER_NONE;
	}
	LWLockRelease(hf_shared->lock);
}

/* Is a worker to be started that was not there before? The caller holds the lock. */
static bool
hf_launcher_is_new(const HfWorkerSlot *slot, HfWorkerKind kind, bool rescan)
{
	if (kind == HF_WORKER_CACHE)
		return slot->state == HF_WORKER_WANTED;
	return slot->state == HF_WORKER_NONE || (slot->state == HF_WORKER_NOT_NEEDED && rescan);
}

/*
 * Marks the slot of a database as running if a worker is to be started there now, and returns its
 * number, or -1.  `known`: those whose worker has gone; else new ones: reapers where nothing is
 * known of the database, and, with `rescan`, where none was needed when we last looked; cache
 * workers where one is wanted.
 */
static int
hf_launcher_claim(Oid database, HfWorkerKind kind, Oid role, bool known, bool rescan)
{
	TimestampTz now = GetCurrentTimestamp();
	HfWorkerSlot *slot;
	int index = -1;

	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	slot = hf_launcher_find_slot(database, kind);
	if (slot != NULL &&
		(known ? slot->state == HF_WORKER_GONE && slot->retry_at <= now
			   : hf_launcher_is_new(slot, kind, rescan)))
	{
		if (slot->state == HF_WORKER_NONE)
			slot->failures = 0;
		slot->database = database;
		slot->kind = kind;
		slot->role = role;
		slot->pid = 0;
		slot->started_at = slot->retry_at = now;
		slot->state = HF_WORKER_RUNNING;
		index = slot - hf_shared->slot;
	}
	LWLockRelease(hf_shared->lock);
	return index;
}

/*
 * Starts the workers that are missing, first those that have run before. Ends where there is no
 * more room.
 */
static void
hf_launcher_round(bool rescan)
{
	bool room = true;
	Oid role;
	List *databases;
	ListCell *lc;

	/* Whoever has woken us has committed, but may not yet have told that our caches are old. */
	InvalidateSystemCaches();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	role = hf_launcher_role();
	databases = OidIsValid(role) ? hf_launcher_databases(role) : NIL;
	hf_launcher_clean_slots(databases);
	for (int known = 1; known >= 0; known--)
		foreach(lc, databases)
			for (int kind = 0; kind < HF_WORKER_KINDS && room; kind++)
			{
				int index = hf_launcher_claim(lfirst_oid(lc), kind, role, known, rescan);

				room = index < 0 || hf_launcher_start(index);
			}
	CommitTransactionCommand();
}

/* Are there workers to be started again? */
static bool
hf_launcher_has_more(void)
{
	bool more = false;

	LWLockAcquire(hf_shared->lock, LW_SHARED);
	for (int i = 0; i < HF_WORKERS_MAX; i++)
		more = more || hf_shared->slot[i].state == HF_WORKER_GONE;
	LWLockRelease(hf_shared->lock);
	return more;
}

static void
hf_launcher_at_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	hf_shared->launcher = NULL;
	LWLockRelease(hf_shared->lock);
}

/* The launcher's main function. */
void
hf_launcher_main(Datum arg)
{
	TimestampTz last_scan = 0;

	(void) arg;
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	/* Before connecting: so it runs after an aborted transaction has let go of our lock. */
	before_shmem_exit(hf_launcher_at_exit, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	hf_shared->launcher = MyLatch;
	LWLockRelease(hf_shared->lock);

	for (;;)
	{
		bool rescan;

		LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
		rescan = hf_shared->rescan || GetCurrentTimestamp() - last_scan > RESCAN;
		hf_shared->rescan = false;
		LWLockRelease(hf_shared->lock);
		if (rescan)
			last_scan = GetCurrentTimestamp();
		hf_launcher_round(rescan);
		hf_worker_wait((hf_launcher_has_more() ? HF_WORKER_RETRY : RESCAN) / 1000);
	}
}
