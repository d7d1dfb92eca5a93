-- Mails: which ones events make, what the worker is told of them, and whose buyers are reminded.
\ir include/begin.sql
SELECT plan(39);
DELETE FROM shop.job;
CREATE FUNCTION mails(p_kind text, p_payload jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(m.key || ' ' || m.payload, E'\n' ORDER BY m.key) FROM shop.mails_of(p_kind, p_payload) AS m
$$;
CREATE FUNCTION pending(p_who text, p_in interval DEFAULT '15 min') RETURNS uuid LANGUAGE sql AS $$
    WITH o AS (
        INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, pay_by, lines, status, currency)
        VALUES (person(p_who), holdfast.uuid7(), merchant('mark'), 2500, now(), now(), now() + p_in, now() + p_in, 2, 'pending_payment', 'JPY') RETURNING id, account_id)
    INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
    SELECT o.account_id, o.id, n, n, 1, n, n * 500, n * n * 500, n, 'C' || n, 'Thing ' || n FROM o, generate_series(1, 2) AS n RETURNING order_id
$$;
-- Claims what is there, and what the worker is told of it, by key.
CREATE FUNCTION told(p_key text) RETURNS jsonb LANGUAGE sql AS $$
    WITH c AS MATERIALIZED (SELECT c.id, c.lease FROM shop.claim_jobs('w', '{mail}', 100) AS c)
    SELECT d.details::jsonb FROM (SELECT array_agg(c.id) AS ids, c.lease FROM c GROUP BY c.lease) AS c, shop.mail_details(c.lease, c.ids) AS d
    JOIN shop.job AS j ON j.id = d.id WHERE j.key = p_key
$$;
CREATE FUNCTION mail(p_kind text, p_payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_key text;
BEGIN
    DELETE FROM shop.job; DELETE FROM shop.job_key;
    SELECT m.key INTO v_key FROM shop.mails_of(p_kind, p_payload) AS m WHERE shop.enqueue('mail', m.payload, m.key) IS NOT NULL;
    RETURN told(v_key);
END $$;

-- Which mails there are.
SELECT pending('anna') AS o1, pending('bert') AS o2, person('anna') AS anna, person('bert') AS bert \gset
INSERT INTO shop.account (name) VALUES ('mute') RETURNING id AS mute \gset
SELECT is(mails('order_placed', jsonb_build_object('account_ids', ARRAY[:anna, :bert, :mute]::text[], 'order_ids', ARRAY[:'o1', :'o2', :'o2']::uuid[])),
    format(E'order_placed:%s {"order_id": "%1$s", "template": "order_placed", "account_id": "%s"}\norder_placed:%s {"order_id": "%3$s", "template": "order_placed", "account_id": "%s"}', :'o1', :anna, :'o2', :bert),
    'a batch of orders makes a mail for each, but none to who has no address');
SELECT is(mails('order_expiring', jsonb_build_object('account_ids', ARRAY[:anna]::text[], 'order_ids', ARRAY[:'o1']::uuid[])),
    format('order_expiring:%s {"order_id": "%1$s", "template": "order_expiring", "account_id": "%s"}', :'o1', :anna), 'so do orders that expire');
SELECT is(mails('payment_received', jsonb_build_object('account_id', :'anna', 'order_id', :'o1', 'payment_id', :'o2')),
    format('payment_received:%s {"order_id": "%1$s", "template": "payment_received", "account_id": "%s", "payment_id": "%s"}', :'o1', :anna, :'o2'), 'a payment makes one');
SELECT is(mails('order_shipped', jsonb_build_object('account_id', :'anna', 'order_id', :'o1')),
    format('order_shipped:%s {"order_id": "%1$s", "template": "order_shipped", "account_id": "%s"}', :'o1', :anna), 'and what is shipped');
SELECT is(mails(k, jsonb_build_object('account_id', :'mute', 'order_id', :'o1', 'payment_id', :'o2', 'refunded', 5)), NULL, 'not to who has no address') FROM unnest('{order_shipped,payment_refunded}'::text[]) AS k;
SELECT is(mails('payment_refunded', jsonb_build_object('account_id', :'anna', 'order_id', :'o1', 'payment_id', :'o2', 'refunded', 5)),
    format('payment_refunded:%s:5 {"order_id": "%s", "refunded": 5, "template": "payment_refunded", "account_id": "%s", "payment_id": "%1$s"}', :'o2', :'o1', :anna), 'each part of a payment that is refunded makes one');
SELECT is((SELECT m.payload FROM shop.mails_of('password_reset', jsonb_build_object('account_id', :'anna', 'token', '1.secret')) AS m),
    jsonb_build_object('template', 'password_reset', 'account_id', :'anna', 'token', '1.secret'), 'a link goes into its mail');
SELECT ok(a.key <> b.key AND a.key !~ 'secret', 'each link is a mail of its own, and its key does not tell it')
FROM shop.mails_of('password_reset', jsonb_build_object('account_id', :'anna', 'token', '1.secret')) AS a, shop.mails_of('password_reset', jsonb_build_object('account_id', :'anna', 'token', '1.secret2')) AS b;
SELECT is(mails('password_reset', jsonb_build_object('account_id', :'anna')), NULL, 'a link that is forgotten is in no mail');
SELECT is(shop.buried_payload((SELECT m.payload FROM shop.mails_of('password_reset', jsonb_build_object('account_id', :'anna', 'token', 'x')) AS m)) ? 'token', false, 'and a mail that dies forgets it');
SELECT is(mails(k, '{"account_id": "1", "sale_id": "1"}'), NULL, format('%s is no mail', k)) FROM unnest('{sale_ended,stock_low,noop,nonsense}'::text[]) AS k;
SELECT is((SELECT count(*) FROM shop.mails_of('order_placed', jsonb_build_object('account_ids', array_fill(:anna::text, ARRAY[256]), 'order_ids', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 256))))),
    256::bigint, 'a large batch makes as many');

