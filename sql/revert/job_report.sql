-- revert shop:job_report
BEGIN;
COMMIT;
