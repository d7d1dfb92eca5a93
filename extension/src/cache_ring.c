/*
 * cache_ring.c
 *		The ring of cache keys between backends and the cache worker, in shared memory.
 *
 * A transaction's keys travel as one entry: a chain of blocks.  Before its commit record the
 * backend takes blocks and fills them, which may still fail harmlessly; once the change is
 * visible it puts the entry on its database's stack by a compare-and-swap, which cannot fail;
 * after an abort it gives the blocks back.  So an entry that nobody has committed is on no list,
 * and one that is waiting for a standby stands in nobody's way.
 *
 * The worker takes the whole stack at once, turns it round, and keeps what it has taken in shared
 * memory until Redis has it: should it die, the next one goes on.
 *
 * Where there is no room, or keys are too many, the commit is counted as lost, and the worker
 * abandons the whole cache (raises the generation) before it does anything else.
 *
 * Locks: the ring's lock protects the list of free blocks, the slots and the reports.  The stacks
 * and counters are atomic.  An entry belongs to the backend that has reserved it, then to the
 * worker; its blocks are touched by no one else.  If the server is killed, all of this is gone,
 * and the worker's first act is to abandon the cache.
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "cache_ring.h"
#include "guc.h"

#define BLOCK_SIZE 256

/* What the first block of an entry begins with. */
typedef struct HfCacheEntry
{
	uint32 next;   /* as in every block */
	uint32 link;   /* on the stack: the entry below; taken: the one that comes after */
	uint32 length; /* bytes of keys */
	uint32 nkeys;
	TimestampTz ready_at;
} HfCacheEntry;

/* Numbers of blocks begin with 1; 0 is none. */
typedef union HfCacheBlock
{
	struct
	{
		uint32 next; /* the block that continues it */
		char data[BLOCK_SIZE - sizeof(uint32)];
	};
	HfCacheEntry entry;
} HfCacheBlock;

#define FIRST_ROOM (BLOCK_SIZE - sizeof(HfCacheEntry))
#define NEXT_ROOM  (BLOCK_SIZE - sizeof(uint32))

typedef struct HfCacheRing
{
	uint32 nblocks;
	uint32 free; /* ring lock */
	HfCacheDatabase database[HF_CACHE_DATABASES];
	HfCacheBlock block[FLEXIBLE_ARRAY_MEMBER];
} HfCacheRing;

LWLock *hf_cache_ring_lock = NULL;

static HfCacheRing *ring = NULL;
static HfCacheDatabase *my_database = NULL;
static uint32 reserved = 0; /* entry of the current transaction */

static HfCacheBlock *
hf_cache_ring_block(uint32 number)
{
	Assert(number > 0 && number <= ring->nblocks);
	return &ring->block[number - 1];
}

static HfCacheEntry *
hf_cache_ring_entry(uint32 number)
{
	return &hf_cache_ring_block(number)->entry;
}

static uint32
hf_cache_ring_blocks(void)
{
	return (uint32) ((Size) hf_cache_ring_kb * 1024 / BLOCK_SIZE);
}

/* Bytes of shared memory that the ring takes. */
Size
hf_cache_ring_size(void)
{
	return add_size(offsetof(HfCacheRing, block), mul_size(hf_cache_ring_blocks(), BLOCK_SIZE));
}

static void
hf_cache_ring_init_database(HfCacheDatabase *db)
{
	memset(db, 0, sizeof(HfCacheDatabase));
	pg_atomic_init_u32(&db->ready, 0);
	pg_atomic_init_u64(&db->ready_keys, 0);
	pg_atomic_init_u32(&db->abandon, 0);
	pg_atomic_init_u32(&db->asleep, 0);
	pg_atomic_init_u32(&db->recheck, 0);
	pg_atomic_init_u32(&db->prepared, 0);
	pg_atomic_init_u64(&db->round_begun, 0);
	pg_atomic_init_u64(&db->round_done, 0);
	pg_atomic_init_u64(&db->round_wanted, 0);
	ConditionVariableInit(&db->round_end);
}

