/*
 * uuid7.h
 *		UUID version 7, time-ordered ids for events.
 */
#ifndef HF_UUID7_H
#define HF_UUID7_H

#include "utils/uuid.h"

extern void hf_uuid7_make(pg_uuid_t *uuid);

#endif
