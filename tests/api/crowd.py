#!/usr/bin/env python3
"""The load generator tells what it was told: every request and answer is counted once, whatever a server does to its
answers and connections. Its figures are compared with the notes of a server of our own. TAP.
"""
import collections
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
tests = failures = 0


def ok(good, claim, *seen):
    global tests, failures
    tests += 1
    failures += not good
    print(f"{'' if good else 'not '}ok {tests} - {claim}", *([f"# {what!r}" for what in seen] if not good else []), sep="\n", flush=True)


def equal(got, wanted, claim):
    ok(got == wanted, claim, f"got {got!r}, wanted {wanted!r}")


class Request:
    """A request as it came: method, path, headers, body, and the number of its connection."""

    def __init__(self, head, connection):
        line, *fields = head.decode().split("\r\n")
        self.method, self.path, _ = line.split(" ")
        self.headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        self.key, self.buyer = self.headers.get("idempotency-key", ""), self.headers.get("authorization", "")[7:]
        self.connection, self.body, self.number = connection, b"", 0


class Server:
    """Answers as act(request, send, socket) does, which returns whether the connection stays; notes what came."""

    def __init__(self, act):
        self.act, self.requests, self.lock = act, [], threading.Lock()
        self.open = self.most_open = self.connections = 0
        self.busy, self.overlaps = set(), 0
        self.peers = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            self.peers.add(peer[0])
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with self.lock:
            self.connections += 1
            number = self.connections
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            while request := self.read(connection, number):
                with self.lock:
                    self.overlaps += request.buyer != "" and request.buyer in self.busy
                    self.busy.add(request.buyer)
                    self.requests.append(request)
                    request.number = len(self.requests)
                stays = self.act(request, lambda data: connection.sendall(data), connection)
                if not stays:
                    break
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= 1
            connection.close()

    def read(self, connection, number):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        request = Request(head, number)
        while len(data) < int(request.headers.get("content-length", 0)):
            data += connection.recv(65536)
        request.body = data
        return request

    def release(self, request):
        with self.lock:
            self.busy.discard(request.buyer)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def answer(status, body=b"{}", *headers):
    return b"\r\n".join([b"HTTP/1.1 %d x" % status, b"content-length: %d" % len(body), b"content-type: application/json", *headers, b"", body])


def problem(status, code, *headers):
    return answer(status, json.dumps({"type": "/problems/x", "nested": {"code": "no"}, "code": code}).encode(), *headers)


