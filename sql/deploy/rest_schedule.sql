-- Deploy shop:rest_schedule to pg
-- requires: field
-- requires: schedule
--
-- The routes of the clock, for administrators: what is done when, how it went, and a switch.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.schedule_json(p_name text) RETURNS TABLE (name text, body json)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT s.name, json_build_object('name', s.name, 'does', s.does, 'active', s.active, 'cron', shop.cron_text(s.every, s.at),
            'every_seconds', extract(epoch FROM s.every)::integer, 'pg_cron', s.by_cron,
            'next_at', CASE WHEN s.active THEN shop.json_time(shop.next_run(s.every, s.at, statement_timestamp())) END,
            'last_run_at', shop.json_time(r.last_run_at), 'last_ok_at', shop.json_time(r.last_ok_at), 'last_error', r.last_error, 'last_by', r.last_by,
            'took_seconds', round(extract(epoch FROM r.took), 3), 'runs', coalesce(r.runs, 0), 'failures', coalesce(r.failures, 0))
        FROM shop.schedule AS s LEFT JOIN shop.schedule_run AS r ON r.name = s.name WHERE p_name IS NULL OR s.name = p_name;
    END;
COMMENT ON FUNCTION shop.schedule_json(text) IS 'An entry of shop.schedule, and how it went; NULL: all of them.';

CREATE FUNCTION shop.schedule_reply(p_name text) RETURNS rest.reply
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT ROW(200, NULL, NULL, false, (SELECT s.body FROM shop.schedule_json(p_name) AS s))::rest.reply;
    END;
COMMENT ON FUNCTION shop.schedule_reply(text) IS 'The answer that shows an entry of shop.schedule.';

CREATE FUNCTION rest.admin_schedules(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    RETURN ROW(200, NULL, NULL, false, json_build_object('items', (SELECT coalesce(json_agg(s.body ORDER BY s.name), '[]') FROM shop.schedule_json(NULL) AS s)))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_schedules(bigint) IS
'GET /v1/admin/schedules: what is done by the clock, when, and how it went. Errors: HS001 to HS003.';

CREATE FUNCTION rest.admin_schedule_update(p_actor bigint, p_name text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(p_body, '{active}');
    UPDATE shop.schedule AS s SET active = shop.field(p_body, 'active', 'boolean', true, '')::boolean WHERE s.name = p_name;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN shop.schedule_reply(p_name);
END $$;
COMMENT ON FUNCTION rest.admin_schedule_update(bigint, text, jsonb) IS
'PATCH /v1/admin/schedules/{name} {active}: switches an entry off, or on. One that runs goes on to its end. Errors: HS001 to HS004, HS008 to HS011.';

CREATE FUNCTION rest.admin_schedule_run(p_actor bigint, p_name text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    IF shop.run_schedule(p_name, true) = 'running' THEN
        PERFORM shop.refuse('HS701');
    END IF;
    RETURN shop.schedule_reply(p_name);
END $$;
COMMENT ON FUNCTION rest.admin_schedule_run(bigint, text) IS
'POST /v1/admin/schedules/{name}/run: runs an entry now, active or not, and shows it as it is then: last_error tells whether it failed. Errors: HS001 to HS004, HS701 it is running.';

COMMIT;
