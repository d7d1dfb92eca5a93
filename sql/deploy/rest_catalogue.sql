-- Deploy shop:rest_catalogue to pg
-- requires: catalogue_write
-- requires: catalogue_list
-- requires: search
--
-- Routes of the catalogue. A draft is there for its merchant and admins only; a deleted product is gone (410), and so that
-- nobody can tell, a deleted draft was never there (404). PATCH changes the fields that are given; If-Match must be sent.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.image_json(p_image shop.image) RETURNS json
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object('id', (p_image).id::text, 'state', (p_image).state, 'original', (p_image).original, 'sizes', (p_image).sizes, 'reason', (p_image).reason);
    END;
COMMENT ON FUNCTION shop.image_json(shop.image) IS 'An image as the API shows it to whoever may manage the product.';

CREATE FUNCTION shop.product_json(p_product shop.product) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object('id', (p_product).id::text, 'merchant_id', (p_product).merchant_id::text, 'category_id', (p_product).category_id::text,
            'title', (p_product).title, 'description', (p_product).description, 'attributes', (p_product).attributes, 'tags', to_json((p_product).tags),
            'price', (p_product).price, 'currency', (p_product).currency,
            'skus', coalesce((SELECT json_agg(json_build_object('id', s.id::text, 'code', s.code, 'price', s.price, 'currency', s.currency) ORDER BY s.position, s.id)
                              FROM shop.sku AS s WHERE s.product_id = (p_product).id AND s.deleted_at IS NULL), '[]'),
            'images', coalesce((SELECT json_agg(shop.image_json(i) ORDER BY i.position, i.id) FROM shop.image AS i WHERE i.product_id = (p_product).id), '[]'),
            'version', (p_product).version, 'created_at', shop.json_time((p_product).created_at), 'changed_at', shop.json_time((p_product).changed_at),
            'published', (p_product).published_at IS NOT NULL, 'published_at', shop.json_time((p_product).published_at));
    END;
COMMENT ON FUNCTION shop.product_json(shop.product) IS 'A product as the API shows it to whoever may manage it, with its live SKUs and all its images. Prices are in minor units of the currency.';

CREATE FUNCTION shop.product_reply(p_product bigint, p_status integer DEFAULT 200) RETURNS rest.reply
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT ROW(p_status, shop.etag(p.version), CASE WHEN p_status = 201 THEN '/v1/products/' || p.id END, false, shop.product_json(p))::rest.reply
        FROM shop.product AS p WHERE p.id = p_product;
    END;
COMMENT ON FUNCTION shop.product_reply(bigint, integer) IS 'The answer that shows a product.';

CREATE FUNCTION shop.tags_field(p_body jsonb) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_tags CONSTANT jsonb := shop.field(p_body, 'tags', 'array', false, '');
    v_tag text;
    v_all text[] := '{}'::text[];
BEGIN
    IF jsonb_array_length(v_tags) > 50 THEN
        PERFORM shop.refuse('HS012', '/tags', 'wanted: at most 50');
    END IF;
    FOR v_n IN 0 .. coalesce(jsonb_array_length(v_tags), 0) - 1 LOOP
        v_tag := shop.fold_tag(shop.text_field(jsonb_build_object(v_n::text, v_tags -> v_n), v_n::text, 50, true, '/tags'));
        IF v_tag <> ALL (v_all) THEN
            v_all := v_all || v_tag;
        END IF;
    END LOOP;
    RETURN v_all;
END $$;
COMMENT ON FUNCTION shop.tags_field(jsonb) IS 'The field tags: up to 50 of 1 to 50 characters, folded, each once. Errors: HS010 to HS013.';

