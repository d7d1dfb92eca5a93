-- States of a sale, and its units on their way from the SKU and back.
\ir include/begin.sql
\ir include/sale.sql
SELECT plan(41);

SELECT is(shop.sale_state(NULL, NULL, t, t + interval '1 h', t, 5), 'draft', 'a sale is a draft until it is preheated')
FROM (SELECT timestamptz '2026-11-27 20:00Z' AS t) AS x;
SELECT is(shop.sale_state(t, NULL, t, t + interval '1 h', t - interval '1 us', 5), 'scheduled', 'then scheduled')
FROM (SELECT timestamptz '2026-11-27 20:00Z' AS t) AS x;
SELECT is(shop.sale_state(t, NULL, t, t + interval '1 h', t, 5), 'open', 'open from the instant of its start')
FROM (SELECT timestamptz '2026-11-27 20:00Z' AS t) AS x;
SELECT is(shop.sale_state(t, NULL, t, t + interval '1 h', t, 0), 'sold_out', 'sold out while there are no units')
FROM (SELECT timestamptz '2026-11-27 20:00Z' AS t) AS x;
SELECT is(shop.sale_state(t, NULL, t, t + interval '1 h', t + interval '1 h', 5), 'closed', 'closed from the instant of its end')
FROM (SELECT timestamptz '2026-11-27 20:00Z' AS t) AS x;
SELECT is(shop.sale_state(t, t, t, t + interval '1 h', t, 5), 'closed', 'or when it is closed before')
FROM (SELECT timestamptz '2026-11-27 20:00Z' AS t) AS x;
SELECT is(shop.sale_state(NULL, NULL, t, t + interval '1 h', t + interval '1 h', 5), 'closed', 'a draft whose end has passed is closed')
FROM (SELECT timestamptz '2026-11-27 20:00Z' AS t) AS x;

-- Drafts.
CREATE FUNCTION draft() RETURNS bigint LANGUAGE sql AS $$ SELECT id FROM shop.sale WHERE sku_id = sku('mia', 'DRAFT') $$;
SELECT lives_ok($$SELECT shop.create_sale(merchant('mia'), sku('mia', 'DRAFT'), 500, 30, clock_timestamp(), clock_timestamp() + interval '1 hour', 2)$$, 'a sale is made');
SELECT is(units(sku('mia', 'DRAFT')), '100 available, 0 held, 0 sold', 'a draft takes no stock');
SELECT is((SELECT state || ' ' || available FROM shop.sale_now WHERE id = draft()), 'draft 0', 'and offers none');
SELECT is((SELECT ticket_quota FROM shop.sale WHERE id = draft()), 90::bigint, 'three tickets for each unit');
SELECT is((SELECT currency FROM shop.sale WHERE id = draft()), 'EUR', 'its currency is the SKU''s');
SELECT lives_ok($$SELECT shop.update_sale(draft(), 1, 400, 40, clock_timestamp() - interval '1 min', clock_timestamp() + interval '1 hour', 2)$$, 'a draft can be changed');
SELECT refuses($$SELECT shop.update_sale(draft(), 1, 300, 40, clock_timestamp(), clock_timestamp() + interval '1 hour', 2)$$, 'HS006', 'but not a version that is past');
SELECT refuses($$SELECT shop.create_sale(merchant('mia'), sku('max', 'X'), 500, 30, clock_timestamp(), clock_timestamp() + interval '1 hour', 2)$$,
    'HS003', 'another merchant''s SKU cannot be put on sale', '/sku_id');
SELECT refuses($$SELECT shop.create_sale(merchant('mia'), sku('mia', 'DRAFT'), 500, 30, clock_timestamp(), clock_timestamp(), 2)$$, 'HS015', 'a window has a length', '/ends_at');
SELECT refuses($$SELECT shop.create_sale(merchant('mia'), sku('mia', 'DRAFT'), 500, 0, clock_timestamp(), clock_timestamp() + interval '1 h', 2)$$, 'HS014', 'a sale has units', '/quantity');

