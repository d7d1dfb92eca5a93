-- The verdicts are read, as a caller must; only refusals would travel to the client.
SELECT r.line, r.verdict
FROM (SELECT array_agg(holdfast.uuid7()) AS owners, array_agg(1::bigint) AS ones
      FROM generate_series(1, :lines::int)) AS a,
     holdfast.reserve_batch(a.owners, a.ones, a.ones) AS r
WHERE r.verdict <> '00000';
