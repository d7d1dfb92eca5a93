-- The state machine, whole: every request in every state, and everything that a provider can say
-- about every call in every situation, against a table that was written down by hand. Each cell is
-- done to a payment that came there by legal means, and undone again.
\ir include/payments.sql
SELECT plan(497);

-- What is legal.
CREATE TABLE legal (state text, input text, next_state text, PRIMARY KEY (state, input, next_state));
INSERT INTO legal VALUES
    ('created', 'authorize', 'authorizing'),
    ('created', 'capture', 'capturing'),
    ('created', 'void', 'voided'),
    ('authorizing', 'void', 'voided'),
    ('authorizing', 'authorized', 'authorized'),
    ('authorizing', 'declined', 'declined'),
    ('authorizing', 'unknown', 'unknown'),
    ('authorized', 'capture', 'capturing'),
    ('authorized', 'void', 'voided'),
    ('capturing', 'captured', 'captured'),
    ('capturing', 'captured', 'refunding'),
    ('capturing', 'declined', 'declined'),
    ('capturing', 'unknown', 'unknown'),
    ('captured', 'refund', 'captured'),
    ('captured', 'refunded', 'partially_refunded'),
    ('captured', 'refunded', 'refunded'),
    ('captured', 'refund_declined', 'captured'),
    ('partially_refunded', 'refund', 'partially_refunded'),
    ('partially_refunded', 'refunded', 'partially_refunded'),
    ('partially_refunded', 'refunded', 'refunded'),
    ('partially_refunded', 'refund_declined', 'partially_refunded'),
    ('refunding', 'refund', 'refunding'),
    ('refunding', 'refunded', 'refunding'),
    ('refunding', 'refunded', 'refunded'),
    ('refunding', 'refund_declined', 'refunding'),
    ('declined', 'authorized', 'declined'),
    ('declined', 'captured', 'refunding'),
    ('voided', 'authorized', 'voided'),
    ('voided', 'captured', 'refunding'),
    ('voided', 'declined', 'voided'),
    ('unknown', 'void', 'voided'),
    ('unknown', 'authorized', 'authorized'),
    ('unknown', 'captured', 'captured'),
    ('unknown', 'captured', 'refunding'),
    ('unknown', 'declined', 'declined');
SELECT bag_eq('SELECT * FROM holdfast.payment_transitions()', 'SELECT * FROM legal', 'payment_transitions() lists what is legal, each once');
SELECT is((SELECT count(DISTINCT state_of(name)) FROM situation), 11::bigint, 'there are situations of all eleven states');

-- Steps that payments have taken in the tests below.
CREATE TABLE walked (state text, input text, next_state text);

-- A payment in words: state, calls, books.
CREATE FUNCTION described(p_name text) RETURNS text LANGUAGE sql
    AS $$ SELECT concat_ws('; ', state(p_name), calls(p_name), books(p_name)) $$;

