-- What tests of sales need beside begin.sql.

-- A preheated sale of a SKU of the merchant's own: open for an hour, at 500, unless told otherwise.
CREATE FUNCTION sale(p_merchant text, p_code text, p_units bigint DEFAULT 10, p_limit integer DEFAULT 1, p_starts interval DEFAULT '-1 minute') RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    v_id bigint;
BEGIN
    SELECT s.id INTO v_id FROM shop.sale AS s JOIN shop.sku AS k ON k.id = s.sku_id WHERE k.merchant_id = merchant(p_merchant) AND k.code = p_code;
    IF NOT FOUND THEN
        v_id := shop.create_sale(merchant(p_merchant), sku(p_merchant, p_code), 500, p_units, clock_timestamp() + p_starts, clock_timestamp() + interval '1 hour', p_limit);
        PERFORM shop.preheat_sale(v_id);
    END IF;
    RETURN v_id;
END $$;

-- Buys, and says what came of it.
CREATE FUNCTION buys(p_name text, p_sale bigint, p_key text, p_quantity bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT verdict || CASE WHEN replayed THEN ' again' ELSE '' END
    FROM shop.purchase_batch(ARRAY[person(p_name)], ARRAY[p_key], ARRAY[p_sale], ARRAY[p_quantity])
$$;

-- The order that a key has led to.
CREATE FUNCTION order_of(p_name text, p_sale bigint, p_key text) RETURNS uuid LANGUAGE sql AS $$
    SELECT order_ids[array_position(keys, p_key COLLATE "C")] FROM shop.sale_buyer WHERE account_id = person(p_name) AND sale_id = p_sale
$$;

-- An order's time is over.
CREATE FUNCTION lapses(p_name text, p_order uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE _holdfast.hold SET held_at = held_at - interval '1 hour', expires_at = clock_timestamp() - interval '1 second' WHERE owner = p_order;
    UPDATE shop.order SET expires_at = clock_timestamp() - interval '1 second' WHERE account_id = person(p_name) AND id = p_order;
$$;

-- An order is paid, without a provider.
CREATE FUNCTION pays(p_name text, p_order uuid) RETURNS void LANGUAGE sql AS $$
    SELECT holdfast.confirm(p_order);
    SELECT shop.change_order(person(p_name), p_order, 'pay');
$$;
