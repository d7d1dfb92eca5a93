-- rotate_keys() by an old snapshot: it would look at keys as they were, and drop what has changed since. Hence it does nothing.
SET default_transaction_isolation = 'repeatable read';
\ir include/begin.sql
SELECT plan(7);

SELECT is(current_setting('transaction_isolation'), 'repeatable read', 'a transaction with one snapshot');
SELECT is((SELECT claimed FROM holdfast.claim_key(1, 'order', 'key-0001', 'request')), true, 'claims a key');
SELECT refuses('SELECT holdfast.rotate_keys()', '25001', 'it does not rotate, early', NULL, 'transaction of its own');
UPDATE _holdfast.idempotency_turn SET since = since - interval '25 hours';
SELECT refuses('SELECT holdfast.rotate_keys()', '25001', 'or when it is time', NULL, 'transaction of its own');
SELECT is((SELECT count(*) FROM holdfast.open_keys), 1::bigint, 'the key is there');
DELETE FROM _holdfast.idempotency_turn;
SELECT refuses('SELECT holdfast.rotate_keys()', '25001', 'nor does it begin to look at the clock', NULL, 'transaction of its own');
SELECT is((SELECT claimed FROM holdfast.claim_key(1, 'order', 'key-0002', 'request')), true, 'and keys are claimed all the same');

SELECT * FROM finish();
ROLLBACK;
