-- Nobody can plant a schema, or objects in it, that the extension would take for its own.
\ir include/begin.sql
SELECT plan(10);

-- Bodies of SQL functions are bound: names were looked up when they were made. Those in PL/pgSQL look them up when
-- they run, each with its schema, in which nobody but a superuser can make anything.
SELECT is((SELECT string_agg(proname, ', ') FROM pg_proc JOIN pg_language AS l ON l.oid = prolang
    WHERE pronamespace IN ('holdfast'::regnamespace, '_holdfast'::regnamespace) AND lanname = 'sql' AND prosqlbody IS NULL), NULL,
    'what SQL functions name was looked up when they were made');
SELECT is((SELECT string_agg(nspname, ', ') FROM pg_namespace, aclexplode(COALESCE(nspacl, acldefault('n', nspowner))) AS a
    WHERE nspname IN ('holdfast', '_holdfast') AND privilege_type = 'CREATE' AND grantee <> nspowner), NULL,
    'nobody may make anything in the schemas of what PL/pgSQL functions name');
SELECT given(1, 3);
SELECT held('ann', 1, 1, '30 s');
SELECT held('bob', 1, 1, '1 microsecond');
SELECT is(holdfast.reap(), 1::bigint, 'a hold expires');
CREATE SCHEMA elsewhere;
ALTER VIEW holdfast.holds RENAME TO true_holds;
CREATE VIEW holdfast.holds AS SELECT * FROM holdfast.true_holds WHERE false;
SELECT is((SELECT count(*) FROM holdfast.expiring('1 minute')), 1::bigint, 'a view in the place of ours is not read');
ALTER TABLE _holdfast.hold SET SCHEMA elsewhere;
CREATE TABLE _holdfast.hold (LIKE elsewhere.hold);
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'nor a table by verify()');
SELECT is(holdfast.purge_holds('0 s'), 1::bigint, 'nor by purge_holds()');
DROP VIEW holdfast.holds;
DROP TABLE _holdfast.hold;
ALTER TABLE elsewhere.hold SET SCHEMA _holdfast;
ALTER VIEW holdfast.true_holds RENAME TO holds;

-- CREATE EXTENSION
DROP EXTENSION holdfast;
DROP SCHEMA IF EXISTS holdfast;
CREATE ROLE planter;
CREATE SCHEMA holdfast AUTHORIZATION planter;
SELECT throws_ok('CREATE EXTENSION holdfast', '42P06', 'schema "holdfast" belongs to a role that is no superuser',
    'a schema that belongs to an ordinary role is not taken');
SELECT hasnt_schema('_holdfast', 'and nothing is made');
DROP SCHEMA holdfast;
SELECT lives_ok('CREATE EXTENSION holdfast', 'without it the extension is made');
DROP EXTENSION holdfast;
DROP SCHEMA IF EXISTS holdfast;
CREATE SCHEMA holdfast;
SELECT lives_ok('CREATE EXTENSION holdfast', 'and also if the schema is a superuser''s');

SELECT * FROM finish();
ROLLBACK;
