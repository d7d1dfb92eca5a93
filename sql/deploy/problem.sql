-- Deploy shop:problem to pg
-- requires: schema
--
-- Errors are SQLSTATEs. This is the one table that says what they mean over HTTP: a refusal is raised with a code of
-- class HS (the shop's) or HF (the extension's), the web application looks it up here, and a batch puts the same into its
-- verdicts. What is not in the table is a fault of ours: 500.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.problem (
    code   text    COLLATE "C" NOT NULL,
    status integer NOT NULL,
    name   text    COLLATE "C" NOT NULL,
    title  text    NOT NULL,
    CONSTRAINT problem_pkey PRIMARY KEY (code),
    CONSTRAINT problem_code_check CHECK (code ~ '^[0-9A-Z]{5}$'),
    CONSTRAINT problem_status_check CHECK (status BETWEEN 400 AND 599),
    CONSTRAINT problem_name_check CHECK (name ~ '^[a-z][a-z_]*$')
);
COMMENT ON TABLE shop.problem IS 'What each SQLSTATE means over HTTP. Several codes may have one name.';
COMMENT ON COLUMN shop.problem.name IS 'The stable code of the problem document (RFC 9457).';

INSERT INTO shop.problem (code, status, name, title) VALUES
    -- The request as such.
    ('HS001', 401, 'unauthenticated', 'nobody is logged in'),
    ('HS002', 403, 'account_suspended', 'the account is suspended'),
    ('HS003', 403, 'forbidden', 'not allowed for this account'),
    ('HS004', 404, 'not_found', 'there is no such thing'),
    ('HS005', 410, 'gone', 'it is not there any more'),
    ('HS006', 412, 'precondition_failed', 'it has changed meanwhile'),
    ('HS007', 428, 'precondition_required', 'If-Match is missing'),
    ('HS008', 400, 'invalid_body', 'the body is not a JSON object'),
    ('HS009', 422, 'unknown_field', 'unknown field'),
    ('HS010', 422, 'missing_field', 'missing field'),
    ('HS011', 422, 'wrong_type', 'wrong type'),
    ('HS012', 422, 'invalid_length', 'too long or too short'),
    ('HS013', 422, 'invalid_characters', 'characters that are not allowed'),
    ('HS014', 422, 'out_of_range', 'too small or too large'),
    ('HS015', 422, 'invalid_value', 'not a value that is allowed'),
    ('HS016', 400, 'invalid_cursor', 'not a cursor of this list'),
    -- PostgreSQL's own: input that cannot be read, and what passes.
    ('22P02', 400, 'malformed', 'the input cannot be read'),
    ('22P05', 400, 'malformed', 'the input cannot be read'),
    ('22021', 400, 'malformed', 'the input cannot be read'),
    ('22003', 422, 'out_of_range', 'too small or too large'),
    ('22008', 422, 'out_of_range', 'too small or too large'),
    ('54001', 400, 'malformed', 'the input cannot be read'),
    ('40001', 503, 'try_again', 'somebody else was quicker; try again'),
    ('40P01', 503, 'try_again', 'somebody else was quicker; try again'),
    ('55P03', 503, 'try_again', 'somebody else is at it; try again'),
    ('57014', 503, 'timed_out', 'it took too long; try again'),
    ('53300', 503, 'unavailable', 'the database is busy; try again'),
    ('57P01', 503, 'unavailable', 'the database is not available; try again'),
    ('57P02', 503, 'unavailable', 'the database is not available; try again'),
    ('57P03', 503, 'unavailable', 'the database is not available; try again'),
    ('25006', 503, 'unavailable', 'the database is read-only for the moment; try again'),
    -- The extension's.
    ('HF001', 409, 'insufficient_stock', 'not enough in stock'),
    ('HF002', 409, 'insufficient_stock', 'not enough in stock'),
    ('HF003', 422, 'invalid_quantity', 'not a quantity'),
    ('HF004', 422, 'out_of_range', 'too small or too large'),
    ('HF005', 422, 'invalid_lines', 'no lines, or too many'),
    ('HF006', 409, 'hold_ended', 'nothing is held any more'),
    ('HF007', 409, 'hold_ended', 'the units are sold already'),
    ('HF008', 409, 'hold_ended', 'the units were released'),
    ('HF009', 409, 'hold_ended', 'the time to pay is over'),
    ('HF010', 409, 'exceeds_hold', 'more than is held'),
    ('HF011', 409, 'exceeds_sold', 'more than was sold'),
    ('HF012', 409, 'stock_below_zero', 'less is available than is to be taken away'),
    ('HF014', 422, 'out_of_range', 'too small or too large'),
    ('HF015', 409, 'refused_with_order', 'another line of the order was refused'),
    ('HF016', 409, 'refused_with_batch', 'another order of the batch was refused'),
    ('HF017', 409, 'not_sold', 'the units are not sold'),
    ('HF019', 400, 'invalid_idempotency_key', 'Idempotency-Key is missing, or not 8 to 255 printable characters'),
    ('HF021', 422, 'idempotency_key_reused', 'the Idempotency-Key was used for another request'),
    ('HF022', 409, 'idempotency_key_in_flight', 'a request with this Idempotency-Key is being worked on'),
    ('HF024', 422, 'invalid_amount', 'not an amount'),
    ('HF025', 422, 'unknown_currency', 'not a currency'),
    ('HF026', 422, 'currency_mismatch', 'another currency than the payment''s'),
    ('HF027', 404, 'not_found', 'there is no such payment'),
    ('HF028', 409, 'illegal_transition', 'the payment''s state does not allow it'),
    ('HF029', 409, 'exceeds_authorized', 'more than is authorized'),
    ('HF030', 409, 'exceeds_captured', 'more than is left to refund'),
    ('HF031', 409, 'payment_exists', 'another payment is under way, or has been made'),
    ('HF032', 422, 'unknown_provider', 'not a payment provider of this shop'),
    ('HF033', 422, 'invalid_method', 'not a payment method'),
    ('HF035', 404, 'not_found', 'there is no such provider call'),
    ('HF036', 401, 'invalid_signature', 'the webhook is not signed as it should be'),
    ('HF037', 401, 'invalid_signature', 'the webhook is not signed as it should be'),
    ('HF038', 401, 'invalid_signature', 'the webhook was signed too long ago, or in the future'),
    ('HF039', 422, 'malformed_event', 'the webhook cannot be read'),
    ('HF041', 401, 'invalid_signature', 'no secret to verify the webhook with'),
    ('HF042', 409, 'cart_changed', 'the order is not what was authorized');

