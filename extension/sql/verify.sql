-- Verification: the invariants, written down once more, as queries that look for what breaks them.
--
-- The tables guard themselves; this is for what no constraint can say, and for the day somebody has
-- written past the constraints. Both halves are STABLE, so all is read in the caller's snapshot.

CREATE FUNCTION _holdfast.verify_stock() RETURNS TABLE (invariant text, sku bigint, owner uuid, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
WITH lane AS (SELECT l.sku, sum(l.available) AS units, bool_or(l.lane = 0) AS has_first FROM _holdfast.stock_lane l GROUP BY l.sku),
     held AS (SELECT h.sku,
                     sum(h.quantity) FILTER (WHERE h.state = 'h') AS units,
                     sum(h.quantity) FILTER (WHERE h.state = 'c') AS sold,
                     sum(h.returned) AS returned
              FROM _holdfast.hold h GROUP BY h.sku),
     moved AS (SELECT m.sku, sum(m.quantity) AS units,
                      -sum(m.quantity) FILTER (WHERE m.kind = 's') AS sold,
                      sum(m.quantity) FILTER (WHERE m.kind = 'b') AS returned
               FROM _holdfast.stock_movement m GROUP BY m.sku),
     balance AS (SELECT sku, COALESCE(l.units, 0) AS available, COALESCE(h.units, 0) AS held, COALESCE(m.units, 0) AS moved,
                        COALESCE(h.sold, 0) AS hold_sold, COALESCE(m.sold, 0) AS moved_sold,
                        COALESCE(h.returned, 0) AS hold_returned, COALESCE(m.returned, 0) AS moved_returned,
                        COALESCE(l.has_first, false) AS has_first
                 FROM lane l FULL JOIN held h USING (sku) FULL JOIN moved m USING (sku))
SELECT 'received = available + held + sold', b.sku, NULL::uuid,
       format('ledger %s, available %s, held %s', b.moved, b.available, b.held)
FROM balance b WHERE b.moved <> b.available + b.held
UNION ALL
SELECT 'sold units are confirmed holds', b.sku, NULL, format('ledger %s, holds %s', b.moved_sold, b.hold_sold)
FROM balance b WHERE b.moved_sold <> b.hold_sold
UNION ALL
SELECT 'returned units were sold', b.sku, NULL, format('ledger %s, holds %s', b.moved_returned, b.hold_returned)
FROM balance b WHERE b.moved_returned <> b.hold_returned
UNION ALL
SELECT 'every SKU has lane 0', b.sku, NULL, format('available %s, held %s, ledger %s', b.available, b.held, b.moved)
FROM balance b WHERE NOT b.has_first
UNION ALL
SELECT 'no lane is below zero', l.sku, NULL, format('lane %s, available %s', l.lane, l.available)
FROM _holdfast.stock_lane l WHERE l.available < 0
UNION ALL
SELECT 'a hold ends exactly once, and not before it began', h.sku, h.owner,
       format('state %s, quantity %s, returned %s, held %s, ended %s', h.state, h.quantity, h.returned, h.held_at, h.ended_at)
FROM _holdfast.hold h
WHERE (h.state = 'h') <> (h.ended_at = 'infinity') OR h.ended_at < h.held_at OR h.quantity <= 0
   OR h.returned NOT BETWEEN 0 AND h.quantity OR (h.returned > 0 AND h.state <> 'c')
UNION ALL
SELECT 'a hold expires at its deadline', h.sku, h.owner, format('deadline %s, ended %s', h.expires_at, h.ended_at)
FROM _holdfast.hold h WHERE h.state = 'x' AND h.ended_at <> h.expires_at
UNION ALL
SELECT 'no hold is confirmed after its deadline', h.sku, h.owner, format('deadline %s, ended %s', h.expires_at, h.ended_at)
FROM _holdfast.hold h WHERE h.state = 'c' AND h.ended_at > h.expires_at;
END;
COMMENT ON FUNCTION _holdfast.verify_stock() IS 'The rows of every broken invariant of stock: that half of holdfast.verify().';

CREATE FUNCTION _holdfast.verify_payments() RETURNS TABLE (invariant text, owner uuid, payment uuid, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
WITH booked AS (SELECT e.account_id, e.payment, sum(e.amount) AS total, min(e.currency) AS currency, max(e.currency) AS other_currency,
                       COALESCE(sum(e.amount) FILTER (WHERE e.book = 'p'), 0) AS provider,
                       COALESCE(sum(e.amount) FILTER (WHERE e.book = 'd'), 0) AS due
                FROM _holdfast.ledger_entry e GROUP BY e.account_id, e.payment),
     called AS (SELECT c.account_id, c.payment, count(*) AS calls, max(c.n) AS last,
                       count(*) FILTER (WHERE c.kind IN ('a', 's', 'k')) AS charges,
                       count(*) FILTER (WHERE c.kind IN ('a', 's', 'k') AND c.state IN ('d', 'u')) AS open,
                       count(*) FILTER (WHERE c.kind = 'a' AND c.state = 'd') AS authorizing,
                       count(*) FILTER (WHERE c.kind IN ('s', 'k') AND c.state = 'd') AS capturing,
                       count(*) FILTER (WHERE c.kind IN ('a', 's', 'k') AND c.state = 'u') AS unknown,
                       COALESCE(sum(c.amount) FILTER (WHERE c.kind IN ('s', 'k') AND c.state = 's'), 0) AS captured,
                       COALESCE(sum(c.amount) FILTER (WHERE c.kind = 'r' AND c.state IN ('d', 'u')), 0) AS refunding,
                       COALESCE(sum(c.amount) FILTER (WHERE c.kind = 'r' AND c.state = 's'), 0) AS refunded
                FROM _holdfast.provider_call c GROUP BY c.account_id, c.payment),
     step AS (SELECT e.account_id, e.payment, e.n, e.from_state, e.to_state, e.input,
                     lag(e.to_state, 1, 'n') OVER (PARTITION BY e.account_id, e.payment ORDER BY e.n) AS was
              FROM _holdfast.payment_event e),
     told AS (SELECT e.account_id, e.payment, count(*) AS steps, max(e.n) AS last, bool_or(e.to_state = 'b') AS came_too_late
              FROM _holdfast.payment_event e GROUP BY e.account_id, e.payment),
     legal AS MATERIALIZED (SELECT f.code AS from_state, t.input, s.code AS to_state
                            FROM holdfast.payment_transitions() t
                            JOIN _holdfast.payment_state f ON f.name = t.state
                            JOIN _holdfast.payment_state s ON s.name = t.next_state),
     whole AS (SELECT k.account_id, k.payment, p.id IS NOT NULL AS is_known, p.owner, p.state, s.name, p.currency,
                      p.captured, p.refunding, p.refunded, p.steps, p.calls,
                      l.to_state AS told_state, COALESCE(t.steps, 0) AS steps_taken, COALESCE(t.last, 0) AS last_step,
                      COALESCE(t.came_too_late, false) AS came_too_late,
                      COALESCE(b.total, 0) AS total, COALESCE(b.provider, 0) AS provider, COALESCE(b.due, 0) AS due,
                      b.currency AS booked_currency, b.other_currency,
                      COALESCE(c.calls, 0) AS calls_made, COALESCE(c.last, 0) AS last_call, COALESCE(c.charges, 0) AS charges, COALESCE(c.open, 0) AS open,
                      COALESCE(c.authorizing, 0) AS authorizing, COALESCE(c.capturing, 0) AS capturing, COALESCE(c.unknown, 0) AS unknown,
                      COALESCE(c.captured, 0) AS calls_captured, COALESCE(c.refunding, 0) AS calls_refunding, COALESCE(c.refunded, 0) AS calls_refunded
               FROM (SELECT q.*, q.id AS payment FROM _holdfast.payment q) p
               FULL JOIN booked b USING (account_id, payment)
               FULL JOIN called c USING (account_id, payment)
               FULL JOIN told t USING (account_id, payment) AS k
               LEFT JOIN _holdfast.payment_event l ON l.account_id = p.account_id AND l.payment = p.id AND l.n = p.steps
               LEFT JOIN _holdfast.payment_state s ON s.code = p.state)
SELECT 'ledger, history and calls are those of a payment', w.owner, w.payment,
       format('account %s: %s steps, %s calls, provider book %s', w.account_id, w.steps_taken, w.calls_made, w.provider)
FROM whole w WHERE NOT w.is_known
UNION ALL
SELECT 'the ledger of a payment sums to zero', w.owner, w.payment, format('account %s: sum %s', w.account_id, w.total)
FROM whole w WHERE w.total <> 0
UNION ALL
SELECT 'the ledger is in the payment''s currency', w.owner, w.payment,
       format('account %s: payment %s, ledger %s and %s', w.account_id, w.currency, w.booked_currency, w.other_currency)
FROM whole w WHERE w.booked_currency <> w.currency OR w.other_currency <> w.currency
UNION ALL
SELECT 'money at the provider = captured - refunded', w.owner, w.payment,
       format('account %s: ledger %s, captured %s, refunded %s', w.account_id, w.provider, w.captured, w.refunded)
FROM whole w WHERE w.provider <> w.captured - w.refunded
UNION ALL
-- Money that came too late is due from the moment it came, whether a refund is under way or not.
SELECT 'refunds due = refunds under way', w.owner, w.payment,
       format('account %s: ledger %s, state %s, captured %s, refunding %s, refunded %s', w.account_id, -w.due, w.name, w.captured, w.refunding, w.refunded)
FROM whole w WHERE -w.due <> CASE w.state WHEN 'b' THEN w.captured - w.refunded ELSE w.refunding END
UNION ALL
SELECT 'captured = calls that captured', w.owner, w.payment, format('account %s: payment %s, calls %s', w.account_id, w.captured, w.calls_captured)
FROM whole w WHERE w.captured <> w.calls_captured
UNION ALL
SELECT 'refunding = refund calls that are open', w.owner, w.payment, format('account %s: payment %s, calls %s', w.account_id, w.refunding, w.calls_refunding)
FROM whole w WHERE w.refunding <> w.calls_refunding
UNION ALL
SELECT 'refunded = refund calls that succeeded', w.owner, w.payment, format('account %s: payment %s, calls %s', w.account_id, w.refunded, w.calls_refunded)
FROM whole w WHERE w.refunded <> w.calls_refunded
UNION ALL
SELECT 'the state agrees with the amounts', w.owner, w.payment,
       format('account %s: state %s, captured %s, refunded %s', w.account_id, w.name, w.captured, w.refunded)
FROM whole w
WHERE w.is_known
  AND NOT CASE w.state WHEN 'c' THEN w.captured > 0 AND w.refunded = 0
                       WHEN 'q' THEN w.refunded > 0 AND w.refunded < w.captured
                       WHEN 'r' THEN w.captured > 0 AND w.refunded = w.captured
                       WHEN 'b' THEN w.refunded < w.captured
                       ELSE w.captured = 0 END
UNION ALL
-- A payment that was voided while its provider was being asked waits for the answer no longer.
SELECT 'the state agrees with the calls', w.owner, w.payment,
       format('account %s: state %s, %s charges, open: %s to authorize, %s to capture, %s unknown', w.account_id, w.name, w.charges,
              w.authorizing, w.capturing, w.unknown)
FROM whole w
WHERE w.is_known
  AND NOT CASE w.state WHEN 'n' THEN w.charges = 0
                       WHEN 'g' THEN w.authorizing = 1 AND w.open = 1
                       WHEN 'p' THEN w.capturing = 1 AND w.open = 1
                       WHEN 'u' THEN w.unknown = 1 AND w.open = 1
                       WHEN 'v' THEN w.open <= 1
                       ELSE w.charges > 0 AND w.open = 0 END
UNION ALL
SELECT 'calls are numbered without gaps', w.owner, w.payment,
       format('account %s: payment %s, there are %s, the last is %s', w.account_id, w.calls, w.calls_made, w.last_call)
FROM whole w WHERE w.calls <> w.calls_made OR w.calls <> w.last_call
UNION ALL
SELECT 'history is numbered without gaps and ends in the state', w.owner, w.payment,
       format('account %s: payment %s and %s, there are %s, the last is %s and %s', w.account_id, w.steps, w.state, w.steps_taken, w.last_step, w.told_state)
FROM whole w WHERE w.steps <> w.steps_taken OR w.steps <> w.last_step OR w.state <> COALESCE(w.told_state, 'n')
UNION ALL
SELECT 'a captured payment has sold the owner''s units', w.owner, w.payment, format('account %s: state %s, no confirmed hold', w.account_id, w.name)
FROM whole w
WHERE w.owner IS NOT NULL AND w.state IN ('c', 'q', 'r') AND NOT w.came_too_late
  AND NOT EXISTS (SELECT FROM _holdfast.hold h WHERE h.owner = w.owner AND h.state = 'c')
UNION ALL
SELECT 'every step is a legal transition from where the last one led', NULL, e.payment,
       format('account %s: step %s, %s %s %s after %s', e.account_id, e.n, e.from_state, e.input, e.to_state, e.was)
FROM step e LEFT JOIN legal l ON l.from_state = e.from_state AND l.input = e.input AND l.to_state = e.to_state
WHERE l.input IS NULL OR e.from_state <> e.was
UNION ALL
SELECT 'a call is settled when its outcome is known', NULL, c.payment,
       format('account %s: call %s, state %s, settled %s', c.account_id, c.n, c.state, c.settled_at)
FROM _holdfast.provider_call c WHERE (c.state IN ('d', 'u')) <> (c.settled_at = 'infinity')
UNION ALL
SELECT 'an owner has one live payment', p.owner, NULL, format('account %s: %s payments', p.account_id, count(*))
FROM _holdfast.payment p WHERE p.live
GROUP BY p.account_id, p.owner HAVING count(*) > 1
UNION ALL
-- Holds that were made later are not this call's; those that the caller has released are his business.
SELECT 'holds stay pinned while a provider call is open', h.owner, p.id,
       format('account %s: call %s, hold of SKU %s %s', p.account_id, c.n, h.sku,
              CASE h.state WHEN 'h' THEN 'has the deadline ' || h.expires_at ELSE 'expired at ' || h.ended_at END)
FROM _holdfast.payment p
JOIN _holdfast.provider_call c ON c.account_id = p.account_id AND c.payment = p.id AND c.kind IN ('a', 's', 'k') AND c.state IN ('d', 'u')
JOIN _holdfast.hold h ON h.owner = p.owner AND h.held_at <= c.created_at
WHERE p.state IN ('g', 'p', 'u')
  AND CASE h.state WHEN 'h' THEN h.expires_at <> 'infinity' WHEN 'x' THEN h.ended_at > c.created_at ELSE false END;
END;
COMMENT ON FUNCTION _holdfast.verify_payments() IS 'The rows of every broken invariant of payments: that half of holdfast.verify().';

CREATE FUNCTION holdfast.verify() RETURNS TABLE (invariant text, sku bigint, owner uuid, payment uuid, detail text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT s.invariant, s.sku, s.owner, NULL::uuid, s.detail FROM _holdfast.verify_stock() AS s
        UNION ALL
        SELECT p.invariant, NULL, p.owner, p.payment, p.detail FROM _holdfast.verify_payments() AS p;
    END;
COMMENT ON FUNCTION holdfast.verify() IS 'The rows of every broken invariant; none when all is well. Reads all stock and all payments in one snapshot; safe under load. Definer''s rights: it reads the storage on behalf of whoever may execute it.';
