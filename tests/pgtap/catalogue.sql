-- What the extension puts into a database.
\ir include/begin.sql
SELECT plan(18);

CREATE VIEW ours AS SELECT oid FROM pg_namespace WHERE nspname IN ('holdfast', '_holdfast');

SELECT is((SELECT string_agg(DISTINCT proname, ', ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'holdfast'::regnamespace),
    'abandon_key, add_provider, adjust, authorize_payment, available, cache_flush, cache_sync, capture_payment, claim_calls, claim_key, claim_keys, complete_key, complete_keys, '
    'confirm, create_payment, currencies, expiring, extend, give_back, invalidate_cache, listen_payments, new_id, next_expiry, payment_transitions, pin, purge_holds, reap, receive, receive_webhook, reconcile, '
    'record_event, record_result, record_results, refund_payment, release, reserve, reserve_batch, rotate_keys, set_lanes, set_webhook_secret, sign_webhook, '
    'simulate_provider, unlisten_payments, unpin, unwatch, uuid7, verify, verify_webhook, void_payment, watch',
    'the functions that callers use');
SELECT is((SELECT string_agg(pg_describe_object(classid, objid, objsubid), ', ') FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'holdfast') AND deptype = 'e'
    AND (classid, objid) NOT IN (SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours)
        UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger WHERE evtname LIKE 'holdfast\_%'
        UNION ALL SELECT 'pg_namespace'::regclass, oid FROM ours)), NULL, 'everything is in the extension''s own schemas, or an event trigger of its name');
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
    'cache_prepared_pkey, hold_pkey, hold_quantity_check, hold_state_check, idempotency_0_open_check, idempotency_0_pkey, idempotency_1_open_check, idempotency_1_pkey, '
    'idempotency_turn_check, idempotency_turn_pkey, lane_floor_lanes_check, lane_floor_pkey, ledger_entry_amount_check, ledger_entry_balanced_check, ledger_entry_book_check, ledger_entry_pkey, '
    'payment_amount_check, payment_event_pkey, payment_listener_pkey, payment_live_check, payment_pkey, payment_state_check, provider_call_amount_check, provider_call_kind_check, provider_call_pkey, '
    'provider_call_state_check, provider_check, provider_event_pkey, provider_pkey, provider_scheme_check, simulated_call_amount_check, simulated_call_pkey, '
    'simulated_call_reference_key, simulated_call_state_check, stock_lane_available_check, stock_lane_pkey, '
    'stock_movement_kind_check, stock_movement_pkey, webhook_secret_pkey', 'the constraints, by name');
SELECT is((SELECT string_agg(conname, ', ') FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
    AND conname !~ format('^%s_([a-z]+_)*(pkey|key|check|fkey)$', (SELECT relname FROM pg_class WHERE oid = conrelid))), NULL,
    'each is named after its table');
SELECT is((SELECT string_agg(format('%s of %s', name, oid::regproc), ', ') FROM pg_proc, unnest(proargnames, proargmodes) AS a (name, mode)
    WHERE pronamespace IN (SELECT oid FROM ours) AND COALESCE(mode, 'i') = 'i' AND name !~ '^p_[a-z]'), NULL, 'arguments are named p_something');
SELECT is((SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND pronargs > 0 AND proargnames IS NULL), NULL,
    'all of them');

-- What the planner may think of functions
SELECT is((SELECT string_agg(oid::regproc::text, ', ' ORDER BY proname) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND provolatile = 's'),
    '_holdfast.key_retention, _holdfast.known_provider, _holdfast.simulated_refusal, holdfast.verify, _holdfast.verify_payments, _holdfast.verify_stock',
    'verify() reads all in one snapshot');
SELECT is((SELECT string_agg(oid::regproc::text, ', ' ORDER BY proname) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND provolatile = 'i'),
    '_holdfast.call_key, holdfast.currencies, holdfast.payment_transitions, _holdfast.read_call_keys, _holdfast.read_standard_body, '
    '_holdfast.read_stripe_body, holdfast.sign_webhook', 'what reads no table is immutable; all else is volatile');
SELECT is((SELECT string_agg(oid::regproc::text, ', ' ORDER BY proname) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND proparallel <> 'u'),
    'holdfast.available, _holdfast.call_key, holdfast.currencies, _holdfast.key_retention, holdfast.new_id, holdfast.payment_transitions, _holdfast.read_call_keys, _holdfast.read_standard_body, '
    '_holdfast.read_stripe_body, holdfast.sign_webhook, holdfast.uuid7, holdfast.verify_webhook', 'and parallel workers may run only those that neither write nor lock');

-- Settings
SELECT is((SELECT string_agg(format('%s %s %s%s', name, context, boot_val, unit), ', ' ORDER BY name) FROM pg_settings WHERE name LIKE 'holdfast.%'),
    'holdfast.cache_prefix sighup holdfast:%d:, holdfast.cache_ring_size postmaster 8192kB, '
    'holdfast.key_retention superuser 86400s, holdfast.key_wait user 1000ms, holdfast.lane_calm sighup 30s, holdfast.lane_locking superuser on, holdfast.lane_max superuser 1024, holdfast.lifetime_max superuser 86400s, '
    'holdfast.lock_timeout user 5000ms, holdfast.node sighup 0, holdfast.reaper_batch sighup 1000, holdfast.reaper_interval sighup 1000ms, holdfast.redis_address sighup 127.0.0.1:6379, holdfast.redis_database sighup 0, '
    'holdfast.redis_service sighup mymaster, holdfast.redis_timeout sighup 500ms, holdfast.redis_user sighup , holdfast.ttl_default user 600s, '
    'holdfast.ttl_max superuser 86400s, holdfast.worker_role sighup holdfast_worker', 'the settings, who may change them, and their defaults');
SELECT is((SELECT string_agg(name, ', ') FROM pg_settings WHERE name LIKE 'holdfast.%' AND COALESCE(length(short_desc), 0) < 20), NULL,
    'each has a description');

SELECT * FROM finish();
ROLLBACK;