CREATE FUNCTION shop.refuse(p_code text, p_pointer text DEFAULT NULL, p_detail text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = p_code, COLUMN = coalesce(p_pointer, ''), DETAIL = coalesce(p_detail, ''),
        MESSAGE = coalesce((SELECT p.title FROM shop.problem AS p WHERE p.code = p_code), 'refused');
END $$;
COMMENT ON FUNCTION shop.refuse(text, text, text) IS
'Raises the refusal p_code of shop.problem. p_pointer: the JSON pointer (RFC 6901) of the field, or ? and the name of a query parameter; it is the error''s field COLUMN.';

CREATE FUNCTION shop.problem_json(p_code text, p_pointer text DEFAULT NULL, p_detail text DEFAULT NULL) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_strip_nulls(json_build_object('type', '/problems/' || p.name, 'title', p.title, 'status', p.status, 'code', p.name,
            'detail', nullif(p_detail, ''), 'pointer', nullif(p_pointer, '')))
        FROM (SELECT coalesce(max(q.status), 500), coalesce(max(q.name), 'internal_error'), coalesce(max(q.title), 'a fault of ours')
              FROM shop.problem AS q WHERE q.code = p_code) AS p (status, name, title);
    END;
COMMENT ON FUNCTION shop.problem_json(text, text, text) IS 'The problem document (RFC 9457) of a refusal, as batches put it into their verdicts.';

COMMIT;
