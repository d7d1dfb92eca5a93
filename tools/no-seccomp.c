/*
 * no-seccomp.c
 *		Loaded before the C library, keeps a process from locking itself in.
 *
 * Kore's workers forbid themselves most system calls, of which valgrind needs some for its own ends.  So
 * prctl() says that it was done.  For tools/with-api --valgrind.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int
prctl(int option, ...)
{
	unsigned long argument[4];
	va_list arguments;

	va_start(arguments, option);
	for (int i = 0; i < 4; i++)
		argument[i] = va_arg(arguments, unsigned long);
	va_end(arguments);
	if (option == PR_SET_SECCOMP)
		return 0;
	return (int) syscall(SYS_prctl, option, argument[0], argument[1], argument[2], argument[3]);
}
