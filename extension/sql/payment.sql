-- Payments: tables and functions.
--
-- A payment is an attempt to collect money for an account, perhaps for the units that an owner holds.
-- It moves through the states of holdfast.payment_transitions, and only so; every step is a line of its
-- history, and every movement of money lines of the ledger that sum to zero. What is to be done at
-- a provider is a row of provider_call; what the provider says comes back through record_result() or a
-- webhook, perhaps late, twice or out of order. All of it is keyed by the account.
--
-- Amounts are integers of the currency's minor unit (ISO 4217; holdfast.currencies has the exponents).

-- state: n created, g authorizing, a authorized, p capturing, c captured, q partially refunded,
-- r refunded, b refunding (money that came for a dead order, on its way back), d declined, v voided,
-- u unknown.
CREATE TABLE _holdfast.payment (
    account_id bigint      NOT NULL,
    id         uuid        NOT NULL,
    amount     bigint      NOT NULL,
    authorized bigint      NOT NULL DEFAULT 0,
    captured   bigint      NOT NULL DEFAULT 0,
    refunding  bigint      NOT NULL DEFAULT 0,
    refunded   bigint      NOT NULL DEFAULT 0,
    cart       bigint      NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    steps      integer     NOT NULL DEFAULT 0,
    calls      integer     NOT NULL DEFAULT 0,
    state      "char"      NOT NULL DEFAULT 'n',
    live       boolean     NOT NULL DEFAULT false,
    currency   text        COLLATE "C" NOT NULL,
    provider   text        COLLATE "C" NOT NULL,
    method     text        NOT NULL,
    owner      uuid,
    CONSTRAINT payment_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_state_check CHECK (state IN ('n', 'g', 'a', 'p', 'c', 'q', 'r', 'b', 'd', 'v', 'u')),
    CONSTRAINT payment_live_check CHECK (live = (owner IS NOT NULL AND state IN ('g', 'a', 'p', 'c', 'q', 'u'))),
    CONSTRAINT payment_amount_check CHECK (amount > 0 AND authorized BETWEEN 0 AND amount AND captured BETWEEN 0 AND amount
        AND refunding >= 0 AND refunded >= 0 AND refunding + refunded <= captured)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
-- One owner is never charged by two payments: the second one is refused while the first may take, or has, his money.
-- The condition is a column of its own, which most steps leave as it is: they touch no index (HOT).
CREATE UNIQUE INDEX payment_owner_idx ON _holdfast.payment (account_id, owner) WHERE live;

COMMENT ON TABLE _holdfast.payment IS 'Attempts to collect money. Amounts are in minor units of the currency.';
COMMENT ON COLUMN _holdfast.payment.amount IS 'Asked for.';
COMMENT ON COLUMN _holdfast.payment.refunding IS 'In refunds under way.';
COMMENT ON COLUMN _holdfast.payment.cart IS 'Digest of the SKUs and quantities that were pinned for the open provider call.';
COMMENT ON COLUMN _holdfast.payment.live IS 'Has an owner, and may take, or has, his money.';
COMMENT ON COLUMN _holdfast.payment.steps IS 'Lines of history.';
COMMENT ON COLUMN _holdfast.payment.calls IS 'Provider calls.';
COMMENT ON COLUMN _holdfast.payment.method IS 'The provider''s token for card or account; never a card number.';

CREATE TABLE _holdfast.payment_event (
    account_id  bigint      NOT NULL,
    payment     uuid        NOT NULL,
    n           integer     NOT NULL,
    call        integer,
    amount      bigint      NOT NULL,
    happened_at timestamptz NOT NULL,
    from_state  "char"      NOT NULL,
    to_state    "char"      NOT NULL,
    input       text        COLLATE "C" NOT NULL,
    reason      text,
    CONSTRAINT payment_event_pkey PRIMARY KEY (account_id, payment, n)
);
COMMENT ON TABLE _holdfast.payment_event IS 'Append-only history of payments.';

-- book: p money at the provider (an asset), s sales (income), d refunds due (a liability).
CREATE TABLE _holdfast.ledger_entry (
    account_id bigint      NOT NULL,
    payment    uuid        NOT NULL,
    event      integer     NOT NULL,
    book       "char"      NOT NULL,
    amount     bigint      NOT NULL,
    booked_at  timestamptz NOT NULL,
    currency   text        COLLATE "C" NOT NULL,
    CONSTRAINT ledger_entry_pkey PRIMARY KEY (account_id, payment, event, book),
    CONSTRAINT ledger_entry_book_check CHECK (book IN ('p', 's', 'd')),
    CONSTRAINT ledger_entry_amount_check CHECK (amount <> 0)
);
COMMENT ON TABLE _holdfast.ledger_entry IS 'Append-only double-entry ledger of money. Sums to zero per payment and currency.';
COMMENT ON COLUMN _holdfast.ledger_entry.amount IS 'Debit positive, credit negative.';
COMMENT ON COLUMN _holdfast.ledger_entry.book IS 'p provider, s sales, d refunds due.';

-- kind: a authorize, s charge (authorize and capture in one), k capture, v void, r refund.
-- state: d due or under way, u unknown (asked in vain; still asked, rarely), s succeeded, f declined, x cancelled before it was made,
-- o excess: a refund that was declined, and has succeeded all the same when the money was spoken for.
CREATE TABLE _holdfast.provider_call (
    account_id bigint      NOT NULL,
    payment    uuid        NOT NULL,
    n          integer     NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0,
    amount     bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT 'infinity',
    kind       "char"      NOT NULL,
    state      "char"      NOT NULL DEFAULT 'd',
    provider   text        COLLATE "C" NOT NULL,
    reference  text,
    reason     text,
    CONSTRAINT provider_call_pkey PRIMARY KEY (account_id, payment, n),
    CONSTRAINT provider_call_kind_check CHECK (kind IN ('a', 's', 'k', 'v', 'r')),
    CONSTRAINT provider_call_state_check CHECK (state IN ('d', 'u', 's', 'f', 'x', 'o')),
    CONSTRAINT provider_call_amount_check CHECK (amount > 0 AND attempts >= 0)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX provider_call_due_idx ON _holdfast.provider_call (provider, due_at) WHERE state IN ('d', 'u');
COMMENT ON TABLE _holdfast.provider_call IS 'What is to be done at a provider, and how it went. A refund is a call of kind r.';
COMMENT ON COLUMN _holdfast.provider_call.due_at IS 'When it may be claimed: the end of the lease, or of the back-off.';
COMMENT ON COLUMN _holdfast.provider_call.reference IS 'The provider''s name for it.';

SELECT pg_catalog.pg_extension_config_dump('_holdfast.payment', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.payment_event', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.ledger_entry', '');
SELECT pg_catalog.pg_extension_config_dump('_holdfast.provider_call', '');

CREATE TRIGGER payment_event_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON _holdfast.payment_event
    FOR EACH STATEMENT EXECUTE FUNCTION _holdfast.refuse_change();
CREATE TRIGGER ledger_entry_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON _holdfast.ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION _holdfast.refuse_change();

CREATE FUNCTION _holdfast.check_ledger() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'holdfast_check_ledger';
COMMENT ON FUNCTION _holdfast.check_ledger() IS 'Trigger: raises HF040 if the entries of a payment do not sum to zero or are of several currencies.';
CREATE CONSTRAINT TRIGGER ledger_entry_balanced_check AFTER INSERT ON _holdfast.ledger_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION _holdfast.check_ledger();

-- Functions. All are transactional. Those with a key are idempotent: as holdfast.claim_key(), with an
-- operation of their own; a refusal has no effect and leaves no key.

CREATE FUNCTION holdfast.payment_transitions(OUT state text, OUT input text, OUT next_state text) RETURNS SETOF record
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_payment_transitions';
COMMENT ON FUNCTION holdfast.payment_transitions() IS
'The legal transitions of a payment: what each input makes of each state. Inputs are requests (authorize, capture, void, refund) and what providers say (authorized, captured, declined, refunded, refund_declined, unknown). A request that is not listed for a state is refused with HF028; what a provider says and is not listed changes nothing.';

CREATE FUNCTION holdfast.currencies(OUT currency text, OUT exponent integer) RETURNS SETOF record
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'holdfast_currencies';
COMMENT ON FUNCTION holdfast.currencies() IS
'The currencies of ISO 4217 that money is counted in, and the exponents of their minor units: an amount of 1050 is 10.50 EUR (2), 1050 JPY (0) or 1.050 KWD (3).';

CREATE FUNCTION holdfast.create_payment(p_account bigint, p_key text, p_amount bigint, p_currency text, p_provider text, p_method text,
                                        p_owner uuid DEFAULT NULL, p_then text DEFAULT NULL, p_payment uuid DEFAULT NULL,
                                        OUT payment uuid, OUT state text, OUT call integer, OUT replayed boolean)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_create_payment';
COMMENT ON FUNCTION holdfast.create_payment(bigint, text, bigint, text, text, text, uuid, text, uuid) IS
'Creates a payment of p_amount minor units of p_currency by an account, to be made at a provider (add_provider()) by a method (the provider''s token for a card, 1 to 255 bytes). p_owner: whose holds it pays for (an owner is one account''s); NULL: none. p_then: authorize or capture goes on at once, as authorize_payment() or capture_payment() would. p_payment: its id (default: holdfast.uuid7()). call is the number of the provider call that has become due. Errors: HF019, HF021, HF022 key, HF024 amount, HF025 currency, HF032 provider, HF033 method, HF034 the id is taken, 22023 p_then, and those of what follows.';

CREATE FUNCTION holdfast.authorize_payment(p_account bigint, p_payment uuid, p_key text,
                                           OUT payment uuid, OUT state text, OUT call integer, OUT replayed boolean)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_authorize_payment';
COMMENT ON FUNCTION holdfast.authorize_payment(bigint, uuid, text) IS
'Asks the provider to set the amount aside; the owner''s holds are pinned until he has answered. Errors: HF019, HF021, HF022 key, HF006 to HF009 the owner has no live holds, HF027 unknown payment, HF028 state, HF031 another payment of the owner is live.';

CREATE FUNCTION holdfast.capture_payment(p_account bigint, p_payment uuid, p_key text, p_amount bigint DEFAULT NULL, p_currency text DEFAULT NULL,
                                         OUT payment uuid, OUT state text, OUT call integer, OUT replayed boolean)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_capture_payment';
COMMENT ON FUNCTION holdfast.capture_payment(bigint, uuid, text, bigint, text) IS
'Asks the provider for the money: of an authorized payment, p_amount of it (default: all; the rest is let go); of one just created, all of it in one step. The owner''s holds are pinned until the provider has answered, and confirmed in the transaction that records the capture. If they are gone or others by then, the money goes back by itself (state refunding); if somebody has confirmed them, they are sold. Errors: those of authorize_payment(), HF024 amount, HF026 currency, HF029 more than is authorized, HF042 without p_amount: the holds are not what was authorized.';

CREATE FUNCTION holdfast.void_payment(p_account bigint, p_payment uuid, p_key text, p_reason text DEFAULT NULL,
                                      OUT payment uuid, OUT state text, OUT call integer, OUT replayed boolean)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_void_payment';
COMMENT ON FUNCTION holdfast.void_payment(bigint, uuid, text, text) IS
'Gives a payment up before it is captured, or one whose outcome is unknown. An authorization is let go at the provider; money that comes all the same goes back by itself. The owner''s holds get a deadline again. Errors: HF019, HF021, HF022 key, HF027 unknown payment, HF028 state.';

CREATE FUNCTION holdfast.refund_payment(p_account bigint, p_payment uuid, p_key text, p_amount bigint DEFAULT NULL, p_currency text DEFAULT NULL, p_reason text DEFAULT NULL,
                                        OUT payment uuid, OUT state text, OUT call integer, OUT replayed boolean)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'holdfast_refund_payment';
COMMENT ON FUNCTION holdfast.refund_payment(bigint, uuid, text, bigint, text, text) IS
'Gives captured money back: p_amount of it, or all that is left. There may be several, up to what was captured; call is the refund''s number. The units sold stay sold: give_back() returns them. Errors: HF019, HF021, HF022 key, HF024 amount, HF026 currency, HF027 unknown payment, HF028 state, HF030 more than is left.';
