INSERT INTO bench.hold (owner, sku, quantity, held_at, expires_at)
SELECT r.owner, r.sku, r.quantity, now(), now() + interval '10 minutes'
FROM (SELECT array_agg(holdfast.uuid7()) AS owners, array_agg(1::bigint) AS ones
      FROM generate_series(1, :lines::int)) AS a,
     unnest(a.owners, a.ones, a.ones) AS r (owner, sku, quantity);
