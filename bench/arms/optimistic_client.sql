-- One attempt; a lost one holds nothing, and the next run of the script is the retry.
SELECT available, version FROM bench.stock WHERE sku = 1 \gset
WITH taken AS (
    UPDATE bench.stock SET available = :available::bigint - 1, version = :version::bigint + 1
    WHERE sku = 1 AND version = :version::bigint RETURNING sku
)
INSERT INTO bench.hold (owner, sku, quantity, held_at, expires_at)
SELECT holdfast.uuid7(), sku, 1, clock_timestamp(), clock_timestamp() + interval '10 minutes' FROM taken;
