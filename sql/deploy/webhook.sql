-- Deploy shop:webhook to pg
-- requires: job_queue
-- requires: field
-- requires: account
--
-- Webhooks of merchants: where they want to be told of what (endpoints), what each was told (deliveries, kept for 30
-- days), and how that went (attempts). Signed by the scheme of Standard Webhooks (standardwebhooks.com).
--
-- A delivery that is pending has a job of kind webhook, which is one attempt; recording it ends the job and, if there is to be
-- another attempt, enqueues its job for then, in one transaction. So a delivery is tried again by the schedule below, whatever the
-- back-off of jobs is, and what the queue repeats is only what nobody knows the end of: its worker is gone. The id of a
-- delivery and its body never change; they are what its receiver knows a repetition by.
--
-- Nothing is sent for a merchant who is suspended. What happens meanwhile is a delivery all the same, but one that is
-- cancelled when its turn comes: when he may act again, he sees what he has missed, and can have it sent.
--
-- Everything belongs to a merchant, and is keyed by him. What a delivery tells is its key, unique for its endpoint as
-- long as it is kept: so to relay an event twice is harmless.
--
-- Locks: jobs, deliveries, endpoints by id. Jobs that are enqueued together take their keys in ascending order.

BEGIN;
SET LOCAL ROLE shop_owner;

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS601', 409, 'too_many_endpoints', 'the merchant has as many endpoints as there may be'),
    ('HS602', 409, 'endpoint_disabled', 'the endpoint is disabled');

