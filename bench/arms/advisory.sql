SELECT bench.reserve_advisory(1, 1);
