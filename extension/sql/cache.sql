-- The cache: tables whose changes delete keys in Redis, and what can be asked about it.
--
-- The triggers collect keys, the commit hands them to the cache worker, the worker deletes and publishes them
-- (docs/cache-protocol.md).  What cannot be told key by key abandons the whole cache.

CREATE TABLE _holdfast.cache_prepared (
    id     uuid  NOT NULL,
    keys   bytea NOT NULL,
    reason text,
    CONSTRAINT cache_prepared_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE _holdfast.cache_prepared IS 'Keys of two-phase transactions, which become visible with their changes. The cache worker takes them over. Not dumped: a restored database begins with a new generation.';
COMMENT ON COLUMN _holdfast.cache_prepared.keys IS 'Each key with a byte before it that says how long it is.';
COMMENT ON COLUMN _holdfast.cache_prepared.reason IS 'Why the whole cache is to be abandoned; NULL: it is not.';

CREATE FUNCTION holdfast.invalidate_cache() RETURNS trigger
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_invalidate_cache';
COMMENT ON FUNCTION holdfast.invalidate_cache() IS
'The trigger of watched tables: its arguments are the templates. Made by watch(), which needs EXECUTE on it. It never fails a write for the sake of the cache.';

CREATE FUNCTION holdfast.watch(p_table regclass, VARIADIC p_templates text[]) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_watch';
COMMENT ON FUNCTION holdfast.watch(regclass, text[]) IS
'From this transaction''s commit on, every change of the table''s rows, by whatever client, deletes the cache keys that the templates make of the old and the new row: text with columns in braces, such as product:{id} or tag:products. " ON price,title" behind a template: updates count only if one of these columns changes. TRUNCATE abandons the whole cache, unless all templates are without columns. Watching again puts the new templates in the place of the old ones. For the table''s owner; partitioned tables with all their partitions. Grammar of keys: docs/cache-protocol.md. Errors: HF043 template, 42703 unknown column, HF046 no table with rows of its own, 42501 not the owner, HF005 templates empty, 55000 not preloaded.';

CREATE FUNCTION holdfast.unwatch(p_table regclass) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_unwatch';
COMMENT ON FUNCTION holdfast.unwatch(regclass) IS
'Ends what watch() began, and abandons the whole cache. Errors: HF044 not watched, 42501 not the owner.';

-- tgargs is the arguments one behind the other, each ended by a zero byte; a template contains neither that nor a backslash.
CREATE VIEW holdfast.watched AS
SELECT t.tgrelid::pg_catalog.regclass AS table_name,
       pg_catalog.convert_from(pg_catalog.decode(a.argument, 'escape'), pg_catalog.getdatabaseencoding()) AS template,
       NOT EXISTS (SELECT FROM pg_catalog.pg_trigger x
                   WHERE x.tgfoid = t.tgfoid AND x.tgenabled <> 'A'
                     AND (x.tgrelid = t.tgrelid OR x.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(t.tgrelid) p))) AS fires_always
FROM pg_catalog.pg_trigger t
CROSS JOIN LATERAL pg_catalog.string_to_table(pg_catalog.encode(t.tgargs, 'escape'), '\000') WITH ORDINALITY AS a (argument, number)
WHERE t.tgfoid = 'holdfast.invalidate_cache()'::pg_catalog.regprocedure
  AND t.tgname = 'holdfast_cache' AND t.tgparentid = 0 AND a.argument <> '';
COMMENT ON VIEW holdfast.watched IS 'Watched tables and their templates. fires_always: false if somebody has changed a trigger of the table or of a partition; then the cache is off until the table is watched again.';

CREATE FUNCTION _holdfast.cache_report(OUT state text, OUT lag_ms double precision, OUT backlog bigint, OUT published bigint,
                                       OUT coalesced bigint, OUT lost bigint, OUT generation bigint, OUT generation_reason text,
                                       OUT generation_at timestamptz, OUT generations bigint, OUT heartbeat_at timestamptz,
                                       OUT last_error text, OUT last_error_at timestamptz, OUT ring_used double precision)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_cache_report';
COMMENT ON FUNCTION _holdfast.cache_report() IS 'The row of holdfast.cache_status, which reads it with its reader''s rights.';

CREATE VIEW holdfast.cache_status AS
SELECT r.state, pg_catalog.round(r.lag_ms::numeric, 3) AS lag_ms, r.backlog, r.published, r.coalesced, r.lost, r.generation,
       r.generation_reason, r.generation_at, r.generations, r.heartbeat_at, r.last_error, r.last_error_at,
       pg_catalog.round(r.ring_used::numeric, 4) AS ring_used
FROM _holdfast.cache_report() r;
COMMENT ON VIEW holdfast.cache_status IS
'How the cache of this database does, since the server was started. state: on; behind (no heartbeat lately); no redis; trigger off (of a watched table; see watched); no worker; nothing watched; not preloaded. lag_ms: milliseconds from the oldest commit that Redis does not have, or of the last round. backlog: keys not yet published. coalesced: keys that were spared, because another one was the same. lost: transactions whose keys did not fit into the ring, which raised the generation. generation: the number in all names in Redis, why and when it was last raised, and how often.';
COMMENT ON COLUMN holdfast.cache_status.ring_used IS 'Part of holdfast.cache_ring_size in use, by all databases.';

CREATE FUNCTION holdfast.cache_sync(p_timeout interval DEFAULT '5 seconds') RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_cache_sync';
COMMENT ON FUNCTION holdfast.cache_sync(interval) IS
'Returns when everything that this session has committed has reached Redis: a script then reads its own writes through the cache. What the current transaction has changed is not part of that. Errors: HF045 not within p_timeout, 22008 p_timeout beyond all times.';

