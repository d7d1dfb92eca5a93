-- Buying in a sale, one line or many.
\ir include/begin.sql
\ir include/sale.sql
SELECT plan(53);

SELECT sale('mia', 'TEA', 10, 2) AS tea, sale('mia', 'CUP', 3, 1) AS cup, sale('max', 'SOON', 10, 1, '10 minutes') AS soon \gset
SELECT person('ann') AS ann, person('bob') AS bob, person('cyd') AS cyd, person('dan') AS dan, person('sue') AS sue \gset
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = :sue;

-- What a purchase is.
SELECT is(buys('ann', :tea, 'ann-tea-1'), '00000', 'a buyer buys');
SELECT order_of('ann', :tea, 'ann-tea-1') AS first \gset
SELECT is((SELECT format('%s %s %s %s %s %s', status, total, currency, lines, sale_id, version) FROM shop.order WHERE account_id = :ann AND id = :'first'),
    format('pending_payment 500 EUR 1 %s 1', :'tea'), 'that is an order of the sale');
SELECT is((SELECT format('%s %s %s %s %s %s %s', line, sku_id, stock_id, quantity, unit_price, code, title) FROM shop.order_line WHERE account_id = :ann AND order_id = :'first'),
    format('1 %s %s 1 500 TEA The TEA', sku('mia', 'TEA'), :'tea'), 'of one line, at the price of the sale, from its slice');
SELECT is((SELECT h.expires_at FROM holdfast.holds AS h WHERE h.owner = :'first'), (SELECT expires_at FROM shop.order WHERE id = :'first'), 'whose deadline is that of its hold');
SELECT is((SELECT expires_at - placed_at FROM shop.order WHERE id = :'first'), shop.pay_within(), 'as far away as that of any order');
SELECT is((SELECT merchant_id FROM shop.order WHERE id = :'first'), merchant('mia'), 'and that its merchant sees');
SELECT is((SELECT payload ->> 'order_ids' FROM shop.job WHERE kind = 'order_placed'), format('["%s"]', :'first'), 'a job tells of it');
SELECT is(units(:tea), '9 available, 1 held, 0 sold', 'its unit is held');

-- The same request again.
SELECT is(buys('ann', :tea, 'ann-tea-1'), '00000 again', 'the same key gives the same order again');
SELECT is((SELECT format('%s %s', order_id, expires_at) FROM shop.purchase_batch(ARRAY[:ann], ARRAY['ann-tea-1'], ARRAY[:tea], ARRAY[1::bigint])),
    (SELECT format('%s %s', id, expires_at) FROM shop.order WHERE id = :'first'), 'with its deadline');
SELECT is(buys('ann', :tea, 'ann-tea-1', 2), 'HF021', 'but not for another quantity');
SELECT is(buys('ann', :tea, 'ann-tea-1', -1), '00000 again', 'a negative quantity finds what was bought with a key');
SELECT is(buys('ann', :tea, 'ann-tea-1', -2), 'HF021', 'of that quantity');
SELECT is(buys('ann', :tea, 'ann-tea-0', -1), 'HF003', 'and buys nothing');
SELECT is((SELECT count(*) FROM shop.order WHERE account_id = :ann), 1::bigint, 'and there is one order');
SELECT is(buys('bob', :tea, 'ann-tea-1'), '00000', 'a key is its account''s');
SELECT is(buys('ann', :cup, 'ann-tea-1'), '00000', 'and its sale''s');

