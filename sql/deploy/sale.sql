-- Deploy shop:sale to pg
-- requires: order
--
-- Flash sales: a SKU, a price, a window, a limit for each account, and a slice of the SKU's stock. The slice is stock of
-- its own in holdfast, under the id of the sale, so that neither can other orders take it nor can the sale take theirs.
-- The state of a sale follows from the clock and the stock, and is written down nowhere.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.sale (
    id                bigint      NOT NULL DEFAULT holdfast.new_id(),
    merchant_id       bigint      NOT NULL,
    sku_id            bigint      NOT NULL,
    price             bigint      NOT NULL,
    currency          text        COLLATE "C" NOT NULL,
    quantity          bigint      NOT NULL,
    starts_at         timestamptz NOT NULL,
    ends_at           timestamptz NOT NULL,
    per_account_limit integer     NOT NULL,
    ticket_quota      bigint      NOT NULL,
    version           integer     NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    preheated_at      timestamptz,
    closed_at         timestamptz,
    CONSTRAINT sale_pkey PRIMARY KEY (id),
    CONSTRAINT sale_price_check CHECK (price BETWEEN 1 AND 1000000000000),
    CONSTRAINT sale_quantity_check CHECK (quantity BETWEEN 1 AND 1000000000 AND per_account_limit BETWEEN 1 AND 1000 AND ticket_quota >= quantity),
    CONSTRAINT sale_window_check CHECK (ends_at > starts_at)
);
CREATE INDEX sale_ends_idx ON shop.sale (ends_at, id);
COMMENT ON TABLE shop.sale IS 'Flash sales. The price is in minor units of the currency.';
COMMENT ON COLUMN shop.sale.preheated_at IS 'When the slice of stock was taken; a draft before.';
COMMENT ON COLUMN shop.sale.closed_at IS 'When it was closed and its leftover stock went back; NULL until somebody did that.';

COMMIT;
