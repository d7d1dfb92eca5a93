-- The whole life of an order. Who orders sees his payment under way at once; every 64th time a client is the worker too, for a
-- provider that approves at once: he takes up to 256 calls, four times what comes in, commits, and records their results.
\set account random(1, 100000)
\set turn random(1, 64)
SELECT holdfast.reserve(o.owner, 1, 1),
       holdfast.create_payment(:account, 'pay-' || o.owner, 2990, 'EUR', 'bench', 'card', o.owner, 'capture')
FROM (SELECT holdfast.uuid7() AS owner OFFSET 0) AS o;
\if :turn = 1
SELECT count(*) AS claimed, array_agg(account_id) AS accounts, array_agg(payment) AS payments, array_agg(call) AS calls,
       array_agg('ch_' || key) AS refs
FROM holdfast.claim_calls('bench', 256) \gset
\if :claimed > 0
SELECT count(*)
FROM holdfast.record_results(:accounts::bigint[], :payments::uuid[], :calls::int[],
                             array_fill('succeeded'::text, ARRAY[:claimed::int]), :refs::text[]);
\endif
\endif
