/*
 * palloc.c
 *		The server's allocator: what the extension asks for can fail each time.
 *
 * The allocator asks the system only for blocks, so faults there (faults.c) meet few of the
 * extension's allocations.  All contexts of the usual kind share one table of functions; two of its
 * entries are replaced once it can be found, which processes then inherit.
 */
#include "postgres.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nodes/memnodes.h"

#include "faults.h"

/* The extension asks directly, or by something of the server that is not far. */
#define FRAMES 8

static MemoryContext *top = NULL; /* the server's TopMemoryContext */
static void *(*real_alloc)(MemoryContext context, Size size) = NULL;
static void *(*real_realloc)(MemoryContext context, void *memory, Size size) = NULL;

/* The extension's code. */
static uintptr_t code_begin = 0;
static uintptr_t code_end = 0;

static int
palloc_find_code(struct dl_phdr_info *object, size_t size, void *arg)
{
	(void) size;
	(void) arg;
	if (strstr(object->dlpi_name, "/holdfast.so") == NULL)
		return 0;
	for (int i = 0; i < object->dlpi_phnum; i++)
		if (object->dlpi_phdr[i].p_type == PT_LOAD && (object->dlpi_phdr[i].p_flags & PF_X) != 0)
		{
			code_begin = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
			code_end = code_begin + object->dlpi_phdr[i].p_memsz;
		}
	return 1;
}

/* Has the extension asked? */
static bool
palloc_is_ours(void)
{
	void *frames[FRAMES];
	int count;

	if (code_begin == 0 && dl_iterate_phdr(palloc_find_code, NULL) == 0)
		return false;
	count = backtrace(frames, FRAMES);
	for (int i = 0; i < count; i++)
		if ((uintptr_t) frames[i] >= code_begin && (uintptr_t) frames[i] < code_end)
			return true;
	return false;
}

static bool
palloc_hits(void)
{
	return fault_is_armed(FAULT_PALLOC) && palloc_is_ours() && fault_hits(FAULT_PALLOC);
}

static void *
palloc_alloc(MemoryContext context, Size size)
{
	return palloc_hits() ? NULL : real_alloc(context, size);
}

static void *
palloc_realloc(MemoryContext context, void *memory, Size size)
{
	return palloc_hits() ? NULL : real_realloc(context, memory, size);
}

void
palloc_look(void)
{
	top = dlsym(RTLD_DEFAULT, "TopMemoryContext");
}

void
palloc_begin(void)
{
	MemoryContextMethods *methods;
	uintptr_t page;

	if (real_alloc != NULL || top == NULL || *top == NULL)
		return;
	methods = (MemoryContextMethods *) (*top)->methods;
	page = (uintptr_t) methods & ~((uintptr_t) sysconf(_SC_PAGESIZE) - 1);
	if (mprotect((void *) page, (uintptr_t) (methods + 1) - page, PROT_READ | PROT_WRITE) != 0)
		abort();
	real_alloc = methods->alloc;
	real_realloc = methods->realloc;
	methods->alloc = palloc_alloc;
	methods->realloc = palloc_realloc;
}
