-- Stock: views and reports. Views read with their owner's rights, so SELECT on a view is all a
-- report role needs. Functions have bodies bound when they are made (BEGIN ATOMIC), so that nothing made
-- later can take the place of what they name.

-- The clock is read once for each query: a unit must not be held by one glance and available by the next.
CREATE VIEW holdfast.holds AS
WITH clock AS MATERIALIZED (SELECT pg_catalog.clock_timestamp() AS now)
SELECT h.owner, h.sku, h.quantity, h.returned,
       CASE h.state WHEN 'c' THEN 'confirmed' WHEN 'r' THEN 'released' WHEN 'x' THEN 'expired'
            ELSE CASE WHEN h.expires_at = 'infinity' THEN 'pinned'
                      WHEN h.expires_at <= clock.now THEN 'expired'
                      ELSE 'held' END END AS state,
       h.held_at, h.expires_at,
       CASE WHEN h.state <> 'h' THEN h.ended_at
            WHEN h.expires_at <= clock.now THEN h.expires_at END AS ended_at
FROM _holdfast.hold h CROSS JOIN clock;
COMMENT ON VIEW holdfast.holds IS 'Every hold: held, pinned, confirmed, released or expired. A hold is expired from the instant of its deadline, tidied up or not.';

CREATE VIEW holdfast.movements AS
SELECT m.id, m.sku,
       CASE m.kind WHEN 'r' THEN 'received' WHEN 'a' THEN 'adjusted' WHEN 's' THEN 'sold' ELSE 'given back' END AS kind,
       m.quantity, m.owner, m.reference, m.moved_at
FROM _holdfast.stock_movement m;
COMMENT ON VIEW holdfast.movements IS 'The stock ledger: units received, adjusted, sold (negative) and given back. Per SKU its sum is available + held.';

CREATE VIEW holdfast.stock AS
WITH clock AS MATERIALIZED (SELECT pg_catalog.clock_timestamp() AS now)
SELECT l.sku, l.available + COALESCE(h.due, 0)::bigint AS available, COALESCE(h.held, 0)::bigint AS held,
       COALESCE(m.sold, 0)::bigint AS sold, COALESCE(m.received, 0)::bigint AS received, l.lanes
FROM (SELECT sku, pg_catalog.sum(available)::bigint AS available, pg_catalog.count(*)::integer AS lanes
      FROM _holdfast.stock_lane GROUP BY sku) l
CROSS JOIN clock
LEFT JOIN LATERAL (
    SELECT pg_catalog.sum(quantity) FILTER (WHERE expires_at > clock.now) AS held,
           pg_catalog.sum(quantity) FILTER (WHERE expires_at <= clock.now) AS due
    FROM _holdfast.hold WHERE hold.sku = l.sku AND state = 'h') h ON true
LEFT JOIN LATERAL (
    SELECT -pg_catalog.sum(quantity) FILTER (WHERE kind IN ('s', 'b')) AS sold,
           pg_catalog.sum(quantity) FILTER (WHERE kind IN ('r', 'a')) AS received
    FROM _holdfast.stock_movement WHERE stock_movement.sku = l.sku) m ON true;
COMMENT ON VIEW holdfast.stock IS 'Units of every SKU: received (with adjustments) = available + held + sold (less what was given back). Expired holds count as available.';

-- Lane locks are advisory locks of a class of their own: objsubid is 16384 + lane, which
-- pg_advisory_lock() and its kin, that use 1 and 2, can never meet (lane.h).
CREATE VIEW holdfast.lock_waits AS
SELECT w.sku, w.lane, w.pid, pg_catalog.clock_timestamp() - w.waitstart AS waiting,
       b.pid AS blocked_by, a.usename AS blocked_by_user, a.application_name AS blocked_by_application,
       a.state AS blocked_by_state, a.query AS blocked_by_query,
       pg_catalog.clock_timestamp() - a.xact_start AS blocked_by_for
FROM (SELECT (classid::bigint << 32) | objid::bigint AS sku,
             NULLIF(objsubid - 16384, 16383)::integer AS lane, pid, waitstart
      FROM pg_catalog.pg_locks
      WHERE locktype = 'advisory' AND objsubid >= 16384 AND NOT granted
        AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) w
CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b (pid)
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid;
COMMENT ON VIEW holdfast.lock_waits IS 'Who waits for units of which SKU, for how long, and who holds them. lane is NULL for the lock on a SKU''s set of lanes. A blocking pid of 0 is a prepared transaction.';

CREATE FUNCTION holdfast.expiring(p_within interval) RETURNS SETOF holdfast.holds
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT h.* FROM holdfast.holds h
        WHERE h.state = 'held' AND h.expires_at <= pg_catalog.clock_timestamp() + p_within
        ORDER BY h.expires_at, h.owner, h.sku;
    END;
COMMENT ON FUNCTION holdfast.expiring(interval) IS 'Holds whose deadline falls within p_within from now, soonest first. Definer''s rights: it reads the storage on behalf of whoever may execute it.';

CREATE FUNCTION holdfast.purge_holds(p_older_than interval, p_limit integer DEFAULT 10000) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
          WITH purged AS (
              DELETE FROM _holdfast.hold h
              USING (SELECT owner, sku FROM _holdfast.hold
                     WHERE state IN ('r', 'x') AND ended_at < pg_catalog.clock_timestamp() - p_older_than
                     LIMIT p_limit FOR UPDATE SKIP LOCKED) old
              WHERE h.owner = old.owner AND h.sku = old.sku RETURNING 1)
          SELECT pg_catalog.count(*) FROM purged;
    END;
COMMENT ON FUNCTION holdfast.purge_holds(interval, integer) IS 'Deletes up to p_limit holds that were released or expired longer ago than p_older_than and returns their number. Confirmed holds are the record of sales and stay. After it, such an owner is unknown rather than ended. Definer''s rights: it deletes from the storage on behalf of whoever may execute it.';

CREATE FUNCTION holdfast.verify() RETURNS TABLE (invariant text, sku bigint, owner uuid, detail text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION holdfast.verify() IS 'The rows of every broken invariant; none when all is well. Reads all stock in one snapshot; safe under load. Definer''s rights: it reads the storage on behalf of whoever may execute it.';
