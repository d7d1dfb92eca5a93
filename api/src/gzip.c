/*
 * gzip.c
 *		Compressed bodies (RFC 1952).
 *
 * One state of zlib is used again and again; the worker has one thread that comes here.
 */
#include "gzip.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

#define LEVEL  4		 /* most of what can be had, in half the time */
#define FORMAT (15 + 16) /* the largest window, and gzip's header */

/* Compresses into memory that the next call uses again; NULL data if that fails or does not pay. */
HfText
hf_gzip(const HfText *plain)
{
	static z_stream stream;
	static unsigned char *buffer;
	static size_t room;
	static bool begun;
	HfText packed = {NULL, 0};

	if (!begun && deflateInit2(&stream, LEVEL, Z_DEFLATED, FORMAT, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return packed;
	begun = true;
	if (room < plain->length)
	{
		free(buffer);
		buffer = malloc(plain->length);
		room = buffer != NULL ? plain->length : 0;
	}
	if (plain->length < HF_GZIP_LEAST || room == 0 || deflateReset(&stream) != Z_OK)
		return packed;
	stream.next_in = (unsigned char *) plain->data;
	stream.avail_in = (uInt) plain->length;
	stream.next_out = buffer;
	stream.avail_out = (uInt) (plain->length - plain->length / 8);
	if (deflate(&stream, Z_FINISH) != Z_STREAM_END)
		return packed;
	packed.data = (const char *) buffer;
	packed.length = stream.total_out;
	return packed;
}
