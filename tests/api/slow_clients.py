#!/usr/bin/env python3
"""Clients who send or read slowly, or too much, or nothing, who close half a connection, or come by thousands:
at the application and at the edge each is ended in its time, others are served meanwhile, and nothing of it
stays. HF_LONG: waits for the end of idle connections and of readers that do not read, too, which is a minute;
HF_ROUNDS: how often all of that happens. TAP.
"""
import os
import resource
import selectors
import socket
import struct
import threading
import time
import urllib.parse

from api import Tap, register
from chaos_load import API, EDGE, Shopper, edge_workers, files, memory, metrics, percentile, within, workers

IDLE = 1000            # connections at each of the two
LONG = bool(os.environ.get("HF_LONG"))
ROUNDS = int(os.environ.get("HF_ROUNDS", 1))
PATIENCE = 180 if LONG else 60
LATE = 30              # seconds that an end may be late on a machine that has other things to do
FLOOD = 1000           # connections that are reset, at each of the two
HELD = 8               # seconds: the least after which anybody who is slow is ended
MEMORY = 16 * 2 ** 20  # bytes that a worker may have grown by from one round to the next
UNREAD = 64 * 2 ** 20  # bytes of a worker that readers who do not read may take
HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"
DRIP = HEAD + b"X-Slow: "
READ = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b"POST /v1/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 20000\r\n\r\n"
t = Tap()
me = register("other")
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def connect(base, room=None):
    address = urllib.parse.urlsplit(base)
    made = socket.socket()
    if room:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    made.settimeout(60)
    made.connect((address.hostname, address.port))
    made.setblocking(False)
    return made


class Attacker:
    """A client that sends `first`, and then `drip` each second; reads unless told not to."""

    def __init__(self, name, base, first, drip=b"", reads=True, half=False, ends=True):
        self.name, self.drip, self.half, self.reads, self.ends = name, drip, half, reads, ends
        self.where = "app" if base == API else "edge"
        self.got, self.ended, self.begun = b"", None, time.monotonic()
        self.watched = None
        self.due = self.begun + 1
        self.socket = connect(base, None if reads else 4096)
        self.left = first
        self.send()

    def send(self):
        """Sends what can be sent of what is left."""
        try:
            while self.left:
                self.left = self.left[self.socket.send(self.left):]
            if self.half:
                self.half = False
                self.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self.end()

    def receive(self):
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.got += data[:2000 - len(self.got)]
        if not data:
            self.end()

    def end(self):
        self.ended = self.ended or time.monotonic()

    def go_on(self, now):
        if self.left:
            self.send()
        elif self.drip and now >= self.due:
            self.due, self.left = now + 1, self.drip
            self.send()
        # Of those that do not read, only a reset or an error tells of the end.
        if not self.reads and self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.end()


def attack(attackers, seconds):
    """Lets them do what they do until all that are to end have ended, or for so long."""
    waits = selectors.DefaultSelector()
    for attacker in attackers:
        attacker.watched = time.monotonic()
        if attacker.reads:
            waits.register(attacker.socket, selectors.EVENT_READ, attacker)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(attacker.ended for attacker in attackers if attacker.ends):
        for event, _ in waits.select(0.05):
            event.data.receive()
            if event.data.ended:
                waits.unregister(event.fileobj)
        now = time.monotonic()
        for attacker in attackers:
            if not attacker.ended:
                attacker.go_on(now)


class Others:
    """Clients who want only what they always want, meanwhile."""

    def __enter__(self):
        self.took, self.wrong, self.stop = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(base, keeps)) for base in (API, EDGE) for keeps in (True, False)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def ask(self, base, keeps):
        shopper = Shopper(base, me.token, timeout=60)
        while not self.stop.is_set():
            for path in ("/v1/me", "/v1/categories", "/openapi.json"):
                begun = time.monotonic()
                answer = shopper.send("GET", path)
                self.took.append(time.monotonic() - begun)
                if answer is None or answer.status != 200:
                    self.wrong.append((base, path, answer))
            if not keeps:
                shopper.close()
            time.sleep(0.02)


def state():
    return files(workers()), files(edge_workers()), max(memory(workers())), max(memory(edge_workers()))


def settle(before):
    """Waits until descriptors are what they were; says what is left."""
    good = lambda: files(workers()) <= before[0] + 4 and files(edge_workers()) <= before[1] + 8
    within(60, good, 0.2)
    return state()


def idle():
    """Thousands of connections that say nothing, all at once; others do not mind."""
    with Others() as others:
        sockets = [connect(base) for _ in range(IDLE) for base in (API, EDGE)]
        t.ok(within(60, lambda: metrics()["holdfast_http_connections"] >= IDLE) is not None, f"{2 * IDLE} idle connections are taken")
        time.sleep(2)
    for one in sockets:
        one.close()
    return others


def flood():
    """Connections that come and are reset, one after the other."""
    for base in FLOOD * (API, EDGE):
        made = connect(base)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.close()


