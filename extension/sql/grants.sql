-- Grants. Nothing is given to PUBLIC: the owner of the database grants USAGE on schema holdfast and
-- EXECUTE or SELECT on what a role needs (extension/README.md, "Who may do what").

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA holdfast FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA _holdfast FROM PUBLIC;
GRANT EXECUTE ON FUNCTION holdfast.uuid7(), holdfast.new_id() TO PUBLIC;
-- A view runs functions with its reader's rights. Nobody can name this one but through its view.
GRANT EXECUTE ON FUNCTION _holdfast.cache_report() TO PUBLIC;

SELECT _holdfast.wake_workers();
