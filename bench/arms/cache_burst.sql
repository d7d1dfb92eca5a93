INSERT INTO crowd SELECT FROM generate_series(1, 100);