-- What the worker is told.
SELECT is(mail('order_placed', jsonb_build_object('account_ids', ARRAY[:anna]::text[], 'order_ids', ARRAY[:'o1']::uuid[])) #- '{order,placed_at}' #- '{order,pay_by}',
    jsonb_build_object('key', 'order_placed:' || :'o1', 'template', 'order_placed', 'address', 'anna@example.org', 'name', 'anna', 'locale', 'en',
        'order', jsonb_build_object('id', :'o1', 'status', 'pending_payment', 'total', 2500, 'currency', 'JPY', 'digits', 0, 'merchant', 'mark & sons',
            'lines', '[{"title": "Thing 1", "code": "C1", "quantity": 1, "unit_price": 500, "amount": 500}, {"title": "Thing 2", "code": "C2", "quantity": 2, "unit_price": 1000, "amount": 2000}]'::jsonb)),
    'to whom, in which language, and what of');
SELECT is((mail('order_placed', jsonb_build_object('account_ids', ARRAY[:anna]::text[], 'order_ids', ARRAY[:'o1']::uuid[])) #>> '{order,pay_by}')::bigint,
    (SELECT floor(extract(epoch FROM expires_at))::bigint FROM shop.order WHERE id = :'o1'), 'and until when it is to be paid');
SELECT is(mail('payment_refunded', jsonb_build_object('account_id', :'anna', 'order_id', :'o1', 'payment_id', :'o2', 'refunded', 5)) #> '{order,refunded}', '5', 'how much is refunded');
SELECT is(mail('order_placed', jsonb_build_object('account_ids', ARRAY[:anna]::text[], 'order_ids', ARRAY[:'o1']::uuid[])) -> 'order' ? 'refunded', false, 'where something is');
SELECT id AS job, lease FROM shop.job WHERE kind = 'mail' \gset
SELECT is((SELECT count(*) FROM shop.mail_details(l, ARRAY[:'job']::uuid[])), CASE WHEN l = :'lease' THEN 1 ELSE 0 END::bigint, format('by lease %s', coalesce(l::text, 'none')))
FROM unnest(ARRAY[:'lease', gen_random_uuid(), NULL]::uuid[]) AS l;
SELECT shop.enqueue('noop', jsonb_build_object('template', 'order_placed', 'account_id', :'anna', 'order_id', :'o1')) AS noop \gset
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{noop}', 1) AS c, shop.mail_details(c.lease, ARRAY[c.id])), 0::bigint, 'of other jobs nothing is told');
SET LOCAL ROLE shop_worker;
SELECT is((SELECT count(*) FROM shop.mail_details(:'lease', ARRAY[:'job']::uuid[])), 1::bigint, 'the worker may ask');
SELECT throws_ok(s, '42501', NULL, 'but not ' || s) FROM unnest(ARRAY['SELECT shop.mails_of(''x'', ''{}'')', 'SELECT shop.mail_order(1, NULL)', 'SELECT shop.remind_orders()']) AS s;
RESET ROLE;

-- What makes no sense any more.
SELECT rest.password_reset_request(NULL, '{"email": "anna@example.org"}', rpad('r1', 43, 'x'), sha256(rpad('r1', 43, 'x')::bytea)) \g /dev/null
CREATE TEMP TABLE reset AS SELECT payload FROM shop.job WHERE kind = 'password_reset';
SELECT is(mail('password_reset', payload) - 'key', jsonb_build_object('template', 'password_reset', 'address', 'anna@example.org', 'name', 'anna', 'locale', 'en', 'token', payload ->> 'token'), 'a link that is good is sent') FROM reset;
UPDATE shop.password_reset SET expires_at = now() - interval '1 s';
SELECT is(mail('password_reset', payload) ->> 'skip', 'the link is not valid any more', 'one that is not good any more is not') FROM reset;
SELECT is(mail('order_expiring', jsonb_build_object('account_ids', ARRAY[:anna]::text[], 'order_ids', ARRAY[:'o1']::uuid[])) ? 'skip', false, 'an order that waits for its money is reminded of');
UPDATE shop.order SET expires_at = 'infinity' WHERE id = :'o1';
SELECT is(mail('order_expiring', jsonb_build_object('account_ids', ARRAY[:anna]::text[], 'order_ids', ARRAY[:'o1']::uuid[])) ? 'skip', true, 'not while it is being paid');
UPDATE shop.order SET expires_at = now() - interval '1 s' WHERE id = :'o1';
SELECT is(mail('order_placed', jsonb_build_object('account_ids', ARRAY[:anna]::text[], 'order_ids', ARRAY[:'o1']::uuid[])) ->> 'skip', 'the order was cancelled', 'one that has expired is not told of as placed');
UPDATE shop.account SET suspended_at = now() WHERE id = :bert;
SELECT is(mail('order_shipped', jsonb_build_object('account_id', :'bert', 'order_id', :'o2')) ->> 'skip', 'the account is suspended', 'and who is suspended gets nothing');

-- Reminders.
DELETE FROM shop.job; DELETE FROM shop.job_key; DELETE FROM shop.order_line; DELETE FROM shop.order;
SELECT pending('anna', '1 min'), pending('anna', '4 min'), pending('cora', '4 min'), pending('cora', '6 min') \g /dev/null
SELECT is(shop.remind_orders(), 3::bigint, 'orders that expire soon are reminded of');
SELECT is((SELECT count(*) || ' ' || min(jsonb_array_length(payload -> 'order_ids')) || ' ' || min(jsonb_array_length(payload -> 'account_ids')) FROM shop.job WHERE kind = 'order_expiring'), '1 3 3', 'by one event');
SELECT is(shop.remind_orders(), 0::bigint, 'each once');
UPDATE shop.order_reminder SET before = '10 min';
UPDATE shop.order SET expires_at = now() + interval '8 min' WHERE expires_at < now() + interval '5 min';
SELECT is(shop.remind_orders(), 1::bigint, 'also if its time is prolonged; the others when theirs has come');
SELECT ok(NOT EXISTS (SELECT FROM shop.job AS j WHERE j.kind = 'order_expiring' AND j.payload -> 'order_ids' = 'null'), 'no event is empty');
SELECT finish();
ROLLBACK;
