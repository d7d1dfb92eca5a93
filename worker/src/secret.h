/*
 * secret.h
 *		Secrets that are kept in files.
 */
#ifndef HF_SECRET_H
#define HF_SECRET_H

#include <stddef.h>

extern const char *hf_secret_read(const char *path, char *secret, size_t room);

#endif
