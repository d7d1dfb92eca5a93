/*
 * script.h
 *		What a buyer does: which request comes next, and what its answer means.
 */
#ifndef HF_CROWD_SCRIPT_H
#define HF_CROWD_SCRIPT_H

#include "answer.h"
#include "buyer.h"
#include "report.h"

#include <stddef.h>

/* How a buyer goes on. */
typedef enum HfNext
{
	HF_NEXT_GO,	   /* at once, on the same connection */
	HF_NEXT_PAUSE, /* at buyer->wake */
	HF_NEXT_END	   /* the visit is over */
} HfNext;

/* Prepares heads of requests; tells what visits are about. */
extern HfStep hf_script_prepare(void);

/* The most bytes of a request. */
extern size_t hf_script_room(void);

extern void hf_script_begin(HfBuyer *buyer, uint64_t now, uint64_t late);

/* Writes the request that is to be sent; how many bytes it has. */
extern size_t hf_script_write(const HfBuyer *buyer, char *out);

/* Whether the buyer hangs up, now that the request is sent. */
extern bool hf_script_leaves(HfBuyer *buyer);

extern HfNext hf_script_answered(HfBuyer *buyer, const HfAnswer *answer, uint64_t now);
extern HfNext hf_script_lost(HfBuyer *buyer, HfTrouble why, uint64_t now);

#endif
