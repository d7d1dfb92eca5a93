-- The currencies of ISO 4217, their exponents, and what is none.
\ir include/begin.sql
SELECT plan(34);

-- The codes with an exponent, in order; codes that are not there are left out.
CREATE FUNCTION with_exponent(p_exponent int) RETURNS text LANGUAGE sql
    AS $$ SELECT string_agg(currency, ' ' ORDER BY currency) FROM holdfast.currencies() WHERE exponent = p_exponent $$;
CREATE FUNCTION exponent(p_currency text) RETURNS int LANGUAGE sql
    AS $$ SELECT exponent FROM holdfast.currencies() WHERE currency = p_currency $$;
CREATE FUNCTION present(VARIADIC p_codes text[]) RETURNS text LANGUAGE sql
    AS $$ SELECT string_agg(currency, ' ') FROM holdfast.currencies() WHERE currency = ANY (p_codes) $$;

SELECT is((SELECT count(*) FROM holdfast.currencies()), 155::bigint, 'there are 155 currencies');
SELECT is((SELECT count(DISTINCT currency) FROM holdfast.currencies()), 155::bigint, 'each once');
SELECT is((SELECT count(*) FROM holdfast.currencies() WHERE currency !~ '^[A-Z]{3}$'), 0::bigint, 'a code is three capitals');
SELECT is((SELECT array_agg(currency) = array_agg(currency ORDER BY currency COLLATE "C") FROM holdfast.currencies()), true, 'they come in order');
SELECT is(with_exponent(0), 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF', 'these have no minor unit');
SELECT is(with_exponent(3), 'BHD IQD JOD KWD LYD OMR TND', 'these count in thousandths');
SELECT is((SELECT count(*) FROM holdfast.currencies() WHERE exponent = 2), 132::bigint, 'all others in hundredths');
SELECT is(exponent('EUR') || ' ' || exponent('USD') || ' ' || exponent('GBP') || ' ' || exponent('CNY'), '2 2 2 2', 'euro, dollar, pound and renminbi among them');
SELECT is(exponent('MGA') || ' ' || exponent('MRU'), '2 2', 'and those of fifths, as ISO 4217 has it');
SELECT is(present('AED', 'SLE', 'UYU', 'VED', 'VES', 'XCG', 'ZWG'), 'AED SLE UYU VED VES XCG ZWG', 'the newest are there, and the first and the last');
SELECT is(present('ANG', 'BGN', 'BYR', 'CUC', 'DEM', 'HRK', 'LTL', 'MRO', 'SLL', 'STD', 'VEF', 'ZWL'), NULL, 'those that were withdrawn are not');
SELECT is(present('BOV', 'CHE', 'CHW', 'CLF', 'COU', 'MXV', 'USN', 'UYI', 'UYW', 'XAD', 'XDR', 'XSU', 'XUA'), NULL, 'nor funds and units of account');
SELECT is(present('XAG', 'XAU', 'XBA', 'XBB', 'XBC', 'XBD', 'XPD', 'XPT', 'XTS', repeat('X', 3)), NULL, 'nor metals, bonds, tests and none');
SELECT is((SELECT string_agg(round(1050 / 10 ^ exponent::numeric, exponent) || ' ' || currency, ', ') FROM holdfast.currencies()
    WHERE currency IN ('EUR', 'JPY', 'KWD')), '10.50 EUR, 1050 JPY, 1.050 KWD', 'an exponent says where the point of an amount stands');

SELECT is(holdfast.add_provider('test')::text, '', 'there is a provider');
SELECT refuses(format($$SELECT holdfast.create_payment(1, 'key-00000001', 100, %L, 'test', 'card')$$, currency), 'HF025', format('a payment in "%s" is refused', currency), detail, 'currencies')
FROM (VALUES ('eur', 'eur'), ('Eur', 'Eur'), ('EU', '2 bytes'), ('EURO', '4 bytes'), ('EUR ', '4 bytes'), (' EU', ' EU'), ('', '0 bytes'), (repeat('X', 3), 'X'), ('XAU', 'XAU'), ('BGN', 'BGN'), ('AAA', 'AAA'),
    ('ZZZ', 'ZZZ'), ('978', '978'), ('€', '€'), ('E€', '4 bytes'), (repeat('EUR', 1000), '3000 bytes')) AS c (currency, detail);
SELECT refuses($$SELECT holdfast.create_payment(1, 'key-00000001', 100, NULL, 'test', 'card')$$, '22004', 'and one in none');
SELECT is((SELECT count(undone(format($$SELECT (holdfast.create_payment(1, 'key-00000001', 100, %L, 'test', 'card')).state$$, currency)) = 'created' OR NULL)
    FROM holdfast.currencies()), 155::bigint, 'one in each currency is not');
SELECT is((SELECT count(*) FROM _holdfast.payment), 0::bigint, 'and none of all these has been made');

SELECT * FROM finish();
ROLLBACK;
