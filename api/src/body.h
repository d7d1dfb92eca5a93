/*
 * body.h
 *		Bodies of requests: what they have to be for a route.
 */
#ifndef HF_BODY_H
#define HF_BODY_H

#include "routes.h"

extern bool hf_body_read(HfRequest *request);
extern bool hf_body_only(HfRequest *request, const char *first, const char *second);
extern const char *hf_body_picture_extension(const HfText *body);

#endif
