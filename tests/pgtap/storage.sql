-- The tables guard themselves, whoever writes.
\ir include/begin.sql
SELECT plan(54);

-- A test: direct SQL breaks the constraint of that name.
CREATE FUNCTION guards(p_constraint text, p_sql text, p_sentence text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    fired text := 'nothing';
BEGIN
    BEGIN
        EXECUTE p_sql;
    EXCEPTION WHEN integrity_constraint_violation OR check_violation OR unique_violation OR not_null_violation THEN
        GET STACKED DIAGNOSTICS fired = CONSTRAINT_NAME;
    END;
    RETURN is(fired, p_constraint, p_sentence);
END
$$;

SELECT given(1, 10);
SELECT held('ann', 1, 2);
SELECT held('bob', 1, 3);
SELECT is(holdfast.confirm(owner('bob')), 3::bigint, 'units are sold');

-- The ledger
SELECT refuses('UPDATE _holdfast.stock_movement SET quantity = quantity + 1', 'HF018', 'a line of the ledger cannot be changed', NULL, 'adjust');
SELECT refuses('UPDATE _holdfast.stock_movement SET reference = reference WHERE false', 'HF018', 'not even none of them', NULL, 'adjust');
SELECT refuses('DELETE FROM _holdfast.stock_movement', 'HF018', 'or deleted', NULL, 'adjust');
SELECT refuses('TRUNCATE _holdfast.stock_movement', 'HF018', 'or truncated', NULL, 'adjust');
SELECT refuses($$INSERT INTO _holdfast.stock_movement SELECT * FROM _holdfast.stock_movement ON CONFLICT (sku, id) DO UPDATE SET quantity = 0$$, 'HF018', 'or replaced', NULL,
    'adjust');
SELECT refuses($$MERGE INTO _holdfast.stock_movement AS m USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE$$, 'HF018', 'or merged away', NULL,
    'adjust');
SELECT is(undone($$INSERT INTO _holdfast.stock_movement VALUES (1, holdfast.uuid7(), 1, now(), 'r') RETURNING quantity$$), '1', 'lines can be added');

-- Constraints
SELECT guards('stock_lane_available_check', 'UPDATE _holdfast.stock_lane SET available = -1', 'no lane is below zero');
SELECT guards('stock_lane_pkey', 'INSERT INTO _holdfast.stock_lane VALUES (1, 0, 1)', 'no lane is there twice');
SELECT guards('lane_floor_lanes_check', 'INSERT INTO _holdfast.lane_floor VALUES (1, 1)', 'a floor of one lane is none');
SELECT is(holdfast.set_lanes(1, 2), 2, 'a SKU is spread');
SELECT guards('lane_floor_pkey', 'INSERT INTO _holdfast.lane_floor VALUES (1, 2)', 'a SKU has one floor');
SELECT guards('hold_pkey', $$INSERT INTO _holdfast.hold VALUES (owner('ann'), 1, 1, 0, now(), now())$$, 'an owner has one hold of a SKU');
SELECT guards('hold_quantity_check', 'UPDATE _holdfast.hold SET quantity = 0', 'a hold has units');
SELECT guards('hold_quantity_check', 'UPDATE _holdfast.hold SET quantity = -1', 'and not fewer than none');
SELECT guards('hold_quantity_check', 'UPDATE _holdfast.hold SET returned = -1', 'no fewer than none come back');
SELECT guards('hold_quantity_check', 'UPDATE _holdfast.hold SET returned = quantity + 1', 'and no more than were held');
SELECT guards('hold_state_check', $$UPDATE _holdfast.hold SET state = 'z'$$, 'there are four states');
SELECT guards('stock_movement_pkey', 'INSERT INTO _holdfast.stock_movement SELECT * FROM _holdfast.stock_movement',
    'a line of the ledger is there once');
SELECT guards('stock_movement_kind_check', format('INSERT INTO _holdfast.stock_movement VALUES (1, holdfast.uuid7(), %s)', line), 'a line is not ' || what)
FROM (VALUES ('-1, now(), ''r''', 'received with fewer units than none'),
             ('1, now(), ''r'', owner(''ann'')', 'received from an owner'),
             ('0, now(), ''a'', NULL, ''x''', 'adjusted by zero'),
             ('1, now(), ''a''', 'adjusted without a reason'),
             ('1, now(), ''s'', owner(''ann'')', 'sold with units gained'),
             ('-1, now(), ''s''', 'sold to nobody'),
             ('-1, now(), ''b'', owner(''ann'')', 'given back with units lost'),
             ('1, now(), ''b''', 'given back by nobody'),
             ('1, now(), ''z''', 'of a fifth kind')) AS t (line, what);
SELECT is((SELECT string_agg(format('%s.%s', c.relname, a.attname), ', ' ORDER BY c.relname, attnum) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid
    WHERE relnamespace = '_holdfast'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attnotnull), 'cache_prepared.reason, idempotency_0.status, idempotency_0.response, idempotency_1.status, '
    'idempotency_1.response, payment.owner, payment_event.call, payment_event.reason, provider_call.reference, provider_call.reason, provider_event.amount, '
    'provider_event.currency, simulated_call.original, simulated_call.reason, stock_movement.owner, stock_movement.reference', 'few columns may be NULL');
SELECT is((SELECT string_agg(DISTINCT relpersistence::text, ', ') FROM pg_class WHERE relnamespace = '_holdfast'::regnamespace AND relkind = 'r'), 'p',
    'all tables are logged');

-- Triggers of others. What is watched is written down as table, operation, and units before and after.
CREATE TABLE seen (n integer GENERATED ALWAYS AS IDENTITY, words text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    field text := TG_ARGV[0];
BEGIN
    INSERT INTO seen (words) VALUES (format('%s %s %s->%s', TG_TABLE_NAME, TG_OP, to_jsonb(OLD) ->> field, to_jsonb(NEW) ->> field));
    RETURN NULL;
END
$$;
CREATE FUNCTION seen() RETURNS text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM seen RETURNING n, words) SELECT string_agg(words, ', ' ORDER BY words) FROM gone
$$;
SELECT given(2, 10);
CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON _holdfast.stock_lane FOR EACH ROW EXECUTE FUNCTION watch('available');
CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON _holdfast.hold FOR EACH ROW EXECUTE FUNCTION watch('state');
SELECT held('t1', 2, 4);
SELECT is(seen(), 'hold INSERT ->h, stock_lane UPDATE 10->6', 'triggers after each row see reserve()');
SELECT is((SELECT string_agg(verdict, ' ') FROM holdfast.reserve_batch(ARRAY[owner('t2'), owner('t3')], '{2,2}', '{1,1}')), '00000 00000',
    'a batch is held');
SELECT is(seen(), 'hold INSERT ->h, hold INSERT ->h, stock_lane UPDATE 6->4', 'triggers see each row of it');
SELECT is(holdfast.confirm(owner('t2')), 1::bigint, 'a hold is confirmed');
SELECT is(seen(), 'hold UPDATE h->c', 'triggers see it');
SELECT is(holdfast.release(owner('t3')), 1::bigint, 'a hold is released');
SELECT is(seen(), 'hold UPDATE h->r, stock_lane UPDATE 4->5', 'triggers see it');
SELECT held('t5', 2, 1, '1 microsecond');
SELECT is(holdfast.reap(), 1::bigint, 'a hold expires');
SELECT is(seen(), 'hold INSERT ->h, hold UPDATE h->x, stock_lane UPDATE 4->5, stock_lane UPDATE 5->4', 'triggers see it');
SELECT given(3, 3);
SELECT is(holdfast.set_lanes(3, 2), 2, 'a SKU is received and spread');
SELECT is(seen(), 'stock_lane INSERT ->1, stock_lane INSERT ->3, stock_lane UPDATE 3->2', 'triggers see it');
SELECT is(undone($$SELECT holdfast.available(2)$$, $$SELECT holdfast.reserve(owner('t6'), 2, 1); ALTER TABLE _holdfast.stock_lane SET (fillfactor = 30);
    ALTER TABLE _holdfast.hold SET (fillfactor = 90)$$), '4', 'after they have, the tables are closed and can be altered');
DROP TRIGGER watch ON _holdfast.hold;
DROP TRIGGER watch ON _holdfast.stock_lane;

CREATE TRIGGER watch AFTER UPDATE ON _holdfast.stock_lane FOR EACH ROW WHEN (NEW.available < OLD.available) EXECUTE FUNCTION watch('available');
SELECT held('t7', 2, 1);
SELECT is(holdfast.release(owner('t7')), 1::bigint, 'units are taken and come back');
SELECT is(seen(), 'stock_lane UPDATE 5->4', 'a trigger''s condition chooses');
DROP TRIGGER watch ON _holdfast.stock_lane;
CREATE TRIGGER watch AFTER UPDATE OF state ON _holdfast.hold FOR EACH ROW EXECUTE FUNCTION watch('state');
SELECT held('t8', 2, 1);
SELECT is(holdfast.confirm(owner('t8')), 1::bigint, 'a hold is confirmed');
SELECT is(seen(), 'hold UPDATE h->c', 'a trigger on a column sees it');
DROP TRIGGER watch ON _holdfast.hold;
CREATE CONSTRAINT TRIGGER watch AFTER INSERT ON _holdfast.hold DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION watch('state');
SELECT held('t9', 2, 1);
SELECT is(seen(), NULL, 'a deferred trigger waits');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is(seen(), 'hold INSERT ->h', 'and then sees it');
DROP TRIGGER watch ON _holdfast.hold;
CREATE TABLE product (sku bigint PRIMARY KEY);
INSERT INTO product SELECT sku FROM holdfast.stock;
ALTER TABLE _holdfast.hold ADD CONSTRAINT hold_product_fkey FOREIGN KEY (sku) REFERENCES product;
SELECT isnt(holdfast.reserve(owner('f1'), 2, 1), NULL, 'a foreign key that somebody adds lets through what it may');
SELECT given(4, 1);
SELECT refuses($$SELECT holdfast.reserve(owner('f2'), 4, 1)$$, '23503', 'and nothing else');
SELECT refuses($$SELECT * FROM holdfast.reserve_batch(ARRAY[owner('f2'), owner('f3')], '{2,4}', '{1,1}')$$, '23503', 'nor in a batch');

-- Dumps
SELECT is((SELECT string_agg(config::regclass::text || condition, ', ' ORDER BY config::regclass::text) FROM pg_extension, unnest(extconfig, extcondition) AS t (config, condition)
    WHERE extname = 'holdfast'), '_holdfast.hold, _holdfast.idempotency_0, _holdfast.idempotency_1, _holdfast.lane_floor, _holdfast.ledger_entry, _holdfast.payment, '
    '_holdfast.payment_event, _holdfast.payment_listener, _holdfast.provider, _holdfast.provider_call, _holdfast.provider_event, _holdfast.simulated_call, _holdfast.stock_lane, '
    '_holdfast.stock_movement, _holdfast.webhook_secret', 'all tables are dumped whole, but for the clock of the keys');
SELECT is((SELECT count(*) FROM pg_class WHERE relnamespace IN ('holdfast'::regnamespace, '_holdfast'::regnamespace) AND relkind NOT IN ('r', 'i', 'v')), 0::bigint,
    'there is nothing else to dump');

SELECT * FROM finish();
ROLLBACK;
