-- Idempotency keys: tables and functions.
--
-- A key is a caller's name for one intent, unique for an account and an operation. It is claimed in the
-- same transaction as the effect, and completed with the answer: either both are there after the
-- commit, or neither. The second caller with the key and the same fingerprint gets the answer, byte for byte.
--
-- Keys live in two tables that take turns: new keys go to the current one; when that is older than
-- holdfast.key_retention, the other one, whose keys are older still, is truncated and becomes the
-- current one. So a key lives between one and two retentions, and nothing is left to vacuum.

CREATE TABLE _holdfast.idempotency_0 (
    account_id  bigint      NOT NULL,
    claimed_at  timestamptz NOT NULL,
    status      integer,
    operation   text        COLLATE "C" NOT NULL,
    key         text        COLLATE "C" NOT NULL,
    fingerprint bytea       NOT NULL,
    response    bytea,
    CONSTRAINT idempotency_0_pkey PRIMARY KEY (account_id, operation, key),
    CONSTRAINT idempotency_0_open_check CHECK ((status IS NULL) = (response IS NULL))
) WITH (fillfactor = 90);
CREATE TABLE _holdfast.idempotency_1 (
    account_id  bigint      NOT NULL,
    claimed_at  timestamptz NOT NULL,
    status      integer,
    operation   text        COLLATE "C" NOT NULL,
    key         text        COLLATE "C" NOT NULL,
    fingerprint bytea       NOT NULL,
    response    bytea,
    CONSTRAINT idempotency_1_pkey PRIMARY KEY (account_id, operation, key),
    CONSTRAINT idempotency_1_open_check CHECK ((status IS NULL) = (response IS NULL))
) WITH (fillfactor = 90);
COMMENT ON TABLE _holdfast.idempotency_0 IS 'Idempotency keys: one of two tables that take turns.';
COMMENT ON TABLE _holdfast.idempotency_1 IS 'Idempotency keys: one of two tables that take turns.';
COMMENT ON COLUMN _holdfast.idempotency_0.status IS 'The caller''s code of the answer; NULL while the key is open.';
COMMENT ON COLUMN _holdfast.idempotency_1.status IS 'The caller''s code of the answer; NULL while the key is open.';

-- Answers of batches are large: they are compressed by what costs the least, where the server has it.
DO $$
BEGIN
    ALTER TABLE _holdfast.idempotency_0 ALTER COLUMN response SET COMPRESSION lz4;
    ALTER TABLE _holdfast.idempotency_1 ALTER COLUMN response SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

CREATE TABLE _holdfast.idempotency_turn (
    sole  boolean     NOT NULL DEFAULT true,
    half  smallint    NOT NULL,
    since timestamptz NOT NULL,
    CONSTRAINT idempotency_turn_pkey PRIMARY KEY (sole),
    CONSTRAINT idempotency_turn_check CHECK (sole AND half IN (0, 1))
);
COMMENT ON TABLE _holdfast.idempotency_turn IS 'Which of the two tables new keys go to, and since when. One row, or none before the first look at the clock: the first table.';

