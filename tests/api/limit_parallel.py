#!/usr/bin/env python3
# with-api: --conf 'limit.read.account = 50/5s burst 20' --conf 'limit.write.account = 600/5s burst 150' --conf 'limit.login.address = 50/5s burst 10' --conf 'limit.webhook.global = 100/5s burst 20' --conf 'trusted_proxies = 127.0.0.77' --conf 'redis_timeout = 2s'
"""However many clients ask, and whichever worker, no more are let in than the limits say: in any window the
quota and the burst, of an account, of an address, of all. One class, account or address does not count for
another. Whoever waits as long as he is told is let in. Without Redis no more are let in either. Whoever comes
with many names costs no memory, and whoever is refused costs little. TAP.
"""
import collections
import concurrent.futures
import http.client
import multiprocessing
import os
import random
import re
import socket
import subprocess
import time
import urllib.parse

import chaos_load
from api import Tap, register, token_of
from chaos_load import metrics, within

EDGE, API, SOCKET = os.environ["HF_EDGE"], os.environ["HF_API"], os.environ["HF_API_SOCKET"]
WINDOW, SECONDS, PROCESSES, THREADS = 5, 6, 3, 3
PATIENCE = 60          # seconds for as many as should be let in
MEMORY = 16 * 2 ** 20  # bytes that an attack may add to a worker

# One request of each class; what is refused for what it says is let in all the same.
READ, WRITE = ("GET", "/v1/me"), ("PATCH", "/v1/me")
LOGIN, WEBHOOK = ("POST", "/v1/oauth/token"), ("POST", "/v1/webhooks/none")
t = Tap()
me, other = register("limited"), register("other")


class From(http.client.HTTPConnection):
    """A connection to the application or the edge, from some address of the loopback; or to a Unix socket."""

    def __init__(self, to, source=None):
        super().__init__(urllib.parse.urlsplit(to).netloc or "localhost", timeout=60,
                         source_address=(source, 0) if source else None)
        self.path = to if to.startswith("/") else None

    def connect(self):
        if self.path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)

    def ask(self, method, path, token=None, address=None):
        """The status and the headers of an answer."""
        headers = {"Content-Length": "0"} if method != "GET" else {}
        if token:
            headers["Authorization"] = "Bearer " + token
        if address:
            headers["X-Real-IP"] = address
        self.request(method, path, headers=headers)
        answer = self.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def hammer(to, requests, pause, end, results):
    """Asks until the end, in threads, and tells (begun, done, status) of each."""
    def work(number):
        connection, n, found = From(to), number, []
        while time.monotonic() < end:
            n += 1
            begun = time.monotonic()
            try:
                status, _ = connection.ask(*requests[n % len(requests)])
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            found.append((begun, time.monotonic(), status))
            time.sleep(pause)
        connection.close()
        return found

    random.seed(os.getpid())
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        results.put([entry for found in pool.map(work, range(THREADS)) for entry in found])


def storm(requests, to=API, pause=0.01, seconds=SECONDS):
    """What many clients in several processes are told."""
    results, end = multiprocessing.Queue(), time.monotonic() + seconds
    children = [multiprocessing.Process(target=hammer, args=(to, requests, pause, end, results)) for _ in range(PROCESSES)]
    for child in children:
        child.start()
    found = [entry for _ in children for entry in results.get(timeout=120)]
    for child in children:
        child.join()
    return found


