-- Deploy shop:image to pg
-- requires: account_login
-- requires: catalogue_write
--
-- Pictures in the hands of the worker: what it is told of those that it is to make sizes of, and what has become of them.
-- It is told of the jobs alone that it holds the lease of, and decides about those alone; a picture is decided once. A
-- result counts only for the picture it was made of: an account may have another one by now.
--
-- The files of uploads and of sizes are named after what is in them, so that one may be wanted in many places. Those that
-- nobody wants any more are swept, once a day, step by step: 0 to 15 are about uploads, one for each digit that names begin
-- with, 16 to 271 about sizes, one for each two digits. A step is told the names that are wanted, found by indexes on
-- their beginnings, and takes away what is older than a day and not among them; whoever comes to want a file
-- that is there already makes it new again (utimensat), and a file that has just been made is new. The payload of
-- the periodic job is the step that is next: when one has died, the sweep of the next day begins with it.
--
-- Locks: jobs, then products and accounts, in the order of their ids, then images. The periodic job before keys of jobs, as
-- shop.run_periodic() takes them.

BEGIN;
SET LOCAL ROLE shop_owner;

INSERT INTO shop.job_kind (kind, attempts) VALUES ('image_sweep', 3);
INSERT INTO shop.job_periodic (name, every, kind, payload, priority) VALUES ('image_sweep', '1 day', 'image_sweep', '{"step": 0}', -5);

CREATE FUNCTION shop.image_details(p_lease uuid, p_ids uuid[]) RETURNS TABLE (id uuid, details json)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    BEGIN ATOMIC
        SELECT j.id, CASE
            WHEN i.state = 'uploaded' AND p.deleted_at IS NULL
                THEN json_build_object('original', i.original, 'shape', 'product', 'last', j.attempts >= k.attempts)
            WHEN a.avatar ->> 'state' = 'uploaded'
                THEN json_build_object('original', a.avatar ->> 'original', 'shape', 'avatar', 'last', j.attempts >= k.attempts)
            ELSE json_build_object('skip', 'the picture is gone, or is decided already') END
        FROM shop.job AS j
        JOIN shop.job_kind AS k ON k.kind = j.kind
        LEFT JOIN shop.image AS i ON i.id = (j.payload ->> 'image_id')::bigint
        LEFT JOIN shop.product AS p ON p.id = i.product_id
        LEFT JOIN shop.account AS a ON a.id = (j.payload ->> 'account_id')::bigint
        WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease AND j.kind = 'image_uploaded';
    END;
COMMENT ON FUNCTION shop.image_details(uuid, uuid[]) IS
'What is to be known about jobs of kind image_uploaded that are claimed with this lease: {original: name of the file, shape: product or avatar, last: whether it is the last attempt}, or {skip: why} if there is nothing to do. Definer''s rights: the worker has none on tables.';

CREATE FUNCTION shop.check_image_result(p_result json) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_result CONSTANT jsonb := p_result;
    v_sizes CONSTANT jsonb := v_result -> 'sizes';
BEGIN
    IF jsonb_typeof(v_result) IS DISTINCT FROM 'object' OR jsonb_typeof(v_result -> 'original') IS DISTINCT FROM 'string' THEN
        PERFORM shop.refuse('HS015', '/results', 'wanted: what it was made of');
    ELSIF jsonb_typeof(v_result -> 'reason') = 'string' THEN
        RETURN;
    ELSIF jsonb_typeof(v_sizes) IS DISTINCT FROM 'array' OR octet_length(v_sizes::text) > 16384 OR NOT jsonb_array_length(v_sizes) BETWEEN 1 AND 20
       OR EXISTS (SELECT FROM jsonb_array_elements(v_sizes) AS s (size)
                  WHERE jsonb_typeof(s.size) <> 'object' OR jsonb_typeof(s.size -> 'name') IS DISTINCT FROM 'string'
                     OR jsonb_typeof(s.size -> 'width') IS DISTINCT FROM 'number' OR jsonb_typeof(s.size -> 'height') IS DISTINCT FROM 'number'
                     OR jsonb_typeof(s.size -> 'type') IS DISTINCT FROM 'string' OR jsonb_typeof(s.size -> 'file') IS DISTINCT FROM 'string') THEN
        PERFORM shop.refuse('HS015', '/results', 'wanted: a reason, or 1 to 20 sizes {name, width, height, type, file}');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_image_result(json) IS 'Refuses what does not say what has become of a picture. Errors: HS015.';

