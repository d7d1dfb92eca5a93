-- Stock: tables and functions.
--
-- Units of a SKU are available, held or sold. Available units lie in lanes (slices with a row each,
-- so that concurrent buyers do not queue on one row); held units are live rows of hold; every unit
-- that enters or leaves the house is a line of stock_movement. At any snapshot, for every SKU:
--
--     sum(stock_movement.quantity) = sum(stock_lane.available) + sum(live hold.quantity)
--
-- The CHECKs below and the conditional update in lane.c are the guarantee against overselling; the
-- lane lock is only the queue in front of them.

CREATE TABLE _holdfast.stock_lane (
    sku          bigint      NOT NULL,
    lane         smallint    NOT NULL,
    available    bigint      NOT NULL,
    contended_at timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT stock_lane_pkey PRIMARY KEY (sku, lane),
    CONSTRAINT stock_lane_available_check CHECK (available >= 0)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.5);
-- One entry for each SKU that has more than lane 0: what the reaper looks through to merge lanes.
CREATE INDEX stock_lane_spread_idx ON _holdfast.stock_lane (sku) WHERE lane = 1;

COMMENT ON TABLE _holdfast.stock_lane IS 'Available units of a SKU, in slices. Lane 0 exists for every known SKU; the others come and go with contention.';
COMMENT ON COLUMN _holdfast.stock_lane.available IS 'Units that can be held.';
COMMENT ON COLUMN _holdfast.stock_lane.contended_at IS 'When a buyer last met another one at this lane. Calm lanes are merged.';

-- By its name it comes before stock_lane in a dump, so that a reaper that looks at a half-restored database merges no lane
-- that is to stay.
CREATE TABLE _holdfast.lane_floor (
    sku   bigint   NOT NULL,
    lanes smallint NOT NULL,
    CONSTRAINT lane_floor_pkey PRIMARY KEY (sku),
    CONSTRAINT lane_floor_lanes_check CHECK (lanes > 1)
);
COMMENT ON TABLE _holdfast.lane_floor IS 'SKUs whose lanes are not merged below a number, by holdfast.set_lanes().';

