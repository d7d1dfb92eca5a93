-- \gset wants one row; that none was claimed anew is checked after the run.
\set account random(1, 100000)
SELECT * FROM holdfast.claim_key(:account, 'stored', 'key-' || (100000 + :account), '\x1f58b9145b24d108d7ac38887338b3ea3229833b9c1e418250343f907bfd1047') \gset
