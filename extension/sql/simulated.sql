-- The simulated provider: moves no money, but does all that a real one does, so that tests, demos and
-- first steps need nobody else. It has a ledger of its own, answers a key that it knows as it did
-- before, refuses what no card can bear, and sends signed webhooks. It exists in a database once
-- holdfast.add_provider('simulated') has been called. The method says how it behaves:
--
--     test_approve             succeeds
--     test_decline             is declined
--     test_insufficient_funds  is declined
--     test_timeout             succeeds, but the first attempt is not answered
--     test_webhook_twice       is accepted; then the same webhook says twice that it succeeded
--     test_silent              is never answered
--
-- Any other method is declined.

CREATE TABLE _holdfast.simulated_call (
    key        text        COLLATE "C" NOT NULL,
    kind       text        COLLATE "C" NOT NULL,
    amount     bigint      NOT NULL,
    currency   text        COLLATE "C" NOT NULL,
    state      text        COLLATE "C" NOT NULL,
    reference  text        COLLATE "C" NOT NULL,
    original   text        COLLATE "C",
    reason     text,
    heard_at   timestamptz NOT NULL,
    CONSTRAINT simulated_call_pkey PRIMARY KEY (key),
    CONSTRAINT simulated_call_reference_key UNIQUE (reference),
    CONSTRAINT simulated_call_state_check CHECK (state IN ('succeeded', 'declined', 'pending')),
    CONSTRAINT simulated_call_amount_check CHECK (amount > 0)
);
CREATE INDEX simulated_call_original_idx ON _holdfast.simulated_call (original) WHERE original IS NOT NULL;
COMMENT ON TABLE _holdfast.simulated_call IS 'The ledger of the simulated provider: what it was asked, and what it did. Our own tables know nothing of it.';
COMMENT ON COLUMN _holdfast.simulated_call.original IS 'Reference of what was captured, voided or refunded.';
SELECT pg_catalog.pg_extension_config_dump('_holdfast.simulated_call', '');