/* Called while shared memory is set up; `found`: by another process before. */
void
hf_cache_ring_attach(void *memory, bool found, LWLock *lock)
{
	ring = memory;
	hf_cache_ring_lock = lock;
	if (found)
		return;
	ring->nblocks = hf_cache_ring_blocks();
	for (uint32 i = 1; i <= ring->nblocks; i++)
		hf_cache_ring_block(i)->next = i < ring->nblocks ? i + 1 : 0;
	ring->free = 1;
	for (int i = 0; i < HF_CACHE_DATABASES; i++)
		hf_cache_ring_init_database(&ring->database[i]);
}

/* Frees an entry. The caller holds the lock. */
static void
hf_cache_ring_free_entry(HfCacheDatabase *db, uint32 entry)
{
	uint32 last = entry;
	uint32 count = 1;

	while (hf_cache_ring_block(last)->next != 0)
	{
		last = hf_cache_ring_block(last)->next;
		count++;
	}
	hf_cache_ring_block(last)->next = ring->free;
	ring->free = entry;
	db->used -= count;
}

/* Frees up to `entries` of a list, and returns how many there were. The caller holds the lock. */
static int
hf_cache_ring_free_list(HfCacheDatabase *db, uint32 *list, int entries)
{
	int count = 0;

	for (; *list != 0 && count < entries; count++)
	{
		uint32 entry = *list;

		*list = hf_cache_ring_entry(entry)->link;
		pg_atomic_fetch_sub_u64(&db->ready_keys, hf_cache_ring_entry(entry)->nkeys);
		hf_cache_ring_free_entry(db, entry);
	}
	return count;
}

/* Moves what is ready behind what was taken before, oldest first. The caller holds the lock. */
static void
hf_cache_ring_take_locked(HfCacheDatabase *db)
{
	uint32 entry = pg_atomic_exchange_u32(&db->ready, 0);
	uint32 oldest = 0;
	uint32 newest = entry;

	while (entry != 0)
	{
		uint32 below = hf_cache_ring_entry(entry)->link;

		hf_cache_ring_entry(entry)->link = oldest;
		oldest = entry;
		entry = below;
	}
	if (oldest == 0)
		return;
	if (db->taken_first == 0)
		db->taken_first = oldest;
	else
		hf_cache_ring_entry(db->taken_last)->link = oldest;
	db->taken_last = newest;
}

/*
 * A slot whose database has been dropped, emptied, or NULL. Nobody can be connected to such a
 * database, so its entries are nobody's. The caller holds the lock, and is in a transaction.
 */
static HfCacheDatabase *
hf_cache_ring_reclaim(void)
{
	for (int i = 0; i < HF_CACHE_DATABASES; i++)
	{
		HfCacheDatabase *db = &ring->database[i];

		if (db->latch != NULL || SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(db->database)))
			continue;
		hf_cache_ring_take_locked(db);
		(void) hf_cache_ring_free_list(db, &db->taken_first, PG_INT32_MAX);
		hf_cache_ring_init_database(db);
		return db;
	}
	return NULL;
}

/*
 * The slot of this backend's database. NULL without shared memory, or if there is none and none
 * is to be made, or all are taken: then the database has no worker either, and no reader trusts
 * the cache. Making one needs a transaction.
 */
HfCacheDatabase *
hf_cache_ring_database(bool make)
{
	HfCacheDatabase *unused = NULL;

	if (my_database != NULL || ring == NULL)
		return my_database;
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	for (int i = 0; i < HF_CACHE_DATABASES && my_database == NULL; i++)
	{
		if (ring->database[i].database == MyDatabaseId)
			my_database = &ring->database[i];
		else if (ring->database[i].database == InvalidOid && unused == NULL)
			unused = &ring->database[i];
	}
	if (my_database == NULL && make)
	{
		my_database = unused != NULL ? unused : hf_cache_ring_reclaim();
		if (my_database != NULL)
			my_database->database = MyDatabaseId;
	}
	LWLockRelease(hf_cache_ring_lock);
	return my_database;
}

/* The most bytes of keys that one transaction hands over; more than that is "everything". */
Size
hf_cache_ring_largest(void)
{
	return ring == NULL ? 0 : (Size) ring->nblocks / 4 * NEXT_ROOM;
}

/* The caller holds the lock. */
static void
hf_cache_ring_note_abandon(HfCacheDatabase *db, const char *reason)
{
	if (pg_atomic_fetch_add_u32(&db->abandon, 1) == 0)
		strlcpy(db->abandon_reason, reason, HF_CACHE_REASON_MAX);
}

