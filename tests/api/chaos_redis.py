#!/usr/bin/env python3
# with-api: --conf 'request_timeout = 10s'
"""Redis is killed, frozen, flushed and full, while people shop: orders and reads go on, and do not wait for it; it is
used again after its return; and nothing stale is read, then or afterwards. HF_ROUNDS: how often all
of that happens. TAP.
"""
import os
import time

import chaos_load
from api import Tap
from chaos_load import Frozen, Load, metrics, processes, redis, within

RECOVERY = 30      # seconds; 2 are promised, but the machine may have other things to do. What it took is printed.
AWAY = 3           # seconds
SLOWER = 5         # times: 2 is promised, for the same reason
GRACE = 200        # milliseconds: less than redis_timeout, for which nobody waits each time
t = Tap()
load = Load()
KINDS = ("order", "uncached")


def used_again(name):
    """Since Redis is back, which is now: when both workers are connected, and when they read their cache."""
    connected = within(60, lambda: metrics()["holdfast_workers_with_redis"] == 2)
    t.ok(connected is not None and connected <= RECOVERY, f"{name}: Redis is used again within {RECOVERY} s", connected)
    cached = within(60, lambda: metrics()["holdfast_workers_with_cache"] == 2)
    t.ok(cached is not None, f"{name}: and so is the cache")
    print(f"# {name}: connected after {connected or 99:.2f} s, cache on after {(connected or 99) + (cached or 99):.2f} s", flush=True)


def peace():
    """The medians of a moment in which nothing happens, and the p99."""
    begun = time.monotonic()
    time.sleep(1.5)
    return [(load.took(.5, begun, None, kind), load.took(.99, begun, None, kind)) for kind in KINDS]


def half_of(kind, begun, ended, *base):
    """The median, and the most that it may be beside what is usual."""
    return load.took(.5, begun, ended, kind), SLOWER * max(base)[0] + GRACE


def goes_on(name, begun, ended, before, after):
    """Whatever happens to Redis, nobody but the cache notices."""
    t.equal([note for note in load.during(begun, ended) if note.status >= 400][:3], [], f"{name}: everything succeeds")
    for kind, *base in zip(KINDS, before, after):
        (half, most), p99 = half_of(kind, begun, ended, *base), load.took(.99, begun, ended, kind)
        t.ok(half <= most, f"{name}: {kind} goes on", half, base)
        print(f"# {name}: p99 of {kind} {p99:.0f} ms, {base[0][1]:.0f} and {base[1][1]:.0f} ms before and after", flush=True)
    print(f"# {name}: {load.counts(begun, ended)}", flush=True)


def killed():
    chaos_load.kill_redis()
    time.sleep(AWAY)
    t.ok(within(RECOVERY, lambda: metrics()["holdfast_workers_with_redis"] == 0) is not None, "killed: nobody believes that Redis is there")
    chaos_load.start_redis()


def frozen():
    with Frozen(processes("redis-server")):
        time.sleep(AWAY)


def flushed():
    for _ in range(5):
        redis("FLUSHALL")
        time.sleep(0.3)


def full():
    redis("CONFIG", "SET", "maxmemory", "1")
    time.sleep(AWAY)
    t.ok("OOM" in redis("SET", "x", "y"), "full: Redis takes nothing")
    redis("CONFIG", "SET", "maxmemory", "0")


with load:
    time.sleep(2)
    begun = time.monotonic() - 1
    load.check_phase(t, "at peace", begun, lost=False)
    after = peace()
    for number in range(int(os.environ.get("HF_ROUNDS", 1))):
        for happens in (killed, frozen, flushed, full):
            for _ in range(3):  # a machine that was disturbed meanwhile gets other tries
                name, before, begun = happens.__name__, after, time.monotonic()
                happens()
                used_again(name)
                ended = load.check_phase(t, name, begun, lost=False)
                after = peace()
                if all(half <= most for half, most in (half_of(kind, begun, ended, *base) for kind, *base in zip(KINDS, before, after))):
                    break
            goes_on(name, begun, ended, before, after)
load.check_end(t)
