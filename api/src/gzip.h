/*
 * gzip.h
 *		Compressed bodies (RFC 1952).
 */
#ifndef HF_GZIP_H
#define HF_GZIP_H

#include "text.h"

#define HF_GZIP_LEAST 1024 /* bytes; of less, a packet is sent either way */

extern HfText hf_gzip(const HfText *plain);

#endif