/* Takes `count` chained blocks, or returns 0. The caller holds the lock. */
static uint32
hf_cache_ring_get(HfCacheDatabase *db, uint32 count)
{
	uint32 first = ring->free;
	uint32 last = first;

	/* One database leaves a quarter to the others. */
	if (db->used + count > ring->nblocks - ring->nblocks / 4)
		return 0;
	for (uint32 i = 1; last != 0 && i < count; i++)
		last = hf_cache_ring_block(last)->next;
	if (last == 0)
		return 0;
	ring->free = hf_cache_ring_block(last)->next;
	hf_cache_ring_block(last)->next = 0;
	db->used += count;
	return first;
}

/* Writes the keys into the blocks of an entry. */
static void
hf_cache_ring_fill(uint32 entry, const char *keys, Size length, int nkeys)
{
	HfCacheEntry *head = hf_cache_ring_entry(entry);
	Size part = Min(length, FIRST_ROOM);

	head->link = 0;
	head->length = length;
	head->nkeys = nkeys;
	memcpy((char *) head + sizeof(HfCacheEntry), keys, part);
	for (uint32 block = head->next; block != 0; block = hf_cache_ring_block(block)->next)
	{
		keys += part;
		length -= part;
		part = Min(length, NEXT_ROOM);
		memcpy(hf_cache_ring_block(block)->data, keys, part);
	}
}

/*
 * Reserves an entry for the current transaction's keys; false if there is no room.  Entries that
 * nobody collects (the worker is missing, or Redis is) make room for the new: what they said is
 * said by a generation that is to be raised.
 */
bool
hf_cache_ring_reserve(const char *keys, Size length, int nkeys)
{
	HfCacheDatabase *db = my_database;
	uint32 count = length <= FIRST_ROOM ? 1 : 1 + (length - FIRST_ROOM + NEXT_ROOM - 1) / NEXT_ROOM;
	uint32 ready;

	Assert(reserved == 0);
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	reserved = hf_cache_ring_get(db, count);
	if (reserved == 0 && pg_atomic_read_u32(&db->ready) != 0)
	{
		hf_cache_ring_note_abandon(db, HF_CACHE_RING_FULL);
		ready = pg_atomic_exchange_u32(&db->ready, 0);
		db->report.lost += hf_cache_ring_free_list(db, &ready, PG_INT32_MAX);
		reserved = hf_cache_ring_get(db, count);
	}
	LWLockRelease(hf_cache_ring_lock);
	if (reserved == 0)
		return false;
	hf_cache_ring_fill(reserved, keys, length, nkeys);
	return true;
}

/* Hands the reserved entry over: the change is visible. Cannot fail. */
void
hf_cache_ring_ready(TimestampTz now)
{
	HfCacheDatabase *db = my_database;
	HfCacheEntry *entry;
	uint32 top;

	if (reserved == 0)
		return;
	entry = hf_cache_ring_entry(reserved);
	entry->ready_at = now;
	pg_atomic_fetch_add_u64(&db->ready_keys, entry->nkeys);
	top = pg_atomic_read_u32(&db->ready);
	/* Once it is on the stack, the entry is the worker's: `top` must not be a field of it. */
	do
		entry->link = top;
	while (!pg_atomic_compare_exchange_u32(&db->ready, &top, reserved));
	reserved = 0;
	if (pg_atomic_read_u32(&db->asleep) != 0)
		hf_cache_ring_wake(db);
}

/* Gives the reserved entry back: the transaction has rolled back. */
void
hf_cache_ring_drop(void)
{
	if (reserved == 0)
		return;
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	hf_cache_ring_free_entry(my_database, reserved);
	reserved = 0;
	LWLockRelease(hf_cache_ring_lock);
}

/*
 * Has the whole cache abandoned: the change is visible, and its keys are not handed over; `lost`:
 * though they should have been. Cannot fail.
 */
void
hf_cache_ring_abandon(const char *reason, bool lost)
{
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	hf_cache_ring_note_abandon(my_database, reason);
	my_database->report.lost += lost ? 1 : 0;
	LWLockRelease(hf_cache_ring_lock);
	hf_cache_ring_wake(my_database);
}

