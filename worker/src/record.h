/*
 * record.h
 *		Records in the database what providers have answered.
 */
#ifndef HF_RECORD_H
#define HF_RECORD_H

#include "call.h"

#include <stdbool.h>

/* The call is recorded, or given up; it is the callee's now. */
typedef void (*HfRecordDone)(HfCall *call);

extern void hf_record_begin(HfRecordDone done);
extern void hf_record_add(HfCall *call);
extern bool hf_record_is_waiting(void);
extern void hf_record_send(void);

#endif
