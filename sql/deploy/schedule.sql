-- Deploy shop:schedule to pg
-- requires: tend
-- requires: webhook_event
--
-- What the clock has to do, as a list that can be read and switched: each entry calls a function again and again. The clock
-- is pg_cron's (schedule_tending()), the worker's, or anybody's who calls run_schedules(); several do no harm.
--
-- Times are those of UTC, at a fixed distance from midnight, so that pg_cron, which speaks another language, means the same.
--
-- Locks: who runs an entry holds its row of shop.schedule_run until the end of his transaction, and nobody waits for that
-- row; so an entry is run by one at a time. Switching one writes to shop.schedule alone.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.schedule (
    name    text     COLLATE "C" NOT NULL,
    every   interval NOT NULL,
    at      interval NOT NULL DEFAULT '0',
    active  boolean  NOT NULL DEFAULT true,
    by_cron boolean  NOT NULL DEFAULT false,
    command text     NOT NULL,
    does    text     NOT NULL,
    CONSTRAINT schedule_pkey PRIMARY KEY (name),
    CONSTRAINT schedule_name_check CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT schedule_every_check CHECK (every BETWEEN interval '1 min' AND interval '1 day' AND extract(epoch FROM every) % 60 = 0
        AND CASE WHEN every < interval '1 h' THEN 3600 % extract(epoch FROM every) ELSE 86400 % extract(epoch FROM every) + extract(epoch FROM every) % 3600 END = 0),
    CONSTRAINT schedule_at_check CHECK (at >= interval '0' AND at < every AND extract(epoch FROM at) % 60 = 0)
);
COMMENT ON TABLE shop.schedule IS 'What is done again and again. An entry of the shop''s own may be added by shop_owner.';
COMMENT ON COLUMN shop.schedule.every IS 'How often: a whole part of an hour in minutes, a whole part of a day in hours, or a day.';
COMMENT ON COLUMN shop.schedule.at IS 'How long after midnight, UTC, or after a multiple of every.';
COMMENT ON COLUMN shop.schedule.by_cron IS 'It was given to pg_cron.';
COMMENT ON COLUMN shop.schedule.command IS 'A call of a function, with the names of its schema: what SELECT is put before.';
COMMENT ON COLUMN shop.schedule.does IS 'What it does, for people.';

CREATE TABLE shop.schedule_run (
    name        text        COLLATE "C" NOT NULL,
    next_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_run_at timestamptz,
    last_ok_at  timestamptz,
    runs        bigint      NOT NULL DEFAULT 0,
    failures    bigint      NOT NULL DEFAULT 0,
    took        interval,
    last_by     text,
    last_error  text,
    CONSTRAINT schedule_run_pkey PRIMARY KEY (name),
    CONSTRAINT schedule_run_name_fkey FOREIGN KEY (name) REFERENCES shop.schedule (name) ON DELETE CASCADE
) WITH (fillfactor = 50);
COMMENT ON TABLE shop.schedule_run IS 'How the entries of shop.schedule went.';
COMMENT ON COLUMN shop.schedule_run.next_at IS 'When a clock that asks what is due runs it; pg_cron has its own.';
COMMENT ON COLUMN shop.schedule_run.took IS 'The last run, which ended at last_run_at.';
COMMENT ON COLUMN shop.schedule_run.last_by IS 'The name of the application that has run it: pg_cron, holdfast worker.';
COMMENT ON COLUMN shop.schedule_run.last_error IS 'Why the last run failed; NULL: it did not.';

CREATE FUNCTION shop.schedule_added() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO shop.schedule_run (name) VALUES (NEW.name);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.schedule_added() IS 'Trigger: a new entry of shop.schedule is due, and has not run.';
CREATE TRIGGER schedule_added AFTER INSERT ON shop.schedule FOR EACH ROW EXECUTE FUNCTION shop.schedule_added();

INSERT INTO shop.schedule (name, every, at, command, does) VALUES
    ('tend', '1 min', '0', 'shop.tend(5000)', 'writes down which orders have expired, closes sales, returns leftovers, makes periodic jobs'),
    ('expiry_mail', '1 min', '0', 'shop.remind_orders(100000)', 'lets buyers be told that their orders are about to expire'),
    ('low_stock', '1 min', '0', 'shop.notice_low_stock(1000)', 'lets merchants be told that little is left'),
    ('partitions', '10 min', '0', 'shop.tend_partitions()', 'upkeep of the slots of the queue and the halves of the idempotency keys'),
    ('purge', '10 min', '7 min', 'shop.purge(20000)', 'deletes void tokens, the log of old deliveries, holds that ended long ago'),
    ('reports', '1 day', '3 h 17 min', 'shop.refresh_reports()', 'counts how frequent words are and what is bought together'),
    ('sales', '1 day', '3 h 37 min', 'shop.close_sales(10000, true)', 'looks once more at sales that were settled');

INSERT INTO shop.problem (code, status, name, title) VALUES ('HS701', 409, 'schedule_running', 'the schedule is running');

