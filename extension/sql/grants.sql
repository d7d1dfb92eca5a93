-- Grants. Nothing is given to PUBLIC: the owner of the database grants USAGE on schema holdfast and
-- EXECUTE or SELECT on what a role needs (extension/README.md, "Who may do what").

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA holdfast FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA _holdfast FROM PUBLIC;
GRANT EXECUTE ON FUNCTION holdfast.uuid7() TO PUBLIC;

SELECT _holdfast.wake_workers();