/* Wakes the worker, if there is one. */
void
hf_cache_ring_wake(HfCacheDatabase *db)
{
	LWLockAcquire(hf_cache_ring_lock, LW_SHARED);
	pg_atomic_write_u32(&db->asleep, 0);
	if (db->latch != NULL)
		SetLatch(db->latch);
	LWLockRelease(hf_cache_ring_lock);
}

/* Worker: takes what is ready, behind what it has taken before. */
void
hf_cache_ring_take(HfCacheDatabase *db)
{
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	hf_cache_ring_take_locked(db);
	LWLockRelease(hf_cache_ring_lock);
}

/*
 * Worker: appends the keys of the entry that comes after *entry (0: the oldest of those taken) to
 * keys, and moves *entry on to it; false if there is none.
 */
bool
hf_cache_ring_read(HfCacheDatabase *db, uint32 *entry, StringInfo keys, int *nkeys,
				   TimestampTz *ready_at)
{
	HfCacheEntry *head;
	Size left;

	*entry = *entry == 0 ? db->taken_first : hf_cache_ring_entry(*entry)->link;
	if (*entry == 0)
		return false;
	head = hf_cache_ring_entry(*entry);
	*nkeys = head->nkeys;
	*ready_at = head->ready_at;
	left = head->length;
	appendBinaryStringInfo(keys, (char *) head + sizeof(HfCacheEntry), Min(left, FIRST_ROOM));
	left -= Min(left, FIRST_ROOM);
	for (uint32 block = head->next; block != 0; block = hf_cache_ring_block(block)->next)
	{
		appendBinaryStringInfo(keys, hf_cache_ring_block(block)->data, Min(left, NEXT_ROOM));
		left -= Min(left, NEXT_ROOM);
	}
	return true;
}

/* Worker: frees so many of the entries it has taken, oldest first. */
void
hf_cache_ring_free(HfCacheDatabase *db, int entries)
{
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	(void) hf_cache_ring_free_list(db, &db->taken_first, entries);
	LWLockRelease(hf_cache_ring_lock);
}

/* Worker: throws away all that is ready or taken; the generation is about to be raised. */
void
hf_cache_ring_empty(HfCacheDatabase *db)
{
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	hf_cache_ring_take_locked(db);
	(void) hf_cache_ring_free_list(db, &db->taken_first, PG_INT32_MAX);
	LWLockRelease(hf_cache_ring_lock);
}

static void
hf_cache_ring_unserve(int code, Datum arg)
{
	HfCacheDatabase *db = (HfCacheDatabase *) DatumGetPointer(arg);

	(void) code;
	/* An error may have left the ring's lock with us. */
	LWLockReleaseAll();
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	db->latch = NULL;
	db->report.connected = false;
	LWLockRelease(hf_cache_ring_lock);
}

/* Worker: is from now on the one that is woken, until it exits. */
void
hf_cache_ring_serve(HfCacheDatabase *db)
{
	before_shmem_exit(hf_cache_ring_unserve, PointerGetDatum(db));
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	db->latch = MyLatch;
	LWLockRelease(hf_cache_ring_lock);
}

/*
 * What the worker reports, and when the oldest transaction committed whose keys it does not have.
 */
void
hf_cache_ring_report(HfCacheDatabase *db, HfCacheReport *report, TimestampTz *oldest)
{
	LWLockAcquire(hf_cache_ring_lock, LW_EXCLUSIVE);
	*report = db->report;
	*oldest = db->taken_first != 0 ? hf_cache_ring_entry(db->taken_first)->ready_at : 0;
	/* Nobody takes from the stack without the lock; what comes on top of it does not matter. */
	if (*oldest == 0)
		for (uint32 entry = pg_atomic_read_u32(&db->ready); entry != 0;
			 entry = hf_cache_ring_entry(entry)->link)
			*oldest = hf_cache_ring_entry(entry)->ready_at;
	LWLockRelease(hf_cache_ring_lock);
}

/* The part of the ring that is in use, 0 to 1. */
double
hf_cache_ring_fullness(void)
{
	uint64 used = 0;

	if (ring == NULL)
		return 0;
	LWLockAcquire(hf_cache_ring_lock, LW_SHARED);
	for (int i = 0; i < HF_CACHE_DATABASES; i++)
		used += ring->database[i].used;
	LWLockRelease(hf_cache_ring_lock);
	return (double) used / ring->nblocks;
}
