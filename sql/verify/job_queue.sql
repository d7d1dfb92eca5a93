-- verify shop:job_queue
BEGIN;
COMMIT;
