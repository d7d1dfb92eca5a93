-- Deploy shop:catalogue to pg
-- requires: account
--
-- What is sold. A product belongs to a merchant and has one or more SKUs; a SKU has a price and is what holdfast counts.
-- Things are never deleted, only marked: orders speak of them for ever.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.category (
    id        bigint NOT NULL DEFAULT holdfast.new_id(),
    parent_id bigint,
    name      text   NOT NULL,
    path      bigint[] NOT NULL,
    CONSTRAINT category_pkey PRIMARY KEY (id),
    CONSTRAINT category_parent_fkey FOREIGN KEY (parent_id) REFERENCES shop.category (id),
    CONSTRAINT category_name_key UNIQUE NULLS NOT DISTINCT (parent_id, name),
    CONSTRAINT category_path_check CHECK (path[cardinality(path)] = id AND cardinality(path) BETWEEN 1 AND 8)
);
COMMENT ON TABLE shop.category IS 'The tree of categories, at most eight deep.';
COMMENT ON COLUMN shop.category.path IS 'The ids from the root to the category itself.';

CREATE TABLE shop.product (
    id           bigint      NOT NULL DEFAULT holdfast.new_id(),
    merchant_id  bigint      NOT NULL,
    category_id  bigint,
    title        text        NOT NULL,
    description  text        NOT NULL DEFAULT '',
    attributes   jsonb       NOT NULL DEFAULT '{}',
    tags         text[]      NOT NULL DEFAULT '{}',
    currency     text        COLLATE "C" NOT NULL,
    price        bigint      NOT NULL,
    version      integer     NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,
    deleted_at   timestamptz,
    CONSTRAINT product_pkey PRIMARY KEY (id),
    CONSTRAINT product_merchant_fkey FOREIGN KEY (merchant_id) REFERENCES shop.merchant (id),
    CONSTRAINT product_category_fkey FOREIGN KEY (category_id) REFERENCES shop.category (id),
    CONSTRAINT product_attributes_check CHECK (jsonb_typeof(attributes) = 'object'),
    CONSTRAINT product_price_check CHECK (price > 0)
);
COMMENT ON TABLE shop.product IS 'What is sold, in one or more SKUs. A draft until it is published.';
COMMENT ON COLUMN shop.product.price IS 'The lowest price of its SKUs, in minor units: what lists sort and filter by.';
COMMENT ON COLUMN shop.product.currency IS 'That of all its SKUs (ISO 4217).';
COMMENT ON COLUMN shop.product.version IS 'Counts changes; its ETag.';

CREATE TABLE shop.sku (
    id          bigint  NOT NULL DEFAULT holdfast.new_id(),
    product_id  bigint  NOT NULL,
    merchant_id bigint  NOT NULL,
    code        text    NOT NULL,
    price       bigint  NOT NULL,
    currency    text    COLLATE "C" NOT NULL,
    position    integer NOT NULL DEFAULT 1,
    deleted_at  timestamptz,
    CONSTRAINT sku_pkey PRIMARY KEY (id),
    CONSTRAINT sku_code_key UNIQUE (merchant_id, code),
    CONSTRAINT sku_product_fkey FOREIGN KEY (product_id) REFERENCES shop.product (id),
    CONSTRAINT sku_price_check CHECK (price BETWEEN 1 AND 1000000000000)
);
CREATE INDEX sku_product_idx ON shop.sku (product_id);
COMMENT ON TABLE shop.sku IS 'What is counted, and has a price. Its id is the SKU of holdfast.';
COMMENT ON COLUMN shop.sku.code IS 'The merchant''s own article number.';
COMMENT ON COLUMN shop.sku.price IS 'In minor units of the currency.';

CREATE TABLE shop.image (
    id         bigint      NOT NULL DEFAULT holdfast.new_id(),
    product_id bigint      NOT NULL,
    position   integer     NOT NULL DEFAULT 1,
    state      text        NOT NULL DEFAULT 'uploaded',
    original   text        NOT NULL,
    sizes      jsonb       NOT NULL DEFAULT '[]',
    reason     text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT image_pkey PRIMARY KEY (id),
    CONSTRAINT image_product_fkey FOREIGN KEY (product_id) REFERENCES shop.product (id),
    CONSTRAINT image_state_check CHECK (state IN ('uploaded', 'ready', 'refused')),
    CONSTRAINT image_sizes_check CHECK (jsonb_typeof(sizes) = 'array')
);
CREATE INDEX image_product_idx ON shop.image (product_id);
COMMENT ON TABLE shop.image IS 'Pictures of products. The worker makes the sizes, or says why it refuses.';
COMMENT ON COLUMN shop.image.original IS 'Name of the file as it was uploaded.';
COMMENT ON COLUMN shop.image.sizes IS 'What was made of it: [{"name", "width", "height", "type", "file"}].';

COMMIT;
