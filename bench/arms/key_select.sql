\set account random(1, 100000)
SELECT false AS claimed, status, response FROM bench.key
WHERE account_id = :account AND operation = 'stored' AND key = 'key-' || (100000 + :account) \gset
