/*
 * cache_trigger.h
 *		The triggers of watched tables.
 */
#ifndef HF_CACHE_TRIGGER_H
#define HF_CACHE_TRIGGER_H

#include "postgres_ext.h"

/* Names of the triggers: on rows, and on TRUNCATE. */
#define HF_CACHE_TRIGGER		  "holdfast_cache"
#define HF_CACHE_TRUNCATE_TRIGGER "holdfast_cache_truncate"

extern Oid hf_cache_trigger_function(void);
extern int hf_cache_survey(char *trouble, Size room);

#endif
