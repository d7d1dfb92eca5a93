-- Providers: the boundary to those who move the money. It has two sides and is asynchronous: due
-- calls are claimed by a worker, made after its commit, and their results recorded; events come in as signed webhooks.

CREATE TABLE _holdfast.provider (
    name         text    COLLATE "C" NOT NULL,
    scheme       text    COLLATE "C" NOT NULL,
    attempts     integer NOT NULL,
    backoff      integer NOT NULL,
    backoff_max  integer NOT NULL,
    tolerance    integer NOT NULL,
    CONSTRAINT provider_pkey PRIMARY KEY (name),
    CONSTRAINT provider_scheme_check CHECK (scheme IN ('stripe', 'standard')),
    CONSTRAINT provider_check CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$' AND attempts > 0 AND backoff > 0 AND backoff_max >= backoff AND tolerance > 0)
);
COMMENT ON TABLE _holdfast.provider IS 'Providers that payments can be made at. backoff, backoff_max and tolerance are seconds.';

CREATE TABLE _holdfast.webhook_secret (
    provider    text        COLLATE "C" NOT NULL,
    added_at    timestamptz NOT NULL,
    valid_until timestamptz NOT NULL DEFAULT 'infinity',
    secret      text        NOT NULL,
    CONSTRAINT webhook_secret_pkey PRIMARY KEY (provider, added_at)
);
COMMENT ON TABLE _holdfast.webhook_secret IS 'Secrets that webhooks are signed with. Nobody is granted anything here.';

CREATE TABLE _holdfast.provider_event (
    account_id  bigint      NOT NULL,
    call        integer     NOT NULL,
    amount      bigint,
    payment     uuid        NOT NULL,
    received_at timestamptz NOT NULL,
    provider    text        COLLATE "C" NOT NULL,
    event       text        COLLATE "C" NOT NULL,
    outcome     text        COLLATE "C" NOT NULL,
    verdict     text        COLLATE "C" NOT NULL,
    currency    text        COLLATE "C",
    CONSTRAINT provider_event_pkey PRIMARY KEY (account_id, provider, event)
);
COMMENT ON TABLE _holdfast.provider_event IS 'What providers have told, once each.';
COMMENT ON COLUMN _holdfast.provider_event.verdict IS 'applied, stale (nothing left to change), or mismatch (amount or currency is not that of the call).';

SELECT pg_catalog.pg_extension_config_dump('_holdfast.provider', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.webhook_secret', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.provider_event', '');

CREATE FUNCTION holdfast.record_result(p_account bigint, p_payment uuid, p_call integer, p_outcome text, p_reference text DEFAULT NULL, p_reason text DEFAULT NULL)
    RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_record_result';
COMMENT ON FUNCTION holdfast.record_result(bigint, uuid, integer, text, text, text) IS
'Records how a provider call went, and does in the same transaction what follows from it: ledger entries, confirming or freeing the owner''s holds, refunds of money that came too late. p_outcome: succeeded, declined, pending (accepted; the provider will tell), retry (no answer, or try again: asked again after the back-off with the same key, unknown when the provider''s attempts are used up), unknown. The better word wins: a call that has succeeded stays so, whatever comes later. Returns the state of the payment. Errors: HF027 unknown payment, HF035 unknown call, 22023 outcome.';

CREATE FUNCTION holdfast.record_results(p_accounts bigint[], p_payments uuid[], p_calls integer[], p_outcomes text[], p_references text[] DEFAULT NULL, p_reasons text[] DEFAULT NULL)
    RETURNS TABLE (line integer, state text)
    LANGUAGE c VOLATILE ROWS 256 AS 'MODULE_PATHNAME', 'holdfast_record_results';
COMMENT ON FUNCTION holdfast.record_results(bigint[], uuid[], integer[], text[], text[], text[]) IS
'record_result() for many calls in one statement, in ascending order of payment, so that two such calls cannot deadlock each other. Errors: those of record_result(), HF005 arrays.';

CREATE FUNCTION holdfast.record_event(p_provider text, p_event text, p_call_key text, p_outcome text, p_amount bigint DEFAULT NULL, p_currency text DEFAULT NULL, p_reference text DEFAULT NULL, p_reason text DEFAULT NULL)
    RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_record_event';
COMMENT ON FUNCTION holdfast.record_event(text, text, text, text, bigint, text, text, text) IS
'Records what a provider has told about a call of ours, once for each event id of the provider, with the effect of record_result(). For those who verify and read webhooks themselves; receive_webhook() does all of it. p_call_key: the key that the call was made with (claim_calls()). p_outcome: succeeded, declined or pending. Amount and currency, if given, must be those of the call: otherwise the outcome is unknown. Returns applied, stale, mismatch, or duplicate. Errors: HF032 unknown provider, HF035 unknown call, HF039 event id, 22023 outcome.';

CREATE FUNCTION _holdfast.call_key(p_account bigint, p_payment uuid, p_call integer) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_call_key';
COMMENT ON FUNCTION _holdfast.call_key(bigint, uuid, integer) IS
'The key a provider call is made with: the same for every attempt, different for every call.';

CREATE FUNCTION holdfast.sign_webhook(p_scheme text, p_secret text, p_body bytea, p_id text, p_timestamp bigint) RETURNS text
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_sign_webhook';
COMMENT ON FUNCTION holdfast.sign_webhook(text, text, bytea, text, bigint) IS
'The signature of a webhook: of scheme standard (Standard Webhooks 1.0) the header webhook-signature, of scheme stripe the header Stripe-Signature (p_id is not used). p_timestamp: seconds since 1970. Errors: 22004, 22023 scheme, secret, id, timestamp.';

CREATE FUNCTION holdfast.verify_webhook(p_scheme text, p_secrets text[], p_body bytea, p_signature text, p_id text, p_timestamp text, p_tolerance interval DEFAULT '5 minutes', p_now timestamptz DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_verify_webhook';
COMMENT ON FUNCTION holdfast.verify_webhook(text, text[], bytea, text, text, text, interval, timestamptz) IS
'Verifies the signature of a webhook over its raw bytes, by any of the secrets, and the time it was sent at. Scheme standard (Standard Webhooks 1.0): p_signature, p_id and p_timestamp are the headers webhook-signature, webhook-id, webhook-timestamp; secrets are whsec_ and base64. Scheme stripe: p_signature is the header Stripe-Signature. Compares in constant time. p_now: the time to compare with (default: the clock). Errors: HF036 malformed header, HF037 no signature fits, HF038 sent too long ago or in the future, HF005 p_secrets, 22004, 22023 scheme, secret, p_tolerance, p_now.';
