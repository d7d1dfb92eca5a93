-- What the extension puts into a database.
\ir include/begin.sql
SELECT plan(17);

CREATE VIEW ours AS SELECT oid FROM pg_namespace WHERE nspname IN ('holdfast', '_holdfast');

SELECT is((SELECT string_agg(DISTINCT proname, ', ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace),
    'adjust, available, confirm, expiring, extend, give_back, pin, purge_holds, reap, receive, release, reserve, reserve_batch, set_lanes, unpin, uuid7, verify',
    'the functions that callers use');
SELECT is((SELECT string_agg(pg_describe_object(classid, objid, objsubid), ', ') FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'holdfast') AND deptype = 'e'
    AND (classid, objid) NOT IN (SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_namespace'::regclass, oid FROM ours)), NULL, 'everything is in the extension''s own schemas');
SELECT is((SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc AS p WHERE pronamespace IN (SELECT oid FROM ours)
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')), NULL,
    'every function belongs to the extension');
SELECT is((SELECT extversion ~ '^\d+\.\d+\.\d+$' AND NOT extrelocatable AND extnamespace = 'holdfast'::regnamespace FROM pg_extension WHERE extname = 'holdfast'), true,
    'the extension has a version and its own schema');

-- Comments
SELECT is((SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
    AND COALESCE(length(obj_description(oid, 'pg_proc')), 0) < 40), NULL, 'every function has a comment that says something');
SELECT is((SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours) AND relkind <> 'i'
    AND COALESCE(length(obj_description(oid, 'pg_class')), 0) < 20), NULL, 'every view and table');
SELECT is((SELECT string_agg(oid::regnamespace::text, ', ') FROM ours WHERE COALESCE(length(obj_description(oid, 'pg_namespace')), 0) < 20), NULL,
    'both schemas');
SELECT ok(length((SELECT shobj_description('holdfast_worker'::regrole, 'pg_authid'))) >= 20, 'the workers'' role');
SELECT ok(length((SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'holdfast')) >= 20, 'and the extension itself');

-- Names
SELECT is((SELECT string_agg(conname, ', ' ORDER BY conname) FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)),
    'hold_pkey, hold_quantity_check, hold_state_check, stock_lane_available_check, stock_lane_floor_lanes_check, stock_lane_floor_pkey, stock_lane_pkey, '
    'stock_movement_kind_check, stock_movement_pkey', 'the constraints, by name');
SELECT is((SELECT string_agg(conname, ', ') FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
    AND conname !~ format('^%s_([a-z]+_)*(pkey|key|check|fkey)$', (SELECT relname FROM pg_class WHERE oid = conrelid))), NULL,
    'each is named after its table');
SELECT is((SELECT string_agg(format('%s of %s', name, oid::regproc), ', ') FROM pg_proc, unnest(proargnames, proargmodes) AS a (name, mode)
    WHERE pronamespace IN (SELECT oid FROM ours) AND COALESCE(mode, 'i') = 'i' AND name !~ '^p_[a-z]'), NULL, 'arguments are named p_something');
SELECT is((SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND pronargs > 0 AND proargnames IS NULL), NULL,
    'all of them');

-- What the planner may think of functions
SELECT is((SELECT string_agg(oid::regproc::text, ', ') FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND provolatile <> 'v'), 'holdfast.verify',
    'all functions are volatile, but verify(), which reads all in one snapshot');
SELECT is((SELECT string_agg(oid::regproc::text, ', ' ORDER BY proname) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND proparallel <> 'u'),
    'holdfast.available, holdfast.uuid7', 'and parallel workers may run only those that neither write nor lock');

-- Settings
SELECT is((SELECT string_agg(format('%s %s %s%s', name, context, boot_val, unit), ', ' ORDER BY name) FROM pg_settings WHERE name LIKE 'holdfast.%'),
    'holdfast.lane_calm sighup 30s, holdfast.lane_locking superuser on, holdfast.lane_max superuser 1024, holdfast.lifetime_max superuser 86400s, '
    'holdfast.lock_timeout user 5000ms, holdfast.reaper_batch sighup 1000, holdfast.reaper_interval sighup 1000ms, holdfast.ttl_default user 600s, '
    'holdfast.ttl_max superuser 86400s, holdfast.worker_role sighup holdfast_worker', 'the settings, who may change them, and their defaults');
SELECT is((SELECT string_agg(name, ', ') FROM pg_settings WHERE name LIKE 'holdfast.%' AND COALESCE(length(short_desc), 0) < 20), NULL,
    'each has a description');

SELECT * FROM finish();
ROLLBACK;
