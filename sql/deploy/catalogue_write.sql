-- Deploy shop:catalogue_write to pg
-- requires: catalogue
-- requires: field
-- requires: request
-- requires: job_queue
--
-- Writing the catalogue. Whoever changes a product locks its row first (FOR NO KEY UPDATE) and its SKUs and images after
-- it; the version that he has seen is compared under that lock. What follows from SKUs and images (the lowest price, the
-- version) is written by triggers, so that it is right for every writer, over whatever way he comes. A SKU's price is
-- changed by an ordinary UPDATE of its row, which whoever sells it can lock against. The tree of categories changes
-- under a lock of its table against other changes of the tree; whoever puts a product into it shares the category's row.

BEGIN;
SET LOCAL ROLE shop_owner;

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS201', 409, 'code_taken', 'another SKU of the merchant has this code'),
    ('HS202', 409, 'name_taken', 'another category has this name there'),
    ('HS203', 409, 'category_cycle', 'a category cannot stand below itself'),
    ('HS204', 409, 'category_too_deep', 'categories are at most eight deep'),
    ('HS205', 409, 'too_many_images', 'a product has at most 20 images');

-- Titles are the key of an index; a longer one would not fit.
ALTER TABLE shop.product ADD CONSTRAINT product_title_check CHECK (length(title) <= 500);

