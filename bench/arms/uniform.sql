\set sku random(1, 1000)
SELECT holdfast.reserve(holdfast.uuid7(), :sku::bigint, 1);
