-- Providers at work: who they are, what they are asked, what they tell us.
--
-- A worker claims due calls, commits, makes them, and records how they went: record_result(). The claim is a
-- lease: a call that nobody has answered for until its end is claimed again, with the same key. Webhooks come
-- as they were received; nothing in them is believed, or even read, before the signature is verified.

-- Codes in words. Views, so that queries over many rows need call nothing.
CREATE VIEW _holdfast.call_kind (code, name) AS
VALUES ('a'::"char", 'authorize'), ('s', 'charge'), ('k', 'capture'), ('v', 'void'), ('r', 'refund');
COMMENT ON VIEW _holdfast.call_kind IS 'What provider_call.kind means.';

CREATE VIEW _holdfast.call_state (code, name) AS
VALUES ('d'::"char", 'pending'), ('u', 'unknown'), ('s', 'succeeded'), ('f', 'declined'), ('x', 'cancelled'), ('o', 'excess');
COMMENT ON VIEW _holdfast.call_state IS 'What provider_call.state means.';

CREATE FUNCTION _holdfast.known_provider(p_provider text) RETURNS _holdfast.provider
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    v_provider _holdfast.provider;
BEGIN
    IF p_provider IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'p_provider is null';
    END IF;
    SELECT p.* INTO v_provider FROM _holdfast.provider AS p WHERE p.name = p_provider;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'HF032',
            MESSAGE = 'unknown provider',
            DETAIL = format('There is no provider "%s".', left(p_provider, 63)),
            HINT = 'Make it known with holdfast.add_provider().';
    END IF;
    RETURN v_provider;
END
$$;
COMMENT ON FUNCTION _holdfast.known_provider(text) IS 'The provider of that name. Errors: HF032 unknown provider, 22004.';

CREATE FUNCTION holdfast.add_provider(p_name text, p_scheme text DEFAULT 'standard', p_attempts integer DEFAULT 8, p_backoff interval DEFAULT '2 s',
                                      p_backoff_max interval DEFAULT '1 hour', p_tolerance interval DEFAULT '5 minutes') RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    v_seconds CONSTANT numeric[] := ARRAY[extract(epoch FROM p_backoff), extract(epoch FROM p_backoff_max), extract(epoch FROM p_tolerance)];
    v_null CONSTANT text := CASE WHEN p_name IS NULL THEN 'p_name' WHEN p_scheme IS NULL THEN 'p_scheme' WHEN p_attempts IS NULL THEN 'p_attempts'
        WHEN p_backoff IS NULL THEN 'p_backoff' WHEN p_backoff_max IS NULL THEN 'p_backoff_max' WHEN p_tolerance IS NULL THEN 'p_tolerance' END;
    v_fault text;