CREATE FUNCTION shop.decide_pictures(p_images bigint[], p_accounts bigint[], p_results jsonb[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    v_images bigint;
    v_accounts bigint;
BEGIN
    PERFORM FROM shop.product AS p WHERE p.id IN (SELECT i.product_id FROM shop.image AS i WHERE i.id = ANY (p_images)) ORDER BY p.id FOR NO KEY UPDATE;
    UPDATE shop.image AS i
    SET state = CASE WHEN w.result ? 'reason' THEN 'refused' ELSE 'ready' END, sizes = coalesce(w.result -> 'sizes', '[]'),
        reason = left(w.result ->> 'reason', 200)
    FROM unnest(p_images, p_results) AS w (image, result)
    WHERE i.id = w.image AND i.state = 'uploaded' AND i.original = w.result ->> 'original';
    GET DIAGNOSTICS v_images = ROW_COUNT;

    PERFORM FROM shop.account AS a WHERE a.id = ANY (p_accounts) ORDER BY a.id FOR NO KEY UPDATE;
    UPDATE shop.account AS a
    SET avatar = a.avatar || CASE WHEN w.result ? 'reason' THEN jsonb_build_object('state', 'refused', 'reason', left(w.result ->> 'reason', 200))
                                  ELSE jsonb_build_object('state', 'ready', 'sizes', w.result -> 'sizes') END,
        version = a.version + 1
    FROM unnest(p_accounts, p_results) AS w (account, result)
    WHERE a.id = w.account AND a.avatar ->> 'original' = w.result ->> 'original' AND a.avatar ->> 'state' = 'uploaded';
    GET DIAGNOSTICS v_accounts = ROW_COUNT;
    RETURN v_images + v_accounts;
END $$;
COMMENT ON FUNCTION shop.decide_pictures(bigint[], bigint[], jsonb[]) IS
'Writes down what has become of pictures, each of an image or of an account, as finish_images() has it: it counts if that is still the picture, and it is not decided yet. Returns how many count.';

CREATE FUNCTION shop.finish_images(p_lease uuid, p_ids uuid[], p_results json[]) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    v_ids uuid[];
    v_results jsonb[];
    v_images bigint[];
    v_accounts bigint[];
BEGIN
    IF cardinality(p_results) IS DISTINCT FROM cardinality(p_ids) THEN
        PERFORM shop.refuse('HS015', '/results', 'wanted: one for each job');
    END IF;
    PERFORM shop.check_image_result(r) FROM unnest(p_results) AS r;
    SELECT array_agg(j.id), array_agg(p_results[array_position(p_ids, j.id)]::jsonb),
           array_agg((j.payload ->> 'image_id')::bigint), array_agg((j.payload ->> 'account_id')::bigint)
    INTO v_ids, v_results, v_images, v_accounts
    FROM (SELECT j.id, j.payload FROM shop.job AS j
          WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease AND j.kind = 'image_uploaded'
          FOR UPDATE) AS j;

    PERFORM shop.decide_pictures(v_images, v_accounts, v_results);
    RETURN QUERY SELECT f.id FROM shop.finish_jobs(p_lease, v_ids) AS f (id);
END $$;
COMMENT ON FUNCTION shop.finish_images(uuid, uuid[], json[]) IS
'What has become of pictures, as far as their jobs are still claimed with this lease: {original, sizes: [{name, width, height, type, file}]}, in pixels, or {original, reason} of one that is refused, which its merchant reads (200 characters). It counts if that is still the picture, and it is not decided yet. Finishes the jobs, and returns them. Errors: HS015. Definer''s rights: the worker has none on tables.';

CREATE FUNCTION shop.refuse_lost_pictures() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_images bigint[];
    v_accounts bigint[];
    v_results jsonb[];
BEGIN
    SELECT array_agg(i.id), array_agg(a.id),
           array_agg(jsonb_build_object('original', coalesce(i.original, a.avatar ->> 'original'), 'reason', 'it could not be worked on; upload it again'))
    INTO v_images, v_accounts, v_results
    FROM shop.job_dead AS d
    LEFT JOIN shop.image AS i ON i.id = (d.payload ->> 'image_id')::bigint AND i.state = 'uploaded'
    LEFT JOIN shop.account AS a ON a.id = (d.payload ->> 'account_id')::bigint AND a.avatar ->> 'state' = 'uploaded'
    WHERE d.kind = 'image_uploaded' AND d.died_at < clock_timestamp() - interval '1 day' AND (i.id IS NOT NULL OR a.id IS NOT NULL)
      AND NOT EXISTS (SELECT FROM shop.job AS j WHERE j.kind = d.kind AND j.payload = d.payload);
    RETURN shop.decide_pictures(v_images, v_accounts, v_results);
END $$;
COMMENT ON FUNCTION shop.refuse_lost_pictures() IS
'Refuses pictures that nobody will work on any more: their job has been a dead letter for a day, and no other is about them. For the clock. Returns how many those were.';

CREATE FUNCTION shop.size_beginnings(p_sizes jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT array_agg(DISTINCT left(s.size ->> 'file', 2)) FROM jsonb_array_elements(p_sizes) AS s (size);
    END;
COMMENT ON FUNCTION shop.size_beginnings(jsonb) IS 'What the names of files of sizes begin with: the first two digits.';

CREATE INDEX image_original_idx ON shop.image (left(original, 1));
CREATE INDEX image_sizes_idx ON shop.image USING gin (shop.size_beginnings(sizes));
CREATE INDEX account_avatar_original_idx ON shop.account (left(avatar ->> 'original', 1)) WHERE avatar IS NOT NULL;
CREATE INDEX account_avatar_sizes_idx ON shop.account USING gin (shop.size_beginnings(avatar -> 'sizes')) WHERE avatar IS NOT NULL;

CREATE FUNCTION shop.sweep_details(p_lease uuid, p_ids uuid[]) RETURNS TABLE (id uuid, details json)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
    BEGIN ATOMIC
        SELECT j.id, CASE WHEN s.step < 16
            THEN json_build_object('sweep', s.beginning, 'wanted', (SELECT coalesce(json_agg(DISTINCT o.name), '[]') FROM (
                SELECT i.original FROM shop.image AS i WHERE left(i.original, 1) = s.beginning
                UNION ALL SELECT a.avatar ->> 'original' FROM shop.account AS a WHERE a.avatar IS NOT NULL AND left(a.avatar ->> 'original', 1) = s.beginning) AS o (name)))
            ELSE json_build_object('sweep', s.beginning, 'wanted', (SELECT coalesce(json_agg(DISTINCT z.size ->> 'file'), '[]') FROM (
                SELECT i.sizes FROM shop.image AS i WHERE shop.size_beginnings(i.sizes) @> ARRAY[s.beginning]
                UNION ALL SELECT a.avatar -> 'sizes' FROM shop.account AS a
                WHERE a.avatar IS NOT NULL AND shop.size_beginnings(a.avatar -> 'sizes') @> ARRAY[s.beginning]) AS f (sizes), jsonb_array_elements(f.sizes) AS z (size)
                WHERE starts_with(z.size ->> 'file', s.beginning))) END
        FROM shop.job AS j
        CROSS JOIN LATERAL (SELECT (j.payload ->> 'step')::integer AS step) AS n
        CROSS JOIN LATERAL (SELECT n.step, CASE WHEN n.step < 16 THEN to_hex(n.step) ELSE lpad(to_hex(n.step - 16), 2, '0') END AS beginning) AS s
        WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease AND j.kind = 'image_sweep';
    END;
COMMENT ON FUNCTION shop.sweep_details(uuid, uuid[]) IS
'What is to be known about jobs of kind image_sweep that are claimed with this lease: {sweep: what names begin with, one digit of uploads or two of sizes, wanted: the names that are wanted}. A picture of a deleted product is wanted: it may be in an order. Definer''s rights: the worker has none on tables.';

CREATE FUNCTION shop.finish_sweeps(p_lease uuid, p_ids uuid[], p_results json[]) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    v_steps CONSTANT integer := 16 + 256;
    v_next integer;
BEGIN
    IF cardinality(p_results) IS DISTINCT FROM cardinality(p_ids) THEN
        PERFORM shop.refuse('HS015', '/results', 'wanted: one for each job');
    END IF;
    SELECT (max((j.payload ->> 'step')::integer) + 1) % v_steps INTO v_next
    FROM (SELECT j.payload FROM shop.job AS j
          WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease AND j.kind = 'image_sweep'
          FOR UPDATE) AS j;
    UPDATE shop.job_periodic AS p SET payload = jsonb_build_object('step', v_next) WHERE p.name = 'image_sweep' AND v_next IS NOT NULL;
    RETURN QUERY SELECT f.id FROM shop.finish_jobs(p_lease, p_ids) AS f (id);
    IF v_next > 0 THEN
        PERFORM shop.enqueue('image_sweep', jsonb_build_object('step', v_next), 'image_sweep', NULL, -5);
    END IF;
END $$;
COMMENT ON FUNCTION shop.finish_sweeps(uuid, uuid[], json[]) IS
'Finishes jobs of kind image_sweep that are still claimed with this lease, notes which step is next, and enqueues it, unless it was the last. Only one sweep goes on at a time: of two the later ends. What came of a step is the worker''s alone. Errors: HS015. Definer''s rights: the worker has none on tables.';

GRANT EXECUTE ON FUNCTION shop.image_details(uuid, uuid[]), shop.finish_images(uuid, uuid[], json[]), shop.sweep_details(uuid, uuid[]),
    shop.finish_sweeps(uuid, uuid[], json[]) TO shop_worker;

COMMIT;
