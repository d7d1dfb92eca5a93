#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""Jobs of the queue, whatever they are about: each is done, though workers are killed, frozen, stopped or sent away from the
database; one that is poisoned, late or cancelled keeps nobody else's back. HF_ROUNDS: how often the worker is killed. TAP.
"""
import os
import random
import threading
import time

from api import Tap, key, product, psql, register, within
from peace import in_peace
from slow import Slow, hold_back
from worker import Worker, broken

ROUNDS = int(os.environ.get("HF_ROUNDS", 50))
t = Tap()
# Mails are made, and nobody sends them: they wait where they can be counted.
FAST = {"jobs": "on", "lease": "2s", "poll_interval": "100ms", "simulated": "off", "mail_spool": None}
psql("UPDATE shop.job_kind SET backoff = '0', backoff_max = '1 s', attempts = 1000")


def enqueue(kind, n=1, payload="{}"):
    """The ids of new jobs."""
    return psql(f"SELECT shop.enqueue('{kind}', '{payload}') FROM generate_series(1, {n})").split()


def count(where="true"):
    return int(psql(f"SELECT count(*) FROM shop.job AS j WHERE {where}"))


def finished(kind):
    return int(psql(f"SELECT coalesce(sum(finished), 0) FROM shop.job_throughput WHERE kind = '{kind}'"))


def named(ids):
    return "j.id IN (%s)" % ", ".join(f"'{i}'" for i in ids)


# All of it is done, by several.
several = [Worker(workers="2", **FAST) for _ in range(2)]
enqueue("noop", 5000)
t.ok(within(60, lambda: count() == 0), "two workers of two processes do 5,000 jobs")
t.equal(finished("noop"), 5000, "each of them once")
t.equal([w.stop()[0] for w in several], [0, 0], "and end well")

# Poison.
worker = Worker(**FAST)
psql("UPDATE shop.job_kind SET attempts = 3 WHERE kind = 'order_placed'")
poisons = ['"text"', "[1]", "null", '{"account_ids": "x", "order_ids": 7}', '{"account_ids": ["x"], "order_ids": ["y"]}', '{"order_ids": {}}',
           '{"account_ids": ["1", "2"], "order_ids": ["00000000-0000-0000-0000-000000000000"]}', '{"account_ids": ["99999999999999999999"]}']
ids = [i for poison in poisons for i in enqueue("order_placed", 3, poison)]
good = register("ann"), register("acme", ["merchant"])
sku = product(good[1], 1000, 50)["skus"][0]["id"]
orders = [good[0].post("/v1/orders", {"items": [{"sku_id": sku, "quantity": 1}]}, headers=key()).json()["id"] for _ in range(20)]
enqueue("noop", 500)
t.ok(within(60, lambda: count("j.kind IN ('noop', 'order_placed')") == 0), "between poisoned jobs everything is done", psql("SELECT kind, payload, error FROM shop.job LIMIT 5"))
dead = psql(f"SELECT count(*), count(*) FILTER (WHERE j.error IS NOT NULL AND j.attempts = 3), count(DISTINCT j.id) FROM shop.job_dead AS j WHERE {named(ids)}")
t.ok(int(dead.split("|")[0]) > 0, "what cannot be done is dead", dead)
t.equal(dead.split("|")[0], dead.split("|")[1], "after all of its attempts, with a reason")
told = psql("SELECT count(*) FROM shop.job AS j WHERE j.kind = 'mail' AND j.payload ->> 'template' = 'order_placed'")
t.equal(told, "20", "the good ones among them had their effect, once each")
psql("UPDATE shop.job_kind SET attempts = 1000 WHERE kind = 'order_placed'")
admin = register("root", ["admin"])
one = psql(f"SELECT id FROM shop.job_dead AS j WHERE {named(ids)} LIMIT 1")
psql(f"UPDATE shop.job_dead SET payload = '{{}}', kind = 'noop' WHERE id = '{one}'")
t.equal(admin.post(f"/v1/admin/jobs/{one}/retry", {}).status, 200, "a dead letter is sent again")
t.ok(within(60, lambda: count(f"j.id = '{one}'") == 0 and psql(f"SELECT count(*) FROM shop.job_dead WHERE id = '{one}'") == "0"), "and done, once nothing is in its way")

# Paused, and limited.
psql("UPDATE shop.job_kind SET paused = true WHERE kind = 'noop'")
enqueue("noop", 10)
time.sleep(1)
t.equal(count("j.kind = 'noop' AND j.attempts = 0"), 10, "a kind that is paused waits")
psql("UPDATE shop.job_kind SET paused = false WHERE kind = 'noop'")
t.ok(within(60, lambda: count("j.kind = 'noop'") == 0), "and goes on")
worker.stop()

url = hold_back()
HOOKS = {**FAST, "webhook_private": "on", "webhook_timeout": "60s"}
hook = good[1].post("/v1/webhook-endpoints", {"url": url, "events": ["sale.ended"]}).json()["id"]


def ping(n=1):
    for _ in range(n):
        good[1].post(f"/v1/webhook-endpoints/{hook}/test", {})


def states():
    return psql("SELECT DISTINCT state FROM shop.webhook_delivery ORDER BY 1").split()


# A job that goes on longer than its lease keeps it.
worker = Worker(**{**HOOKS, "lease": "4s", "drain_timeout": "50s"})
ping()
within(60, lambda: Slow.under_way == 1)
time.sleep(6)
t.equal(psql("SELECT count(*), max(attempts) FROM shop.job WHERE kind = 'webhook'"), "1|1", "a job that takes longer than its lease keeps it by heartbeats")
Slow.gate.set()
t.ok(within(60, lambda: count("j.kind = 'webhook'") == 0 and states() == ["delivered"]), "and is done")
t.equal(len(Slow.seen), 1, "once")

# One that is cancelled while it runs.
Slow.gate.clear()
ping()
within(60, lambda: Slow.under_way == 1)
running = psql("SELECT id FROM shop.job WHERE kind = 'webhook'")
t.equal(admin.post(f"/v1/admin/jobs/{running}/cancel", {}).status, 200, "a running job is cancelled")
t.ok(within(60, lambda: worker.events("job_lost")), "its worker learns of it, and gives it up", worker.log())
Slow.gate.set()
ping()
t.ok(within(60, lambda: len(Slow.seen) >= 3 and count("j.kind = 'webhook'") == 0), "and goes on")

# Told to end, it finishes or gives back.
Slow.gate.clear()
within(60, lambda: Slow.under_way == 0)
ping(2)
within(60, lambda: Slow.under_way == 2)
threading.Thread(target=lambda: (within(40, worker.is_told), Slow.gate.set())).start()
status, took = worker.stop()
t.ok(status == 0 and count("j.kind = 'webhook'") == 0, "a worker that is told to end finishes what it has begun", status, took)
within(60, lambda: Slow.under_way == 0)
Slow.gate.clear()


def cut_short():
    """A worker that is told to end while two go on. He has two seconds to give them back: what he could not is begun anew."""
    psql("DELETE FROM shop.job WHERE kind = 'webhook'; DELETE FROM shop.job_key WHERE key LIKE 'webhook:%'")
    one, before = Worker(**{**HOOKS, "drain_timeout": "300ms"}), len(Slow.seen)
    ping(2)
    within(60, lambda: len(Slow.seen) == before + 2)
    status, took = one.stop()
    back = psql("SELECT count(*), max(attempts), count(lease) FROM shop.job WHERE kind = 'webhook'")
    return status == 0 and took < 30 and back == "2|0|0", status, took, back


in_peace(t.ok, 3, "or, when that takes too long, cuts it short, gives it back, and no attempt is counted", cut_short)
Slow.gate.set()

# A time limit.
Slow.gate.clear()
worker = Worker(**{**HOOKS, "webhook_timeout": "500ms"})
t.ok(within(60, lambda: int(psql("SELECT count(*) FROM shop.webhook_delivery WHERE state = 'failed'")) == 2), "what takes longer than it may is given up")
worker.stop()
Slow.gate.set()

# Frozen, and woken when others have done its work. (Who fails gets one at a time.)
psql("UPDATE shop.webhook_endpoint SET failing_since = NULL")
within(60, lambda: Slow.under_way == 0)
Slow.gate.clear()
frozen = Worker(**HOOKS)
ping(2)
within(60, lambda: Slow.under_way == 2)
frozen.freeze()
other = Worker(**HOOKS)
Slow.gate.set()
t.ok(within(60, lambda: count("j.kind = 'webhook'") == 0), "the jobs of a worker that is frozen are done by another")
frozen.freeze(False)
enqueue("noop", 100)
t.ok(within(60, lambda: count("j.kind = 'noop'") == 0), "the frozen one wakes, and nothing is in anybody's way")
t.equal(psql("SELECT state FROM shop.webhook_delivery ORDER BY id DESC LIMIT 2").split(), ["delivered"] * 2, "and all is delivered")
t.equal([w.stop()[0] for w in (frozen, other)], [0, 0], "both end well")

# The database goes, and comes again.
worker = Worker(**FAST)
done = finished("noop")
for _ in range(5):
    enqueue("noop", 300)
    psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_worker'")
t.ok(within(60, lambda: count("j.kind = 'noop'") == 0), "connections are ended, over and over: all is done")
t.equal(finished("noop") - done, 1500, "and recorded once")

# kill -9.
begun, done, mails = time.monotonic(), finished("noop"), int(told)
buyers = [register(f"buyer{n}") for n in range(3)]
stock = product(good[1], 1000, ROUNDS + 1)["skus"][0]["id"]
for number in range(ROUNDS):
    enqueue("noop", 400)
    buyers[number % 3].post("/v1/orders", {"items": [{"sku_id": stock, "quantity": 1}]}, headers=key())
    time.sleep(random.uniform(0.05, 0.3))
    if number % 5 == 4:
        worker.kill(whole=True)
        worker.start()
    else:
        worker.kill()
print(f"# {ROUNDS} rounds in {time.monotonic() - begun:.1f} s", flush=True)
t.ok(within(180, lambda: count("j.kind IN ('noop', 'order_placed')") == 0), f"after {ROUNDS} times kill -9 all is done", psql("SELECT kind, count(*) FROM shop.job GROUP BY 1"))
t.equal(finished("noop") - done, 400 * ROUNDS, "each job was recorded as finished exactly once")
t.equal(int(psql("SELECT count(*) FROM shop.job AS j WHERE j.kind = 'mail' AND j.payload ->> 'template' = 'order_placed'")) - mails, ROUNDS, "each event had its effect exactly once")
t.equal(broken(), ("", ""), "and the shop is well")
t.equal(worker.stop()[0], 0, "the worker ends well")
