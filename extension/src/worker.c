/*
 * worker.c
 *		What every background worker does: taking its slot, connecting, waiting, leaving.
 *
 * The launcher (launcher.c) has marked the slot; the worker's process id in it, and how it ended,
 * are the worker's to write, under the lock of the shared memory.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"

#include "shmem.h"
#include "worker.h"

#define HF_WORKER_RETRY (2 * USECS_PER_SEC)
#define LONG_LIFE		(60 * USECS_PER_SEC)

static int my_slot = -1;

/* A worker leaves its slot for the launcher to fill again. */
static void
hf_worker_at_exit(int code, Datum arg)
{
	HfWorkerSlot *slot = &hf_shared->slot[my_slot];

	(void) code;
	(void) arg;
	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	slot->pid = 0;
	if (slot->state == HF_WORKER_RUNNING)
	{
		TimestampTz now = GetCurrentTimestamp();

		slot->failures = now - slot->started_at > LONG_LIFE ? 0 : Min(slot->failures + 1, 5);
		slot->retry_at = Max(slot->retry_at, now + (HF_WORKER_RETRY << slot->failures) / 2);
		slot->state = HF_WORKER_GONE;
	}
	if (hf_shared->launcher)
		SetLatch(hf_shared->launcher);
	LWLockRelease(hf_shared->lock);
}

/*
 * What every worker does first: takes its slot, connects, and settles how its transactions run.
 * Tidying up need not be durable by itself: what a crash undoes is done again.
 */
void
hf_worker_begin(Datum slot)
{
	Oid database, role;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);

	my_slot = DatumGetInt32(slot);
	before_shmem_exit(hf_worker_at_exit, (Datum) 0);
	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	hf_shared->slot[my_slot].pid = MyProcPid;
	database = hf_shared->slot[my_slot].database;
	role = hf_shared->slot[my_slot].role;
	LWLockRelease(hf_shared->lock);

	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, role, 0);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "1s", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
}

/* To be called before looking whether there is work: who asks for it from now on is not missed. */
void
hf_worker_begin_looking(void)
{
	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	hf_shared->slot[my_slot].wanted = false;
	LWLockRelease(hf_shared->lock);
}

/* The database has no work for this kind of worker: says so in the slot, and exits. */
void
hf_worker_leave(void)
{
	HfWorkerSlot *slot = &hf_shared->slot[my_slot];

	LWLockAcquire(hf_shared->lock, LW_EXCLUSIVE);
	slot->state = slot->wanted ? HF_WORKER_WANTED : HF_WORKER_NOT_NEEDED;
	LWLockRelease(hf_shared->lock);
	proc_exit(0);
}

/* Leaves if the database does not have the extension. In a transaction. */
void
hf_worker_stay_if_needed(void)
{
	if (!OidIsValid(get_extension_oid("holdfast", true)))
		hf_worker_leave();
}

/* Takes up settings that were changed in the configuration files. */
void
hf_worker_take_settings(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/* Waits for time to pass, or for something to do. */
void
hf_worker_wait(int64 milliseconds)
{
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	hf_worker_take_settings();
}
