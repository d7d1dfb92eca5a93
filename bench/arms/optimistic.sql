SELECT bench.reserve_optimistic(1, 1);
