-- Deploy shop:order_status to pg
-- requires: order_place
--
-- What becomes of an order. Every change goes through shop.change_order(), which knows shop.order_transition, writes the
-- history and counts the version. An order that waits for its payment is cancelled by the clock at expires_at; the sweep
-- only writes that down.
--
-- Locks, in this order: payment, holds and lanes, the order. Whoever pins or releases holds does so before he touches the
-- order, and makes its row the arbiter: paying sets expires_at to infinity in the transaction that pins, cancelling wants
-- a finite one, and who comes second raises, which undoes what he did to the holds.
--
-- Two functions are left empty here, for those whose business it is; they replace them with CREATE OR REPLACE, and put the
-- empty ones back when they are reverted. Both are called in the transaction of the change and must not raise:
--
--     shop.orders_ended(p_accounts bigint[], p_orders uuid[])
--         Orders of sales (sale_id IS NOT NULL) that end without having been paid: the limit of the account gets its units
--         back. Called once for each order. cancel_order() calls it before it releases the holds, so rows that a purchase
--         locks before it reserves may be locked here; the sweep calls it after its orders are locked, when their holds are dead.
--     shop.units_returned(p_stocks bigint[], p_quantities bigint[])
--         Units that came back to stock that is not a SKU's own (stock_id <> sku_id): to the slice of a sale, which may be
--         closed by now. Called after holdfast.give_back().

BEGIN;
SET LOCAL ROLE shop_owner;

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS305', 409, 'order_status', 'the status of the order does not allow it'),
    ('HS306', 409, 'payment_under_way', 'a payment of the order is under way'),
    ('HS307', 409, 'exceeds_bought', 'more than was bought and has not come back'),
    ('HS308', 409, 'too_many_payments', 'the order has been tried to pay too often');

CREATE TABLE shop.order_payment (
    account_id bigint NOT NULL,
    order_id   uuid   NOT NULL,
    payment_id uuid   NOT NULL,
    CONSTRAINT order_payment_pkey PRIMARY KEY (account_id, order_id, payment_id),
    CONSTRAINT order_payment_order_fkey FOREIGN KEY (account_id, order_id) REFERENCES shop.order (account_id, id)
);
CREATE INDEX order_payment_payment_idx ON shop.order_payment (payment_id);
COMMENT ON TABLE shop.order_payment IS 'The payments of an order; what they are and how they went stands in holdfast.payments.';

-- Merchants list their orders by status. Those that wait for payment are few, and in order_expiry_idx.
CREATE INDEX order_merchant_status_idx ON shop.order (merchant_id, status, id) WHERE status <> 'pending_payment';

CREATE FUNCTION shop.effective_status(p_status text, p_expires_at timestamptz) RETURNS text
    LANGUAGE sql VOLATILE
    BEGIN ATOMIC
        SELECT CASE WHEN p_status = 'pending_payment' AND p_expires_at <= pg_catalog.clock_timestamp() THEN 'cancelled' ELSE p_status END;
    END;
COMMENT ON FUNCTION shop.effective_status(text, timestamptz) IS
'The status of an order by the clock: one that was not paid in time is cancelled from that instant. Without a path of its own, so that it is inlined in reports over many orders; its names were bound when it was made.';

