#!/usr/bin/env python3
# with-stack: --expect-crash
# with-api: --expect-crash --conf 'request_timeout = 3s'
"""The database is frozen, loses a session, is killed, restarted, and has no connections left, while people
shop: each request is answered in time, with 503 at worst; it is all back; and every order that was
acknowledged is there, once. HF_ROUNDS: how often all of that happens. TAP.
"""
import os
import signal
import statistics
import subprocess
import time

import chaos_load
from api import Tap, product
from chaos_load import API, EDGE, TIMEOUT, Frozen, Load, Shopper, backends, pg_ctl, processes, send, within
from peace import in_peace

RECOVERY = 30  # seconds; 5 are promised, but the machine may have other things to do. What it took is printed.
t = Tap()
load = Load()
calm = product(load.merchant)  # nobody changes it
unanswered = []                # keys of shop()


def shop():
    """Whether an order and a read succeed, through each way."""
    for base in (API, EDGE):
        person = Shopper(base, load.people[0].token)
        read = person.send("GET", "/v1/me")
        if read is None or read.status != 200:
            return False
        bought = chaos_load.Bought(load.people[0].token,
                                   {"items": [{"sku_id": load.products[0]["skus"][0]["id"], "quantity": 1}]})
        key = f"probe-{time.monotonic()}"
        load.journal[key] = bought
        answer = person.send("POST", "/v1/orders", bought.body, Idempotency_Key=key)
        if answer is None or answer.status != 201:
            unanswered.append(key)
            return False
        bought.order = answer.json()["id"]
    return True


def recovers(name, begun):
    """Since the repair, which was now."""
    repaired = time.monotonic()
    took = within(60, shop, 0.05)
    t.ok(took is not None and time.monotonic() - repaired <= RECOVERY,
         f"{name}: it is back within {RECOVERY} s ({time.monotonic() - repaired:.1f} s)")
    t.ok(within(60, lambda: chaos_load.metrics()['holdfast_database_connections{lane="write"}'] == 16) is not None,
         f"{name}: all connections come back")
    time.sleep(0.3)
    load.check_phase(t, name, begun)
    print(f"# {name}: {load.counts(begun)}", flush=True)


def quick(paths, seconds):
    """The times of GETs of these paths, over and over for so long, which all have to succeed."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        for path in paths:
            begun = time.monotonic()
            answer = Shopper(API).send("GET", path)
            took.append(time.monotonic() - begun if answer is not None and answer.status == 200 else 99)
        time.sleep(0.02)
    return took


def are_quick(took):
    """Whoever waits for the database is told so after request_timeout."""
    print(f"# {1000 * max(took):.0f} ms at most", flush=True)
    return max(took) < 99 and statistics.median(took) < TIMEOUT / 2, max(took), statistics.median(took)


def read_locked():
    """All statements of the shop wait for somebody's lock, so nothing comes from the database. Whether others are quick."""
    for _ in range(20):
        Shopper(API).send("GET", f"/v1/products/{calm['id']}")
    held = ""
    while held != "locked\n":  # a statement that has one of the tables and wants another makes a deadlock, of which either may die
        holder = subprocess.Popen(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("BEGIN; LOCK shop.account, shop.product, shop.sku, shop.\"order\"; SELECT 'locked';\n")
        holder.stdin.flush()
        held = holder.stdout.readline()
    took = quick(["/health", f"/v1/products/{calm['id']}"], TIMEOUT + 1)
    person = Shopper(API, load.people[0].token)
    answer = person.send("GET", "/v1/me")
    t.ok(answer is not None and answer.status == 503, "locked: the database answers nobody", answer)
    holder.communicate("ROLLBACK;\n")
    return are_quick(took)


def locked():
    # Without the cache, which is off if its heartbeat comes too late, these reads would wait for the database, too.
    in_peace(t.ok, 3, "locked: health and cached reads do not wait for it", read_locked)


def all_frozen():
    with Frozen(processes("postgres")):
        took = quick(["/health"], TIMEOUT + 2)
    good, *seen = are_quick(took)
    t.ok(good, "all frozen: health does not wait for it", *seen)


def session_killed():
    send(signal.SIGKILL, backends()[:1])


def killed():
    postmaster = int(open(os.path.join(chaos_load.DATA, "postmaster.pid")).readline())
    send(signal.SIGKILL, [postmaster])
    if within(60, lambda: not processes("postgres")) is None:
        raise RuntimeError("the backends outlive their postmaster")
    pg_ctl("start")


def restarted():
    pg_ctl("restart", "-m", "fast")


def out_of_connections():
    pg_ctl("restart", "-m", "fast", "-o", "-c max_connections=14")
    time.sleep(2.5)
    pg_ctl("restart", "-m", "fast", "-o", "-c max_connections=700")


def peace():
    """Whether everything succeeds that is asked for in a moment in which nothing happens."""
    begun = time.monotonic()
    time.sleep(2)
    wrong = [note for note in load.during(begun) if note.status >= 400]
    return not wrong, wrong[:3]


with load:
    begun = time.monotonic()
    in_peace(t.ok, 3, "at peace everything succeeds", peace)
    load.check_phase(t, "at peace", begun, lost=False)
    print(f"# at peace: {load.counts(begun)}, p99 {load.took(.99, begun, None, 'order'):.0f} ms", flush=True)
    for number in range(int(os.environ.get("HF_ROUNDS", 1))):
        for happens in (locked, all_frozen, session_killed, killed, restarted, out_of_connections):
            begun = time.monotonic()
            happens()
            recovers(happens.__name__.replace("_", " "), begun)
for key in unanswered:
    load.journal[key].order = chaos_load.ask_again(load.journal[key], key).json()["id"]
load.check_end(t)
