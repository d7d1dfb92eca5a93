\ir include/begin.sql
SELECT plan(30);

-- What verify() finds after the storage was tampered with, as invariant: SKUs. The damage is undone.
CREATE FUNCTION found(p_damage text) RETURNS text LANGUAGE sql AS $$
    SELECT undone('SELECT string_agg(invariant || '': '' || skus, ''; '' ORDER BY invariant)
            FROM (SELECT invariant, string_agg(sku::text, '','' ORDER BY sku) AS skus FROM holdfast.verify() GROUP BY invariant) AS t',
        'ALTER TABLE _holdfast.stock_movement DISABLE TRIGGER stock_movement_append_only;
         ALTER TABLE _holdfast.stock_movement DROP CONSTRAINT stock_movement_kind_check;
         ALTER TABLE _holdfast.stock_lane DROP CONSTRAINT stock_lane_available_check;
         ALTER TABLE _holdfast.hold DROP CONSTRAINT hold_quantity_check, DROP CONSTRAINT hold_state_check;' || p_damage)
$$;

-- SKU 1 with a hold of each kind; SKU 2 with the same, which must never be named.
SELECT given(sku, 100), held('live', sku, 3), held('sold', sku, 5), held('back', sku, 4), held('released', sku, 2), held('due', sku, 1, '1 microsecond'),
    held('pinned', sku, 1), holdfast.set_lanes(sku, 3)
FROM unnest('{1,2}'::bigint[]) AS sku;
SELECT is(holdfast.confirm(owner('sold')) + holdfast.confirm(owner('back')), 18::bigint, 'units are sold');
SELECT is(holdfast.release(owner('released')) + holdfast.pin(owner('pinned')) + holdfast.reap(), 8::bigint, 'released, pinned, and expire');
SELECT is(holdfast.give_back(owner('back'), 1, 2) + holdfast.give_back(owner('back'), 2, 2), 4::bigint, 'and come back');
SELECT held('late', sku, 1, '1 microsecond') FROM unnest('{1,2}'::bigint[]) AS sku;

SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'while all is well nothing is found');
SELECT is(found(''), NULL, 'nor without the constraints');

-- received = available + held + sold
SELECT is(found('UPDATE _holdfast.stock_lane SET available = available + 1 WHERE sku = 1 AND lane = 1'), 'received = available + held + sold: 1',
    'a unit too many in a lane');
SELECT is(found('UPDATE _holdfast.stock_lane SET available = available - 1 WHERE sku = 1 AND lane = 2'), 'received = available + held + sold: 1',
    'a unit too few in a lane');
SELECT is(found('DELETE FROM _holdfast.stock_lane WHERE sku = 1 AND lane = 2'), 'received = available + held + sold: 1', 'a lane that is gone');
SELECT is(found($$UPDATE _holdfast.hold SET quantity = quantity + 1 WHERE owner = owner('live') AND sku = 1$$), 'received = available + held + sold: 1',
    'a unit too many in a hold');
SELECT is(found($$DELETE FROM _holdfast.hold WHERE owner = owner('live') AND sku = 1$$), 'received = available + held + sold: 1',
    'a live hold that is gone');
SELECT is(found($$DELETE FROM _holdfast.hold WHERE owner = owner('late') AND sku = 1$$), 'received = available + held + sold: 1',
    'an expired hold that is gone before it was tidied up');
SELECT is(found($$DELETE FROM _holdfast.hold WHERE owner IN (owner('released'), owner('due')) AND sku = 1$$), NULL, 'but ended holds may go');
SELECT is(found($$UPDATE _holdfast.stock_movement SET quantity = quantity + 1 WHERE sku = 1 AND kind = 'r'$$), 'received = available + held + sold: 1',
    'a line of the ledger that was changed');
SELECT is(found($$INSERT INTO _holdfast.stock_movement VALUES (1, holdfast.uuid7(), 1, now(), 'a', NULL, 'x')$$), 'received = available + held + sold: 1',
    'a line that was invented');
