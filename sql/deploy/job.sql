-- Deploy shop:job to pg
-- requires: schema
-- requires: problem
--
-- The tables of the job queue. A job is a row of shop.job from the transaction that enqueues it until it is finished,
-- dead or cancelled; to claim it is to write a lease into it.
--
-- Small and fast under an old snapshot. While somebody keeps a snapshot open, for hours perhaps, no dead row and no dead
-- index entry can be removed, and each claimed and each finished job leaves some. Hence two devices, neither of which
-- needs vacuum:
--
-- - Slots. shop.job has four slots (1 to 4) that are filled in turn, and slot 0 for what waits longer. When the slot that
--   is being filled (shop.job_head) has grown to its size, the next one that is empty becomes the head; if there is none
--   it grows on. Of a slot behind the head whose jobs are mostly gone, the few that are left move to slot 0. Once it has
--   been without jobs for a minute (shop.job_slot) it is truncated: an old snapshot does not prevent that, only an open
--   transaction that has touched the slot itself does (shop.tend_jobs).
-- - Marks. Each claim notes in shop.job_log how far it has come in its lane (kind and priority); the next one begins
--   there instead of at the dead entries before it. Notes are only inserted, so the highest is found at once however old
--   a snapshot is open. A mark is a hint: once a second a claim of each kind looks from the very beginning, and finds what was
--   committed late, given back by a rollback, or skipped because somebody had it locked.
--
-- The minute is for pg_dump, which takes its snapshot first and locks the tables later. Whose snapshot is older than the
-- end of the slot's last job may know that job only from the slot; by the time of the truncation he has his locks, so that
-- it gives up. A later snapshot sees where the jobs have gone: moved, dead or done. Only the history in shop.job_log that
-- is summed up meanwhile may be missing in a dump.
--
-- Slots 1 to 4 are not vacuumed: truncating does that for them, and autovacuum would only hold it up.
--
-- Locks: enqueueing touches the head only, claiming and finishing touch all slots; moving and truncating take ACCESS
-- EXCLUSIVE on one slot that is not the head, and give up after 250 ms. So no statement ever sees a job half moved. Whoever
-- tends holds the row of shop.job_head, and who claims jobs of a kind that is limited holds the row of the kind: locks that
-- nobody can take but the owner's functions. A key is a row of shop.job_key: its unique index is what makes it unique. Keys
-- are deleted and vacuumed as usual: truncating would take them from a dump, and they are small.
--
-- A job that is buried in shop.job_dead leaves the field token of its payload behind, for that is a secret.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.job_kind (
    kind        text     COLLATE "C" NOT NULL,
    attempts    integer  NOT NULL DEFAULT 10,
    concurrency integer,
    lease       interval NOT NULL DEFAULT '60 s',
    backoff     interval NOT NULL DEFAULT '5 s',
    backoff_max interval NOT NULL DEFAULT '1 h',
    paused      boolean  NOT NULL DEFAULT false,
    CONSTRAINT job_kind_pkey PRIMARY KEY (kind),
    CONSTRAINT job_kind_kind_check CHECK (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT job_kind_attempts_check CHECK (attempts BETWEEN 1 AND 1000),
    CONSTRAINT job_kind_concurrency_check CHECK (concurrency >= 0),
    CONSTRAINT job_kind_lease_check CHECK (lease BETWEEN interval '1 s' AND interval '1 day'),
    CONSTRAINT job_kind_backoff_check CHECK (backoff >= interval '0' AND backoff_max BETWEEN backoff AND interval '30 days')
);
COMMENT ON TABLE shop.job_kind IS 'The kinds of jobs there are, with their settings. A job of another kind cannot be enqueued.';
COMMENT ON COLUMN shop.job_kind.attempts IS 'How often a job is tried before it is dead; counted when it is claimed, so that one that kills its worker counts.';
COMMENT ON COLUMN shop.job_kind.concurrency IS 'How many may run at once, on all workers together; NULL: any number.';
COMMENT ON COLUMN shop.job_kind.lease IS 'For how long a claim is good without a heartbeat, where the worker does not say.';
COMMENT ON COLUMN shop.job_kind.backoff IS 'How long the second attempt waits; each later one twice as long as the one before, at most backoff_max, times a random factor of 0.5 to 1.';
COMMENT ON COLUMN shop.job_kind.paused IS 'No job of it is claimed.';

INSERT INTO shop.job_kind (kind, attempts) VALUES
    ('order_placed', 10), ('payment_received', 10), ('order_shipped', 10), ('password_reset', 5), ('image_uploaded', 5), ('noop', 3),
    ('order_cancelled', 10), ('payment_refunded', 10), ('sale_ended', 10), ('stock_low', 10), ('webhook', 100);

CREATE TABLE shop.job_head (
    one   boolean  NOT NULL DEFAULT true,
    slot  smallint NOT NULL,
    later boolean  NOT NULL DEFAULT true,
    CONSTRAINT job_head_pkey PRIMARY KEY (one),
    CONSTRAINT job_head_one_check CHECK (one),
    CONSTRAINT job_head_slot_check CHECK (slot BETWEEN 1 AND 4)
);
COMMENT ON TABLE shop.job_head IS 'The slot of shop.job and shop.job_log that is being filled.';
COMMENT ON COLUMN shop.job_head.later IS 'Slot 0 takes what waits longer; not so while it is being emptied: then the head does.';
INSERT INTO shop.job_head (slot) VALUES (1);

CREATE TABLE shop.job_slot (
    slot       smallint NOT NULL,
    emptied_at timestamptz,
    summed_at  timestamptz,
    CONSTRAINT job_slot_pkey PRIMARY KEY (slot),
    CONSTRAINT job_slot_slot_check CHECK (slot BETWEEN 0 AND 4)
);
COMMENT ON TABLE shop.job_slot IS 'The slots of shop.job and shop.job_log, as far as tending them has come.';
COMMENT ON COLUMN shop.job_slot.emptied_at IS 'When it was found to have no jobs any more; NULL: it has, or may have. All that has become of them is visible to every later snapshot.';
COMMENT ON COLUMN shop.job_slot.summed_at IS 'Up to when its log is added up in shop.job_total; NULL: not at all.';
INSERT INTO shop.job_slot (slot) SELECT n FROM generate_series(0, 4) AS n;

CREATE TABLE shop.job_lane (
    kind     text    COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    CONSTRAINT job_lane_pkey PRIMARY KEY (kind, priority),
    CONSTRAINT job_lane_kind_fkey FOREIGN KEY (kind) REFERENCES shop.job_kind (kind) ON DELETE CASCADE,
    CONSTRAINT job_lane_priority_check CHECK (priority BETWEEN -9 AND 9)
);
COMMENT ON TABLE shop.job_lane IS 'Kinds and priorities that jobs have been enqueued with: where claims look.';
INSERT INTO shop.job_lane (kind, priority) SELECT k.kind, 0 FROM shop.job_kind AS k;

CREATE TABLE shop.job (
    id           uuid        NOT NULL DEFAULT holdfast.uuid7(),
    due_at       timestamptz NOT NULL,
    enqueued_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_at   timestamptz,
    leased_until timestamptz,
    lease        uuid,
    priority     integer     NOT NULL DEFAULT 0,
    attempts     integer     NOT NULL DEFAULT 0,
    slot         smallint    NOT NULL,
    kind         text        COLLATE "C" NOT NULL,
    key          text        COLLATE "C",
    worker       text,
    error        text,
    failures     jsonb,
    payload      jsonb       NOT NULL,
    CONSTRAINT job_pkey PRIMARY KEY (id, slot),
    CONSTRAINT job_lease_check CHECK ((lease IS NULL) = (leased_until IS NULL))
) PARTITION BY LIST (slot);
DO $$
BEGIN
    ALTER TABLE shop.job ALTER COLUMN payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL; -- a server without it compresses as it always did, at more cost
END $$;
CREATE INDEX job_waiting_idx ON shop.job (kind, priority, due_at, id) WHERE lease IS NULL;
CREATE INDEX job_running_idx ON shop.job (kind, leased_until) WHERE lease IS NOT NULL;
COMMENT ON TABLE shop.job IS 'Jobs that are not finished: waiting (for their time, a retry, a worker), or running (lease is set). A snapshot older than the truncation of a slot does not see what was in it.';
COMMENT ON COLUMN shop.job.id IS 'UUID version 7.';
COMMENT ON COLUMN shop.job.lease IS 'What only he knows who has claimed it: proof that it is still his.';
COMMENT ON COLUMN shop.job.attempts IS 'How often it was claimed.';
COMMENT ON COLUMN shop.job.error IS 'Why the last attempt failed.';
COMMENT ON COLUMN shop.job.failures IS 'The attempts that failed, the last 20: an array of {attempt, began_at, ended_at, worker, error}. NULL: none has.';

CREATE TABLE shop.job_log (
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at   timestamptz,
    job_id   uuid,
    took     interval,
    longest  interval,
    jobs     integer     NOT NULL DEFAULT 1,
    priority integer,
    slot     smallint    NOT NULL,
    step     smallint    NOT NULL DEFAULT 0,
    event    text        COLLATE "C" NOT NULL,
    kind     text        COLLATE "C" NOT NULL,
    worker   text,
    CONSTRAINT job_log_event_check CHECK (event IN ('claim', 'finish', 'retry', 'die', 'cancel', 'release', 'tend', 'busy', 'look'))
) PARTITION BY LIST (slot);
CREATE INDEX job_log_mark_idx ON shop.job_log (kind, priority, due_at, job_id) WHERE event = 'claim';
CREATE INDEX job_log_at_idx ON shop.job_log (at) WHERE event NOT IN ('tend', 'busy', 'look');
CREATE INDEX job_log_tend_idx ON shop.job_log (event, at) WHERE event IN ('tend', 'busy');
CREATE INDEX job_log_look_idx ON shop.job_log (kind, at) WHERE event = 'look';
COMMENT ON TABLE shop.job_log IS 'What has happened lately, a row per call, kind and step: only inserted, summed up in shop.job_minute when its slot is truncated.';
COMMENT ON COLUMN shop.job_log.due_at IS 'Of a claim: due_at and, in job_id, the id of the last job claimed: the mark of its lane.';
COMMENT ON COLUMN shop.job_log.took IS 'Time in all: that its jobs waited after they were due (claim), that they ran (finish, retry, die).';
COMMENT ON COLUMN shop.job_log.step IS 'How long each of its jobs took, as shop.duration_step() has it; 0 of what takes no time.';

DO $$
BEGIN
    FOR v_slot IN 0 .. 4 LOOP
        EXECUTE format('CREATE TABLE shop.job_%1$s PARTITION OF shop.job FOR VALUES IN (%1$s)', v_slot);
        EXECUTE format('COMMENT ON TABLE shop.job_%s IS %L', v_slot, CASE WHEN v_slot = 0
            THEN 'Jobs for later, and what was left of truncated slots.' ELSE 'A slot of shop.job.' END);
        IF v_slot > 0 THEN
            EXECUTE format('ALTER TABLE shop.job_%s SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)', v_slot);
            EXECUTE format('CREATE TABLE shop.job_log_%1$s PARTITION OF shop.job_log FOR VALUES IN (%1$s) WITH (autovacuum_enabled = false)', v_slot);
            EXECUTE format('COMMENT ON TABLE shop.job_log_%s IS ''A slot of shop.job_log.''', v_slot);
        END IF;
    END LOOP;
END $$;

CREATE TABLE shop.job_key (
    key    text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    CONSTRAINT job_key_pkey PRIMARY KEY (key)
);
COMMENT ON TABLE shop.job_key IS 'The keys of jobs that are not finished.';

CREATE TABLE shop.job_dead (
    id          uuid        NOT NULL,
    enqueued_at timestamptz NOT NULL,
    died_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    priority    integer     NOT NULL,
    attempts    integer     NOT NULL,
    cancelled   boolean     NOT NULL DEFAULT false,
    kind        text        COLLATE "C" NOT NULL,
    key         text        COLLATE "C",
    worker      text,
    error       text,
    failures    jsonb,
    payload     jsonb       NOT NULL,
    CONSTRAINT job_dead_pkey PRIMARY KEY (id)
);
CREATE INDEX job_dead_kind_idx ON shop.job_dead (kind, id);
CREATE INDEX job_dead_died_idx ON shop.job_dead (died_at);
COMMENT ON TABLE shop.job_dead IS 'Dead letters: jobs that have failed for good, or were cancelled. They can be sent again for 90 days.';

CREATE TABLE shop.job_minute (
    minute    timestamptz NOT NULL,
    summed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    took      interval,
    longest   interval,
    jobs      bigint      NOT NULL,
    event     text        COLLATE "C" NOT NULL,
    kind      text        COLLATE "C" NOT NULL,
    CONSTRAINT job_minute_pkey PRIMARY KEY (minute, kind, event, summed_at)
);
COMMENT ON TABLE shop.job_minute IS 'Sums of shop.job_log by minute; kept for 30 days. A minute may have several rows.';

CREATE TABLE shop.job_periodic (
    name     text        COLLATE "C" NOT NULL,
    every    interval    NOT NULL,
    next_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind     text        COLLATE "C" NOT NULL,
    payload  jsonb       NOT NULL DEFAULT '{}',
    priority integer     NOT NULL DEFAULT 0,
    CONSTRAINT job_periodic_pkey PRIMARY KEY (name),
    CONSTRAINT job_periodic_kind_fkey FOREIGN KEY (kind) REFERENCES shop.job_kind (kind),
    CONSTRAINT job_periodic_name_check CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    CONSTRAINT job_periodic_every_check CHECK (every BETWEEN interval '1 s' AND interval '366 days' AND date_part('year', every) = 0 AND date_part('month', every) = 0),
    CONSTRAINT job_periodic_priority_check CHECK (priority BETWEEN -9 AND 9)
);
COMMENT ON TABLE shop.job_periodic IS 'Jobs that are enqueued again and again, by shop.run_periodic().';

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS501', 422, 'unknown_job_kind', 'there is no such kind of jobs'),
    ('HS502', 409, 'job_exists', 'an unfinished job has the same key'),
    ('HS503', 422, 'isolation_level', 'jobs are claimed at READ COMMITTED only'),
    ('HS504', 409, 'job_running', 'the job is running');

COMMIT;
