-- Deploy shop:request to pg
-- requires: problem
--
-- Requests with an Idempotency-Key: claimed before their work and completed with their answer, in the transaction of the
-- work. The answer is kept as the client got it, byte for byte, behind its ETag and Location.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.claim_request(p_actor bigint, p_operation text, p_key text, p_request jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_claim record;
    v_answer text[];
BEGIN
    IF p_key IS NULL THEN
        PERFORM shop.refuse('HF019', NULL, 'wanted: header Idempotency-Key');
    END IF;
    SELECT * INTO STRICT v_claim
    FROM holdfast.claim_key(p_actor, p_operation, p_key, sha256(convert_to(coalesce(p_request, 'null')::text, 'UTF8')));
    IF v_claim.claimed THEN
        RETURN NULL;
    END IF;
    v_answer := regexp_match(convert_from(v_claim.response, 'UTF8'), E'^([^\n]*)\n([^\n]*)\n(.*)$');
    RETURN ROW(v_claim.status, nullif(v_answer[1], ''), nullif(v_answer[2], ''), true, nullif(v_answer[3], '')::json)::rest.reply;
END $$;
COMMENT ON FUNCTION shop.claim_request(bigint, text, text, jsonb) IS
'Claims a key for a request: NULL if it is new and its work is to be done now, else the answer that it got. p_request: what makes it the same request. Errors: HF019 no key, or not a key, HF021 used for another request, HF022 in flight.';

CREATE FUNCTION shop.complete_request(p_actor bigint, p_operation text, p_key text, p_reply rest.reply) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM holdfast.complete_key(p_actor, p_operation, p_key,
        convert_to(concat(p_reply.etag, E'\n', p_reply.location, E'\n', p_reply.body), 'UTF8'), p_reply.status);
    RETURN p_reply;
END $$;
COMMENT ON FUNCTION shop.complete_request(bigint, text, text, rest.reply) IS 'Remembers the answer to a request that claim_request() has claimed, and returns it.';

CREATE FUNCTION shop.etag(p_version integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT '"' || p_version::text || '"';
    END;
COMMENT ON FUNCTION shop.etag(integer) IS 'The ETag (RFC 9110, section 8.8.3) of a version.';

CREATE FUNCTION shop.require_match(p_if_match text, p_version integer, p_required boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_if_match IS NULL THEN
        IF p_required THEN
            PERFORM shop.refuse('HS007');
        END IF;
    ELSIF btrim(p_if_match) <> '*' AND shop.etag(p_version) <> ALL (regexp_split_to_array(btrim(p_if_match), '\s*,\s*')) THEN
        PERFORM shop.refuse('HS006', NULL, 'its ETag is ' || shop.etag(p_version));
    END IF;
END $$;
COMMENT ON FUNCTION shop.require_match(text, integer, boolean) IS 'Compares If-Match (RFC 9110, section 13.1.1) with a version. Errors: HS006 it has changed, HS007 no If-Match.';

COMMIT;
