-- Deploy shop:rest_job to pg
-- requires: field
-- requires: job_report
-- requires: webhook
--
-- The routes of the queue, for administrators: what is in it, what has failed and why, who works, and what can be done
-- about it. Payloads are shown of one job at a time, and without the secret in the field token.
--
-- Locks: settings of a kind are a row of shop.job_kind, for which a claim of a kind that is limited does not wait.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.seconds(p_interval interval) RETURNS numeric
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT round(extract(epoch FROM p_interval), 3);
    END;
COMMENT ON FUNCTION shop.seconds(interval) IS 'A time as JSON has it: seconds, to the millisecond.';

CREATE FUNCTION shop.job_json(p_job shop.job_list) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object('id', p_job.id, 'state', p_job.state, 'kind', p_job.kind, 'priority', p_job.priority, 'key', p_job.key, 'attempts', p_job.attempts,
            'enqueued_at', shop.json_time(p_job.enqueued_at), 'due_at', shop.json_time(p_job.due_at), 'claimed_at', shop.json_time(p_job.claimed_at),
            'running_seconds', CASE WHEN p_job.state = 'running' THEN shop.seconds(clock_timestamp() - p_job.claimed_at) END,
            'leased_until', shop.json_time(p_job.leased_until), 'ended_at', shop.json_time(p_job.ended_at), 'worker', p_job.worker, 'error', p_job.error);
    END;
COMMENT ON FUNCTION shop.job_json(shop.job_list) IS 'A job as it stands in a list; its payload, which may hold secrets, is not part of it.';

CREATE FUNCTION shop.job_detail(p_job uuid) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT shop.job_json(l) || jsonb_build_object('payload', shop.buried_payload(d.payload), 'failures', (
            SELECT coalesce(jsonb_agg(f.failure || jsonb_build_object('began_at', shop.json_time((f.failure ->> 'began_at')::timestamptz),
                       'ended_at', shop.json_time((f.failure ->> 'ended_at')::timestamptz)) ORDER BY f.n), '[]')
            FROM jsonb_array_elements(d.failures) WITH ORDINALITY AS f (failure, n)))
        FROM shop.job_list AS l
        JOIN (SELECT j.id, j.payload, j.failures FROM shop.job AS j WHERE j.id = p_job
              UNION ALL SELECT x.id, x.payload, x.failures FROM shop.job_dead AS x WHERE x.id = p_job) AS d ON d.id = l.id
        WHERE l.id = p_job;
    END;
COMMENT ON FUNCTION shop.job_detail(uuid) IS 'All that is known about a job: its payload, but for the field token, and the attempts that failed.';

CREATE FUNCTION shop.kind_settings(p_kind shop.job_kind) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object('kind', p_kind.kind, 'paused', p_kind.paused, 'concurrency', p_kind.concurrency, 'attempts', p_kind.attempts,
            'lease_seconds', shop.seconds(p_kind.lease), 'backoff_seconds', shop.seconds(p_kind.backoff), 'backoff_max_seconds', shop.seconds(p_kind.backoff_max));
    END;
COMMENT ON FUNCTION shop.kind_settings(shop.job_kind) IS 'The settings of a kind of jobs.';

CREATE FUNCTION shop.kinds_json() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_agg(shop.kind_settings(k) || jsonb_build_object('workers', s.workers, 'waiting', s.waiting, 'scheduled', s.scheduled, 'retrying', s.retrying, 'running', s.running, 'overdue', s.overdue, 'dead', s.dead,
            'oldest_due_at', shop.json_time(s.oldest_due_at), 'oldest_late_seconds', shop.seconds(s.oldest_late),
            'finished_last_hour', s.finished_hour, 'retried_last_hour', s.retried_hour, 'died_last_hour', s.died_hour,
            'finished_per_minute', round(s.finished_per_minute, 1),
            'wait_average_seconds', shop.seconds(s.wait_average), 'wait_longest_seconds', shop.seconds(s.wait_longest),
            'wait_p50_seconds', shop.seconds(s.wait_p50), 'wait_p95_seconds', shop.seconds(s.wait_p95), 'wait_p99_seconds', shop.seconds(s.wait_p99),
            'run_average_seconds', shop.seconds(s.run_average), 'run_longest_seconds', shop.seconds(s.run_longest),
            'run_p50_seconds', shop.seconds(s.run_p50), 'run_p95_seconds', shop.seconds(s.run_p95), 'run_p99_seconds', shop.seconds(s.run_p99)) ORDER BY s.kind)
        FROM shop.job_summary AS s JOIN shop.job_kind AS k ON k.kind = s.kind;
    END;
COMMENT ON FUNCTION shop.kinds_json() IS 'The kinds of jobs with their settings, and how the queue of each does. It counts the whole queue.';

