/*
 * strip.h
 *		WebP without metadata.
 */
#ifndef HF_STRIP_H
#define HF_STRIP_H

#include "store.h"

extern void hf_strip_webp(HfBytes *bytes);

#endif
