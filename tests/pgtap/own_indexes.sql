-- Whoever reports from the tables may index them as he likes, and nothing else changes.
\ir include/begin.sql
SELECT plan(21);

-- Receives a unit at every depth down to none, each in a statement of its own inside the last one's.
CREATE FUNCTION dive(p_sku bigint, p_depth integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_depth > 0 THEN
        EXECUTE format('SELECT holdfast.receive(%s, 1, %L), dive(%s, %s)', p_sku, 'depth ' || p_depth, p_sku, p_depth - 1);
        EXECUTE format('SELECT holdfast.receive(%s, 1, %L)', p_sku, 'depth ' || p_depth);
    END IF;
END
$$;

SELECT given(1, 10);
CREATE INDEX ON _holdfast.stock_movement ((lower(reference) || 'x'), (quantity + 1));
CREATE INDEX ON _holdfast.stock_movement USING brin (moved_at);
CREATE INDEX ON _holdfast.stock_movement USING hash (reference) WHERE quantity % 2 = 1;
CREATE INDEX ON _holdfast.hold ((quantity * 2), (date_trunc('day', expires_at AT TIME ZONE 'UTC'))) INCLUDE (state) WHERE lower(state::text) = 'h';
CREATE INDEX ON _holdfast.stock_lane ((available % 7));

-- The ledger
SELECT is(holdfast.receive(1, 1, 'Note'), 11::bigint, 'with indexes on expressions units are received');
SELECT is(holdfast.receive(1, 1, 'Note'), 12::bigint, 'and once more in the same session');
SELECT lives_ok('SELECT dive(1, 3)', 'and by statements within statements');
SELECT lives_ok('SELECT dive(1, 20)', 'however deep');
SELECT is(holdfast.receive(1, 1), 59::bigint, 'and at the top again');
SELECT is(holdfast.adjust(1, -9, 'broken'), 50::bigint, 'units are corrected');
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM _holdfast.stock_movement WHERE lower(reference) || 'x' = 'depth 2x' AND quantity + 1 = 2), 4::bigint,
    'an index on expressions finds what was written');
SELECT is((SELECT count(*) FROM _holdfast.stock_movement WHERE reference = 'depth 3' AND quantity % 2 = 1), 4::bigint,
    'and so does one on a part of the lines');
SELECT is((SELECT count(*) FROM _holdfast.stock_movement WHERE moved_at > now() - interval '1 minute'), 51::bigint,
    'and one on ranges of blocks');

-- Holds and lanes
SELECT is((SELECT string_agg(verdict, ' ') FROM holdfast.reserve_batch(ARRAY[owner('ann'), owner('bob'), owner('cid')], '{1,1,1}', '{2,3,4}')),
    '00000 00000 00000', 'a batch is held');
SELECT isnt(holdfast.reserve(owner('dan'), 1, 5), NULL, 'a buyer holds');
SELECT isnt(holdfast.reserve(owner('dan'), 1, 6), NULL, 'and holds more');
SELECT is(holdfast.confirm(owner('ann')) + holdfast.release(owner('bob')) + holdfast.pin(owner('cid')), 6::bigint, 'holds end, or are pinned');
SELECT is((SELECT array_agg(sku ORDER BY sku) FROM _holdfast.hold WHERE quantity * 2 IN (8, 12) AND lower(state::text) = 'h'), '{1,1}',
    'an index finds those that are live');
SELECT is(holdfast.set_lanes(1, 4), 4, 'lanes are added');
SELECT is((SELECT sum(available) FROM _holdfast.stock_lane WHERE available % 7 IN (0, 1, 2, 3, 4, 5, 6)), 38::numeric, 'an index finds them all');
RESET enable_seqscan;
SELECT is(account(1), '38 available, 10 held, 2 sold', 'the account is right');

-- Rules of their own
CREATE UNIQUE INDEX one_note ON _holdfast.stock_movement (reference, sku) WHERE reference LIKE 'note %';
SELECT is(holdfast.receive(1, 2, 'note 1'), 40::bigint, 'a unique index lets through what is new');
SELECT refuses($$SELECT holdfast.receive(1, 2, 'note 1')$$, '23505', 'and refuses what is there, which trying again would not change');
DROP INDEX _holdfast.one_note;
ALTER TABLE _holdfast.stock_movement ADD CONSTRAINT one_note_later EXCLUDE USING btree (reference WITH =, sku WITH =) WHERE (reference LIKE 'note %')
    DEFERRABLE INITIALLY DEFERRED;
SELECT refuses($$SELECT holdfast.receive(1, 1, 'note 2'), holdfast.receive(1, 1, 'note 2'); SET CONSTRAINTS ALL IMMEDIATE$$, '23P01', 'a constraint may be checked later');
SELECT is(account(1), '40 available, 10 held, 2 sold', 'and the account is right');

SELECT * FROM finish();
ROLLBACK;
