/*
 * array.c
 *		Arrays of text as PostgreSQL reads them.
 */
#include "array.h"

#include <stdlib.h>
#include <string.h>

void
hf_array_open(HfArray *array)
{
	memset(array, 0, sizeof(*array));
	array->file = open_memstream(&array->text, &array->length);
	if (array->file != NULL)
		fputc('{', array->file);
}

/* Adds an element; NULL is NULL. */
void
hf_array_add(HfArray *array, const char *element)
{
	if (array->file == NULL)
		return;
	if (array->has_elements)
		fputc(',', array->file);
	array->has_elements = true;
	if (element == NULL)
	{
		fputs("NULL", array->file);
		return;
	}
	fputc('"', array->file);
	for (; *element != '\0'; element++)
	{
		if (*element == '"' || *element == '\\')
			fputc('\\', array->file);
		fputc(*element, array->file);
	}
	fputc('"', array->file);
}

/* The array, which is to be freed; NULL if there was no memory. */
char *
hf_array_close(HfArray *array)
{
	bool good;

	if (array->file == NULL)
		return NULL;
	fputc('}', array->file);
	good = ferror(array->file) == 0;
	if (fclose(array->file) == 0 && good)
		return array->text;
	free(array->text);
	return NULL;
}
