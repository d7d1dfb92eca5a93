-- What a plain table of keys is, with the columns, CHECKs and unique index of the extension's; and 100,000
-- stored answers in each.
CREATE TABLE bench.key (LIKE _holdfast.idempotency_0 INCLUDING ALL) WITH (fillfactor = 90);
CREATE VIEW bench.inserted_key AS SELECT claimed_at AS held_at, 1 AS quantity FROM bench.key WHERE operation = 'order';
CREATE VIEW bench.claimed_key AS SELECT claimed_at AS held_at, 1 AS quantity FROM _holdfast.idempotency_0
    WHERE operation = 'order' AND status IS NOT NULL;
INSERT INTO bench.key (account_id, claimed_at, status, operation, key, fingerprint, response)
SELECT n, clock_timestamp(), 201, 'stored', 'key-' || (100000 + n), sha256('request'), repeat('a stored answer ', 20)::bytea
FROM generate_series(1, 100000) AS n;
INSERT INTO _holdfast.idempotency_0 SELECT * FROM bench.key;
