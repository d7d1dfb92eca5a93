/*
 * text.h
 *		Bytes with a length.
 */
#ifndef HF_TEXT_H
#define HF_TEXT_H

#include <stddef.h>

/* Any bytes, with a length. As the value of a column or parameter, NULL data is SQL's NULL. */
typedef struct HfText
{
	const char *data;
	size_t length;
} HfText;

#endif
