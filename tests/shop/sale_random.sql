-- Hundreds of random steps on three sales beside a model of them: no unit is lost or made, no limit exceeded, no key answered twice.
\ir include/begin.sql
\ir include/sale.sql
SELECT plan(8);
SELECT setseed(0.42);

CREATE TEMP TABLE bought (name text, sale bigint, key text, quantity bigint, id uuid, ended boolean DEFAULT false, paid boolean DEFAULT false, PRIMARY KEY (name, sale, key));
CREATE TEMP TABLE complaint (step integer, what text);
CREATE FUNCTION play(p_steps integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_sales CONSTANT bigint[] := ARRAY[sale('mia', 'A', 12, 1), sale('mia', 'B', 25, 3), sale('max', 'C', 40, 4)];
    v_skus CONSTANT bigint[] := ARRAY[sku('mia', 'A'), sku('mia', 'B'), sku('max', 'C')];
    v_limits CONSTANT integer[] := ARRAY[1, 3, 4];
    v_names text[];
    v_keys text[];
    v_which integer[];
    v_quantities bigint[];
    v_line record;
    v_one record;
    v_was record;
    v_n integer;
    v_dice double precision;
BEGIN
    FOR v_step IN 1 .. p_steps LOOP
        v_dice := random();
        SELECT * INTO v_one FROM bought WHERE NOT ended AND NOT paid ORDER BY random() LIMIT 1;
        IF v_dice < 0.6 OR v_one IS NULL THEN
            v_n := 1 + floor(random() * 8);
            v_names := ARRAY(SELECT 'p' || floor(random() * 12) FROM generate_series(1, v_n));
            v_keys := ARRAY(SELECT 'key-00' || floor(random() * 40) FROM generate_series(1, v_n));
            v_which := ARRAY(SELECT 1 + floor(random() * 3) FROM generate_series(1, v_n));
            v_quantities := ARRAY(SELECT floor(random() * 4) FROM generate_series(1, v_n));
            v_n := 0;
            FOR v_line IN
                SELECT b.*, l.* FROM shop.purchase_batch((SELECT array_agg(person(n) ORDER BY i) FROM unnest(v_names) WITH ORDINALITY AS u (n, i)), v_keys,
                    (SELECT array_agg(v_sales[w] ORDER BY i) FROM unnest(v_which) WITH ORDINALITY AS u (w, i)), v_quantities) AS b
                JOIN unnest(v_names, v_keys, v_which, v_quantities) WITH ORDINALITY AS l (name, key, which, quantity, i) ON l.i = b.line ORDER BY b.line
            LOOP
                v_n := v_n + 1;
                SELECT * INTO v_was FROM bought WHERE name = v_line.name AND sale = v_sales[v_line.which] AND key = v_line.key;
                IF v_line.line <> v_n THEN
                    INSERT INTO complaint VALUES (v_step, 'lines are out of order');
                ELSIF FOUND AND v_line.quantity > 0 THEN
                    IF format('%s %s %s', v_line.verdict, v_line.replayed, v_line.order_id) <>
                       (CASE WHEN v_was.quantity = v_line.quantity THEN format('00000 t %s', v_was.id) ELSE 'HF021 f ' END) THEN
                        INSERT INTO complaint VALUES (v_step, 'a key was answered with ' || v_line.verdict || ' ' || v_line.replayed);
                    END IF;
                ELSIF v_line.verdict = '00000' THEN
                    IF v_line.replayed THEN
                        INSERT INTO complaint VALUES (v_step, 'a new key was answered with an old order');
                    END IF;
                    INSERT INTO bought (name, sale, key, quantity, id) VALUES (v_line.name, v_sales[v_line.which], v_line.key, v_line.quantity, v_line.order_id);
                ELSIF v_line.verdict = 'HS404' AND v_line.quantity <= v_limits[v_line.which]
                      AND v_line.quantity + (SELECT coalesce(sum(quantity), 0) FROM bought WHERE name = v_line.name AND sale = v_sales[v_line.which] AND NOT ended) <= v_limits[v_line.which] THEN
                    INSERT INTO complaint VALUES (v_step, 'refused below the limit');
                ELSIF v_line.verdict IN ('HF001', 'HS403') AND v_line.quantity <= holdfast.available(v_sales[v_line.which]) THEN
                    INSERT INTO complaint VALUES (v_step, 'refused for lack of units that are there');
                END IF;
            END LOOP;
        ELSIF v_dice < 0.7 THEN
            PERFORM lapses(v_one.name, v_one.id);
            UPDATE bought SET ended = true WHERE id = v_one.id;
        ELSIF v_dice < 0.78 THEN
            PERFORM shop.cancel_order(person(v_one.name), v_one.id, person(v_one.name));
            UPDATE bought SET ended = true WHERE id = v_one.id;
        ELSIF v_dice < 0.86 THEN
            PERFORM pays(v_one.name, v_one.id);
            UPDATE bought SET paid = true WHERE id = v_one.id;
        ELSIF v_dice < 0.9 THEN
            PERFORM shop.cancel_expired_orders(3);
        ELSIF v_dice < 0.93 THEN
            SELECT * INTO v_one FROM bought WHERE paid ORDER BY random() LIMIT 1;
            IF FOUND THEN
                PERFORM shop.return_order(person(v_one.name), v_one.id, 'return-' || v_step);
                UPDATE bought SET paid = NULL WHERE id = v_one.id;
            END IF;
        ELSIF v_dice < 0.96 THEN
            PERFORM shop.close_sales(2);
        ELSIF v_dice < 0.97 AND v_step > p_steps / 2 THEN
            PERFORM shop.close_sale(v_sales[1 + floor(random() * 3)::integer]);
        ELSE
            PERFORM holdfast.reap(5);
        END IF;

        FOR v_n IN 1 .. 3 LOOP
            IF (SELECT sum(available + held + sold) FROM holdfast.stock WHERE sku IN (v_sales[v_n], v_skus[v_n])) <> 100 THEN
                INSERT INTO complaint VALUES (v_step, 'units were lost or made');
            END IF;
            IF (SELECT held FROM holdfast.stock WHERE sku = v_sales[v_n]) IS DISTINCT FROM
               (SELECT coalesce(sum(quantity), 0) FROM bought WHERE sale = v_sales[v_n] AND NOT ended AND NOT paid) THEN
                INSERT INTO complaint VALUES (v_step, 'other units are held than were bought');
            END IF;
        END LOOP;
        INSERT INTO complaint SELECT v_step, 'a limit was exceeded' FROM bought AS b JOIN shop.sale AS s ON s.id = b.sale WHERE NOT b.ended
        GROUP BY b.name, b.sale, s.per_account_limit HAVING sum(b.quantity) > s.per_account_limit;
    END LOOP;
END $$;
SELECT sku('mia', 'A'), sku('mia', 'B'), sku('max', 'C') \gset ignored
SELECT person('p' || g) FROM generate_series(0, 11) AS g \g /dev/null
SELECT play(400);
SELECT is((SELECT string_agg(DISTINCT what || ' (' || step || ')', E'\n') FROM complaint), NULL, 'four hundred random steps, and nothing is wrong');
SELECT cmp_ok((SELECT count(*) FROM bought), '>', 60::bigint, 'something was bought');
SELECT cmp_ok((SELECT count(*) FROM bought WHERE ended), '>', 20::bigint, 'and ended unpaid');
SELECT cmp_ok((SELECT count(*) FROM bought WHERE NOT ended AND paid IS DISTINCT FROM false), '>', 10::bigint, 'and was paid');
SELECT is((SELECT count(*) FROM shop.order), (SELECT count(*) FROM bought), 'there is an order for each key');
SELECT is((SELECT count(*) FROM shop.order_line), (SELECT count(*) FROM bought), 'of one line');
UPDATE shop.sale SET ends_at = clock_timestamp() WHERE ends_at > clock_timestamp();
SELECT lapses(name, id) FROM bought WHERE NOT ended AND NOT paid \g /dev/null
SELECT shop.cancel_expired_orders() \g /dev/null
SELECT shop.close_sales() \g /dev/null
SELECT is((SELECT sum(available + held) FROM holdfast.stock AS t JOIN shop.sale AS s ON s.id = t.sku), 0::numeric, 'in the end nothing is left with the sales');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'and every unit is accounted for');
SELECT finish();
ROLLBACK;
