/*
 * strip.c
 *		WebP without metadata.
 *
 * libvips 8.14 writes EXIF into each WebP, whatever it is told; it is of its own making, and makes
 * small pictures half as large again.  The format is RIFF: chunks of a name, a length and bytes, an
 * even number of them.
 */
#include "strip.h"

#include <stdint.h>
#include <string.h>

#define HEAD		12	 /* "RIFF", length, "WEBP" */
#define NO_METADATA 0xD3 /* of the flags of VP8X, all but ICC, EXIF and XMP */

static uint32_t
read_length(const unsigned char *at)
{
	return (uint32_t) at[0] | (uint32_t) at[1] << 8 | (uint32_t) at[2] << 16 |
		(uint32_t) at[3] << 24;
}

static bool
is_metadata(const unsigned char *chunk)
{
	return memcmp(chunk, "EXIF", 4) == 0 || memcmp(chunk, "XMP ", 4) == 0 ||
		memcmp(chunk, "ICCP", 4) == 0;
}

/* Takes metadata out of a file that is whole, in place. */
void
hf_strip_webp(HfBytes *bytes)
{
	unsigned char *data = bytes->data;
	size_t to = HEAD, length;

	for (size_t from = HEAD; from + 8 <= bytes->length; from += length)
	{
		length = 8 + (((size_t) read_length(data + from + 4) + 1) & ~(size_t) 1);
		if (length > bytes->length - from)
			length = bytes->length - from;
		if (is_metadata(data + from))
			continue;
		memmove(data + to, data + from, length);
		if (memcmp(data + to, "VP8X", 4) == 0 && length > 8)
			data[to + 8] &= NO_METADATA;
		to += length;
	}
	if (to < 2 * HEAD)
		return;
	bytes->length = to;
	for (int i = 0; i < 4; i++)
		data[4 + i] = (unsigned char) ((to - 8) >> (8 * i));
}
