-- A table to watch, in a schema of the arm's own, and what may be done instead of watching it: the opponents' triggers tell
-- only which item has changed, not that the list of items has. Row 0 is for bench/gone.c alone.
CREATE SCHEMA :schema;
SET search_path = :schema;

CREATE TABLE item (
    id      bigint NOT NULL,
    changes bigint NOT NULL DEFAULT 0,
    title   text   NOT NULL,
    CONSTRAINT item_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);
INSERT INTO item (id, title) SELECT n, repeat('a title ', 12) FROM generate_series(0, 100000) AS n;

CREATE FUNCTION notify_item() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('invalidations', 'item:' || new.id);
    RETURN NULL;
END
$$;

CREATE TABLE outbox (
    id  bigserial NOT NULL,
    key text      NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
);

CREATE FUNCTION write_outbox() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (key) VALUES ('item:' || new.id);
    RETURN NULL;
END
$$;

-- A million rows come into this one.
CREATE TABLE crowd (
    id      bigserial NOT NULL,
    changes bigint    NOT NULL DEFAULT 0,
    CONSTRAINT crowd_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);

:prepare;
