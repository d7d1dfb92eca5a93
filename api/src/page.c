/*
 * page.c
 *		The contract and the page that shows it: files, read when the server starts.
 *
 * The parent reads and compresses them once; the workers have them in memory that they share with
 * it.
 */
#include "gzip.h"
#include "page.h"
#include "reply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LARGEST (4 * 1024 * 1024)

static HfPage pages[] = {
	{.path = "/openapi.json", .file = "openapi.json", .type = "application/json"},
	{.path = "/docs", .file = "docs.html", .type = "text/html; charset=utf-8"},
	{.path = "/docs/docs.js", .file = "docs.js", .type = "text/javascript; charset=utf-8"},
	{.path = "/docs/docs.css", .file = "docs.css", .type = "text/css; charset=utf-8"},
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

/* A copy that stays; NULL data if there is nothing to copy, or no memory. */
static HfText
keep(const HfText *text)
{
	HfText kept = {NULL, 0};
	char *data = text->data != NULL ? malloc(text->length) : NULL;

	if (data != NULL)
	{
		memcpy(data, text->data, text->length);
		kept = (HfText){data, text->length};
	}
	return kept;
}

static bool
load(HfPage *page, const char *path)
{
	FILE *file = fopen(path, "r");
	char *data = file != NULL ? malloc(FILE_LARGEST) : NULL;
	HfText gzip;

	if (data != NULL)
		page->plain = (HfText){data, fread(data, 1, FILE_LARGEST, file)};
	if (file != NULL)
		fclose(file);
	if (page->plain.length == 0 || page->plain.length == FILE_LARGEST)
		return false;
	page->plain = keep(&page->plain);
	free(data);
	gzip = hf_gzip(&page->plain);
	page->gzip = keep(&gzip);
	hf_reply_etag(page->etag, &page->plain);
	return page->plain.data != NULL;
}

/* Reads all pages from the directory; false with a message if one is missing. */
bool
hf_page_load(const char *directory, char *error, size_t room)
{
	char path[4096];

	for (size_t i = 0; i < PAGES; i++)
	{
		snprintf(path, sizeof(path), "%s/%s", directory, pages[i].file);
		errno = 0;
		if (load(&pages[i], path))
			continue;
		snprintf(error, room, "cannot read %s: %s", path,
				 errno != 0 ? strerror(errno) : "it is empty or too large");
		return false;
	}
	return true;
}

/* The page at this path, or NULL. */
const HfPage *
hf_page_find(const char *path)
{
	for (size_t i = 0; i < PAGES; i++)
		if (strcmp(pages[i].path, path) == 0)
			return &pages[i];
	return NULL;
}
