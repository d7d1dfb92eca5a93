-- deploy shop:job_queue
BEGIN;
COMMIT;
