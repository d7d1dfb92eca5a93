-- Deploy shop:order to pg
-- requires: catalogue
--
-- Orders, keyed by the account that buys. An order is of one merchant and in one currency; its id is the owner of its
-- holds, and what was agreed is frozen in its lines. The holds have the last word on time: an order whose holds have
-- ended unpaid is cancelled from that instant, and the sweep that writes it down may come later.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.order (
    account_id  bigint      NOT NULL,
    id          uuid        NOT NULL,
    merchant_id bigint      NOT NULL,
    total       bigint      NOT NULL,
    placed_at   timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    pay_by      timestamptz NOT NULL DEFAULT 'infinity',
    sale_id     bigint,
    lines       integer     NOT NULL,
    version     integer     NOT NULL DEFAULT 1,
    status      text        COLLATE "C" NOT NULL,
    currency    text        COLLATE "C" NOT NULL,
    channel     text,
    reference   text,
    country     text,
    CONSTRAINT order_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT order_status_check CHECK (status IN ('pending_payment', 'paid', 'shipped', 'completed', 'returned', 'cancelled')),
    CONSTRAINT order_total_check CHECK (total > 0 AND lines > 0),
    CONSTRAINT order_channel_check CHECK ((channel IS NULL) = (reference IS NULL))
) WITH (fillfactor = 85);
CREATE INDEX order_merchant_idx ON shop.order (merchant_id, id);
CREATE INDEX order_expiry_idx ON shop.order (expires_at) WHERE status = 'pending_payment';
COMMENT ON TABLE shop.order IS 'What an account buys of a merchant. Amounts are in minor units of the currency.';
COMMENT ON COLUMN shop.order.id IS 'UUID version 7, and the owner of its holds.';
COMMENT ON COLUMN shop.order.expires_at IS 'Until when it can be paid: the deadline of its holds; infinity while a payment is under way, and once paid.';
COMMENT ON COLUMN shop.order.pay_by IS 'Until when it could be paid when it was placed; it never changes. infinity: it was paid elsewhere.';
COMMENT ON COLUMN shop.order.channel IS 'Where it comes from if not from here, and reference its number there.';
COMMENT ON COLUMN shop.order.version IS 'Counts changes; its ETag.';

CREATE TABLE shop.order_line (
    account_id bigint  NOT NULL,
    order_id   uuid    NOT NULL,
    sku_id     bigint  NOT NULL,
    stock_id   bigint  NOT NULL,
    product_id bigint  NOT NULL,
    quantity   bigint  NOT NULL,
    unit_price bigint  NOT NULL,
    amount     bigint  NOT NULL,
    returned   bigint  NOT NULL DEFAULT 0,
    line       integer NOT NULL,
    code       text    NOT NULL,
    title      text    NOT NULL,
    CONSTRAINT order_line_pkey PRIMARY KEY (order_id, line, account_id),
    CONSTRAINT order_line_amount_check CHECK (quantity > 0 AND unit_price > 0 AND amount = quantity * unit_price),
    CONSTRAINT order_line_returned_check CHECK (returned BETWEEN 0 AND quantity)
) WITH (fillfactor = 90);
-- No foreign key: one look at the order for each line, and a lock on it, is what a sale cannot afford. place_orders(),
-- purchase_batch() and import_orders() write both together, nobody deletes an order, and shop.verify() looks.
COMMENT ON TABLE shop.order_line IS 'One SKU of an order, with what was agreed: code, title and price as they were. An import may have a SKU on several lines, at different prices; its hold is one.';
COMMENT ON COLUMN shop.order_line.stock_id IS 'Whose units are held: the SKU''s, or the slice of a sale (then the id of the sale).';

CREATE TABLE shop.order_event (
    account_id  bigint      NOT NULL,
    order_id    uuid        NOT NULL,
    n           integer     NOT NULL,
    actor_id    bigint,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    from_status text        COLLATE "C" NOT NULL,
    to_status   text        COLLATE "C" NOT NULL,
    action      text        COLLATE "C" NOT NULL,
    reason      text,
    CONSTRAINT order_event_pkey PRIMARY KEY (account_id, order_id, n),
    CONSTRAINT order_event_order_fkey FOREIGN KEY (account_id, order_id) REFERENCES shop.order (account_id, id)
);
COMMENT ON TABLE shop.order_event IS 'Append-only history of orders. Placing is not a line of it: that is the order itself.';
COMMENT ON COLUMN shop.order_event.actor_id IS 'The account that did it; NULL: the clock, or a payment.';

CREATE TABLE shop.order_transition (
    from_status text NOT NULL,
    action      text NOT NULL,
    to_status   text NOT NULL,
    who         text NOT NULL,
    CONSTRAINT order_transition_pkey PRIMARY KEY (from_status, action)
);
COMMENT ON TABLE shop.order_transition IS 'What may become of an order: all that is legal. who: user (whose order it is), merchant (whose goods), or shop (payment and clock).';
INSERT INTO shop.order_transition (from_status, action, to_status, who) VALUES
    ('pending_payment', 'pay', 'paid', 'shop'),
    ('pending_payment', 'cancel', 'cancelled', 'user'),
    ('pending_payment', 'expire', 'cancelled', 'shop'),
    ('paid', 'ship', 'shipped', 'merchant'),
    ('shipped', 'complete', 'completed', 'merchant'),
    ('paid', 'return', 'returned', 'merchant'),
    ('shipped', 'return', 'returned', 'merchant'),
    ('completed', 'return', 'returned', 'merchant');

COMMIT;
