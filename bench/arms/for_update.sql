SELECT bench.reserve_for_update(1, 1);
