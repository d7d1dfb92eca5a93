-- What the files about the cache begin with: a table to be watched, and words for how tables are
-- watched. Nothing is committed, so no key is ever handed over here.
\ir begin.sql
CREATE TABLE product (id integer PRIMARY KEY, title text, price integer);

-- Everything that is stored, and all triggers of watched tables.
ALTER FUNCTION contents() RENAME TO stored;
CREATE FUNCTION contents() RETURNS text LANGUAGE sql AS $$
    SELECT concat(stored(), E'\n', (SELECT string_agg(format('%s %s', pg_get_triggerdef(oid), tgenabled), E'\n' ORDER BY tgrelid, tgname)
        FROM pg_trigger WHERE tgfoid = 'holdfast.invalidate_cache()'::regprocedure))
$$;

-- The triggers of a table, each with how it is enabled: A is always.
CREATE FUNCTION triggers(p_table regclass) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', tgname, tgenabled), ', ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = p_table
$$;

-- The templates of a table, in the order in which the view has them.
CREATE FUNCTION templates(p_table regclass) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(template, '; ') FROM holdfast.watched WHERE table_name = p_table
$$;

-- Watches a table, undoes it, and returns what the view has shown of it, or the SQLSTATE.
CREATE FUNCTION watched_as(p_table regclass, VARIADIC p_templates text[]) RETURNS text LANGUAGE sql AS $$
    SELECT undone(format('SELECT templates(%L)', p_table), format('SELECT holdfast.watch(%L, VARIADIC %L)', p_table, p_templates))
$$;
