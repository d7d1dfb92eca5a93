/*
 * reservation.h
 *		Holding units: one engine for one SKU, carts and batches.
 */
#ifndef HF_RESERVATION_H
#define HF_RESERVATION_H

#include "hold.h"
#include "lane.h"

/* What one owner wants of one SKU: lines of the call that name both are summed. */
typedef struct HfWant
{
	pg_uuid_t owner;
	int64 sku;
	int64 quantity;
	int line;	 /* the first line that asked for it, from 0 */
	int group;	 /* the owner's first line: its lines stand or fall together */
	int verdict; /* SQLSTATE; ERRCODE_SUCCESSFUL_COMPLETION: hold it */
	int64 left;	 /* with ERRCODE_HF_INSUFFICIENT_STOCK: units there are */
	int64 more;	 /* units needed beyond those the owner has; negative: to give back */
	int lane;	 /* a lane of the SKU whose lock we have, once units were taken */
	bool exists; /* the owner has a row for the SKU, locked by us: */
	HfHold hold;
} HfWant;

typedef struct HfReservation
{
	HfStore *store;
	HfWant *want; /* by owner and SKU */
	int n;
	int64 ttl;		 /* microseconds */
	TimestampTz now; /* time of decision, and the deadline that follows: */
	TimestampTz deadline;
	bool revive;		 /* a released or expired hold may come back */
	HfAppetite appetite; /* of one SKU: is a part of what all want together any good? */
} HfReservation;

extern void hf_reservation_sort(HfReservation *r);
extern bool hf_reservation_try_new(HfReservation *r);
extern void hf_reservation_find_holds(HfReservation *r);
extern void hf_reservation_take(HfReservation *r);
extern void hf_reservation_give_back(HfReservation *r);
extern void hf_reservation_write(HfReservation *r);
extern void hf_reservation_raise(const HfReservation *r);

#endif
