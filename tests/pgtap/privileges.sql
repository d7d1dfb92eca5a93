\ir include/begin.sql
SELECT plan(34);

CREATE ROLE stranger;
CREATE ROLE guest;
CREATE ROLE buyer;
CREATE ROLE reporter;
CREATE ROLE manager;
GRANT USAGE ON SCHEMA holdfast TO guest, buyer, reporter, manager;
GRANT EXECUTE ON FUNCTION holdfast.reserve(uuid, bigint, bigint, interval, boolean), holdfast.confirm(uuid, bigint[], bigint[]) TO buyer;
GRANT SELECT ON ALL TABLES IN SCHEMA holdfast TO reporter;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA holdfast TO manager;
SELECT given(1, 10);
SELECT held('ann', 1, 2);

-- The answer that a role gets.
CREATE FUNCTION answer(p_role text, p_sql text) RETURNS text LANGUAGE sql AS $$ SELECT undone(p_sql, format('SET LOCAL ROLE %I', p_role)) $$;

-- The functions and relations that a role has a right to.
CREATE FUNCTION rights(p_role text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(name, ', ' ORDER BY name) FROM (
        SELECT p.oid::regproc::text FROM pg_proc AS p
        WHERE p.pronamespace IN ('holdfast'::regnamespace, '_holdfast'::regnamespace) AND has_function_privilege(p_role, p.oid, 'EXECUTE')
        UNION ALL
        SELECT c.oid::regclass::text FROM pg_class AS c
        WHERE c.relnamespace IN ('holdfast'::regnamespace, '_holdfast'::regnamespace) AND c.relkind <> 'i'
        AND (has_table_privilege(p_role, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
            OR has_any_column_privilege(p_role, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))) AS t (name)
$$;

-- Without grants
SELECT is(has_schema_privilege('stranger', 'holdfast', 'USAGE, CREATE'), false, 'a role without grants cannot use the schema');
SELECT is(has_schema_privilege('stranger', '_holdfast', 'USAGE, CREATE'), false, 'nor that of the storage');
SELECT is(answer('stranger', 'SELECT holdfast.available(1)'), '42501', 'and is refused');
SELECT is(rights('guest'), '_holdfast.cache_report, holdfast.new_id, holdfast.uuid7', 'a role that may use the schema may only make ids; what it cannot name serves a view');
SELECT is(answer('guest', 'SELECT substr(holdfast.uuid7()::text, 15, 1)'), '7', 'it makes one');
SELECT is(answer('guest', 'SELECT holdfast.receive(1, 1)'), '42501', 'it cannot receive');
SELECT is(answer('guest', $$SELECT holdfast.reserve(owner('x'), 1, 1)$$), '42501', 'it cannot reserve');
SELECT is(answer('guest', $$SELECT verdict FROM holdfast.reserve_batch(ARRAY[owner('x')], '{1}', '{1}')$$), '42501', 'nor a batch');
SELECT is(answer('guest', $$SELECT holdfast.confirm(owner('ann'))$$), '42501', 'it cannot confirm what others hold');
SELECT is(answer('guest', 'SELECT sku FROM holdfast.stock'), '42501', 'it cannot read the stock');
SELECT is(answer('guest', 'SELECT count(*) FROM holdfast.verify()'), '42501', 'nor verify it');
SELECT is(rights('holdfast_worker'), '_holdfast.cache_report, holdfast.new_id, holdfast.uuid7', 'the workers'' role may not do more');
SELECT is((SELECT format('super %s, createdb %s, createrole %s, replication %s, inherit %s, bypassrls %s, password %s', rolsuper, rolcreatedb, rolcreaterole,
    rolreplication, rolinherit, rolbypassrls, rolpassword) FROM pg_authid WHERE rolname = 'holdfast_worker'),
    'super f, createdb f, createrole f, replication f, inherit f, bypassrls f, password ', 'has no attributes and no password');
SELECT is((SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'holdfast_worker'::regrole), 0::bigint,
    'and owns nothing');

-- EXECUTE
SELECT is(has_schema_privilege('buyer', '_holdfast', 'USAGE'), false, 'a buyer has no rights in the storage');
SELECT is(answer('buyer', $$SELECT holdfast.reserve(owner('x'), 1, 1) IS NOT NULL$$), 'true', 'with EXECUTE he can reserve all the same');
SELECT is(answer('buyer', $$SELECT holdfast.confirm(owner('ann'))$$), '2', 'and confirm');
SELECT is(answer('buyer', $$SELECT holdfast.reserve(owner('x'), 1, 9)$$), 'HF001', 'and is refused what is not there');
SELECT is(answer('buyer', $$SELECT holdfast.reserve(owner('x'), ARRAY[1], ARRAY[1])$$), '42501', 'but not a cart, which nobody granted him');
SELECT is(answer('buyer', $$SELECT holdfast.release(owner('ann'))$$), '42501', 'nor release');
SELECT is(answer('buyer', 'SELECT available FROM _holdfast.stock_lane'), '42501', 'nor read the storage');
SELECT is(answer('buyer', 'UPDATE _holdfast.stock_lane SET available = 100'), '42501', 'nor write it');
SELECT is(answer('manager', $$SELECT holdfast.receive(2, 5) + holdfast.adjust(2, 1, 'found') + holdfast.set_lanes(2, 2) + holdfast.reap() + holdfast.purge_holds('0')
    + (SELECT count(*) FROM holdfast.verify()) + (SELECT count(*) FROM holdfast.expiring('1 day'))$$), '14',
    'the definer''s functions read and write the storage for whoever may execute them');
SELECT is(answer('manager', 'SELECT sku FROM holdfast.stock'), '42501', 'EXECUTE is no right to read a view');

-- SELECT
SELECT is(answer('reporter', 'SELECT available FROM holdfast.stock'), '8', 'with SELECT on the views a reporter reads the stock');
SELECT is(answer('reporter', 'SELECT quantity FROM holdfast.holds'), '2', 'the holds');
SELECT is(answer('reporter', 'SELECT quantity FROM holdfast.movements'), '10', 'the movements');
SELECT is(answer('reporter', 'SELECT count(*) FROM holdfast.lock_waits'), '0', 'and who waits');
SELECT is(answer('reporter', 'SELECT available FROM _holdfast.stock_lane'), '42501', 'but not the storage');
SELECT is(answer('reporter', 'SELECT holdfast.available(1)'), '42501', 'and executes nothing');

-- Functions
SELECT is((SELECT string_agg(oid::regproc::text, ', ' ORDER BY proname) FROM pg_proc
    WHERE pronamespace IN ('holdfast'::regnamespace, '_holdfast'::regnamespace) AND prosecdef),
    'holdfast.add_provider, _holdfast.cache_after_ddl, _holdfast.cache_after_drop, holdfast.claim_calls, holdfast.expiring, holdfast.listen_payments, holdfast.next_expiry, holdfast.purge_holds, holdfast.receive_webhook, holdfast.reconcile, holdfast.rotate_keys, '
    'holdfast.set_webhook_secret, holdfast.simulate_provider, _holdfast.tell_payment, holdfast.unlisten_payments, holdfast.verify', 'few functions have their definer''s rights');
SELECT is((SELECT string_agg(oid::regproc::text, ', ') FROM pg_proc WHERE pronamespace IN ('holdfast'::regnamespace, '_holdfast'::regnamespace)
    AND prosecdef AND obj_description(oid, 'pg_proc') !~ 'Definer''s rights: '), NULL, 'each says why');
SELECT is((SELECT string_agg(p.oid::regproc::text, '; ') FROM pg_proc AS p JOIN pg_language AS l ON l.oid = prolang
    WHERE pronamespace IN ('holdfast'::regnamespace, '_holdfast'::regnamespace) AND lanname <> 'c'
    AND 'search_path=pg_catalog, pg_temp' <> ALL (COALESCE(proconfig, '{}'))), NULL, 'every function that is not in C pins its search_path, with temporary objects last');
CREATE SCHEMA trap;
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'infinity'::timestamptz $$;
GRANT USAGE ON SCHEMA trap TO manager;
SELECT is(undone($$SELECT count(*) FROM holdfast.expiring('1 s')$$, 'SET LOCAL search_path = trap, public, pg_catalog; SET LOCAL ROLE manager'), '0',
    'so that a caller''s own functions are not run');

SELECT * FROM finish();
ROLLBACK;
