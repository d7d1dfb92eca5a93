/*
 * route_sale.c
 *		Sales, as they are looked at.
 *
 * What a sale looks like follows from the clock and its stock, so it is cached for a moment only;
 * its changes void it at once.
 */
#include "kore.h"

#include "cached.h"
#include "call.h"
#include "reply.h"

#define MOMENT 1000 /* milliseconds */

void
hf_route_sale_get(HfRequest *request)
{
	HfCacheEntry entry;

	if (hf_cache_entry_begin(&entry, "sale:{id}", request->capture, 1) &&
		hf_cache_entry_tag(&entry, "tag:products", NULL, 0))
		hf_cached(request, &entry, MOMENT);
	else
		hf_call_route(request);
}

void
hf_route_sale_list(HfRequest *request)
{
	HfCacheEntry entry;
	HfText query;

	if (!hf_call_read_query(request))
		return;
	query = hf_text(request->query);
	if (hf_cache_entry_begin(&entry, "sales:{query}", &query, 1) &&
		hf_cache_entry_tag(&entry, "tag:sales", NULL, 0) &&
		hf_cache_entry_tag(&entry, "tag:products", NULL, 0))
		hf_cached(request, &entry, MOMENT);
	else
		hf_call_route(request);
}
