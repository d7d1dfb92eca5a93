INSERT INTO bench.hold (owner, sku, quantity, held_at, expires_at)
VALUES (holdfast.uuid7(), 1, 1, clock_timestamp(), clock_timestamp() + interval '10 minutes');