SELECT is((SELECT detail FROM holdfast.verify()), NULL, 'each damage was undone');
SELECT is(undone('SELECT detail FROM holdfast.verify()', 'UPDATE _holdfast.stock_lane SET available = available + 7 WHERE sku = 1 AND lane = 1'),
    'ledger 93, available 95, held 5', 'the detail has the numbers');

-- sold units are confirmed holds, returned units were sold
SELECT is(found($$UPDATE _holdfast.hold SET quantity = quantity - 1 WHERE owner = owner('sold') AND sku = 1$$), 'sold units are confirmed holds: 1',
    'a sale of fewer units than the ledger says');
SELECT is(found($$DELETE FROM _holdfast.hold WHERE owner = owner('sold') AND sku = 1$$), 'sold units are confirmed holds: 1',
    'a sale whose hold is gone');
SELECT is(found($$DELETE FROM _holdfast.stock_movement WHERE owner = owner('sold') AND sku = 1$$), 'received = available + held + sold: 1; sold units are confirmed holds: 1',
    'a sale that is not in the ledger');
SELECT is(found($$UPDATE _holdfast.hold SET returned = returned + 1 WHERE owner = owner('back') AND sku = 1$$), 'returned units were sold: 1',
    'a return of more units than the ledger says');
SELECT is(found($$UPDATE _holdfast.stock_movement SET quantity = 1 WHERE kind = 'b' AND sku = 1$$), 'received = available + held + sold: 1; returned units were sold: 1',
    'a return of fewer');

-- lanes
SELECT is(found('UPDATE _holdfast.stock_lane SET lane = 7 WHERE sku = 1 AND lane = 0'), 'every SKU has lane 0: 1', 'a SKU without lane 0');
SELECT is(found('DELETE FROM _holdfast.stock_lane WHERE sku = 1'), 'every SKU has lane 0: 1; received = available + held + sold: 1',
    'a SKU without any lane');
SELECT is(found($$INSERT INTO _holdfast.hold VALUES (owner('x'), 99, 1, 0, now(), now())$$), 'every SKU has lane 0: 99; received = available + held + sold: 99',
    'a hold of an unknown SKU');
SELECT is(found('UPDATE _holdfast.stock_lane SET available = CASE lane WHEN 0 THEN -1 ELSE available + 1 + (SELECT available FROM _holdfast.stock_lane WHERE sku = 1 AND lane = 0) END
    WHERE sku = 1 AND lane IN (0, 1)'), 'no lane is below zero: 1', 'a lane below zero, though the sum is right');

-- holds
SELECT is(found($$UPDATE _holdfast.hold SET ended_at = held_at WHERE owner = owner('live') AND sku = 1$$), 'a hold ends exactly once, and not before it began: 1',
    'a live hold that has ended');
SELECT is(found($$UPDATE _holdfast.hold SET ended_at = 'infinity' WHERE owner = owner('released') AND sku = 1$$), 'a hold ends exactly once, and not before it began: 1',
    'an ended hold without an end');
SELECT is(found($$UPDATE _holdfast.hold SET ended_at = held_at - interval '1 s' WHERE owner = owner('sold') AND sku = 1$$), 'a hold ends exactly once, and not before it began: 1',
    'a hold that ended before it began');
SELECT is(found($$UPDATE _holdfast.hold SET ended_at = expires_at + interval '1 s' WHERE owner = owner('due') AND sku = 1$$), 'a hold expires at its deadline: 1',
    'a hold that expired at another time than its deadline');
SELECT is(found($$UPDATE _holdfast.hold SET ended_at = expires_at + interval '1 s' WHERE owner = owner('sold') AND sku = 1$$), 'no hold is confirmed after its deadline: 1',
    'a sale after the deadline');

SELECT * FROM finish();
ROLLBACK;
