/*
 * image.h
 *		Pictures: jobs of kind image_uploaded.
 */
#ifndef HF_IMAGE_H
#define HF_IMAGE_H

#include "part.h"

#include <stdbool.h>
#include <stddef.h>

extern const HfPart hf_image_part;

extern bool hf_image_load(char *error, size_t room);

#endif