CREATE TABLE shop.webhook_endpoint (
    merchant_id         bigint      NOT NULL,
    id                  bigint      NOT NULL DEFAULT holdfast.new_id(),
    low_stock_threshold bigint      NOT NULL DEFAULT 5,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    old_until           timestamptz,
    failing_since       timestamptz,
    disabled_at         timestamptz,
    deleted_at          timestamptz,
    version             integer     NOT NULL DEFAULT 1,
    events              text[]      NOT NULL,
    url                 text        NOT NULL,
    description         text        NOT NULL DEFAULT '',
    secret              text        NOT NULL,
    old_secret          text,
    disabled_reason     text,
    CONSTRAINT webhook_endpoint_pkey PRIMARY KEY (merchant_id, id),
    CONSTRAINT webhook_endpoint_merchant_fkey FOREIGN KEY (merchant_id) REFERENCES shop.merchant (id),
    CONSTRAINT webhook_endpoint_events_check CHECK (cardinality(events) > 0),
    CONSTRAINT webhook_endpoint_url_check CHECK (length(url) BETWEEN 1 AND 2000),
    CONSTRAINT webhook_endpoint_secret_check CHECK (secret ~ '^whsec_' AND (old_secret IS NULL) = (old_until IS NULL)),
    CONSTRAINT webhook_endpoint_disabled_check CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
COMMENT ON TABLE shop.webhook_endpoint IS 'Where merchants want to be told of what.';
COMMENT ON COLUMN shop.webhook_endpoint.low_stock_threshold IS 'stock.low is told of a SKU with so many units available, or fewer.';
COMMENT ON COLUMN shop.webhook_endpoint.secret IS 'What deliveries are signed with. Until old_until the one before signs too.';
COMMENT ON COLUMN shop.webhook_endpoint.failing_since IS 'Since when every attempt has failed; NULL: the last one has not.';
COMMENT ON COLUMN shop.webhook_endpoint.deleted_at IS 'It is not there any more, but for shop.purge_deliveries().';

CREATE TABLE shop.webhook_delivery (
    merchant_id  bigint      NOT NULL,
    endpoint_id  bigint      NOT NULL,
    id           uuid        NOT NULL DEFAULT holdfast.uuid7(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_at      timestamptz,
    attempted_at timestamptz,
    attempts     integer     NOT NULL DEFAULT 0,
    tries_left   integer     NOT NULL DEFAULT 10,
    status       integer,
    duration     integer,
    state        text        COLLATE "C" NOT NULL DEFAULT 'pending',
    type         text        COLLATE "C" NOT NULL,
    key          text        COLLATE "C" NOT NULL,
    error        text,
    body         text        NOT NULL,
    CONSTRAINT webhook_delivery_pkey PRIMARY KEY (merchant_id, endpoint_id, id),
    CONSTRAINT webhook_delivery_key UNIQUE (merchant_id, endpoint_id, key),
    CONSTRAINT webhook_delivery_endpoint_fkey FOREIGN KEY (merchant_id, endpoint_id) REFERENCES shop.webhook_endpoint (merchant_id, id),
    CONSTRAINT webhook_delivery_state_check CHECK (state IN ('pending', 'delivered', 'failed', 'cancelled')),
    CONSTRAINT webhook_delivery_next_check CHECK ((state = 'pending') = (next_at IS NOT NULL)),
    CONSTRAINT webhook_delivery_tries_check CHECK (tries_left BETWEEN 0 AND 10)
) WITH (fillfactor = 85);
CREATE INDEX webhook_delivery_state_idx ON shop.webhook_delivery (merchant_id, endpoint_id, state, id);
CREATE INDEX webhook_delivery_next_idx ON shop.webhook_delivery (next_at) WHERE state = 'pending';
CREATE INDEX webhook_delivery_created_idx ON shop.webhook_delivery (created_at);
COMMENT ON TABLE shop.webhook_delivery IS 'What endpoints are told, and how that stands. Kept for 30 days.';
COMMENT ON COLUMN shop.webhook_delivery.id IS 'UUID version 7; the header webhook-id of every attempt.';
COMMENT ON COLUMN shop.webhook_delivery.key IS 'What it tells: its type, and the thing.';
COMMENT ON COLUMN shop.webhook_delivery.body IS 'As it is sent, byte for byte.';
COMMENT ON COLUMN shop.webhook_delivery.attempts IS 'How many have ended. status, duration (milliseconds) and error are those of the last.';
COMMENT ON COLUMN shop.webhook_delivery.tries_left IS 'How many attempts it may take before it has failed, if it is not sent again by hand.';

CREATE TABLE shop.webhook_attempt (
    merchant_id bigint      NOT NULL,
    endpoint_id bigint      NOT NULL,
    delivery_id uuid        NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    n           integer     NOT NULL,
    status      integer,
    duration    integer     NOT NULL,
    error       text,
    answer      text,
    CONSTRAINT webhook_attempt_pkey PRIMARY KEY (merchant_id, endpoint_id, delivery_id, n),
    CONSTRAINT webhook_attempt_delivery_fkey FOREIGN KEY (merchant_id, endpoint_id, delivery_id)
        REFERENCES shop.webhook_delivery (merchant_id, endpoint_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE shop.webhook_attempt IS 'The log of deliveries: each attempt with the status that was answered (NULL: none), how long it took (milliseconds), why it failed, and how the answer begins.';

CREATE TABLE shop.webhook_low_stock (
    merchant_id bigint      NOT NULL,
    endpoint_id bigint      NOT NULL,
    sku_id      bigint      NOT NULL,
    told_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhook_low_stock_pkey PRIMARY KEY (merchant_id, endpoint_id, sku_id),
    CONSTRAINT webhook_low_stock_endpoint_fkey FOREIGN KEY (merchant_id, endpoint_id) REFERENCES shop.webhook_endpoint (merchant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE shop.webhook_low_stock IS 'SKUs of which an endpoint was told that they are low, until they are not any more.';

-- Puts many jobs into the queue at once, as enqueue() does one by one.
CREATE FUNCTION shop.enqueue_all(p_kind text, p_keys text[], p_payloads jsonb[], p_due_at timestamptz[] DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = on SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_count bigint;
    v_late text[];
BEGIN
    IF p_keys IS NULL OR p_keys = '{}' THEN
        RETURN 0;
    ELSIF NOT EXISTS (SELECT FROM shop.job_lane AS l WHERE l.kind = p_kind AND l.priority = 0) THEN
        PERFORM shop.refuse('HS501', '/kind');
    END IF;
    WITH asked AS MATERIALIZED (
        SELECT holdfast.uuid7() AS id, a.key, a.payload, greatest(a.due_at, v_now) AS due_at
        FROM unnest(p_keys, p_payloads, p_due_at) AS a (key, payload, due_at)
    ), taken AS (
        INSERT INTO shop.job_key AS k (key, job_id) SELECT a.key, a.id FROM asked AS a ORDER BY a.key COLLATE "C" ON CONFLICT (key) DO NOTHING RETURNING k.job_id
    ), made AS (
        INSERT INTO shop.job AS j (id, due_at, enqueued_at, slot, kind, key, payload)
        SELECT a.id, a.due_at, v_now, CASE WHEN h.later AND a.due_at > v_now + interval '10 min' THEN 0 ELSE h.slot END, p_kind, a.key, coalesce(a.payload, '{}')
        FROM asked AS a CROSS JOIN shop.job_head AS h WHERE a.id IN (SELECT t.job_id FROM taken AS t)
        RETURNING j.key
    )
    SELECT count(*), ARRAY(SELECT a.key FROM asked AS a EXCEPT SELECT m.key FROM made AS m) INTO v_count, v_late FROM made;
    -- Keys that are taken, perhaps by a job that is nowhere.
    IF v_late <> '{}' THEN
        SELECT v_count + count(l.id) INTO v_count
        FROM (SELECT shop.enqueue(p_kind, a.payload, a.key, a.due_at) AS id
              FROM unnest(p_keys, p_payloads, p_due_at) AS a (key, payload, due_at) WHERE a.key = ANY (v_late) ORDER BY a.key COLLATE "C") AS l;
    END IF;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION shop.enqueue_all(text, text[], jsonb[], timestamptz[]) IS
'Puts jobs of one kind into the queue, in the caller''s transaction, and returns how many: one for each key that no unfinished job has. p_due_at: not before then, NULL: at once. Errors: HS501 unknown kind.';

-- The schedule of Standard Webhooks.
CREATE FUNCTION shop.webhook_pause(p_tries_left integer) RETURNS interval
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT ('{24 h,20 h,14 h,10 h,5 h,2 h,30 min,5 min,5 s}'::interval[])[p_tries_left];
    END;
COMMENT ON FUNCTION shop.webhook_pause(integer) IS 'How long to wait after an attempt that has failed, if so many are left: 5 seconds after the first of ten, 24 hours before the last. NULL: there is none left.';

CREATE FUNCTION shop.webhook_key(p_delivery uuid) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT 'webhook:' || p_delivery;
    END;
COMMENT ON FUNCTION shop.webhook_key(uuid) IS 'The key of the job of a delivery.';

CREATE FUNCTION shop.webhook_payload(p_merchant bigint, p_endpoint bigint, p_delivery uuid) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT jsonb_build_object('merchant_id', p_merchant::text, 'endpoint_id', p_endpoint::text, 'delivery_id', p_delivery);
    END;
COMMENT ON FUNCTION shop.webhook_payload(bigint, bigint, uuid) IS 'The payload of the job of a delivery.';

CREATE FUNCTION shop.make_deliveries(p_merchants bigint[], p_endpoints bigint[], p_types text[], p_keys text[], p_bodies text[], p_tries integer DEFAULT 10) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_ids uuid[];
    v_keys text[];
    v_payloads jsonb[];
BEGIN
    WITH made AS (
        INSERT INTO shop.webhook_delivery AS d (merchant_id, endpoint_id, type, key, body, tries_left, next_at)
        SELECT w.merchant_id, w.endpoint_id, w.type, w.key, w.body, p_tries, clock_timestamp()
        FROM unnest(p_merchants, p_endpoints, p_types, p_keys, p_bodies) WITH ORDINALITY AS w (merchant_id, endpoint_id, type, key, body, i)
        ORDER BY w.i
        ON CONFLICT ON CONSTRAINT webhook_delivery_key DO NOTHING
        RETURNING d.merchant_id, d.endpoint_id, d.id)
    SELECT array_agg(m.id ORDER BY m.id), array_agg(shop.webhook_key(m.id) ORDER BY m.id),
           array_agg(shop.webhook_payload(m.merchant_id, m.endpoint_id, m.id) ORDER BY m.id)
    INTO v_ids, v_keys, v_payloads FROM made AS m;
    PERFORM shop.enqueue_all('webhook', v_keys, v_payloads);
    RETURN v_ids;
END $$;
COMMENT ON FUNCTION shop.make_deliveries(bigint[], bigint[], text[], text[], text[], integer) IS
'Makes deliveries and their jobs, but for those whose key the endpoint has been told already; returns the ids of the new ones, NULL if there are none.';

CREATE FUNCTION shop.disable_endpoint(p_merchant bigint, p_endpoint bigint, p_reason text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE shop.webhook_endpoint AS e SET disabled_at = clock_timestamp(), disabled_reason = p_reason, version = e.version + 1
    WHERE e.merchant_id = p_merchant AND e.id = p_endpoint AND e.disabled_at IS NULL;
    UPDATE shop.webhook_delivery AS d SET state = 'cancelled', next_at = NULL
    FROM (SELECT w.id FROM shop.webhook_delivery AS w WHERE w.merchant_id = p_merchant AND w.endpoint_id = p_endpoint AND w.state = 'pending'
          ORDER BY w.id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED) AS p
    WHERE d.merchant_id = p_merchant AND d.endpoint_id = p_endpoint AND d.id = p.id;
END $$;
COMMENT ON FUNCTION shop.disable_endpoint(bigint, bigint, text) IS
'Disables an endpoint, and cancels what it was to be told: a thousand deliveries at once, the others when their jobs come. It stays so until its merchant enables it again.';

CREATE FUNCTION shop.delivery_details(p_lease uuid, p_ids uuid[]) RETURNS TABLE (id uuid, details json)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH held AS MATERIALIZED (
        SELECT j.id, (j.payload ->> 'merchant_id')::bigint AS merchant_id, (j.payload ->> 'endpoint_id')::bigint AS endpoint_id,
               (j.payload ->> 'delivery_id')::uuid AS delivery_id,
               EXISTS (SELECT FROM shop.merchant AS m JOIN shop.account AS a ON a.id = m.account_id
                       WHERE m.id = (j.payload ->> 'merchant_id')::bigint AND a.suspended_at IS NOT NULL) AS is_suspended
        FROM shop.job AS j WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease AND j.kind = 'webhook'
    ), idle AS (
        UPDATE shop.webhook_delivery AS d
        SET state = 'cancelled', next_at = NULL, error = CASE WHEN h.is_suspended THEN 'the merchant was suspended' ELSE d.error END
        FROM held AS h, shop.webhook_endpoint AS e
        WHERE d.merchant_id = h.merchant_id AND d.endpoint_id = h.endpoint_id AND d.id = h.delivery_id AND d.state = 'pending'
          AND e.merchant_id = h.merchant_id AND e.id = h.endpoint_id AND (h.is_suspended OR e.disabled_at IS NOT NULL OR e.deleted_at IS NOT NULL)
        RETURNING d.id
    )
    SELECT h.id, CASE WHEN d.state IS DISTINCT FROM 'pending' OR d.id IN (SELECT i.id FROM idle AS i) THEN json_build_object('skip', true)
        ELSE json_build_object('url', e.url, 'id', d.id, 'body', d.body, 'failing', e.failing_since IS NOT NULL,
            'secrets', CASE WHEN e.old_until > clock_timestamp() THEN json_build_array(e.secret, e.old_secret) ELSE json_build_array(e.secret) END) END
    FROM held AS h
    LEFT JOIN shop.webhook_delivery AS d ON d.merchant_id = h.merchant_id AND d.endpoint_id = h.endpoint_id AND d.id = h.delivery_id
    LEFT JOIN shop.webhook_endpoint AS e ON e.merchant_id = h.merchant_id AND e.id = h.endpoint_id;
END $$;
COMMENT ON FUNCTION shop.delivery_details(uuid, uuid[]) IS
'What the jobs of kind webhook that this lease holds are about: {url, id, body, secrets, failing: whether its endpoint has answered nothing good lately}, or {skip} if nothing is to be sent, because the endpoint is disabled, its merchant suspended, or the delivery has ended. Definer''s rights: the worker reads no table, and no delivery but those it has in hand.';
GRANT EXECUTE ON FUNCTION shop.delivery_details(uuid, uuid[]) TO shop_worker;

CREATE FUNCTION shop.record_deliveries(p_lease uuid, p_ids uuid[], p_results json[]) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_patience CONSTANT interval := interval '5 days';
    v_jobs uuid[];
    v_merchants bigint[];
    v_endpoints bigint[];
    v_deliveries uuid[];
    v_statuses integer[];
    v_took integer[];
    v_errors text[];
    v_answers text[];
    v_waits integer[];
    v_busy jsonb[];
    v_keys text[];
    v_payloads jsonb[];
    v_due_at timestamptz[];
    v_endpoint record;
BEGIN
    IF cardinality(p_results) IS DISTINCT FROM cardinality(p_ids) THEN
        PERFORM shop.refuse('HS015', '/results', 'wanted: one for each job');
    END IF;
    SELECT array_agg(j.id), array_agg(j.payload) FILTER (WHERE j.is_busy),
           array_agg((j.payload ->> 'merchant_id')::bigint) FILTER (WHERE NOT j.is_busy), array_agg((j.payload ->> 'endpoint_id')::bigint) FILTER (WHERE NOT j.is_busy),
           array_agg((j.payload ->> 'delivery_id')::uuid) FILTER (WHERE NOT j.is_busy), array_agg((j.result ->> 'status')::integer) FILTER (WHERE NOT j.is_busy),
           array_agg(coalesce((j.result ->> 'duration')::integer, 0)) FILTER (WHERE NOT j.is_busy), array_agg(left(j.result ->> 'error', 500)) FILTER (WHERE NOT j.is_busy),
           array_agg(left(j.result ->> 'answer', 500)) FILTER (WHERE NOT j.is_busy),
           array_agg(CASE WHEN (j.result ->> 'retry_after')::bigint > 0 THEN least((j.result ->> 'retry_after')::bigint, 86400)::integer END) FILTER (WHERE NOT j.is_busy)
    INTO v_jobs, v_busy, v_merchants, v_endpoints, v_deliveries, v_statuses, v_took, v_errors, v_answers, v_waits
    FROM (SELECT h.id, h.payload, w.result, coalesce((w.result ->> 'busy')::boolean, false) AS is_busy
          FROM (SELECT n.id, n.payload FROM shop.job AS n
                WHERE p_lease IS NOT NULL AND n.id = ANY (p_ids) AND n.lease IS NOT DISTINCT FROM p_lease AND n.kind = 'webhook'
                ORDER BY n.id FOR UPDATE) AS h
          CROSS JOIN LATERAL (SELECT p_results[array_position(p_ids, h.id)]) AS w (result)) AS j;
    IF v_jobs IS NULL THEN
        RETURN;
    END IF;

    WITH ended AS (
        SELECT w.* FROM unnest(v_merchants, v_endpoints, v_deliveries, v_statuses, v_took, v_errors, v_waits)
            AS w (merchant_id, endpoint_id, id, status, took, error, wait)
    ), changed AS (
        UPDATE shop.webhook_delivery AS d
        SET attempts = d.attempts + 1, attempted_at = v_now, status = w.status, duration = w.took, error = w.error,
            tries_left = greatest(d.tries_left - 1, 0),
            state = CASE WHEN w.error IS NULL THEN 'delivered' WHEN d.state <> 'pending' THEN d.state WHEN d.tries_left > 1 THEN 'pending' ELSE 'failed' END,
            next_at = CASE WHEN w.error IS NOT NULL AND d.state = 'pending' AND d.tries_left > 1
                           THEN greatest(v_now + shop.webhook_pause(d.tries_left - 1) * (1 + random() / 10), v_now + make_interval(secs => w.wait)) END
        FROM ended AS w WHERE d.merchant_id = w.merchant_id AND d.endpoint_id = w.endpoint_id AND d.id = w.id
        RETURNING d.merchant_id, d.endpoint_id, d.id, d.attempts, d.next_at
    ), logged AS (
        INSERT INTO shop.webhook_attempt (merchant_id, endpoint_id, delivery_id, at, n, status, duration, error, answer)
        SELECT c.merchant_id, c.endpoint_id, c.id, v_now, c.attempts, w.status, w.took, w.error, w.answer
        FROM changed AS c JOIN unnest(v_deliveries, v_statuses, v_took, v_errors, v_answers) AS w (id, status, took, error, answer) ON w.id = c.id
    )
    SELECT array_agg(shop.webhook_key(c.id)), array_agg(shop.webhook_payload(c.merchant_id, c.endpoint_id, c.id)), array_agg(c.next_at)
    INTO v_keys, v_payloads, v_due_at FROM changed AS c WHERE c.next_at IS NOT NULL;
    RETURN QUERY SELECT f FROM shop.finish_jobs(p_lease, v_jobs) AS f;
    PERFORM shop.enqueue_all('webhook', v_keys, v_payloads, v_due_at);
    -- The more often one had to wait, the longer it keeps out of the others' way.
    PERFORM shop.enqueue_all('webhook', array_agg(shop.webhook_key((b.payload ->> 'delivery_id')::uuid)),
        array_agg(b.payload || jsonb_build_object('held', b.held + 1)),
        array_agg(v_now + interval '1 s' * least(power(2, b.held), 300) * (0.5 + random())))
    FROM (SELECT p AS payload, least(coalesce((p ->> 'held')::integer, 0), 20) AS held FROM unnest(v_busy) AS p) AS b
    HAVING count(*) > 0;

    -- What it says about the endpoints, whose rows most attempts leave alone.
    FOR v_endpoint IN
        -- Who has failed once, and was told nothing since, has not failed for as long.
        SELECT e.merchant_id, e.id, w.is_good, w.is_gone, e.failing_since <= v_now - v_patience
               AND EXISTS (SELECT FROM shop.webhook_attempt AS a WHERE a.merchant_id = e.merchant_id AND a.endpoint_id = e.id
                           AND a.at < v_now AND a.at > v_now - interval '27 h') AS is_over
        FROM (SELECT r.merchant_id, r.id, bool_or(r.error IS NULL) AS is_good, bool_or(r.status IS NOT DISTINCT FROM 410) AS is_gone
              FROM unnest(v_merchants, v_endpoints, v_statuses, v_errors) AS r (merchant_id, id, status, error) GROUP BY r.merchant_id, r.id) AS w
        JOIN shop.webhook_endpoint AS e ON e.merchant_id = w.merchant_id AND e.id = w.id
        WHERE e.disabled_at IS NULL AND e.deleted_at IS NULL
          AND (w.is_gone OR CASE WHEN w.is_good THEN e.failing_since IS NOT NULL ELSE e.failing_since IS NULL OR e.failing_since <= v_now - v_patience END)
        ORDER BY e.merchant_id, e.id FOR NO KEY UPDATE OF e
    LOOP
        IF v_endpoint.is_gone THEN
            PERFORM shop.disable_endpoint(v_endpoint.merchant_id, v_endpoint.id, 'it has answered 410 Gone');
        ELSIF v_endpoint.is_over AND NOT v_endpoint.is_good THEN
            PERFORM shop.disable_endpoint(v_endpoint.merchant_id, v_endpoint.id, 'every delivery has failed for 5 days');
        ELSE
            UPDATE shop.webhook_endpoint AS e SET failing_since = CASE WHEN v_endpoint.is_good THEN NULL ELSE v_now END, version = e.version + 1
            WHERE e.merchant_id = v_endpoint.merchant_id AND e.id = v_endpoint.id;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION shop.record_deliveries(uuid, uuid[], json[]) IS
'Records attempts of deliveries, of which this lease still holds the jobs: {status, duration, error, answer, retry_after} of each; without error it is delivered; {busy}: none was made, because too many are under way at its host or for its merchant. Otherwise it is tried again by the schedule, not before retry_after seconds; after the last attempt it has failed. An endpoint that answers 410, or has answered nothing good for 5 days, is disabled. Ends the jobs, and returns them. Errors: HS015. Definer''s rights: the worker writes no table.';
GRANT EXECUTE ON FUNCTION shop.record_deliveries(uuid, uuid[], json[]) TO shop_worker;

CREATE FUNCTION shop.redeliver(p_merchant bigint, p_endpoint bigint, p_delivery uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_job uuid;
BEGIN
    UPDATE shop.webhook_delivery AS d SET state = 'pending', next_at = v_now, tries_left = 10
    WHERE d.merchant_id = p_merchant AND d.endpoint_id = p_endpoint AND d.id = p_delivery;
    IF shop.enqueue('webhook', shop.webhook_payload(p_merchant, p_endpoint, p_delivery), shop.webhook_key(p_delivery)) IS NULL THEN
        -- It has a job, which is due now. Whoever has it in hand may be about to end it because there was nothing to send.
        SELECT k.job_id INTO v_job FROM shop.job_key AS k WHERE k.key = shop.webhook_key(p_delivery);
        UPDATE shop.job AS j SET due_at = v_now, lease = NULL, leased_until = NULL
        WHERE j.id = ANY (ARRAY[v_job]) AND (j.lease IS NOT NULL OR j.due_at > v_now);
    END IF;
END $$;
COMMENT ON FUNCTION shop.redeliver(bigint, bigint, uuid) IS
'Sends a delivery again, now and if need be by the whole schedule, with the id and body that it has always had; an attempt that is just under way counts no more.';

CREATE FUNCTION shop.purge_deliveries(p_limit integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_lost bigint;
    v_old bigint;
    v_orphans bigint;
    v_endpoints bigint;
BEGIN
    UPDATE shop.webhook_delivery AS d SET state = 'failed', next_at = NULL, error = 'its job was cancelled, or has died'
    WHERE (d.merchant_id, d.endpoint_id, d.id) IN (
        SELECT o.merchant_id, o.endpoint_id, o.id FROM shop.webhook_delivery AS o
        WHERE o.state = 'pending' AND o.next_at < clock_timestamp() - interval '1 h'
          AND NOT EXISTS (SELECT FROM shop.job_key AS u WHERE u.key = shop.webhook_key(o.id))
        ORDER BY o.next_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_lost = ROW_COUNT;
    DELETE FROM shop.webhook_delivery AS d
    WHERE (d.merchant_id, d.endpoint_id, d.id) IN (
        SELECT o.merchant_id, o.endpoint_id, o.id FROM shop.webhook_delivery AS o
        WHERE o.created_at < clock_timestamp() - interval '30 days' ORDER BY o.created_at LIMIT p_limit FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_old = ROW_COUNT;
    DELETE FROM shop.webhook_delivery AS d
    WHERE (d.merchant_id, d.endpoint_id, d.id) IN (
        SELECT o.merchant_id, o.endpoint_id, o.id FROM shop.webhook_endpoint AS e
        JOIN shop.webhook_delivery AS o ON o.merchant_id = e.merchant_id AND o.endpoint_id = e.id
        WHERE e.deleted_at IS NOT NULL LIMIT greatest(p_limit - v_old, 0) FOR UPDATE OF o SKIP LOCKED);
    GET DIAGNOSTICS v_orphans = ROW_COUNT;
    -- A relay that is under way may have seen it before it was deleted.
    DELETE FROM shop.webhook_endpoint AS e
    WHERE e.deleted_at < clock_timestamp() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM shop.webhook_delivery AS d WHERE d.merchant_id = e.merchant_id AND d.endpoint_id = e.id);
    GET DIAGNOSTICS v_endpoints = ROW_COUNT;
    RETURN v_lost + v_old + v_orphans + v_endpoints;
END $$;
COMMENT ON FUNCTION shop.purge_deliveries(integer) IS
'Forgets up to p_limit deliveries that are older than 30 days, or of endpoints that were deleted, and those endpoints; and takes those that have been due for an hour and have no job any more for failed. Returns how many that were. For the clock, at any time, by any number.';

COMMIT;
