-- The statements of tools/replay, by name; words in braces are put in by it. The session has the search path pg_catalog,
-- pg_temp: tables without a schema are temporary ones of the run.

-- @begin
SET client_min_messages = warning;
SET standard_conforming_strings = on;
SET timezone = 'UTC';
SET search_path = pg_catalog, pg_temp;
SET statement_timeout = 0;
SET work_mem = '64MB';
SET jit = off;
SET idle_session_timeout = 0

-- @deployed
SELECT to_regprocedure('shop.import_returns(bigint, text, text[], text[], text[], bigint[], bigint[], timestamptz[])') IS NOT NULL

-- @exponent
SELECT exponent FROM holdfast.currencies() WHERE currency = {currency}

-- One replay at a time for a database; one that was killed may still be ending its last statement.
-- @wait
SET ROLE shop_owner;
SELECT pg_advisory_lock(hashtextextended('holdfast replay', 0));
CREATE TEMPORARY TABLE line (
    number bigint, kind text COLLATE "C", reference text COLLATE "C", code text COLLATE "C", title text COLLATE "C", quantity bigint,
    placed_at timestamptz, price bigint, customer text COLLATE "C", country text COLLATE "C")

-- The e-mail address is the merchant's identity: it is unique, and nobody reads mail there.
-- @merchant
BEGIN;
WITH account AS (
    INSERT INTO shop.login (email, account_id) VALUES ({email}, holdfast.new_id()) ON CONFLICT DO NOTHING RETURNING account_id),
new AS (
    INSERT INTO shop.account (id, email, name, roles) SELECT account_id, {email}, {name}, '{user,merchant}' FROM account RETURNING id)
INSERT INTO shop.merchant (account_id, name) SELECT id, {name} FROM new;
SELECT m.id FROM shop.login AS l JOIN shop.merchant AS m USING (account_id) WHERE l.email = {email};
COMMIT

-- @catalogue
ANALYZE line;
BEGIN;
CREATE TEMPORARY TABLE article AS
    SELECT DISTINCT ON (l.code) l.code, l.price, min(l.placed_at) OVER (PARTITION BY l.code) AS first_at
    FROM line AS l WHERE l.kind = 'sale' ORDER BY l.code, l.placed_at DESC, l.number DESC;
WITH new AS MATERIALIZED (
    SELECT a.*, coalesce(t.title, a.code) AS title, holdfast.new_id() AS product_id
    FROM article AS a
    LEFT JOIN (SELECT DISTINCT ON (l.code) l.code, l.title FROM line AS l WHERE l.kind = 'sale' AND l.title <> ''
               GROUP BY l.code, l.title ORDER BY l.code, count(*) DESC, max(l.number) DESC) AS t USING (code)
    WHERE NOT EXISTS (SELECT FROM shop.sku AS k WHERE k.merchant_id = {merchant} AND k.code = a.code)),
product AS (
    INSERT INTO shop.product (id, merchant_id, title, currency, price, created_at, changed_at, published_at)
    SELECT product_id, {merchant}, title, {currency}, price, first_at, first_at, first_at FROM new)
INSERT INTO shop.sku (product_id, merchant_id, code, price, currency) SELECT product_id, {merchant}, code, price, {currency} FROM new;
ANALYZE shop.sku;
SELECT count(*) FROM article;
COMMIT

-- Invoices that are not there yet, numbered by day, and where a day has very many lines by parts of it; each is received,
-- and then sold, in one transaction, which the program ends.
-- @daylist
CREATE TEMPORARY TABLE sale AS
    SELECT dense_rank() OVER (ORDER BY i.day, i.part) AS chunk, l.*
    FROM line AS l
    JOIN (SELECT i.*, floor(sum(i.lines) OVER (PARTITION BY i.day ORDER BY i.placed_at, i.reference) / 50000) AS part
          FROM (SELECT l.reference, min(l.placed_at) AS placed_at, timezone('UTC', min(l.placed_at))::date AS day, count(*) AS lines
                FROM line AS l WHERE l.kind = 'sale' GROUP BY l.reference) AS i) AS i USING (reference)
    WHERE l.kind = 'sale' AND NOT EXISTS (
        SELECT FROM shop.channel_order AS k WHERE k.merchant_id = {merchant} AND k.channel = {channel} AND k.reference = l.reference)
    ORDER BY 1, i.placed_at, l.number;
CREATE INDEX ON sale (chunk);
ANALYZE sale;
SELECT chunk, count(*) FROM sale GROUP BY chunk ORDER BY chunk

-- @day
BEGIN;
SELECT count(holdfast.receive(n.id, n.quantity, 'replay ' || n.day)) AS receipts FROM (
    SELECT k.id, sum(s.quantity)::bigint AS quantity, min(timezone('UTC', s.placed_at))::date AS day
    FROM sale AS s JOIN shop.sku AS k ON k.merchant_id = {merchant} AND k.code = s.code
    WHERE s.chunk = {chunk} GROUP BY k.id ORDER BY k.id) AS n \gset
