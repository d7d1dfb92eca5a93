-- The routes: every function of rest, who may call it, and a call of it that works, over a small world of things. For
-- privileges.sql, which calls each as everybody, and bad_input.sql, which spoils each argument.

CREATE TEMPORARY TABLE thing (
    name text PRIMARY KEY,
    id   text NOT NULL
);
CREATE FUNCTION thing(p_name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_id text;
BEGIN
    SELECT id INTO STRICT v_id FROM thing WHERE name = p_name;
    RETURN v_id;
END $$;
CREATE FUNCTION hash(p_name text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$SELECT sha256(convert_to(p_name, 'UTF8'))$$;

-- Olga buys, Mark sells, Otto and Mia are another user and another merchant, Root is the admin.
INSERT INTO thing VALUES ('olga', person('olga')), ('mark', person('mark', '{user,merchant}')), ('otto', person('otto')), ('mia', person('mia', '{user,merchant}')),
    ('root', person('root', '{user,admin}'));
INSERT INTO thing VALUES ('merchant', merchant('mark')), ('other merchant', merchant('mia'));
SELECT rest.token_issue(NULL, person('olga'), '$argon2id$test', hash('live')) \g /dev/null
SELECT rest.password_reset_request(NULL, '{"email": "olga@example.org"}', repeat('s', 43), hash('reset')) \g /dev/null

-- What Mark sells, and what Olga has bought of it.
INSERT INTO thing VALUES ('sku', sku('mark', 'S1')), ('other sku', sku('mia', 'S2'));
INSERT INTO thing SELECT 'product', product_id FROM shop.sku WHERE id = thing('sku')::bigint;
INSERT INTO thing SELECT 'other product', product_id FROM shop.sku WHERE id = thing('other sku')::bigint;
INSERT INTO thing SELECT 'category', (rest.category_create(person('root'), '{"name": "Things"}')).body ->> 'id';
INSERT INTO thing SELECT 'subcategory', (rest.category_create(person('root'), jsonb_build_object('name', 'Small things', 'parent_id', thing('category')))).body ->> 'id';
INSERT INTO thing SELECT 'draft', (rest.product_create(person('mark'), '{"title": "A draft", "skus": [{"code": "D1", "price": 100, "currency": "EUR"}]}')).body ->> 'id';
INSERT INTO thing SELECT 'deleted product', (rest.product_create(person('mark'), '{"title": "An old thing", "published": true, "skus": [{"code": "O1", "price": 100, "currency": "EUR"}]}')).body ->> 'id';
SELECT rest.product_delete(person('mark'), thing('deleted product')::bigint) \g /dev/null
INSERT INTO thing
SELECT n, (rest.sale_create(person('mark'), jsonb_build_object('sku_id', thing('sku'), 'price', 500, 'quantity', 20, 'starts_at', '2099-01-01T00:00:00Z', 'ends_at', '2099-01-02T00:00:00Z',
    'per_account_limit', 5))).body ->> 'id'
FROM unnest(ARRAY['sale', 'draft sale', 'closed sale']) AS n;
SELECT rest.sale_preheat(person('mark'), thing(n)::bigint) FROM unnest(ARRAY['sale', 'closed sale']) AS n \g /dev/null
SELECT rest.sale_close(person('mark'), thing('closed sale')::bigint) \g /dev/null
UPDATE shop.sale SET starts_at = clock_timestamp() - interval '1 minute' WHERE id = thing('sale')::bigint;
INSERT INTO thing SELECT 'job', shop.enqueue('order_shipped', '{}');
INSERT INTO thing SELECT 'dead job', shop.enqueue('order_shipped', '{}');
SELECT shop.cancel_job(thing('dead job')::uuid) \g /dev/null
SELECT holdfast.add_provider('simulated') \g /dev/null
INSERT INTO thing
SELECT o, (rest.order_place(thing('olga')::bigint, 'key of ' || o, jsonb_build_object('items', jsonb_build_array(jsonb_build_object('sku_id', thing('sku'), 'quantity', 2))))).body ->> 'id'
FROM unnest(ARRAY['order', 'order paid', 'order shipped']) AS o;
INSERT INTO thing
SELECT 'payment' || substr(o, 6), (rest.payment_create(thing('olga')::bigint, thing(o)::uuid, 'payment of ' || o, '{"provider": "simulated", "method": "test_approve"}')).body ->> 'id'
FROM unnest(ARRAY['order paid', 'order shipped']) AS o;
SELECT holdfast.simulate_provider() \g /dev/null
SELECT rest.order_ship(thing('mark')::bigint, thing('order shipped')::uuid) \g /dev/null
INSERT INTO thing VALUES ('webhook', '{"type": "call.succeeded", "data": {"key": "hf-nothing", "amount": 1, "currency": "EUR", "reference": "r"}}'),
    ('now', floor(extract(epoch FROM clock_timestamp()))::text);
INSERT INTO thing SELECT 'signature', holdfast.sign_webhook('standard', secret, convert_to(thing('webhook'), 'UTF8'), 'evt_1', thing('now')::bigint)
FROM _holdfast.webhook_secret WHERE provider = 'simulated' LIMIT 1;

-- Where Mark wants to be told of what, and a delivery.
INSERT INTO thing SELECT 'endpoint', (rest.webhook_endpoint_create(thing('mark')::bigint, '{"url": "https://example.org/hook", "events": ["order.placed"]}')).body ->> 'id';
INSERT INTO thing SELECT 'delivery', (rest.webhook_endpoint_test(thing('mark')::bigint, thing('endpoint')::bigint)).body ->> 'id';

-- who: anyone; user: whoever is logged in; merchant: who is one; admin; application: the web
-- application itself, as nobody; visitor: anyone, but for whoever is suspended; newcomer: who is no merchant yet. Or those whose thing it
-- is. In public, seller: Mark, and an admin in his place; maker: Mark alone. And where nobody else may learn that it is there, keeper: Mark alone; buyer: Olga,
-- shipper: Mark or an admin, party: all three; keeper: Mark alone; drafter: Mark or an admin, of what Olga does not know either.
CREATE TEMPORARY TABLE route (
    name text PRIMARY KEY,
    who  text NOT NULL,
    args text[] NOT NULL
);
INSERT INTO route VALUES
    ('account_create', 'anyone', ARRAY[$$'{"email": "new@example.org", "name": "New", "locale": "en"}'$$, $$'$argon2id$new'$$]),
    ('login_find', 'anyone', ARRAY[$$'olga@example.org'$$]),
    ('token_issue', 'anyone', ARRAY[$$thing('olga')$$, $$'$argon2id$test'$$, $$hash('new')$$, $$'1 day'$$]),
    ('token_refresh', 'anyone', ARRAY[$$thing('olga')$$, $$hash('live')$$, $$hash('new')$$]),
    ('token_revoke', 'anyone', ARRAY[$$thing('olga')$$, $$hash('live')$$]),
    ('password_reset_request', 'anyone', ARRAY[$$'{"email": "otto@example.org"}'$$, $$repeat('n', 43)$$, $$hash('new')$$]),
    ('password_reset_finish', 'anyone', ARRAY[$$thing('olga')$$, $$hash('reset')$$, $$'$argon2id$new'$$]),
    ('me_get', 'user', '{}'),
    ('me_update', 'user', ARRAY[$$'{"name": "Renamed", "locale": "de"}'$$, $$'*'$$]),
    ('me_password_set', 'user', ARRAY[$$'$argon2id$test'$$, $$'$argon2id$new'$$]),
    ('me_logout', 'user', '{}'),
    ('me_avatar_set', 'user', ARRAY[$$'picture.png'$$]),
    ('merchant_create', 'newcomer', ARRAY[$$'{"name": "New & Co"}'$$]),
    ('merchant_get', 'anyone', ARRAY[$$thing('merchant')$$]),
    ('merchant_update', 'seller', ARRAY[$$thing('merchant')$$, $$'{"name": "Renamed"}'$$, $$'*'$$]),
    ('admin_account_get', 'admin', ARRAY[$$thing('otto')$$]),
    ('admin_account_suspend', 'admin', ARRAY[$$thing('otto')$$]),
    ('admin_account_reinstate', 'admin', ARRAY[$$thing('otto')$$]),
    ('admin_account_roles_set', 'admin', ARRAY[$$thing('otto')$$, $$'{"roles": ["user", "admin"]}'$$]),
    ('problems', 'anyone', '{}'),
    ('order_place', 'user', ARRAY[$$'key-0001'$$, $$jsonb_build_object('items', jsonb_build_array(jsonb_build_object('sku_id', thing('sku'), 'quantity', 1)), 'expected_total', 1000)$$]),
    ('order_place_batch', 'user', ARRAY[$$'key-0001'$$, $$jsonb_build_object('policy', 'valid_rows', 'orders', jsonb_build_array(
        jsonb_build_object('items', jsonb_build_array(jsonb_build_object('sku_id', thing('sku'), 'quantity', 2)), 'expected_total', 2000)))$$]),
    ('order_list', 'user', ARRAY[$$'{"status": "paid", "limit": "10"}'$$]),
    ('order_get', 'party', ARRAY[$$thing('order')$$]),
    ('order_cancel', 'buyer', ARRAY[$$thing('order')$$, $$'*'$$]),
    ('order_ship', 'shipper', ARRAY[$$thing('order paid')$$, $$'*'$$]),
    ('order_complete', 'shipper', ARRAY[$$thing('order shipped')$$, $$'*'$$]),
    ('order_return', 'shipper', ARRAY[$$thing('order paid')$$, $$'key-0001'$$, $$'{"items": [{"line": 1, "quantity": 1}], "reason": "too small"}'$$]),
    ('payment_create', 'buyer', ARRAY[$$thing('order')$$, $$'key-0001'$$, $$'{"provider": "simulated", "method": "test_approve"}'$$]),
    ('payment_get', 'party', ARRAY[$$thing('payment paid')$$]),
    ('payment_refund', 'shipper', ARRAY[$$thing('payment paid')$$, $$'key-0001'$$, $$'{"amount": 5, "reason": "scratched"}'$$]),
    ('webhook_receive', 'visitor', ARRAY[$$'simulated'$$, $$convert_to(thing('webhook'), 'UTF8')$$, $$thing('signature')$$, $$'evt_1'$$, $$thing('now')$$]),
    ('category_list', 'anyone', '{}'),
    ('category_create', 'admin', ARRAY[$$jsonb_build_object('name', 'More', 'parent_id', thing('category'))$$]),
    ('category_update', 'admin', ARRAY[$$thing('subcategory')$$, $$jsonb_build_object('name', 'Renamed', 'parent_id', thing('category'))$$]),
    ('product_list', 'anyone', ARRAY[$$jsonb_build_object('category', thing('category'), 'merchant', thing('merchant'), 'min_price', '1', 'max_price', '10000', 'currency', 'EUR', 'tag', 'x',
        'attributes', '{"a": 1}', 'in_stock', 'true', 'sort', '-price', 'limit', '10')$$]),
    ('product_search', 'anyone', ARRAY[$$jsonb_build_object('q', 'the s1', 'category', thing('category'), 'merchant', thing('merchant'), 'min_price', '1', 'max_price', '10000', 'currency', 'EUR', 'tag', 'x',
        'in_stock', 'true', 'facets', 'true', 'limit', '10')$$]),
    ('product_get', 'anyone', ARRAY[$$thing('product')$$]),
    ('product_related', 'anyone', ARRAY[$$thing('product')$$]),
    ('product_create', 'merchant', ARRAY[$$jsonb_build_object('title', 'New', 'description', 'A new thing', 'category_id', thing('category'), 'attributes', '{"sizes": [1]}'::jsonb,
        'tags', '["x"]'::jsonb, 'published', true, 'skus', '[{"code": "N1", "price": 100, "currency": "EUR"}]'::jsonb)$$]),
    ('product_update', 'seller', ARRAY[$$thing('product')$$, $$jsonb_build_object('title', 'New', 'description', 'A new thing', 'category_id', thing('category'), 'attributes', '{"colour": "red"}'::jsonb,
        'tags', '["x"]'::jsonb, 'published', true, 'skus', jsonb_build_array(jsonb_build_object('id', thing('sku'), 'code', 'S1', 'price', 100, 'currency', 'EUR')))$$, $$'*'$$]),
    ('product_publish', 'seller', ARRAY[$$thing('product')$$, $$false$$]),
    ('product_delete', 'seller', ARRAY[$$thing('product')$$, $$'*'$$]),
    ('product_check', 'seller', ARRAY[$$thing('product')$$]),
    ('product_image_add', 'seller', ARRAY[$$thing('product')$$, $$'{"original": "picture.png"}'$$]),
    ('sku_stock_get', 'anyone', ARRAY[$$thing('sku')$$]),
    ('sku_receive', 'seller', ARRAY[$$thing('sku')$$, $$'key-0001'$$, $$'{"quantity": 10, "reference": "delivery note 1"}'$$]),
    ('sku_adjust', 'seller', ARRAY[$$thing('sku')$$, $$'key-0001'$$, $$'{"delta": -1, "reason": "broken"}'$$]),
    ('admin_jobs', 'admin', ARRAY[$$'{"state": "dead", "kind": "order_shipped", "limit": "10"}'$$]),
    ('admin_job_get', 'admin', ARRAY[$$thing('job')$$]),
    ('admin_job_kinds', 'admin', '{}'),
    ('admin_job_kind_update', 'admin', ARRAY[$$'order_shipped'$$, $$'{"paused": true, "attempts": 3, "concurrency": 2}'$$]),
    ('admin_job_kind_retry', 'admin', ARRAY[$$'order_shipped'$$, $$'{"limit": 10}'$$]),
    ('admin_schedules', 'admin', '{}'),
    ('admin_schedule_update', 'admin', ARRAY[$$'tend'$$, $$'{"active": true}'$$]),
    ('admin_schedule_run', 'admin', ARRAY[$$'sales'$$]),
    ('admin_job_retry', 'admin', ARRAY[$$thing('dead job')$$]),
    ('admin_job_cancel', 'admin', ARRAY[$$thing('job')$$]),
    ('admin_locks', 'admin', '{}'),
    ('admin_cache', 'admin', '{}'),
    ('admin_invariants', 'admin', '{}'),
    ('sale_create', 'maker', ARRAY[$$jsonb_build_object('sku_id', thing('sku'), 'price', 500, 'quantity', 20, 'starts_at', '2098-01-01T00:00:00Z', 'ends_at', '2098-01-02T00:00:00Z',
        'per_account_limit', 5)$$]),
    ('sale_update', 'drafter', ARRAY[$$thing('draft sale')$$, $$'*'$$, $$'{"price": 400, "quantity": 10, "starts_at": "2098-01-01T00:00:00Z", "ends_at": "2098-01-02T00:00:00Z", "per_account_limit": 4}'$$]),
    ('sale_list', 'visitor', ARRAY[$$jsonb_build_object('state', 'open', 'merchant', thing('merchant'), 'limit', '10')$$]),
    ('sale_get', 'visitor', ARRAY[$$thing('sale')$$]),
    ('sale_live', 'anyone', ARRAY[$$thing('sale')$$]),
    ('sale_buyers', 'application', ARRAY[$$thing('sale')$$]),
    ('sale_preheat', 'drafter', ARRAY[$$thing('draft sale')$$]),
    ('sale_close', 'seller', ARRAY[$$thing('sale')$$]),
    ('sale_purchase', 'user', ARRAY[$$thing('sale')$$, $$'key-0001'$$, $$'{"ticket": "x", "quantity": 1}'$$]),
    ('sale_purchase_batch', 'user', ARRAY[$$'{key-0001}'$$, $$ARRAY[thing('sale')]$$, $$'{1}'$$]),
    ('webhook_endpoint_create', 'merchant', ARRAY[$$'{"url": "https://example.org/other?x=1", "events": ["order.paid", "stock.low"], "description": "Shelf", "low_stock_threshold": 3}'$$]),
    ('webhook_endpoint_list', 'merchant', ARRAY[$$'{"limit": "10"}'$$]),
    ('webhook_endpoint_get', 'keeper', ARRAY[$$thing('endpoint')$$]),
    ('webhook_endpoint_update', 'keeper', ARRAY[$$thing('endpoint')$$, $$'{"url": "https://example.org/new", "events": ["sale.ended"], "description": "", "enabled": false, "low_stock_threshold": 0}'$$, $$'*'$$]),
    ('webhook_endpoint_delete', 'keeper', ARRAY[$$thing('endpoint')$$, $$'*'$$]),
    ('webhook_endpoint_rotate_secret', 'keeper', ARRAY[$$thing('endpoint')$$]),
    ('webhook_endpoint_test', 'keeper', ARRAY[$$thing('endpoint')$$]),
    ('webhook_delivery_list', 'keeper', ARRAY[$$thing('endpoint')$$, $$'{"state": "pending", "limit": "10"}'$$]),
    ('webhook_delivery_get', 'keeper', ARRAY[$$thing('endpoint')$$, $$thing('delivery')$$]),
    ('webhook_delivery_redeliver', 'keeper', ARRAY[$$thing('endpoint')$$, $$thing('delivery')$$]),
    ('ready', 'application', '{}'),
    ('metrics', 'application', '{}'),
    ('refusals_note', 'application', ARRAY[$$ARRAY[thing('sku')]$$, $$'{3}'$$]),
    ('tickets_note', 'application', ARRAY[$$ARRAY[thing('sale')]$$, $$'{3}'$$]);

-- The arguments of each as literals of their types, without the actor.
CREATE FUNCTION literal(p_value text, p_type regtype) RETURNS text LANGUAGE sql AS $$
    SELECT format('%L::%s', p_value, p_type)
$$;
CREATE FUNCTION text_of(p_expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_text text;
BEGIN
    EXECUTE format('SELECT (%s)::text', p_expression) INTO v_text;
    RETURN v_text;
END $$;
CREATE TEMPORARY TABLE argument AS
SELECT r.name AS route, a.n::integer, p.proargnames[a.n + 1] AS name, a.type::regtype, text_of(r.args[a.n]) AS value
FROM route AS r JOIN pg_proc AS p ON p.proname = r.name AND p.pronamespace = 'rest'::regnamespace,
    unnest(p.proargtypes[1:]) WITH ORDINALITY AS a (type, n) WHERE a.n <= cardinality(r.args);
CREATE FUNCTION arguments(p_route text, p_n integer DEFAULT NULL, p_literal text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(CASE WHEN a.n = p_n THEN p_literal ELSE literal(a.value, a.type) END, ', ' ORDER BY a.n) FROM argument AS a WHERE a.route = p_route
$$;

-- Many purchases at once have an actor each, and so the first argument is an array.
CREATE FUNCTION actor(p_route text, p_actor text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN p_route = 'sale_purchase_batch' THEN format('{%s}', coalesce(p_actor, 'NULL')) ELSE p_actor END
$$;

-- What a call comes to, as a status of HTTP, and in what it was refused: a call that is not refused is undone. A verdict of a batch that nobody foresaw counts as well.
CREATE FUNCTION call(p_route text, p_actor text, p_arguments text, OUT status integer, OUT state text, OUT pointer text, OUT message text) LANGUAGE plpgsql AS $$
DECLARE
    body text;
    verdict text := '00000';
BEGIN
    EXECUTE format(CASE p_route WHEN 'sale_purchase_batch' THEN 'SELECT 201, (r).body, (r).verdict, (r).pointer' ELSE 'SELECT (r).status, (r).body, ''00000'', NULL' END
            || ' FROM (SELECT rest.%I(%s) AS r OFFSET 0) AS r', p_route,
        concat_ws(', ', literal(p_actor, (SELECT p.proargtypes[0] FROM pg_proc AS p WHERE p.proname = p_route AND p.pronamespace = 'rest'::regnamespace)), nullif(p_arguments, ''))) INTO status, body, verdict, pointer;
    IF verdict <> '00000' THEN
        RAISE EXCEPTION USING ERRCODE = verdict, COLUMN = coalesce(pointer, ''), MESSAGE = 'a verdict';
    ELSIF status < 400 THEN
        RAISE EXCEPTION USING ERRCODE = 'T0000', MESSAGE = status;
    END IF;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, pointer = COLUMN_NAME;
    IF state = 'T0000' THEN
        status := message;
        message := NULL;
        state := NULL;
    ELSE
        status := coalesce((SELECT p.status FROM shop.problem AS p WHERE p.code = state), 500);
    END IF;
END $$;
