\ir include/begin.sql
SELECT plan(13);

-- The instant in an id, to the millisecond.
CREATE FUNCTION instant(p_id uuid) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT to_timestamp(('x0000' || translate(left(p_id::text, 13), '-', ''))::bit(64)::bigint / 1000.0)
$$;

CREATE TABLE id AS SELECT n, holdfast.uuid7() AS id FROM generate_series(1, 10000) AS n;
SELECT is((SELECT count(*) FROM id), 10000::bigint, 'ten thousand ids');
SELECT is((SELECT count(*) FROM id WHERE id::text !~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'), 0::bigint,
    'are of version 7 and of the RFC''s variant');
SELECT is((SELECT count(*) FROM (SELECT id > lag(id) OVER (ORDER BY n) AS ascending FROM id) AS t WHERE ascending), 9999::bigint,
    'each is greater than the one before');
SELECT is((SELECT count(DISTINCT right(id::text, 17)) FROM id), 10000::bigint, 'their random parts differ');
SELECT is((SELECT count(DISTINCT substr(id::text, 20, 1)) FROM id), 4::bigint, 'in every bit of the first digit beside the variant');
SELECT is((SELECT count(DISTINCT right(id::text, 1)) FROM id), 16::bigint, 'and of the last');
SELECT ok((SELECT min(instant(id)) FROM id) >= date_trunc('milliseconds', now()) AND (SELECT max(instant(id)) FROM id) <= clock_timestamp(),
    'their time is between the transaction''s start and now');
SELECT ok((SELECT max(substr(id::text, 16, 3)) > min(substr(id::text, 16, 3)) FROM id), 'with a fraction of a millisecond');

CREATE FUNCTION made_between() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz := date_trunc('milliseconds', clock_timestamp());
    id uuid := holdfast.uuid7();
BEGIN
    RETURN instant(id) BETWEEN before AND clock_timestamp();
END
$$;
SELECT ok(made_between(), 'the time of an id is that of the call');
SELECT isnt(holdfast.uuid7(), holdfast.uuid7(), 'two calls in one expression make two ids');

CREATE FUNCTION in_a_loop() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    last uuid := holdfast.uuid7();
    next uuid;
    n integer := 0;
BEGIN
    FOR i IN 1..1000 LOOP
        BEGIN
            next := holdfast.uuid7();
            n := n + (next > last)::integer;
            last := next;
            RAISE EXCEPTION USING ERRCODE = 'ZZ001';
        EXCEPTION WHEN SQLSTATE 'ZZ001' THEN NULL;
        END;
    END LOOP;
    RETURN n;
END
$$;
SELECT is(in_a_loop(), 1000, 'ids ascend across subtransactions that are rolled back');
CREATE TABLE ordered (id uuid DEFAULT holdfast.uuid7() PRIMARY KEY, n integer);
INSERT INTO ordered (n) SELECT * FROM generate_series(1, 100);
SELECT is((SELECT array_agg(n ORDER BY id) FROM ordered), ARRAY(SELECT generate_series(1, 100)),
    'as the default of a column they keep the order of the rows');
SELECT is(undone('SELECT substr(holdfast.uuid7()::text, 15, 1)', 'SET LOCAL force_parallel_mode = on'), '7', 'a parallel worker may make them');

SELECT * FROM finish();
ROLLBACK;
