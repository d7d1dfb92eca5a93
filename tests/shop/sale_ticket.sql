-- Tickets: so many at a time, one for an account.
\ir include/begin.sql
\ir include/sale.sql
SELECT plan(19);

SELECT sale('mia', 'TEA', 2) AS tea, sale('mia', 'SOON', 2, 1, '10 minutes') AS soon \gset
CREATE FUNCTION asks(VARIADIC p_names text[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(verdict, ' ' ORDER BY line) FROM shop.issue_tickets((SELECT id FROM shop.sale WHERE sku_id = sku('mia', 'TEA')),
        (SELECT array_agg(person(n)) FROM unnest(p_names) AS n))
$$;
SELECT person('sue') AS sue \gset
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = :sue;

SELECT is(asks('a1', 'a2'), '00000 00000', 'tickets are issued');
SELECT ticket AS first, expires_at FROM shop.issue_tickets(:tea, ARRAY[person('a1')]) \gset
SELECT is((SELECT expires_at FROM shop.issue_tickets(:tea, ARRAY[person('a1')])), :'expires_at'::timestamptz, 'asking again gives the same one');
SELECT is((SELECT ticket FROM shop.issue_tickets(:tea, ARRAY[person('a1')])), :'first'::uuid, 'to the letter');
SELECT is((SELECT tickets || ' ' || live FROM shop.sale_counter WHERE sale_id = :tea), '2 2', 'and counts once');
SELECT is(asks('a3', 'a3', 'a1', 'sue'), '00000 00000 00000 HS002', 'an account has one, however often it is named, and a suspended one none');
SELECT is((SELECT verdict FROM shop.issue_tickets(:tea, ARRAY[7::bigint])), 'HS001', 'nobody has none');
SELECT is(asks('a4', 'a5', 'a6', 'a7'), '00000 00000 00000 HS405', 'there are as many as the quota');
SELECT is((SELECT count(*) FROM shop.sale_ticket WHERE sale_id = :tea), 6::bigint, 'and not one more');
SELECT is(asks('a8'), 'HS405', 'whoever asks');
SELECT is(asks('a1'), '00000', 'but whoever has one has it');
UPDATE shop.sale_ticket SET expires_at = clock_timestamp() - interval '1 second' WHERE account_id IN (person('a1'), person('a2'));
UPDATE shop.sale_counter SET recount_at = clock_timestamp();
SELECT is(asks('a8', 'a1', 'a9'), '00000 00000 HS405', 'what has expired may be issued again');
SELECT is((SELECT tickets || ' ' || live FROM shop.sale_counter WHERE sale_id = :tea), '8 6', 'all that were issued are counted, and those that are out');
SELECT shop.note_tickets(:tea, 1000);
SELECT is((SELECT tickets || ' ' || live FROM shop.sale_counter WHERE sale_id = :tea), '1008 6', 'tickets issued elsewhere are counted');
SELECT shop.note_tickets(7, 1000);
SELECT is((SELECT count(*) FROM shop.sale_counter), 1::bigint, 'but not of a sale that does not exist');
SELECT is((SELECT verdict FROM shop.issue_tickets(:soon, ARRAY[person('a1')])), 'HS401', 'no tickets before the sale');
SELECT is((SELECT verdict FROM shop.issue_tickets(7, ARRAY[person('a1')])), 'HS004', 'nor for none');
SELECT is(buys('b1', :tea, 'b1-tea-1') || buys('b2', :tea, 'b2-tea-1') || asks('a1'), '0000000000HS403', 'nor when it is sold out');
UPDATE shop.sale SET ends_at = clock_timestamp() + interval '1 minute', starts_at = clock_timestamp() - interval '1 minute' WHERE id = :soon;
SELECT is((SELECT expires_at FROM shop.issue_tickets(:soon, ARRAY[person('a1')])), (SELECT ends_at FROM shop.sale WHERE id = :soon), 'a ticket does not outlive the sale');
SELECT shop.close_sale(:tea);
SELECT is(asks('a1'), 'HS402', 'nor after it');
SELECT finish();
ROLLBACK;
