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

#include "guc.h"
#include "row.h"
#include "shmem.h"
#include "worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	bool		preloading = process_shared_preload_libraries_in_progress;

	hf_guc_register(preloading);
	hf_row_register();
	if (preloading)
	{
		hf_shmem_register();
		hf_worker_register();
	}
}
