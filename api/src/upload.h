/*
 * upload.h
 *		Pictures that clients send: kept in files, off the loop.
 */
#ifndef HF_UPLOAD_H
#define HF_UPLOAD_H

#include "request.h"

extern void hf_upload_start(void);
extern void hf_upload(HfRequest *request, void (*stored)(HfRequest *request, const char *name));
extern void hf_upload_stop(void);

#endif