BEGIN
    IF v_null IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = v_null || ' is null';
    END IF;
    v_fault := CASE
        WHEN p_name !~ '^[a-z][a-z0-9_-]{0,62}$' THEN
            'A name has 1 to 63 lower-case letters, digits, underscores and hyphens, the first of them a letter.'
        WHEN p_scheme NOT IN ('standard', 'stripe') THEN 'The scheme is neither standard nor stripe.'
        WHEN p_scheme <> 'standard' AND p_name = 'simulated' THEN 'The simulated provider signs by scheme standard.'
        WHEN p_attempts NOT BETWEEN 1 AND 1000 THEN format('There are %s attempts; 1 to 1000 are allowed.', p_attempts)
        WHEN 1 > ANY (v_seconds) OR 2592000 < ANY (v_seconds) THEN
            format('Back-offs of %s and %s, tolerance of %s; 1 second to 30 days are allowed.', p_backoff, p_backoff_max, p_tolerance)
        WHEN p_backoff > p_backoff_max THEN format('The back-off of %s is longer than the longest, %s.', p_backoff, p_backoff_max)
        -- The secrets would not fit; and whoever changes something else may have left the scheme out.
        WHEN EXISTS (SELECT FROM _holdfast.provider AS p JOIN _holdfast.webhook_secret AS s ON s.provider = p.name
                     WHERE p.name = p_name AND p.scheme <> p_scheme) THEN 'The provider has secrets of another scheme.'
    END;
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'invalid provider', DETAIL = v_fault;
    END IF;
    INSERT INTO _holdfast.provider AS p (name, scheme, attempts, backoff, backoff_max, tolerance)
    VALUES (p_name, p_scheme, p_attempts, ceil(v_seconds[1]), ceil(v_seconds[2]), ceil(v_seconds[3]))
    ON CONFLICT ON CONSTRAINT provider_pkey DO UPDATE
    SET scheme = excluded.scheme, attempts = excluded.attempts, backoff = excluded.backoff, backoff_max = excluded.backoff_max,
        tolerance = excluded.tolerance;
    IF p_name = 'simulated' AND NOT EXISTS (SELECT FROM _holdfast.webhook_secret AS s WHERE s.provider = p_name) THEN
        PERFORM holdfast.set_webhook_secret(p_name, 'whsec_' || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64'));
    END IF;
END
$$;
COMMENT ON FUNCTION holdfast.add_provider(text, text, integer, interval, interval, interval) IS
'Adds a provider that payments can be made at, or changes it. p_scheme: how its webhooks are signed, standard (Standard Webhooks 1.0) or stripe; it stays once there are secrets. p_attempts (1 to 1000): how often a call is made before its outcome counts as unknown. p_backoff: the pause after the first attempt without an answer, doubled after each further one, up to p_backoff_max, which is also the time between looks at calls that are pending or unknown. p_tolerance: how far the time of a webhook may be off. Intervals are 1 second to 30 days, in whole seconds. Provider simulated is built in (simulate_provider()), but has to be added: it gives goods for nothing. Errors: 22004, 22023. Definer''s rights: it writes to the storage on behalf of whoever may execute it.';

-- A statement that fails is logged, and this one might have the secret in it: hence log_min_error_statement.
CREATE FUNCTION holdfast.set_webhook_secret(p_provider text, p_secret text, p_overlap interval DEFAULT '24 hours') RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET log_min_error_statement = panic
    AS $$
DECLARE
    v_provider CONSTANT _holdfast.provider := _holdfast.known_provider(p_provider);
    v_now timestamptz;
BEGIN
    IF p_secret IS NULL OR p_overlap IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = CASE WHEN p_secret IS NULL THEN 'p_secret is null' ELSE 'p_overlap is null' END;
    END IF;
    IF p_overlap NOT BETWEEN '0' AND '30 days' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'invalid overlap',
            DETAIL = format('It is %s; 0 to 30 days are allowed.', p_overlap);
    END IF;
    -- Raises 22023 if it is no secret of the scheme.
    PERFORM holdfast.sign_webhook(v_provider.scheme, p_secret, '', 'test', 0);

    PERFORM FROM _holdfast.provider AS p WHERE p.name = p_provider FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    DELETE FROM _holdfast.webhook_secret AS s WHERE s.provider = p_provider AND (s.valid_until <= v_now OR s.secret = p_secret OR p_overlap = '0');
    UPDATE _holdfast.webhook_secret AS s SET valid_until = least(s.valid_until, v_now + p_overlap) WHERE s.provider = p_provider;
    INSERT INTO _holdfast.webhook_secret (provider, added_at, secret)
    SELECT p_provider, greatest(v_now, max(s.added_at) + '1 microsecond'), p_secret FROM _holdfast.webhook_secret AS s WHERE s.provider = p_provider;
END
$$;
COMMENT ON FUNCTION holdfast.set_webhook_secret(text, text, interval) IS
'Sets the secret that a provider signs webhooks with: of scheme standard whsec_ and the base64 of 24 to 64 bytes, of scheme stripe what Stripe shows. Those set before stay valid for p_overlap (0 to 30 days), then they are forgotten. Pass the secret as a parameter, so that no log has it. Errors: HF032 unknown provider, 22004, 22023 secret, overlap. Definer''s rights: nobody else may touch the secrets.';

-- A queue must not be sorted or scanned because the statistics are of a time when it was empty: hence
-- the settings of the planner, which leave it the index of due calls and the primary keys.
CREATE FUNCTION holdfast.claim_calls(p_provider text, p_limit integer DEFAULT 100, p_lease interval DEFAULT '30 s')
    RETURNS TABLE (account_id bigint, payment uuid, call integer, key text, kind text, amount bigint, currency text, method text, owner uuid,
                   original text, attempt integer, leased_until timestamptz, given_up_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 100 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
DECLARE
    v_provider CONSTANT _holdfast.provider := _holdfast.known_provider(p_provider);
    v_now CONSTANT timestamptz := clock_timestamp();
    v_silent record;
BEGIN
    IF p_limit IS NULL OR p_lease IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = CASE WHEN p_limit IS NULL THEN 'p_limit is null' ELSE 'p_lease is null' END;
    END IF;
    IF p_limit NOT BETWEEN 1 AND 10000 OR p_lease <= '0' OR p_lease > '1 day' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'invalid limit or lease',
            DETAIL = format('They are %s and %s; 1 to 10000 calls, above 0 and up to 1 day are allowed.', p_limit, p_lease);
    END IF;

    -- Those whose last attempt was never answered. The payment is locked before its call, as
    -- everywhere; one that is busy is looked at next time.
    FOR v_silent IN
        SELECT p.account_id, p.id, d.n
        FROM (SELECT c.account_id, c.payment, c.n, c.state, c.attempts FROM _holdfast.provider_call AS c
              WHERE c.provider = p_provider AND c.state IN ('d', 'u') AND c.due_at <= v_now
              ORDER BY c.due_at LIMIT p_limit) AS d
        JOIN _holdfast.payment AS p ON p.account_id = d.account_id AND p.id = d.payment
        WHERE d.state = 'd' AND d.attempts >= v_provider.attempts
        FOR UPDATE OF p SKIP LOCKED
    LOOP
        PERFORM holdfast.record_result(v_silent.account_id, v_silent.id, v_silent.n, 'unknown', NULL, 'no answer');
    END LOOP;

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT c.ctid FROM _holdfast.provider_call AS c
        WHERE c.provider = p_provider AND c.state IN ('d', 'u') AND c.due_at <= v_now
          AND (c.state = 'u' OR c.attempts < v_provider.attempts)
        ORDER BY c.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED),
    claimed AS (
        -- Locked above, so the ctid stays. What is unknown is asked rarely, answered or not.
        UPDATE _holdfast.provider_call AS c
        SET attempts = c.attempts + 1,
            due_at = v_now + CASE c.state WHEN 'u' THEN greatest(p_lease, make_interval(secs => v_provider.backoff_max)) ELSE p_lease END
        FROM due AS d WHERE c.ctid = d.ctid
        RETURNING c.account_id, c.payment, c.n, c.kind, c.amount, c.attempts, c.due_at)
    SELECT c.account_id, c.payment, c.n, _holdfast.call_key(c.account_id, c.payment, c.n),
           CASE WHEN p.state = 'v' AND c.kind IN ('a', 's', 'k') THEN 'lookup' ELSE k.name END, c.amount, p.currency, p.method, p.owner,
           o.reference, c.attempts, c.due_at, CASE WHEN p.state = 'v' THEN p.changed_at END
    FROM claimed AS c
    LEFT JOIN _holdfast.call_kind AS k ON k.code = c.kind
    JOIN _holdfast.payment AS p ON p.account_id = c.account_id AND p.id = c.payment
    LEFT JOIN LATERAL (
        SELECT b.reference FROM _holdfast.provider_call AS b
        WHERE c.kind IN ('k', 'v', 'r') AND b.account_id = c.account_id AND b.payment = c.payment AND b.n < c.n AND b.kind IN ('a', 's', 'k') AND b.state = 's'
        ORDER BY b.n DESC LIMIT 1) AS o ON true;
END
$$;
COMMENT ON FUNCTION holdfast.claim_calls(text, integer, interval) IS
'Claims up to p_limit (1 to 10000) due calls of a provider, those due longest first, for p_lease (up to 1 day); nobody else gets them until then. Commit, make each call with its key (the same for every attempt: it is the provider''s idempotency key) before leased_until or not at all, and record its result with record_result(). kind: authorize, charge (authorize and capture in one), capture, void, refund; or lookup: the payment was given up, so ask the provider what has become of the call with this key and do not make it (never heard of: declined). amount: minor units of currency. original: the provider''s reference of what is to be captured, voided or refunded. attempt: 1 for the first. given_up_at: when the payment was given up; before that, others may have claimed the call to make it. Calls whose attempts have been used up without an answer become unknown; unknown ones are claimed no oftener than the provider''s longest back-off. Waits for nobody. Errors: HF032 unknown provider, 22004, 22023 limit, lease. Definer''s rights: it writes to the storage on behalf of whoever may execute it.';

-- PL/pgSQL, because a body of SQL would be planned for every webhook.
CREATE FUNCTION _holdfast.read_call_keys(p_keys text[]) RETURNS TABLE (account_id bigint, payment uuid, call integer)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- One spelling only, as call_key() makes it.
    RETURN QUERY
    WITH spelled AS MATERIALIZED (
        SELECT k.line, CASE WHEN k.key ~ '^hf_(0|-?[1-9][0-9]{0,18})_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}_[1-9][0-9]{0,9}$'
                            THEN string_to_array(k.key, '_') END AS word
        FROM unnest(p_keys) WITH ORDINALITY AS k (key, line)),
    fitting AS MATERIALIZED (
        SELECT s.line, CASE WHEN s.word[2]::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 AND s.word[4]::numeric <= 2147483647
                            THEN s.word END AS word
        FROM spelled AS s)
    SELECT f.word[2]::bigint, f.word[3]::uuid, f.word[4]::integer FROM fitting AS f ORDER BY f.line;
END
$$;
COMMENT ON FUNCTION _holdfast.read_call_keys(text[]) IS 'The calls that keys were made for, in order; a row of NULLs for a key that is none of ours.';

-- Readers of verified bodies. outcome is NULL for what is not about the outcome of a call.
CREATE FUNCTION _holdfast.read_standard_body(p_body jsonb, OUT key text, OUT outcome text, OUT amount jsonb, OUT currency text, OUT reference text, OUT reason text)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    v_data CONSTANT jsonb := p_body -> 'data';
BEGIN
    key := v_data ->> 'key';
    outcome := CASE p_body ->> 'type' WHEN 'call.succeeded' THEN 'succeeded' WHEN 'call.declined' THEN 'declined' WHEN 'call.pending' THEN 'pending' END;
    amount := v_data -> 'amount';
    currency := v_data ->> 'currency';
    reference := v_data ->> 'reference';
    reason := v_data ->> 'reason';
END
$$;
COMMENT ON FUNCTION _holdfast.read_standard_body(jsonb) IS 'Reads a webhook of scheme standard: {"type": "call.succeeded", "data": {"key", "amount", "currency", "reference", "reason"}}.';

CREATE FUNCTION _holdfast.read_stripe_body(p_body jsonb, OUT key text, OUT outcome text, OUT amount jsonb, OUT currency text, OUT reference text, OUT reason text)
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    v_type CONSTANT text := p_body ->> 'type';
    v_object CONSTANT jsonb := p_body -> 'data' -> 'object';
BEGIN
    key := v_object -> 'metadata' ->> 'holdfast_key';
    CASE v_type
        WHEN 'payment_intent.amount_capturable_updated' THEN
            outcome := 'succeeded';
            amount := v_object -> 'amount_capturable';
        WHEN 'payment_intent.succeeded' THEN
            outcome := 'succeeded';
            amount := v_object -> 'amount_received';
        WHEN 'payment_intent.payment_failed' THEN
            outcome := 'declined';
            reason := v_object -> 'last_payment_error' ->> 'code';
        WHEN 'payment_intent.processing' THEN
            outcome := 'pending';
        WHEN 'refund.created', 'refund.updated', 'refund.failed', 'charge.refund.updated' THEN
            outcome := CASE v_object ->> 'status' WHEN 'succeeded' THEN 'succeeded' WHEN 'failed' THEN 'declined' WHEN 'canceled' THEN 'declined'
                            WHEN 'pending' THEN 'pending' END;
            amount := v_object -> 'amount';
            reason := v_object ->> 'failure_reason';
        ELSE
            RETURN;
    END CASE;
    currency := upper(v_object ->> 'currency');
    reference := v_object ->> 'id';
END
$$;
COMMENT ON FUNCTION _holdfast.read_stripe_body(jsonb) IS 'Reads an event of Stripe about a payment intent or a refund whose metadata has holdfast_key.';

CREATE FUNCTION holdfast.receive_webhook(p_provider text, p_body bytea, p_signature text, p_id text DEFAULT NULL, p_timestamp text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    v_provider CONSTANT _holdfast.provider := _holdfast.known_provider(p_provider);
    v_secrets text[];
    v_body jsonb;
    v_event text := p_id;
    v_said record;
    v_called record;
    v_fault text;
BEGIN
    v_secrets := ARRAY(SELECT s.secret FROM _holdfast.webhook_secret AS s WHERE s.provider = p_provider AND s.valid_until > clock_timestamp()
                       ORDER BY s.added_at DESC LIMIT 10);
    IF v_secrets = '{}' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'HF041',
            MESSAGE = 'missing webhook secret',
            DETAIL = format('Provider "%s" has no valid secret.', p_provider),
            HINT = 'Set it with holdfast.set_webhook_secret().';
    END IF;
    -- A header that is missing is malformed.
    PERFORM holdfast.verify_webhook(v_provider.scheme, v_secrets, p_body, COALESCE(p_signature, ''), COALESCE(p_id, ''), COALESCE(p_timestamp, ''),
                                    make_interval(secs => v_provider.tolerance));
    BEGIN
        v_body := convert_from(p_body, 'UTF8')::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        v_fault := 'The body is not JSON in UTF-8.';
    END;
    IF v_fault IS NULL THEN
        IF v_provider.scheme = 'stripe' THEN
            SELECT r.* INTO v_said FROM _holdfast.read_stripe_body(v_body) AS r;
            v_event := v_body ->> 'id';
        ELSE
            SELECT r.* INTO v_said FROM _holdfast.read_standard_body(v_body) AS r;
        END IF;
        v_fault := CASE
            WHEN jsonb_typeof(v_body -> 'type') IS DISTINCT FROM 'string' THEN 'The body is no object with a type.'
            WHEN v_said.outcome IS NULL THEN NULL
            WHEN v_event IS NULL THEN 'The event has no id.'
            WHEN v_said.key IS NULL AND v_provider.scheme = 'standard' THEN 'The event names no call: data.key is missing.'
            WHEN v_said.currency !~ '^[A-Z]{3}$' THEN 'The currency is no code of three letters.'
            WHEN jsonb_typeof(v_said.amount) = 'null' THEN NULL
            WHEN jsonb_typeof(v_said.amount) <> 'number' THEN 'The amount is no number.'
            WHEN v_said.amount::numeric NOT BETWEEN 0 AND 9223372036854775807 OR v_said.amount::numeric <> trunc(v_said.amount::numeric) THEN
                'The amount is no integer of minor units.'
        END;
    END IF;
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'HF039', MESSAGE = 'malformed event', DETAIL = v_fault;
    END IF;
    -- Events of other systems that share the provider's account are none of ours.
    SELECT k.account_id, k.payment, k.call INTO v_called FROM _holdfast.read_call_keys(ARRAY[v_said.key]) AS k;
    IF v_said.outcome IS NULL OR NOT EXISTS (
        SELECT FROM _holdfast.provider_call AS c
        WHERE c.account_id = v_called.account_id AND c.payment = v_called.payment AND c.n = v_called.call AND c.provider = p_provider)
    THEN
        RETURN 'ignored';
    END IF;
    RETURN holdfast.record_event(p_provider, v_event, v_said.key, v_said.outcome, NULLIF(v_said.amount, 'null')::bigint, v_said.currency,
                                 left(v_said.reference, 255), left(v_said.reason, 255));
END
$$;
COMMENT ON FUNCTION holdfast.receive_webhook(text, bytea, text, text, text) IS
'Takes a provider''s webhook: verifies the signature over the raw body by the provider''s secrets, reads it, and records the event as record_event() does, once for each id. Returns applied, stale (nothing left to change), mismatch (amount or currency is not that of the call: its outcome is unknown), duplicate, or ignored (not about a call of ours): all of them are to be answered with success. Scheme standard: p_signature, p_id and p_timestamp are the headers webhook-signature, webhook-id and webhook-timestamp; the body is {"type": "call.succeeded", "call.declined" or "call.pending", "data": {"key", and, if you like, "amount", "currency", "reference", "reason"}}, key being that of claim_calls(). Scheme stripe: p_signature is the header Stripe-Signature; events are those of payment intents and refunds with holdfast_key in their metadata. Errors: HF032 unknown provider, HF041 no secret, HF036 malformed headers, HF037 no signature fits, HF038 stale, HF039 malformed event, 22004. Definer''s rights: nobody else may read the secrets.';
