-- deploy shop:job_report
BEGIN;
COMMIT;
