-- reserve() in every kind of statement that a caller may write around it.
\ir include/begin.sql
SELECT plan(22);

SELECT given(1, 100);
SELECT is((SELECT count(r) FROM (SELECT holdfast.reserve(owner('a1'), 1, 1) AS r UNION ALL SELECT holdfast.reserve(owner('a2'), 1, 1)) AS t), 2::bigint,
    'several reserves stand in one statement');
SELECT ok(holdfast.reserve(owner('a3'), 1, 1) IS NOT NULL AND holdfast.reserve(owner('a4'), 1, 1) IS NOT NULL, 'and in one expression');
SELECT is((SELECT count(holdfast.reserve(owner('g' || g), 1, 1)) FROM generate_series(1, 20) AS g), 20::bigint, 'one for each row of a query');
SELECT is(account(1), '76 available, 24 held, 0 sold', 'each takes its units');
SELECT throws_ok($$SELECT holdfast.reserve(owner('h' || g), 1, 30) FROM generate_series(1, 3) AS g$$, 'HF001', 'insufficient stock',
    'the last row of a query that goes too far fails the whole statement');
SELECT is(account(1), '76 available, 24 held, 0 sold', 'and with it the rows before');

CREATE TABLE basket (owner uuid PRIMARY KEY, until timestamptz);
INSERT INTO basket SELECT owner('u' || g) FROM generate_series(1, 3) AS g;
UPDATE basket SET until = holdfast.reserve(owner, 1, 2);
SELECT is((SELECT count(until) FROM basket), 3::bigint, 'an UPDATE may reserve');
INSERT INTO basket VALUES (owner('i'), holdfast.reserve(owner('i'), 1, 2));
SELECT is(account(1), '68 available, 32 held, 0 sold', 'and an INSERT');

DO $$
BEGIN
    FOR i IN 1..10 LOOP
        PERFORM holdfast.reserve(owner('d' || i), 1, 1);
        PERFORM holdfast.confirm(owner('d' || i));
    END LOOP;
END
$$;
SELECT is(account(1), '58 available, 32 held, 10 sold', 'a DO block may reserve and confirm in a loop');

DO $$
DECLARE
    buyer CURSOR FOR SELECT holdfast.reserve(owner('c' || g), 1, 1) FROM generate_series(1, 10) AS g;
    until timestamptz;
BEGIN
    OPEN buyer;
    FETCH buyer INTO until;
    FETCH buyer INTO until;
    CLOSE buyer;
END
$$;
SELECT is(account(1), '56 available, 34 held, 10 sold', 'a cursor reserves as far as it is fetched');
DECLARE buyer CURSOR FOR SELECT holdfast.reserve(owner('p' || g), 1, 1) FROM generate_series(1, 10) AS g;
MOVE 3 FROM buyer;
SAVEPOINT s;
MOVE 3 FROM buyer;
ROLLBACK TO s;
CLOSE buyer;
SELECT is(account(1), '53 available, 37 held, 10 sold', 'a portal that is rolled back gives back what was fetched since');

SAVEPOINT s;
SELECT held('sp', 1, 50);
ROLLBACK TO s;
SELECT is(account(1), '53 available, 37 held, 10 sold', 'ROLLBACK TO gives back the units');
SELECT isnt(holdfast.reserve(owner('sp'), 1, 53), NULL, 'all of them can be had again');
SELECT is(holdfast.release(owner('sp')), 53::bigint, 'and go back');

DO $$
BEGIN
    BEGIN
        PERFORM holdfast.reserve(owner('e1'), 1, 3);
        PERFORM holdfast.reserve(owner('e2'), 1, 1000);
    EXCEPTION WHEN SQLSTATE 'HF001' THEN
        PERFORM holdfast.reserve(owner('e3'), 1, 5);
    END;
    PERFORM holdfast.reserve(owner('e4'), 1, 1);
    PERFORM holdfast.confirm(owner('e3'));
END
$$;
SELECT is(account(1), '47 available, 38 held, 15 sold', 'after a refusal that was caught the transaction works on');

CREATE FUNCTION reserve_all(p_sku bigint) RETURNS integer STABLE LANGUAGE plpgsql AS $$
DECLARE
    n integer := 0;
BEGIN
    LOOP
        PERFORM holdfast.reserve(holdfast.uuid7(), p_sku, 1);
        n := n + 1;
    END LOOP;
EXCEPTION WHEN SQLSTATE 'HF001' THEN
    RETURN n;
END
$$;
CREATE FUNCTION reserve_two(p_sku bigint) RETURNS bigint STABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM holdfast.reserve(owner('s1'), p_sku, 1);
    PERFORM holdfast.reserve(owner('s2'), p_sku, 1);
    RETURN holdfast.available(p_sku);
END
$$;
SELECT given(2, 2);
SELECT is(reserve_two(2), 0::bigint, 'in a function declared STABLE each reserve sees what the one before took');
SELECT given(3, 7);
SELECT is(reserve_all(3), 7, 'and stops at the last unit');

CREATE FUNCTION reserve_sql(p_owner uuid) RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT holdfast.reserve(p_owner, 4, 1) $$;
SELECT given(4, 1);
SELECT isnt(reserve_sql(owner('q1')), NULL, 'a STABLE SQL function gets the last unit');
SELECT throws_ok($$SELECT reserve_sql(owner('q2'))$$, 'HF001', 'insufficient stock', 'the next one does not');

CREATE FUNCTION reserve_parallel(p_sku bigint) RETURNS timestamptz PARALLEL SAFE LANGUAGE plpgsql
    AS $$ BEGIN RETURN holdfast.reserve(owner('w'), p_sku, 1); END $$;
SELECT is(undone('SELECT reserve_parallel(1)', 'SET LOCAL force_parallel_mode = on'), '25000', 'a parallel worker may not reserve');
SELECT is(undone('SELECT holdfast.available(1)', 'SET LOCAL force_parallel_mode = on'), '47', 'but it may ask what is available');

PREPARE buy(uuid, bigint) AS SELECT holdfast.reserve($1, 1, $2);
DO $$ BEGIN FOR i IN 1..8 LOOP EXECUTE format('EXECUTE buy(%L, 1)', owner('pr' || i)); END LOOP; END $$;
DEALLOCATE buy;
SELECT is(account(1), '39 available, 46 held, 15 sold', 'a prepared statement reserves each time');

SELECT * FROM finish();
ROLLBACK;
