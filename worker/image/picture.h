/*
 * picture.h
 *		What is made of pictures.
 */
#ifndef HF_PICTURE_H
#define HF_PICTURE_H

#include "store.h"
#include "work.h"

extern bool hf_picture_begin(const char *name);
extern bool hf_picture_make(HfWork *work, const char *name, const HfBytes *bytes, bool is_avatar,
							const HfLimits *limits);

#endif
