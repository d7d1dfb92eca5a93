-- The demo: an admin, two merchants, three customers, all with the password holdfast-demo, a tree of categories, and
-- some three hundred products in several languages with stock. Loaded once; a second run changes nothing.
--
-- Everything goes through the functions that the REST API calls.

\set ON_ERROR_STOP on
BEGIN;

CREATE FUNCTION pg_temp.created(p_reply rest.reply) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF (p_reply.status BETWEEN 200 AND 299) IS NOT TRUE THEN
        RAISE EXCEPTION '% %', p_reply.status, p_reply.body;
    END IF;
    RETURN (p_reply.body ->> 'id')::bigint;
END $$;

DO $$
DECLARE
    v_hash CONSTANT text := '$argon2id$v=19$m=19456,t=2,p=1$aG9sZGZhc3RkZW1vc2FsdA$45NhRG3hip8PpCcD1e5tUt1eRJFhi9isTKzCpJzCsR0';
    v_materials CONSTANT text[] := '{oak,walnut,brass,linen,wool,glass,ceramic,steel,leather,bamboo}';
    v_colours CONSTANT text[] := '{red,green,blue,black,white,grey}';
    v_things CONSTANT text[] := '{chair,table,lamp,shelf,bowl,mug,blanket,cushion,headphones,clock,kettle,teapot,notebook,bag,mirror}';
    v_translated CONSTANT text[] := '{椅子,桌子,台灯,书架,碗,马克杯,毛毯,靠垫,耳机,时钟,水壶,茶壶,笔记本,包,镜子}';
    v_roots CONSTANT text[] := '{Furniture,Kitchen,Home,Sound and time}';
    v_root_of CONSTANT integer[] := '{1,1,3,1,2,2,3,3,4,4,2,2,3,3,3}';
    v_admin bigint;
    v_merchant bigint[];
    v_root bigint[];
    v_category bigint[];
    v_reply rest.reply;
    v_price bigint;
    v_sku record;
    v_i integer;
    v_m integer;
    v_t integer;
BEGIN
    IF EXISTS (SELECT FROM shop.login AS l WHERE l.email = 'admin@example.com') THEN
        RETURN;
    END IF;
    v_admin := pg_temp.created(rest.account_create(NULL, '{"email": "admin@example.com", "name": "Ada Admin"}', v_hash));
    UPDATE shop.account SET roles = '{user,admin}' WHERE id = v_admin;
    FOR v_i IN 1 .. 2 LOOP
        v_merchant[v_i] := pg_temp.created(rest.account_create(NULL, json_build_object('email', format('merchant%s@example.com', v_i),
            'name', format('Merchant %s', v_i))::jsonb, v_hash));
        PERFORM pg_temp.created(rest.merchant_create(v_merchant[v_i], json_build_object('name', (ARRAY['Nordic House', '东方杂货'])[v_i])::jsonb));
    END LOOP;
    FOR v_i IN 1 .. 3 LOOP
        PERFORM pg_temp.created(rest.account_create(NULL, json_build_object('email', format('customer%s@example.com', v_i),
            'name', (ARRAY['Carla Customer', 'Chen Wei', 'Sato Yuki'])[v_i])::jsonb, v_hash));
    END LOOP;

    FOR v_i IN 1 .. cardinality(v_roots) LOOP
        v_root[v_i] := pg_temp.created(rest.category_create(v_admin, json_build_object('name', v_roots[v_i])::jsonb));
    END LOOP;
    FOR v_t IN 1 .. cardinality(v_things) LOOP
        v_category[v_t] := pg_temp.created(rest.category_create(v_admin,
            json_build_object('name', initcap(v_things[v_t]), 'parent_id', v_root[v_root_of[v_t]]::text)::jsonb));
    END LOOP;

    FOR v_i IN 0 .. 299 LOOP
        v_t := 1 + v_i % cardinality(v_things);
        v_m := 1 + v_i % 2;
        v_price := 900 + (v_i * 7919) % 24000;
        v_reply := rest.product_create(v_merchant[v_m], json_build_object(
            'title', initcap(format('%s %s %s', v_materials[1 + v_i / 30], v_things[v_t], 'no. ' || 100 + v_i))
                     || CASE WHEN v_m = 2 THEN ' ' || v_translated[v_t] ELSE '' END,
            'description', format('A %s made of %s, in %s. Ships within two days.', v_things[v_t], v_materials[1 + v_i / 30],
                                  v_colours[1 + v_i % 6] || ' or ' || v_colours[1 + (v_i + 3) % 6]),
            'category_id', v_category[v_t]::text,
            'attributes', json_build_object('material', v_materials[1 + v_i / 30]),
            'tags', json_build_array(v_things[v_t], v_materials[1 + v_i / 30]),
            'skus', json_build_array(
                json_build_object('code', format('HF-%s-A', 1000 + v_i), 'price', v_price, 'currency', 'EUR'),
                json_build_object('code', format('HF-%s-B', 1000 + v_i), 'price', v_price + 500, 'currency', 'EUR')),
            'published', true)::jsonb);
        PERFORM pg_temp.created(v_reply);
        FOR v_sku IN SELECT s.value ->> 'id' AS id FROM json_array_elements(v_reply.body -> 'skus') AS s LOOP
            PERFORM holdfast.receive(v_sku.id::bigint, 20 + v_i % 80, 'demo');
        END LOOP;
    END LOOP;
END $$;

COMMIT;
