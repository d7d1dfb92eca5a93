-- What the opponents store, in a schema of its own beside the extension: the same columns, CHECKs, indexes and
-- storage parameters as the extension's tables, so that only the way of taking a unit differs.
--
-- held_at is clock_timestamp() everywhere, because the rows are counted by it (README.md).

CREATE SCHEMA bench;

CREATE TABLE bench.stock (
    sku       bigint NOT NULL,
    available bigint NOT NULL,
    version   bigint NOT NULL DEFAULT 0,
    CONSTRAINT stock_pkey PRIMARY KEY (sku),
    CONSTRAINT stock_available_check CHECK (available >= 0)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.5);
INSERT INTO bench.stock (sku, available) VALUES (1, 1000000000);

-- Both indexes and all CHECKs of the extension's table, whatever they are.
CREATE TABLE bench.hold (LIKE _holdfast.hold INCLUDING ALL)
    WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);

-- The same shape with nothing but a time-ordered primary key.
CREATE TABLE bench.hold_bare (LIKE _holdfast.hold INCLUDING DEFAULTS)
    WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
ALTER TABLE bench.hold_bare ADD PRIMARY KEY (owner);

-- One round trip instead of five, and the row lock is not held while the client is asked what comes next.
CREATE FUNCTION bench.reserve_for_update(p_sku bigint, p_quantity bigint) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    v_available bigint;
BEGIN
    SELECT available INTO v_available FROM bench.stock WHERE sku = p_sku FOR UPDATE;
    IF v_available < p_quantity THEN
        RETURN false;
    END IF;
    UPDATE bench.stock SET available = available - p_quantity WHERE sku = p_sku;
    INSERT INTO bench.hold (owner, sku, quantity, held_at, expires_at)
    VALUES (holdfast.uuid7(), p_sku, p_quantity, clock_timestamp(), clock_timestamp() + interval '10 minutes');
    RETURN true;
END
$$;

CREATE FUNCTION bench.reserve_advisory(p_sku bigint, p_quantity bigint) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(p_sku);
    UPDATE bench.stock SET available = available - p_quantity WHERE sku = p_sku AND available >= p_quantity;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO bench.hold (owner, sku, quantity, held_at, expires_at)
    VALUES (holdfast.uuid7(), p_sku, p_quantity, clock_timestamp(), clock_timestamp() + interval '10 minutes');
    RETURN true;
END
$$;

-- Tries until it wins: every statement of a volatile function sees what was committed before it.
CREATE FUNCTION bench.reserve_optimistic(p_sku bigint, p_quantity bigint) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    v_available bigint;
    v_version   bigint;
BEGIN
    LOOP
        SELECT available, version INTO v_available, v_version FROM bench.stock WHERE sku = p_sku;
        IF v_available < p_quantity THEN
            RETURN false;
        END IF;
        UPDATE bench.stock SET available = v_available - p_quantity, version = v_version + 1
        WHERE sku = p_sku AND version = v_version;
        EXIT WHEN FOUND;
    END LOOP;
    INSERT INTO bench.hold (owner, sku, quantity, held_at, expires_at)
    VALUES (holdfast.uuid7(), p_sku, p_quantity, clock_timestamp(), clock_timestamp() + interval '10 minutes');
    RETURN true;
END
$$;
