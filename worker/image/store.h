/*
 * store.h
 *		The files of pictures: uploads are read, sizes are kept.
 */
#ifndef HF_STORE_H
#define HF_STORE_H

#include "work.h"

#define HF_FILE_MAX 96 /* of the name of a file of a size: "ab/", a hash, an extension */

typedef struct HfBytes
{
	void *data;
	size_t length;
} HfBytes;

extern bool hf_store_open(const char *source, const char *directory, char *error, size_t room);
extern int hf_store_source(void);
extern int hf_store_directory(void);
extern bool hf_store_read(HfWork *work, const char *name, HfBytes *bytes);
extern bool hf_store_keep(HfWork *work, const HfBytes *bytes, const char *extension,
						  char file[HF_FILE_MAX]);

#endif
