-- Deploy shop:order_payment to pg
-- requires: order_status
--
-- Money for orders. The extension has the payments; here they meet the orders: payment_changed() hears of every change of
-- a payment in the transaction that makes it, whoever makes it, and so an order is paid when its money is there.
--
-- expires_at of an order that waits follows its holds: infinity while they are pinned for a payment, their deadline when
-- it has been declined or given up, and now if they are gone.
--
-- Locks: payment, holds, order, as order_status says. A refund locks its payment first and the lines of the order last.

BEGIN;
SET LOCAL ROLE shop_owner;

-- Whose units were sold with the money is not cancelled: the holds have the last word. It takes somebody who pins holds
-- behind the back of pay_order() to get there.
INSERT INTO shop.order_transition (from_status, action, to_status, who) VALUES ('cancelled', 'pay', 'paid', 'shop');

CREATE FUNCTION shop.payment_changed(p_account bigint, p_payment uuid, p_owner uuid, p_old_state text, p_new_state text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_order shop.order;
    v_deadline timestamptz;
BEGIN
    SELECT o.* INTO v_order FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_owner;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO shop.order_payment (account_id, order_id, payment_id) VALUES (p_account, p_owner, p_payment) ON CONFLICT DO NOTHING;
    -- What another channel has given back, it has told of.
    IF p_new_state IN ('partially_refunded', 'refunded') AND v_order.channel IS NULL THEN
        PERFORM shop.enqueue('payment_refunded', jsonb_build_object('account_id', p_account::text, 'order_id', p_owner, 'payment_id', p_payment, 'refunded', p.refunded))
        FROM holdfast.payments AS p WHERE p.account_id = p_account AND p.payment = p_payment;
    END IF;
    IF v_order.status NOT IN ('pending_payment', 'cancelled') OR p_new_state = p_old_state THEN
        RETURN;
    END IF;

    SELECT o.* INTO v_order FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_owner FOR NO KEY UPDATE;
    IF p_new_state = 'captured' THEN
        IF EXISTS (SELECT FROM shop.order_transition AS t WHERE t.from_status = v_order.status AND t.action = 'pay')
           AND EXISTS (SELECT FROM holdfast.payments AS p WHERE p.account_id = p_account AND p.payment = p_payment
                       AND p.captured >= v_order.total AND p.currency = v_order.currency) THEN
            PERFORM shop.change_order(p_account, p_owner, 'pay', NULL, 'payment ' || p_payment);
            PERFORM shop.enqueue('payment_received', jsonb_build_object('account_id', p_account::text, 'order_id', p_owner, 'payment_id', p_payment));
        END IF;
    ELSE
        -- What was promised when the order was placed stands, whatever a declined payment has left.
        IF v_order.pay_by > clock_timestamp() AND v_order.pay_by < 'infinity'
           AND EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = p_owner AND h.state = 'held' AND h.expires_at < v_order.pay_by OFFSET 0) THEN
            BEGIN
                PERFORM holdfast.extend(p_owner, v_order.pay_by - clock_timestamp());
            EXCEPTION WHEN OTHERS THEN
                NULL; -- their lifetime is over, or they are gone: the deadline is what it is
            END;
        END IF;
        SELECT coalesce(min(h.expires_at), clock_timestamp()) INTO v_deadline
        FROM holdfast.holds AS h WHERE h.owner = p_owner AND h.state IN ('held', 'pinned');
        UPDATE shop.order AS o SET expires_at = v_deadline, version = o.version + 1, changed_at = clock_timestamp()
        WHERE o.account_id = p_account AND o.id = p_owner AND o.status = 'pending_payment'
          AND o.expires_at <> v_deadline AND (o.expires_at > clock_timestamp() OR v_deadline > clock_timestamp());
    END IF;
END $$;
COMMENT ON FUNCTION shop.payment_changed(bigint, uuid, uuid, text, text) IS
'Listens to payments (holdfast.listen_payments()): marks their order as paid when all of its money is captured, and keeps its deadline that of its holds; what is refunded is an event (payment_refunded). Payments of owners that are no orders are none of its business. Raises nothing of its own. Definer''s rights: it is called by whoever records what a provider has said.';

