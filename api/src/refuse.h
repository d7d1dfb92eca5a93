/*
 * refuse.h
 *		Refusing what somebody has configured, with a message that says why.
 */
#ifndef HF_REFUSE_H
#define HF_REFUSE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* Writes the message; false. */
static inline bool __attribute__((format(printf, 3, 4)))
hf_refuse(char *error, size_t room, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, room, format, args);
	va_end(args);
	return false;
}

#endif
