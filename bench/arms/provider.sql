-- A provider, and when a unit was sold, by payment.
SELECT holdfast.add_provider('bench');
CREATE VIEW bench.sale AS SELECT moved_at AS held_at, -quantity AS quantity FROM _holdfast.stock_movement WHERE kind = 's';
