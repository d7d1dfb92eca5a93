-- Orders from another channel: taken over as they are, each judged by itself, once.
\ir include/begin.sql
SELECT plan(33);

SELECT sku('acme', 'a', 1000, 100) AS a, sku('acme', 'b', 250, 10) AS b, sku('rival', 'c', 100, 10) AS c, merchant('acme') AS acme, person('acme') AS seller \gset
CREATE TABLE line (i serial, reference text, customer text, country text, placed_at timestamptz, code text, quantity bigint, price bigint);
CREATE FUNCTION import(p_channel text DEFAULT 'paper') RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r.reference, r.verdict, r.detail)
    FROM (SELECT array_agg(reference ORDER BY i) AS r, array_agg(customer ORDER BY i) AS c, array_agg(country ORDER BY i) AS n, array_agg(placed_at ORDER BY i) AS t,
                 array_agg(code ORDER BY i) AS s, array_agg(quantity ORDER BY i) AS q, array_agg(price ORDER BY i) AS p FROM line) AS l,
         shop.import_orders(merchant('acme'), p_channel, 'GBP', l.r, l.c, l.n, l.t, l.s, l.q, l.p) AS r
$$;
INSERT INTO line (reference, customer, country, placed_at, code, quantity, price) VALUES
    ('1', '17', 'France', '2010-12-01 08:27+00', 'a', 2, 500), ('2', NULL, NULL, '2010-12-01 09:00+00', 'a', 1, 999), ('1', '17', 'France', '2010-12-01 08:26+00', 'b', 1, 100),
    ('1', '17', 'France', '2010-12-01 08:26+00', 'a', 3, 400), ('3', '', NULL, '2010-12-02 09:00+00', 'b', 20, 1), ('3', '', NULL, '2010-12-02 09:00+00', 'a', 1, 1),
    ('4', '17', NULL, '2010-12-03 09:00+00', 'zz', 1, 1), ('5', '17', NULL, '2010-12-03 09:00+00', 'a', 0, 1), ('6', '17', NULL, '2010-12-03 09:00+00', 'a', 1, 0),
    ('7', '17', NULL, '2010-12-03 09:00+00', 'a', 1, 1), ('7', '18', NULL, '2010-12-03 09:00+00', 'a', 1, 1), ('8', '17', 'France', '2010-12-03 09:00+00', 'a', 1, 1),
    ('8', '17', NULL, '2010-12-03 09:00+00', 'a', 1, 1), ('9', '17', NULL, NULL, 'a', 1, 1), (NULL, '17', NULL, '2010-12-03 09:00+00', 'a', 1, 1),
    ('10', '17', NULL, '2010-12-03 09:00+00', 'a', 1000000000, 1000000000000), ('11', '17', NULL, '2010-12-03 09:00+00', 'c', 1, 1), ('12', '17', NULL, 'infinity', 'a', 1, 1),
    ('13', '17', NULL, '2010-12-03 09:00+00', NULL, 1, 1), ('14', '17', NULL, '2010-12-03 09:00+00', 'a', NULL, 1), ('15', '17', NULL, '2010-12-03 09:00+00', 'a', 1, NULL);
SELECT results_eq('SELECT import()', $$VALUES
    ('1 imported'), ('2 imported'), ('3 HF001 b: left 9'), ('4 HS310 line 7: zz'), ('5 HS014 line 8: quantity 0'), ('6 HS014 line 9: price 0'),
    ('7 HS311 customer or country'), ('8 HS311 customer or country'), ('9 HS010 line 14: time'), ('HS010 line 15: reference'), ('10 HS014 the total is 1000000000000000000000'),
    ('11 HS310 line 17: c'), ('12 HS014 line 18: time infinity'), ('13 HS010 line 19: code'), ('14 HS010 line 20: quantity'), ('15 HS010 line 21: price')$$,
    'each order gets its verdict, and what can be taken over is');

SELECT o.id AS o, o.account_id AS buyer FROM shop.order AS o WHERE o.reference = '1' \gset
SELECT is((SELECT concat_ws(' ', o.status, o.total, o.currency, o.lines, o.channel, o.country, o.expires_at, o.merchant_id = :acme) FROM shop.order AS o WHERE id = :'o'),
    'paid 2300 GBP 3 paper France infinity t', 'an order is paid, in the channel''s money');
SELECT is((SELECT placed_at FROM shop.order WHERE id = :'o'), '2010-12-01 08:26+00', 'at the earliest of its times');
SELECT is((SELECT string_agg(concat_ws(' ', line, code, quantity, unit_price, amount), ', ' ORDER BY line) FROM shop.order_line WHERE order_id = :'o'),
    '1 a 2 500 1000, 2 b 1 100 100, 3 a 3 400 1200', 'its lines are as they were, with prices of their own');
