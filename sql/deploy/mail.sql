-- Deploy shop:mail to pg
-- requires: account_login
-- requires: order_payment
-- requires: sale_purchase
--
-- Mails: which ones an event makes, what the worker has to know to write one, and the orders whose buyers are reminded. A
-- mail is a job of its own, of kind mail; its key is that of the mail for ever, and the Message-ID is made of it: a mail
-- that is sent again can be recognised. What it says is read when it is sent, not when it is enqueued.
--
-- Privacy: the worker learns somebody's address from mail_details() alone, and only of mails that it has claimed.
--
-- Locks: the row of shop.order_reminder, which is only tried: of many clocks one reminds.

BEGIN;
SET LOCAL ROLE shop_owner;

-- A mail server may be away for a night; but that counts for no attempt. These are for a mailbox that is full.
INSERT INTO shop.job_kind (kind, attempts, backoff, backoff_max) VALUES
    ('mail', 10, '2 min', '8 h'), ('order_expiring', 10, '5 s', '1 h');
INSERT INTO shop.job_lane (kind, priority) VALUES ('mail', 0), ('order_expiring', 0);

CREATE TABLE shop.order_reminder (
    one          boolean     NOT NULL DEFAULT true,
    before       interval    NOT NULL DEFAULT '5 minutes',
    looked_until timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT order_reminder_pkey PRIMARY KEY (one),
    CONSTRAINT order_reminder_one_check CHECK (one),
    CONSTRAINT order_reminder_before_check CHECK (before BETWEEN interval '0' AND interval '24 hours')
);
INSERT INTO shop.order_reminder DEFAULT VALUES;
COMMENT ON TABLE shop.order_reminder IS 'Reminding buyers of orders that wait for their money: one row.';
COMMENT ON COLUMN shop.order_reminder.before IS 'How long before an order expires its buyer is reminded; 0: not at all. An order that was placed with less time than that is not reminded of.';
COMMENT ON COLUMN shop.order_reminder.looked_until IS 'Orders that expire until then have been looked at.';

CREATE FUNCTION shop.mails_of(p_kind text, p_payload jsonb) RETURNS TABLE (key text, payload jsonb)
    LANGUAGE plpgsql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF p_kind IN ('order_placed', 'order_expiring') THEN
        RETURN QUERY
        SELECT format('%s:%s', p_kind, o.order_id), jsonb_build_object('template', p_kind, 'account_id', o.account_id, 'order_id', o.order_id)
        FROM ROWS FROM (jsonb_array_elements_text(p_payload -> 'account_ids'), jsonb_array_elements_text(p_payload -> 'order_ids')) AS o (account_id, order_id)
        JOIN shop.account AS a ON a.id = o.account_id::bigint
        WHERE a.email IS NOT NULL AND o.order_id IS NOT NULL;
    ELSIF p_kind IN ('payment_received', 'order_shipped') THEN
        RETURN QUERY
        SELECT format('%s:%s', p_kind, p_payload ->> 'order_id'), jsonb_build_object('template', p_kind) || (p_payload - 'token')
        FROM shop.account AS a
        WHERE a.id = (p_payload ->> 'account_id')::bigint AND a.email IS NOT NULL AND p_payload ->> 'order_id' IS NOT NULL;
    ELSIF p_kind = 'payment_refunded' THEN
        -- An order may be refunded part by part: each is a mail of its own, of how much it is by then.
        RETURN QUERY
        SELECT format('%s:%s:%s', p_kind, p_payload ->> 'payment_id', p_payload ->> 'refunded'), jsonb_build_object('template', p_kind) || p_payload
        FROM shop.account AS a
        WHERE a.id = (p_payload ->> 'account_id')::bigint AND a.email IS NOT NULL AND p_payload ->> 'order_id' IS NOT NULL;
    ELSIF p_kind = 'password_reset' THEN
        -- Each link is a mail of its own: the one before is void.
        RETURN QUERY
        SELECT format('%s:%s', p_kind, left(encode(sha256(convert_to(p_payload ->> 'token', 'UTF8')), 'hex'), 32)),
               jsonb_build_object('template', p_kind, 'account_id', p_payload -> 'account_id', 'token', p_payload -> 'token')
        FROM shop.account AS a
        WHERE a.id = (p_payload ->> 'account_id')::bigint AND a.email IS NOT NULL AND p_payload ->> 'token' IS NOT NULL;
    END IF;
END $$;
COMMENT ON FUNCTION shop.mails_of(text, jsonb) IS
'The mails that an event makes, by the kind and payload of its job: key and payload of a job of kind mail for each; none for other kinds, and none to accounts without an e-mail address.';

CREATE FUNCTION shop.mail_order(p_account bigint, p_order uuid) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object('id', o.id, 'status', shop.effective_status(o.status, o.expires_at), 'total', o.total, 'currency', o.currency,
                   'digits', coalesce((SELECT c.exponent FROM holdfast.currencies() AS c WHERE c.currency = o.currency), 0), 'merchant', m.name,
                   'placed_at', floor(extract(epoch FROM o.placed_at))::bigint,
                   'pay_by', CASE WHEN o.status = 'pending_payment' AND o.expires_at < 'infinity' THEN floor(extract(epoch FROM o.expires_at))::bigint END,
                   'lines', (SELECT jsonb_agg(jsonb_build_object('title', l.title, 'code', l.code, 'quantity', l.quantity, 'unit_price', l.unit_price, 'amount', l.amount)
                                              ORDER BY l.line)
                             FROM shop.order_line AS l WHERE l.order_id = o.id AND l.account_id = o.account_id))
        FROM shop.order AS o JOIN shop.merchant AS m ON m.id = o.merchant_id
        WHERE o.account_id = p_account AND o.id = p_order);
