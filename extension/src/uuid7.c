/*
 * uuid7.c
 *		UUID version 7 (RFC 9562, section 5.7).
 *
 * 48 bits of Unix milliseconds, 12 bits of the fraction of the millisecond (section 6.2, method 3),
 * 62 random bits.  Within a backend the 60 bits of time never repeat and never go back, even when
 * the clock does; between backends order is that of the clock to 244 ns.  No sequence, no lock, no
 * shared memory.
 */
#include "postgres.h"

#include <time.h>

#include "fmgr.h"
#include "miscadmin.h"

#include "uuid7.h"

PG_FUNCTION_INFO_V1(holdfast_uuid7);

/* Random bytes are bought wholesale: one call of the generator serves 32 ids. */
static uint8 random_pool[32 * 8];
static Size random_used = sizeof(random_pool);
static uint64 last_time = 0;
static int pool_pid = 0;

/* Makes a new id; raises only when the system has no randomness to give. */
void
hf_uuid7_make(pg_uuid_t *uuid)
{
	struct timespec ts;
	uint64 time;

	clock_gettime(CLOCK_REALTIME, &ts);
	time = ((uint64) ts.tv_sec * 1000 + ts.tv_nsec / 1000000) << 12;
	time |= ((uint64) (ts.tv_nsec % 1000000) << 12) / 1000000;
	if (time <= last_time)
		time = last_time + 1;
	last_time = time;

	/* A forked child must not hand out its parent's bytes. */
	if (random_used == sizeof(random_pool) || pool_pid != MyProcPid)
	{
		if (!pg_strong_random(random_pool, sizeof(random_pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
		random_used = 0;
		pool_pid = MyProcPid;
	}

	for (int i = 0; i < 6; i++)
		uuid->data[i] = (uint8) (time >> (52 - 8 * i));
	uuid->data[6] = 0x70 | ((time >> 8) & 0x0F);
	uuid->data[7] = (uint8) time;
	memcpy(&uuid->data[8], &random_pool[random_used], 8);
	uuid->data[8] = 0x80 | (uuid->data[8] & 0x3F);
	random_used += 8;
}

Datum
holdfast_uuid7(PG_FUNCTION_ARGS)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	(void) fcinfo;
	hf_uuid7_make(uuid);
	PG_RETURN_UUID_P(uuid);
}
