-- GET /v1/admin/invariants, locks and cache; and that shop.verify() finds what is wrong.
\ir include/begin.sql
SELECT plan(30);
SELECT set_config('test.root', person('root', '{user,admin}')::text, true), set_config('test.eve', person('eve')::text, true) \g /dev/null
CREATE FUNCTION root() RETURNS bigint LANGUAGE sql AS $$SELECT current_setting('test.root')::bigint$$;
CREATE FUNCTION eve() RETURNS bigint LANGUAGE sql AS $$SELECT current_setting('test.eve')::bigint$$;
CREATE FUNCTION found() RETURNS text LANGUAGE sql AS $$SELECT coalesce(string_agg(DISTINCT invariant, '; ' ORDER BY invariant), '') FROM shop.verify()$$;

-- An order by name, of 3 units at 1000 and 2 at 500, as the shop leaves it.
CREATE FUNCTION order_of(p_status text, p_channel text DEFAULT 'channel') RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_id CONSTANT uuid := holdfast.uuid7();
    v_skus CONSTANT bigint[] := ARRAY[sku('m', 'a', 1000), sku('m', 'b', 500)];
    v_expires timestamptz;
BEGIN
    v_expires := holdfast.reserve(v_id, v_skus, '{3,2}', '1 h');
    INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency, channel, reference)
    VALUES (eve(), v_id, merchant('m'), 4000, clock_timestamp(), clock_timestamp(), CASE WHEN p_status = 'pending_payment' THEN v_expires ELSE 'infinity' END, 2, p_status, 'EUR',
        p_channel, CASE WHEN p_channel IS NOT NULL THEN v_id::text END);
    INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
    SELECT eve(), v_id, s.id, s.id, s.product_id, CASE s.code WHEN 'a' THEN 3 ELSE 2 END, s.price, s.price * CASE s.code WHEN 'a' THEN 3 ELSE 2 END, s.price / 500, s.code, s.code
    FROM shop.sku AS s WHERE s.id = ANY (v_skus);
    IF p_status = 'cancelled' THEN
        PERFORM holdfast.release(v_id);
    ELSIF p_status <> 'pending_payment' THEN
        PERFORM holdfast.confirm(v_id);
    END IF;
    RETURN v_id;
END $$;
-- What is found after a sabotage of an order, which is undone.
CREATE FUNCTION sabotage(p_status text, p_sql text, p_channel text DEFAULT 'channel') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_found text;
    v_order uuid;
BEGIN
    BEGIN
        v_order := order_of(p_status, p_channel);
        EXECUTE replace(p_sql, '$1', quote_literal(v_order) || '::uuid');
        v_found := found();
        RAISE triggered_action_exception;
    EXCEPTION WHEN triggered_action_exception THEN
        RETURN v_found;
    END;
END $$;

SELECT is(found(), '', 'an empty shop is well');
SELECT is(sabotage(s, 'SELECT 1'), '', format('so is an order that is %s', s)) FROM unnest('{pending_payment,paid,shipped,completed,cancelled}'::text[]) AS s;
SELECT is(sabotage('paid', 'UPDATE shop.order SET total = total + 1 WHERE id = $1'), 'the total of an order is the sum of its lines', 'a total is');
SELECT is(sabotage('paid', 'DELETE FROM shop.order_line WHERE order_id = $1 AND code = ''b'''), 'the total of an order is the sum of its lines', 'lines are not lost');
SELECT is(sabotage('paid', 'UPDATE shop.order_line SET quantity = 2 * quantity, unit_price = unit_price / 2 WHERE order_id = $1 AND code = ''b'''), 'the units of an order that was paid are sold', 'as many as the line says');
SELECT is(sabotage('paid', 'UPDATE shop.order_line SET returned = 1 WHERE order_id = $1 AND code = ''b'''), 'the units of an order that was paid are sold', 'and as many returned');
SELECT is(sabotage('pending_payment', 'UPDATE shop.order SET status = ''paid'' WHERE id = $1'), 'the units of an order that was paid are sold', 'to be paid is to be sold');
SELECT is(sabotage('paid', 'UPDATE shop.order SET status = ''pending_payment'' WHERE id = $1'),
    'the units of an order that can be paid are held; the units of an order that was not paid are not sold', 'not to be paid is not to be sold');
SELECT is(sabotage('pending_payment', 'SELECT holdfast.release($1)'), 'the units of an order that can be paid are held', 'units are not given away before the order is cancelled');
SELECT is(sabotage('pending_payment', 'UPDATE shop.order SET expires_at = expires_at + interval ''1 s'' WHERE id = $1'), 'the units of an order that can be paid are held', 'nor before its time is over');
SELECT is(sabotage('paid', 'UPDATE shop.order SET status = ''cancelled'' WHERE id = $1'), 'the units of an order that was not paid are not sold', 'what is cancelled is not sold');
SELECT is(sabotage('paid', 'SELECT 1', NULL), 'an order is paid if its money was taken, here or by its channel', 'nothing is paid without money');
SELECT is(sabotage('cancelled', 'INSERT INTO shop.job_key VALUES (''k'', gen_random_uuid())'), 'the keys of unfinished jobs are taken, and no others', 'no key is taken for nothing');
SELECT is(sabotage('cancelled', 'SELECT shop.enqueue(''order_placed'', ''{}'', ''k''); DELETE FROM shop.job_key'), 'the keys of unfinished jobs are taken, and no others', 'nor is one left out');

SELECT is((SELECT (status, body ->> 'holds', body ->> 'broken', body ->> 'items')::text FROM rest.admin_invariants(root())), '(200,true,0,[])', 'an admin sees that all is well');
INSERT INTO shop.job_key VALUES ('k', gen_random_uuid());
SELECT is((SELECT (status, body ->> 'holds', body ->> 'broken', body -> 'items' -> 0 ->> 'invariant')::text FROM rest.admin_invariants(root())), '(200,false,1,"the keys of unfinished jobs are taken, and no others")', 'and what is not');
SELECT is((SELECT (status, body)::text FROM rest.admin_locks(root())), '(200,"{""items"" : []}")', 'who waits for whom');
SELECT is((SELECT (status, body ->> 'state' IS NOT NULL, json_typeof(body -> 'watched'))::text FROM rest.admin_cache(root())), '(200,t,array)', 'how the cache does');
SELECT refuses(format('SELECT rest.admin_%s(eve())', f), 'HS003', format('a user does not see %s', f)) FROM unnest('{invariants,locks,cache}'::text[]) AS f;
SELECT refuses(format('SELECT rest.admin_%s(NULL)', f), 'HS001', format('nobody does not see %s', f)) FROM unnest('{invariants,locks,cache}'::text[]) AS f;
SELECT is((SELECT string_agg(p.proname, ' ') FROM pg_proc AS p WHERE p.pronamespace = 'rest'::regnamespace AND p.proname ~ '^admin_(jobs|job_|locks|cache|invariants)' AND NOT p.prosecdef), NULL, 'all of these act for the shop');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'stock and money are well');
SELECT finish();
ROLLBACK;