CREATE FUNCTION shop.next_run(p_every interval, p_at interval, p_after timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT date_bin(p_every, p_after, timestamptz '2000-01-01 00:00:00+00' + p_at) + p_every;
    END;
COMMENT ON FUNCTION shop.next_run(interval, interval, timestamptz) IS 'The first time of an entry of shop.schedule after another.';

CREATE FUNCTION shop.cron_text(p_every interval, p_at interval) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT CASE
            WHEN p_every = interval '1 min' THEN '* * * * *'
            WHEN p_every < interval '1 h' THEN format('%s-59/%s * * * *', extract(minute FROM p_at), extract(epoch FROM p_every)::integer / 60)
            WHEN p_every = interval '1 h' THEN format('%s * * * *', extract(minute FROM p_at))
            WHEN p_every < interval '1 day' THEN format('%s %s-23/%s * * *', extract(minute FROM p_at), extract(hour FROM p_at), extract(epoch FROM p_every)::integer / 3600)
            ELSE format('%s %s * * *', extract(minute FROM p_at), extract(hour FROM p_at)) END;
    END;
COMMENT ON FUNCTION shop.cron_text(interval, interval) IS 'The times of an entry of shop.schedule, as cron says it.';

CREATE FUNCTION shop.run_schedule(p_name text, p_force boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_began CONSTANT timestamptz := clock_timestamp();
    v_schedule shop.schedule;
    v_ended timestamptz;
    v_error text;
BEGIN
    SELECT s.* INTO v_schedule FROM shop.schedule AS s WHERE s.name = p_name;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF NOT v_schedule.active AND NOT coalesce(p_force, false) THEN
        RETURN 'inactive';
    END IF;
    PERFORM FROM shop.schedule_run AS r WHERE r.name = v_schedule.name FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 'running';
    END IF;
    -- That somebody ends the statement because it takes long is a failure as well.
    BEGIN
        EXECUTE 'SELECT ' || v_schedule.command;
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        v_error := left(format('%s (SQLSTATE %s)', SQLERRM, SQLSTATE), 1000);
    END;
    v_ended := clock_timestamp();
    -- Background workers of pg_cron have no name.
    UPDATE shop.schedule_run AS r
    SET next_at = shop.next_run(v_schedule.every, v_schedule.at, v_ended), last_run_at = v_ended, runs = r.runs + 1,
        last_ok_at = CASE WHEN v_error IS NULL THEN v_ended ELSE r.last_ok_at END, failures = r.failures + (v_error IS NOT NULL)::integer,
        took = v_ended - v_began, last_by = left(coalesce(nullif(current_setting('application_name'), ''), 'pg_cron'), 100), last_error = v_error
    WHERE r.name = v_schedule.name;
    RETURN CASE WHEN v_error IS NULL THEN 'done' ELSE 'failed' END;
END $$;
COMMENT ON FUNCTION shop.run_schedule(text, boolean) IS
'Runs an entry of shop.schedule now, if it is active (p_force: in any case), and notes how it went: done; failed, whose work is undone and whose reason is in shop.schedule_run; or does nothing: inactive; running, in another transaction. Call it in a transaction of its own. Definer''s rights: the clock has none of its own. Errors: HS004 there is none of that name.';

CREATE FUNCTION shop.run_schedules(p_limit integer DEFAULT 1) RETURNS integer
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_name text;
    v_done integer := 0;
BEGIN
    WHILE v_done < p_limit LOOP
        SELECT r.name INTO v_name FROM shop.schedule_run AS r JOIN shop.schedule AS s ON s.name = r.name
        WHERE s.active AND r.next_at <= clock_timestamp() ORDER BY r.next_at, s.every, s.name LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        PERFORM shop.run_schedule(v_name);
        v_done := v_done + 1;
    END LOOP;
    RETURN v_done;
END $$;
COMMENT ON FUNCTION shop.run_schedules(integer) IS
'For anybody''s clock, where pg_cron is not: runs up to p_limit entries of shop.schedule that are due, and returns how many. One at a time is best, again and again until 0 is returned: each keeps its locks to the end of the transaction. From any number of nodes, as often as they like. Definer''s rights: the clock has none of its own.';
GRANT EXECUTE ON FUNCTION shop.run_schedule(text, boolean), shop.run_schedules(integer) TO shop_worker;

CREATE FUNCTION shop.schedule_tending() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_entry record;
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
            EXECUTE 'CREATE EXTENSION pg_cron';
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE 'pg_cron cannot be used here: %; let another clock call shop.run_schedules(), such as the worker', SQLERRM;
        RETURN false;
    END;
    FOR v_entry IN
        SELECT 'shop.' || s.name AS job, shop.cron_text(s.every, s.at) AS times, format('SELECT shop.run_schedule(%L)', s.name) AS command FROM shop.schedule AS s
        UNION ALL
        SELECT 'shop.cron_history', '47 3 * * *', 'DELETE FROM cron.job_run_details WHERE end_time < now() - interval ''7 days'''
        ORDER BY 1
    LOOP
        EXECUTE format('SELECT %s($1, $2, $3)', 'cron.schedule') USING v_entry.job, v_entry.times, v_entry.command;
    END LOOP;
    EXECUTE format('SELECT %1$s.unschedule(j.jobid) FROM %1$s.job AS j WHERE j.jobname ~ ''^shop\.'' AND j.jobname <> ''shop.cron_history''
                    AND j.database = current_database() AND NOT EXISTS (SELECT FROM shop.schedule AS s WHERE ''shop.'' || s.name = j.jobname)', 'cron');
    UPDATE shop.schedule AS s SET by_cron = true WHERE NOT s.by_cron;
    RETURN true;
END $$;
COMMENT ON FUNCTION shop.schedule_tending() IS
'Gives the entries of shop.schedule to pg_cron, in the name of its caller, who can create that extension; and lets it forget what it has noted of runs a week ago. To be called again after an entry was added or its times were changed. False, with a notice, if the server has no pg_cron or it belongs to another database.';

COMMIT;
