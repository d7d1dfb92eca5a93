-- Listeners: functions of yours that are told of every change of a payment, in the transaction that makes it.
--
-- Whoever keeps orders wants them paid in the same transaction as their payments, whichever way the word came: from a
-- worker, a webhook or by hand. A trigger on a table of an extension would do that until the first restore, because
-- pg_dump leaves it out; what is listed here is dumped.

CREATE TABLE _holdfast.payment_listener (
    function text COLLATE "C" NOT NULL,
    CONSTRAINT payment_listener_pkey PRIMARY KEY (function)
);
COMMENT ON TABLE _holdfast.payment_listener IS 'Functions that are called when a payment changes its state, or more of it is refunded: schema and name, quoted.';
SELECT pg_catalog.pg_extension_config_dump('_holdfast.payment_listener', '');

-- Only updates are told of: restoring a dump inserts. A listener has to run as its own owner, for it is called from
-- here with more rights than the caller has.
CREATE FUNCTION _holdfast.tell_payment() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_function text;
BEGIN
    FOR v_function IN SELECT l.function FROM _holdfast.payment_listener AS l ORDER BY l.function LOOP
        IF NOT (SELECT p.prosecdef FROM pg_catalog.pg_proc AS p
                WHERE p.oid = (v_function || '(bigint,uuid,uuid,text,text)')::pg_catalog.regprocedure) THEN
            RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'payment listener without rights of its own',
                DETAIL = pg_catalog.format('%s is not SECURITY DEFINER any more.', v_function);
        END IF;
        EXECUTE pg_catalog.format('SELECT %s($1, $2, $3, $4, $5)', v_function)
        USING NEW.account_id, NEW.id, NEW.owner, (SELECT s.name FROM _holdfast.payment_state AS s WHERE s.code = OLD.state),
            (SELECT s.name FROM _holdfast.payment_state AS s WHERE s.code = NEW.state);
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION _holdfast.tell_payment() IS 'Trigger: calls the listeners, whoever changes the payment. Definer''s rights: it reads the list.';
CREATE TRIGGER payment_told AFTER UPDATE ON _holdfast.payment
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state OR OLD.refunded IS DISTINCT FROM NEW.refunded) EXECUTE FUNCTION _holdfast.tell_payment();

CREATE FUNCTION holdfast.listen_payments(p_function regproc) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_name text;
BEGIN
    IF p_function IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'p_function is null';
    END IF;
    SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) INTO v_name
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE p.oid = p_function AND p.prosecdef
      AND p.proargtypes = ARRAY['bigint'::regtype, 'uuid'::regtype, 'uuid'::regtype, 'text'::regtype, 'text'::regtype]::oidvector;
    IF v_name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_function', MESSAGE = 'no payment listener',
            DETAIL = pg_catalog.format('%s does not take (bigint, uuid, uuid, text, text), or is not SECURITY DEFINER.', p_function),
            HINT = 'Its arguments are account, payment, owner, old state and new state.';
    END IF;
    INSERT INTO _holdfast.payment_listener VALUES (v_name) ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION holdfast.listen_payments(regproc) IS
'Has a function called whenever a payment changes its state after it was created, or more of it is refunded (then both states may be partially_refunded), in the transaction that changes it: p_function(account bigint, payment uuid, owner uuid, old_state text, new_state text). What it raises undoes the change, also that of money that has been taken: it should bear anything. It has to be SECURITY DEFINER, and so runs as its owner. Calling again changes nothing. Definer''s rights: it writes to the storage. Errors: 22004, 42883 the function does not take these arguments, or is not SECURITY DEFINER; later, when it is called: 42501 it is so no more.';

CREATE FUNCTION holdfast.unlisten_payments(p_function text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM _holdfast.payment_listener AS l
    WHERE l.function = (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(w.part), '.' ORDER BY w.n)
                        FROM pg_catalog.unnest(pg_catalog.parse_ident(p_function)) WITH ORDINALITY AS w (part, n));
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION holdfast.unlisten_payments(text) IS
'Ends what listen_payments() began, also for a function that has been dropped; p_function is its name with its schema. Returns whether it was listed. Definer''s rights: it writes to the storage. Errors: 22023 no name.';

CREATE VIEW holdfast.payment_listeners AS SELECT l.function FROM _holdfast.payment_listener AS l;
COMMENT ON VIEW holdfast.payment_listeners IS 'Functions that listen_payments() has named, in the order in which they are called.';