-- The turn is not dumped: the clock of a restored database begins anew, and may have begun before its data are there.
SELECT pg_catalog.pg_extension_config_dump('_holdfast.idempotency_0', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.idempotency_1', '');

CREATE FUNCTION holdfast.claim_key(p_account bigint, p_operation text, p_key text, p_fingerprint bytea,
                                   OUT claimed boolean, OUT status integer, OUT response bytea)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_claim_key';
COMMENT ON FUNCTION holdfast.claim_key(bigint, text, text, bytea) IS
'Claims an idempotency key (8 to 255 printable ASCII characters) of an account for an operation (1 to 64, not beginning with holdfast.). claimed: the work is the caller''s to do, in this transaction, and to complete with complete_key(); not claimed: it has been done, and status and response are the answer. The fingerprint (1 to 64 bytes, such as a SHA-256 of the request) says that it is the same request. After a rollback the key was never claimed. Waits for a rival up to holdfast.key_wait. Errors: HF019 key or operation, HF020 fingerprint, HF021 used for another request, HF022 in flight, 40001 serialization failure.';

CREATE FUNCTION holdfast.complete_key(p_account bigint, p_operation text, p_key text, p_response bytea, p_status integer DEFAULT 200) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_complete_key';
COMMENT ON FUNCTION holdfast.complete_key(bigint, text, text, bytea, integer) IS
'Completes a key that was claimed, in this transaction or, if it was committed open, in another, with the answer that is replayed from now on. Errors: HF019, HF023 no such open key.';

CREATE FUNCTION holdfast.abandon_key(p_account bigint, p_operation text, p_key text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_abandon_key';
COMMENT ON FUNCTION holdfast.abandon_key(bigint, text, text) IS
'Gives an open key back, so that it can be claimed again. For a key that was committed open (view open_keys) by somebody who will never complete it. Errors: HF019, HF023 no such open key.';

CREATE FUNCTION holdfast.claim_keys(p_accounts bigint[], p_operation text, p_keys text[], p_fingerprints bytea[])
    RETURNS TABLE (line integer, verdict text, status integer, response bytea)
    LANGUAGE c VOLATILE ROWS 256 AS 'MODULE_PATHNAME', 'holdfast_claim_keys';
COMMENT ON FUNCTION holdfast.claim_keys(bigint[], text, text[], bytea[]) IS
'Claims many keys in one statement and gives a verdict for every line, in order: 00000 claimed; 02000 done before, with its answer; else the SQLSTATE claim_key() would have raised. Waits for nobody but a change of turns (rotate_keys()): a key that somebody is working on is in flight (HF022), and so is the second line of the same key. Raises only for the call as a whole: HF005 arrays, HF019 operation.';

CREATE FUNCTION holdfast.complete_keys(p_accounts bigint[], p_operation text, p_keys text[], p_responses bytea[], p_statuses integer[]) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_complete_keys';
COMMENT ON FUNCTION holdfast.complete_keys(bigint[], text, text[], bytea[], integer[]) IS
'Completes many keys in one statement and returns their number. Errors: those of complete_key(), HF005 arrays.';

CREATE FUNCTION _holdfast.key_retention() RETURNS interval
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_key_retention';
COMMENT ON FUNCTION _holdfast.key_retention() IS 'The setting holdfast.key_retention, which nobody but a superuser can change.';

-- The clock decides, not the caller: whoever calls it early changes nothing. Open keys have no answer
-- yet and stay; they are looked for before the table is locked, which may take a while, and read again
-- afterwards, by then perhaps with an answer. The longer it is overdue, the longer it waits for those who have the
-- table open: others wait behind it.
CREATE FUNCTION holdfast.rotate_keys() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '20ms'
    AS $$
DECLARE
    v_turn    _holdfast.idempotency_turn;
    v_overdue numeric;
    v_zero    _holdfast.idempotency_0[];
    v_one     _holdfast.idempotency_1[];
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'active_sql_transaction',
            MESSAGE = 'keys are dropped under READ COMMITTED only',
            HINT = 'Call rotate_keys() in a transaction of its own.';
    END IF;
    INSERT INTO _holdfast.idempotency_turn VALUES (true, 0, clock_timestamp()) ON CONFLICT ON CONSTRAINT idempotency_turn_pkey DO NOTHING;
    SELECT * INTO v_turn FROM _holdfast.idempotency_turn t FOR UPDATE SKIP LOCKED;
    v_overdue := extract(epoch FROM clock_timestamp() - v_turn.since - _holdfast.key_retention());
    IF v_overdue IS NULL OR v_overdue < 0 THEN
        RETURN false;
    END IF;
    PERFORM set_config('lock_timeout', (20 + least(10 * v_overdue, 1980))::integer::text, true);
    IF v_turn.half = 0 THEN
        v_one := ARRAY(SELECT k FROM _holdfast.idempotency_1 k WHERE k.status IS NULL);
        LOCK TABLE _holdfast.idempotency_1 IN ACCESS EXCLUSIVE MODE;
        v_one := ARRAY(SELECT k FROM _holdfast.idempotency_1 k JOIN unnest(v_one) o USING (account_id, operation, key));
        TRUNCATE _holdfast.idempotency_1;
        INSERT INTO _holdfast.idempotency_1 SELECT o.* FROM unnest(v_one) o;
    ELSE
        v_zero := ARRAY(SELECT k FROM _holdfast.idempotency_0 k WHERE k.status IS NULL);
        LOCK TABLE _holdfast.idempotency_0 IN ACCESS EXCLUSIVE MODE;
        v_zero := ARRAY(SELECT k FROM _holdfast.idempotency_0 k JOIN unnest(v_zero) o USING (account_id, operation, key));
        TRUNCATE _holdfast.idempotency_0;
        INSERT INTO _holdfast.idempotency_0 SELECT o.* FROM unnest(v_zero) o;
    END IF;
    UPDATE _holdfast.idempotency_turn SET half = 1 - half, since = clock_timestamp();
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION holdfast.rotate_keys() IS
'Drops the keys that are older than holdfast.key_retention, all at once, if it is time; open ones stay. Returns whether it was, and nobody was in the way. The background worker calls it every minute; without one, call it by cron. Waits for those who have the table open for 20 ms, and up to 2 s when it is long overdue; claims wait behind it until the transaction ends, so call it in one of its own. Errors: 25001 under REPEATABLE READ and SERIALIZABLE. Definer''s rights: it truncates a table of the extension, and does so only when the clock says so.';

CREATE VIEW holdfast.open_keys AS
SELECT k.account_id, k.operation, k.key, k.claimed_at FROM _holdfast.idempotency_0 k WHERE k.status IS NULL
UNION ALL
SELECT k.account_id, k.operation, k.key, k.claimed_at FROM _holdfast.idempotency_1 k WHERE k.status IS NULL;
COMMENT ON VIEW holdfast.open_keys IS 'Idempotency keys that were claimed and committed without an answer. Others who use them are told that they are in flight.';