def busiest(admitted, window):
    """The most that were certainly let in within one window: begun and done in it."""
    admitted, most = sorted(admitted), 0
    for i in range(0, len(admitted), max(1, len(admitted) // 300)):
        end = admitted[i][0] + window
        most = max(most, sum(1 for entry in admitted[i:] if entry[1] <= end))
    return most


def check(name, how, quota, burst, least=0.5, redis=True):
    """
    No more than the limit in any window, and not much less; who storms is given time again if the machine had none for him, or
    none for Redis, so that a worker went on by itself.
    """
    end, good = time.monotonic() + PATIENCE, False
    while not good and time.monotonic() < end:
        before = alone()
        found = storm(*how)
        good = is_full(found, quota, least) and (alone() == before or not redis)
    admitted = [entry for entry in found if entry[2] != 429]
    t.equal(collections.Counter(entry[2] for entry in found if entry[2] >= 500), {}, f"{name}: no server error")
    most, taken = busiest(admitted, WINDOW), max(entry[1] for entry in found) - min(entry[0] for entry in found)
    t.ok(most <= quota + burst, f"{name}: in no window are more let in than {quota} and a burst of {burst}", most)
    part = busiest(admitted, WINDOW / 5)
    t.ok(part <= quota / 5 + burst, f"{name}: nor in a fifth of a window more than a fifth of them", part)
    t.ok(len(admitted) < len(found), f"{name}: others are refused")
    t.ok(len(admitted) >= least * quota * taken / WINDOW, f"{name}: no fewer are let in either", len(admitted), taken)
    print(f"# {name}: {len(found)} asked, {len(admitted)} were let in, {most} in the busiest window", flush=True)


def alone():
    """How often a worker has judged without Redis."""
    return metrics()["holdfast_rate_limit_local_checks_total"]


def is_full(found, quota, least):
    """Whether so many were let in that others had to be refused, and this part of the quota at least."""
    admitted = sum(entry[2] != 429 for entry in found)
    return admitted < len(found) and admitted >= least * quota * (max(entry[1] for entry in found) - min(entry[0] for entry in found)) / WINDOW


def exhaust(connection, *request):
    """Asks until it is refused; how often it was let in, and the headers of the refusal. From `exhausted` on something comes back."""
    global exhausted
    for n in range(5000):
        exhausted = time.monotonic()
        status, headers = connection.ask(*request)
        if status == 429:
            return n, headers
    raise RuntimeError(f"{request} is never refused")


def still_refused(connection, requests):
    """Whether no more of these are let in than has come back since it was exhausted, of 50 in 5 s; that is, none has a burst."""
    let_in = sum(connection.ask(*request)[0] != 429 for request in requests)
    return let_in <= (time.monotonic() - exhausted) * 10 + 2


# In any window: exactly counted, at a rate at which permits are taken ahead, of all clients, of an address.
check("an account", ([(*READ, me.token)],), 50, 20)
check("a fast account", ([(*WRITE, me.token)], API, 0), 600, 150, least=0.4)
check("all clients", ([WEBHOOK], EDGE), 100, 20)
check("an address", ([(*LOGIN, None, "192.0.2.1")], SOCKET), 50, 10)

# What does not count for another.
direct, behind = From(API), From(EDGE)
exhaust(direct, *READ, me.token)
t.ok(direct.ask(*WRITE, me.token)[0] != 429, "who may not read may write")
t.equal(direct.ask(*READ, other.token)[0], 200, "another account may read")
t.equal(direct.ask("GET", "/health")[0], 200, "the operator's routes have no limit")
exhaust(direct, *READ, me.token)
t.ok(still_refused(behind, [(*READ, me.token)] * 20), "a refused account has no burst behind the edge either")

# The headers, and waiting as long as they say.
patient = register("patient")
status, first = direct.ask(*READ, patient.token)
n, last = exhaust(direct, *READ, patient.token)
t.ok(n >= 19, "the burst may come at once", n)
for headers, left in ((first, 19), (last, 0)):
    t.ok(re.fullmatch(r'"[a-z-]+";q=50;w=5', headers["ratelimit-policy"]), "RateLimit-Policy is the rule", headers)
    said = re.fullmatch(r'"[a-z-]+";r=(\d+);t=(\d+)', headers["ratelimit"])
    t.ok(said and int(said[1]) == left and int(said[2]) <= WINDOW + 1, f"RateLimit says that {left} are left", headers)
for _ in range(3):
    exhaust(direct, *READ, patient.token)
    wait = int(exhaust(direct, *READ, patient.token)[1]["retry-after"])
    time.sleep(wait)
    t.ok(1 <= wait <= WINDOW and direct.ask(*READ, patient.token)[0] == 200, "who waits for Retry-After is let in", wait)

# Whose address counts.
spoofs = iter(f"198.51.{n // 250}.{n % 250 + 1}" for n in range(60000))
for name, connection in (("behind the edge", From(EDGE, "127.0.0.21")), ("directly", From(API, "127.0.0.22"))):
    exhaust(connection, *LOGIN)
    t.ok(still_refused(connection, [(*LOGIN, None, next(spoofs)) for _ in range(20)]), f"{name} X-Real-IP does not help")
for name, there, next_to_it in (("behind the edge", From(EDGE, "127.0.0.23"), From(EDGE, "127.0.0.24")),
                                ("directly", From(API, "127.0.0.25"), From(API, "127.0.0.26"))):
    exhaust(there, *LOGIN)
    t.ok(next_to_it.ask(*LOGIN)[0] != 429, f"{name} another address may go on")
for name, connection in (("of a trusted proxy", From(API, "127.0.0.77")), ("on the Unix socket", From(SOCKET))):
    address, another = next(spoofs), next(spoofs)
    exhaust(connection, *LOGIN, None, address)
    t.ok(connection.ask(*LOGIN, None, another)[0] != 429, f"X-Real-IP {name} counts")
connection = From(SOCKET)
exhaust(connection, *LOGIN, None, "2001:db8:1:1::1")
t.ok(still_refused(connection, [(*LOGIN, None, f"2001:db8:1:1::{n:x}") for n in range(2, 22)]), "a /64 of IPv6 is one client")
t.ok(connection.ask(*LOGIN, None, "2001:db8:1:2::1")[0] != 429, "and the next /64 another")


def figures():
    """Memory of the larger worker, seconds of a core, statements."""
    now = metrics()
    workers = lambda name: [value for key, value in now.items() if key.startswith(name)]
    return (max(workers("process_resident_memory_bytes")), sum(workers("process_cpu_seconds_total")),
            now["holdfast_database_statements_total"])


# Refusals are cheap.
exhaust(direct, *READ, me.token)
before, found, end = figures(), [], time.monotonic() + PATIENCE
while not found or len(refused) < 10 * (len(found) - len(refused)) and time.monotonic() < end:
    found += storm([(*READ, me.token)], pause=0, seconds=2)
    refused = [entry for entry in found if entry[2] == 429]
after = figures()
cost, let_in = (after[1] - before[1]) / max(len(refused), 1), len(found) - len(refused)
t.ok(len(refused) > 20 and after[2] - before[2] <= 2 * let_in + len(refused) / 10, "a refusal costs no statement", len(refused), let_in, after[2] - before[2])
print(f"# {len(refused)} refusals, {cost * 1e6:.0f} microseconds of a core each", flush=True)

# Many names.
before = figures()
attack = [(*LOGIN, None, f"{random.randrange(1, 223)}.{random.randrange(256)}.{random.randrange(256)}.9") for _ in range(20000)]
found = storm(attack, SOCKET, pause=0, seconds=2)
attack = [(*READ, token_of(random.randrange(1, 2 ** 62), me.token)) for _ in range(5000)]
found += storm(attack, pause=0, seconds=2)
after = figures()
t.ok(len(found) > 100 and after[0] - before[0] < MEMORY, "many addresses and many tokens cost no memory",
     len(found), after[0] - before[0])
print(f"# {len(found)} strangers added {(after[0] - before[0]) / 1024:.0f} kB to a worker", flush=True)
keys = lambda: subprocess.run(["redis-cli", "-s", os.environ["HF_REDIS"], "--scan", "--pattern", "*limit:*"],
                              capture_output=True, text=True).stdout.split()
t.ok(within(60, lambda: not keys(), 0.2) is not None, "nor do they stay in Redis", len(keys()))

# Without Redis.
chaos_load.kill_redis()
try:
    t.ok(within(60, lambda: metrics()["holdfast_workers_with_redis"] == 0) is not None, "Redis is gone")
    check("without Redis", ([(*READ, token_of(4711, me.token))],), 50, 20, least=0.2, redis=False)
    check("without Redis, all", ([WEBHOOK], EDGE), 100, 20, least=0.2, redis=False)
    exhaust(direct, *READ, patient.token)
    t.ok(direct.ask(*WRITE, patient.token)[0] != 429, "without Redis one class does not count for another")
finally:
    chaos_load.start_redis()
t.ok(within(60, lambda: metrics()["holdfast_workers_with_redis"] == 2) is not None, "Redis is back")
storm([(*READ, token_of(4712, me.token))], seconds=2)  # each worker has to notice
check("with Redis again", ([(*READ, token_of(4713, me.token))],), 50, 20)
