-- Cancellations from another channel: each line is matched to a line of an earlier sale, or is not taken over.
\ir include/begin.sql
SELECT plan(17);

SELECT sku('acme', 'a', 1000, 100) AS a, sku('acme', 'b', 250, 10) AS b, merchant('acme') AS acme \gset
SELECT count(*) AS done FROM shop.import_orders(:acme, 'paper', 'GBP', '{1,1,2,3,4,5}', '{17,17,17,17,18,NULL}', '{NULL,NULL,NULL,NULL,NULL,NULL}',
    '{2010-12-01,2010-12-01,2010-12-02,2010-12-03,2010-12-01,2010-12-01}', '{a,b,a,a,a,a}', '{5,2,5,5,5,5}', '{500,100,400,500,500,500}') \gset
CREATE TABLE line (i serial, reference text, customer text, code text, quantity bigint, price bigint, at timestamptz);
CREATE FUNCTION import() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r.verdict, o.reference, r.amount, r.detail)
    FROM (SELECT array_agg(reference ORDER BY i) AS r, array_agg(customer ORDER BY i) AS c, array_agg(code ORDER BY i) AS s, array_agg(quantity ORDER BY i) AS q,
                 array_agg(price ORDER BY i) AS p, array_agg(at ORDER BY i) AS t FROM line) AS l,
         shop.import_returns(merchant('acme'), 'paper', l.r, l.c, l.s, l.q, l.p, l.t) AS r
    LEFT JOIN shop.order AS o ON o.id = r.order_id ORDER BY r.line
$$;
INSERT INTO line (reference, customer, code, quantity, price, at) VALUES
    ('C1', '17', 'a', 2, 500, '2010-12-02'), ('C1', '17', 'a', 1, 400, '2010-12-05'), ('C2', '17', 'a', 2, 500, '2010-12-05'), ('C3', '17', 'a', 6, 500, '2010-12-05'),
    ('C4', '17', 'b', 2, 100, '2010-11-30'), ('C13', '17', 'b', 1, 2000, '2010-12-05'), ('C4', '17', 'b', 2, 100, '2010-12-05'), ('C5', '17', 'a', 1, 9999, '2010-12-05'), ('C6', NULL, 'a', 1, 500, '2010-12-05'),
    ('C7', '99', 'a', 1, 500, '2010-12-05'), ('C8', '18', 'b', 1, 100, '2010-12-05'), ('C9', '18', 'zz', 1, 100, '2010-12-05'), ('C10', '18', 'a', 0, 100, '2010-12-05'),
    (NULL, '18', 'a', 1, 100, '2010-12-05'), ('C11', '18', 'a', 5, 500, '2010-12-05'), ('C12', '18', 'a', 1, 500, '2010-12-06');
SELECT results_eq('SELECT import()', $$VALUES
    ('returned 1 1000'), ('returned 2 400'), ('returned 3 1000'), ('HS307 left of the largest sale: 4'), ('HS312 the customer has not bought it before'), ('HF030 it was sold for less'), ('returned 1 200'),
    ('HF030 it was sold for less'), ('HS312 nobody knows whose it was: no customer'), ('HS312 the customer has never bought anything'), ('HS312 the customer has not bought it before'),
    ('HS310 zz'), ('HS014 quantity 0'), ('HS010 reference'), ('returned 4 2500'), ('HS307 left of the largest sale: 0')$$,
    'each line gets its verdict: the latest earlier sale of the customer with so many units left, at the same price if there is one');
SELECT is(units(:a), '85 available, 0 held, 15 sold', 'units are in stock again');
SELECT is(units(:b), '10 available, 0 held, 0 sold', 'of every SKU');
SELECT is((SELECT sum(refunded) FROM holdfast.payments), 5100::numeric, 'and their money is back');
SELECT is((SELECT sum(refunding) FROM holdfast.payments), 0::numeric, 'all of it');
SELECT is((SELECT string_agg(concat_ws(' ', o.reference, o.status), ', ' ORDER BY o.reference) FROM shop.order AS o), '1 paid, 2 paid, 3 paid, 4 returned, 5 paid', 'an order of which all came back is returned');
SELECT is((SELECT happened_at FROM shop.order_event AS e JOIN shop.order AS o ON o.id = e.order_id WHERE o.reference = '4' AND e.action = 'return'), '2010-12-05', 'when it was');
SELECT is((SELECT string_agg(concat_ws(' ', reference, code, n, quantity, amount), ', ' ORDER BY reference, code, n) FROM shop.channel_return),
    'C1 a 1 2 1000, C1 a 2 1 400, C11 a 1 5 2500, C2 a 1 2 1000, C4 b 2 2 200', 'what was taken over is remembered');
SELECT contents() AS was \gset
SELECT results_eq('SELECT import()', $$VALUES
    ('known 1 1000'), ('known 2 400'), ('known 3 1000'), ('HS307 left of the largest sale: 4'), ('HS312 the customer has not bought it before'), ('HS307 left of the largest sale: 0'), ('known 1 200'),
    ('HF030 it was sold for less'), ('HS312 nobody knows whose it was: no customer'), ('HS312 the customer has never bought anything'), ('HS312 the customer has not bought it before'),
    ('HS310 zz'), ('HS014 quantity 0'), ('HS010 reference'), ('known 4 2500'), ('HS307 left of the largest sale: 0')$$, 'imported again, cancellations are known');
SELECT is(contents(), :'was'::text, 'and nothing changes');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'every unit and every penny is accounted for');
SELECT is((SELECT count(*) FROM shop.job), 0::bigint, 'nobody gets mail about it');
SELECT refuses(format($$SELECT shop.import_returns(%s, %L, %L, '{17}', '{a}', '{1}', '{1}', '{2011-01-01}')$$, coalesce(m::text, 'NULL'), ch, r), c, n) FROM (VALUES
    (7, 'paper', '{1}', 'HS004', 'a merchant that is none'), (:acme, '', '{1}', 'HS012', 'a channel without name'), (:acme, E'a\nb', '{1}', 'HS012', 'or with lines'),
    (:acme, 'paper', '{1,2}', 'HF005', 'arrays of different lengths'), (:acme, 'paper', NULL, 'HF005', 'no arrays')) AS v (m, ch, r, c, n);
SELECT finish();
ROLLBACK;