CREATE FUNCTION shop.fold_tag(p_tag text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT lower(btrim(regexp_replace(normalize(p_tag, NFKC), '\s+', ' ', 'g')) COLLATE "und-x-icu");
    END;
COMMENT ON FUNCTION shop.fold_tag(text) IS 'A tag as it is stored and looked for: NFKC, in lower case, single blanks.';

CREATE FUNCTION shop.price_products(p_products bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A second statement, after the lock: it sees the SKUs of whoever had it before.
    PERFORM FROM shop.product AS p WHERE p.id = ANY (p_products) ORDER BY p.id FOR NO KEY UPDATE;
    UPDATE shop.product AS p
    SET price = coalesce((SELECT min(s.price) FROM shop.sku AS s WHERE s.product_id = p.id AND s.deleted_at IS NULL), p.price),
        version = p.version + 1, changed_at = clock_timestamp()
    WHERE p.id = ANY (p_products);
END $$;
COMMENT ON FUNCTION shop.price_products(bigint[]) IS 'Makes product.price the lowest price of the live SKUs, and counts the products'' versions. Locks the products.';

CREATE FUNCTION shop.sku_added() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.price_products(ARRAY(SELECT DISTINCT a.product_id FROM added AS a));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.sku_added() IS 'Keeps products in step with new SKUs. Definer''s rights: whoever may write a SKU need not have rights on products.';

CREATE FUNCTION shop.sku_changed() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.price_products(ARRAY(
        SELECT DISTINCT p.id FROM added AS a JOIN removed AS r USING (id), LATERAL (VALUES (a.product_id), (r.product_id)) AS p (id) WHERE a IS DISTINCT FROM r));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.sku_changed() IS 'Keeps products in step with changed SKUs. Definer''s rights, as sku_added().';
CREATE TRIGGER sku_added AFTER INSERT ON shop.sku REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shop.sku_added();
CREATE TRIGGER sku_changed AFTER UPDATE ON shop.sku REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shop.sku_changed();

CREATE FUNCTION shop.image_changed() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE shop.product AS p SET version = p.version + 1, changed_at = clock_timestamp() WHERE p.id IN (SELECT a.product_id FROM added AS a);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.image_changed() IS 'Counts the version of a product whose images change. Definer''s rights, as sku_added().';
CREATE TRIGGER image_added AFTER INSERT ON shop.image REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shop.image_changed();
CREATE TRIGGER image_changed AFTER UPDATE ON shop.image REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shop.image_changed();

CREATE FUNCTION shop.version_forgotten() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION shop.version_forgotten() IS 'Counts the version of what is changed by a writer who does not, so that no ETag stands for two states.';
CREATE TRIGGER version_forgotten BEFORE UPDATE ON shop.product
    FOR EACH ROW WHEN (NEW.version = OLD.version AND NEW.* IS DISTINCT FROM OLD.*) EXECUTE FUNCTION shop.version_forgotten();
CREATE TRIGGER version_forgotten BEFORE UPDATE ON shop.merchant
    FOR EACH ROW WHEN (NEW.version = OLD.version AND NEW.* IS DISTINCT FROM OLD.*) EXECUTE FUNCTION shop.version_forgotten();

CREATE FUNCTION shop.require_product(p_actor bigint, p_product bigint) RETURNS shop.product
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_product shop.product;
BEGIN
    PERFORM shop.require_actor(p_actor);
    SELECT * INTO v_product FROM shop.product AS p WHERE p.id = p_product FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF v_product.published_at IS NULL AND NOT shop.may_manage(p_actor, v_product.merchant_id) THEN
        PERFORM shop.refuse('HS004');
    END IF;
    PERFORM shop.require_merchant_of(p_actor, v_product.merchant_id);
    IF v_product.deleted_at IS NOT NULL THEN
        PERFORM shop.refuse('HS005');
    END IF;
    RETURN v_product;
END $$;
COMMENT ON FUNCTION shop.require_product(bigint, bigint) IS
'Locks a product that the actor may change, and returns it as it is then. Errors: HS001 to HS003 (another''s), HS004 none, or another''s draft, HS005 deleted.';

CREATE FUNCTION shop.may_manage(p_actor bigint, p_merchant bigint) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM shop.account AS a
                       WHERE a.id = p_actor AND a.suspended_at IS NULL
                         AND ('admin' = ANY (a.roles)
                              OR 'merchant' = ANY (a.roles) AND EXISTS (SELECT FROM shop.merchant AS m WHERE m.id = p_merchant AND m.account_id = a.id)));
    END;
COMMENT ON FUNCTION shop.may_manage(bigint, bigint) IS 'Whether the actor is this merchant, or an admin: who sees drafts. Refuses nobody.';

CREATE FUNCTION shop.require_sku(p_actor bigint, p_sku bigint) RETURNS shop.sku
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sku shop.sku;
    v_published timestamptz;
BEGIN
    PERFORM shop.require_actor(p_actor);
    SELECT s.* INTO v_sku FROM shop.sku AS s WHERE s.id = p_sku;
    SELECT p.published_at INTO v_published FROM shop.product AS p WHERE p.id = v_sku.product_id;
    IF v_sku.id IS NULL OR v_published IS NULL AND NOT shop.may_manage(p_actor, v_sku.merchant_id) THEN
        PERFORM shop.refuse('HS004');
    END IF;
    PERFORM shop.require_merchant_of(p_actor, v_sku.merchant_id);
    RETURN v_sku;
END $$;
COMMENT ON FUNCTION shop.require_sku(bigint, bigint) IS
'A SKU whose stock the actor may change; a deleted one too, whose units may still come back. Errors: HS001 to HS003 (another''s), HS004 none, or of another''s draft.';

CREATE FUNCTION shop.check_product(p_category bigint, p_attributes jsonb, p_tags text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_category IS NOT NULL THEN
        PERFORM FROM shop.category AS c WHERE c.id = p_category FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM shop.refuse('HS015', '/category_id', 'there is no such category');
        END IF;
    END IF;
    IF octet_length(p_attributes::text) > 16384 THEN
        PERFORM shop.refuse('HS012', '/attributes', 'wanted: at most 16384 bytes');
    ELSIF jsonb_path_exists(p_attributes, 'strict $.**{6}') THEN
        PERFORM shop.refuse('HS015', '/attributes', 'wanted: at most five deep');
    ELSIF cardinality(p_tags) > 50 THEN
        PERFORM shop.refuse('HS012', '/tags', 'wanted: at most 50');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_product(bigint, jsonb, text[]) IS
'The rules for a product''s category, attributes and tags; NULL: not to be checked. Errors: HS012, HS015, with the pointers of the request.';

CREATE FUNCTION shop.set_skus(p_product bigint, p_ids bigint[], p_codes text[], p_prices bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_product shop.product;
    v_row record;
BEGIN
    SELECT * INTO STRICT v_product FROM shop.product AS p WHERE p.id = p_product FOR NO KEY UPDATE;
    IF coalesce(cardinality(p_codes), 0) NOT BETWEEN 1 AND 100 THEN
        PERFORM shop.refuse('HS012', '/skus', 'wanted: 1 to 100');
    END IF;
    FOR v_row IN
        SELECT w.n, w.id, w.code, s.id IS NOT NULL AS known, row_number() OVER (PARTITION BY w.code ORDER BY w.n) AS same_code,
               CASE WHEN w.id IS NOT NULL THEN row_number() OVER (PARTITION BY w.id ORDER BY w.n) ELSE 1 END AS same_id,
               t.product_id <> p_product OR t.id <> w.id OR w.id IS NULL AND t.id = ANY (p_ids) AS taken
        FROM unnest(p_ids, p_codes, p_prices) WITH ORDINALITY AS w (id, code, price, n)
        LEFT JOIN shop.sku AS s ON s.id = w.id AND s.product_id = p_product
        LEFT JOIN shop.sku AS t ON t.merchant_id = v_product.merchant_id AND t.code = w.code
        ORDER BY w.n
    LOOP
        IF v_row.same_code > 1 THEN
            PERFORM shop.refuse('HS015', format('/skus/%s/code', v_row.n - 1), 'it is the code of an earlier one');
        ELSIF v_row.id IS NOT NULL AND NOT v_row.known THEN
            PERFORM shop.refuse('HS015', format('/skus/%s/id', v_row.n - 1), 'not a SKU of this product');
        ELSIF v_row.same_id > 1 THEN
            PERFORM shop.refuse('HS015', format('/skus/%s/id', v_row.n - 1), 'it is the id of an earlier one');
        ELSIF v_row.taken THEN
            PERFORM shop.refuse('HS201', format('/skus/%s/code', v_row.n - 1));
        END IF;
    END LOOP;
    UPDATE shop.sku AS s SET deleted_at = clock_timestamp()
    WHERE s.product_id = p_product AND s.deleted_at IS NULL AND s.id <> ALL (array_remove(coalesce(p_ids, '{}'), NULL))
      AND s.code <> ALL (ARRAY(SELECT w.code FROM unnest(p_ids, p_codes) AS w (id, code) WHERE w.id IS NULL));
    BEGIN
        UPDATE shop.sku AS s SET code = w.code, price = w.price, position = w.n, deleted_at = NULL
        FROM unnest(p_ids, p_codes, p_prices) WITH ORDINALITY AS w (id, code, price, n)
        WHERE s.product_id = p_product AND (s.id = w.id OR w.id IS NULL AND s.code = w.code)
          AND (s.code, s.price, s.position, s.deleted_at) IS DISTINCT FROM (w.code, w.price, w.n::integer, NULL::timestamptz);
    EXCEPTION WHEN unique_violation THEN
        PERFORM shop.refuse('HS201', '/skus', 'somebody else was quicker');
    END;
    -- By code, so that two who insert the same codes wait for each other in one direction only.
    INSERT INTO shop.sku (product_id, merchant_id, code, price, currency, position)
    SELECT p_product, v_product.merchant_id, w.code, w.price, v_product.currency, w.n
    FROM unnest(p_ids, p_codes, p_prices) WITH ORDINALITY AS w (id, code, price, n)
    WHERE w.id IS NULL AND NOT EXISTS (SELECT FROM shop.sku AS s WHERE s.product_id = p_product AND s.code = w.code)
    ORDER BY w.code
    ON CONFLICT (merchant_id, code) DO NOTHING;
    SELECT w.n, w.code INTO v_row
    FROM unnest(p_codes) WITH ORDINALITY AS w (code, n)
    WHERE NOT EXISTS (SELECT FROM shop.sku AS s WHERE s.product_id = p_product AND s.code = w.code AND s.deleted_at IS NULL) ORDER BY w.n LIMIT 1;
    IF FOUND THEN
        PERFORM shop.refuse('HS201', format('/skus/%s/code', v_row.n - 1));
    END IF;
END $$;
COMMENT ON FUNCTION shop.set_skus(bigint, bigint[], text[], bigint[]) IS
'Gives a product exactly these SKUs, in this order: one with an id is changed, code included; one without is that of its code, also if it was deleted, or is new; those not named are marked deleted. Codes do not change places in one call, and one stays taken when its SKU is deleted. Prices in minor units of the product''s currency. Errors: HS012 not 1 to 100, HS015 the same twice, or another product''s, HS201 code taken.';

CREATE FUNCTION shop.create_product(p_merchant bigint, p_category bigint, p_title text, p_description text, p_attributes jsonb, p_tags text[],
                                    p_codes text[], p_prices bigint[], p_currency text, p_published boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id bigint;
BEGIN
    PERFORM shop.check_product(p_category, p_attributes, p_tags);
    IF NOT EXISTS (SELECT FROM holdfast.currencies() AS c WHERE c.currency = p_currency) THEN
        PERFORM shop.refuse('HF025', '/skus/0/currency');
    END IF;
    -- The trigger on its SKUs counts, and so does publishing it: in the end it is version 1.
    INSERT INTO shop.product (merchant_id, category_id, title, description, attributes, tags, currency, price, version)
    VALUES (p_merchant, p_category, p_title, coalesce(p_description, ''), coalesce(p_attributes, '{}'), coalesce(p_tags, '{}'), p_currency,
            coalesce((SELECT min(x) FROM unnest(p_prices) AS x), 1), -p_published::integer)
    RETURNING id INTO v_id;
    PERFORM shop.set_skus(v_id, array_fill(NULL::bigint, ARRAY[cardinality(p_codes)]), p_codes, p_prices);
    IF p_published THEN
        UPDATE shop.product AS p SET published_at = clock_timestamp(), version = p.version + 1 WHERE p.id = v_id;
    END IF;
    RETURN v_id;
END $$;
COMMENT ON FUNCTION shop.create_product(bigint, bigint, text, text, jsonb, text[], text[], bigint[], text, boolean) IS
'Creates a product of a merchant with its SKUs and returns its id: a draft unless p_published. Errors: those of check_product() and set_skus(), HF025 currency.';

CREATE FUNCTION shop.update_product(p_product shop.product, p_fields text[], p_category bigint DEFAULT NULL, p_title text DEFAULT NULL, p_description text DEFAULT NULL,
                                    p_attributes jsonb DEFAULT NULL, p_tags text[] DEFAULT NULL, p_published boolean DEFAULT NULL,
                                    p_ids bigint[] DEFAULT NULL, p_codes text[] DEFAULT NULL, p_prices bigint[] DEFAULT NULL, p_currency text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.check_product(p_category, p_attributes, p_tags);
    UPDATE shop.product AS p
    SET title = coalesce(p_title, p.title),
        description = CASE WHEN 'description' = ANY (p_fields) THEN coalesce(p_description, '') ELSE p.description END,
        category_id = CASE WHEN 'category_id' = ANY (p_fields) THEN p_category ELSE p.category_id END,
        attributes = CASE WHEN 'attributes' = ANY (p_fields) THEN coalesce(p_attributes, '{}') ELSE p.attributes END,
        tags = CASE WHEN 'tags' = ANY (p_fields) THEN coalesce(p_tags, '{}') ELSE p.tags END,
        published_at = CASE WHEN p_published THEN coalesce(p.published_at, clock_timestamp()) WHEN NOT p_published THEN NULL ELSE p.published_at END,
        version = p.version + 1, changed_at = clock_timestamp()
    WHERE p.id = (p_product).id AND p.version = (p_product).version AND p.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS006');
    END IF;
    IF 'skus' = ANY (p_fields) THEN
        IF p_currency <> (p_product).currency THEN
            PERFORM shop.refuse('HS015', '/skus/0/currency', 'wanted: ' || (p_product).currency || ', as ever');
        END IF;
        PERFORM shop.set_skus((p_product).id, p_ids, p_codes, p_prices);
    END IF;
END $$;
COMMENT ON FUNCTION shop.update_product(shop.product, text[], bigint, text, text, jsonb, text[], boolean, bigint[], text[], bigint[], text) IS
'Changes the fields of p_product (as require_product() gave it) that p_fields names, and counts its version; p_published: publishes it, or makes it a draft again. A product keeps its currency: orders and sales are in it. Errors: HS006 it has changed meanwhile, and those of check_product() and set_skus().';

CREATE FUNCTION shop.delete_product(p_product shop.product) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE shop.product AS p SET deleted_at = clock_timestamp(), version = p.version + 1, changed_at = clock_timestamp()
    WHERE p.id = (p_product).id AND p.version = (p_product).version AND p.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS006');
    END IF;
    UPDATE shop.sku AS s SET deleted_at = clock_timestamp() WHERE s.product_id = (p_product).id AND s.deleted_at IS NULL;
END $$;
COMMENT ON FUNCTION shop.delete_product(shop.product) IS
'Marks a product and its SKUs deleted, for ever. Stock, holds and orders stay. Errors: HS006 it has changed meanwhile.';

CREATE FUNCTION shop.add_image(p_product bigint, p_original text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id bigint;
BEGIN
    PERFORM FROM shop.product AS p WHERE p.id = p_product FOR NO KEY UPDATE;
    INSERT INTO shop.image (product_id, original, position)
    SELECT p_product, p_original, coalesce(max(i.position), 0) + 1 FROM shop.image AS i WHERE i.product_id = p_product
    HAVING count(*) FILTER (WHERE i.state <> 'refused') < 20
    RETURNING id INTO v_id;
    IF v_id IS NULL THEN
        PERFORM shop.refuse('HS205');
    END IF;
    PERFORM shop.enqueue('image_uploaded', jsonb_build_object('image_id', v_id::text));
    RETURN v_id;
END $$;
COMMENT ON FUNCTION shop.add_image(bigint, text) IS
'An image of a product has been uploaded under the name p_original: returns its id, and enqueues image_uploaded. Errors: HS205 too many.';

CREATE FUNCTION shop.create_category(p_parent bigint, p_name text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id CONSTANT bigint := holdfast.new_id();
    v_path bigint[] := '{}'::bigint[];
BEGIN
    IF p_parent IS NOT NULL THEN
        SELECT c.path INTO v_path FROM shop.category AS c WHERE c.id = p_parent FOR SHARE;
        IF NOT FOUND THEN
            PERFORM shop.refuse('HS015', '/parent_id', 'there is no such category');
        ELSIF cardinality(v_path) >= 8 THEN
            PERFORM shop.refuse('HS204', '/parent_id');
        END IF;
    END IF;
    INSERT INTO shop.category (id, parent_id, name, path) VALUES (v_id, p_parent, p_name, v_path || v_id) ON CONFLICT (parent_id, name) DO NOTHING;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS202', '/name');
    END IF;
    RETURN v_id;
END $$;
COMMENT ON FUNCTION shop.create_category(bigint, text) IS
'Creates a category below p_parent, or at the top, and returns its id. Errors: HS015 no such parent, HS202 name taken, HS204 too deep.';

CREATE FUNCTION shop.update_category(p_category bigint, p_fields text[], p_parent bigint DEFAULT NULL, p_name text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_old bigint[];
    v_new bigint[] := '{}'::bigint[];
    v_name text;
BEGIN
    -- The tree stands still until this transaction ends; who reads it does not wait.
    LOCK TABLE shop.category IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.path, coalesce(p_name, c.name) INTO v_old, v_name FROM shop.category AS c WHERE c.id = p_category;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    IF NOT 'parent_id' = ANY (p_fields) THEN
        v_new := v_old;
    ELSE
        IF p_parent IS NOT NULL THEN
            SELECT c.path INTO v_new FROM shop.category AS c WHERE c.id = p_parent;
            IF NOT FOUND THEN
                PERFORM shop.refuse('HS015', '/parent_id', 'there is no such category');
            ELSIF p_category = ANY (v_new) THEN
                PERFORM shop.refuse('HS203', '/parent_id');
            END IF;
        END IF;
        v_new := v_new || p_category;
    END IF;
    IF EXISTS (SELECT FROM shop.category AS c WHERE c.path @> ARRAY[p_category] AND cardinality(c.path) - cardinality(v_old) + cardinality(v_new) > 8) THEN
        PERFORM shop.refuse('HS204', '/parent_id');
    END IF;
    IF EXISTS (SELECT FROM shop.category AS c
               WHERE c.parent_id IS NOT DISTINCT FROM v_new[cardinality(v_new) - 1] AND c.name = v_name AND c.id <> p_category) THEN
        PERFORM shop.refuse('HS202', '/name');
    END IF;
    UPDATE shop.category AS c
    SET path = v_new || c.path[cardinality(v_old) + 1 :],
        parent_id = CASE WHEN c.id = p_category THEN v_new[cardinality(v_new) - 1] ELSE c.parent_id END,
        name = CASE WHEN c.id = p_category THEN v_name ELSE c.name END
    WHERE c.path @> ARRAY[p_category] AND (v_new <> v_old OR c.id = p_category);
END $$;
COMMENT ON FUNCTION shop.update_category(bigint, text[], bigint, text) IS
'Renames a category, and moves it with all below it if p_fields names parent_id (NULL: to the top). Errors: HS004, HS015 no such parent, HS202 name taken, HS203 below itself, HS204 too deep.';

COMMIT;
