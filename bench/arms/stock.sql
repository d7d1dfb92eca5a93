-- The extension's stock: one hot SKU, or the thousand of the uniform arm. Lanes are left as they come.
SELECT count(holdfast.receive(sku, 1000000000)) FROM generate_series(1, :skus) AS sku;