-- The limit.
SELECT is(buys('ann', :tea, 'ann-tea-2'), '00000', 'up to the limit an account buys again');
SELECT is(buys('ann', :tea, 'ann-tea-3'), 'HS404', 'beyond it does not');
SELECT is(buys('bob', :tea, 'bob-tea-2', 2), 'HS404', 'the limit counts units over all orders');
SELECT is(buys('cyd', :tea, 'cyd-tea-1', 3), 'HS404', 'and those of one');
SELECT is(buys('ann', :tea, 'ann-tea-1'), '00000 again', 'a key is answered beyond the limit');
SELECT shop.cancel_order(:ann, :'first', :ann) IS NOT NULL AS cancelled \gset
SELECT is(buys('ann', :tea, 'ann-tea-4'), '00000', 'an order that was cancelled counts no more');
SELECT is(buys('ann', :tea, 'ann-tea-5'), 'HS404', 'but once');
SELECT lapses('ann', order_of('ann', :tea, 'ann-tea-2'));
SELECT is(buys('ann', :tea, 'ann-tea-5'), '00000', 'nor does one that has expired, from that instant');
SELECT is((SELECT status FROM shop.order WHERE id = order_of('ann', :tea, 'ann-tea-2')), 'cancelled', 'which is written down');
SELECT is((SELECT bought || ' ' || quantities::text FROM shop.sale_buyer WHERE account_id = :ann AND sale_id = :tea), '2 {-1,-1,1,1}', 'the limit is what the living orders leave of it');
SELECT lapses('ann', order_of('ann', :tea, 'ann-tea-4'));
SELECT is(shop.cancel_expired_orders(), 1, 'the sweep of orders');
SELECT is((SELECT bought FROM shop.sale_buyer WHERE account_id = :ann AND sale_id = :tea), 1::bigint, 'gives the limit back as well');
SELECT is(buys('ann', :tea, 'ann-tea-1'), '00000 again', 'an order that has ended is still the answer to its key');
SELECT pays('ann', order_of('ann', :tea, 'ann-tea-5'));
SELECT is(buys('ann', :tea, 'ann-tea-6') || buys('ann', :tea, 'ann-tea-7'), '00000HS404', 'an order that is paid counts');
SELECT refuses(format('SELECT shop.purchase(%s, %L, %s, 3)', :bob, 'bob-tea-9', :tea), 'HS404', 'one alone is refused with an error', '/quantity');

-- Sold out, and open again.
SELECT is(buys('bob', :cup, 'bob-cup-1') || buys('cyd', :cup, 'cyd-cup-1'), '0000000000', 'the last units');
SELECT is((SELECT b.verdict || b.available || n.state FROM shop.purchase_batch(ARRAY[:dan], ARRAY['dan-cup-1'], ARRAY[:cup], ARRAY[1::bigint]) AS b, shop.sale_now AS n WHERE n.id = :cup),
    'HS4030sold_out', 'then the sale is sold out');
SELECT is(buys('bob', :cup, 'bob-cup-1'), '00000 again', 'a key is answered all the same');
SELECT is((SELECT count(*) FROM shop.sale_buyer WHERE account_id = :dan), 0::bigint, 'who got nothing leaves no trace');
SELECT lapses('cyd', order_of('cyd', :cup, 'cyd-cup-1'));
SELECT is((SELECT state FROM shop.sale_now WHERE id = :cup), 'open', 'a hold that expires opens it again');
SELECT is(buys('dan', :cup, 'dan-cup-1'), '00000', 'and the unit is sold');
SELECT is(buys('ann', :soon, 'ann-soon-1'), 'HS401', 'a sale sells nothing before it starts');

-- A batch: every line by itself.
SELECT is((SELECT string_agg(verdict || CASE WHEN replayed THEN '+' ELSE '' END, ' ' ORDER BY line) FROM shop.purchase_batch(
    ARRAY[:dan, :sue, NULL, :dan, :dan, :dan, :cyd, :cyd, :cyd, :cyd, :cyd],
    ARRAY['dan-tea-1', 'sue-tea-1', 'nob-tea-1', 'dan-tea-1', 'dan-tea-1', 'dan-tea-2', 'short', NULL, 'cyd-tea-2', 'cyd-tea-2', E'cyd\ttea3'],
    ARRAY[:tea, :tea, :tea, :tea, :tea, :tea, :tea, :tea, :soon, 7, :tea],
    ARRAY[1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1]::bigint[])),
    '00000 HS002 HS001 00000+ HF021 00000 HF019 HF019 HS401 HS004 HF019', 'lines that fail fail alone');
