-- Deadlines, and tidying up after them: reap(), purge_holds(), expiring(), next_expiry().
\ir include/begin.sql
SELECT plan(53);

-- Makes an owner's holds begin, end and have their deadline earlier.
CREATE FUNCTION aged(p_owner text, p_by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE _holdfast.hold SET held_at = held_at - p_by, expires_at = expires_at - p_by, ended_at = ended_at - p_by WHERE owner = owner(p_owner)
$$;

-- From the instant of the deadline
SELECT given(1, 10);
SELECT held('ann', 1, 6, '1 microsecond');
SELECT is((SELECT state FROM _holdfast.hold WHERE owner = owner('ann')), 'h'::"char", 'a hold whose deadline has passed is not tidied up by itself');
SELECT is(account(1), '10 available, 0 held, 0 sold', 'but its units are available from that instant');
SELECT is((SELECT state || ' ' || (ended_at = expires_at) FROM holdfast.holds WHERE owner = owner('ann')), 'expired true',
    'and it is expired, since its deadline');
SELECT isnt(holdfast.reserve(owner('bob'), 1, 3), NULL, 'a buyer gets units from beside it');
SELECT isnt(holdfast.reserve(owner('cid'), 1, 7), NULL, 'or its own');
SELECT is((SELECT state FROM _holdfast.hold WHERE owner = owner('ann')), 'x'::"char", 'which tidies it up');
SELECT is(account(1), '0 available, 10 held, 0 sold', 'no unit is held twice');
SELECT refuses($$SELECT holdfast.reserve(owner('dan'), 1, 1)$$, 'HF001', 'or comes back twice', '0 units');

SELECT given(2, 200);
SELECT held('s' || g, 2, 1, '1 microsecond') FROM generate_series(1, 200) AS g;
SELECT isnt(holdfast.reserve(owner('all'), 2, 200), NULL, 'a buyer takes back as many expired holds as he needs');
SELECT is(account(2), '0 available, 200 held, 0 sold', 'and holds their units');
SELECT is(holdfast.release(owner('all')), 200::bigint, 'all of them');
SELECT held('t' || g, 2, 2, '1 microsecond') FROM generate_series(1, 100) AS g;
SELECT is((SELECT count(*) FROM holdfast.reserve_batch((SELECT array_agg(owner('u' || g)) FROM generate_series(1, 210) AS g),
    array_fill(2::bigint, '{210}'), array_fill(1::bigint, '{210}')) WHERE verdict = '00000'), 200::bigint, 'and so does a batch');
SELECT is(account(2), '0 available, 200 held, 0 sold', 'no unit is held twice');
SELECT given(3, 5);
SELECT held('eve', 3, 5, '1 microsecond');
SELECT isnt(holdfast.reserve(owner('fay'), ARRAY[3], ARRAY[5]), NULL, 'and a cart');

-- reap()
SELECT given(4, 100);
SELECT held('r' || g, 4, 1, '1 microsecond') FROM generate_series(1, 10) AS g;
SELECT held('live', 4, 1);
SELECT held('pinned', 4, 1);
SELECT is(holdfast.pin(owner('pinned')), 1::bigint, 'a hold is pinned');
SELECT is(holdfast.reap(3), 3::bigint, 'a sweep ends as many holds as it may');
SELECT is((SELECT count(*) FROM _holdfast.hold WHERE sku = 4 AND state = 'x'), 3::bigint, 'and no more');
SELECT is(holdfast.reap(), 7::bigint, 'without a limit, those that there are, up to holdfast.reaper_batch');
SELECT is(holdfast.reap(), 0::bigint, 'once');
SELECT is((SELECT string_agg(DISTINCT state || ' ' || (ended_at = expires_at), '; ') FROM holdfast.holds WHERE sku = 4 AND state = 'expired'), 'expired true',
    'they have ended at their deadline, not when they were tidied up');
SELECT is(hold('live', 4) || ', ' || hold('pinned', 4), 'held 1, pinned 1', 'live and pinned holds are left alone');
SELECT is(account(4), '98 available, 2 held, 0 sold', 'and the account is right');
SELECT is((SELECT sum(available) FROM _holdfast.stock_lane WHERE sku = 4), 98::numeric, 'the units are back in a lane');
SELECT is((SELECT count(*) FROM holdfast.movements WHERE sku = 4), 1::bigint, 'expiring moves no unit: the ledger is as it was');
SELECT given(10 + g, 2), held('q' || g, 10 + g, 1, '1 microsecond'), held('w' || g, 10 + g, 1, '1 microsecond') FROM generate_series(1, 20) AS g;
SELECT is(undone('SELECT holdfast.reap(3)'), '3', 'a limit counts the holds of all SKUs together');
SELECT is(holdfast.reap(2147483647), 40::bigint, 'a limit may be huge; a sweep goes through all SKUs');
SELECT is((SELECT string_agg(DISTINCT account(10 + g), '; ') FROM generate_series(1, 20) AS g), '2 available, 0 held, 0 sold', 'each is right');
SELECT given(-9223372036854775808, 1), given(9223372036854775807, 1);
SELECT held('least', -9223372036854775808, 1, '1 microsecond'), held('greatest', 9223372036854775807, 1, '1 microsecond');
SELECT is(holdfast.reap(), 2::bigint, 'also through the least and the greatest SKU');
SELECT refuses('SELECT holdfast.reap(0)', 'HF003', 'a sweep of nothing is refused', '0');
SELECT refuses('SELECT holdfast.reap(-1)', 'HF003', 'and one of less', '-1');

-- expiring()
SELECT given(5, 100);
SELECT held('e' || g, 5, g, g * interval '10 s') FROM generate_series(1, 5) AS g;
SELECT results_eq($$SELECT owner, sku, quantity, state FROM holdfast.expiring('35 s')$$,
    $$SELECT owner('e' || g), 5::bigint, g::bigint, 'held' FROM generate_series(1, 3) AS g$$,
    'holds that end within a time are listed, soonest first');
SELECT held('gone', 5, 1, '1 microsecond');
SELECT is((SELECT count(*) FROM holdfast.expiring('45 s')), 4::bigint, 'those that have ended already are not');
SELECT is(holdfast.release(owner('e1')) + holdfast.confirm(owner('e2')) + holdfast.pin(owner('e3')), 4::bigint, 'holds end, and one is pinned');
SELECT is((SELECT array_agg(quantity) FROM holdfast.expiring('55 s')), '{4,5}', 'nor are they');
SELECT is((SELECT count(*) FROM holdfast.expiring('-1 s')), 0::bigint, 'nothing ends in the past');
SELECT is((SELECT count(*) FROM holdfast.expiring(NULL)), 0::bigint, 'or at no time');

-- next_expiry(): of e1 to e5 the last two are left, and 'gone', which is past.
SELECT is(holdfast.next_expiry(5, clock_timestamp()), (SELECT min(expires_at) FROM holdfast.expiring('55 s')), 'the next deadline of a SKU is that of units still held');
SELECT is(holdfast.next_expiry(5, '-infinity'), (SELECT expires_at FROM holdfast.holds WHERE owner = owner('gone')), 'from any time on');
SELECT is(holdfast.next_expiry(5, (SELECT max(expires_at) FROM holdfast.expiring('55 s'))), NULL, 'there is none after the last, for a pinned hold has none');
SELECT is(holdfast.next_expiry(77, '-infinity'), NULL, 'nor for a SKU of which nothing is held');
SELECT is((SELECT count(*) FROM (SELECT holdfast.next_expiry(NULL, '-infinity') UNION ALL SELECT holdfast.next_expiry(5, NULL)) AS n (at) WHERE at IS NULL), 2::bigint, 'nor of nothing');

-- purge_holds()
SELECT given(6, 100);
SELECT held('p1', 6, 1), held('p2', 6, 1), held('p3', 6, 1), held('p4', 6, 1, '1 microsecond'), held('p5', 6, 1, '1 microsecond');
SELECT is(holdfast.release(owner('p1')) + holdfast.release(owner('p2')) + holdfast.confirm(owner('p3')) + holdfast.reap(1000), 6::bigint,
    'holds end in all ways');
SELECT held('p6', 6, 1);
SELECT aged('p' || g, '30 days') FROM generate_series(1, 5) AS g WHERE g <> 2;
SELECT is(holdfast.purge_holds('31 days'), 0::bigint, 'holds that have not ended so long ago are not purged');
SELECT is(holdfast.purge_holds('29 days', 1), 1::bigint, 'of those that have, as many as are allowed are');
SELECT is(holdfast.purge_holds('29 days'), 2::bigint, 'without a limit all the others');
SELECT is((SELECT string_agg(hold(p, 6), ', ' ORDER BY p) FROM unnest('{p1,p2,p3,p4,p5,p6}'::text[]) AS p), 'released 1, confirmed 1, held 1',
    'sales, live holds and those that have ended lately stay');
SELECT is(account(6), '98 available, 1 held, 1 sold', 'no unit is lost');
SELECT refuses($$SELECT holdfast.release(owner('p1'))$$, 'HF006', 'a purged hold is unknown rather than ended');
SELECT isnt(holdfast.reserve(owner('p1'), 6, 1), NULL, 'and its owner may hold again');
SELECT held('p7', 6, 1, '1 microsecond');
SELECT is(undone($$SELECT holdfast.purge_holds('0') IS NOT NULL || ' ' || hold('p7', 6)$$), 'true expired 1',
    'an expired hold that has not been tidied up is not purged: its units would be lost');
SELECT is(undone($$SELECT holdfast.purge_holds(NULL)$$), '0', 'at an unknown age nothing is purged');
SELECT is(undone($$SELECT holdfast.purge_holds('0', 0)$$), '0', 'and with a limit of nothing');
SELECT refuses($$SELECT holdfast.purge_holds('0', -1)$$, '2201W', 'a negative limit is refused');

SELECT * FROM finish();
ROLLBACK;
