-- Deploy shop:job_history to pg
-- requires: job
--
-- What has become of jobs: in all, for counters that only rise; how long they take; and of the attempts of one job.
--
-- Counters are made of shop.job_log, into which claims and ends only insert: nobody updates a row that others update too.
-- Whoever tends the queue adds up what is new in each slot's log, every ten seconds. A slot's part of shop.job_total is for
-- the time being: what was noted with an earlier time, and committed later than that, may be missing in it. When the slot is
-- truncated, nobody else has it open, and its exact sums, which are never less, take its place.
--
-- Durations are told apart by steps, ten to each power of ten: so percentiles are had by adding up, and are too great by a
-- quarter at most. What is new of them is added up at the same time, and kept for an hour; they are only inserted.
--
-- Locks: shop.sum_jobs() is called by him who holds the row of shop.job_head, so by one at a time.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.job_total (
    slot  smallint NOT NULL,
    jobs  bigint   NOT NULL,
    took  interval NOT NULL,
    event text     COLLATE "C" NOT NULL,
    kind  text     COLLATE "C" NOT NULL,
    CONSTRAINT job_total_pkey PRIMARY KEY (slot, kind, event),
    CONSTRAINT job_total_slot_check CHECK (slot BETWEEN 0 AND 4)
) WITH (fillfactor = 50);
COMMENT ON TABLE shop.job_total IS 'How many jobs were ever claimed, finished and so on, by kind, and how long that took, but for the last seconds: the sum over slots. Sums never sink.';
COMMENT ON COLUMN shop.job_total.slot IS '0: of logs that were truncated, exactly; else of what is in the log of a slot, up to shop.job_slot.summed_at.';

CREATE TABLE shop.job_duration (
    at    timestamptz NOT NULL,
    jobs  bigint      NOT NULL,
    slot  smallint    NOT NULL,
    step  smallint    NOT NULL,
    event text        COLLATE "C" NOT NULL,
    kind  text        COLLATE "C" NOT NULL,
    CONSTRAINT job_duration_pkey PRIMARY KEY (at, slot, kind, event, step)
);
COMMENT ON TABLE shop.job_duration IS 'How many jobs have waited for how long until they were claimed (claim), or have run for how long until they were finished (finish): sums of the log of a slot, every ten seconds, for an hour.';
COMMENT ON COLUMN shop.job_duration.step IS 'How long, as shop.duration_step() has it.';

-- Without a path of their own, so that they are inlined.
CREATE FUNCTION shop.duration_step(p_took interval) RETURNS smallint
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT least(ceil(10 * log(greatest(1000 * date_part('epoch', p_took), 1))), 100)::smallint;
    END;
COMMENT ON FUNCTION shop.duration_step(interval) IS 'The step that a time belongs to: 0 up to a millisecond, 10 up to ten of them, 20 up to a hundred, and so on.';

CREATE FUNCTION shop.step_duration(p_step integer) RETURNS interval
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT make_interval(secs => power(10::double precision, p_step / 10.0 - 3));
    END;
COMMENT ON FUNCTION shop.step_duration(integer) IS 'The longest time of a step.';
GRANT EXECUTE ON FUNCTION shop.step_duration(integer) TO pg_monitor;

CREATE FUNCTION shop.sum_jobs(p_slot integer, p_closed boolean) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_until CONSTANT timestamptz := CASE WHEN p_closed THEN timestamptz 'infinity' ELSE clock_timestamp() - interval '5 s' END;
    v_from CONSTANT timestamptz := coalesce((SELECT s.summed_at FROM shop.job_slot AS s WHERE s.slot = p_slot), timestamptz '-infinity');
BEGIN
    IF p_closed THEN
        DELETE FROM shop.job_total AS t WHERE t.slot = p_slot;
    ELSIF v_from > v_until - interval '10 s' THEN
        RETURN;
    END IF;
    INSERT INTO shop.job_total AS t (slot, kind, event, jobs, took)
    SELECT CASE WHEN p_closed THEN 0 ELSE p_slot END, g.kind, g.event, sum(g.jobs), coalesce(sum(g.took), '0')
    FROM shop.job_log AS g
    WHERE g.slot = p_slot AND g.at >= CASE WHEN p_closed THEN timestamptz '-infinity' ELSE v_from END AND g.at < v_until AND g.event NOT IN ('tend', 'busy', 'look')
    GROUP BY g.kind, g.event
    ON CONFLICT ON CONSTRAINT job_total_pkey DO UPDATE SET jobs = t.jobs + EXCLUDED.jobs, took = t.took + EXCLUDED.took;
    IF FOUND OR p_closed THEN
        INSERT INTO shop.job_duration (at, slot, kind, event, step, jobs)
        SELECT least(v_until, clock_timestamp()), p_slot, g.kind, g.event, g.step, sum(g.jobs)
        FROM shop.job_log AS g
        WHERE g.slot = p_slot AND g.at >= greatest(v_from, clock_timestamp() - interval '1 h') AND g.at < v_until
          AND g.event NOT IN ('tend', 'busy', 'look') AND g.event IN ('claim', 'finish')
        GROUP BY g.kind, g.event, g.step;
        DELETE FROM shop.job_duration AS d WHERE d.at < clock_timestamp() - interval '1 h';
        UPDATE shop.job_slot AS s SET summed_at = CASE WHEN p_closed THEN NULL ELSE v_until END WHERE s.slot = p_slot;
    END IF;
END $$;
COMMENT ON FUNCTION shop.sum_jobs(integer, boolean) IS
'Adds what is new in the log of a slot to shop.job_total and shop.job_duration, if that was last done ten seconds ago. p_closed: all of it, for good; the caller has locked it, and truncates it next. For tend_jobs().';

CREATE FUNCTION shop.add_failure(p_failures jsonb, p_attempt integer, p_began_at timestamptz, p_worker text, p_error text) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT CASE WHEN jsonb_array_length(p_failures) >= 20 THEN p_failures - 0 ELSE coalesce(p_failures, '[]') END
            || jsonb_build_array(jsonb_build_object('attempt', p_attempt, 'began_at', p_began_at, 'ended_at', clock_timestamp(), 'worker', p_worker, 'error', left(p_error, 500)));
    END;
COMMENT ON FUNCTION shop.add_failure(jsonb, integer, timestamptz, text, text) IS 'The attempts of a job that failed, with one that has failed now; the last 20.';

CREATE FUNCTION shop.buried_payload(p_payload jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT CASE jsonb_typeof(p_payload) WHEN 'object' THEN p_payload - 'token' ELSE p_payload END;
    END;
COMMENT ON FUNCTION shop.buried_payload(jsonb) IS 'What is kept of the payload of a job that is dead or cancelled: all but the secret in its field token.';

CREATE FUNCTION shop.forget_jobs() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM shop.job_dead AS d WHERE d.id = ANY (ARRAY(SELECT o.id FROM shop.job_dead AS o WHERE o.died_at < clock_timestamp() - interval '90 days' ORDER BY o.died_at LIMIT 1000));
    DELETE FROM shop.job_minute AS m WHERE m.ctid = ANY (ARRAY(SELECT o.ctid FROM shop.job_minute AS o WHERE o.minute < clock_timestamp() - interval '30 days' ORDER BY o.minute LIMIT 1000));
END $$;
COMMENT ON FUNCTION shop.forget_jobs() IS 'Deletes dead letters of 90 days ago and sums of 30 days ago, up to a thousand of each, because a claim waits for it. For tend_jobs(), which comes again in a second.';

COMMIT;
