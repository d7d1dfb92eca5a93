#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'simulated = off'
"""A worker that is told to end finishes what it holds, or leaves it to be made again soon; several workers share the
calls; without the database they wait, and go on by themselves. TAP.
"""
import os
import signal
import subprocess
import threading
import time

from api import Tap, psql, within
from bank import Bank
from peace import in_peace
from worker import RUNAS, Worker, broken, calls

t = Tap()
bank = Bank()
psql("SELECT holdfast.add_provider('bank', p_attempts => 8, p_backoff => '1 s', p_backoff_max => '5 s'), holdfast.add_provider('simulated')")
SETTINGS = {"provider__bank__url": bank.url, "provider__bank__timeout": "20s", "lease": "40s"}
account = 0


def pay(method, n=1, provider="bank"):
    """Payments without orders; the ids."""
    global account
    account += n
    return psql(f"""SELECT p.payment FROM generate_series({account - n + 1}, {account}) AS n,
        holdfast.create_payment(n, 'payment-of-' || n, 1000, 'EUR', '{provider}', '{method}', NULL, 'capture') AS p""").split()


def states(payments):
    return psql(f"SELECT DISTINCT state FROM holdfast.payments WHERE payment IN ({', '.join(repr(p) for p in payments)}) ORDER BY 1").split()


def held(n, seconds=60):
    """Waits until so many calls are on hold."""
    within(seconds, lambda: bank.under_way >= n)


def is_alive(pid):
    """Whether there is such a process, which has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pg_ctl(*words):
    with open(os.environ["HF_LOG"], "a") as log:
        subprocess.run([*RUNAS, "pg_ctl", "-D", os.environ["HF_DATA"], "-w", "-t", "60", *words], check=True, stdin=subprocess.DEVNULL,
                       stdout=log, stderr=log, start_new_session=True)


# It finishes what it holds.
for number in (signal.SIGTERM, signal.SIGINT):
    worker = Worker(drain_timeout="50s", **SETTINGS)
    bank.gate.clear()
    first = pay("hold", 20)
    held(20)
    rest = pay("approve", 5)  # not before it has been told
    threading.Thread(target=lambda: (within(15, worker.is_told), bank.gate.set())).start()
    status, took = worker.stop(number)
    t.equal((status, states(first)), (0, ["captured"]), f"{number.name}: what it holds is finished, and recorded")
    t.ok(took < 45, f"{number.name}: and it ends when that is done", took)
    t.equal(worker.events("stopped")[-1]["message"], "left behind: 0", f"{number.name}: nothing is left behind")
    t.ok(all(c["state"] in ("pending", "succeeded") for c in calls()), f"{number.name}: what it does not hold waits")
    Worker.start(worker)
    t.ok(within(60, lambda: states(rest) == ["captured"]), f"{number.name}: for the next one")
    worker.stop()

# Or leaves it.
worker = Worker(drain_timeout="300ms", **SETTINGS)
cut = []


def cut_short():
    """It has two seconds to record what it has cut short."""
    worker.process.poll() is None or worker.start()
    bank.gate.clear()
    cut[:] = pay("hold approve", 10)
    held(10)
    status, took = worker.stop()
    bank.gate.set()
    left = calls("c.payment IN (%s)" % ", ".join(repr(p) for p in cut))
    recorded = {(c["state"], c["reason"], c["attempts"]) for c in left} == {("pending", "the worker was stopped", 1)}
    return status == 0 and recorded and max(c["due_in"] for c in left) < 4, status, took, left[:2]


in_peace(t.ok, 3, "calls that take too long are cut short, and recorded as not answered, to be made again soon and not when the lease is over", cut_short)
worker.start()
t.ok(within(60, lambda: states(cut) == ["captured"]), "which they are")
worker.stop()

# Several.
several = [Worker(workers="2", provider__bank__calls="8", **SETTINGS) for _ in range(2)]
within(60, lambda: bank.under_way == 0)
before, bank.most = set(bank.asked), 0
bank.gate.clear()
shared = pay("hold", 300)
held(32, 10)
bank.gate.set()
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
    # A claim whose answer was lost with the session waits for its lease.
    t.ok(within(120, lambda: states(interrupted) == ["captured"]), f"{how}: everything is made and recorded", states(interrupted))
    simulated.stop()
pg_ctl("stop", "-m", "fast")
time.sleep(1)
used = [sum(float(open(f"/proc/{pid}/stat").read().rpartition(") ")[2].split()[11]) for w in several for pid in w.children()) for _ in (0, time.sleep(2))]
t.ok(used[1] - used[0] < 100, "without a database nobody burns the processor: ticks in 2 s", used)
t.equal([len(w.children()) for w in several], [2, 2], "and nobody dies of it")
pg_ctl("start")
waited = pay("approve", 10)
t.ok(within(60, lambda: states(waited) == ["captured"]), "the database is back: they go on")
t.ok(within(60, lambda: all(w.events("database_lost") and w.events("database_found") for w in several)), "the log says both")
t.ok(all(len(w.events("database_lost")) < 20 for w in several), "a few times", [len(w.events("database_lost")) for w in several])
t.equal({len(r) for k, r in bank.asked.items() if bank.asked[k][0].body["method"] != "hold approve"}, {1}, "no call was made twice for it")
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
t.ok(within(60, lambda: not any(map(is_alive, children))), "one whose parent was killed ends")
