-- Stock comes in by its merchant's word, once for a key; images wait for the worker.
\ir include/begin.sql
SELECT plan(20);

SELECT person('bob') AS bob, sku('ann', 'lamp', 1000, 5) AS lamp, sku('eve', 'vase') AS vase \gset
CREATE FUNCTION lamp() RETURNS bigint LANGUAGE sql AS 'SELECT id FROM shop.sku WHERE code = ''lamp''';
CREATE FUNCTION ann() RETURNS bigint LANGUAGE sql AS 'SELECT account_id FROM shop.login WHERE email = ''ann@example.org''';
CREATE FUNCTION eve() RETURNS bigint LANGUAGE sql AS 'SELECT account_id FROM shop.login WHERE email = ''eve@example.org''';
SELECT is((rest.sku_stock_get(NULL, :lamp)).body::text, format('{"sku_id" : "%s", "available" : 5}', :lamp), 'everybody sees how much is available');
SELECT is((rest.sku_stock_get(ann(), :lamp)).body ->> 'sold', '0', 'its merchant sees more');
SELECT refuses('SELECT rest.sku_stock_get(NULL, 7)', 'HS004', 'of what does not exist nobody sees anything');
SELECT is((rest.sku_receive(ann(), :lamp, 'receipt-0001', '{"quantity": 10, "reference": "note 7"}')).body ->> 'available', '15', 'its merchant receives units');
SELECT is((SELECT r.replayed || ' ' || (r.body ->> 'available') FROM rest.sku_receive(ann(), :lamp, 'receipt-0001', '{"quantity": 10, "reference": "note 7"}') AS r), 'true 15', 'the same receipt again counts once');
SELECT is(units(:lamp), '15 available, 0 held, 0 sold', 'in stock too');
SELECT refuses('SELECT rest.sku_receive(ann(), lamp(), ''receipt-0001'', ''{"quantity": 11}'')', 'HF021', 'the same key for another receipt is refused');
SELECT is((rest.sku_receive(ann(), :lamp, NULL, '{"quantity": 1}')).status, 201, 'without a key it counts each time');
SELECT is((rest.sku_adjust(ann(), :lamp, NULL, '{"delta": -6, "reason": "broken"}')).body ->> 'available', '10', 'a correction takes away');
SELECT refuses('SELECT rest.sku_adjust(ann(), lamp(), NULL, ''{"delta": -11, "reason": "broken"}'')', 'HF012', 'but not more than there is');
SELECT refuses('SELECT rest.sku_adjust(ann(), lamp(), NULL, ''{"delta": 0, "reason": "none"}'')', 'HF003', 'a correction by nothing is refused');
SELECT refuses('SELECT rest.sku_adjust(ann(), lamp(), NULL, ''{"delta": 1}'')', 'HS010', 'so is one without a reason', '/reason');
SELECT refuses('SELECT rest.sku_receive(ann(), lamp(), NULL, ''{"quantity": 1e18}'')', 'HS014', 'and a receipt beyond measure', '/quantity');
SELECT refuses('SELECT rest.sku_receive(eve(), lamp(), NULL, ''{"quantity": 1}'')', 'HS003', 'another merchant receives nothing');
SELECT refuses('SELECT rest.sku_adjust(eve(), lamp(), NULL, ''{"delta": 1, "reason": "x"}'')', 'HS003', 'and corrects nothing');
SELECT refuses('SELECT rest.sku_receive(NULL, lamp(), NULL, ''{"quantity": 1}'')', 'HS001', 'nor does nobody');
UPDATE shop.product SET published_at = NULL WHERE id = (SELECT product_id FROM shop.sku WHERE id = :lamp);
SELECT refuses('SELECT rest.sku_receive(eve(), lamp(), NULL, ''{"quantity": 1}'')', 'HS004', 'a SKU of a draft is not there for others');

CREATE TABLE pic AS SELECT * FROM rest.product_image_add(ann(), (SELECT product_id FROM shop.sku WHERE id = lamp()), '{"original": "lamp é.png"}');
SELECT is((SELECT status || ' ' || (body ->> 'state') FROM pic), '202 uploaded', 'an image is taken');
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'image_uploaded' AND payload ->> 'image_id' = (SELECT body ->> 'id' FROM pic)), 1::bigint, 'and the worker hears of it');
SELECT refuses('SELECT rest.product_image_add(ann(), (SELECT product_id FROM shop.sku WHERE id = lamp()), ''{"original": "../lamp.png"}'')', 'HS013', 'a name with a path is refused', '/original');
SELECT finish();
ROLLBACK;
