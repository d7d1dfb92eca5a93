/*
 * lane_set.h
 *		Changing how many lanes a SKU has.
 */
#ifndef HF_LANE_SET_H
#define HF_LANE_SET_H

#include "datatype/timestamp.h"

#include "row.h"

/* A lane is not split into smaller parts than this. */
#define HF_LANE_UNITS_MIN 8

extern void hf_lane_split(HfStore *store, int64 sku, int lane, int64 units, int waiters);
extern int hf_lane_spread(HfStore *store, int64 sku, int lanes);
extern int hf_lane_merge(HfStore *store, int64 sku, TimestampTz calm_before);

#endif