CREATE FUNCTION shop.job_monitor() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object(
            'kinds', shop.kinds_json(),
            'workers', (SELECT coalesce(json_agg(json_build_object('worker', w.worker, 'alive', w.alive, 'host', w.host, 'pid', w.pid, 'version', w.version,
                    'started_at', shop.json_time(w.started_at), 'seen_at', shop.json_time(w.seen_at), 'stopped_at', shop.json_time(w.stopped_at),
                    'running', w.running, 'finished', w.finished, 'failed', w.failed, 'kinds', coalesce(w.kinds, '{}'), 'work', coalesce(w.work, '[]'))
                    ORDER BY w.alive DESC, w.seen_at DESC, w.worker), '[]')
                FROM (SELECT * FROM shop.job_worker AS x ORDER BY x.alive DESC, x.seen_at DESC, x.worker LIMIT 200) AS w),
            'failures', (SELECT coalesce(json_agg(json_build_object('kind', r.kind, 'error', r.error, 'jobs', r.jobs, 'dead', r.dead,
                    'last_at', shop.json_time(r.last_at)) ORDER BY r.jobs DESC, r.kind, r.error), '[]')
                FROM (SELECT * FROM shop.job_reason AS x ORDER BY x.jobs DESC, x.kind, x.error LIMIT 20) AS r),
            'minutes', (SELECT coalesce(json_agg(json_build_object('minute', shop.json_time(t.minute), 'claimed', t.claimed, 'finished', t.finished,
                    'retried', t.retried, 'died', t.died, 'run_longest_seconds', shop.seconds(t.run_longest)) ORDER BY t.minute), '[]')
                FROM (SELECT m.minute, sum(m.claimed) AS claimed, sum(m.finished) AS finished, sum(m.retried) AS retried, sum(m.died) AS died,
                             max(m.run_longest) AS run_longest
                      FROM shop.job_throughput AS m WHERE m.minute > clock_timestamp() - interval '1 h' GROUP BY m.minute) AS t));
    END;
COMMENT ON FUNCTION shop.job_monitor() IS
'The queue at a glance, as the monitor shows it: by kind, by worker (up to 200), by reason of failure (the 20 most frequent), and by minute for the last hour.';

