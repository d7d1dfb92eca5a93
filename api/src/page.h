/*
 * page.h
 *		The contract and the page that shows it: files, read when the server starts.
 */
#ifndef HF_PAGE_H
#define HF_PAGE_H

#include "text.h"

#include <stdbool.h>

typedef struct HfPage
{
	const char *path;
	const char *file;
	const char *type;
	char etag[160];
	HfText plain, gzip;
} HfPage;

extern bool hf_page_load(const char *directory, char *error, size_t room);
extern const HfPage *hf_page_find(const char *path);

#endif