CREATE FUNCTION shop.pay_order(p_account bigint, p_order uuid, p_key text, p_provider text, p_method text,
                               OUT payment uuid, OUT state text, OUT replayed boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_order shop.order;
    v_status text;
BEGIN
    SELECT o.* INTO v_order FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_order;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF p_provider = 'external' THEN
        PERFORM shop.refuse('HF032', '/provider', 'external is for money that was taken elsewhere');
    END IF;
    SELECT p.payment, p.state, p.replayed INTO payment, state, replayed
    FROM holdfast.create_payment(p_account, p_key, v_order.total, v_order.currency, p_provider, p_method, p_order, 'capture') AS p;
    IF replayed THEN
        RETURN;
    END IF;
    -- Each payment that is declined leaves its holds holdfast.ttl_default more: not without end.
    IF (SELECT count(*) FROM shop.order_payment AS p WHERE p.account_id = p_account AND p.order_id = p_order) >= 5 THEN
        PERFORM shop.refuse('HS308', NULL, 'at most 5 payments');
    END IF;
    INSERT INTO shop.order_payment (account_id, order_id, payment_id) VALUES (p_account, p_order, payment);
    UPDATE shop.order AS o SET expires_at = 'infinity', version = o.version + 1, changed_at = clock_timestamp()
    WHERE o.account_id = p_account AND o.id = p_order AND o.status = 'pending_payment' AND o.expires_at > v_now;
    IF NOT FOUND THEN
        SELECT shop.effective_status(o.status, o.expires_at) INTO v_status FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_order;
        PERFORM shop.refuse('HS305', NULL, format('the order is %s', v_status));
    END IF;
END $$;
COMMENT ON FUNCTION shop.pay_order(bigint, uuid, text, text, text) IS
'Asks a provider for the total of an order; its units stay until he has answered. Once for each idempotency key. Errors: HS004 no such order, HS305 not waiting for payment, HS308 the sixth payment, HF006 to HF009 its units are gone, HF019, HF021, HF022 key, HF031 another payment is under way or made, HF032 provider, HF033 method.';

CREATE FUNCTION shop.return_order(p_account bigint, p_order uuid, p_key text, p_lines integer[] DEFAULT NULL, p_quantities bigint[] DEFAULT NULL,
                                  p_refund bigint DEFAULT NULL, p_actor bigint DEFAULT NULL, p_reason text DEFAULT NULL, p_at timestamptz DEFAULT NULL,
                                  OUT payment uuid, OUT call integer, OUT amount bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_order shop.order;
    v_line record;
    v_left bigint;
    v_changed integer;
    v_stocks bigint[] := '{}'::bigint[];
    v_returned bigint[] := '{}'::bigint[];
BEGIN
    SELECT o.* INTO v_order FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_order;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF NOT EXISTS (SELECT FROM shop.order_transition AS t WHERE t.from_status = v_order.status AND t.action = 'return') THEN
        PERFORM shop.refuse('HS305', NULL, format('the order is %s', shop.effective_status(v_order.status, v_order.expires_at)));
    END IF;
    -- Without lines: all that has not come back yet.
    IF p_lines IS NULL THEN
        SELECT array_agg(l.line ORDER BY l.line), array_agg(l.quantity - l.returned ORDER BY l.line) INTO p_lines, p_quantities
        FROM shop.order_line AS l WHERE l.account_id = p_account AND l.order_id = p_order AND l.returned < l.quantity;
        IF p_lines IS NULL THEN
            PERFORM shop.refuse('HS307');
        END IF;
    END IF;

    amount := 0;
    FOR v_line IN
        SELECT w.n, l.line, w.quantity, l.unit_price, l.quantity - l.returned AS left
        FROM (SELECT u.line, sum(u.quantity)::bigint AS quantity, min(u.n) - 1 AS n
              FROM unnest(p_lines, p_quantities) WITH ORDINALITY AS u (line, quantity, n) GROUP BY u.line) AS w
        LEFT JOIN shop.order_line AS l ON l.account_id = p_account AND l.order_id = p_order AND l.line = w.line
        ORDER BY w.n
    LOOP
        IF v_line.line IS NULL THEN
            PERFORM shop.refuse('HS015', format('/items/%s/line', v_line.n), 'the order has no such line');
        ELSIF v_line.quantity > v_line.left THEN
            PERFORM shop.refuse('HS307', format('/items/%s/quantity', v_line.n), 'left: ' || v_line.left);
        END IF;
        amount := amount + v_line.quantity * v_line.unit_price;
    END LOOP;

    -- Money first, because a payment is locked before all else. What was refunded without goods is not refunded again.
    SELECT p.payment, p.captured - p.refunding - p.refunded INTO payment, v_left
    FROM shop.order_payment AS op JOIN holdfast.payments AS p ON p.account_id = op.account_id AND p.payment = op.payment_id
    WHERE op.account_id = p_account AND op.order_id = p_order AND p.state IN ('captured', 'partially_refunded');
    amount := coalesce(p_refund, least(amount, coalesce(v_left, 0)));
    IF amount > 0 THEN
        IF payment IS NULL THEN
            PERFORM shop.refuse('HF030', NULL, 'nothing was captured, or all of it is refunded');
        END IF;
        SELECT r.call INTO call FROM holdfast.refund_payment(p_account, payment, p_key, amount, v_order.currency, p_reason) AS r;
    END IF;

    FOR v_line IN
        SELECT l.stock_id, l.sku_id, sum(u.quantity)::bigint AS quantity FROM unnest(p_lines, p_quantities) AS u (line, quantity)
        JOIN shop.order_line AS l ON l.account_id = p_account AND l.order_id = p_order AND l.line = u.line
        GROUP BY l.stock_id, l.sku_id ORDER BY l.stock_id
    LOOP
        PERFORM holdfast.give_back(p_order, v_line.stock_id, v_line.quantity, p_reason);
        IF v_line.stock_id <> v_line.sku_id THEN
            v_stocks := v_stocks || v_line.stock_id;
            v_returned := v_returned || v_line.quantity;
        END IF;
    END LOOP;
    IF v_stocks <> '{}' THEN
        PERFORM shop.units_returned(v_stocks, v_returned);
    END IF;

    PERFORM FROM shop.order AS o WHERE o.account_id = p_account AND o.id = p_order FOR NO KEY UPDATE;
    UPDATE shop.order_line AS l SET returned = l.returned + w.quantity
    FROM (SELECT u.line, sum(u.quantity)::bigint AS quantity FROM unnest(p_lines, p_quantities) AS u (line, quantity) GROUP BY u.line) AS w
    WHERE l.account_id = p_account AND l.order_id = p_order AND l.line = w.line AND l.returned + w.quantity <= l.quantity;
    GET DIAGNOSTICS v_changed = ROW_COUNT;
    IF v_changed < (SELECT count(DISTINCT u.line) FROM unnest(p_lines) AS u (line)) THEN
        PERFORM shop.refuse('HS307');
    END IF;
    IF EXISTS (SELECT FROM shop.order_line AS l WHERE l.account_id = p_account AND l.order_id = p_order AND l.returned < l.quantity) THEN
        UPDATE shop.order AS o SET version = o.version + 1, changed_at = clock_timestamp()
        WHERE o.account_id = p_account AND o.id = p_order RETURNING o.* INTO v_order;
        INSERT INTO shop.order_event (account_id, order_id, n, actor_id, happened_at, from_status, to_status, action, reason)
        VALUES (p_account, p_order, v_order.version, p_actor, coalesce(p_at, clock_timestamp()), v_order.status, v_order.status, 'return', p_reason);
    ELSE
        v_order := shop.change_order(p_account, p_order, 'return', p_actor, p_reason, NULL, p_at);
    END IF;
END $$;
COMMENT ON FUNCTION shop.return_order(bigint, uuid, text, integer[], bigint[], bigint, bigint, text, timestamptz) IS
'Takes units of an order back: p_quantities of p_lines, or all that is left. They return to stock, and their money to the buyer: p_refund minor units, or what the lines cost as far as it has not been refunded yet; 0: goods only. The order is returned when all of it is. call: the number of the refund of payment, NULL if nothing was to be refunded. p_key names the refund. Errors: HS004 no such order, HS015 no such line, HS305 not paid, HS307 more than was bought, HF019, HF021, HF022 key, HF030 more than is left of the money.';

RESET ROLE;
SELECT holdfast.listen_payments('shop.payment_changed');

-- The worker makes the calls that payments need.
GRANT USAGE ON SCHEMA holdfast TO shop_worker;
GRANT EXECUTE ON FUNCTION holdfast.claim_calls(text, integer, interval), holdfast.record_results(bigint[], uuid[], integer[], text[], text[], text[]),
    holdfast.simulate_provider(integer) TO shop_worker;

COMMIT;
