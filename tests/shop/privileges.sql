-- Who may do what: role by function, and owner by route.
\ir include/begin.sql
\ir include/route.sql
SELECT plan((SELECT 53 + count(*)::integer FROM route));

-- The roles.
SELECT is(string_agg(rolname::text, ', ' ORDER BY rolname), NULL, 'no role of the shop may do more than it is granted')
FROM pg_roles WHERE rolname IN ('shop_owner', 'shop_api', 'shop_worker', 'shop_report', 'shop_reporter') AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls);
SELECT is(array_agg(rolname ORDER BY rolname), '{shop_api,shop_worker}', 'two can log in') FROM pg_roles WHERE rolname ~ '^shop_' AND rolcanlogin;
SELECT is(string_agg(r.rolname || ' in ' || g.rolname, ', '), NULL, 'none of them is a member of another')
FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.member JOIN pg_roles AS g ON g.oid = m.roleid
WHERE r.rolname IN ('shop_owner', 'shop_api', 'shop_worker', 'shop_report', 'shop_reporter') OR g.rolname IN ('shop_owner', 'shop_api', 'shop_worker');

-- What belongs to whom.
SELECT is(string_agg(p.oid::regprocedure::text, ', '), NULL, 'every function of the shop is shop_owner''s')
FROM pg_proc AS p WHERE p.pronamespace IN ('shop'::regnamespace, 'rest'::regnamespace) AND p.proowner <> 'shop_owner'::regrole;
SELECT is(string_agg(c.oid::regclass::text, ', '), NULL, 'and so is every relation, but the report views, which see through row-level security')
FROM pg_class AS c WHERE c.relnamespace IN ('shop'::regnamespace, 'rest'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND c.relowner <> CASE WHEN c.relkind = 'v' AND c.relname ~ '^report_' THEN 'shop_reporter'::regrole ELSE 'shop_owner'::regrole END
  AND NOT (c.relkind = 'v' AND c.relname ~ '^report_job');

-- Role by function. To execute one it takes the function and its schema.
CREATE TEMPORARY TABLE may AS
SELECT r.name AS role, p.oid::regprocedure AS function, p.proname AS name, n.nspname AS schema,
    has_function_privilege(r.name, p.oid, 'EXECUTE') AND (has_schema_privilege(r.name, n.oid, 'USAGE') OR r.name = 'public') AS may
FROM unnest(ARRAY['public', 'shop_owner', 'shop_api', 'shop_worker', 'shop_report', 'shop_reporter']) AS r (name),
    pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname IN ('shop', 'rest', 'holdfast', '_holdfast');

-- What is wanted. Whoever may see the tables of the extension may make ids.
CREATE FUNCTION wanted(p_role text, p_schema text, p_name text) RETURNS boolean LANGUAGE sql AS $$
    SELECT CASE
        WHEN p_schema = '_holdfast' THEN p_role = 'public' AND p_name = 'cache_report'
        WHEN p_schema = 'holdfast' AND p_name IN ('new_id', 'uuid7') THEN p_role IN ('public', 'shop_owner', 'shop_worker', 'shop_reporter')
        WHEN p_role = 'shop_owner' THEN true
        WHEN p_role = 'shop_api' THEN p_schema = 'rest'
        WHEN p_role = 'shop_worker' AND p_schema = 'holdfast' THEN p_name IN ('claim_calls', 'record_results', 'simulate_provider')
        WHEN p_role = 'shop_worker' THEN p_schema = 'shop' AND p_name IN (
            'claim_jobs', 'heartbeat_jobs', 'finish_jobs', 'fail_jobs', 'release_jobs', 'run_periodic', 'tend', 'tend_daily',
            'beat', 'run_schedule', 'run_schedules',
            'relay_jobs', 'delivery_details', 'record_deliveries', 'mail_details', 'purge_tokens', 'image_details', 'finish_images', 'sweep_details', 'finish_sweeps')
        ELSE false END
$$;
SELECT is(string_agg(m.function::text, ', ' ORDER BY m.function::text), NULL, format('%s may execute what it is meant to in %s, and nothing else', m.role, m.schema))
FROM (SELECT m.role, m.schema, CASE WHEN m.may <> wanted(m.role, m.schema, m.name) THEN CASE WHEN m.may THEN '+' ELSE '-' END || m.function END AS function FROM may AS m) AS m
GROUP BY m.role, m.schema ORDER BY m.role, m.schema;
SELECT is(count(*), 0::bigint, 'nobody but the owner creates anything in the schemas of the shop')
FROM unnest(ARRAY['public', 'shop_api', 'shop_worker', 'shop_report', 'shop_reporter']) AS r, unnest(ARRAY['shop', 'rest', 'holdfast', '_holdfast']) AS s WHERE has_schema_privilege(r, s, 'CREATE');

-- Role by relation.
CREATE TEMPORARY TABLE sees AS
SELECT r.name AS role, c.oid::regclass AS relation, c.relname, c.relkind, n.nspname AS schema,
    has_table_privilege(r.name, c.oid, 'SELECT') OR has_any_column_privilege(r.name, c.oid, 'SELECT') AS reads,
    has_table_privilege(r.name, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR has_any_column_privilege(r.name, c.oid, 'INSERT, UPDATE, REFERENCES') AS writes
FROM unnest(ARRAY['public', 'shop_api', 'shop_worker', 'shop_report', 'shop_reporter']) AS r (name),
    pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('shop', 'rest', 'holdfast', '_holdfast') AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
SELECT is(string_agg(role || ' ' || relation, ', '), NULL, 'nobody but the owner writes to a table') FROM sees WHERE writes AND NOT (role = 'shop_reporter' AND relname ~ '^report_');
SELECT is(string_agg(relation::text, ', ' ORDER BY relation), NULL, format('%s reads no table of the shop', r))
FROM unnest(ARRAY['shop_api', 'shop_worker', 'public']) AS r LEFT JOIN sees ON role = r AND reads AND schema <> '_holdfast' AND NOT (role = 'public' AND schema = 'holdfast') GROUP BY r;
SELECT is(string_agg(relation::text, ', '), NULL, 'shop_report reads the report views, and nothing else') FROM sees WHERE role = 'shop_report' AND reads AND NOT (relkind = 'v' AND relname ~ '^report_') AND schema IN ('shop', 'rest');
SELECT is(string_agg(relation::text, ', '), NULL, 'there is no report view that shop_report does not read') FROM sees WHERE role = 'shop_report' AND NOT reads AND relkind = 'v' AND relname ~ '^report_' AND schema = 'shop';
SELECT is(string_agg(relation::text, ', '), NULL, 'neither sees who anybody is') FROM sees
WHERE role IN ('shop_report', 'shop_reporter') AND reads AND schema = 'shop' AND relname IN ('account', 'login', 'refresh_family', 'refresh_token', 'password_reset', 'job', 'job_dead');

-- The functions.
SELECT is(string_agg(p.oid::regprocedure::text, ', '), NULL, 'every function of rest has its definer''s rights, with a pinned path, which ends with pg_temp')
FROM pg_proc AS p WHERE p.pronamespace = 'rest'::regnamespace AND NOT (p.prosecdef AND 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}')));
SELECT is(string_agg(p.oid::regprocedure::text, ', '), NULL, 'takes the actor first, and returns rest.reply, but for many purchases at once')
FROM pg_proc AS p WHERE p.pronamespace = 'rest'::regnamespace AND p.proname <> 'sale_purchase_batch'
  AND NOT (coalesce(p.proargnames[1], '') = 'p_actor' AND p.proargtypes[0] = 'bigint'::regtype AND p.prorettype = 'rest.reply'::regtype);
SELECT is(string_agg(n, ', '), NULL, 'and is known by its name alone') FROM (SELECT p.proname::text AS n FROM pg_proc AS p WHERE p.pronamespace = 'rest'::regnamespace GROUP BY 1 HAVING count(*) > 1) AS p;
SELECT is(string_agg(p.oid::regprocedure::text, ', '), NULL, 'a function of shop that somebody else may execute has its definer''s rights')
FROM pg_proc AS p WHERE p.pronamespace = 'shop'::regnamespace AND NOT p.prosecdef AND EXISTS (SELECT FROM may AS m WHERE m.function = p.oid AND m.role <> 'shop_owner' AND m.may);
SELECT is(string_agg(p.oid::regprocedure::text, ', '), NULL, 'no function has its definer''s rights without a pinned path')
FROM pg_proc AS p WHERE p.pronamespace IN ('shop'::regnamespace, 'rest'::regnamespace) AND p.prosecdef AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}'));
SELECT is(string_agg(p.oid::regprocedure::text, ', '), NULL, 'every function of shop has a pinned path, or names that were resolved when it was made')
FROM pg_proc AS p WHERE p.pronamespace = 'shop'::regnamespace AND p.prosqlbody IS NULL AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c ~ '^search_path=pg_catalog(, pg_temp)?$');
SELECT is(string_agg(p.oid::regprocedure::text, ', '), NULL, 'and everything that can be called is described')
FROM pg_proc AS p WHERE p.pronamespace IN ('shop'::regnamespace, 'rest'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL AND p.prorettype <> 'trigger'::regtype
  AND (p.pronamespace = 'rest'::regnamespace OR EXISTS (SELECT FROM may AS m WHERE m.function = p.oid AND m.role <> 'shop_owner' AND m.may));

-- The web application at work.
GRANT SELECT ON thing TO shop_api;
SET LOCAL ROLE shop_api;
SELECT is((SELECT status FROM rest.login_find(NULL, 'olga@example.org')), 200, 'the web application calls a route');
SELECT throws_ok(s, '42501', NULL, format('but may not %s', s))
FROM unnest(ARRAY['SELECT FROM shop.account', 'SELECT FROM shop.login', 'SELECT shop.etag(1)', 'SELECT shop.refuse(''HS001'')', 'SELECT holdfast.receive(1, 1, ''x'')', 'CREATE TABLE rest.t ()']) AS s;
RESET ROLE;

-- Owner by route.
SELECT is(string_agg(p.proname, ', ' ORDER BY p.proname), NULL, 'for every function of rest it is said who may')
FROM pg_proc AS p WHERE p.pronamespace = 'rest'::regnamespace AND p.proname NOT IN (SELECT name FROM route);
SELECT is(string_agg(name, ', ' ORDER BY name), NULL, 'and of nothing that is not there') FROM route WHERE name NOT IN (SELECT proname FROM pg_proc WHERE pronamespace = 'rest'::regnamespace);

-- What each may expect: 2 for 2xx.
CREATE TEMPORARY TABLE verdict (who, actor, status) AS
SELECT w.who, a.actor, a.status::integer
FROM (VALUES
    ('anyone',      '{2,2,2,2,2,2,2,2}'::text[]),
    ('application', '{2,401,403,403,403,403,403,2}'),
    ('visitor',     '{2,401,403,2,2,2,2,2}'),
    ('user',        '{401,401,403,2,2,2,2,2}'),
    ('newcomer',    '{401,401,403,2,2,409,409,2}'),
    ('merchant',    '{401,401,403,403,403,2,2,403}'),
    ('seller',      '{401,401,403,403,403,403,2,2}'),
    ('maker',       '{401,401,403,403,403,403,2,403}'),
    ('party',       '{401,401,403,404,2,404,2,2}'),
    ('buyer',       '{401,401,403,404,2,404,403,403}'),
    ('shipper',     '{401,401,403,404,403,404,2,2}'),
    ('drafter',     '{401,401,403,404,404,404,2,2}'),
    ('keeper',      '{401,401,403,403,403,404,2,403}'),
    ('admin',       '{401,401,403,403,403,403,403,2}')) AS w (who, expected),
    unnest(ARRAY['nobody', 'stranger', 'suspended', 'otto', 'olga', 'mia', 'mark', 'root'], w.expected) AS a (actor, status);

CREATE FUNCTION try(p_route route, p_actor text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_actor CONSTANT text := CASE p_actor WHEN 'nobody' THEN NULL WHEN 'stranger' THEN '4711' WHEN 'suspended'
        THEN thing(CASE WHEN p_route.who = 'admin' THEN 'root' WHEN p_route.who IN ('merchant', 'seller', 'maker', 'shipper', 'drafter', 'keeper') THEN 'mark' ELSE 'olga' END) ELSE thing(p_actor) END;
    v_call record;
BEGIN
    IF p_actor = 'suspended' THEN
        UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = v_actor::bigint AND p_route.who <> 'anyone';
    END IF;
    SELECT * INTO v_call FROM call(p_route.name, actor(p_route.name, v_actor), arguments(p_route.name));
    IF p_actor = 'suspended' THEN
        UPDATE shop.account SET suspended_at = NULL WHERE id = v_actor::bigint;
    END IF;
    RETURN format('%s: %s', p_actor, CASE WHEN v_call.status < 300 THEN '2' WHEN v_call.status < 500 THEN v_call.status::text
        ELSE concat_ws(' ', v_call.status, v_call.state, v_call.message) END);
END $$;
SELECT is(string_agg(try(r, v.actor), ', ' ORDER BY v.actor), string_agg(format('%s: %s', v.actor, v.status), ', ' ORDER BY v.actor), format('%s is for %s', r.name, r.who))
FROM route AS r JOIN verdict AS v USING (who) GROUP BY r.name, r.who ORDER BY r.name;
SELECT finish();
ROLLBACK;
