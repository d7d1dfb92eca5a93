#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'simulated = off'
"""A worker that is told to end finishes what it holds, or leaves it to be made again soon; several workers share the
calls; without the database they wait, and go on by themselves. TAP.
"""
import os
import signal
import subprocess
import time

from api import Tap, psql, within
from bank import Bank
from worker import RUNAS, Worker, broken, calls

t = Tap()
bank = Bank()
psql("SELECT holdfast.add_provider('bank', p_attempts => 8, p_backoff => '1 s', p_backoff_max => '5 s'), holdfast.add_provider('simulated')")
SETTINGS = {"provider__bank__url": bank.url, "provider__bank__timeout": "8s", "lease": "20s"}
account = 0


def pay(method, n=1, provider="bank"):
    """Payments without orders; the ids."""
    global account
    account += n
    return psql(f"""SELECT p.payment FROM generate_series({account - n + 1}, {account}) AS n,
        holdfast.create_payment(n, 'payment-of-' || n, 1000, 'EUR', '{provider}', '{method}', NULL, 'capture') AS p""").split()


def states(payments):
    return psql(f"SELECT DISTINCT state FROM holdfast.payments WHERE payment IN ({', '.join(repr(p) for p in payments)}) ORDER BY 1").split()


def pg_ctl(*words):
    with open(os.environ["HF_LOG"], "a") as log:
        subprocess.run([*RUNAS, "pg_ctl", "-D", os.environ["HF_DATA"], "-w", "-t", "60", *words], check=True, stdin=subprocess.DEVNULL,
                       stdout=log, stderr=log, start_new_session=True)


# It finishes what it holds.
for number in (signal.SIGTERM, signal.SIGINT):
    worker = Worker(drain_timeout="20s", **SETTINGS)
    first = pay("slow:2", 20)
    within(60, lambda: bank.under_way == 20 or states(first) == ["captured"])
    rest = pay("approve", 5)  # not before it has been told
    status, took = worker.stop(number)
    t.equal((status, states(first)), (0, ["captured"]), f"{number.name}: what it holds is finished, and recorded")
    t.ok(took < 20, f"{number.name}: and it ends when that is done", took)
    t.equal(worker.events("stopped")[-1]["message"], "left behind: 0", f"{number.name}: nothing is left behind")
    t.ok(all(c["state"] in ("pending", "succeeded") for c in calls()), f"{number.name}: what it does not hold waits")
    Worker.start(worker)
    t.ok(within(60, lambda: states(rest) == ["captured"]), f"{number.name}: for the next one")
    worker.stop()

# Or leaves it.
worker = Worker(drain_timeout="300ms", **SETTINGS)
cut = pay("slow:6 approve", 10)
within(60, lambda: bank.under_way >= 10)
status, took = worker.stop()
t.ok(status == 0, "calls that take too long are cut short", status, took)
left = calls("c.payment IN (%s)" % ", ".join(repr(p) for p in cut))
t.equal({(c["state"], c["reason"], c["attempts"]) for c in left}, {("pending", "the worker was stopped", 1)}, "and recorded as not answered")
t.ok(max(c["due_in"] for c in left) < 4, "to be made again soon, and not when the lease is over", left[:2])
worker.start()
t.ok(within(60, lambda: states(cut) == ["captured"]), "which they are")
worker.stop()

# Several.
several = [Worker(workers="2", provider__bank__calls="8", **SETTINGS) for _ in range(2)]
within(60, lambda: bank.under_way == 0)
before, bank.most = set(bank.asked), 0
shared = pay("slow:0.05", 300)
t.ok(within(60, lambda: states(shared) == ["captured"]), "two workers of two processes make 300 calls")
fresh = {k: r for k, r in bank.asked.items() if k not in before}
t.equal((len(fresh), {len(r) for r in fresh.values()}), (300, {1}), "each of them once")
t.ok(8 < bank.most <= 32, "at the same time, and no more than they may", bank.most)

# The database goes, and comes again.
for how, act in [("its session is ended", lambda: psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_worker'")),
                 ("the database is restarted", lambda: pg_ctl("restart", "-m", "fast"))]:
    interrupted = pay("slow:0.5", 30) + pay("test_approve", 30, "simulated")
    within(60, lambda: bank.under_way > 0 or states(interrupted) == ["captured"])
    act()
    simulated = Worker(simulated="on")
    t.ok(within(60, lambda: states(interrupted) == ["captured"]), f"{how}: everything is made and recorded", states(interrupted))
    simulated.stop()
pg_ctl("stop", "-m", "fast")
time.sleep(1)
used = [sum(float(open(f"/proc/{pid}/stat").read().rpartition(") ")[2].split()[11]) for w in several for pid in w.children()) for _ in (0, time.sleep(2))]
t.ok(used[1] - used[0] < 100, "without a database nobody burns the processor: ticks in 2 s", used)
t.equal([len(w.children()) for w in several], [2, 2], "and nobody dies of it")
pg_ctl("start")
waited = pay("approve", 10)
t.ok(within(60, lambda: states(waited) == ["captured"]), "the database is back: they go on")
t.ok(all(w.events("database_lost") and w.events("database_found") for w in several), "the log says both")
t.ok(all(len(w.events("database_lost")) < 20 for w in several), "a few times", [len(w.events("database_lost")) for w in several])
t.equal({len(r) for k, r in bank.asked.items() if bank.asked[k][0].body["method"] != "slow:6 approve"}, {1}, "no call was made twice for it")
t.equal(bank.conflicts, [], "and none for two things")

# Nothing to do costs next to nothing.
used = [sum(float(open(f"/proc/{pid}/stat").read().rpartition(") ")[2].split()[11]) for w in several for pid in w.children()) for _ in (0, time.sleep(3))]
t.ok(used[1] - used[0] < 100, "idle: ticks in 3 s", used)
t.equal([w.stop()[0] for w in several], [0, 0], "they end well")
t.equal(broken(), ("", ""), "money adds up")

# The parent killed, its children end by themselves; a child killed, another one follows.
worker = Worker(**SETTINGS)
children = worker.children()
worker.kill()
t.ok(within(60, lambda: worker.children() not in ([], children)), "a process that was killed has a successor")
children = worker.children()
os.kill(worker.process.pid, signal.SIGKILL)
worker.process.wait()
t.ok(within(60, lambda: not any(os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat").read().rpartition(") ")[2][:1] for pid in children)),
     "one whose parent was killed ends")
