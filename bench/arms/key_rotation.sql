-- As key_claim; \gset wants one row, for the rows themselves are dropped after a second or two.
\set account random(1, 100000)
SELECT holdfast.complete_key(:account, 'order', k.key, 'an answer of a hundred bytes, such as a small document in JSON with an id, a state and a total', 201)
FROM (SELECT holdfast.uuid7()::text AS key OFFSET 0) AS k,
     holdfast.claim_key(:account, 'order', k.key, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855') AS c
WHERE c.claimed \gset
