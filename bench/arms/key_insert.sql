\set account random(1, 100000)
INSERT INTO bench.key (account_id, claimed_at, status, operation, key, fingerprint, response)
VALUES (:account, clock_timestamp(), 201, 'order', holdfast.uuid7()::text, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
        'an answer of a hundred bytes, such as a small document in JSON with an id, a state and a total');