-- What a command makes of a payment in a situation, undone afterwards but for what has been walked.
CREATE FUNCTION outcome(p_situation text, p_command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
    steps legal[];
BEGIN
    BEGIN
        PERFORM payment_in(p_situation, 'p');
        EXECUTE p_command;
        SET CONSTRAINTS ALL IMMEDIATE;
        answer := described('p') || COALESCE((SELECT '; verify() finds ' || v::text FROM holdfast.verify() AS v LIMIT 1), '');
        steps := ARRAY(SELECT (word(from_state), input, word(to_state))::legal FROM _holdfast.payment_event WHERE payment = payment('p'));
        RAISE EXCEPTION USING ERRCODE = 'ZZ000';
    EXCEPTION
        WHEN SQLSTATE 'ZZ000' THEN NULL;
        WHEN OTHERS THEN answer := SQLSTATE || ' ' || SQLERRM;
    END;
    INSERT INTO walked SELECT * FROM unnest(steps);
    RETURN answer;
END
$$;

-- Requests. What is not legal is refused, in every situation of the state.
CREATE TABLE request (name text);
INSERT INTO request VALUES ('authorize'), ('capture'), ('void'), ('refund');

-- A request for a payment in a situation is refused and changes nothing.
CREATE FUNCTION refuses_in(p_situation text, p_request text, p_state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    name CONSTANT text := p_situation || ' ' || p_request;
BEGIN
    PERFORM payment_in(p_situation, name);
    RETURN refuses(format('SELECT asked(%L, %L)', name, p_request), p_state, format('%s: %s is refused', p_situation, p_request),
        CASE p_state WHEN 'HF028' THEN state_of(p_situation) ELSE '1000 are being refunded' END);
END
$$;
SELECT refuses_in(s.name, r.name, 'HF028') FROM situation AS s, request AS r
WHERE NOT EXISTS (SELECT FROM legal AS l WHERE l.state = state_of(s.name) AND l.input = r.name) ORDER BY s.name, r.name;

CREATE TABLE asking (situation text, request text, result text, PRIMARY KEY (situation, request));
INSERT INTO asking VALUES
    ('created', 'authorize', 'authorizing; 1 authorize due 1000'),
    ('created', 'capture', 'capturing; 1 charge due 1000'),
    ('created', 'void', 'voided'),
    ('authorizing', 'void', 'voided; 1 authorize cancelled 1000'),
    ('authorized', 'capture', 'capturing; 1 authorize succeeded 1000, 2 capture due 1000'),
    ('authorized', 'void', 'voided; 1 authorize succeeded 1000, 2 void due 1000'),
    ('captured', 'refund', 'captured; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000'),
    ('captured what was authorized', 'refund',
        'captured; 1 authorize succeeded 1000, 2 capture succeeded 1000, 3 refund due 1000; provider 1000, due -1000'),
    ('captured, refund due', 'refund', 'captured; 1 charge succeeded 1000, 2 refund due 400, 3 refund due 600; provider 1000, due -1000'),
    ('captured, refund declined', 'refund', 'captured; 1 charge succeeded 1000, 2 refund declined 400, 3 refund due 1000; provider 1000, due -1000'),
    ('captured, refund unknown', 'refund', 'captured; 1 charge succeeded 1000, 2 refund unknown 400, 3 refund due 600; provider 1000, due -1000'),
    ('captured, refund in excess', 'refund',
        'captured; 1 charge succeeded 1000, 2 refund excess 600, 3 refund due 700, 4 refund due 300; provider 1000, due -1000'),
    ('partially_refunded', 'refund', 'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund due 600; provider 600, due -600'),
    ('partially_refunded, refund due', 'refund',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund due 300, 4 refund due 300; provider 600, due -600'),
    ('partially_refunded, refund declined', 'refund',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund declined 300, 4 refund due 600; provider 600, due -600'),
    ('partially_refunded, refund unknown', 'refund',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund unknown 300, 4 refund due 300; provider 600, due -600'),
    ('partially_refunded, refund in excess', 'refund',
        'partially_refunded; 1 charge succeeded 1000, 2 refund excess 600, 3 refund succeeded 700, 4 refund due 300; provider 300, due -300'),
    ('refunding', 'refund', 'HF030'),
    ('refunding, refund declined', 'refund', 'refunding; 1 charge succeeded 1000, 2 refund declined 1000, 3 refund due 1000; provider 1000, due -1000'),
    ('refunding, refund unknown', 'refund', 'HF030'),
    ('refunding, partly refunded', 'refund',
        'refunding; 1 charge succeeded 1000, 2 refund declined 1000, 3 refund succeeded 400, 4 refund due 600; provider 600, due -600'),
    ('refunding, refund in excess', 'refund',
        'refunding; 1 charge succeeded 1000, 2 refund excess 1000, 3 refund succeeded 400, 4 refund due 600; provider 600, due -600'),
    ('refunding, refunds due and in excess', 'refund',
        'refunding; 1 charge succeeded 1000, 2 refund excess 1000, 3 refund due 400, 4 refund due 600; provider 1000, due -1000'),
    ('partially_refunded, refund called off', 'refund',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 600, 3 refund cancelled 700, 4 refund due 400; provider 400, due -400'),
    ('unknown', 'void', 'voided; 1 charge unknown 1000'),
    ('unknown, authorization', 'void', 'voided; 1 authorize unknown 1000'),
    ('unknown, capture', 'void', 'voided; 1 authorize succeeded 1000, 2 capture unknown 1000'),
    ('unknown, nobody asked', 'void', 'voided; 1 charge cancelled 1000'),
    ('unknown, nobody asked for the authorization', 'void', 'voided; 1 authorize cancelled 1000'),
    ('unknown, nobody asked for the capture', 'void', 'voided; 1 authorize succeeded 1000, 2 capture cancelled 1000, 3 void due 1000');
SELECT set_eq('SELECT situation, request FROM asking',
    'SELECT s.name, l.input FROM situation AS s JOIN legal AS l ON l.state = state_of(s.name) JOIN request AS r ON r.name = l.input',
    'every legal request is tried in every situation of its state');
SELECT refuses_in(situation, request, result) FROM asking WHERE result = 'HF030' ORDER BY situation, request;
SELECT is(outcome(situation, format('SELECT asked(''p'', %L)', request)), result, format('%s: %s is done', situation, request))
FROM asking WHERE result <> 'HF030' ORDER BY situation, request;

-- What the provider says: what becomes of the payment, or NULL where nothing does.
CREATE TABLE saying (situation text, call integer, outcome text, result text, PRIMARY KEY (situation, call, outcome));
INSERT INTO saying VALUES
    ('authorizing', 1, 'succeeded', 'authorized; 1 authorize succeeded 1000'),
    ('authorizing', 1, 'declined', 'declined; 1 authorize declined 1000'),
    ('authorizing', 1, 'unknown', 'unknown; 1 authorize unknown 1000'),
    ('authorized', 1, 'succeeded', NULL),
    ('authorized', 1, 'declined', NULL),
    ('authorized', 1, 'unknown', NULL),
    ('capturing', 1, 'succeeded', 'captured; 1 charge succeeded 1000; provider 1000, sales -1000'),
    ('capturing', 1, 'declined', 'declined; 1 charge declined 1000'),
    ('capturing', 1, 'unknown', 'unknown; 1 charge unknown 1000'),
    ('capturing what was authorized', 1, 'succeeded', NULL),
    ('capturing what was authorized', 1, 'declined', NULL),
    ('capturing what was authorized', 1, 'unknown', NULL),
    ('capturing what was authorized', 2, 'succeeded', 'captured; 1 authorize succeeded 1000, 2 capture succeeded 1000; provider 1000, sales -1000'),
    ('capturing what was authorized', 2, 'declined', 'declined; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void due 1000'),
    ('capturing what was authorized', 2, 'unknown', 'unknown; 1 authorize succeeded 1000, 2 capture unknown 1000'),
    ('captured', 1, 'succeeded', NULL),
    ('captured', 1, 'declined', NULL),
    ('captured', 1, 'unknown', NULL),
    ('captured what was authorized', 1, 'succeeded', NULL),
    ('captured what was authorized', 1, 'declined', NULL),
    ('captured what was authorized', 1, 'unknown', NULL),
    ('captured what was authorized', 2, 'succeeded', NULL),
    ('captured what was authorized', 2, 'declined', NULL),
    ('captured what was authorized', 2, 'unknown', NULL),
    ('captured, refund due', 1, 'succeeded', NULL),
    ('captured, refund due', 1, 'declined', NULL),
    ('captured, refund due', 1, 'unknown', NULL),
    ('captured, refund due', 2, 'succeeded', 'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400; provider 600, sales -600'),
    ('captured, refund due', 2, 'declined', 'captured; 1 charge succeeded 1000, 2 refund declined 400; provider 1000, sales -1000'),
    ('captured, refund due', 2, 'unknown', 'captured; 1 charge succeeded 1000, 2 refund unknown 400; provider 1000, sales -600, due -400'),
    ('captured, refund declined', 1, 'succeeded', NULL),
    ('captured, refund declined', 1, 'declined', NULL),
    ('captured, refund declined', 1, 'unknown', NULL),
    ('captured, refund declined', 2, 'succeeded', 'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400; provider 600, sales -600'),
    ('captured, refund declined', 2, 'declined', NULL),
    ('captured, refund declined', 2, 'unknown', NULL),
    ('captured, refund unknown', 1, 'succeeded', NULL),
    ('captured, refund unknown', 1, 'declined', NULL),
    ('captured, refund unknown', 1, 'unknown', NULL),
    ('captured, refund unknown', 2, 'succeeded', 'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400; provider 600, sales -600'),
    ('captured, refund unknown', 2, 'declined', 'captured; 1 charge succeeded 1000, 2 refund declined 400; provider 1000, sales -1000'),
    ('captured, refund unknown', 2, 'unknown', NULL),
    ('captured, refund in excess', 1, 'succeeded', NULL),
    ('captured, refund in excess', 1, 'declined', NULL),
    ('captured, refund in excess', 1, 'unknown', NULL),
    ('captured, refund in excess', 2, 'succeeded', NULL),
    ('captured, refund in excess', 2, 'declined', NULL),
    ('captured, refund in excess', 2, 'unknown', NULL),
    ('captured, refund in excess', 3, 'succeeded',
        'partially_refunded; 1 charge succeeded 1000, 2 refund excess 600, 3 refund succeeded 700; provider 300, sales -300'),
    ('captured, refund in excess', 3, 'declined',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 600, 3 refund declined 700; provider 400, sales -400'),
    ('captured, refund in excess', 3, 'unknown',
        'captured; 1 charge succeeded 1000, 2 refund excess 600, 3 refund unknown 700; provider 1000, sales -300, due -700'),
    ('partially_refunded', 1, 'succeeded', NULL),
    ('partially_refunded', 1, 'declined', NULL),
    ('partially_refunded', 1, 'unknown', NULL),
    ('partially_refunded', 2, 'succeeded', NULL),
    ('partially_refunded', 2, 'declined', NULL),
    ('partially_refunded', 2, 'unknown', NULL),
    ('partially_refunded, refund due', 1, 'succeeded', NULL),
    ('partially_refunded, refund due', 1, 'declined', NULL),
    ('partially_refunded, refund due', 1, 'unknown', NULL),
    ('partially_refunded, refund due', 2, 'succeeded', NULL),
    ('partially_refunded, refund due', 2, 'declined', NULL),
    ('partially_refunded, refund due', 2, 'unknown', NULL),
    ('partially_refunded, refund due', 3, 'succeeded',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund succeeded 300; provider 300, sales -300'),
    ('partially_refunded, refund due', 3, 'declined',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund declined 300; provider 600, sales -600'),
    ('partially_refunded, refund due', 3, 'unknown',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund unknown 300; provider 600, sales -300, due -300'),
    ('partially_refunded, refund declined', 1, 'succeeded', NULL),
    ('partially_refunded, refund declined', 1, 'declined', NULL),
    ('partially_refunded, refund declined', 1, 'unknown', NULL),
    ('partially_refunded, refund declined', 2, 'succeeded', NULL),
    ('partially_refunded, refund declined', 2, 'declined', NULL),
    ('partially_refunded, refund declined', 2, 'unknown', NULL),
    ('partially_refunded, refund declined', 3, 'succeeded',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund succeeded 300; provider 300, sales -300'),
    ('partially_refunded, refund declined', 3, 'declined', NULL),
    ('partially_refunded, refund declined', 3, 'unknown', NULL),
    ('partially_refunded, refund unknown', 1, 'succeeded', NULL),
    ('partially_refunded, refund unknown', 1, 'declined', NULL),
    ('partially_refunded, refund unknown', 1, 'unknown', NULL),
    ('partially_refunded, refund unknown', 2, 'succeeded', NULL),
    ('partially_refunded, refund unknown', 2, 'declined', NULL),
    ('partially_refunded, refund unknown', 2, 'unknown', NULL),
    ('partially_refunded, refund unknown', 3, 'succeeded',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund succeeded 300; provider 300, sales -300'),
    ('partially_refunded, refund unknown', 3, 'declined',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 400, 3 refund declined 300; provider 600, sales -600'),
    ('partially_refunded, refund unknown', 3, 'unknown', NULL),
    ('partially_refunded, refund in excess', 1, 'succeeded', NULL),
    ('partially_refunded, refund in excess', 1, 'declined', NULL),
    ('partially_refunded, refund in excess', 1, 'unknown', NULL),
    ('partially_refunded, refund in excess', 2, 'succeeded', NULL),
    ('partially_refunded, refund in excess', 2, 'declined', NULL),
    ('partially_refunded, refund in excess', 2, 'unknown', NULL),
    ('partially_refunded, refund in excess', 3, 'succeeded', NULL),
    ('partially_refunded, refund in excess', 3, 'declined', NULL),
    ('partially_refunded, refund in excess', 3, 'unknown', NULL),
    ('partially_refunded, refund called off', 1, 'succeeded', NULL),
    ('partially_refunded, refund called off', 1, 'declined', NULL),
    ('partially_refunded, refund called off', 1, 'unknown', NULL),
    ('partially_refunded, refund called off', 2, 'succeeded', NULL),
    ('partially_refunded, refund called off', 2, 'declined', NULL),
    ('partially_refunded, refund called off', 2, 'unknown', NULL),
    ('partially_refunded, refund called off', 3, 'succeeded',
        'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 600, 3 refund excess 700; provider 400, sales -400'),
    ('partially_refunded, refund called off', 3, 'declined', NULL),
    ('partially_refunded, refund called off', 3, 'unknown', NULL),
    ('refunded', 1, 'succeeded', NULL),
    ('refunded', 1, 'declined', NULL),
    ('refunded', 1, 'unknown', NULL),
    ('refunded', 2, 'succeeded', NULL),
    ('refunded', 2, 'declined', NULL),
    ('refunded', 2, 'unknown', NULL),
    ('refunded, refund declined', 1, 'succeeded', NULL),
    ('refunded, refund declined', 1, 'declined', NULL),
    ('refunded, refund declined', 1, 'unknown', NULL),
    ('refunded, refund declined', 2, 'succeeded', 'refunded; 1 charge succeeded 1000, 2 refund excess 400, 3 refund succeeded 1000'),
    ('refunded, refund declined', 2, 'declined', NULL),
    ('refunded, refund declined', 2, 'unknown', NULL),
    ('refunded, refund declined', 3, 'succeeded', NULL),
    ('refunded, refund declined', 3, 'declined', NULL),
    ('refunded, refund declined', 3, 'unknown', NULL),
    ('refunded, refund in excess', 1, 'succeeded', NULL),
    ('refunded, refund in excess', 1, 'declined', NULL),
    ('refunded, refund in excess', 1, 'unknown', NULL),
    ('refunded, refund in excess', 2, 'succeeded', NULL),
    ('refunded, refund in excess', 2, 'declined', NULL),
    ('refunded, refund in excess', 2, 'unknown', NULL),
    ('refunded, refund in excess', 3, 'succeeded', NULL),
    ('refunded, refund in excess', 3, 'declined', NULL),
    ('refunded, refund in excess', 3, 'unknown', NULL),
    ('refunded, refund called off', 1, 'succeeded', NULL),
    ('refunded, refund called off', 1, 'declined', NULL),
    ('refunded, refund called off', 1, 'unknown', NULL),
    ('refunded, refund called off', 2, 'succeeded', NULL),
    ('refunded, refund called off', 2, 'declined', NULL),
    ('refunded, refund called off', 2, 'unknown', NULL),
    ('refunded, refund called off', 3, 'succeeded', 'refunded; 1 charge succeeded 1000, 2 refund succeeded 1000, 3 refund excess 400'),
    ('refunded, refund called off', 3, 'declined', NULL),
    ('refunded, refund called off', 3, 'unknown', NULL),
    ('refunding', 1, 'succeeded', NULL),
    ('refunding', 1, 'declined', NULL),
    ('refunding', 1, 'unknown', NULL),
    ('refunding', 2, 'succeeded', 'refunded; 1 charge succeeded 1000, 2 refund succeeded 1000'),
    ('refunding', 2, 'declined', 'refunding; 1 charge succeeded 1000, 2 refund declined 1000; provider 1000, due -1000'),
    ('refunding', 2, 'unknown', 'refunding; 1 charge succeeded 1000, 2 refund unknown 1000; provider 1000, due -1000'),
    ('refunding, refund declined', 1, 'succeeded', NULL),
    ('refunding, refund declined', 1, 'declined', NULL),
    ('refunding, refund declined', 1, 'unknown', NULL),
    ('refunding, refund declined', 2, 'succeeded', 'refunded; 1 charge succeeded 1000, 2 refund succeeded 1000'),
    ('refunding, refund declined', 2, 'declined', NULL),
    ('refunding, refund declined', 2, 'unknown', NULL),
    ('refunding, refund unknown', 1, 'succeeded', NULL),
    ('refunding, refund unknown', 1, 'declined', NULL),
    ('refunding, refund unknown', 1, 'unknown', NULL),
    ('refunding, refund unknown', 2, 'succeeded', 'refunded; 1 charge succeeded 1000, 2 refund succeeded 1000'),
    ('refunding, refund unknown', 2, 'declined', 'refunding; 1 charge succeeded 1000, 2 refund declined 1000; provider 1000, due -1000'),
    ('refunding, refund unknown', 2, 'unknown', NULL),
    ('refunding, partly refunded', 1, 'succeeded', NULL),
    ('refunding, partly refunded', 1, 'declined', NULL),
    ('refunding, partly refunded', 1, 'unknown', NULL),
    ('refunding, partly refunded', 2, 'succeeded',
        'refunding; 1 charge succeeded 1000, 2 refund excess 1000, 3 refund succeeded 400; provider 600, due -600'),
    ('refunding, partly refunded', 2, 'declined', NULL),
    ('refunding, partly refunded', 2, 'unknown', NULL),
    ('refunding, partly refunded', 3, 'succeeded', NULL),
    ('refunding, partly refunded', 3, 'declined', NULL),
    ('refunding, partly refunded', 3, 'unknown', NULL),
    ('refunding, refund in excess', 1, 'succeeded', NULL),
    ('refunding, refund in excess', 1, 'declined', NULL),
    ('refunding, refund in excess', 1, 'unknown', NULL),
    ('refunding, refund in excess', 2, 'succeeded', NULL),
    ('refunding, refund in excess', 2, 'declined', NULL),
    ('refunding, refund in excess', 2, 'unknown', NULL),
    ('refunding, refund in excess', 3, 'succeeded', NULL),
    ('refunding, refund in excess', 3, 'declined', NULL),
    ('refunding, refund in excess', 3, 'unknown', NULL),
    ('refunding, refunds due and in excess', 1, 'succeeded', NULL),
    ('refunding, refunds due and in excess', 1, 'declined', NULL),
    ('refunding, refunds due and in excess', 1, 'unknown', NULL),
    ('refunding, refunds due and in excess', 2, 'succeeded', NULL),
    ('refunding, refunds due and in excess', 2, 'declined', NULL),
    ('refunding, refunds due and in excess', 2, 'unknown', NULL),
    ('refunding, refunds due and in excess', 3, 'succeeded',
        'refunding; 1 charge succeeded 1000, 2 refund excess 1000, 3 refund succeeded 400; provider 600, due -600'),
    ('refunding, refunds due and in excess', 3, 'declined', 'refunded; 1 charge succeeded 1000, 2 refund succeeded 1000, 3 refund declined 400'),
    ('refunding, refunds due and in excess', 3, 'unknown',
        'refunding; 1 charge succeeded 1000, 2 refund excess 1000, 3 refund unknown 400; provider 1000, due -1000'),
    ('declined', 1, 'succeeded', 'refunding; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000'),
    ('declined', 1, 'declined', NULL),
    ('declined', 1, 'unknown', NULL),
    ('declined to authorize', 1, 'succeeded', 'declined; 1 authorize succeeded 1000, 2 void due 1000'),
    ('declined to authorize', 1, 'declined', NULL),
    ('declined to authorize', 1, 'unknown', NULL),
    ('declined to capture', 1, 'succeeded', NULL),
    ('declined to capture', 1, 'declined', NULL),
    ('declined to capture', 1, 'unknown', NULL),
    ('declined to capture', 2, 'succeeded',
        'refunding; 1 authorize succeeded 1000, 2 capture succeeded 1000, 3 void due 1000, 4 refund due 1000; provider 1000, due -1000'),
    ('declined to capture', 2, 'declined', NULL),
    ('declined to capture', 2, 'unknown', NULL),
    ('declined to capture', 3, 'succeeded', 'declined; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void succeeded 1000'),
    ('declined to capture', 3, 'declined', 'declined; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void declined 1000'),
    ('declined to capture', 3, 'unknown', 'declined; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void unknown 1000'),
    ('declined to capture, let go', 1, 'succeeded', NULL),
    ('declined to capture, let go', 1, 'declined', NULL),
    ('declined to capture, let go', 1, 'unknown', NULL),
    ('declined to capture, let go', 2, 'succeeded',
        'refunding; 1 authorize succeeded 1000, 2 capture succeeded 1000, 3 void succeeded 1000, 4 refund due 1000; provider 1000, due -1000'),
    ('declined to capture, let go', 2, 'declined', NULL),
    ('declined to capture, let go', 2, 'unknown', NULL),
    ('declined to capture, let go', 3, 'succeeded', NULL),
    ('declined to capture, let go', 3, 'declined', NULL),
    ('declined to capture, let go', 3, 'unknown', NULL),
    ('declined, authorized since', 1, 'succeeded', NULL),
    ('declined, authorized since', 1, 'declined', NULL),
    ('declined, authorized since', 1, 'unknown', NULL),
    ('declined, authorized since', 2, 'succeeded', 'declined; 1 authorize succeeded 1000, 2 void succeeded 1000'),
    ('declined, authorized since', 2, 'declined', 'declined; 1 authorize succeeded 1000, 2 void declined 1000'),
    ('declined, authorized since', 2, 'unknown', 'declined; 1 authorize succeeded 1000, 2 void unknown 1000'),
    ('voided, call cancelled', 1, 'succeeded', 'voided; 1 authorize succeeded 1000, 2 void due 1000'),
    ('voided, call cancelled', 1, 'declined', NULL),
    ('voided, call cancelled', 1, 'unknown', NULL),
    ('voided, call under way', 1, 'succeeded', 'voided; 1 authorize succeeded 1000, 2 void due 1000'),
    ('voided, call under way', 1, 'declined', 'voided; 1 authorize declined 1000'),
    ('voided, call under way', 1, 'unknown', 'voided; 1 authorize unknown 1000'),
    ('voided, declined since', 1, 'succeeded', 'voided; 1 authorize succeeded 1000, 2 void due 1000'),
    ('voided, declined since', 1, 'declined', NULL),
    ('voided, declined since', 1, 'unknown', NULL),
    ('voided, authorized before', 1, 'succeeded', NULL),
    ('voided, authorized before', 1, 'declined', NULL),
    ('voided, authorized before', 1, 'unknown', NULL),
    ('voided, authorized before', 2, 'succeeded', 'voided; 1 authorize succeeded 1000, 2 void succeeded 1000'),
    ('voided, authorized before', 2, 'declined', 'voided; 1 authorize succeeded 1000, 2 void declined 1000'),
    ('voided, authorized before', 2, 'unknown', 'voided; 1 authorize succeeded 1000, 2 void unknown 1000'),
    ('voided, let go', 1, 'succeeded', NULL),
    ('voided, let go', 1, 'declined', NULL),
    ('voided, let go', 1, 'unknown', NULL),
    ('voided, let go', 2, 'succeeded', NULL),
    ('voided, let go', 2, 'declined', NULL),
    ('voided, let go', 2, 'unknown', NULL),
    ('voided, not let go', 1, 'succeeded', NULL),
    ('voided, not let go', 1, 'declined', NULL),
    ('voided, not let go', 1, 'unknown', NULL),
    ('voided, not let go', 2, 'succeeded', 'voided; 1 authorize succeeded 1000, 2 void succeeded 1000'),
    ('voided, not let go', 2, 'declined', NULL),
    ('voided, not let go', 2, 'unknown', NULL),
    ('voided, authorization unknown', 1, 'succeeded', 'voided; 1 authorize succeeded 1000, 2 void due 1000'),
    ('voided, authorization unknown', 1, 'declined', 'voided; 1 authorize declined 1000'),
    ('voided, authorization unknown', 1, 'unknown', NULL),
    ('voided, charge unknown', 1, 'succeeded', 'refunding; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000'),
    ('voided, charge unknown', 1, 'declined', 'voided; 1 charge declined 1000'),
    ('voided, charge unknown', 1, 'unknown', NULL),
    ('voided, capture unknown', 1, 'succeeded', NULL),
    ('voided, capture unknown', 1, 'declined', NULL),
    ('voided, capture unknown', 1, 'unknown', NULL),
    ('voided, capture unknown', 2, 'succeeded',
        'refunding; 1 authorize succeeded 1000, 2 capture succeeded 1000, 3 refund due 1000; provider 1000, due -1000'),
    ('voided, capture unknown', 2, 'declined', 'voided; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void due 1000'),
    ('voided, capture unknown', 2, 'unknown', NULL),
    ('voided, capture declined since', 1, 'succeeded', NULL),
    ('voided, capture declined since', 1, 'declined', NULL),
    ('voided, capture declined since', 1, 'unknown', NULL),
    ('voided, capture declined since', 2, 'succeeded',
        'refunding; 1 authorize succeeded 1000, 2 capture succeeded 1000, 3 void due 1000, 4 refund due 1000; provider 1000, due -1000'),
    ('voided, capture declined since', 2, 'declined', NULL),
    ('voided, capture declined since', 2, 'unknown', NULL),
    ('voided, capture declined since', 3, 'succeeded', 'voided; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void succeeded 1000'),
    ('voided, capture declined since', 3, 'declined', 'voided; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void declined 1000'),
    ('voided, capture declined since', 3, 'unknown', 'voided; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void unknown 1000'),
    ('voided, charge cancelled', 1, 'succeeded', 'refunding; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000'),
    ('voided, charge cancelled', 1, 'declined', NULL),
    ('voided, charge cancelled', 1, 'unknown', NULL),
    ('unknown', 1, 'succeeded', 'captured; 1 charge succeeded 1000; provider 1000, sales -1000'),
    ('unknown', 1, 'declined', 'declined; 1 charge declined 1000'),
    ('unknown', 1, 'unknown', NULL),
    ('unknown, authorization', 1, 'succeeded', 'authorized; 1 authorize succeeded 1000'),
    ('unknown, authorization', 1, 'declined', 'declined; 1 authorize declined 1000'),
    ('unknown, authorization', 1, 'unknown', NULL),
    ('unknown, capture', 1, 'succeeded', NULL),
    ('unknown, capture', 1, 'declined', NULL),
    ('unknown, capture', 1, 'unknown', NULL),
    ('unknown, capture', 2, 'succeeded', 'captured; 1 authorize succeeded 1000, 2 capture succeeded 1000; provider 1000, sales -1000'),
    ('unknown, capture', 2, 'declined', 'declined; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void due 1000'),
    ('unknown, capture', 2, 'unknown', NULL),
    ('unknown, nobody asked', 1, 'succeeded', 'captured; 1 charge succeeded 1000; provider 1000, sales -1000'),
    ('unknown, nobody asked', 1, 'declined', 'declined; 1 charge declined 1000'),
    ('unknown, nobody asked', 1, 'unknown', NULL),
    ('unknown, nobody asked for the authorization', 1, 'succeeded', 'authorized; 1 authorize succeeded 1000'),
    ('unknown, nobody asked for the authorization', 1, 'declined', 'declined; 1 authorize declined 1000'),
    ('unknown, nobody asked for the authorization', 1, 'unknown', NULL),
    ('unknown, nobody asked for the capture', 1, 'succeeded', NULL),
    ('unknown, nobody asked for the capture', 1, 'declined', NULL),
    ('unknown, nobody asked for the capture', 1, 'unknown', NULL),
    ('unknown, nobody asked for the capture', 2, 'succeeded', 'captured; 1 authorize succeeded 1000, 2 capture succeeded 1000; provider 1000, sales -1000'),
    ('unknown, nobody asked for the capture', 2, 'declined', 'declined; 1 authorize succeeded 1000, 2 capture declined 1000, 3 void due 1000'),
    ('unknown, nobody asked for the capture', 2, 'unknown', NULL);

CREATE FUNCTION calls_in(p_situation text) RETURNS integer LANGUAGE sql
    AS $$ SELECT undone('SELECT calls FROM _holdfast.payment WHERE id = payment(''q'')', format('SELECT payment_in(%L, ''q'')', p_situation))::integer $$;
SELECT set_eq('SELECT situation, call, outcome FROM saying',
    $$SELECT s.name, c, o FROM situation AS s, generate_series(1, calls_in(s.name)) AS c, unnest('{succeeded,declined,unknown}'::text[]) AS o$$,
    'every outcome is tried for every call of every situation');
SELECT is(outcome(situation, format('SELECT said(''p'', %L, %s)', outcome, call)), COALESCE(result, outcome(situation, 'SELECT')),
    format('%s: call %s %s', situation, call, CASE outcome WHEN 'unknown' THEN 'becomes unknown' WHEN 'declined' THEN 'is declined' ELSE outcome END))
FROM saying ORDER BY situation, call, outcome;

-- Units that are gone when the money comes.
SELECT given(1, 10);
SELECT held('ann', 1, 2);
SELECT is(happens('gone', 'capture', 'ann'), 'capturing', 'an owner pays');
SELECT is(holdfast.release(owner('ann')), 2::bigint, 'and loses his units');
SELECT is(said('gone', 'succeeded'), 'refunding', 'capturing: his money goes back');
SELECT held('bob', 1, 2);
SELECT is(happens('lost', 'capture, unknown', 'bob'), 'unknown', 'another one pays');
SELECT is(holdfast.release(owner('bob')), 2::bigint, 'and loses his units');
SELECT is(said('lost', 'succeeded'), 'refunding', 'unknown: his money goes back');
INSERT INTO walked SELECT word(from_state), input, word(to_state) FROM _holdfast.payment_event WHERE payment IN (payment('gone'), payment('lost'));
SELECT is(happens('rest', 'capture, succeeded, refund 400, succeeded, refund, succeeded'), 'refunded', 'a payment is refunded in two parts');
INSERT INTO walked SELECT word(from_state), input, word(to_state) FROM _holdfast.payment_event WHERE payment = payment('rest');
SELECT set_eq('SELECT * FROM walked', 'SELECT * FROM legal', 'every legal step has been taken, and no other one');

SELECT * FROM finish();
ROLLBACK;
