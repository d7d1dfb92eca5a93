#!/usr/bin/env python3
# with-api: --expect-crash --conf 'request_timeout = 10s'
"""Workers of the application are killed at random while people shop: whoever lost his answer sends again, and
gets it; another worker is there; every order that was acknowledged is there, once. HF_ROUNDS: how
often. TAP.
"""
import os
import random
import signal
import statistics
import time

from api import Tap
from chaos_load import API, EDGE, Load, Shopper, send, within, workers

RECOVERY = 30  # seconds; 1 is promised, but the machine may have other things to do. What it took is printed.
ROUNDS = int(os.environ.get("HF_ROUNDS", 8))
t = Tap()
load = Load()
took = []


def answers():
    """Whether the database is read, directly and behind the edge, on connections of their own."""
    return all((answer := Shopper(base, load.people[0].token, timeout=10).send("GET", "/v1/me")) is not None
               and answer.status == 200 for base in (API, EDGE))


with load:
    time.sleep(1)
    begun = time.monotonic()
    for number in range(ROUNDS):
        there = workers()
        victims = there if number % 2 else [random.choice(there)]
        send(signal.SIGKILL, victims)
        again = within(60, lambda: len(set(workers()) - set(victims)) == 2, 0.005)
        ready = within(60, answers, 0.005)
        took.append(again + ready if again is not None and ready is not None else 99)
        t.ok(took[-1] <= RECOVERY, f"round {number + 1}: of {len(victims)} killed there are others", took[-1])
        time.sleep(random.uniform(0.3, 0.8))
    load.check_phase(t, "workers killed", begun)
    counts = load.counts(begun)
    print(f"# {counts}; back after {min(took):.2f} to {max(took):.2f} s, half of the times {statistics.median(took):.2f}", flush=True)
    t.ok(sum(n for name, n in counts.items() if name.endswith(" 0") or name.endswith("503")) > 0, "some answers were lost")
load.check_end(t)
