-- Deploy shop:search to pg
-- requires: catalogue
-- requires: catalogue_list
-- requires: field
-- requires: order
--
-- Search over titles, descriptions, SKU codes and tags. A published product has a document: a tsvector of its words, made
-- here and not by PostgreSQL's parser, so that it does not depend on the locale of the database. Words are folded: NFKC,
-- lower case, no accents. Chinese, Japanese and Korean text, which has no words to speak of, goes in as every two
-- consecutive characters. Documents are written by triggers in the transaction of the product, under the lock of its row.
--
-- How words are found: every word of a document is in a lexicon, shop.search_word. Each word that is looked for is looked
-- up there: itself, words that begin with it (from two characters on), words that contain it (from three on), and if none
-- that begins with it is frequent, words that differ by one letter (from four on). What is then asked of the index of
-- documents is whole words, the most frequent of each kind; but where twelve words or more begin with one, it is the
-- beginning itself, as words may be of products that are gone. A new word enters the lexicon with its document, and stays; two transactions
-- may enter the same word, which does no harm, and neither waits for the other.
--
-- How results are ranked: ts_rank() over all words found, plus four times that over the words as they were typed; a word
-- counts most in the title, less in a tag or code, least in the description. Newer products come first among equals.
-- Where up to 300 documents match, all are ranked. Where more do, the matches among the 500 newest products and 300
-- others are; of words that are in more than a fiftieth of all documents, the matches among the 4,000 newest.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.fold(p_text text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT CASE WHEN octet_length(p_text) = length(p_text) THEN lower(p_text COLLATE "und-x-icu")
            ELSE replace(replace(replace(translate(normalize(regexp_replace(
                lower(normalize(p_text, NFKD) COLLATE "und-x-icu"), U&'[\0300-\036F]+', '', 'g'), NFKC), 'øłđıð', 'oldid'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe') END;
    END;
COMMENT ON FUNCTION shop.fold(text) IS 'Text as search compares it: NFKC (so that full-width letters are letters), in lower case, without accents.';

-- place counts words; of Chinese, Japanese and Korean text it counts characters, so that what stands side by side has
-- places side by side. The last character of a run goes in by itself, so that each character begins a word of the lexicon.
CREATE FUNCTION shop.search_tokens(p_text text) RETURNS TABLE (word text, place integer, run integer)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_text text := shop.fold(p_text);
    -- Signs of vowels and the like, which are written on letters; fold() takes the accents of Latin, Greek and Cyrillic.
    v_marks CONSTANT text := U&'\0591-\05BD\05BF\05C1\05C2\05C7\0610-\061A\064B-\065F\0670\0900-\0963\0966-\0DF3\0E31-\0E4E\0EB1-\0ECD\0F71-\0F84\102B-\103E\17B4-\17D3';
    v_cjk CONSTANT text := U&'[\3005\3007\3041-\30FF\3100-\31BF\31F0-\31FF\3400-\9FFF\AC00-\D7A3\F900-\FAFF\+020000-\+03FFFF]';
BEGIN
    IF octet_length(v_text) = length(v_text) THEN
        RETURN QUERY SELECT left(t.w, 40), t.n::integer, t.n::integer
                     FROM string_to_table(btrim(regexp_replace(v_text COLLATE "C", '[^a-z0-9]+', ' ', 'g')), ' ') WITH ORDINALITY AS t (w, n) WHERE t.w <> '';
        RETURN;
    END IF;
    v_text := regexp_replace(v_text, '(' || v_cjk || '+)', ' \1 ', 'g');
    RETURN QUERY
    WITH t AS (
        SELECT s.w, s.n, s.w ~ ('^' || v_cjk) AS cjk, sum(CASE WHEN s.w ~ ('^' || v_cjk) THEN length(s.w) ELSE 1 END) OVER (ORDER BY s.n) AS upto
        FROM string_to_table(btrim(regexp_replace(v_text COLLATE "und-x-icu", '[^[:alnum:]' || v_marks || ']+', ' ', 'g')), ' ') WITH ORDINALITY AS s (w, n) WHERE s.w <> '')
    SELECT left(t.w, 40), t.upto::integer, t.n::integer FROM t WHERE NOT t.cjk
    UNION ALL
    SELECT substr(t.w, i.i, 2), (t.upto - length(t.w) + i.i)::integer, t.n::integer FROM t, generate_series(1, length(t.w)) AS i (i) WHERE t.cjk;
END $$;
COMMENT ON FUNCTION shop.search_tokens(text) IS
'The words of a text, folded, at most 40 characters each, with their places; run numbers the words as they were written, of which one in Chinese, Japanese or Korean gives several.';

CREATE FUNCTION shop.search_keys(p_word text) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT CASE WHEN length(p_word) BETWEEN 4 AND 24 AND p_word !~ '[0-9]'
            THEN ARRAY(SELECT p_word UNION SELECT left(p_word, i - 1) || substr(p_word, i + 1) FROM generate_series(1, length(p_word)) AS i) ELSE '{}' END;
    END;
COMMENT ON FUNCTION shop.search_keys(text) IS
'A word and what is left of it without one of its letters: two words with a common key differ by a letter too few, too many, another one, or two that changed places. None for words with digits.';

CREATE TABLE shop.search_word (
    word text    COLLATE "C" NOT NULL,
    id   bigint  NOT NULL DEFAULT holdfast.new_id(),
    hits integer NOT NULL DEFAULT 0,
    keys text[]  COLLATE "C" NOT NULL,
    CONSTRAINT search_word_pkey PRIMARY KEY (word, id)
);
CREATE INDEX search_word_frequent_idx ON shop.search_word (word, hits) WHERE hits > 0;
CREATE INDEX search_word_keys_idx ON shop.search_word USING gin (keys) WITH (fastupdate = off);
COMMENT ON TABLE shop.search_word IS 'The lexicon: every word that was ever in a document; perhaps more than once.';
COMMENT ON COLUMN shop.search_word.hits IS 'In about how many documents it is, if in many: count_words().';
COMMENT ON COLUMN shop.search_word.keys IS 'What it is found by when it is typed wrong: search_keys().';

-- pg_trgm may be in any schema.
DO $$
BEGIN
    EXECUTE format('CREATE INDEX search_word_part_idx ON shop.search_word USING gin (word %I.gin_trgm_ops) WITH (fastupdate = off)',
                   (SELECT e.extnamespace::regnamespace::text FROM pg_extension AS e WHERE e.extname = 'pg_trgm'));
END $$;

CREATE TABLE shop.search_document (
    product_id   bigint      NOT NULL,
    published_at timestamptz NOT NULL,
    words        tsvector    NOT NULL,
    CONSTRAINT search_document_pkey PRIMARY KEY (product_id),
    CONSTRAINT search_document_product_fkey FOREIGN KEY (product_id) REFERENCES shop.product (id) ON DELETE CASCADE
);
ALTER TABLE shop.search_document ALTER COLUMN words SET STATISTICS 200;
CREATE INDEX search_document_new_idx ON shop.search_document (published_at, product_id);
CREATE INDEX search_document_words_idx ON shop.search_document USING gin (words) WITH (fastupdate = off);
COMMENT ON TABLE shop.search_document IS 'What search looks at: published products. A table of its own, so that a change of price does not touch the index of words.';
COMMENT ON COLUMN shop.search_document.words IS
'Weights: A title, B tags and SKU codes, D the first 4,000 characters of the description. Without weight, for filters: #m with the id of the merchant, #c with that of each category that shows it, #t with each tag.';

CREATE FUNCTION shop.search_vector(p_title text, p_description text, p_tags text[], p_codes text[]) RETURNS tsvector
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT coalesce(string_agg('''' || t.word || ''':' || least(t.place, 16000) || t.weight, ' '), '')::tsvector
        FROM (
            SELECT k.word, k.place, 'A' AS weight FROM shop.search_tokens(p_title) AS k
            UNION ALL
            SELECT k.word, 600 + k.place, 'B' FROM shop.search_tokens(array_to_string(p_tags || p_codes, ' ')) AS k
            UNION ALL
            SELECT left(lower(regexp_replace(c.code, '[^A-Za-z0-9]+', '', 'g') COLLATE "C"), 40), 600, 'B' FROM unnest(p_codes) AS c (code) WHERE c.code ~ '[A-Za-z0-9][^A-Za-z0-9]+[A-Za-z0-9]'
            UNION ALL
            SELECT k.word, 12000 + k.place, 'D' FROM shop.search_tokens(left(p_description, 4000)) AS k
        ) AS t;
    END;
COMMENT ON FUNCTION shop.search_vector(text, text, text[], text[]) IS 'The words of a product, with places and weights. Codes go in with their parts and, without what is between these, as one.';

CREATE FUNCTION shop.index_products(p_products bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_products = '{}' THEN
        RETURN;
    END IF;
    -- Statements of their own, after the locks: they see what whoever had them before has written.
    PERFORM FROM shop.product AS p WHERE p.id = ANY (p_products) ORDER BY p.id FOR NO KEY UPDATE;
    PERFORM FROM shop.category AS c WHERE c.id IN (SELECT p.category_id FROM shop.product AS p WHERE p.id = ANY (p_products)) ORDER BY c.id FOR SHARE;
    DELETE FROM shop.search_document AS d
    WHERE d.product_id = ANY (p_products)
      AND NOT EXISTS (SELECT FROM shop.product AS p WHERE p.id = d.product_id AND p.published_at IS NOT NULL AND p.deleted_at IS NULL);
    WITH written AS (
        INSERT INTO shop.search_document AS d (product_id, published_at, words)
        SELECT p.id, p.published_at,
               shop.search_vector(p.title, p.description, p.tags, ARRAY(SELECT s.code FROM shop.sku AS s WHERE s.product_id = p.id AND s.deleted_at IS NULL ORDER BY s.id))
               || array_to_tsvector(ARRAY['#m' || p.merchant_id] || ARRAY(SELECT '#c' || c FROM unnest(k.path) AS c) || ARRAY(SELECT '#t' || left(t, 100) FROM unnest(p.tags) AS t WHERE t IS NOT NULL))
        FROM shop.product AS p LEFT JOIN shop.category AS k ON k.id = p.category_id
        WHERE p.id = ANY (p_products) AND p.published_at IS NOT NULL AND p.deleted_at IS NULL
        ON CONFLICT (product_id) DO UPDATE SET published_at = excluded.published_at, words = excluded.words
        WHERE (d.published_at, d.words) IS DISTINCT FROM (excluded.published_at, excluded.words)
        RETURNING d.words)
    INSERT INTO shop.search_word (word, keys)
    SELECT w.word, shop.search_keys(w.word)
    FROM (SELECT DISTINCT u.word FROM written, unnest(tsvector_to_array(written.words)) AS u (word) WHERE u.word !~ '^#') AS w
    WHERE NOT EXISTS (SELECT FROM shop.search_word AS s WHERE s.word = w.word COLLATE "C");
END $$;
COMMENT ON FUNCTION shop.index_products(bigint[]) IS 'Writes the documents of products anew, and their new words into the lexicon. Locks the products, and takes a share of their categories'' rows.';

CREATE FUNCTION shop.search_changed() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.index_products(ARRAY(
        SELECT a.id FROM added AS a JOIN removed AS r USING (id)
        WHERE (a.title, a.description, a.tags, a.category_id, a.merchant_id, a.published_at, a.deleted_at)
            IS DISTINCT FROM (r.title, r.description, r.tags, r.category_id, r.merchant_id, r.published_at, r.deleted_at)));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.search_changed() IS 'Keeps the documents of products. Definer''s rights: whoever may write a product need not have rights on what follows from it.';

CREATE FUNCTION shop.search_added() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.index_products(ARRAY(SELECT a.id FROM added AS a WHERE a.published_at IS NOT NULL));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.search_added() IS 'Makes the documents of new products. Definer''s rights, as search_changed().';

CREATE FUNCTION shop.search_sku_changed() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.index_products(ARRAY(
        SELECT DISTINCT p.id FROM added AS a JOIN removed AS r USING (id), LATERAL (VALUES (a.product_id), (r.product_id)) AS p (id)
        WHERE (a.code, a.product_id, a.deleted_at) IS DISTINCT FROM (r.code, r.product_id, r.deleted_at)));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.search_sku_changed() IS 'Keeps the codes in the documents. Definer''s rights, as search_changed().';

CREATE FUNCTION shop.search_sku_added() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.index_products(ARRAY(SELECT DISTINCT a.product_id FROM added AS a));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.search_sku_added() IS 'Takes new codes into the documents. Definer''s rights, as search_changed().';

CREATE FUNCTION shop.search_moved() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE shop.search_document AS d
    SET words = ts_delete(d.words, ARRAY(SELECT w FROM unnest(tsvector_to_array(d.words)) AS w WHERE w LIKE '#c%'))
                || array_to_tsvector(ARRAY(SELECT '#c' || c FROM unnest(k.path) AS c))
    FROM shop.product AS p JOIN shop.category AS k ON k.id = p.category_id
    WHERE p.id = d.product_id
      AND p.id IN (SELECT q.id FROM added AS a JOIN removed AS r USING (id) JOIN shop.product_category AS pc ON pc.category_id = a.id JOIN shop.product AS q ON q.id = pc.product_id
                   WHERE a.path <> r.path);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.search_moved() IS 'Files the documents of moved categories under what is above them now. Definer''s rights, as search_changed().';

CREATE TRIGGER category_searched AFTER UPDATE ON shop.category REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION shop.search_moved();
CREATE TRIGGER product_searchable AFTER INSERT ON shop.product REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shop.search_added();
CREATE TRIGGER product_searched AFTER UPDATE ON shop.product REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION shop.search_changed();
CREATE TRIGGER sku_searchable AFTER INSERT ON shop.sku REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION shop.search_sku_added();
CREATE TRIGGER sku_searched AFTER UPDATE ON shop.sku REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION shop.search_sku_changed();
SELECT shop.index_products(ARRAY(SELECT p.id FROM shop.product AS p WHERE p.published_at IS NOT NULL));

CREATE FUNCTION shop.count_words() RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        WITH counted AS (
            SELECT e.word, (s.most_common_elem_freqs[e.n] * c.reltuples)::integer AS hits
            FROM pg_class AS c, pg_stats AS s, LATERAL unnest(s.most_common_elems::text::text[]) WITH ORDINALITY AS e (word, n)
            WHERE c.oid = 'shop.search_document'::regclass AND c.reltuples > 0
              AND s.schemaname = 'shop' AND s.tablename = 'search_document' AND s.attname = 'words'),
        changed AS (
            UPDATE shop.search_word AS w SET hits = k.hits FROM counted AS k
            WHERE w.word = k.word COLLATE "C" AND w.hits IS DISTINCT FROM k.hits RETURNING 1)
        SELECT count(*) FROM changed;
    END;
COMMENT ON FUNCTION shop.count_words() IS
'Takes over how frequent words are from the statistics of the last ANALYZE. For a periodic job, once a day: search is right without it, but slower for words that are in a large part of all products. Returns how many words changed.';

CREATE FUNCTION shop.search_found(p_word text) RETURNS TABLE (word text, hits integer, kind text)
    LANGUAGE plpgsql STABLE ROWS 20 SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_word CONSTANT text COLLATE "C" := p_word;
    v_end CONSTANT text COLLATE "C" := p_word || U&'\+10FFFF';
    v_many CONSTANT integer := 3000;
    v_begins CONSTANT boolean := length(p_word) > 1 OR p_word ~ U&'[\3005-\FAFF\+020000-\+03FFFF]';
BEGIN
    RETURN QUERY
    WITH begin AS MATERIALIZED (
        SELECT f.word, max(f.hits) AS hits
        FROM (SELECT w.word, w.hits FROM shop.search_word AS w WHERE w.word = v_word
              UNION ALL
              (SELECT w.word, w.hits FROM shop.search_word AS w WHERE w.word > v_word AND w.word < v_end AND w.hits > 0 AND v_begins ORDER BY w.word LIMIT 1000)
              UNION ALL
              (SELECT w.word, 0 FROM shop.search_word AS w WHERE w.word > v_word AND w.word < v_end AND v_begins ORDER BY w.word LIMIT 200)) AS f
        GROUP BY f.word)
    -- All that begins with it is one condition, if there are many such words and they are not in many documents: of frequent
    -- ones, and of more than can be counted, the most frequent have to do.
    SELECT b.word, b.hits, b.kind
    FROM (SELECT p_word AS word, sum(greatest(b.hits, 1))::integer AS hits, 'prefix' AS kind FROM begin AS b
          HAVING count(*) BETWEEN 12 AND 199 AND sum(greatest(b.hits, 1)) <= v_many) AS b
    UNION ALL
    (SELECT b.word, b.hits, 'begin' FROM begin AS b WHERE (SELECT count(*) NOT BETWEEN 12 AND 199 OR sum(greatest(c.hits, 1)) > v_many FROM begin AS c)
     ORDER BY b.word = v_word DESC, b.hits DESC, b.word LIMIT 12);
    IF length(v_word) >= 3 THEN
        RETURN QUERY
        SELECT p.word, p.hits, 'part'
        FROM (SELECT f.word, max(f.hits) AS hits, row_number() OVER (ORDER BY max(f.hits) DESC, length(f.word), f.word) AS n, sum(max(f.hits)) OVER () AS total
              FROM (SELECT w.word, w.hits FROM shop.search_word AS w WHERE w.word LIKE '%' || v_word || '%' AND NOT starts_with(w.word, v_word) LIMIT 500) AS f
              GROUP BY f.word) AS p
        WHERE p.n <= CASE WHEN p.total > v_many THEN 8 ELSE 40 END ORDER BY p.n;
    END IF;
    IF length(v_word) >= 4 AND NOT EXISTS (SELECT FROM shop.search_word AS w WHERE w.word >= v_word AND w.word < v_end AND w.hits > 0) THEN
        RETURN QUERY
        SELECT f.word, max(f.hits), 'near'
        FROM (SELECT w.word, w.hits FROM shop.search_word AS w WHERE w.keys && shop.search_keys(v_word) LIMIT 500) AS f
        WHERE abs(length(f.word) - length(v_word)) <= 1 AND position(v_word IN f.word) = 0 GROUP BY f.word ORDER BY max(f.hits) DESC, f.word LIMIT 8;
    END IF;
END $$;
COMMENT ON FUNCTION shop.search_found(text) IS
'What of the lexicon a folded word finds, by kind. begin: itself and up to 12 words that begin with it, or prefix: all of these, where they are more and in no more than 3,000 documents together; part: up to 40 that contain it, of frequent ones 8; near: up to 8 one letter away, if no word that begins with it is frequent, as a word typed wrong may be in some document too. A single character finds what begins with it only in Chinese, Japanese and Korean.';

CREATE FUNCTION shop.search_query(p_query text, OUT match tsquery, OUT typed tsquery, OUT widened tsquery, OUT exact tsquery, OUT share double precision, OUT complete boolean)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_documents CONSTANT double precision := (SELECT greatest(c.reltuples, 1) FROM pg_class AS c WHERE c.oid = 'shop.search_document'::regclass);
    v_run record;
    v_words text[]; v_exact_words text[];
    v_cut boolean; v_hits bigint;
    v_exact text[] := '{}'::text[]; v_match text[] := '{}'::text[];
    v_typed text[] := '{}'::text[]; v_found text[] := '{}'::text[];
BEGIN
    complete := true;
    FOR v_run IN
        SELECT array_agg(t.word ORDER BY t.place) AS words, bool_and(length(t.word) <= 2 AND t.word ~ U&'^[\3005-\FAFF\+020000-\+03FFFF]') AS pairs
        FROM shop.search_tokens(left(p_query, 200)) AS t GROUP BY t.run ORDER BY t.run LIMIT 8
    LOOP
        -- Words are letters and digits only, and stand in quotes: nothing that is typed is an operator.
        IF v_run.pairs AND cardinality(v_run.words) > 1 THEN
            v_words := ARRAY(SELECT '''' || u.w || '''' FROM unnest(v_run.words[: least(cardinality(v_run.words) - 1, 20)]) WITH ORDINALITY AS u (w, n) ORDER BY u.n);
            v_exact_words := ARRAY[array_to_string(v_words, ' <-> ')];
            v_match := v_match || ('(' || v_exact_words[1] || ')');
            v_typed := v_typed || v_words;
            SELECT min(coalesce((SELECT max(w.hits) FROM shop.search_word AS w WHERE w.word = btrim(u.word, '''') COLLATE "C"), 0)) INTO v_hits FROM unnest(v_words) AS u (word);
        ELSE
            SELECT array_agg(a.w), array_agg(a.w) FILTER (WHERE a.kind <> 'near'), sum(a.hits),
                   count(*) FILTER (WHERE a.kind = 'part') IN (8, 40) OR count(*) FILTER (WHERE a.kind = 'begin') = 12
            INTO v_words, v_exact_words, v_hits, v_cut
            FROM (SELECT '''' || f.word || CASE f.kind WHEN 'prefix' THEN ''':*' ELSE '''' END AS w, f.kind, f.hits FROM shop.search_found(v_run.words[1]) AS f) AS a;
            v_typed := v_typed || ('''' || v_run.words[1] || '''');
            v_words := coalesce(v_words, v_typed[cardinality(v_typed):]);
            v_match := v_match || ('(' || array_to_string(v_words, ' | ') || ')');
            complete := complete AND NOT v_cut;
        END IF;
        v_exact := v_exact || ('(' || array_to_string(coalesce(v_exact_words, v_words), ' | ') || ')');
        v_found := v_found || v_words;
        share := coalesce(share, 1) * least(v_hits / v_documents, 1);
    END LOOP;
    IF v_match <> '{}' THEN
        match := array_to_string(v_match, ' & ')::tsquery;
        typed := (SELECT string_agg(DISTINCT u.w, ' | ') FROM unnest(v_typed) AS u (w))::tsquery;
        widened := (SELECT string_agg(DISTINCT u.w, ' | ') FROM unnest(v_found) AS u (w))::tsquery;
        IF v_exact <> v_match THEN
            exact := array_to_string(v_exact, ' & ')::tsquery;
        END IF;
    END IF;
    -- Of frequent words search_matches() may look at the newest documents only.
    complete := complete AND (coalesce(share, 0) <= 0.02 OR v_documents < 3000);
END $$;
COMMENT ON FUNCTION shop.search_query(text) IS
'What is asked of the index for the first 200 characters, and 8 words, of what was typed; all NULL if there is no word in it. match: each word, or what it finds; Chinese, Japanese and Korean characters side by side. typed, widened: any word as typed, or what it finds. exact: match without words one letter away, where they are not all that was found. share: about what part of all documents has all of it, if words were spread evenly. complete: whether nothing was left out for being too much.';

CREATE FUNCTION shop.search_statement(p_query text, p_category bigint DEFAULT NULL, p_merchant bigint DEFAULT NULL, p_tag text DEFAULT NULL, p_common boolean DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_query record;
    v_match tsquery;
    v_common boolean;
    v_condition text;
    v_rank text;
    v_newest text;
    v_exact tsquery;
    v_filter tsquery;
    v_statement text;
BEGIN
    SELECT * INTO v_query FROM shop.search_query(p_query);
    IF v_query.match IS NULL THEN
        RETURN NULL;
    END IF;
    v_common := coalesce(p_common, v_query.share > 0.02 AND coalesce(p_category, p_merchant) IS NULL AND p_tag IS NULL);
    v_match := v_query.match;
    v_exact := v_query.exact;
    FOR v_filter IN SELECT f.f::tsquery FROM (VALUES ('''#m' || p_merchant || ''''), ('''#t' || replace(replace(p_tag, '\', '\\'), '''', '''''') || ''''),
                                                    ('''#c' || p_category || '''')) AS f (f) WHERE f.f IS NOT NULL LOOP
        v_match := v_match && v_filter;
        v_exact := v_exact && v_filter;
    END LOOP;
    -- Alternatives are quicker asked one by one than of one scan that weighs each row against all of them, up to some number.
    v_condition := CASE WHEN v_match::text ~ '[&<]' THEN format('d.words @@ %L', v_match)
        ELSE (SELECT string_agg(format('d.words @@ %L', o.w), ' OR ')
              FROM (SELECT string_agg(s.w, ' | ' ORDER BY s.n) AS w FROM string_to_table(v_match::text, ' | ') WITH ORDINALITY AS s (w, n) GROUP BY least(s.n, 20)) AS o) END;
    v_rank := format('round((ts_rank(d.words, %L) + 4 * ts_rank(d.words, %L)) * 1e6)::integer AS rank', v_query.widened, v_query.typed);
    v_newest := format('SELECT d.product_id, %s FROM (SELECT n.product_id, n.words FROM shop.search_document AS n '
                       'ORDER BY n.published_at DESC, n.product_id DESC LIMIT %s) AS d WHERE d.words @@ %L', v_rank, CASE WHEN v_common THEN 4000 ELSE 500 END, v_match);
    v_statement := CASE WHEN v_common THEN v_newest
        ELSE format('WITH matched AS MATERIALIZED (SELECT d.product_id, %s FROM shop.search_document AS d WHERE %s LIMIT 301) '
                    'SELECT m.product_id, m.rank FROM matched AS m UNION ALL SELECT o.product_id, o.rank FROM (%s) AS o '
                    'WHERE (SELECT count(*) FROM matched) > 300 AND o.product_id NOT IN (SELECT m.product_id FROM matched AS m)', v_rank, v_condition, v_newest) END;
    -- What was meant by a word that is rare must not be lost among what is like it and frequent.
    IF v_exact IS NOT NULL THEN
        v_statement := format('WITH exact AS MATERIALIZED (SELECT d.product_id, %s FROM shop.search_document AS d WHERE d.words @@ %L LIMIT 301) '
                              'SELECT e.product_id, e.rank FROM exact AS e UNION ALL SELECT s.product_id, s.rank FROM (%s) AS s '
                              'WHERE s.product_id NOT IN (SELECT e.product_id FROM exact AS e)', v_rank, v_exact, v_statement);
    END IF;
    RETURN v_statement;
END $$;
COMMENT ON FUNCTION shop.search_statement(text, bigint, bigint, text, boolean) IS
'The statement of search_matches(): rows of product_id and rank; NULL if there is no word in p_query. p_common: whether to look at the newest products only; NULL: as the frequency of the words advises.';

CREATE FUNCTION shop.search_matches(p_query text, p_category bigint DEFAULT NULL, p_merchant bigint DEFAULT NULL, p_tag text DEFAULT NULL) RETURNS TABLE (product_id bigint, rank integer)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_statement CONSTANT text := shop.search_statement(p_query, p_category, p_merchant, p_tag);
    v_found integer := 0;
BEGIN
    IF v_statement IS NULL THEN
        RETURN;
    END IF;
    FOR product_id, rank IN EXECUTE v_statement LOOP
        v_found := v_found + 1;
        RETURN NEXT;
    END LOOP;
    IF v_found < 40 AND v_statement !~ 'WITH matched AS' THEN
        FOR product_id, rank IN EXECUTE format('SELECT o.product_id, o.rank FROM (%s) AS o WHERE o.product_id NOT IN (SELECT n.product_id FROM (%s) AS n)',
                                               shop.search_statement(p_query, p_category, p_merchant, p_tag, false), v_statement) LOOP
            RETURN NEXT;
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION shop.search_matches(text, bigint, bigint, text) IS
'Published products that p_query finds, with their ranks, in no order; of very many, some hundreds. Filters: a category with all below it, a merchant, a tag.';

CREATE FUNCTION shop.search_products(p_query text, p_limit integer DEFAULT 20, p_cursor text DEFAULT NULL, p_category bigint DEFAULT NULL, p_merchant bigint DEFAULT NULL,
                                     p_min_price bigint DEFAULT NULL, p_max_price bigint DEFAULT NULL, p_currency text DEFAULT NULL, p_tag text DEFAULT NULL,
                                     p_in_stock boolean DEFAULT NULL, OUT product_ids bigint[], OUT next_cursor text, OUT found_ids bigint[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    v_after CONSTANT text[] := shop.read_cursor(p_cursor, 'rank', '{integer,bigint}');
    v_found_ranks integer[];
    v_ranks integer[];
BEGIN
    SELECT array_agg(a.product_id ORDER BY a.rank DESC, a.product_id DESC), array_agg(a.rank ORDER BY a.rank DESC, a.product_id DESC) INTO found_ids, v_found_ranks
    FROM shop.search_matches(p_query, p_category, p_merchant, p_tag) AS a;
    SELECT array_agg(f.id ORDER BY f.n), array_agg(f.rank ORDER BY f.n) INTO product_ids, v_ranks
    FROM (SELECT m.id, m.rank, m.n
          FROM unnest(found_ids, v_found_ranks) WITH ORDINALITY AS m (id, rank, n)
          WHERE (v_after IS NULL OR (m.rank, m.id) < (v_after[1]::integer, v_after[2]::bigint))
            AND (coalesce(p_min_price, p_max_price) IS NULL AND p_currency IS NULL
                 OR EXISTS (SELECT FROM shop.product AS p WHERE p.id = m.id AND p.price >= coalesce(p_min_price, 0)
                              AND p.price <= coalesce(p_max_price, p.price) AND p.currency = coalesce(p_currency, p.currency) OFFSET 0))
            AND (p_in_stock IS NULL
                 OR p_in_stock = EXISTS (SELECT FROM shop.sku AS s WHERE s.product_id = m.id AND s.deleted_at IS NULL AND holdfast.available(s.id) > 0 OFFSET 0))
          LIMIT p_limit + 1) AS f;
    IF cardinality(product_ids) > p_limit THEN
        product_ids := product_ids[: p_limit];
        next_cursor := shop.cursor_of('rank', v_ranks[p_limit]::text, product_ids[p_limit]::text);
    END IF;
    product_ids := coalesce(product_ids, '{}'::bigint[]);
    found_ids := coalesce(found_ids, '{}'::bigint[]);
END $$;
COMMENT ON FUNCTION shop.search_products(text, integer, text, bigint, bigint, bigint, bigint, text, text, boolean) IS
'A page of published products that p_query finds, best first, then newest; found_ids: all that search_matches() knows, best first. Filters as those of list_products(); price, currency and stock filter what is found, so of words that very many products have they see some hundreds. Errors: HS016 cursor.';

CREATE FUNCTION shop.search_facets(p_products bigint[]) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
    BEGIN ATOMIC
        WITH found AS MATERIALIZED (
            SELECT p.id, p.category_id, p.merchant_id, p.tags, p.currency, p.price
            FROM unnest(p_products[: 300]) AS u (id) CROSS JOIN LATERAL (SELECT * FROM shop.product AS q WHERE q.id = u.id OFFSET 0) AS p)
        SELECT json_build_object(
            'count', (SELECT count(*) FROM found), 'complete', cardinality(p_products) <= 300,
            'categories', coalesce((SELECT json_agg(json_build_object('id', f.category_id::text, 'count', f.n) ORDER BY f.n DESC, f.category_id)
                FROM (SELECT category_id, count(*) AS n FROM found WHERE category_id IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20) AS f), '[]'),
            'merchants', coalesce((SELECT json_agg(json_build_object('id', f.merchant_id::text, 'count', f.n) ORDER BY f.n DESC, f.merchant_id)
                FROM (SELECT merchant_id, count(*) AS n FROM found GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20) AS f), '[]'),
            'tags', coalesce((SELECT json_agg(json_build_object('tag', f.tag, 'count', f.n) ORDER BY f.n DESC, f.tag)
                FROM (SELECT t.tag, count(*) AS n FROM found, unnest(found.tags) AS t (tag) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20) AS f), '[]'),
            'prices', coalesce((SELECT json_agg(json_build_object('currency', f.currency, 'from', f.low, 'to', f.high, 'count', f.n) ORDER BY f.currency, f.low, f.high)
                FROM (SELECT currency, min(price) AS low, max(price) AS high, count(*) AS n
                      FROM (SELECT currency, price, ntile(5) OVER (PARTITION BY currency ORDER BY price) AS fifth FROM found) AS q
                      GROUP BY currency, fifth ORDER BY 4 DESC, 1, 2 LIMIT 50) AS f), '[]'));
    END;
COMMENT ON FUNCTION shop.search_facets(bigint[]) IS
'How the first 300 of some products, such as a search has found, are spread: over categories, merchants and tags (the 20 with most each) and prices (fifths, per currency). complete says whether these are all.';

CREATE TABLE shop.bought_together (
    product_id bigint  NOT NULL,
    other_id   bigint  NOT NULL,
    orders     integer NOT NULL,
    CONSTRAINT bought_together_pkey PRIMARY KEY (product_id, other_id)
);
COMMENT ON TABLE shop.bought_together IS 'In how many paid orders of late two products were together: the ten most frequent for each. count_bought_together() writes it.';

CREATE FUNCTION shop.count_bought_together(p_since timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count bigint;
BEGIN
    LOCK TABLE shop.bought_together IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM shop.bought_together;
    INSERT INTO shop.bought_together (product_id, other_id, orders)
    SELECT r.product_id, r.other_id, r.orders
    FROM (SELECT c.product_id, c.other_id, c.orders, row_number() OVER (PARTITION BY c.product_id ORDER BY c.orders DESC, c.other_id) AS place
          FROM (SELECT a.product_id, b.product_id AS other_id, count(DISTINCT (a.account_id, a.order_id)) AS orders
                FROM shop.order AS o
                JOIN shop.order_line AS a ON a.account_id = o.account_id AND a.order_id = o.id
                JOIN shop.order_line AS b ON b.account_id = o.account_id AND b.order_id = o.id AND b.product_id <> a.product_id
                WHERE o.status IN ('paid', 'shipped', 'completed') AND o.lines <= 50 AND o.placed_at >= coalesce(p_since, clock_timestamp() - interval '90 days')
                GROUP BY 1, 2) AS c) AS r
    WHERE r.place <= 10;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION shop.count_bought_together(timestamptz) IS
'Counts anew what was bought together, in paid orders of up to 50 lines placed since p_since (default: 90 days ago). For a periodic job, once a day; it reads all orders. Returns the number of pairs.';

CREATE FUNCTION shop.related_products(p_product bigint, p_limit integer DEFAULT 10, OUT bought_together bigint[], OUT alike bigint[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_query tsquery;
BEGIN
    bought_together := ARRAY(
        SELECT b.other_id FROM shop.bought_together AS b JOIN shop.product AS p ON p.id = b.other_id
        WHERE b.product_id = p_product AND p.published_at IS NOT NULL AND p.deleted_at IS NULL ORDER BY b.orders DESC, b.other_id DESC LIMIT p_limit);
    -- Very frequent words say nothing, and cost most.
    SELECT string_agg('''' || r.word || '''', ' | ')::tsquery INTO v_query
    FROM (SELECT t.lexeme AS word
          FROM shop.search_document AS d, unnest(ts_filter(d.words, '{a,b}')) AS t,
          LATERAL (SELECT coalesce(max(w.hits), 0) AS hits FROM shop.search_word AS w WHERE w.word = t.lexeme COLLATE "C") AS h
          WHERE d.product_id = p_product AND h.hits <= (SELECT greatest(c.reltuples * 0.01, 1000) FROM pg_class AS c WHERE c.oid = 'shop.search_document'::regclass)
          ORDER BY 'A' = ANY (t.weights) DESC, h.hits DESC, t.lexeme LIMIT 8) AS r;
    EXECUTE format('SELECT array_agg(r.product_id ORDER BY r.rank DESC, r.product_id DESC) FROM ('
                   'SELECT m.product_id, ts_rank(m.words, %1$L) AS rank '
                   'FROM (SELECT d.product_id, d.words FROM shop.search_document AS d WHERE d.words @@ %1$L AND d.product_id <> %2$s LIMIT 500) AS m '
                   'ORDER BY 2 DESC, 1 DESC LIMIT %3$s) AS r', v_query, p_product, p_limit)
    INTO alike;
    alike := coalesce(alike, '{}');
END $$;
COMMENT ON FUNCTION shop.related_products(bigint, integer) IS
'Published products that were bought together with this one (most often first, as of the last count_bought_together()), and ones that are like it by the words of title, tags and codes, best first of up to 500.';

COMMIT;
