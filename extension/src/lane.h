/*
 * lane.h
 *		Available units of a SKU, and the queue in front of them.
 */
#ifndef HF_LANE_H
#define HF_LANE_H

#include "datatype/timestamp.h"

#include "row.h"

typedef enum HfTake
{
	HF_TAKEN,
	HF_SHORT,
	HF_UNKNOWN_SKU
} HfTake;

/* May all of what is wanted be refused for the last unit missing, or is some better than none? */
typedef enum HfAppetite
{
	HF_ALL_OR_NONE,
	HF_AS_MANY_AS_THERE_ARE
} HfAppetite;

extern HfTake hf_lane_take(HfStore *store, int64 sku, int64 want, HfAppetite appetite, int64 *units,
						   int *lane);
extern void hf_lane_put(HfStore *store, int64 sku, int lane, int64 units);
extern bool hf_lane_give(HfStore *store, int64 sku, int64 units);
extern int hf_lane_lock_any(HfStore *store, int64 sku);
extern int hf_lane_lock_free(HfStore *store, int64 sku);
extern void hf_lane_receive(HfStore *store, int64 sku, int64 units);
extern bool hf_lane_total(HfStore *store, int64 sku, int64 *units, int *lanes);

#endif