-- Preheating.
SELECT is((SELECT string_agg(name, ',') FROM shop.sale_checks(draft()) WHERE NOT ok), 'stock,lanes', 'the check-list tells what is missing');
SELECT lives_ok($$SELECT shop.preheat_sale(draft())$$, 'preheating');
SELECT is(units(sku('mia', 'DRAFT')) || '; ' || units(draft()), '60 available, 0 held, 0 sold; 40 available, 0 held, 0 sold', 'moves the slice from the SKU to the sale');
SELECT lives_ok($$SELECT shop.preheat_sale(draft())$$, 'preheating again');
SELECT is(units(sku('mia', 'DRAFT')) || '; ' || units(draft()), '60 available, 0 held, 0 sold; 40 available, 0 held, 0 sold', 'moves nothing');
SELECT is((SELECT count(*) FROM shop.sale_checks(draft()) WHERE NOT ok), 0::bigint, 'the check-list is clear');
SELECT is((SELECT state || ' ' || available FROM shop.sale_now WHERE id = draft()), 'open 40', 'the sale is open');
SELECT refuses($$SELECT shop.update_sale(draft(), 3, 300, 40, clock_timestamp(), clock_timestamp() + interval '1 hour', 2)$$, 'HS406', 'a promise is not changed');
SELECT shop.create_sale(merchant('mia'), sku('mia', 'FEW', 1000, 3), 500, 4, clock_timestamp(), clock_timestamp() + interval '1 hour', 2) AS few \gset
SELECT refuses(format('SELECT shop.preheat_sale(%s)', :few), 'HF012', 'more than the SKU has cannot be preheated');
SELECT sku('mia', 'WIDE', 1000, 5000) IS NOT NULL AS made \gset
SELECT sale('mia', 'WIDE', 1000) AS wide \gset
SELECT is((SELECT lanes FROM holdfast.stock WHERE sku = :wide), 15, 'a sale of many units has many lanes');

-- Closing.
SELECT is(buys('bob', draft(), 'bob-one-1') || buys('cyd', draft(), 'cyd-one-1') || buys('dan', draft(), 'dan-one-1'), '000000000000000', 'three buy');
SELECT lives_ok($$SELECT pays('bob', order_of('bob', draft(), 'bob-one-1'))$$, 'one pays');
SELECT is(shop.close_sale(draft()), 37::bigint, 'closing moves back what is left');
SELECT is(units(sku('mia', 'DRAFT')) || '; ' || units(draft()), '97 available, 0 held, 0 sold; 0 available, 2 held, 1 sold', 'and leaves what is held or sold');
SELECT is((SELECT settled_at FROM shop.sale WHERE id = draft()), NULL, 'a sale with holds is not settled');
SELECT is(buys('eve', draft(), 'eve-one-1'), 'HS402', 'a closed sale sells nothing');
SELECT is(shop.close_sales(), 0::bigint, 'a sweep finds nothing while units are held');
SELECT lapses('cyd', order_of('cyd', draft(), 'cyd-one-1'));
SELECT shop.cancel_order(person('dan'), order_of('dan', draft(), 'dan-one-1'), person('dan')) IS NOT NULL AS cancelled \gset
SELECT is(shop.close_sales(), 2::bigint, 'then units of an order that has expired and of one that was cancelled come back');
SELECT is((SELECT settled_at IS NOT NULL FROM shop.sale WHERE id = draft()), true, 'and the sale is settled');
SELECT is(shop.close_sales(), 0::bigint, 'a sweep may be repeated');
SELECT holdfast.give_back(order_of('bob', draft(), 'bob-one-1'), draft(), 1, 'broken');
SELECT shop.units_returned(ARRAY[draft()], ARRAY[1::bigint]);
SELECT is(shop.close_sales(), 1::bigint, 'what was sold and is returned comes back too');
SELECT is(units(sku('mia', 'DRAFT')) || '; ' || units(draft()), '100 available, 0 held, 0 sold; 0 available, 0 held, 0 sold', 'so that in the end nothing is missing');

-- The end of the window.
SELECT sale('mia', 'LATE') AS late \gset
UPDATE shop.sale SET ends_at = clock_timestamp() - interval '1 s' WHERE id = :late;
SELECT is(buys('bob', :late, 'bob-late-1'), 'HS402', 'a sale ends by the clock');
SELECT is(shop.close_sales(), 10::bigint, 'and the sweep brings its units back');
SELECT finish();
ROLLBACK;
