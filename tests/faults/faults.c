/*
 * faults.c
 *		A library to be loaded before all others (LD_PRELOAD) that lets one thing fail.
 *
 * The file that HF_FAULTS names is mapped by every process; a test writes into it what is to fail,
 * in which process, and how many such things are done before.  A fault happens once.  While the
 * file names no process the library does nothing but pass calls on.  Only the process that is named
 * counts, so there are no locks; a test writes its id last.
 *
 * This file has the switch and the system's allocator; hiredis.c and palloc.c have the rest.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"

#define FRAMES 16

/* The file. */
typedef struct Control
{
	int32_t process; /* 0: nothing fails */
	int32_t kind;
	int32_t countdown; /* 1: the next one fails */
	int32_t fired;
	char where[1024]; /* the callers of the one that failed */
} Control;

static Control *control = NULL;

bool fault_in_hiredis = false;

/* What the C library calls its own. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

__attribute__((constructor)) static void
fault_begin(void)
{
	const char *name = getenv("HF_FAULTS");
	int file = name != NULL ? open(name, O_RDWR | O_CLOEXEC) : -1;
	void *memory, *frames[FRAMES];

	if (file < 0)
		return;
	memory = mmap(NULL, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	/* The first call asks for memory; later ones do not. */
	(void) backtrace(frames, FRAMES);
	if (memory == MAP_FAILED)
		return;
	control = memory;
	palloc_look();
}

bool
fault_is_armed(Fault kind)
{
	return control != NULL && control->process != 0 && control->kind == (int32_t) kind &&
		control->process == getpid();
}

/* Writes down who has called: a file and a place in it for each, for addr2line. */
static void
fault_note(void)
{
	void *frames[FRAMES];
	int count = backtrace(frames, FRAMES);
	size_t used = 0;

	for (int i = 2; i < count; i++)
	{
		Dl_info info;

		if (dladdr(frames[i], &info) == 0 || used >= sizeof(control->where))
			continue;
		used += snprintf(control->where + used, sizeof(control->where) - used, "%s+%#tx ",
						 strrchr(info.dli_fname, '/') ? strrchr(info.dli_fname, '/') + 1
													  : info.dli_fname,
						 (char *) frames[i] - (char *) info.dli_fbase - 1);
	}
}

bool
fault_hits(Fault kind)
{
	if (!fault_is_armed(kind) || --control->countdown != 0)
		return false;
	fault_note();
	control->fired++;
	return true;
}

/* Memory is asked for: is there to be none? */
static bool
fault_hits_memory(void)
{
	palloc_begin();
	if (!fault_hits(fault_in_hiredis ? FAULT_HIREDIS : FAULT_MALLOC))
		return false;
	errno = ENOMEM;
	return true;
}

EXPORT void *
malloc(size_t size)
{
	return fault_hits_memory() ? NULL : __libc_malloc(size);
}

EXPORT void *
calloc(size_t count, size_t size)
{
	return fault_hits_memory() ? NULL : __libc_calloc(count, size);
}

EXPORT void *
realloc(void *memory, size_t size)
{
	return fault_hits_memory() ? NULL : __libc_realloc(memory, size);
}
