\ir include/begin.sql
SELECT plan(31);

SELECT given(1, 10);
SELECT held('ann', 1, 6);
SELECT is(holdfast.confirm(owner('ann')), 6::bigint, 'six units are sold');
SELECT is(holdfast.give_back(owner('ann'), 1, 2, 'slip 9'), 2::bigint, 'giving back returns the units given back');
SELECT is(account(1), '6 available, 0 held, 4 sold', 'they are available at once and no longer sold');
SELECT is((SELECT format('%s %s %s', state, quantity, returned) FROM holdfast.holds WHERE owner = owner('ann')), 'confirmed 6 2',
    'the hold keeps the sale and what came back of it');
SELECT results_eq($$SELECT kind, quantity, owner, reference FROM holdfast.movements WHERE sku = 1 AND owner IS NOT NULL ORDER BY id$$,
    $$VALUES ('sold', -6::bigint, owner('ann'), NULL), ('given back', 2, owner('ann'), 'slip 9')$$,
    'a return is a line of the ledger, with its reference');
SELECT refuses($$SELECT holdfast.give_back(owner('ann'), 1, 5)$$, 'HF011', 'more than was sold does not come back, counting what came back before',
    'bought 6 of SKU 1 and has given back 2');
SELECT refuses($$SELECT holdfast.give_back(owner('ann'), 1, 9223372036854775807)$$, 'HF011', 'however many they say');
SELECT is(holdfast.give_back(owner('ann'), 1, 1), 1::bigint, 'returns may come one after the other');
SELECT is(holdfast.give_back(owner('ann'), 1), 3::bigint, 'without p_quantity all come back that have not yet');
SELECT is(account(1), '10 available, 0 held, 0 sold', 'then nothing is sold');
SELECT refuses($$SELECT holdfast.give_back(owner('ann'), 1)$$, 'HF011', 'and there is nothing left to give back',
    'bought 6 of SKU 1 and has given back 6');
SELECT refuses($$SELECT holdfast.give_back(owner('ann'), 1, 1)$$, 'HF011', 'not even one unit');
SELECT isnt(holdfast.reserve(owner('bob'), 1, 10), NULL, 'what came back can be held again');
SELECT is(holdfast.confirm(owner('bob'), '{1}', '{3}'), 3::bigint, 'and be sold in part');
SELECT refuses($$SELECT holdfast.give_back(owner('bob'), 1, 4)$$, 'HF011', 'of which no more comes back than was sold', 'bought 3');
SELECT is(holdfast.give_back(owner('bob'), 1, 3), 3::bigint, 'but all of it');
SELECT is(account(1), '10 available, 0 held, 0 sold', 'and the account is right');

-- Only of the SKU named
SELECT given(2, 5);
SELECT held('cid', 1, 2);
SELECT held('cid', 2, 2);
SELECT is(holdfast.confirm(owner('cid')), 4::bigint, 'two SKUs are sold');
SELECT is(holdfast.give_back(owner('cid'), 2), 2::bigint, 'one comes back');
SELECT is(account(1) || '; ' || account(2), '8 available, 0 held, 2 sold; 5 available, 0 held, 0 sold', 'the other stays sold');

-- What was not sold
SELECT held('dan', 1, 2);
SELECT refuses($$SELECT holdfast.give_back(owner('dan'), 1, 1)$$, 'HF017', 'what is only held does not come back', 'none of SKU 1', 'release');
SELECT is(holdfast.release(owner('dan')), 2::bigint, 'a hold is released');
SELECT refuses($$SELECT holdfast.give_back(owner('dan'), 1, 1)$$, 'HF017', 'what was released does not come back', 'none of SKU 1');
SELECT held('eve', 1, 2, '1 microsecond');
SELECT refuses($$SELECT holdfast.give_back(owner('eve'), 1)$$, 'HF017', 'what has expired does not come back', 'none of SKU 1');

SELECT refuses($$SELECT holdfast.give_back(owner('nobody'), 1)$$, 'HF006', 'who bought nothing gives nothing back', owner('nobody')::text);
SELECT refuses($$SELECT holdfast.give_back(owner('ann'), 2)$$, 'HF006', 'what somebody else bought does not come back', 'SKU 2');
SELECT refuses($$SELECT holdfast.give_back(owner('cid'), 1, 0)$$, 'HF003', 'giving back none is refused', '0');
SELECT refuses($$SELECT holdfast.give_back(owner('cid'), 1, -1)$$, 'HF003', 'giving back less than none is refused', '-1');
SELECT refuses($$SELECT holdfast.give_back(owner('cid'), 1, -9223372036854775808)$$, 'HF003', 'giving back the least bigint is refused');
SELECT refuses('SELECT holdfast.give_back(NULL, 1)', '22004', 'giving back needs an owner');
SELECT refuses($$SELECT holdfast.give_back(owner('cid'), NULL)$$, '22004', 'giving back needs a SKU');

SELECT * FROM finish();
ROLLBACK;