CREATE FUNCTION shop.skus_field(p_body jsonb, p_required boolean, OUT ids bigint[], OUT codes text[], OUT prices bigint[], OUT currency text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_skus CONSTANT jsonb := shop.field(p_body, 'skus', 'array', p_required, '');
    v_sku jsonb;
    v_at text;
    v_currency text;
BEGIN
    IF v_skus IS NULL THEN
        RETURN;
    ELSIF NOT jsonb_array_length(v_skus) BETWEEN 1 AND 100 THEN
        PERFORM shop.refuse('HS012', '/skus', 'wanted: 1 to 100');
    END IF;
    ids := '{}';
    codes := '{}';
    prices := '{}';
    FOR v_sku, v_at IN SELECT s.value, '/skus/' || s.n - 1 FROM jsonb_array_elements(v_skus) WITH ORDINALITY AS s (value, n) LOOP
        PERFORM shop.check_fields(v_sku, CASE WHEN p_required THEN '{code,price,currency}' ELSE '{id,code,price,currency}' END::text[], v_at);
        ids := ids || shop.id_field(v_sku, 'id', false, v_at);
        codes := codes || btrim(shop.text_field(v_sku, 'code', 64, true, v_at));
        prices := prices || shop.integer_field(v_sku, 'price', 1, 1000000000000, true, v_at);
        v_currency := shop.text_field(v_sku, 'currency', 3, p_required, v_at);
        IF v_currency <> currency THEN
            PERFORM shop.refuse('HS015', v_at || '/currency', 'wanted: the same for all SKUs');
        END IF;
        currency := coalesce(v_currency, currency);
    END LOOP;
END $$;
COMMENT ON FUNCTION shop.skus_field(jsonb, boolean) IS
'The field skus: 1 to 100 of {code, price, currency}; where it is not required, also id, and the currency may be missing. Errors: HS009 to HS015.';

CREATE FUNCTION shop.attributes_parameter(p_query jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_text CONSTANT text := shop.text_field(p_query, 'attributes', 2000, false, '?');
    v_value jsonb;
BEGIN
    BEGIN
        v_value := v_text::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        PERFORM shop.refuse('HS015', '?attributes', 'wanted: a JSON object');
    END;
    IF jsonb_typeof(v_value) <> 'object' THEN
        PERFORM shop.refuse('HS015', '?attributes', 'wanted: a JSON object');
    END IF;
    RETURN v_value;
END $$;
COMMENT ON FUNCTION shop.attributes_parameter(jsonb) IS 'The parameter attributes: a JSON object of up to 2,000 characters. Errors: HS011 to HS013, HS015.';

CREATE FUNCTION rest.category_list(p_actor bigint) RETURNS rest.reply
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT ROW(200, NULL, NULL, false, json_build_object('items', coalesce((
            SELECT json_agg(json_build_object('id', c.id::text, 'parent_id', c.parent_id::text, 'name', c.name, 'path', to_json(c.path::text[])) ORDER BY c.path)
            FROM shop.category AS c), '[]')))::rest.reply;
    END;
COMMENT ON FUNCTION rest.category_list(bigint) IS 'GET /v1/categories: the whole tree, each behind what it is below; path is the ids from the root. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.category_create(p_actor bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id bigint;
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(p_body, '{name,parent_id}');
    v_id := shop.create_category(shop.id_field(p_body, 'parent_id', false), shop.text_field(p_body, 'name', 100));
    RETURN (SELECT ROW(201, NULL, '/v1/categories/' || c.id, false,
                       json_build_object('id', c.id::text, 'parent_id', c.parent_id::text, 'name', c.name, 'path', to_json(c.path::text[])))::rest.reply
            FROM shop.category AS c WHERE c.id = v_id);
END $$;
COMMENT ON FUNCTION rest.category_create(bigint, jsonb) IS
'POST /v1/categories, for admins: {name, parent_id?}. Errors: HS001 to HS003, HS008 to HS013, HS015, HS202 name taken, HS204 too deep. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.category_update(p_actor bigint, p_id bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(p_body, '{name,parent_id}');
    PERFORM shop.update_category(p_id, ARRAY(SELECT jsonb_object_keys(p_body)), shop.id_field(p_body, 'parent_id', false),
                                 shop.text_field(p_body, 'name', 100, p_body ? 'name'));
    RETURN (SELECT ROW(200, NULL, NULL, false,
                       json_build_object('id', c.id::text, 'parent_id', c.parent_id::text, 'name', c.name, 'path', to_json(c.path::text[])))::rest.reply
            FROM shop.category AS c WHERE c.id = p_id);
END $$;
COMMENT ON FUNCTION rest.category_update(bigint, bigint, jsonb) IS
'PATCH /v1/categories/{id}, for admins: {name?, parent_id?}; a parent_id of null moves it to the top. Errors: HS001 to HS004, HS008 to HS013, HS015, HS202 to HS204. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_list(p_actor bigint, p_query jsonb DEFAULT '{}') RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_page record;
BEGIN
    PERFORM shop.check_fields(p_query, '{category,merchant,min_price,max_price,currency,tag,attributes,in_stock,sort,limit,cursor}', '?');
    SELECT * INTO STRICT v_page FROM shop.list_products(
        coalesce(shop.choice_field(p_query, 'sort', '{new,price,-price,title}', false, '?'), 'new'),
        shop.page_limit(p_query),
        shop.page_cursor(p_query),
        shop.id_field(p_query, 'category', false, '?'), shop.id_field(p_query, 'merchant', false, '?'),
        shop.integer_field(p_query, 'min_price', 0, 1000000000000, false, '?'), shop.integer_field(p_query, 'max_price', 0, 1000000000000, false, '?'),
        shop.text_field(p_query, 'currency', 3, false, '?'), shop.fold_tag(shop.text_field(p_query, 'tag', 50, false, '?')),
        shop.attributes_parameter(p_query), shop.boolean_field(p_query, 'in_stock', false, '?'));
    RETURN ROW(200, NULL, NULL, false, json_build_object('items', shop.product_items(v_page.product_ids), 'next', v_page.next_cursor))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.product_list(bigint, jsonb) IS
'GET /v1/products: the parameters, all text: sort (new, price, -price, title), limit (1 to 100, default 20), cursor, and the filters category, merchant, min_price, max_price, currency, tag, attributes (a JSON object), in_stock. The list ends where next is null, not where a page is short. Errors: HS009 to HS016. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_search(p_actor bigint, p_query jsonb) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_page record;
    v_all record;
    v_query record;
    v_facets json;
BEGIN
    PERFORM shop.check_fields(p_query, '{q,category,merchant,min_price,max_price,currency,tag,in_stock,facets,limit,cursor}', '?');
    SELECT * INTO STRICT v_page FROM shop.search_products(shop.text_field(p_query, 'q', 200, true, '?'),
        shop.page_limit(p_query),
        shop.page_cursor(p_query),
        shop.id_field(p_query, 'category', false, '?'), shop.id_field(p_query, 'merchant', false, '?'),
        shop.integer_field(p_query, 'min_price', 0, 1000000000000, false, '?'), shop.integer_field(p_query, 'max_price', 0, 1000000000000, false, '?'),
        shop.text_field(p_query, 'currency', 3, false, '?'), shop.fold_tag(shop.text_field(p_query, 'tag', 50, false, '?')),
        shop.boolean_field(p_query, 'in_stock', false, '?'));
    IF shop.boolean_field(p_query, 'facets', false, '?') THEN
        -- All that passes the filters: those that the search itself does not apply are applied to a page of 300.
        IF p_query ?| '{min_price,max_price,currency,in_stock}' THEN
            SELECT a.product_ids AS ids, a.next_cursor IS NULL AS complete INTO STRICT v_all
            FROM shop.search_products(p_query ->> 'q', 300, NULL, (p_query ->> 'category')::bigint, (p_query ->> 'merchant')::bigint, (p_query ->> 'min_price')::bigint,
                                      (p_query ->> 'max_price')::bigint, p_query ->> 'currency', shop.fold_tag(p_query ->> 'tag'), (p_query ->> 'in_stock')::boolean) AS a;
        ELSE
            SELECT v_page.found_ids AS ids, cardinality(v_page.found_ids) <= 300 AS complete INTO STRICT v_all;
        END IF;
        SELECT f.facets, q.complete INTO STRICT v_query FROM shop.search_facets(v_all.ids) AS f (facets), shop.search_query(p_query ->> 'q') AS q;
        v_facets := json_build_object('count', v_query.facets -> 'count', 'complete', v_all.complete AND v_query.complete, 'categories', v_query.facets -> 'categories',
                                      'merchants', v_query.facets -> 'merchants', 'tags', v_query.facets -> 'tags', 'prices', v_query.facets -> 'prices');
    END IF;
    RETURN ROW(200, NULL, NULL, false, json_build_object('items', shop.product_items(v_page.product_ids), 'next', v_page.next_cursor, 'facets', v_facets))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.product_search(bigint, jsonb) IS
'GET /v1/search: the parameters, all text: q (1 to 200 characters, of which 8 words count), limit (1 to 100, default 20), cursor, facets (true: counts by category, merchant, tag and price of up to 300 products that pass the filters; complete: whether these are surely all), and the filters category, merchant, min_price, max_price, currency, tag, in_stock. Errors: HS009 to HS016. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_get(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    PERFORM shop.require_visible(p_actor, p_id);
    v_reply := shop.product_reply(p_id);
    IF NOT shop.may_manage(p_actor, (v_reply.body ->> 'merchant_id')::bigint) THEN
        v_reply.body := (
            SELECT json_object_agg(f.key, CASE f.key WHEN 'images' THEN coalesce((
                SELECT json_agg(json_build_object('id', i.value -> 'id', 'state', i.value -> 'state', 'sizes', i.value -> 'sizes') ORDER BY i.n)
                FROM json_array_elements(f.value) WITH ORDINALITY AS i (value, n) WHERE i.value ->> 'state' = 'ready'), '[]') ELSE f.value END ORDER BY f.n)
            FROM json_each(v_reply.body) WITH ORDINALITY AS f (key, value, n));
    END IF;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION rest.product_get(bigint, bigint) IS
'GET /v1/products/{id}. Images that are not ready, names of originals and reasons are shown only to whoever may manage the product: such an answer must not be cached under product:{id}. Errors: HS004 none, or another''s draft, HS005 deleted. Definer''s rights: the API has none on tables.';

CREATE FUNCTION shop.require_visible(p_actor bigint, p_product bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_product shop.product;
BEGIN
    SELECT * INTO v_product FROM shop.product AS p WHERE p.id = p_product;
    IF NOT FOUND OR v_product.published_at IS NULL AND NOT shop.may_manage(p_actor, v_product.merchant_id) THEN
        PERFORM shop.refuse('HS004');
    ELSIF v_product.deleted_at IS NOT NULL THEN
        PERFORM shop.refuse('HS005');
    END IF;
END $$;
COMMENT ON FUNCTION shop.require_visible(bigint, bigint) IS
'Refuses a product that the actor (NULL: anybody) may not see. Errors: HS004 none, or another''s draft, HS005 deleted.';

CREATE FUNCTION rest.product_related(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_related record;
BEGIN
    PERFORM shop.require_visible(p_actor, p_id);
    SELECT * INTO STRICT v_related FROM shop.related_products(p_id);
    RETURN ROW(200, NULL, NULL, false, json_build_object('bought_together', shop.product_items(v_related.bought_together),
                                                         'alike', shop.product_items(v_related.alike)))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.product_related(bigint, bigint) IS
'GET /v1/products/{id}/related: {bought_together, alike}, ten items each at most. Errors: HS004, HS005. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_create(p_actor bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant CONSTANT bigint := shop.require_merchant(p_actor);
    v_skus record;
    v_id bigint;
BEGIN
    PERFORM shop.check_fields(p_body, '{title,description,category_id,attributes,tags,skus,published}');
    SELECT * INTO STRICT v_skus FROM shop.skus_field(p_body, true);
    v_id := shop.create_product(v_merchant, shop.id_field(p_body, 'category_id', false), shop.text_field(p_body, 'title', 300),
        shop.text_field(p_body, 'description', 20000, false, '', 0), shop.field(p_body, 'attributes', 'object', false, ''), shop.tags_field(p_body),
        v_skus.codes, v_skus.prices, v_skus.currency, coalesce(shop.boolean_field(p_body, 'published', false), false));
    RETURN shop.product_reply(v_id, 201);
END $$;
COMMENT ON FUNCTION rest.product_create(bigint, jsonb) IS
'POST /v1/products, for merchants: {title, description?, category_id?, attributes?, tags?, skus: [{code, price, currency}], published?}; a draft unless published is true. Errors: HS001 to HS003, HS008 to HS015, HS201 code taken, HF025 currency. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_update(p_actor bigint, p_id bigint, p_body jsonb, p_if_match text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_product CONSTANT shop.product := shop.require_product(p_actor, p_id);
    v_skus record;
BEGIN
    PERFORM shop.require_match(p_if_match, v_product.version);
    PERFORM shop.check_fields(p_body, '{title,description,category_id,attributes,tags,skus,published}');
    SELECT * INTO STRICT v_skus FROM shop.skus_field(p_body, false);
    IF p_body ? 'skus' AND v_skus.codes IS NULL THEN
        PERFORM shop.refuse('HS010', '/skus');
    END IF;
    PERFORM shop.update_product(v_product, ARRAY(SELECT jsonb_object_keys(p_body)),
        shop.id_field(p_body, 'category_id', false), shop.text_field(p_body, 'title', 300, p_body ? 'title'),
        shop.text_field(p_body, 'description', 20000, false, '', 0), shop.field(p_body, 'attributes', 'object', false, ''), shop.tags_field(p_body),
        shop.boolean_field(p_body, 'published', p_body ? 'published'), v_skus.ids, v_skus.codes, v_skus.prices, v_skus.currency);
    RETURN shop.product_reply(p_id);
END $$;
COMMENT ON FUNCTION rest.product_update(bigint, bigint, jsonb, text) IS
'PATCH /v1/products/{id}, for its merchant: any of title, description, category_id, attributes, tags, published, skus. attributes and tags are replaced as a whole; skus is the list as it shall be, each {id?, code, price, currency?}: known by id or else by code, what is not in it is deleted. null empties description, category_id, attributes, tags. Errors: HS001 to HS015, HS201 code taken. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_publish(p_actor bigint, p_id bigint, p_published boolean DEFAULT true) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_product CONSTANT shop.product := shop.require_product(p_actor, p_id);
BEGIN
    IF (v_product.published_at IS NOT NULL) <> p_published THEN
        PERFORM shop.update_product(v_product, '{published}', p_published => p_published);
    END IF;
    RETURN shop.product_reply(p_id);
END $$;
COMMENT ON FUNCTION rest.product_publish(bigint, bigint, boolean) IS
'POST /v1/products/{id}/publish, for its merchant; p_published false: /unpublish, a draft again. Doing it again changes nothing. Errors: HS001 to HS005. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_delete(p_actor bigint, p_id bigint, p_if_match text DEFAULT NULL) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_product CONSTANT shop.product := shop.require_product(p_actor, p_id);
BEGIN
    PERFORM shop.require_match(p_if_match, v_product.version, false);
    PERFORM shop.delete_product(v_product);
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.product_delete(bigint, bigint, text) IS
'DELETE /v1/products/{id}, for its merchant; If-Match if one likes. Errors: HS001 to HS006. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_check(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_product(p_actor, p_id);
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.product_check(bigint, bigint) IS
'For the application, before it keeps what is sent for a product: 204 if the actor may change it. Errors: HS001 to HS005. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.product_image_add(p_actor bigint, p_id bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_name text;
    v_id bigint;
BEGIN
    PERFORM shop.require_product(p_actor, p_id);
    PERFORM shop.check_fields(p_body, '{original}');
    v_name := shop.text_field(p_body, 'original', 200);
    IF v_name ~ '[/\\\n\r\t]' OR v_name ~ '^\.' THEN
        PERFORM shop.refuse('HS013', '/original', 'wanted: the name of a file, without a path');
    END IF;
    v_id := shop.add_image(p_id, v_name);
    RETURN (SELECT ROW(202, NULL, '/v1/products/' || p_id, false, shop.image_json(i))::rest.reply FROM shop.image AS i WHERE i.id = v_id);
END $$;
COMMENT ON FUNCTION rest.product_image_add(bigint, bigint, jsonb) IS
'POST /v1/products/{id}/images, for its merchant: {original: the name of the file}. 202: the worker makes its sizes; the id in the answer is what the bytes are filed under. Errors: HS001 to HS005, HS008 to HS013, HS205. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.sku_stock_get(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sku shop.sku;
    v_stock record;
BEGIN
    SELECT s.* INTO v_sku FROM shop.sku AS s JOIN shop.product AS p ON p.id = s.product_id
    WHERE s.id = p_id AND (p.published_at IS NOT NULL AND p.deleted_at IS NULL AND s.deleted_at IS NULL OR shop.may_manage(p_actor, p.merchant_id));
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    IF NOT shop.may_manage(p_actor, v_sku.merchant_id) THEN
        RETURN ROW(200, NULL, NULL, false, json_build_object('sku_id', p_id::text, 'available', coalesce(holdfast.available(p_id), 0)))::rest.reply;
    END IF;
    SELECT s.available, s.held, s.sold INTO v_stock FROM holdfast.stock AS s WHERE s.sku = p_id;
    RETURN ROW(200, NULL, NULL, false, json_build_object('sku_id', p_id::text, 'available', coalesce(v_stock.available, 0), 'held', coalesce(v_stock.held, 0),
                                                         'sold', coalesce(v_stock.sold, 0)))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.sku_stock_get(bigint, bigint) IS
'GET /v1/skus/{id}/stock: {sku_id, available}, in units; for its merchant also held and sold. Not to be cached: no table that is watched changes with stock. Errors: HS004. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.sku_receive(p_actor bigint, p_id bigint, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
    v_quantity bigint;
    v_reference text;
BEGIN
    PERFORM shop.require_sku(p_actor, p_id);
    PERFORM shop.check_fields(p_body, '{quantity,reference}');
    v_quantity := shop.integer_field(p_body, 'quantity', 1, 1000000000);
    v_reference := shop.text_field(p_body, 'reference', 200, false);
    IF p_key IS NOT NULL THEN
        v_reply := shop.claim_request(p_actor, 'sku_receive', p_key, jsonb_build_array(p_id, p_body));
        IF v_reply.status IS NOT NULL THEN
            RETURN v_reply;
        END IF;
    END IF;
    v_reply := ROW(201, NULL, NULL, false, json_build_object('sku_id', p_id::text, 'available', holdfast.receive(p_id, v_quantity, v_reference)))::rest.reply;
    RETURN CASE WHEN p_key IS NULL THEN v_reply ELSE shop.complete_request(p_actor, 'sku_receive', p_key, v_reply) END;
END $$;
COMMENT ON FUNCTION rest.sku_receive(bigint, bigint, text, jsonb) IS
'POST /v1/skus/{id}/receipts, for its merchant: {quantity, reference?}, 1 to 10^9 units. With an Idempotency-Key it counts once. Errors: HS001 to HS004, HS008 to HS014, HF019, HF021, HF022. Definer''s rights: the API has none on tables.';

CREATE FUNCTION rest.sku_adjust(p_actor bigint, p_id bigint, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
    v_delta bigint;
    v_reason text;
BEGIN
    PERFORM shop.require_sku(p_actor, p_id);
    PERFORM shop.check_fields(p_body, '{delta,reason}');
    v_delta := shop.integer_field(p_body, 'delta', -1000000000, 1000000000);
    v_reason := shop.text_field(p_body, 'reason', 200);
    IF p_key IS NOT NULL THEN
        v_reply := shop.claim_request(p_actor, 'sku_adjust', p_key, jsonb_build_array(p_id, p_body));
        IF v_reply.status IS NOT NULL THEN
            RETURN v_reply;
        END IF;
    END IF;
    v_reply := ROW(201, NULL, NULL, false, json_build_object('sku_id', p_id::text, 'available', holdfast.adjust(p_id, v_delta, v_reason)))::rest.reply;
    RETURN CASE WHEN p_key IS NULL THEN v_reply ELSE shop.complete_request(p_actor, 'sku_adjust', p_key, v_reply) END;
END $$;
COMMENT ON FUNCTION rest.sku_adjust(bigint, bigint, text, jsonb) IS
'POST /v1/skus/{id}/adjustments, for its merchant: {delta, reason}, units more or less. With an Idempotency-Key it counts once. Errors: HS001 to HS004, HS008 to HS014, HF002 never received, HF003 zero, HF012 more than is available, HF019, HF021, HF022. Definer''s rights: the API has none on tables.';

COMMIT;
