\ir include/begin.sql
SELECT plan(27);

SELECT is(shape('holdfast.stock'), 'sku bigint, available bigint, held bigint, sold bigint, received bigint, lanes integer', 'the columns of stock');
SELECT is(shape('holdfast.holds'), 'owner uuid, sku bigint, quantity bigint, returned bigint, state text, held_at timestamp with time zone, '
    'expires_at timestamp with time zone, ended_at timestamp with time zone', 'the columns of holds');
SELECT is(shape('holdfast.movements'), 'id uuid, sku bigint, kind text, quantity bigint, owner uuid, reference text, moved_at timestamp with time zone',
    'the columns of movements');
SELECT is(shape('holdfast.lock_waits'), 'sku bigint, lane integer, pid integer, waiting interval, blocked_by integer, blocked_by_user name, '
    'blocked_by_application text, blocked_by_state text, blocked_by_query text, blocked_by_for interval', 'the columns of lock_waits');
SELECT is((SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'holdfast'::regnamespace AND relkind = 'v'),
    'balances, cache_status, holds, ledger, lock_waits, movements, open_calls, open_keys, payment_history, payment_listeners, payments, refunds, simulated_statement, stock, unknown_outcomes, watched', 'there are no others');

-- stock
SELECT given(1, 20);
SELECT is((SELECT s::text FROM holdfast.stock AS s WHERE sku = 1), '(1,20,0,0,20,1)', 'a SKU that was only received is available');
SELECT is(holdfast.adjust(1, -5, 'lost') + holdfast.adjust(1, 1, 'found'), 31::bigint, 'it is corrected');
SELECT is((SELECT s::text FROM holdfast.stock AS s WHERE sku = 1), '(1,16,0,0,16,1)', 'corrections count as received');
SELECT held('ann', 1, 4);
SELECT held('bob', 1, 3);
SELECT held('cid', 1, 2, '1 microsecond');
SELECT is((SELECT s::text FROM holdfast.stock AS s WHERE sku = 1), '(1,9,7,0,16,1)', 'held units are held, those of expired holds available');
SELECT is(holdfast.reap(), 1::bigint, 'the expired one is tidied up');
SELECT is((SELECT s::text FROM holdfast.stock AS s WHERE sku = 1), '(1,9,7,0,16,1)', 'which makes no difference');
SELECT is(holdfast.confirm(owner('ann')), 4::bigint, 'some are sold');
SELECT is((SELECT s::text FROM holdfast.stock AS s WHERE sku = 1), '(1,9,3,4,16,1)', 'sold units are sold');
SELECT is(holdfast.give_back(owner('ann'), 1, 1, 'too small') + holdfast.set_lanes(1, 3), 4::bigint, 'one comes back, and the SKU is spread');
SELECT is((SELECT s::text FROM holdfast.stock AS s WHERE sku = 1), '(1,10,3,3,16,3)', 'and no longer sold when they came back');
SELECT given(2, 1);
SELECT is((SELECT array_agg(sku ORDER BY sku) FROM holdfast.stock), '{1,2}', 'each SKU has one row, however many lanes');
SELECT is((SELECT count(*) FROM holdfast.stock WHERE sku = 99), 0::bigint, 'an unknown one has none');

-- holds
SELECT held('dan', 1, 1);
SELECT held('eve', 1, 1);
SELECT held('fay', 1, 1, '1 microsecond');
SELECT is(holdfast.pin(owner('dan')) + holdfast.release(owner('eve')), 2::bigint, 'holds are pinned and released');
SELECT results_eq($$SELECT p, state, quantity, returned, ended_at IS NULL, expires_at = 'infinity', ended_at = expires_at
        FROM unnest('{ann,bob,cid,dan,eve,fay}'::text[]) AS p JOIN holdfast.holds ON owner = owner(p) ORDER BY p$$,
    $$VALUES ('ann', 'confirmed', 4::bigint, 1::bigint, false, false, false), ('bob', 'held', 3, 0, true, false, NULL), ('cid', 'expired', 2, 0, false, false, true),
        ('dan', 'pinned', 1, 0, true, true, NULL), ('eve', 'released', 1, 0, false, false, false), ('fay', 'expired', 1, 0, false, false, true)$$,
    'a hold is held, pinned, confirmed, released or expired, and has ended in the last three states');
SELECT is((SELECT count(*) FROM holdfast.holds WHERE held_at NOT BETWEEN now() AND clock_timestamp()), 0::bigint,
    'it began at the moment of the call');

-- movements
SELECT results_eq($$SELECT kind, quantity, owner, reference FROM holdfast.movements WHERE sku = 1 ORDER BY id$$,
    $$VALUES ('received', 20::bigint, NULL::uuid, NULL), ('adjusted', -5, NULL, 'lost'), ('adjusted', 1, NULL, 'found'),
        ('sold', -4, owner('ann'), NULL), ('given back', 1, owner('ann'), 'too small')$$,
    'movements are received, adjusted, sold and given back, in order of their ids');
SELECT is((SELECT sum(quantity) FROM holdfast.movements WHERE sku = 1), (SELECT available + held FROM holdfast.stock WHERE sku = 1)::numeric,
    'their sum is what is in the house');
SELECT is((SELECT count(*) FROM holdfast.movements WHERE moved_at NOT BETWEEN now() AND clock_timestamp()), 0::bigint, 'each says when');
SELECT is((SELECT m.moved_at FROM holdfast.movements AS m WHERE kind = 'sold'), (SELECT ended_at FROM holdfast.holds WHERE owner = owner('ann')),
    'a sale at the moment in which its hold ended');

-- lock_waits
SELECT is((SELECT count(*) FROM holdfast.lock_waits), 0::bigint, 'nobody waits for whom nobody blocks');
SELECT cmp_ok((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
    AND ((classid::bigint << 32) | objid::bigint) = 1 AND objsubid >= 16384), '>=', 1::bigint,
    'a lane that was taken from is locked in the class that lock_waits reads');

SELECT throws_ok('DELETE FROM holdfast.stock', '55000', NULL, 'nothing can be written through stock');

SELECT * FROM finish();
ROLLBACK;
