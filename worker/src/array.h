/*
 * array.h
 *		Arrays of text as PostgreSQL reads them.
 */
#ifndef HF_ARRAY_H
#define HF_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct HfArray
{
	FILE *file;
	char *text;
	size_t length;
	bool has_elements;
} HfArray;

extern void hf_array_open(HfArray *array);
extern void hf_array_add(HfArray *array, const char *element);
extern char *hf_array_close(HfArray *array);

#endif
