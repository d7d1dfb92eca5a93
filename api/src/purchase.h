/*
 * purchase.h
 *		Purchases in sales: all that wait are one statement.
 */
#ifndef HF_PURCHASE_H
#define HF_PURCHASE_H

#include "request.h"

/* Begins in a worker, after hf_pg_start(). False: memory is short. */
extern bool hf_purchase_start(void);

/*
 * Buys for the request's account, which is answered later, or at once if there is no room.  The
 * key has at most 255 bytes.  With a negative quantity it only asks for what it has bought with
 * the key; that is for those whose ticket has expired.  If it has bought nothing it is refused for
 * the SQLSTATE, or if that is NULL, for its ticket.
 */
extern void hf_purchase(HfRequest *request, int64_t sale, const HfText *key, int64_t quantity,
						const char *refusal);

#endif