END $$;
COMMENT ON FUNCTION shop.mail_order(bigint, uuid) IS
'An order as mails tell of it. Amounts are in minor units, of which the currency has so many digits; times are seconds since 1970, in UTC; pay_by is null if it is not waiting for its money, or a payment is under way.';

CREATE FUNCTION shop.mail_details(p_lease uuid, p_ids uuid[]) RETURNS TABLE (id uuid, details json)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH mail AS MATERIALIZED (
        SELECT j.id, j.key, j.payload ->> 'template' AS template, j.payload ->> 'token' AS token,
               (j.payload ->> 'account_id')::bigint AS account_id, (j.payload ->> 'order_id')::uuid AS order_id,
               jsonb_strip_nulls(jsonb_build_object('refunded', j.payload -> 'refunded')) AS more
        FROM shop.job AS j
        WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease AND j.kind = 'mail'
    ), known AS MATERIALIZED (
        SELECT m.*, a.email, a.name, a.locale, a.suspended_at,
               CASE WHEN m.order_id IS NOT NULL THEN shop.mail_order(m.account_id, m.order_id) || m.more END AS body,
               m.token IS NOT NULL AND EXISTS (
                   SELECT FROM shop.password_reset AS r
                   WHERE r.account_id = m.account_id AND r.token_hash = sha256(convert_to(substr(m.token, strpos(m.token, '.') + 1), 'UTF8'))
                     AND r.expires_at > clock_timestamp()) AS is_good_token
        FROM mail AS m LEFT JOIN shop.account AS a ON a.id = m.account_id
    ), judged AS (
        SELECT k.*, CASE
            WHEN k.email IS NULL THEN 'the account is gone, or has no address'
            WHEN k.suspended_at IS NOT NULL THEN 'the account is suspended'
            WHEN k.template = 'password_reset' THEN CASE WHEN NOT k.is_good_token THEN 'the link is not valid any more' END
            WHEN k.body IS NULL THEN 'the order is gone'
            WHEN k.template = 'order_placed' AND k.body ->> 'status' = 'cancelled' THEN 'the order was cancelled'
            WHEN k.template = 'order_expiring' AND (k.body ->> 'status' <> 'pending_payment' OR k.body ->> 'pay_by' IS NULL)
                THEN 'the order does not wait for its money any more' END AS skip
        FROM known AS k
    )
    SELECT d.id, CASE WHEN d.skip IS NOT NULL THEN json_build_object('skip', d.skip)
        ELSE json_strip_nulls(json_build_object('key', coalesce(d.key, d.template || ':' || d.id), 'template', d.template, 'address', d.email, 'name', d.name,
            'locale', d.locale, 'token', d.token, 'order', d.body)) END
    FROM judged AS d;
END $$;
COMMENT ON FUNCTION shop.mail_details(uuid, uuid[]) IS
'What is to be known to write the mails of jobs that this lease holds, no others: {key, template, address, name, locale, token or order}; or {skip: why} for a mail that makes no sense any more. Definer''s rights: the worker reads no table.';
GRANT EXECUTE ON FUNCTION shop.mail_details(uuid, uuid[]) TO shop_worker;

CREATE FUNCTION shop.remind_orders(p_limit integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_piece CONSTANT integer := 1000;
    v_now CONSTANT timestamptz := clock_timestamp();
    v_from timestamptz;
    v_until timestamptz;
    v_last timestamptz;
    v_accounts text[];
    v_orders uuid[];
BEGIN
    SELECT r.looked_until, v_now + r.before INTO v_from, v_until FROM shop.order_reminder AS r FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND OR v_until <= greatest(v_from, v_now) THEN
        RETURN 0;
    END IF;
    -- One whose first deadline was looked at has been reminded of, or was just being paid: a later deadline changes nothing.
    SELECT array_agg(d.account_id::text), array_agg(d.id), max(d.expires_at) INTO v_accounts, v_orders, v_last
    FROM (SELECT o.account_id, o.id, o.expires_at FROM shop.order AS o
          WHERE o.status = 'pending_payment' AND o.expires_at > greatest(v_from, v_now) AND o.expires_at <= v_until AND o.pay_by > v_from
          ORDER BY o.expires_at FETCH FIRST (p_limit) ROWS WITH TIES) AS d;
    UPDATE shop.order_reminder AS r SET looked_until = CASE WHEN cardinality(v_orders) >= p_limit THEN v_last ELSE v_until END;
    PERFORM shop.enqueue('order_expiring', jsonb_build_object('account_ids', v_accounts[n:n + v_piece - 1], 'order_ids', v_orders[n:n + v_piece - 1]))
    FROM generate_series(1, cardinality(v_orders), v_piece) AS n;
    RETURN coalesce(cardinality(v_orders), 0);
END $$;
COMMENT ON FUNCTION shop.remind_orders(integer) IS
'Enqueues the events (order_expiring) of about p_limit orders that still wait for their money and soon expire (shop.order_reminder), each once. Returns their number. For the clock, once a minute; any number of clocks.';

COMMIT;