-- state: h held, c confirmed (sold), r released, x expired. A live hold is one in state h whose
-- deadline has not passed; a pinned hold is one whose deadline is infinity.
CREATE TABLE _holdfast.hold (
    owner      uuid        NOT NULL,
    sku        bigint      NOT NULL,
    quantity   bigint      NOT NULL,
    returned   bigint      NOT NULL DEFAULT 0,
    held_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL DEFAULT 'infinity',
    state      "char"      NOT NULL DEFAULT 'h',
    CONSTRAINT hold_pkey PRIMARY KEY (owner, sku),
    CONSTRAINT hold_quantity_check CHECK (quantity > 0 AND returned >= 0 AND returned <= quantity),
    CONSTRAINT hold_state_check CHECK (state IN ('h', 'c', 'r', 'x'))
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
-- The deadlines of held units by SKU: how reserve() and available() find what has expired without
-- waiting for anybody to tidy up, and how the reaper finds its work.
CREATE INDEX hold_due_idx ON _holdfast.hold (sku, expires_at) WHERE state = 'h';

COMMENT ON TABLE _holdfast.hold IS 'Units set aside for an owner until a deadline. (owner, sku) is the hold''s identity.';
COMMENT ON COLUMN _holdfast.hold.quantity IS 'Units held; once confirmed, units sold; once released or expired, units last held.';
COMMENT ON COLUMN _holdfast.hold.returned IS 'Units of a confirmed hold that came back, by give_back().';
COMMENT ON COLUMN _holdfast.hold.expires_at IS 'The deadline; infinity while pinned.';
COMMENT ON COLUMN _holdfast.hold.ended_at IS 'When the hold ended; infinity until then.';
COMMENT ON COLUMN _holdfast.hold.state IS 'h held, c confirmed, r released, x expired.';

-- kind: r received, a adjusted, s sold, b given back. quantity is what the house gained.
CREATE TABLE _holdfast.stock_movement (
    sku       bigint      NOT NULL,
    id        uuid        NOT NULL,
    quantity  bigint      NOT NULL,
    moved_at  timestamptz NOT NULL,
    kind      "char"      NOT NULL,
    owner     uuid,
    reference text,
    CONSTRAINT stock_movement_pkey PRIMARY KEY (sku, id),
    CONSTRAINT stock_movement_kind_check CHECK (
        CASE kind WHEN 'r' THEN quantity > 0 AND owner IS NULL
                  WHEN 'a' THEN quantity <> 0 AND owner IS NULL AND reference IS NOT NULL
                  WHEN 's' THEN quantity < 0 AND owner IS NOT NULL
                  WHEN 'b' THEN quantity > 0 AND owner IS NOT NULL
                  ELSE false END)
);
COMMENT ON TABLE _holdfast.stock_movement IS 'Append-only ledger of units that entered or left the house.';
COMMENT ON COLUMN _holdfast.stock_movement.quantity IS 'Units gained; negative when units left.';
COMMENT ON COLUMN _holdfast.stock_movement.kind IS 'r received, a adjusted, s sold, b given back.';
COMMENT ON COLUMN _holdfast.stock_movement.reference IS 'The caller''s words: delivery note, reason, return slip.';

CREATE FUNCTION _holdfast.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'HF018',
        MESSAGE = format('%I.%I is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME),
        HINT = 'Write a correction with holdfast.adjust().';
END
$$;
COMMENT ON FUNCTION _holdfast.refuse_change() IS 'Trigger: raises HF018. Keeps ledgers append-only.';

CREATE TRIGGER stock_movement_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON _holdfast.stock_movement
    FOR EACH STATEMENT EXECUTE FUNCTION _holdfast.refuse_change();

SELECT pg_catalog.pg_extension_config_dump('_holdfast.stock_lane', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.lane_floor', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.hold', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.stock_movement', '');

-- Functions. All are transactional: they live and die with the caller's transaction.

CREATE FUNCTION holdfast.uuid7() RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_uuid7';
COMMENT ON FUNCTION holdfast.uuid7() IS
'A UUID version 7 (RFC 9562, section 5.7, method 3: 12 bits of sub-millisecond time). Ascending within a session, time-ordered between sessions.';

CREATE FUNCTION holdfast.new_id() RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_new_id';
COMMENT ON FUNCTION holdfast.new_id() IS
'A new id for a thing: positive, ordered by time, with the number of this server in it (holdfast.node): 41 bits of milliseconds since 2020, 10 bits of node, 12 bits of counter. Unique in the cluster while the server runs; after a restart as long as the clock was not set back. Errors: 55000 without shared_preload_libraries.';

CREATE FUNCTION holdfast.receive(p_sku bigint, p_quantity bigint, p_reference text DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_receive';
COMMENT ON FUNCTION holdfast.receive(bigint, bigint, text) IS
'Takes p_quantity units of a SKU into stock and makes the SKU known. Returns the units available afterwards. Errors: HF003 quantity not positive, 22003 more than 10^15 units in one call.';

CREATE FUNCTION holdfast.adjust(p_sku bigint, p_delta bigint, p_reason text) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_adjust';
COMMENT ON FUNCTION holdfast.adjust(bigint, bigint, text) IS
'Corrects the units available by p_delta, with a reason. Returns the units available afterwards. Held and sold units are not touched. Errors: HF002 unknown SKU, HF003 delta of zero, HF012 fewer units available than are to be taken away, 22003 more than 10^15 units in one call.';

CREATE FUNCTION holdfast.reserve(p_owner uuid, p_sku bigint, p_quantity bigint, p_ttl interval DEFAULT NULL, p_revive boolean DEFAULT false)
    RETURNS timestamptz
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_reserve';
COMMENT ON FUNCTION holdfast.reserve(uuid, bigint, bigint, interval, boolean) IS
'Holds p_quantity units of a SKU for an owner until p_ttl from now (default: holdfast.ttl_default) and returns the deadline. Holding again sets quantity and deadline anew; the owner''s own units count. A hold that was released or has expired comes back only with p_revive. Errors: HF001 insufficient stock (detail: units left), HF002 unknown SKU, HF003 quantity, HF004 ttl, HF007 confirmed, HF008 released, HF009 expired, HF014 lifetime, 40001 serialization failure, 55P03 holdfast.lock_timeout.';

CREATE FUNCTION holdfast.reserve(p_owner uuid, p_skus bigint[], p_quantities bigint[], p_ttl interval DEFAULT NULL, p_revive boolean DEFAULT false)
    RETURNS timestamptz
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_reserve_cart';
COMMENT ON FUNCTION holdfast.reserve(uuid, bigint[], bigint[], interval, boolean) IS
'Holds a cart for an owner, all or nothing: as reserve() of one SKU for each line. Lines of the same SKU are summed. SKUs are taken in ascending order, so carts cannot deadlock each other. Errors: those of reserve(), HF005 arrays empty, unequal or too long.';

CREATE FUNCTION holdfast.reserve_batch(p_owners uuid[], p_skus bigint[], p_quantities bigint[], p_ttl interval DEFAULT NULL, p_policy text DEFAULT 'valid_rows')
    RETURNS TABLE (line integer, verdict text, available bigint)
    LANGUAGE c VOLATILE ROWS 256 AS 'MODULE_PATHNAME', 'holdfast_reserve_batch';
COMMENT ON FUNCTION holdfast.reserve_batch(uuid[], bigint[], bigint[], interval, text) IS
'Holds for many owners in one statement and gives a verdict for every line, in order: 00000 held, else the SQLSTATE reserve() would have raised; available is what was left of the SKU for a line refused with HF001. Lines of one owner stand or fall together (HF015 for the innocent ones); earlier lines go first. p_policy: valid_rows holds what can be held; all_or_nothing holds everything or nothing (HF016 for the innocent lines). Raises only for the call as a whole: HF004, HF005, 22023 unknown policy.';

CREATE FUNCTION holdfast.confirm(p_owner uuid, p_skus bigint[] DEFAULT NULL, p_quantities bigint[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_confirm';
COMMENT ON FUNCTION holdfast.confirm(uuid, bigint[], bigint[]) IS
'Sells the owner''s holds of the SKUs named, or all that are live, and returns the units sold. With quantities, that many are sold and the rest of the hold goes back to stock. Errors: HF005, HF006 no such hold, HF007 confirmed before, HF008 released, HF009 expired, HF010 more than is held.';

CREATE FUNCTION holdfast.release(p_owner uuid, p_skus bigint[] DEFAULT NULL, p_quantities bigint[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_release';
COMMENT ON FUNCTION holdfast.release(uuid, bigint[], bigint[]) IS
'Gives the owner''s holds of the SKUs named, or all that are live, back to stock and returns the units given back. With quantities, that many are given back and the rest stays held. Errors: as confirm().';

CREATE FUNCTION holdfast.extend(p_owner uuid, p_ttl interval DEFAULT NULL) RETURNS timestamptz
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_extend';
COMMENT ON FUNCTION holdfast.extend(uuid, interval) IS
'Moves the deadline of all live holds of the owner to p_ttl from now (default: holdfast.ttl_default), never to an earlier time, and returns the earliest deadline. Errors: HF004 ttl, HF006 no hold, HF007 and HF008 all have ended, HF009 one has expired, HF014 beyond holdfast.lifetime_max.';

CREATE FUNCTION holdfast.pin(p_owner uuid) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_pin';
COMMENT ON FUNCTION holdfast.pin(uuid) IS
'Takes the deadline off all live holds of the owner (it becomes infinity), for the time in which a payment is under way, and returns the number of holds. Errors: HF006 no hold, HF007 and HF008 all have ended, HF009 one has expired.';

CREATE FUNCTION holdfast.unpin(p_owner uuid, p_ttl interval DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_unpin';
COMMENT ON FUNCTION holdfast.unpin(uuid, interval) IS
'Gives the owner''s pinned holds a deadline again, p_ttl from now (default: holdfast.ttl_default), and returns the number of holds; holds that are not pinned keep their deadline. Errors: HF004 ttl, HF006 no hold, HF007 to HF009 all have ended.';

CREATE FUNCTION holdfast.give_back(p_owner uuid, p_sku bigint, p_quantity bigint DEFAULT NULL, p_reference text DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_give_back';
COMMENT ON FUNCTION holdfast.give_back(uuid, bigint, bigint, text) IS
'Takes sold units back into stock (a return); without p_quantity, all that have not come back yet. Returns the units given back. Errors: HF003, HF006 no such hold, HF011 more than was sold, HF017 the hold was not confirmed.';

CREATE FUNCTION holdfast.available(p_sku bigint) RETURNS bigint
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_available';
COMMENT ON FUNCTION holdfast.available(bigint) IS
'Units of a SKU that can be held now; a hold counts as available from the instant of its deadline. NULL for a SKU that was never received.';

CREATE FUNCTION holdfast.set_lanes(p_sku bigint, p_lanes integer) RETURNS integer
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_set_lanes';
COMMENT ON FUNCTION holdfast.set_lanes(bigint, integer) IS
'Spreads a SKU over p_lanes lanes now and keeps at least that many until told otherwise; 1 leaves it to contention again. For those who know that a sale is coming. Waits for buyers under way. Returns the lanes there are. Errors: HF002 unknown SKU, HF013 lanes below 1 or above holdfast.lane_max.';

CREATE FUNCTION holdfast.reap(p_limit integer DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_reap';
COMMENT ON FUNCTION holdfast.reap(integer) IS
'One sweep of the reaper by hand: ends up to p_limit expired holds (default: holdfast.reaper_batch), returns their units to stock, and merges calm lanes. Returns the number of holds ended. Correctness never waits for it.';

-- Called at the end of the installation: a background worker may look at this database.
CREATE FUNCTION _holdfast.wake_workers() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_wake_workers';
COMMENT ON FUNCTION _holdfast.wake_workers() IS
'Asks the launcher, if there is one, to look for new databases once the transaction has committed.';
