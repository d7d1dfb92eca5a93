-- What is sold, by whom and to whom: accounts 1 to :accounts, of which the first has the merchant; sales of SKU 1 come later.

DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting <> 'on') THEN
        RAISE EXCEPTION 'this server is not durable';
    END IF;
END $$;
INSERT INTO shop.account (id, name) SELECT i, 'buyer ' || i FROM generate_series(1, :accounts) AS i;
INSERT INTO shop.merchant (id, account_id, name) VALUES (1, 1, 'merchant');
INSERT INTO shop.product (id, merchant_id, title, currency, price, published_at)
VALUES (1, 1, 'The thing of the sale', 'EUR', 1000, clock_timestamp()), (2, 1, 'fresh 0', 'EUR', 1000, clock_timestamp());
INSERT INTO shop.sku (id, product_id, merchant_id, code, price, currency)
VALUES (1, 1, 1, 'THING-1', 1000, 'EUR'), (2, 2, 1, 'THING-2', 1000, 'EUR');
SELECT holdfast.receive(1, 1000000000, 'bench');
VACUUM ANALYZE;