SELECT is((SELECT string_agg(verdict, ' ' ORDER BY line) FROM shop.purchase_batch(ARRAY[:cyd, :cyd, :cyd], ARRAY['cyd-tea-4', 'cyd-tea-5', 'cyd-tea-6'],
    ARRAY[:tea, :tea, :tea], ARRAY[0, -1, NULL]::bigint[])), 'HF003 HF003 HF003', 'a quantity is positive');
SELECT is((SELECT string_agg(verdict, ' ' ORDER BY line) FROM shop.purchase_batch(ARRAY[:cyd, :cyd], ARRAY['cyd-tea-4', 'cyd-tea-5'],
    ARRAY[:tea, NULL], ARRAY[9223372036854775807, 1])), 'HS404 HS004', 'however large');
SELECT sale('max', 'TWO', 2, 5) AS two \gset
SELECT is((SELECT string_agg(verdict || coalesce(available::text, ''), ' ' ORDER BY line) FROM shop.purchase_batch(
    ARRAY[:ann, :bob, :cyd, :ann], ARRAY['ann-two-1', 'bob-two-1', 'cyd-two-1', 'ann-two-2'], ARRAY[:two, :two, :two, :two], ARRAY[1, 2, 1, 1]::bigint[])),
    '00000 HF0011 00000 HS4030', 'earlier lines go first, and one that is short does not hinder those behind it');
SELECT is(units(:two), '0 available, 2 held, 0 sold', 'the last unit is sold');
SELECT is((SELECT string_agg(format('%s %s', bought, cardinality(keys)), ', ' ORDER BY account_id) FROM shop.sale_buyer WHERE sale_id = :two), '1 1, 1 1',
    'and the limit of those that got nothing is untouched');
SELECT is((SELECT string_agg(line || verdict, ' ' ORDER BY o) FROM shop.purchase_batch((SELECT array_agg(person('b' || g)) FROM generate_series(1, 100) AS g),
    (SELECT array_agg('many-key-' || g) FROM generate_series(1, 100) AS g), array_fill(sale('max', 'BIG', 60, 1), ARRAY[100]), array_fill(1::bigint, ARRAY[100]))
    WITH ORDINALITY AS r (line, verdict, id, e, p, a, o)),
    (SELECT string_agg(g || CASE WHEN g <= 60 THEN '00000' ELSE 'HS403' END, ' ' ORDER BY g) FROM generate_series(1, 100) AS g), 'a hundred lines for sixty units: the first sixty');
SELECT is((SELECT string_agg(verdict || available, ' ') FROM shop.purchase_batch(ARRAY[person('b61')], ARRAY['many-key-x'], ARRAY[sale('max', 'BIG')], ARRAY[1::bigint])), 'HS4030', 'then it is sold out');
SELECT is((SELECT count(*) FROM shop.order WHERE sale_id = sale('max', 'BIG')), (SELECT held FROM holdfast.stock WHERE sku = sale('max', 'BIG')), 'orders and held units are the same number');
SELECT is((SELECT sum(refusals) FROM shop.refusal WHERE stock_id = sale('max', 'BIG')), 41::numeric, 'refusals are counted');

-- As a whole.
SELECT refuses('SELECT shop.purchase_batch(''{1}'', ''{a,b}'', ''{1}'', ''{1}'')', 'HF005', 'arrays are of one length');
SELECT refuses('SELECT shop.purchase_batch(NULL, NULL, NULL, NULL)', 'HF005', 'and there');
SELECT refuses('SELECT shop.purchase_batch(''{{1,2}}'', ''{{a,b}}'', ''{{1,2}}'', ''{{1,2}}'')', 'HF005', 'of one dimension');
UPDATE shop.sku SET deleted_at = clock_timestamp() WHERE id = sku('max', 'SOON');
UPDATE shop.sale SET starts_at = clock_timestamp() WHERE id = :soon;
SELECT is(buys('ann', :soon, 'ann-soon-1'), 'HS402', 'what is deleted is not sold');
SELECT finish();
ROLLBACK;
