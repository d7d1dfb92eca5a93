/*
 * reaper.h
 *		Tidying up: ending due holds and merging calm lanes, SKU by SKU.
 */
#ifndef HF_REAPER_H
#define HF_REAPER_H

#include "row.h"

extern bool hf_reaper_expire(HfStore *store, int64 *sku, int limit, int64 *ended);
extern bool hf_reaper_merge(HfStore *store, int64 *sku);

#endif
