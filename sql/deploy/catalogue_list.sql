-- Deploy shop:catalogue_list to pg
-- requires: catalogue
-- requires: field
--
-- Lists of published products, in four orders: new, price, -price, title. Each of them, over the whole shop, over a
-- merchant and over a category with all below it, is walked along an index of its own from the place where the last page
-- ended. What a category shows is written down, a row for each category above a product; triggers keep it, under a share
-- of the category's row, which a change of the tree waits for.
--
-- The other filters are looked at while walking. A page looks at 500 products at most: if that does not fill it, and
-- one of the filters by itself leaves no more than 300 products, those are sorted instead; otherwise the page is
-- shorter than its limit, or empty, and its cursor says where to go on. So no request costs more than a bounded walk.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE INDEX product_new_idx ON shop.product (published_at, id) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX product_price_idx ON shop.product (price, id) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX product_title_idx ON shop.product (title COLLATE "und-x-icu", id) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX product_merchant_new_idx ON shop.product (merchant_id, published_at, id) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX product_merchant_price_idx ON shop.product (merchant_id, price, id) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX product_merchant_title_idx ON shop.product (merchant_id, title COLLATE "und-x-icu", id) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX product_draft_idx ON shop.product (merchant_id, id) WHERE published_at IS NULL AND deleted_at IS NULL;
CREATE INDEX product_tags_idx ON shop.product USING gin (tags) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX product_attributes_idx ON shop.product USING gin (attributes jsonb_path_ops) WHERE published_at IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE shop.product_category (
    product_id   bigint      NOT NULL,
    category_id  bigint      NOT NULL,
    published_at timestamptz NOT NULL,
    price        bigint      NOT NULL,
    title        text        COLLATE "und-x-icu" NOT NULL,
    version      integer     NOT NULL,
    CONSTRAINT product_category_pkey PRIMARY KEY (product_id, category_id),
    CONSTRAINT product_category_product_fkey FOREIGN KEY (product_id) REFERENCES shop.product (id) ON DELETE CASCADE
) WITH (fillfactor = 90);
CREATE INDEX product_category_new_idx ON shop.product_category (category_id, published_at, product_id);
CREATE INDEX product_category_price_idx ON shop.product_category (category_id, price, product_id);
CREATE INDEX product_category_title_idx ON shop.product_category (category_id, title, product_id);
COMMENT ON TABLE shop.product_category IS
'What a category shows: its published products and those of all categories below it, with what lists sort by. Kept by triggers on product and category.';
COMMENT ON COLUMN shop.product_category.version IS 'That of the product: with it, a change of whatever lists show changes a row of each category.';