SELECT is(units(:a), '94 available, 0 held, 6 sold', 'its units are sold');
SELECT is(units(:b), '9 available, 0 held, 1 sold', 'of every SKU');
SELECT is((SELECT concat_ws(' ', state, captured, currency, provider, account_id = :buyer) FROM holdfast.payments JOIN shop.order_payment USING (account_id) WHERE payment = payment_id AND order_id = :'o'), 'captured 2300 GBP external t', 'its money is in the books');
SELECT is((SELECT sum(balance) FROM holdfast.balances WHERE book = 'provider'), 3299::numeric, 'all of it');
SELECT is((SELECT concat_ws(' ', n, action, from_status, to_status, happened_at = '2010-12-01 08:26+00') FROM shop.order_event WHERE order_id = :'o'), '1 pay pending_payment paid t', 'its history is of then');
SELECT is((SELECT count(*) FROM shop.job), 0::bigint, 'nobody gets mail about it');
SELECT is(substr(:'o', 1, 8) || substr(:'o', 10, 4), lpad(to_hex((extract(epoch FROM timestamptz '2010-12-01 08:26+00') * 1000)::bigint), 12, '0'), 'its id is of then');
SELECT ok((SELECT bool_and(a.email IS NULL AND a.password_hash IS NULL) FROM shop.account AS a WHERE a.id IN (SELECT account_id FROM shop.channel_customer)), 'accounts of its customers cannot log in');
SELECT is((SELECT string_agg(customer, ',' ORDER BY customer) FROM shop.channel_customer), ',17', 'there is one for each customer, and one for those without');
SELECT is((SELECT count(*) FROM shop.channel_order), 2::bigint, 'what was refused is not remembered');
SELECT is((SELECT count(*) FROM shop.order), 2::bigint, 'nor there');
SELECT is((rest.order_list(:seller, '{"merchant": "mine"}')).body -> 'items' -> 0 ->> 'reference', '2', 'its merchant sees it');

-- Again.
SELECT contents() AS was \gset
DELETE FROM line WHERE reference IS NULL OR reference NOT IN ('1', '2');
SELECT results_eq('SELECT import()', $$VALUES ('1 known'), ('2 known')$$, 'imported again, orders are known');
SELECT is(contents(), :'was'::text, 'and nothing changes');
SELECT is((SELECT count(*) FROM import('web')), 2::bigint, 'the same number in another channel');
SELECT is((SELECT count(*) FROM shop.order), 4::bigint, 'is another order');
SELECT is((SELECT count(*) FROM shop.channel_customer), 4::bigint, 'of other customers');
UPDATE line SET reference = reference || 'x';
SELECT is((SELECT count(*) FROM import()), 2::bigint, 'more orders of the same customers');
SELECT is((SELECT count(*) FROM shop.channel_customer), 4::bigint, 'need no more accounts');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'every unit and every penny is accounted for');
SELECT ok((SELECT bool_and(id < next AND substr(id::text, 15, 1) = '7' AND substr(id::text, 20, 1) IN ('8', '9', 'a', 'b'))
           FROM (SELECT id, lead(id) OVER (ORDER BY i) AS next FROM (SELECT shop.uuid7_at(timestamptz '2011-01-01' + i * interval '1 microsecond') AS id, i FROM generate_series(1, 3000) AS i) AS y) AS x
           WHERE next IS NOT NULL), 'ids of a time are UUIDs version 7 and ascend with it, microsecond by microsecond');

-- The call as a whole.
SELECT refuses(format($$SELECT shop.import_orders(%s, %L, %L, %L, '{NULL}', '{NULL}', '{2011-01-01}', '{a}', '{1}', '{1}')$$, coalesce(m::text, 'NULL'), ch, cu, r), c, n) FROM (VALUES
    (7, 'paper', 'GBP', '{1}', 'HS004', 'a merchant that is none'), (NULL, 'paper', 'GBP', '{1}', 'HS004', 'no merchant'), (:acme, ' ', 'GBP', '{1}', 'HS012', 'a channel without name'),
    (:acme, NULL, 'GBP', '{1}', 'HS012', 'no channel'), (:acme, 'paper', 'QQQ', '{1}', 'HF025', 'a currency that is none'), (:acme, 'paper', NULL, '{1}', 'HF025', 'no currency'),
    (:acme, 'paper', 'GBP', '{1,2}', 'HF005', 'arrays of different lengths'), (:acme, 'paper', 'GBP', '{}', 'HF005', 'nothing')) AS v (m, ch, cu, r, c, n);
SELECT finish();
ROLLBACK;
