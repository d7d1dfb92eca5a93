WITH taken AS (
    UPDATE bench.stock SET available = available - 1 WHERE sku = 1 AND available >= 1 RETURNING sku
)
INSERT INTO bench.hold (owner, sku, quantity, held_at, expires_at)
SELECT holdfast.uuid7(), sku, 1, clock_timestamp(), clock_timestamp() + interval '10 minutes' FROM taken;
