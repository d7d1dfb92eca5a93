-- revert shop:job_queue
BEGIN;
COMMIT;
