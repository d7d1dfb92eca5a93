#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""The worker is killed in the middle of deliveries, over and over, alone or with its parent: each event arrives at least once,
always with the same id and the same bytes, and is recorded as delivered. HF_ROUNDS: how often. TAP.
"""
import os
import random
import time

from api import Tap, at_once, key, product, psql, register, within
from hook import Receiver, due_now
from worker import Worker

ROUNDS = int(os.environ.get("HF_ROUNDS", 50))
EACH = 3  # orders a round
t = Tap()
hook = Receiver()
psql("UPDATE shop.job_kind SET backoff = '0', backoff_max = '1 s', attempts = 1000")
mark = register("mark", ["merchant"])
for path in ("/a/ok", "/b/slow:0.2", "/c/slow:0.05"):
    mark.post("/v1/webhook-endpoints", {"url": hook.url + path, "events": ["order.placed"]})
buyers = [register(f"buyer{n}") for n in range(EACH)]
SKU = product(mark, 1000, ROUNDS * EACH)["skus"][0]["id"]
worker = Worker(jobs="on", webhook_private="on", lease="2s", workers="2", poll_interval="50ms")
orders, begun = [], time.monotonic()


def shop(number):
    """A buyer orders."""
    answer = buyers[number].post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key())
    if answer.status != 201:
        raise RuntimeError(answer)
    orders.append(answer.json()["id"])


for number in range(ROUNDS):
    for result in at_once(EACH, shop):
        if isinstance(result, Exception):
            raise result
    within(60, worker.children)
    time.sleep(random.uniform(0, 0.35))
    if number % 5 == 4:
        worker.kill(whole=True)
        worker.start()
    else:
        worker.kill()
print(f"# {ROUNDS} rounds in {time.monotonic() - begun:.1f} s", flush=True)


def left():
    due_now()
    return psql("SELECT count(*) FROM shop.job WHERE kind IN ('order_placed', 'webhook')") != "0"


t.ok(within(180, lambda: not left()), "in the end nothing is left to do", psql("SELECT * FROM shop.job WHERE kind IN ('order_placed', 'webhook') LIMIT 3"))
t.equal(psql("SELECT count(*), count(*) FILTER (WHERE state = 'delivered') FROM shop.webhook_delivery"), f"{3 * len(orders)}|{3 * len(orders)}",
        f"{len(orders)} orders are {3 * len(orders)} deliveries, all delivered")
by_id = {}
for r in hook.requests:
    by_id.setdefault(r.id, []).append(r)
arrived = {(path, r.json()["data"]["id"]) for path in ("/a/ok", "/b/slow:0.2", "/c/slow:0.05") for r in hook.of(path)}
t.equal(len(arrived), 3 * len(orders), "each order has arrived at each endpoint")
t.equal(len(by_id), 3 * len(orders), "with one id at each")
t.equal([i for i, rs in by_id.items() if len({(r.path, r.body) for r in rs}) > 1], [], "and always the same bytes")
again = sum(len(rs) > 1 for rs in by_id.values())
t.ok(again > 0 or ROUNDS < 20, f"though {again} came more than once")
t.equal(psql("SELECT count(*) FROM shop.job_dead WHERE kind IN ('order_placed', 'webhook')"), "0", "none is given up")
t.equal(worker.stop()[0], 0, "and the worker still ends well")
hook.stop()