CREATE FUNCTION shop.place_products(p_products bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_products = '{}' THEN
        RETURN;
    END IF;
    -- A second statement, after the lock: it sees the path as it will stay until this transaction ends.
    PERFORM FROM shop.category AS c WHERE c.id IN (SELECT p.category_id FROM shop.product AS p WHERE p.id = ANY (p_products)) ORDER BY c.id FOR SHARE;
    DELETE FROM shop.product_category AS pc
    WHERE pc.product_id = ANY (p_products)
      AND NOT EXISTS (SELECT FROM shop.product AS p JOIN shop.category AS c ON c.id = p.category_id
                      WHERE p.id = pc.product_id AND p.published_at IS NOT NULL AND p.deleted_at IS NULL AND pc.category_id = ANY (c.path));
    INSERT INTO shop.product_category AS pc (product_id, category_id, published_at, price, title, version)
    SELECT p.id, a.id, p.published_at, p.price, p.title, p.version
    FROM shop.product AS p JOIN shop.category AS c ON c.id = p.category_id, unnest(c.path) AS a (id)
    WHERE p.id = ANY (p_products) AND p.published_at IS NOT NULL AND p.deleted_at IS NULL
    ON CONFLICT (product_id, category_id) DO UPDATE SET published_at = excluded.published_at, price = excluded.price, title = excluded.title, version = excluded.version
    WHERE (pc.published_at, pc.price, pc.title, pc.version) IS DISTINCT FROM (excluded.published_at, excluded.price, excluded.title, excluded.version);
END $$;
COMMENT ON FUNCTION shop.place_products(bigint[]) IS 'Writes down anew in which categories products show. Takes a share of their categories'' rows.';

CREATE FUNCTION shop.place_added() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.place_products(ARRAY(SELECT a.id FROM added AS a WHERE a.category_id IS NOT NULL AND a.published_at IS NOT NULL));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.place_added() IS 'Shows new products in their categories. Definer''s rights: whoever may write a product need not have rights on what follows from it.';

CREATE FUNCTION shop.place_changed() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The category that a product leaves stands still too: a move of it must not put the product back.
    PERFORM FROM shop.category AS c
    WHERE c.id IN (SELECT r.category_id FROM added AS a JOIN removed AS r USING (id) WHERE a.category_id IS DISTINCT FROM r.category_id) ORDER BY c.id FOR SHARE;
    PERFORM shop.place_products(ARRAY(
        SELECT a.id FROM added AS a JOIN removed AS r USING (id)
        WHERE (a.category_id, a.published_at, a.deleted_at, a.price, a.title, a.version)
            IS DISTINCT FROM (r.category_id, r.published_at, r.deleted_at, r.price, r.title, r.version)
          AND (a.category_id IS NOT NULL OR r.category_id IS NOT NULL)));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.place_changed() IS 'Shows changed products in their categories as they are now. Definer''s rights, as place_added().';

CREATE FUNCTION shop.place_moved() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.place_products(ARRAY(
        SELECT DISTINCT pc.product_id FROM added AS a JOIN removed AS r USING (id) JOIN shop.product_category AS pc ON pc.category_id = a.id
        WHERE a.path <> r.path));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.place_moved() IS 'Shows the products of moved categories where they are now. Definer''s rights, as place_added().';

CREATE TRIGGER product_placed AFTER INSERT ON shop.product REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shop.place_added();
CREATE TRIGGER product_replaced AFTER UPDATE ON shop.product REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION shop.place_changed();
CREATE TRIGGER category_moved AFTER UPDATE ON shop.category REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION shop.place_moved();
SELECT shop.place_products(ARRAY(SELECT p.id FROM shop.product AS p WHERE p.category_id IS NOT NULL));

-- The statements are text, so that each is planned for the very index that it is made for, and can be shown to EXPLAIN.
CREATE FUNCTION shop.list_statement(p_sort text, p_limit integer, p_after text[] DEFAULT NULL, p_category bigint DEFAULT NULL, p_merchant bigint DEFAULT NULL,
                                    p_min_price bigint DEFAULT NULL, p_max_price bigint DEFAULT NULL, p_currency text DEFAULT NULL, p_tag text DEFAULT NULL,
                                    p_attributes jsonb DEFAULT NULL, p_in_stock boolean DEFAULT NULL, p_walk integer DEFAULT 500, p_ids bigint[] DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_column CONSTANT text := CASE p_sort WHEN 'new' THEN 'published_at' WHEN 'title' THEN 'title' ELSE 'price' END;
    v_by_category CONSTANT boolean := p_category IS NOT NULL AND p_ids IS NULL;
    v_key CONSTANT text := CASE WHEN v_by_category THEN 'c.' || v_column WHEN p_sort = 'title' THEN 'p.title COLLATE "und-x-icu"' ELSE 'p.' || v_column END;
    v_id CONSTANT text := CASE WHEN v_by_category THEN 'c.product_id' ELSE 'p.id' END;
    v_way CONSTANT text := CASE WHEN p_sort IN ('new', '-price') THEN 'DESC' ELSE 'ASC' END;
    v_range CONSTANT text := CASE WHEN coalesce(p_min_price, p_max_price) IS NOT NULL THEN
        concat_ws(' AND ', CASE WHEN v_by_category AND v_column = 'price' THEN 'c' ELSE 'p' END || '.price >= ' || p_min_price,
                  CASE WHEN v_by_category AND v_column = 'price' THEN 'c' ELSE 'p' END || '.price <= ' || p_max_price) END;
    v_shown CONSTANT text := CASE p_sort WHEN 'new' THEN 'shop.json_time(%s)' ELSE '%s::text' END;
    v_where text;
    v_filter text;
    v_walk text;
BEGIN
    v_where := concat_ws(' AND ',
        CASE WHEN v_by_category THEN 'c.category_id = ' || p_category ELSE 'p.published_at IS NOT NULL AND p.deleted_at IS NULL' END,
        CASE WHEN NOT v_by_category THEN 'p.merchant_id = ' || p_merchant END,
        CASE WHEN v_column = 'price' THEN v_range END,
        CASE WHEN p_after IS NOT NULL THEN
            format('(%s, %s) %s (%L, %s)', v_key, v_id, CASE v_way WHEN 'DESC' THEN '<' ELSE '>' END, p_after[1], p_after[2]::bigint) END);
    v_filter := concat_ws(' AND ',
        CASE WHEN v_by_category THEN 'p.merchant_id = ' || p_merchant END,
        CASE WHEN v_column <> 'price' THEN v_range END,
        CASE WHEN p_currency IS NOT NULL THEN format('p.currency = %L', p_currency) END,
        CASE WHEN p_tag IS NOT NULL THEN format('p.tags @> ARRAY[%L]', p_tag) END,
        CASE WHEN p_attributes IS NOT NULL THEN format('p.attributes @> %L', p_attributes) END,
        CASE WHEN p_in_stock IS NOT NULL THEN
            format('%sEXISTS (SELECT FROM shop.sku AS s WHERE s.product_id = p.id AND s.deleted_at IS NULL AND holdfast.available(s.id) > 0)',
                   CASE WHEN p_in_stock THEN '' ELSE 'NOT ' END) END);
    IF p_ids IS NOT NULL THEN
        RETURN format('SELECT p.id, %s AS k FROM shop.product AS p WHERE %s ORDER BY %5$s %4$s, p.id %4$s LIMIT %3$s', format(v_shown, v_key),
            concat_ws(' AND ', format('p.id = ANY (%L)', p_ids), v_where, nullif(v_filter, ''), CASE WHEN p_category IS NOT NULL THEN
                format('EXISTS (SELECT FROM shop.product_category AS c WHERE c.product_id = p.id AND c.category_id = %s)', p_category) END), p_limit, v_way, v_key);
    END IF;
    v_walk := format('SELECT %s AS id, %s AS k%s FROM shop.%s WHERE %s ORDER BY %s %s, %1$s %7$s', v_id,
        CASE WHEN v_filter <> '' AND p_limit IS NOT NULL THEN v_key ELSE format(v_shown, v_key) END,
        CASE WHEN v_filter <> '' AND NOT v_by_category THEN ', p.currency, p.price, p.tags, p.attributes' ELSE '' END,
        CASE WHEN v_by_category THEN 'product_category AS c' ELSE 'product AS p' END, v_where, v_key, v_way);
    RETURN CASE
        WHEN p_limit IS NULL THEN format('%s OFFSET %s LIMIT 1', v_walk, p_walk - 1)
        WHEN v_filter = '' THEN format('%s LIMIT %s', v_walk, p_limit)
        WHEN v_by_category THEN format('SELECT p.id, %s AS k FROM (%s LIMIT %s) AS c, LATERAL (SELECT q.* FROM shop.product AS q WHERE q.id = c.id OFFSET 0) AS p WHERE %s ORDER BY c.k %s, c.id %5$s LIMIT %6$s',
            format(v_shown, 'c.k'), v_walk, p_walk, v_filter, v_way, p_limit)
        ELSE format('SELECT p.id, %s AS k FROM (%s LIMIT %s) AS p WHERE %s ORDER BY p.k %s, p.id %5$s LIMIT %6$s',
            format(v_shown, 'p.k'), v_walk, p_walk, v_filter, v_way, p_limit)
    END;
END $$;
COMMENT ON FUNCTION shop.list_statement(text, integer, text[], bigint, bigint, bigint, bigint, text, text, jsonb, boolean, integer, bigint[]) IS
'The statement of list_products() for the first p_limit matches among the next p_walk products; with a limit of NULL for the last of these p_walk; with p_ids for the matches among those. Rows of id and k, what is sorted by, as text.';

CREATE FUNCTION shop.list_products(p_sort text DEFAULT 'new', p_limit integer DEFAULT 20, p_cursor text DEFAULT NULL, p_category bigint DEFAULT NULL,
                                   p_merchant bigint DEFAULT NULL, p_min_price bigint DEFAULT NULL, p_max_price bigint DEFAULT NULL, p_currency text DEFAULT NULL,
                                   p_tag text DEFAULT NULL, p_attributes jsonb DEFAULT NULL, p_in_stock boolean DEFAULT NULL,
                                   OUT product_ids bigint[], OUT next_cursor text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    v_walk CONSTANT integer := 500;
    v_few CONSTANT integer := 300;
    v_after CONSTANT text[] := shop.read_cursor(p_cursor, p_sort,
        ARRAY[CASE p_sort WHEN 'new' THEN 'timestamptz' WHEN 'title' THEN 'text' ELSE 'bigint' END::regtype, 'bigint']);
    v_id bigint;
    v_key text;
    v_last_id bigint;
    v_last_key text;
    v_condition text;
    v_few_ids bigint[];
BEGIN
    product_ids := '{}'::bigint[];
    FOR v_id, v_key IN EXECUTE shop.list_statement(p_sort, p_limit + 1, v_after, p_category, p_merchant, p_min_price, p_max_price, p_currency, p_tag, p_attributes, p_in_stock, v_walk) LOOP
        IF cardinality(product_ids) = p_limit THEN
            next_cursor := shop.cursor_of(p_sort, v_last_key, v_last_id::text);
            RETURN;
        END IF;
        product_ids := product_ids || v_id;
        v_last_id := v_id;
        v_last_key := v_key;
    END LOOP;
    -- Less than a page: because there is no more, or because the walk was at its end?
    EXECUTE shop.list_statement(p_sort, NULL, v_after, p_category, p_merchant, p_min_price, p_max_price, p_currency, p_tag, p_attributes, p_in_stock, v_walk)
    INTO v_last_id, v_last_key;
    IF v_last_id IS NULL OR p_tag IS NULL AND p_attributes IS NULL AND p_in_stock IS NULL AND p_currency IS NULL
       AND NOT (p_category IS NOT NULL AND p_merchant IS NOT NULL) AND (coalesce(p_min_price, p_max_price) IS NULL OR p_sort IN ('price', '-price')) THEN
        RETURN;
    END IF;
    FOREACH v_condition IN ARRAY array_remove(ARRAY[
        CASE WHEN p_tag IS NOT NULL THEN format('p.tags @> ARRAY[%L]', p_tag) END,
        CASE WHEN p_attributes IS NOT NULL THEN format('p.attributes @> %L', p_attributes) END,
        CASE WHEN p_merchant IS NOT NULL THEN 'p.merchant_id = ' || p_merchant END,
        CASE WHEN coalesce(p_min_price, p_max_price) IS NOT NULL AND p_sort NOT IN ('price', '-price') THEN
            concat_ws(' AND ', 'p.price >= ' || p_min_price, 'p.price <= ' || p_max_price) END], NULL)
    LOOP
        EXECUTE format('SELECT array_agg(f.id) FROM (SELECT p.id FROM shop.product AS p WHERE p.published_at IS NOT NULL AND p.deleted_at IS NULL AND %s LIMIT %s) AS f',
                       v_condition, v_few + 1) INTO v_few_ids;
        CONTINUE WHEN cardinality(v_few_ids) > v_few;
        product_ids := '{}'::bigint[];
        FOR v_id, v_key IN EXECUTE shop.list_statement(p_sort, p_limit + 1, v_after, p_category, p_merchant, p_min_price, p_max_price, p_currency, p_tag, p_attributes, p_in_stock,
                                                       p_ids => coalesce(v_few_ids, '{}'::bigint[])) LOOP
            IF cardinality(product_ids) = p_limit THEN
                next_cursor := shop.cursor_of(p_sort, v_last_key, v_last_id::text);
                RETURN;
            END IF;
            product_ids := product_ids || v_id;
            v_last_id := v_id;
            v_last_key := v_key;
        END LOOP;
        RETURN;
    END LOOP;
    next_cursor := shop.cursor_of(p_sort, v_last_key, v_last_id::text);
END $$;
COMMENT ON FUNCTION shop.list_products(text, integer, text, bigint, bigint, bigint, bigint, text, text, jsonb, boolean) IS
'A page of published products in the order new, price, -price or title. Filters, each NULL for none: a category with all below it, a merchant, prices from and to (minor units), a currency, a tag (as fold_tag() writes it), attributes that are contained, in stock or not. A page may be shorter than p_limit, even empty, and have a cursor all the same: the list ends where next_cursor is NULL. Errors: HS016 cursor.';

CREATE FUNCTION shop.product_items(p_products bigint[]) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT coalesce(json_agg(json_build_object('id', p.id::text, 'title', p.title, 'price', p.price, 'currency', p.currency,
                   'merchant_id', p.merchant_id::text, 'category_id', p.category_id::text, 'tags', to_json(p.tags), 'image', i.sizes,
                   'in_stock', EXISTS (SELECT FROM shop.sku AS s WHERE s.product_id = p.id AND s.deleted_at IS NULL AND holdfast.available(s.id) > 0),
                   'published_at', shop.json_time(p.published_at)) ORDER BY u.n), '[]')
        FROM unnest(p_products) WITH ORDINALITY AS u (id, n)
        JOIN shop.product AS p ON p.id = u.id
        LEFT JOIN LATERAL (SELECT m.sizes FROM shop.image AS m WHERE m.product_id = p.id AND m.state = 'ready' ORDER BY m.position, m.id LIMIT 1) AS i ON true;
    END;
COMMENT ON FUNCTION shop.product_items(bigint[]) IS 'Products as lists show them, in the order of their ids given: image is the sizes of the first one that is ready; in_stock is of this instant.';

COMMIT;