def undisturbed(name, others, base):
    """Nobody fails, and nobody waits until a slow one is ended."""
    p99 = percentile(others.took, .99)
    t.equal([str(wrong) for wrong in others.wrong[:2]], [], f"{name}: others are served")
    t.ok(max(others.took) < HELD, f"{name}: and do not wait for those", max(others.took))
    print(f"# {name}: p99 of others {1000 * p99:.0f} ms, {1000 * base:.0f} ms at peace, of {len(others.took)}", flush=True)


def check_ends(attackers, name, least, most, statuses, where=("app", "edge")):
    """
    Each of these was ended in that time, with one of these statuses, or without a word if that is None. It was
    not sooner since it began, nor later since all had begun and somebody looked.
    """
    for one in where:
        them = [attacker for attacker in attackers if (attacker.name, attacker.where) == (name, one)]
        least_seen = min((attacker.ended or 1e9) - attacker.begun for attacker in them)
        most_seen = max((attacker.ended or 1e9) - max(attacker.begun, attacker.watched) for attacker in them)
        said = {int(a.got.split(b" ")[1]) if a.got.startswith(b"HTTP/1.1 ") else None for a in them}
        t.ok(least <= least_seen and most_seen <= most + LATE, f"{name} at the {one}: ended after {least} to {most} s",
             least_seen, most_seen)
        t.ok(said <= statuses, f"{name} at the {one}: and told why", said)


def all_at_once():
    attackers = []
    for at in (API, EDGE):
        for _ in range(60):
            attackers.append(Attacker("slow headers", at, DRIP, b"x"))
            attackers.append(Attacker("no end of headers", at, HEAD))
            attackers.append(Attacker("silent bodies", at, BODY))
            attackers.append(Attacker("half closed", at, HEAD + b"\r\n", half=True))
            attackers.append(Attacker("half closed, half sent", at, HEAD, half=True))
            attackers.append(Attacker("closed at once", at, b"", half=True))
            attackers.append(Attacker("header floods", at, HEAD + b"X-Flood: " + b"x" * 10 ** 6))
        for _ in range(20):
            attackers.append(Attacker("readers that do not read", at, READ * 300, reads=False, ends=LONG or at == EDGE))
    for _ in range(60):
        attackers.append(Attacker("slow bodies", API, BODY, b"x"))
    if LONG:
        attackers += [Attacker("idle", at, b"") for at in (API, EDGE) for _ in range(60)]
    return attackers


def under_attack(base, before):
    with Others() as others:
        attackers, thread = all_at_once(), threading.Thread(target=flood)
        thread.start()
        attack(attackers, PATIENCE)
        thread.join()
    undisturbed("under attack", others, base)
    print(f"# {2 * FLOOD} connections were reset, a worker has {max(memory(workers())) / 2 ** 20:.0f} MB", flush=True)
    peak = max(memory(workers())) - before[2]
    t.ok(peak < UNREAD, "readers that do not read cost little memory", peak)
    check_ends(attackers, "slow headers", 8, 14, {408, None})
    check_ends(attackers, "no end of headers", 8, 14, {408, None})
    check_ends(attackers, "silent bodies", 8, 14, {408, None})
    check_ends(attackers, "slow bodies", 8, 15, {408}, ["app"])
    check_ends(attackers, "half closed", 0, 2, {200}, ["app"])
    check_ends(attackers, "half closed", 0, 2, {200, None}, ["edge"])  # nginx gives up whoever closes before he is answered
    check_ends(attackers, "half closed, half sent", 0, 12, {None, 400})
    check_ends(attackers, "closed at once", 0, 2, {None})
    check_ends(attackers, "header floods", 0, 5, {400, 414, 431, None})
    check_ends(attackers, "readers that do not read", 8, 14, {None}, ["edge"])
    if LONG:
        check_ends(attackers, "readers that do not read", 8, 75, {None}, ["app"])
        check_ends(attackers, "idle", 8, 14, {None, 408}, ["edge"])
        check_ends(attackers, "idle", 55, 75, {None}, ["app"])
    for attacker in attackers:
        attacker.socket.close()


with Others() as others:
    time.sleep(2)
base = percentile(others.took, .99)
first = state()
undisturbed("idle", idle(), base)
before = settle(first)
t.ok(before[0] <= first[0] + 4 and before[1] <= first[1] + 8, "the descriptors of idle connections are closed", first, before)
last = before
for number in range(ROUNDS):
    under_attack(base, before)
    undisturbed("idle again", idle(), base)
    after = settle(before)
    t.ok(after[0] <= before[0] + 4 and after[1] <= before[1] + 8, "all descriptors are closed", before, after)
    t.ok(after[2] <= last[2] + MEMORY and after[3] <= last[3] + MEMORY, "and memory is what it was", last, after)
    print(f"# descriptors of workers {before[0]}, {after[0]}; of nginx {before[1]}, {after[1]}; memory of workers {last[2] >> 10}, "
          f"{after[2] >> 10} kB; of nginx {last[3] >> 10}, {after[3] >> 10} kB", flush=True)
    last = after
