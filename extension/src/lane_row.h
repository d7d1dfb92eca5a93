/*
 * lane_row.h
 *		Rows of _holdfast.stock_lane.
 */
#ifndef HF_LANE_ROW_H
#define HF_LANE_ROW_H

#include "datatype/timestamp.h"

#include "row.h"

typedef struct HfLane
{
	ItemPointerData tid;
	int64 sku;
	int lane;
	int64 available;
	TimestampTz contended_at;
} HfLane;

typedef enum HfLaneChange
{
	HF_LANE_DONE,
	HF_LANE_TOO_FEW, /* fewer units than were to be taken: nothing was changed */
	HF_LANE_GONE	 /* there is no such lane (any more) */
} HfLaneChange;

extern bool hf_lane_row_find(HfStore *store, int64 sku, int lane, HfLane *row);
extern int hf_lane_row_list(HfStore *store, int64 sku, Snapshot snapshot, HfLane *rows);
extern int hf_lane_row_count(HfStore *store, int64 sku);
extern HfLaneChange hf_lane_row_add(HfStore *store, int64 sku, int lane, int64 delta,
									bool contended, int64 *left);
extern void hf_lane_row_set(HfStore *store, const HfLane *row);
extern void hf_lane_row_insert(HfStore *store, int64 sku, int lane, int64 available);
extern void hf_lane_row_delete(HfStore *store, const HfLane *row);
extern bool hf_lane_row_next_spread_sku(HfStore *store, int64 *sku);

#endif