SELECT l.number, i.reference, i.verdict, i.detail
FROM (SELECT array_agg(s.reference) AS reference, array_agg(s.customer) AS customer, array_agg(s.country) AS country,
             array_agg(s.placed_at) AS placed_at, array_agg(s.code) AS code, array_agg(s.quantity) AS quantity, array_agg(s.price) AS price
      FROM (SELECT * FROM sale AS s WHERE s.chunk = {chunk} ORDER BY s.number) AS s) AS s
CROSS JOIN LATERAL shop.import_orders({merchant}, {channel}, {currency}, s.reference, s.customer, s.country, s.placed_at,
                                       s.code, s.quantity, s.price) AS i
JOIN sale AS l ON l.chunk = {chunk} AND l.reference = i.reference
WHERE i.verdict NOT IN ('imported', 'known')

-- An order that is refused is taken out, with the stock that was received for it.
-- @again
ROLLBACK;
DELETE FROM sale AS s WHERE s.chunk = {chunk} AND s.reference = ANY ({references}::text[]);
SELECT count(*) FROM sale AS s WHERE s.chunk = {chunk}

-- @commit
COMMIT

-- All lines of a cancellation are in one call, and calls are in the order of time.
-- @returnlist
CREATE TEMPORARY TABLE cancellation AS
    SELECT (sum(count(*)) OVER (ORDER BY min(l.placed_at), min(l.number)) - count(*)) / 500 AS chunk, l.reference, min(l.placed_at) AS first_at
    FROM line AS l WHERE l.kind = 'cancellation' GROUP BY l.reference;
SELECT c.chunk, count(*) FROM (SELECT trunc(chunk) AS chunk, reference FROM cancellation) AS c JOIN line AS l USING (reference)
GROUP BY 1 ORDER BY 1

-- @return
SELECT l.numbers[r.line], l.reference[r.line] || ' ' || l.code[r.line], r.verdict, r.detail
FROM (SELECT array_agg(l.number) AS numbers, array_agg(l.reference) AS reference, array_agg(l.customer) AS customer, array_agg(l.code) AS code,
             array_agg(l.quantity) AS quantity, array_agg(l.price) AS price, array_agg(l.placed_at) AS placed_at
      FROM (SELECT l.* FROM line AS l JOIN cancellation AS c USING (reference)
            WHERE l.kind = 'cancellation' AND trunc(c.chunk) = {chunk} ORDER BY c.first_at, l.reference, l.number) AS l) AS l
CROSS JOIN LATERAL shop.import_returns({merchant}, {channel}, l.reference, l.customer, l.code, l.quantity, l.price, l.placed_at) AS r
WHERE r.verdict <> 'known'

-- Of the invoices of the file: from the orders, from their lines, from the ledger of units and from that of money.
-- @summary
CREATE TEMPORARY TABLE found AS
    SELECT o.account_id, o.id, o.total
    FROM (SELECT DISTINCT l.reference FROM line AS l WHERE l.kind = 'sale') AS l
    JOIN shop.channel_order AS k ON k.merchant_id = {merchant} AND k.channel = {channel} AND k.reference = l.reference
    JOIN shop.order AS o ON o.account_id = k.account_id AND o.id = k.order_id
    WHERE o.status IN ('paid', 'shipped', 'completed', 'returned');
ANALYZE found;
SELECT l.lines, o.orders, l.skus, l.units, m.sold, o.money, l.money, b.money, l.returned, m.returned, b.refunded
FROM (SELECT count(*) AS orders, coalesce(sum(f.total), 0) AS money FROM found AS f) AS o,
     (SELECT count(*) AS lines, count(DISTINCT l.sku_id) AS skus, coalesce(sum(l.quantity), 0) AS units, coalesce(sum(l.amount), 0) AS money,
             coalesce(sum(l.returned), 0) AS returned
      FROM found AS f JOIN shop.order_line AS l ON l.account_id = f.account_id AND l.order_id = f.id) AS l,
     (SELECT coalesce(-sum(m.quantity) FILTER (WHERE m.kind = 'sold'), 0) AS sold,
             coalesce(sum(m.quantity) FILTER (WHERE m.kind = 'given back'), 0) AS returned
      FROM found AS f JOIN holdfast.movements AS m ON m.owner = f.id) AS m,
     (SELECT coalesce(-sum(b.amount) FILTER (WHERE b.book = 'sales' AND b.amount < 0), 0) AS money,
             coalesce(sum(b.amount) FILTER (WHERE b.book = 'sales' AND b.amount > 0), 0) AS refunded
      FROM found AS f JOIN shop.order_payment AS p ON p.account_id = f.account_id AND p.order_id = f.id
      JOIN holdfast.ledger AS b ON b.account_id = p.account_id AND b.payment = p.payment_id) AS b;
SELECT (SELECT count(*) FROM holdfast.verify()) + (SELECT count(*) FROM shop.verify())
