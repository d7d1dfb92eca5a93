/*
 * init.c
 *		Loading the library: the table of contents of what it hooks into.
 *
 * Preloaded, it also has shared memory and a launcher of background workers; loaded by the first
 * call of a function, everything transactional works all the same.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "cache_utility.h"
#include "guc.h"
#include "row.h"
#include "shmem.h"
#include "worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	hf_guc_register();
	hf_row_register();
	if (process_shared_preload_libraries_in_progress)
	{
		hf_shmem_register();
		hf_worker_register();
		hf_worker_away_register();
		hf_cache_utility_register();
	}
}
