/*
 * spool.h
 *		Mails as files in a directory, where there is no server for them.
 */
#ifndef HF_SPOOL_H
#define HF_SPOOL_H

#include <stdbool.h>
#include <stddef.h>

extern const char *hf_spool_write(const char *directory, const char *name, const char *text,
								  size_t length);

#endif