-- What a card network would refuse, however the card behaves: to capture or void what is not set
-- aside, to capture more than that, to refund more than was captured.
CREATE FUNCTION _holdfast.simulated_refusal(p_kind text, p_amount bigint, p_currency text, p_original text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT CASE WHEN p_kind IN ('authorize', 'charge') THEN NULL
                    WHEN o.reference IS NULL THEN 'unknown_original'
                    WHEN o.currency <> p_currency THEN 'wrong_currency'
                    WHEN p_kind IN ('capture', 'void') AND (o.kind <> 'authorize' OR EXISTS (
                        SELECT FROM _holdfast.simulated_call AS b
                        WHERE b.original = p_original AND b.kind IN ('capture', 'void') AND b.state <> 'declined')) THEN 'not_authorized'
                    WHEN p_kind = 'refund' AND o.kind NOT IN ('charge', 'capture') THEN 'not_captured'
                    WHEN p_amount + CASE p_kind WHEN 'refund' THEN COALESCE((
                        SELECT sum(b.amount) FROM _holdfast.simulated_call AS b
                        WHERE b.original = p_original AND b.kind = 'refund' AND b.state <> 'declined'), 0) ELSE 0 END > o.amount THEN 'amount_too_large'
               END
        FROM (VALUES (p_original)) AS asked (original)
        LEFT JOIN _holdfast.simulated_call AS o ON o.reference = asked.original AND o.state = 'succeeded';
    END;
COMMENT ON FUNCTION _holdfast.simulated_refusal(text, bigint, text, text) IS 'Why the simulated provider declines a call whatever the method says, or NULL.';

CREATE FUNCTION holdfast.simulate_provider(p_limit integer DEFAULT 100) RETURNS integer
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    v_call record;
    v_known _holdfast.simulated_call;
    v_is_new boolean;
    v_refusal text;
    v_sent_at bigint;
    v_body bytea;
    v_secret text;
    v_answered integer := 0;
BEGIN
    -- The claim and the answer share a transaction, so calls are locked before their payments. Hence
    -- who is busy with a payment is not waited for: to him the provider has not answered.
    FOR v_call IN SELECT c.* FROM holdfast.claim_calls('simulated', p_limit, '1 s') AS c LOOP
        PERFORM FROM _holdfast.payment AS p WHERE p.account_id = v_call.account_id AND p.id = v_call.payment FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;

        -- The payment was given up: nothing is made any more, only looked up.
        IF v_call.kind = 'lookup' AND NOT EXISTS (SELECT FROM _holdfast.simulated_call AS s WHERE s.key = v_call.key) THEN
            PERFORM holdfast.record_result(v_call.account_id, v_call.payment, v_call.call, 'declined', NULL, 'never_made');
            v_answered := v_answered + 1;
            CONTINUE;
        END IF;
        v_refusal := COALESCE(_holdfast.simulated_refusal(v_call.kind, v_call.amount, v_call.currency, v_call.original),
            CASE WHEN v_call.method = 'test_decline' THEN 'card_declined'
                 WHEN v_call.method = 'test_insufficient_funds' THEN 'insufficient_funds'
                 WHEN v_call.method NOT IN ('test_approve', 'test_timeout', 'test_webhook_twice', 'test_silent') THEN 'unknown_method' END);
        INSERT INTO _holdfast.simulated_call AS s (key, kind, amount, currency, state, reference, original, reason, heard_at)
        VALUES (v_call.key, v_call.kind, v_call.amount, v_call.currency,
                CASE WHEN v_call.method = 'test_silent' THEN 'pending' WHEN v_refusal IS NULL THEN 'succeeded' ELSE 'declined' END,
                'sim' || substr(v_call.key, 3), v_call.original, v_refusal, clock_timestamp())
        ON CONFLICT ON CONSTRAINT simulated_call_pkey DO NOTHING;
        v_is_new := FOUND;
        SELECT s.* INTO STRICT v_known FROM _holdfast.simulated_call AS s WHERE s.key = v_call.key;

        IF v_call.method = 'test_silent' OR (v_call.method = 'test_timeout' AND v_is_new) THEN
            PERFORM holdfast.record_result(v_call.account_id, v_call.payment, v_call.call, 'retry', NULL, 'timeout');
            CONTINUE;
        END IF;
        v_answered := v_answered + 1;
        IF v_call.method <> 'test_webhook_twice' OR v_known.state <> 'succeeded' THEN
            PERFORM holdfast.record_result(v_call.account_id, v_call.payment, v_call.call, v_known.state, v_known.reference, v_known.reason);
            CONTINUE;
        END IF;
        PERFORM holdfast.record_result(v_call.account_id, v_call.payment, v_call.call, 'pending', v_known.reference);
        v_body := convert_to(jsonb_build_object('type', 'call.succeeded', 'data', jsonb_build_object('key', v_known.key, 'amount', v_known.amount,
            'currency', v_known.currency, 'reference', v_known.reference))::text, 'UTF8');
        v_sent_at := floor(extract(epoch FROM clock_timestamp()));
        SELECT s.secret INTO v_secret FROM _holdfast.webhook_secret AS s WHERE s.provider = 'simulated' ORDER BY s.added_at DESC LIMIT 1;
        FOR v_time IN 1..2 LOOP
            PERFORM holdfast.receive_webhook('simulated', v_body, holdfast.sign_webhook('standard', v_secret, v_body, v_known.reference, v_sent_at),
                                             v_known.reference, v_sent_at::text);
        END LOOP;
    END LOOP;
    RETURN v_answered;
END
$$;
COMMENT ON FUNCTION holdfast.simulate_provider(integer) IS
'The simulated provider and its worker at once: claims up to p_limit (1 to 10000) due calls of provider simulated, answers them as the payment''s method says (test_approve, test_decline, test_insufficient_funds, test_timeout, test_webhook_twice, test_silent; any other is declined), records the results and sends the webhooks. Returns the number of calls answered. Never moves money: for tests and demos. Errors: HF032 the provider has not been added, 22023 limit. Definer''s rights: it writes to the storage on behalf of whoever may execute it.';

CREATE VIEW holdfast.simulated_statement AS
SELECT s.key, s.amount, s.currency, s.state, s.kind, s.reference, s.original, s.reason, s.heard_at FROM _holdfast.simulated_call s;
COMMENT ON VIEW holdfast.simulated_statement IS 'The simulated provider''s own ledger, as a statement for reconcile().';