CREATE FUNCTION rest.admin_jobs(p_actor bigint, p_query jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text;
    v_kind text;
    v_limit integer;
    v_after uuid;
    v_jobs shop.job_list[];
    v_more boolean;
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(coalesce(p_query, '{}'), '{state,kind,limit,cursor}', '?');
    v_state := shop.choice_field(p_query, 'state', '{waiting,scheduled,retrying,running,dead,cancelled}', false, '?');
    v_kind := shop.text_field(p_query, 'kind', 63, false, '?');
    v_limit := coalesce(shop.integer_field(p_query, 'limit', 1, 200, false, '?'), 50);
    v_after := (shop.read_cursor(shop.text_field(p_query, 'cursor', 500, false, '?'), 'job', '{uuid}'))[1]::uuid;

    v_jobs := ARRAY(
        SELECT l FROM shop.job_list AS l
        WHERE (v_after IS NULL OR l.id < v_after) AND (v_kind IS NULL OR l.kind = v_kind) AND (v_state IS NULL OR l.state = v_state)
          AND (v_state IS NULL OR l.ended = (v_state IN ('dead', 'cancelled')))
        ORDER BY l.id DESC LIMIT v_limit + 1);
    v_more := cardinality(v_jobs) > v_limit;
    RETURN ROW(200, NULL, NULL, false, json_build_object('monitor', shop.job_monitor(),
        'items', (SELECT coalesce(json_agg(shop.job_json(v_jobs[n]) ORDER BY n), '[]') FROM generate_series(1, least(cardinality(v_jobs), v_limit)) AS n),
        'next', CASE WHEN v_more THEN shop.cursor_of('job', v_jobs[v_limit].id::text) END))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_jobs(bigint, jsonb) IS
'GET /v1/admin/jobs?state&kind&limit&cursor: the monitor of the queue, and the unfinished, dead and cancelled jobs, newest first. Errors: HS001 to HS003, HS009 to HS016.';

CREATE FUNCTION shop.job_reply(p_job uuid) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_body CONSTANT json := shop.job_detail(p_job);
BEGIN
    IF v_body IS NULL THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN ROW(200, NULL, NULL, false, v_body)::rest.reply;
END $$;
COMMENT ON FUNCTION shop.job_reply(uuid) IS 'The answer that shows a job. Errors: HS004 no such job.';

CREATE FUNCTION rest.admin_job_get(p_actor bigint, p_job uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    RETURN shop.job_reply(p_job);
END $$;
COMMENT ON FUNCTION rest.admin_job_get(bigint, uuid) IS
'GET /v1/admin/jobs/{id}: a job that is not finished, or is dead or cancelled: its payload without secrets, and the attempts that failed. Errors: HS001 to HS004.';

CREATE FUNCTION shop.tell_delivery(p_job uuid, p_state text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE shop.webhook_delivery AS d
    SET state = p_state, next_at = CASE p_state WHEN 'pending' THEN clock_timestamp() END, tries_left = greatest(d.tries_left, 1),
        error = CASE p_state WHEN 'cancelled' THEN 'its job was cancelled' ELSE d.error END
    FROM (SELECT j.payload FROM shop.job AS j WHERE j.id = p_job AND j.kind = 'webhook'
          UNION ALL SELECT m.payload FROM shop.job_dead AS m WHERE m.id = p_job AND m.kind = 'webhook') AS j
    WHERE d.merchant_id = (j.payload ->> 'merchant_id')::bigint AND d.endpoint_id = (j.payload ->> 'endpoint_id')::bigint
      AND d.id = (j.payload ->> 'delivery_id')::uuid AND d.state <> 'delivered';
END $$;
COMMENT ON FUNCTION shop.tell_delivery(uuid, text) IS
'The delivery that a job is about, if it is about one, is pending or cancelled from now on, as its merchant sees: somebody has sent its job again, or cancelled it.';

CREATE FUNCTION rest.admin_job_retry(p_actor bigint, p_job uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.retry_job(p_job);
    PERFORM shop.tell_delivery(p_job, 'pending');
    RETURN shop.job_reply(p_job);
END $$;
COMMENT ON FUNCTION rest.admin_job_retry(bigint, uuid) IS
'POST /v1/admin/jobs/{id}/retry: sends a dead or cancelled job again, or makes a waiting one due. Errors: HS001 to HS004, HS501, HS502 its key is taken, HS504 it is running.';

CREATE FUNCTION rest.admin_job_cancel(p_actor bigint, p_job uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.cancel_job(p_job);
    PERFORM shop.tell_delivery(p_job, 'cancelled');
    RETURN shop.job_reply(p_job);
END $$;
COMMENT ON FUNCTION rest.admin_job_cancel(bigint, uuid) IS
'POST /v1/admin/jobs/{id}/cancel: cancels a job that waits, runs or is dead. Errors: HS001 to HS004.';

CREATE FUNCTION rest.admin_job_kinds(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    RETURN ROW(200, NULL, NULL, false, json_build_object('items', shop.kinds_json()))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_job_kinds(bigint) IS
'GET /v1/admin/job-kinds: the kinds of jobs, with their settings, and how the queue of each does. Errors: HS001 to HS003.';

CREATE FUNCTION rest.admin_job_kind_update(p_actor bigint, p_kind text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_paused boolean;
    v_attempts integer;
    v_concurrency integer;
    v_body json;
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(p_body, '{paused,attempts,concurrency}');
    v_paused := shop.field(p_body, 'paused', 'boolean', p_body ? 'paused', '')::boolean;
    v_attempts := shop.integer_field(p_body, 'attempts', 1, 1000, p_body ? 'attempts');
    v_concurrency := shop.integer_field(p_body, 'concurrency', 0, 100000, false);
    UPDATE shop.job_kind AS k
    SET paused = coalesce(v_paused, k.paused), attempts = coalesce(v_attempts, k.attempts),
        concurrency = CASE WHEN p_body ? 'concurrency' THEN v_concurrency ELSE k.concurrency END
    WHERE k.kind = p_kind RETURNING shop.kind_settings(k)::json INTO v_body;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN ROW(200, NULL, NULL, false, v_body)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_job_kind_update(bigint, text, jsonb) IS
'PATCH /v1/admin/job-kinds/{kind} {paused, attempts, concurrency}: pauses a kind (none of its jobs is begun; those that run go on), or lets it go on; how often a job is tried; how many may run at once, null: any number. Returns its settings. Errors: HS001 to HS004, HS008 to HS011, HS014.';

CREATE FUNCTION rest.admin_job_kind_retry(p_actor bigint, p_kind text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_limit integer;
    v_job record;
    v_retried integer := 0;
    v_passed integer := 0;
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(coalesce(p_body, '{}'), '{limit}');
    v_limit := coalesce(shop.integer_field(p_body, 'limit', 1, 1000, false), 1000);
    IF NOT EXISTS (SELECT FROM shop.job_kind AS k WHERE k.kind = p_kind) THEN
        PERFORM shop.refuse('HS004');
    END IF;
    -- Keys are taken in ascending order, as everybody takes them.
    FOR v_job IN
        SELECT o.id FROM (SELECT d.id, d.key FROM shop.job_dead AS d WHERE d.kind = p_kind AND NOT d.cancelled ORDER BY d.id LIMIT v_limit FOR UPDATE SKIP LOCKED) AS o
        ORDER BY o.key NULLS FIRST, o.id
    LOOP
        BEGIN
            PERFORM shop.retry_job(v_job.id);
            PERFORM shop.tell_delivery(v_job.id, 'pending');
            v_retried := v_retried + 1;
        EXCEPTION WHEN SQLSTATE 'HS502' THEN
            v_passed := v_passed + 1;
        END;
    END LOOP;
    RETURN ROW(200, NULL, NULL, false, json_build_object('retried', v_retried, 'passed_over', v_passed,
        'dead', (SELECT count(*) FROM shop.job_dead AS d WHERE d.kind = p_kind AND NOT d.cancelled)))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_job_kind_retry(bigint, text, jsonb) IS
'POST /v1/admin/job-kinds/{kind}/retry-dead {limit}: sends dead jobs of a kind again, the oldest first, up to limit (at most 1000, which is what it is without). One whose key an unfinished job has is passed over. Returns how many, and how many are dead now. Errors: HS001 to HS004, HS008 to HS011, HS014.';

COMMIT;
