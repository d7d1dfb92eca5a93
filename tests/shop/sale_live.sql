-- What the application is told of a sale at this moment, and who has bought in it.
\ir include/begin.sql
\ir include/sale.sql
SELECT plan(26);

SELECT person('mia', '{user,merchant}') AS mia, person('ann') AS ann, person('bob') AS bob, person('cyd') AS cyd, person('root', '{user,admin}') AS root \gset
CREATE FUNCTION live(p_sale bigint, p_actor bigint DEFAULT NULL) RETURNS json LANGUAGE sql AS $$SELECT body FROM rest.sale_live(p_actor, p_sale)$$;
CREATE FUNCTION about(p_sale bigint) RETURNS text LANGUAGE sql AS $$SELECT format('%s %s of %s', j ->> 'state', j ->> 'left', j ->> 'quantity') FROM live(p_sale) AS j$$;
CREATE FUNCTION accounts(p_sale bigint) RETURNS text LANGUAGE sql AS $$SELECT string_agg(v, ' ' ORDER BY v) FROM rest.sale_buyers(NULL, p_sale) AS r, json_array_elements_text(r.body) AS v$$;

-- Before it begins.
SELECT shop.create_sale(merchant('mia'), sku('mia', 'TEA'), 500, 3, clock_timestamp() + interval '2 min', clock_timestamp() + interval '1 hour', 1) AS tea \gset
SELECT refuses(format('SELECT rest.sale_live(NULL, %s)', :tea), 'HS004', 'of a draft nobody is told');
SELECT refuses('SELECT rest.sale_live(NULL, 7)', 'HS004', 'nor of what is not there');
SELECT is(live(:tea, :mia) ->> 'state', 'draft', 'but its merchant');
SELECT is((SELECT body::text FROM rest.sale_buyers(NULL, :tea)), '[]', 'nobody has bought in it');
SELECT shop.preheat_sale(:tea);
SELECT is(about(:tea), 'scheduled 3 of 3', 'then it is scheduled');
SELECT ok((live(:tea) ->> 'starts_in_ms')::bigint BETWEEN 60000 AND 120000, 'it is told in how many milliseconds it starts');
SELECT ok((live(:tea) ->> 'ends_in_ms')::bigint BETWEEN 3540000 AND 3600000, 'and ends');
SELECT is((live(:tea) ->> 'ends_at_ms')::bigint, (SELECT floor(1000 * extract(epoch FROM ends_at))::bigint FROM shop.sale WHERE id = :tea), 'and at what time');
SELECT is(live(:tea) ->> 'version', '2', 'its version');
SELECT is(live(:tea) ->> 'ticket_quota', '9', 'and how many tickets may be out');
SELECT is(live(:tea) ->> 'release_in_ms', NULL, 'nothing is held');

-- While it is open.
UPDATE shop.sale SET starts_at = clock_timestamp() - interval '3 s' WHERE id = :tea;
SELECT is(about(:tea), 'open 3 of 3', 'it is open by the clock');
SELECT ok((live(:tea) ->> 'starts_in_ms')::bigint BETWEEN -60000 AND -3000, 'its start is past');
SELECT is(buys('ann', :tea, 'ann-one-1') || buys('bob', :tea, 'bob-one-1') || buys('cyd', :tea, 'cyd-one-1') || buys('dan', :tea, 'dan-one-1'), '000000000000000HS403', 'three buy, one does not');
SELECT is(about(:tea), 'sold_out 0 of 3', 'it is sold out');
SELECT is(accounts(:tea), concat_ws(' ', :ann, :bob, :cyd), 'who has bought is told, and not who has got nothing');
SELECT ok((live(:tea) ->> 'release_in_ms')::bigint BETWEEN 840000 AND 900000, 'and when the first units fall due');
UPDATE _holdfast.hold SET held_at = held_at - interval '1 hour', expires_at = clock_timestamp() + interval '60 s' WHERE owner = order_of('bob', :tea, 'bob-one-1');
SELECT ok((live(:tea) ->> 'release_in_ms')::bigint BETWEEN 0 AND 60000, 'be it soon');
UPDATE _holdfast.hold SET expires_at = clock_timestamp() WHERE owner = order_of('bob', :tea, 'bob-one-1');
SELECT is(about(:tea), 'open 1 of 3', 'they are available from that instant');
SELECT ok((live(:tea) ->> 'release_in_ms')::bigint BETWEEN 840000 AND 900000, 'and the next ones are waited for');
SELECT pays('ann', order_of('ann', :tea, 'ann-one-1'));
SELECT holdfast.pin(order_of('cyd', :tea, 'cyd-one-1'));
SELECT is(live(:tea) ->> 'release_in_ms', NULL, 'what is sold or pinned does not fall due');
SELECT lapses('bob', order_of('bob', :tea, 'bob-one-1'));
SELECT shop.cancel_expired_orders() > 0 AS expired \gset
SELECT is(accounts(:tea), concat_ws(' ', :ann, :bob, :cyd), 'whose order has expired is one of the buyers still');

-- Afterwards.
SELECT shop.close_sale(:tea);
SELECT is(about(:tea) || ' ' || (live(:tea) ->> 'release_in_ms' IS NULL), 'closed 0 of 3 true', 'a closed sale has nothing left, or to come');
SELECT ok((live(:tea) ->> 'ends_in_ms')::bigint BETWEEN -60000 AND 0, 'it ended when it was closed');
SELECT refuses(format('SELECT rest.sale_buyers(%s, %s)', :ann, :tea), 'HS003', 'who has bought is no business of any user''s');
SELECT is((SELECT json_array_length(body) FROM rest.sale_buyers(:root, :tea)), 3, 'an administrator may ask');
SELECT finish();
ROLLBACK;