def crowd(server, *words, status=0):
    """What the load generator says in the end, and in between."""
    done = subprocess.run([PROGRAM, "--url", server if isinstance(server, str) else server.url, "--json", *map(str, words)], capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != status:
        ok(False, f"crowd ends with {status}", done.returncode, done.stderr)
        return {}
    return [json.loads(line) for line in done.stdout.splitlines()] if "--progress" in words else json.loads(done.stdout or "{}")


def post(act, *words, requests=30, connections=3):
    """Requests of mode post, against a server of its own: what was said, and the server."""
    server = Server(act)
    said = crowd(server, "--mode", "post", "--path", "/x", "--body", "{}", "--requests", requests, "--connections", connections, *words)
    server.stop()
    return said, server


def journal_of(path):
    with open(path, encoding="utf-8") as file:
        return [line.split() for line in file]


work = tempfile.TemporaryDirectory(prefix="holdfast-crowd.")
PROGRAM = os.path.join(work.name, "crowd")
subprocess.run(["make", "-s", "--no-print-directory", "-C", os.path.join(ROOT, "tools/crowd"), "BUILD=" + work.name], check=True)
BUYERS, JOURNAL = os.path.join(work.name, "buyers"), os.path.join(work.name, "journal")
with open(BUYERS, "w", encoding="utf-8") as people:
    people.writelines(f"{n} token-{n}\n" for n in range(1, 41))

# Answers in pieces, of every size.
whole = answer(200, b'{"a": "' + b"x" * 300 + b'"}')
for size in (1, 2, 3, 7, 64, len(whole) - 1):
    def in_pieces(request, send, _, size=size):
        for at in range(0, len(whole), size):
            send(whole[at:at + size])
        return True
    said, server = post(in_pieces, requests=12)
    ok((said["status"], said["requests"], said["connection_errors"], len(server.requests)) == ({"200": 12}, 12, 0, 12), f"answers in pieces of {size}", said)

said, server = post(lambda request, send, _: send(answer(200, b"x" * 200000)) or True)
ok((said["status"], server.connections, said["connection_errors"]) == ({"200": 30}, 3, 0), "bodies that are larger than any room", said)
ok(all(r.method == "POST" and r.path == "/x" and r.body == b"{}" and r.headers["content-type"] == "application/json" and not r.key for r in server.requests), "requests are as the command line has them")

# How answers end.
for claim, raw, expected, errors, connections in [
        ("without a body", answer(204, b""), {"204": 30}, {}, 3), ("204 without a length", b"HTTP/1.1 204 x\r\n\r\n", {"204": 30}, {}, 3),
        ("304", b"HTTP/1.1 304 x\r\ncontent-length: 55\r\n\r\n", {"304": 30}, {}, 3),
        ("no length", b"HTTP/1.1 200 x\r\n\r\n{}", {"0": 30}, {"no_length": 30}, 30), ("in chunks", b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {"0": 30}, {"no_length": 30}, 30),
        ("a byte too many", answer(200) + b"x", {"200": 30}, {"extra_bytes": 30}, 30), ("two", answer(200) * 2, {"200": 30}, {"extra_bytes": 30}, 30),
        ("no HTTP", b"ok\r\n\r\n", {"0": 30}, {"bad_answer": 30}, 30), ("another HTTP", b"HTTP/2 200\r\ncontent-length: 0\r\n\r\n", {"0": 30}, {"bad_answer": 30}, 30),
        ("two lengths", b"HTTP/1.1 200 x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", {"0": 30}, {"bad_answer": 30}, 30),
        ("no status", b"HTTP/1.1 2x0 x\r\ncontent-length: 2\r\n\r\n{}", {"0": 30}, {"bad_answer": 30}, 30),
        ("an endless head", b"HTTP/1.1 200 x\r\n" + b"x: y\r\n" * 3000, {"0": 30}, {"bad_answer": 30}, 30),
        ("HTTP/1.0", answer(200).replace(b"1.1", b"1.0"), {"200": 30}, {}, 30), ("Connection: close", answer(200, b"{}", b"CONNECTION:  Close"), {"200": 30}, {}, 30)]:
    said, server = post(lambda request, send, _, raw=raw: send(raw) or True)
    got = {name: n for name, n in said["errors"].items() if n}
    # At the end of a run nobody connects again.
    ok((said["status"], got, said["connection_errors"], len(server.requests)) == (expected, errors, sum(errors.values()), 30) and server.connections == connections, f"{claim}: {expected}", said, server.connections)

# Connections that end.
said, server = post(lambda request, send, _: request.number % 3 != 0 and (send(answer(200)) or True))
ok((said["status"], said["errors"]["closed"]) == ({"0": 10, "200": 20}, 10) and said["codes"] == {"closed": 10}, "a connection that is closed instead of an answer", said)
said, server = post(lambda request, send, _: send(answer(200)[:-1 if request.number % 3 == 0 else None]) or request.number % 3 != 0)
ok((said["status"], said["errors"]["closed"]) == ({"0": 10, "200": 20}, 10), "in the midst of one", said)


def reset(request, send, connection):
    if request.number % 3:
        send(answer(200))
        return True
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


said, server = post(reset)
ok((said["status"], said["errors"]["reset"]) == ({"0": 10, "200": 20}, 10), "or reset", said)
said, server = post(lambda request, send, _: send(answer(200)) or False)
ok(said["status"].get("200", 0) + said["status"].get("0", 0) == 30 and said["status"].get("200", 0) == len(server.requests), "closed after an answer, unannounced: whatever was answered is counted", said, len(server.requests))
said, server = post(lambda request, send, _: request.number % 3 != 0 and (send(answer(200)) or True) or time.sleep(12) or True, "--timeout", 6, requests=6, connections=2)
ok((said["status"], said["errors"]["timeout"]) == ({"0": 2, "200": 4}, 2), "an answer that does not come in time", said)
said = crowd("http://127.0.0.1:1", "--mode", "post", "--path", "/", "--requests", 1, status=2)
server = Server(lambda request, send, _: server.stop() or send(answer(200, b"{}", b"Connection: close")) or True)
said = crowd(server, "--mode", "post", "--path", "/", "--seconds", 3, "--connections", 1)
ok(said["status"].get("200") == 1 and 3 <= said["status"].get("0", 0) == said["errors"]["connect"] <= 31, "a server that is gone is asked ten times a second, not more", said)

# Large requests.
said, server = post(lambda request, send, _: send(answer(200)) or True, "--body", "x" * 100000)
ok(said["status"] == {"200": 30} and all(len(r.body) == 100000 for r in server.requests), "requests that take several writes", said)

# Codes, keys, latencies, the journal.
codes = ["sold_out", "limit_reached", None, "sold_out"]


def refuse(request, send, _):
    time.sleep(request.number % 10 / 1000)
    code = codes[request.number % 4]
    send(problem(410, code) if code else answer(201, json.dumps({"items": [{"id": "wrong"}], "id": request.key[:8]}).encode()))
    return True


said, server = post(refuse, "--keys", "--buyers", BUYERS, "--journal", JOURNAL, requests=400, connections=8)
lines = journal_of(JOURNAL)
ok((said["status"], said["codes"]) == ({"201": 100, "410": 300}, {"sold_out": 200, "limit_reached": 100}), "refusals are counted by their code", said)
equal(sorted(line[2] for line in lines), sorted(r.key for r in server.requests), "the journal has every request by its key")
ok(len({r.key for r in server.requests}) == 400 and all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", r.key) for r in server.requests), "each with a key of its own")
ok(all(line[3] == "201" and line[4:6] == ["-", line[2][:8]] or line[3] == "410" and line[4] in codes and line[5] == "-" for line in lines), "with status, code, and the order's id", lines[:3])
equal(collections.Counter("token-" + line[1] for line in lines), collections.Counter(r.buyer for r in server.requests), "and its account")
turns = collections.Counter(line[1] for line in lines).values()
# Whose answer takes longer than others' misses turns; the next in turn is never one of the last who came.
ok(len(turns) == 40 and min(turns) >= 3 and max(turns) <= 13, "buyers are taken in turn", turns)
exact = sorted(int(line[6]) for line in lines)
for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
    right, told = exact[max(-int(-400 * share // 1), 1) - 1], said["latency_us"][name]
    ok(right <= told <= right * 1.017, f"{name} is that of the journal", right, told)
equal((said["latency_us"]["max"], said["latency_us"]["count"], said["latency_accepted_us"]["count"], said["latency_refused_us"]["count"]), (exact[-1], 400, 100, 300), "as are the most, and the counts of the accepted and the refused")
ok(8500 < exact[380] < 30000000, "latencies are real", exact[380])

# Retries.
tries = collections.Counter()


def moody(request, send, _):
    tries[request.key] += 1
    if tries[request.key] == 1:
        send(problem(503, "unavailable"))
    elif tries[request.key] == 2:
        return False
    else:
        send(answer(201, b'{"id": "one"}'))
    return True


said, server = post(moody, "--keys", "--retry", 2, "--journal", JOURNAL, requests=20, connections=4)
ok(said["status"] == {"201": 20} and said["requests"] == 20 and said["retried"] == {"unavailable": 20, "closed": 20}, "--retry asks again, and counts once", said)
equal((set(tries.values()), len(tries), len(journal_of(JOURNAL))), ({3}, 20, 20), "with the same key")
ok(said["latency_us"]["p50"] >= 200000, "the pauses are part of what the request took", said["latency_us"])
tries.clear()
said, server = post(moody, "--keys", "--retry", 1, requests=20, connections=4)
equal((said["status"], said["codes"], set(tries.values())), ({"0": 20}, {"closed": 20}, {2}), "but not more often than told")
tries.clear()
said, server = post(lambda request, send, _: tries.update([request.key]) or send(answer(200) if tries[request.key] > 1 else problem(429, "too_many", b"Retry-After: 1")) or True, "--keys", "--retry", 1, requests=4, connections=4)
ok(said["status"] == {"200": 4} and said["retried"] == {"too_many": 4} and 1000000 <= said["latency_us"]["p50"] < 30000000, "after the time that Retry-After says", said)

# Open loop.
said, server = post(lambda request, send, _: time.sleep(0.02) or send(answer(200)) or True, "--rate", 200, "--seconds", 3, requests=1000, connections=2)
ok(said["status"]["200"] + said["not_begun"] == 600 and 20 <= said["status"]["200"] <= 304, "an open loop has so many arrivals, whatever the server does", said)
ok(said["latency_us"]["p90"] > 250000 and said["not_begun"] >= 296, "and counts what they wait for a connection", said["latency_us"])
said, server = post(lambda request, send, _: send(answer(200)) or True, "--rate", 300, "--seconds", 3, requests=1000, connections=20)
ok(said["status"]["200"] + said["not_begun"] == 900 and said["not_begun"] < 450 and said["rate"] <= 330, "with connections enough nobody waits", said)
said, server = post(lambda request, send, _: send(answer(200)) or True, "--rate", 100, requests=50, connections=20)
ok(0.45 <= said["seconds"] and said["status"] == {"200": 50}, "they are spread evenly", said)


class Sale:
    """A sale: 25 units, one an account; its orders, by key; payments that are done at the second look."""

    def __init__(self, units=25):
        self.left, self.lock = units, threading.Lock()
        self.tickets, self.orders, self.by_account, self.paid, self.looks = {}, {}, {}, set(), collections.Counter()
        self.server = Server(self.act)

    def act(self, request, send, _):
        with self.lock:
            data = self.decide(request)
        self.server.release(request)
        send(data)
        return True

    def decide(self, request):
        words = request.path.split("/")
        body = json.loads(request.body or b"{}")
        if request.path == "/v1/sales/77/tickets" and request.method == "POST":
            self.tickets[request.buyer] = f"ticket.{request.buyer}"
            return answer(201, json.dumps({"ticket": self.tickets[request.buyer], "expires_at": "x"}).encode())
        if request.path == "/v1/sales/77/purchases" and request.method == "POST":
            return self.sell(request, body)
        if words[2] == "orders" and words[4:] == ["payments"] and body == {"provider": "simulated", "method": "test_approve"} and request.key:
            return answer(202, b'{"id": "payment", "state": "created"}')
        if words[2] == "orders" and request.method == "GET":
            self.looks[words[3]] += 1
            self.paid |= {words[3]} if self.looks[words[3]] >= 2 else set()
            return answer(200, json.dumps({"id": words[3], "status": "paid" if words[3] in self.paid else "pending_payment"}).encode())
        return problem(404, "not_found")

    def sell(self, request, body):
        if body != {"ticket": self.tickets.get(request.buyer), "quantity": 1}:
            return problem(403, "invalid_ticket")
        if (request.buyer, request.key) not in self.orders:
            if self.left == 0:
                return problem(410, "sold_out")
            if request.buyer in self.by_account:
                return problem(409, "limit_reached")
            self.left -= 1
            self.by_account[request.buyer] = self.orders[request.buyer, request.key] = f"order-{len(self.orders) + 1}"
        return answer(201, json.dumps({"id": self.orders[request.buyer, request.key]}).encode())

    def count(self, what):
        return sum(r.path.endswith(what) for r in self.server.requests)


def play(mode, *words, sale=None):
    sale = sale or Sale()
    said = crowd(sale.server, "--mode", mode, "--sale", 77, "--buyers", BUYERS, "--connections", 16, "--journal", JOURNAL, "--poll", 20, *words)
    sale.server.stop()
    return said, sale


TICKETS = os.path.join(work.name, "tickets")
said, sale = play("ticket", "--once", "--write-tickets", TICKETS)
ok((said["status"], said["requests"], said["tickets"], len(sale.tickets)) == ({"201": 40}, 40, 40, 40), "--once: each buyer comes once", said)
with open(TICKETS, encoding="utf-8") as lines:
    equal(sorted(lines), sorted(f"{n} ticket.token-{n}\n" for n in range(1, 41)), "tickets are written down")
said, sale = play("purchase", "--once")
ok((said["status"], said["codes"], said["sold"], said["requests"]) == ({"201": 25, "410": 15}, {"sold_out": 15}, 25, 40) and sale.left == 0, "a purchase comes after its ticket", said)
ok((said["kinds"]["ticket"]["status"], said["kinds"]["purchase"]["requests"], sale.count("tickets")) == ({"201": 40}, 40, 40), "which is counted by itself", said["kinds"])
equal(sorted((line[1], line[2], line[5]) for line in journal_of(JOURNAL) if line[3] == "201"), sorted((buyer[6:], key, order) for (buyer, key), order in sale.orders.items()), "the journal has the orders")
ok(sale.server.overlaps == 0 and sale.server.most_open <= 16, "no buyer asks for two things at once", sale.server.overlaps)
sale = Sale()
sale.tickets = {f"token-{n}": f"ticket.token-{n}" for n in range(1, 41)}
said, sale = play("purchase", "--tickets", TICKETS, "--requests", 80, sale=sale)
ok((said["status"], said["codes"], sale.count("tickets")) == ({"201": 25, "410": 55}, {"sold_out": 55}, 0), "with tickets drawn before only purchases are asked for", said)
sale = Sale(0)
sale.tickets = {f"token-{n}": f"ticket.token-{n}" for n in range(1, 41)}
said, sale = play("sold_out", "--tickets", TICKETS, "--requests", 100, sale=sale)
ok((said["status"], said["codes"], said["sold"]) == ({"410": 100}, {"sold_out": 100}, 0), "sold out", said)
said, sale = play("whole", "--once")
ok((said["paid"], said["unpaid"], said["abandoned"], len(sale.paid), said["sold"]) == (25, 0, 0, 25, 25), "the whole way: everybody who bought has paid", said)
ok((said["kinds"]["payment"]["status"], said["kinds"]["order"]["status"]) == ({"202": 25}, {"200": 50}), "and has asked until it was so", said["kinds"])
said, sale = play("whole", "--once", "--abandon", 0.5, "--seed", 7)
ok(said["paid"] == len(sale.paid) and said["paid"] + said["abandoned"] == 25 and 4 <= said["abandoned"] <= 21, "some never pay", said)
sale = Sale()
sale.looks = collections.defaultdict(lambda: -1000)
said, sale = play("whole", "--once", "--pay-timeout", 0.2, sale=sale)
ok((said["paid"], said["unpaid"]) == (0, 25), "a payment that comes to nothing is given up", said)
said, sale = play("purchase", "--once", "--twice", 1)
ok((said["same"], said["different"], said["sold"], sale.count("purchases")) == (25, 0, 25, 65), "--twice: the same answer again", said)
ok((said["kinds"]["again"]["status"], len(journal_of(JOURNAL))) == ({"201": 25}, 40), "which is no purchase more", said["kinds"])
sale = Sale()
honest = sale.sell
sale.sell = lambda request, body: honest(request, body).replace(b"order-", b"order-%d" % len(sale.server.requests))
said, sale = play("purchase", "--once", "--twice", 1, sale=sale)
ok(said["different"] == 25 and said["same"] == 0, "and another answer is noticed", said)
said, sale = play("purchase", "--once", "--leave", 1)
ok((said["left"], said["sold"], len(sale.orders), sale.left, said["connection_errors"]) == (40, 25, 25, 0, 0), "--leave: who hangs up asks again with his key", said)
said, sale = play("purchase", "--seconds", 3, "--progress", "--interval", 200)
ok(3 <= len(said) <= 17 and [line["requests"] for line in said] == sorted(line["requests"] for line in said) and said[-1]["status"]["201"] == 25 and all(said[-2][name] == said[-1][name] for name in ("requests", "status", "codes", "sold")), "--progress tells in between", *said)

# Where connections come from.
said, server = post(lambda request, send, _: send(answer(200)) or True, "--from", "127.9.8.0/29", requests=100, connections=10)
equal(server.peers, {f"127.9.8.{n}" for n in range(1, 7)}, "connections come from the addresses they are told to")

# The command line.
for words in ([], ["--mode", "what"], ["--requests", "0"], ["--url", "ftp://x"], ["--mode", "purchase"], ["--rate", "x"], ["--nothing"], ["word"]):
    done = subprocess.run([PROGRAM, "--url", "http://127.0.0.1:1", "--path", "/", *words], capture_output=True, text=True, check=False)
    ok(done.returncode == 2 and done.stderr, f"what cannot be is refused: {' '.join(words)}", done)
print(f"1..{tests}", flush=True)
sys.exit(failures > 0)
