-- What the opponents of bench/flash keep in PostgreSQL, as lean as it can be: one row of stock, one row for a buyer, one
-- row for an order, each with one index. They share the server, the settings and the role of the application.

CREATE SCHEMA flash;

CREATE TABLE flash.stock (
    sale_id   bigint NOT NULL PRIMARY KEY,
    available bigint NOT NULL CHECK (available >= 0)
) WITH (fillfactor = 10);

CREATE TABLE flash.buyer (
    account_id bigint NOT NULL,
    sale_id    bigint NOT NULL,
    bought     bigint NOT NULL,
    PRIMARY KEY (account_id, sale_id)
) WITH (fillfactor = 80);

CREATE TABLE flash.order (
    account_id bigint NOT NULL,
    sale_id    bigint NOT NULL,
    key        text   COLLATE "C" NOT NULL,
    id         uuid   NOT NULL,
    quantity   bigint NOT NULL,
    placed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account_id, sale_id, key)
);

-- Orders that a writer has brought here from Redis, and how far it has come.
CREATE TABLE flash.written_order (LIKE flash.order INCLUDING ALL);
CREATE TABLE flash.position (
    stream_id text NOT NULL
);
INSERT INTO flash.position VALUES ('0');

-- One purchase. The one row of stock is locked last, so that it is locked for no longer than it takes to commit.
-- Outcomes as in opponents.h.
CREATE FUNCTION flash.buy(p_account bigint, p_sale bigint, p_key text, p_quantity bigint, p_limit bigint, p_order uuid,
                          OUT outcome integer, OUT order_id uuid)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    outcome := 0;
    order_id := p_order;
    INSERT INTO flash.buyer AS b (account_id, sale_id, bought) VALUES (p_account, p_sale, p_quantity)
    ON CONFLICT (account_id, sale_id) DO UPDATE SET bought = b.bought + EXCLUDED.bought WHERE b.bought + EXCLUDED.bought <= p_limit;
    IF NOT FOUND OR p_quantity > p_limit THEN
        SELECT o.id INTO order_id FROM flash.order AS o WHERE o.account_id = p_account AND o.sale_id = p_sale AND o.key = p_key;
        outcome := CASE WHEN FOUND THEN 1 ELSE 2 END;
        RETURN;
    END IF;
    INSERT INTO flash.order (account_id, sale_id, key, id, quantity) VALUES (p_account, p_sale, p_key, p_order, p_quantity);
    UPDATE flash.stock AS s SET available = s.available - p_quantity WHERE s.sale_id = p_sale AND s.available >= p_quantity;
    IF NOT FOUND THEN
        RAISE SQLSTATE 'HS403';
    END IF;
END $$;

GRANT USAGE ON SCHEMA flash TO shop_api;
GRANT EXECUTE ON FUNCTION flash.buy TO shop_api;