CREATE FUNCTION shop.orders_ended(p_accounts bigint[], p_orders uuid[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT;
    END;
COMMENT ON FUNCTION shop.orders_ended(bigint[], uuid[]) IS 'Called with orders of sales that end without having been paid. Empty until sales are there.';

CREATE FUNCTION shop.units_returned(p_stocks bigint[], p_quantities bigint[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT;
    END;
COMMENT ON FUNCTION shop.units_returned(bigint[], bigint[]) IS 'Called with units that came back to slices of sales. Empty until sales are there.';

CREATE FUNCTION shop.change_order(p_account bigint, p_order uuid, p_action text, p_actor bigint DEFAULT NULL, p_reason text DEFAULT NULL,
                                  p_if_match text DEFAULT NULL, p_at timestamptz DEFAULT NULL) RETURNS shop.order
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_order shop.order;
    v_status text;
    v_to text;
BEGIN
    SELECT o.* INTO v_order FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_order FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    PERFORM shop.require_match(p_if_match, v_order.version, false);
    -- The clock has no say in what the shop itself writes down: that is what the clock, or a payment, has done already.
    v_status := CASE WHEN p_action IN ('pay', 'expire') THEN v_order.status ELSE shop.effective_status(v_order.status, v_order.expires_at) END;
    IF p_action = 'cancel' AND v_order.status = 'pending_payment' AND v_order.expires_at = 'infinity' THEN
        PERFORM shop.refuse('HS306');
    END IF;
    SELECT t.to_status INTO v_to FROM shop.order_transition AS t WHERE t.from_status = v_status AND t.action = p_action;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS305', NULL, format('the order is %s', v_status));
    END IF;
    UPDATE shop.order AS o
    SET status = v_to, version = o.version + 1, changed_at = clock_timestamp(),
        expires_at = CASE p_action WHEN 'pay' THEN 'infinity' ELSE o.expires_at END
    WHERE o.account_id = p_account AND o.id = p_order AND o.status = v_order.status
    RETURNING o.* INTO STRICT v_order;
    INSERT INTO shop.order_event (account_id, order_id, n, actor_id, happened_at, from_status, to_status, action, reason)
    VALUES (p_account, p_order, v_order.version, p_actor, coalesce(p_at, clock_timestamp()), v_status, v_to, p_action, p_reason);
    IF v_to = 'cancelled' THEN
        PERFORM shop.enqueue('order_cancelled', jsonb_build_object('account_ids', ARRAY[p_account::text], 'order_ids', ARRAY[p_order]));
    END IF;
    RETURN v_order;
END $$;
COMMENT ON FUNCTION shop.change_order(bigint, uuid, text, bigint, text, text, timestamptz) IS
'Does one of shop.order_transition to an order, by its status at this instant: new status, version, line of history (n is the version that it made; p_at: when it happened, if not now); one that is cancelled is an event (order_cancelled). Who may do it is for the caller to know. Errors: HS004 no such order, HS006 p_if_match is another version, HS305 not in this status, HS306 a payment is under way.';

CREATE FUNCTION shop.cancel_order(p_account bigint, p_order uuid, p_actor bigint DEFAULT NULL, p_reason text DEFAULT NULL,
                                  p_if_match text DEFAULT NULL) RETURNS shop.order
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_order shop.order;
    v_payment uuid;
BEGIN
    SELECT o.* INTO v_order FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_order;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF shop.effective_status(v_order.status, v_order.expires_at) = 'pending_payment' THEN
        IF v_order.sale_id IS NOT NULL THEN
            PERFORM shop.orders_ended(ARRAY[p_account], ARRAY[p_order]);
        END IF;
        -- A payment that can still be given up is; money that comes all the same goes back by itself.
        FOR v_payment IN
            SELECT p.payment FROM shop.order_payment AS op JOIN holdfast.payments AS p ON p.account_id = op.account_id AND p.payment = op.payment_id
            JOIN holdfast.payment_transitions() AS t ON t.state = p.state AND t.input = 'void'
            WHERE op.account_id = p_account AND op.order_id = p_order ORDER BY p.payment
        LOOP
            PERFORM holdfast.void_payment(p_account, v_payment, 'cancel-' || v_payment, p_reason);
        END LOOP;
        IF EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = p_order AND h.state IN ('pinned', 'confirmed')) THEN
            PERFORM shop.refuse('HS306');
        ELSIF EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = p_order AND h.state = 'held') THEN
            PERFORM holdfast.release(p_order);
        END IF;
    END IF;
    RETURN shop.change_order(p_account, p_order, 'cancel', p_actor, p_reason, p_if_match);
END $$;
COMMENT ON FUNCTION shop.cancel_order(bigint, uuid, bigint, text, text) IS
'Cancels an order that has not been paid, gives up a payment that can be given up, and releases its units. Errors: HS004 no such order, HS006 p_if_match is another version, HS305 paid, or ended already, HS306 its money is on its way; HF008, HF028 somebody else was quicker.';

CREATE FUNCTION shop.take_buyers(p_accounts bigint[], p_orders uuid[]) RETURNS uuid[]
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT p_orders;
    END;
COMMENT ON FUNCTION shop.take_buyers(bigint[], uuid[]) IS 'Called with orders of sales that are locked: those whose buyers nobody else has in hand, who are locked now. All of them until sales are there.';

CREATE FUNCTION shop.cancel_expired_orders(p_limit integer DEFAULT 1000) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_piece CONSTANT integer := 1000;
    v_now CONSTANT timestamptz := clock_timestamp();
    v_accounts bigint[];
    v_orders uuid[];
    v_sale_accounts bigint[];
    v_sale_orders uuid[];
    v_taken uuid[];
    v_alive record;
    v_cancelled integer;
    v_released integer := 0;
BEGIN
    -- OFFSET 0 makes the planner look at the holds of each order, one by one, instead of at all holds there are.
    -- The common case: the holds are dead as well, and nobody can want them before the order any more.
    SELECT array_agg(d.account_id), array_agg(d.id), array_agg(d.account_id) FILTER (WHERE d.sale_id IS NOT NULL),
           array_agg(d.id) FILTER (WHERE d.sale_id IS NOT NULL), array_agg(d.id) FILTER (WHERE d.sale_id IS NULL)
    INTO v_accounts, v_orders, v_sale_accounts, v_sale_orders, v_taken
    FROM (SELECT o.account_id, o.id, o.sale_id FROM shop.order AS o
          WHERE o.status = 'pending_payment' AND o.expires_at <= v_now
            AND NOT EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = o.id AND h.state IN ('held', 'pinned', 'confirmed') OFFSET 0)
          ORDER BY o.expires_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED) AS d;
    -- Everybody else has the buyer in hand before the order, and may be waiting for this one: so nobody is waited for here.
    IF v_sale_orders IS NOT NULL THEN
        v_taken := v_taken || shop.take_buyers(v_sale_accounts, v_sale_orders);
    END IF;
    WITH due AS (
        SELECT u.account_id, u.id FROM unnest(v_accounts, v_orders) AS u (account_id, id) JOIN unnest(v_taken) AS t (id) ON t.id = u.id),
    cancelled AS (
        UPDATE shop.order AS o SET status = 'cancelled', version = o.version + 1, changed_at = v_now
        FROM due AS d WHERE o.account_id = d.account_id AND o.id = d.id
        RETURNING o.account_id, o.id, o.version, o.expires_at, o.sale_id),
    told AS (
        INSERT INTO shop.order_event (account_id, order_id, n, happened_at, from_status, to_status, action)
        SELECT c.account_id, c.id, c.version, c.expires_at, 'pending_payment', t.to_status, t.action
        FROM cancelled AS c JOIN shop.order_transition AS t ON t.from_status = 'pending_payment' AND t.action = 'expire')
    SELECT count(*), array_agg(c.account_id), array_agg(c.id), array_agg(c.account_id ORDER BY c.account_id, c.id) FILTER (WHERE c.sale_id IS NOT NULL),
           array_agg(c.id ORDER BY c.account_id, c.id) FILTER (WHERE c.sale_id IS NOT NULL)
    INTO v_cancelled, v_accounts, v_orders, v_sale_accounts, v_sale_orders FROM cancelled AS c;
    PERFORM shop.enqueue('order_cancelled', jsonb_build_object('account_ids', v_accounts[n:n + v_piece - 1]::text[], 'order_ids', v_orders[n:n + v_piece - 1]))
    FROM generate_series(1, v_cancelled, v_piece) AS n;
    IF v_sale_orders IS NOT NULL THEN
        PERFORM shop.orders_ended(v_sale_accounts, v_sale_orders);
    END IF;

    -- Holds that outlive their order, because somebody has extended them: their units go back first, as everywhere. Whoever
    -- pays, cancels or sweeps in between wins: then this part is undone as a whole, and left to the next call.
    BEGIN
        FOR v_alive IN
            SELECT d.* FROM (
                SELECT o.account_id, o.id, o.sale_id FROM shop.order AS o
                WHERE o.status = 'pending_payment' AND o.expires_at <= v_now
                  AND EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = o.id AND h.state = 'held' OFFSET 0)
                  AND NOT EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = o.id AND h.state IN ('pinned', 'confirmed') OFFSET 0)
                ORDER BY o.expires_at LIMIT greatest(p_limit - v_cancelled, 0)) AS d
            ORDER BY d.sale_id, d.account_id, d.id
        LOOP
            IF v_alive.sale_id IS NOT NULL THEN
                PERFORM shop.orders_ended(ARRAY[v_alive.account_id], ARRAY[v_alive.id]);
            END IF;
            PERFORM holdfast.release(v_alive.id);
            PERFORM FROM shop.order AS o
            WHERE o.account_id = v_alive.account_id AND o.id = v_alive.id AND o.status = 'pending_payment' AND o.expires_at <= v_now
            FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RAISE serialization_failure;
            END IF;
            PERFORM shop.change_order(v_alive.account_id, v_alive.id, 'expire');
            v_released := v_released + 1;
        END LOOP;
    EXCEPTION WHEN SQLSTATE 'HF006' OR SQLSTATE 'HF007' OR SQLSTATE 'HF008' OR SQLSTATE 'HF009' OR serialization_failure OR deadlock_detected OR lock_not_available THEN
        v_released := 0;
    END;
    RETURN v_cancelled + v_released;
END $$;
COMMENT ON FUNCTION shop.cancel_expired_orders(integer) IS
'Writes down that orders were cancelled by the clock, up to p_limit of them, those due longest first, and releases what they still hold; a thousand of them are one event (order_cancelled). One whose units are pinned or sold is left alone: its money is on its way. Waits for nobody who has locked an order; may be called by several at once. Returns their number.';

COMMIT;