CREATE FUNCTION holdfast.cache_flush(p_reason text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_cache_flush';
COMMENT ON FUNCTION holdfast.cache_flush(text) IS
'Abandons the whole cache when the transaction commits: the generation is raised, for the reason given (1 to 127 bytes), which cache_status shows. Errors: 22023 reason, 55000 not preloaded, 25006 read-only.';

CREATE FUNCTION _holdfast.abandon_cache(p_reason text) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'holdfast_abandon_cache';
COMMENT ON FUNCTION _holdfast.abandon_cache(text) IS 'Abandons the whole cache when the transaction commits: cache_flush() for DDL.';

CREATE FUNCTION _holdfast.review_watch(p_table regclass, p_reason text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_review_watch';
COMMENT ON FUNCTION _holdfast.review_watch(regclass, text) IS 'After DDL on a watched table or a partition of one: refuses what its templates do not fit, completes its triggers, and abandons the cache unless the reason is null.';

-- DDL changes what readers see without any trigger on rows: values are rewritten, partitions come and go, triggers
-- are dropped or switched off. A new, empty partition changes nothing. PostgreSQL lets ALTER VIEW and its like rename columns of tables. Definer's rights: whoever runs the DDL has no rights here.
CREATE FUNCTION _holdfast.cache_after_ddl() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_command record;
BEGIN
    FOR v_command IN
        SELECT DISTINCT c.objid, c.command_tag, c.object_identity FROM pg_event_trigger_ddl_commands() c
        WHERE c.classid = 'pg_class'::regclass AND c.objsubid >= 0
    LOOP
        IF EXISTS (SELECT FROM pg_trigger t
                   WHERE t.tgrelid = v_command.objid AND t.tgfoid = 'holdfast.invalidate_cache()'::regprocedure) THEN
            PERFORM _holdfast.review_watch(v_command.objid::regclass,
                CASE WHEN v_command.command_tag NOT IN ('CREATE TABLE', 'CREATE FOREIGN TABLE') THEN v_command.command_tag || ' ' || v_command.object_identity END);
        END IF;
        IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid JOIN pg_trigger t ON t.tgrelid = i.inhparent
                   WHERE i.inhrelid = v_command.objid AND NOT k.relispartition
                     AND t.tgfoid = 'holdfast.invalidate_cache()'::regprocedure) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'HF046',
                MESSAGE = 'table cannot be watched',
                DETAIL = format('%s would inherit from a watched table.', v_command.object_identity),
                HINT = 'Use partitions, or unwatch() the table.';
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
               WHERE c.command_tag IN ('ALTER TYPE', 'ALTER DOMAIN') OR (c.classid = 'pg_trigger'::regclass AND EXISTS (
                   SELECT FROM pg_trigger t WHERE t.oid = c.objid AND t.tgfoid = 'holdfast.invalidate_cache()'::regprocedure))) THEN
        PERFORM _holdfast.abandon_cache(tg_tag);
    END IF;
END
$$;
COMMENT ON FUNCTION _holdfast.cache_after_ddl() IS 'Event trigger: what DDL means for the cache. Definer''s rights: it serves whoever runs DDL.';

CREATE FUNCTION _holdfast.cache_after_drop() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _holdfast.review_watch(d.objid::regclass, tg_tag || ' ' || d.object_identity)
    FROM pg_event_trigger_dropped_objects() d
    WHERE d.classid = 'pg_class'::regclass AND d.objsubid > 0 AND EXISTS (
        SELECT FROM pg_trigger t WHERE t.tgrelid = d.objid AND t.tgfoid = 'holdfast.invalidate_cache()'::regprocedure);
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d
               WHERE d.object_type = 'trigger' AND d.address_names[array_upper(d.address_names, 1)] IN ('holdfast_cache', 'holdfast_cache_truncate')) THEN
        PERFORM _holdfast.abandon_cache(tg_tag || ' of a watched table');
    END IF;
END
$$;
COMMENT ON FUNCTION _holdfast.cache_after_drop() IS 'Event trigger: a watched table, a partition or a column of one, or its trigger was dropped. Definer''s rights: it serves whoever runs DDL.';

CREATE EVENT TRIGGER holdfast_cache_after_ddl ON ddl_command_end
    WHEN TAG IN ('ALTER DOMAIN', 'ALTER FOREIGN TABLE', 'ALTER MATERIALIZED VIEW', 'ALTER TABLE', 'ALTER TRIGGER', 'ALTER TYPE', 'ALTER VIEW',
                 'CREATE FOREIGN TABLE', 'CREATE SCHEMA', 'CREATE TABLE', 'CREATE TRIGGER', 'IMPORT FOREIGN SCHEMA')
    EXECUTE FUNCTION _holdfast.cache_after_ddl();
COMMENT ON EVENT TRIGGER holdfast_cache_after_ddl IS 'What DDL means for the cache of watched tables.';
ALTER EVENT TRIGGER holdfast_cache_after_ddl ENABLE ALWAYS;
CREATE EVENT TRIGGER holdfast_cache_after_drop ON sql_drop
    EXECUTE FUNCTION _holdfast.cache_after_drop();
COMMENT ON EVENT TRIGGER holdfast_cache_after_drop IS 'What dropping means for the cache of watched tables.';
ALTER EVENT TRIGGER holdfast_cache_after_drop ENABLE ALWAYS;
