-- The whole life of an order. Who orders sees his payment under way at once; every sixteenth time a client is
-- the worker too, for a provider that approves at once, and takes up to 64 calls: four times what comes in.
\set account random(1, 100000)
\set turn random(1, 16)
SELECT holdfast.reserve(o.owner, 1, 1),
       holdfast.create_payment(:account, 'pay-' || o.owner, 2990, 'EUR', 'bench', 'card', o.owner, 'capture')
FROM (SELECT holdfast.uuid7() AS owner OFFSET 0) AS o;
\if :turn = 1
SELECT count(*)
FROM (SELECT array_agg(account_id) AS accounts, array_agg(payment) AS payments, array_agg(call) AS calls,
             array_agg('succeeded'::text) AS outcomes, array_agg('ch_' || key) AS refs FROM holdfast.claim_calls('bench', 64)) AS c,
     holdfast.record_results(c.accounts, c.payments, c.calls, c.outcomes, c.refs)
WHERE c.accounts IS NOT NULL;
\endif
