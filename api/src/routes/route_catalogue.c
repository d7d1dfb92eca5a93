/*
 * route_catalogue.c
 *		Products, categories, merchants and searches, which the cache answers.
 *
 * Keys and tags are those of sql/deploy/cache.sql, where it stands which change voids what.
 */
#include "kore.h"

#include "cached.h"
#include "call.h"
#include "reply.h"
#include "upload.h"

#define NEVER_LONG \
	(5 * 60 * 1000)		 /* milliseconds: lists of which nobody knows how many there are */
#define STOCK (5 * 1000) /* what tells of stock, which changes without a word */

/* One thing by its id: key "kind:{id}". */
static void
get_by_id(HfRequest *request, const char *key, const char *tag)
{
	HfCacheEntry entry;

	if (hf_cache_entry_begin(&entry, key, request->capture, 1) &&
		(tag == NULL || hf_cache_entry_tag(&entry, tag, NULL, 0)))
		hf_cached(request, &entry, tag == NULL ? hf_config.cache_ttl : NEVER_LONG);
	else
		hf_reply_problem(request, HF_PROBLEM_NOT_FOUND, NULL, NULL);
}

void
hf_route_product_get(HfRequest *request)
{
	get_by_id(request, "product:{id}", NULL);
}

void
hf_route_merchant_get(HfRequest *request)
{
	get_by_id(request, "merchant:{id}", NULL);
}

void
hf_route_product_related(HfRequest *request)
{
	get_by_id(request, "related:{id}", "tag:products");
}

void
hf_route_category_list(HfRequest *request)
{
	HfCacheEntry entry;

	if (hf_cache_entry_begin(&entry, "categories:all", NULL, 0) &&
		hf_cache_entry_tag(&entry, "tag:categories", NULL, 0))
		hf_cached(request, &entry, hf_config.cache_ttl);
	else
		hf_call_route(request);
}

/*
 * A list: its key is the whole query.  What it depends on is the narrowest thing that it is cut
 * to, if that tag counts all that the list shows; otherwise all products, and the category, which
 * may move.
 */
static void
list(HfRequest *request, const char *key, bool narrow)
{
	HfText query, value;
	HfCacheEntry entry;
	const char *category, *merchant, *tag = "tag:products";
	json_t *parameters;
	bool good;

	if (!hf_call_read_query(request))
		return;
	query = hf_text(request->query);
	parameters = json_loads(request->query, 0, NULL);
	category = json_string_value(json_object_get(parameters, "category"));
	merchant = json_string_value(json_object_get(parameters, "merchant"));
	value = hf_text(category != NULL ? category : merchant);
	if (narrow && value.data != NULL)
		tag = category != NULL ? "tag:category:{category}" : "tag:merchant:{merchant}";
	good = hf_cache_entry_begin(&entry, key, &query, 1) &&
		hf_cache_entry_tag(&entry, tag, &value, narrow && value.data != NULL);
	if (!narrow && category != NULL)
		good = good && hf_cache_entry_tag(&entry, "tag:category:{category}", &value, 1);
	if (good)
		hf_cached(request, &entry,
				  json_object_get(parameters, "in_stock") != NULL ? STOCK : NEVER_LONG);
	else
		hf_call_route(request);
	json_decref(parameters);
}

void
hf_route_product_list(HfRequest *request)
{
	list(request, "products:{query}", true);
}

void
hf_route_product_search(HfRequest *request)
{
	list(request, "search:{query}", false);
}

static void
image_stored(HfRequest *request, const char *name)
{
	char body[200];
	HfNumber number;
	HfText values[3] = {hf_actor(request, &number), request->capture[0]};

	snprintf(body, sizeof(body), "{\"original\":\"%s\"}", name);
	values[2] = hf_text(body);
	hf_call(request, &request->route->call, values, hf_call_reply);
}

static void
may_add_image(HfRequest *request, const HfRow *row)
{
	(void) row;
	hf_upload(request, image_stored);
}

/* Whoever may not change the product leaves no file. */
void
hf_route_product_image_add(HfRequest *request)
{
	HfText values[HF_ROUTE_ARGUMENTS];
	HfNumber number;

	if (hf_call_arguments(request, false, values, &number))
		hf_call(request, &hf_call_product_check, values, may_add_image);
}
