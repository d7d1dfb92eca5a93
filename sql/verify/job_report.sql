-- verify shop:job_report
BEGIN;
COMMIT;
