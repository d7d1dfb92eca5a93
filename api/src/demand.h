/*
 * demand.h
 *		Demand that was refused without asking the database, counted for its reports.
 */
#ifndef HF_DEMAND_H
#define HF_DEMAND_H

#include <stdbool.h>
#include <stdint.h>

/* In the parent. */
extern void hf_demand_prepare(void);

/* Somebody was refused for lack of this stock: a SKU, or the slice of a sale by the sale's id. */
extern void hf_demand_refused(int64_t stock);

/* Tells the database what it has not been told.  True if that is not all done yet. */
extern bool hf_demand_note(void);

#endif
