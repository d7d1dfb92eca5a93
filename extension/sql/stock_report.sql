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

CREATE FUNCTION holdfast.next_expiry(p_sku bigint, p_after timestamptz) RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT h.expires_at FROM _holdfast.hold h
        WHERE h.sku = p_sku AND h.state = 'h' AND h.expires_at > p_after AND h.expires_at < 'infinity'
        ORDER BY h.expires_at LIMIT 1;
    END;
COMMENT ON FUNCTION holdfast.next_expiry(bigint, timestamptz) IS 'The first deadline after p_after of units of a SKU that are held and not pinned: when, by the clock alone, available() becomes more. NULL if there is none. Definer''s rights: it reads the storage on behalf of whoever may execute it.';

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
