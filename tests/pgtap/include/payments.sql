-- What the files about payments begin with: provider bank, payments by name, and words for what has
-- become of them. All payments belong to account 1.
\ir begin.sql
SELECT holdfast.add_provider('bank', p_attempts => 3, p_backoff => '10 s', p_backoff_max => '1 hour');

-- A payment's id by its name.
CREATE FUNCTION payment(p_name text) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT md5('payment ' || p_name)::uuid $$;

-- An idempotency key that nobody has used.
CREATE FUNCTION new_key() RETURNS text LANGUAGE sql
    AS $$ SELECT 'key ' || holdfast.uuid7() $$;

-- A new payment of 10.00 EUR, for what an owner holds or for nothing in particular.
CREATE FUNCTION created(p_name text, p_owner text DEFAULT NULL, p_amount bigint DEFAULT 1000, p_currency text DEFAULT 'EUR')
    RETURNS text LANGUAGE sql AS $$
    SELECT state FROM holdfast.create_payment(1, new_key(), p_amount, p_currency, 'bank', 'card of ' || p_name, owner(p_owner), NULL, payment(p_name))
$$;

-- A request with a new key. The state that it answers.
CREATE FUNCTION asked(p_name text, p_request text, p_amount bigint DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE p_request
        WHEN 'authorize' THEN (SELECT state FROM holdfast.authorize_payment(1, payment(p_name), new_key()))
        WHEN 'capture' THEN (SELECT state FROM holdfast.capture_payment(1, payment(p_name), new_key(), p_amount))
        WHEN 'void' THEN (SELECT state FROM holdfast.void_payment(1, payment(p_name), new_key()))
        WHEN 'refund' THEN (SELECT state FROM holdfast.refund_payment(1, payment(p_name), new_key(), p_amount))
    END;
END
$$;

-- What the provider says about a call, the last one as a rule. The state that it answers.
CREATE FUNCTION said(p_name text, p_outcome text, p_call integer DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT holdfast.record_result(1, payment(p_name), COALESCE(p_call, calls), p_outcome)
    FROM _holdfast.payment WHERE account_id = 1 AND id = payment(p_name)
$$;

-- Steps of a payment, which is created if it is new: requests, perhaps with an amount; outcomes,
-- perhaps with the number of a call; claim, by which all due calls are claimed. The state at the end.
CREATE FUNCTION happens(p_name text, p_steps text, p_owner text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    step text;
BEGIN
    IF NOT EXISTS (SELECT FROM _holdfast.payment WHERE account_id = 1 AND id = payment(p_name)) THEN
        PERFORM created(p_name, p_owner);
    END IF;
    FOREACH step IN ARRAY string_to_array(p_steps, ', ') LOOP
        CASE
            WHEN step = 'claim' THEN PERFORM holdfast.claim_calls('bank');
            WHEN split_part(step, ' ', 1) IN ('authorize', 'capture', 'void', 'refund') THEN
                PERFORM asked(p_name, split_part(step, ' ', 1), NULLIF(split_part(step, ' ', 2), '')::bigint);
            ELSE PERFORM said(p_name, split_part(step, ' ', 1), NULLIF(split_part(step, ' ', 2), '')::integer);
        END CASE;
    END LOOP;
    RETURN state(p_name);
END
$$;

-- Codes in words, independent of those of the extension.
CREATE FUNCTION word(p_code "char") RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE p_code WHEN 'n' THEN 'created' WHEN 'g' THEN 'authorizing' WHEN 'a' THEN 'authorized' WHEN 'p' THEN 'capturing' WHEN 'c' THEN 'captured'
        WHEN 'q' THEN 'partially_refunded' WHEN 'r' THEN 'refunded' WHEN 'b' THEN 'refunding' WHEN 'd' THEN 'declined' WHEN 'v' THEN 'voided' WHEN 'u' THEN 'unknown' END
$$;

CREATE FUNCTION state(p_name text) RETURNS text LANGUAGE sql
    AS $$ SELECT word(state) FROM _holdfast.payment WHERE account_id = 1 AND id = payment(p_name) $$;

-- The money of a payment: what is not zero.
CREATE FUNCTION sums(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', 'authorized ' || NULLIF(authorized, 0), 'captured ' || NULLIF(captured, 0), 'refunding ' || NULLIF(refunding, 0),
        'refunded ' || NULLIF(refunded, 0))
    FROM _holdfast.payment WHERE account_id = 1 AND id = payment(p_name)
$$;

-- The calls of a payment, such as "1 charge succeeded 1000, 2 refund due 400".
CREATE FUNCTION calls(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s %s %s', n,
        CASE kind WHEN 'a' THEN 'authorize' WHEN 's' THEN 'charge' WHEN 'k' THEN 'capture' WHEN 'v' THEN 'void' WHEN 'r' THEN 'refund' END,
        CASE state WHEN 'd' THEN 'due' WHEN 'u' THEN 'unknown' WHEN 's' THEN 'succeeded' WHEN 'f' THEN 'declined' WHEN 'x' THEN 'cancelled'
            WHEN 'o' THEN 'excess' END, amount), ', ' ORDER BY n)
    FROM _holdfast.provider_call WHERE account_id = 1 AND payment = payment(p_name)
$$;

-- The history of a payment, such as "capture: created to capturing, captured: capturing to captured".
CREATE FUNCTION history(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s to %s', input, word(from_state), word(to_state)), ', ' ORDER BY n)
    FROM _holdfast.payment_event WHERE account_id = 1 AND payment = payment(p_name)
$$;

-- The balances of a payment's books that are not zero, such as "provider 1000, sales -1000".
CREATE FUNCTION books(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', CASE book WHEN 'p' THEN 'provider' WHEN 's' THEN 'sales' WHEN 'd' THEN 'due' END, amount), ', '
        ORDER BY CASE book WHEN 'p' THEN 1 WHEN 's' THEN 2 ELSE 3 END)
    FROM (SELECT book, sum(amount) AS amount FROM _holdfast.ledger_entry WHERE account_id = 1 AND payment = payment(p_name) GROUP BY book) AS b
    WHERE amount <> 0
$$;

-- All situations that a payment can be in, by the state and what has led to it, and the steps there.
CREATE TABLE situation (name text PRIMARY KEY, steps text NOT NULL);
INSERT INTO situation VALUES
    ('created', ''),
    ('authorizing', 'authorize'),
    ('authorized', 'authorize, succeeded'),
    ('capturing', 'capture'),
    ('capturing what was authorized', 'authorize, succeeded, capture'),
    ('captured', 'capture, succeeded'),
    ('captured what was authorized', 'authorize, succeeded, capture, succeeded'),
    ('captured, refund due', 'capture, succeeded, refund 400'),
    ('captured, refund declined', 'capture, succeeded, refund 400, declined'),
    ('captured, refund unknown', 'capture, succeeded, refund 400, unknown'),
    ('captured, refund in excess', 'capture, succeeded, refund 600, declined, refund 700, claim, succeeded 2'),
    ('partially_refunded', 'capture, succeeded, refund 400, succeeded'),
    ('partially_refunded, refund due', 'capture, succeeded, refund 400, succeeded, refund 300'),
    ('partially_refunded, refund declined', 'capture, succeeded, refund 400, succeeded, refund 300, declined'),
    ('partially_refunded, refund unknown', 'capture, succeeded, refund 400, succeeded, refund 300, unknown'),
    ('partially_refunded, refund in excess', 'capture, succeeded, refund 600, declined, refund 700, succeeded, succeeded 2'),
    ('partially_refunded, refund called off', 'capture, succeeded, refund 600, declined, refund 700, succeeded 2'),
    ('refunded', 'capture, succeeded, refund, succeeded'),
    ('refunded, refund declined', 'capture, succeeded, refund 400, declined, refund, succeeded'),
    ('refunded, refund in excess', 'capture, succeeded, refund 400, declined, refund, succeeded, succeeded 2'),
    ('refunded, refund called off', 'capture, declined, succeeded 1, declined 2, refund 400, succeeded 2'),
    ('refunding', 'capture, declined, succeeded 1'),
    ('refunding, refund declined', 'capture, declined, succeeded 1, declined 2'),
    ('refunding, refund unknown', 'capture, declined, succeeded 1, unknown 2'),
    ('refunding, partly refunded', 'capture, declined, succeeded 1, declined 2, refund 400, succeeded 3'),
    ('refunding, refund in excess', 'capture, declined, succeeded 1, declined 2, refund 400, succeeded 3, succeeded 2'),
    ('refunding, refunds due and in excess', 'capture, declined, succeeded 1, declined 2, refund 400, claim, succeeded 2'),
    ('declined', 'capture, declined'),
    ('declined to authorize', 'authorize, declined'),
    ('declined to capture', 'authorize, succeeded, capture, declined'),
    ('declined to capture, let go', 'authorize, succeeded, capture, declined, succeeded 3'),
    ('declined, authorized since', 'authorize, declined, succeeded 1'),
    ('voided', 'void'),
    ('voided, call cancelled', 'authorize, void'),
    ('voided, call under way', 'authorize, claim, void'),
    ('voided, declined since', 'authorize, claim, void, declined'),
    ('voided, authorized before', 'authorize, succeeded, void'),
    ('voided, let go', 'authorize, succeeded, void, succeeded'),
    ('voided, not let go', 'authorize, succeeded, void, declined'),
    ('voided, authorization unknown', 'authorize, claim, unknown, void'),
    ('voided, charge unknown', 'capture, claim, unknown, void'),
    ('voided, capture unknown', 'authorize, succeeded, capture, claim, unknown, void'),
    ('voided, capture declined since', 'authorize, succeeded, capture, claim, unknown, void, declined'),
    ('voided, charge cancelled', 'capture, unknown, void'),
    ('unknown', 'capture, claim, unknown'),
    ('unknown, authorization', 'authorize, claim, unknown'),
    ('unknown, capture', 'authorize, succeeded, capture, claim, unknown'),
    ('unknown, nobody asked', 'capture, unknown'),
    ('unknown, nobody asked for the authorization', 'authorize, unknown'),
    ('unknown, nobody asked for the capture', 'authorize, succeeded, capture, unknown');

-- The state of a situation is its first word.
CREATE FUNCTION state_of(p_situation text) RETURNS text IMMUTABLE LANGUAGE sql
    AS $$ SELECT substring(p_situation FROM '^\w+') $$;

-- Brings a new payment into a situation by legal means.
CREATE FUNCTION payment_in(p_situation text, p_name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM happens(p_name, steps) FROM situation WHERE name = p_situation;
    IF state(p_name) IS DISTINCT FROM state_of(p_situation) THEN
        RAISE EXCEPTION 'a payment was to be %, and is %', p_situation, state(p_name);
    END IF;
    RETURN state(p_name);
END
$$;
