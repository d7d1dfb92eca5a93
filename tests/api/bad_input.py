#!/usr/bin/env python3
"""Bad input loses nothing: on every route bodies, ids, queries and headers are spoiled in every way that somebody could
think of. What the contract does not allow is refused with 4xx and a code; nothing is a fault of ours, no connection hangs,
no row changes, and the same processes go on. Runs within tools/with-api. TAP.

What is spoiled at random follows from the seed, HF_SEED, which is printed.
"""
import base64
import copy
import json
import os
import queue
import random
import re
import socket
import threading
import time
import urllib.parse

from api import Answer, Tap, key, note, why_no_problem
from contract import Contract
from world import CALLS, World, changed, digest, routes, settle, with_ticket

THREADS, PATIENCE = 4, 60
MOST, RANDOM = 80, 12  # spoiled bodies of a route, and how many of them at random
SEED = int(os.environ.get("HF_SEED", "20260729"))
print(f"# HF_SEED={SEED}")
chance = random.Random(SEED)
t = Tap()
contract = Contract()
HOST = urllib.parse.urlsplit(os.environ["HF_API"])
BIG = 2 ** 63

# Values that a field may have instead of the right one.
WRONG = [None, True, False, 0, -1, 1.5, 1e30, BIG, -BIG - 1, 1e308, -1e308, 10 ** 300, "", " ", "x", "0", "-1", "7", str(BIG), "NaN", "null", "Infinity", "\x07", "\x7f", "a\nb", "\u202e",
         "\ufeff", "\ud83d\ude00" * 3, "';DROP TABLE shop.account;--", "%s%n%00", "\\", "../../etc/passwd", "2026-02-30T25:00:00Z", "00000000-0000-0000-0000-000000000000", "x" * 5000, "é" * 20001,
         [], {}, [None], [[]], [{}], ["x"], [1], {"x": 1}, {"": None}, [0] * 2000]
# Bodies that are none, for whatever route.
NO_JSON = [b"{", b"}", b"[", b"nul", b"tru", b"{]", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{,}", b"{'a':1}", b"{a:1}", b'{"a":1}{"b":2}', b'{"a":1} x', b"\xef\xbb\xbf{}", b"\xff\xfe{}", b'{"a":"\xff"}',
           b'{"a":"\xc0\xaf"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\\u0000"}', b'{"\\u0000":1}', b'{"a":"\\ud800"}', b'{"a":"\x01"}', b'{"a":"\\x41"}', b"\x00", b"{}\x00", b'{"a":01}', b'{"a":+1}', b'{"a":.5}',
           b'{"a":1.}', b'{"a":0x1}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}', b"// {}", b'{"a":1/**/}', b'{"a":1,"a":2}', b'{"a":{"b":1,"b":2}}', b"[" * 50000, b'{"a":' * 10000, b'{"a":[' + b"[" * 40 + b"]" * 40 + b"]}",
           b'{"a":[' + b"0," * 100000 + b"0]}", b"[]", b"[{}]", b"null", b"true", b"7", b'"{}"', b" ", b"a=b", b"<a/>"]
NUMBERS = ["0", "-1", "00", "01", "+1", " 1", "1 ", "1.0", "1e3", "0x1", str(BIG), str(BIG - 1), "9" * 19, "9" * 20, "9" * 3000, "abc", "1;2", "1,2", "'1'", "null", "None", "*", "-", "é", "١٢", "%31", "%00", "1%00", "%2F", "%2e%2e",
           "..%2f", "%", "%f", "%zz", "%ff", "%c0%af", "%E4%B8", "1%0a", "1%20", "{id}", "$1", "00000000-0000-0000-0000-000000000000", "~", "1:1", "@", "\\", "\x7f", "\t", "\x01", "<", '"']
UUIDS = NUMBERS + ["00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000", "00000000000000000000000000000000", "{00000000-0000-0000-0000-000000000000}", "0000000g-0000-0000-0000-000000000000",
                   "00000000_0000_0000_0000_000000000000", "urn:uuid:00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-00000000000%30"]
WORDS = ["x", "simulated2", "external", "Simulated", "simulated%00", "%ff", "%", "..%2f", "x" * 2000, "'", "\x01"]
KEYS = [None, "", "1234567", "x" * 256, "x" * 3000, "1234\t5678", "12345678\x01", "12345678\x7f", "12345678é", "日本語日本語日本", '"1234', '""']
MATCHES = [None, "", "x", '"', '""', '"x"', '"0"', '"-1"', '"999999"', f'"{BIG}"', 'W/"x"', "W/", "1", ",", '"1', "''", '"1" "2"', "**", '"\xe9"', '"' + "a" * 3000 + '"', '"a",' * 500, "\x01"]
TYPES = [None, "", "x", "/", "json", "text/plain", "text/json", "application", "application/", "application/jsonx", "application/json2", "application/xml", "multipart/form-data; boundary=x", "application/json; charset=latin1",
         "application/json; charset=", "application/json;charset=utf-16", "application/json, text/plain", "*/*", "application/\x01json", "é", "x" * 3000]
TOKENS = ["", "Bearer", "Bearer ", "Bearer x", "bearer a.b.c", "Basic YTpi", "x", "Bearer " + "x" * 3000, "Bearer é", "Bearer a b", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer \x01"]
# Parameters of queries that no list has, or has not like this.
QUERIES = ["limit=0", "limit=-1", "limit=1000", "limit=x", "limit=", "limit=1.5", "limit=1e1", f"limit={BIG}", "limit=" + "9" * 400, "limit=%31%00", "limit=10&limit=10", "limit=%", "limit=%ff", "limit=%C0%AF", "cursor=x", "cursor=%00",
           "cursor=" + "x" * 2500, "cursor=WzFd", "cursor=" + base64.urlsafe_b64encode(b'["orders","x"]').decode().rstrip("="), "cursor=" + base64.urlsafe_b64encode(b'["products:-published_at","2026","x"]').decode().rstrip("="),
           "cursor=bnVsbA", "cursor=W10", "cursor=e30", "unknown=1", "=1", "LIMIT=1", "limit[]=1", "%00=1", "%ff=1", "&".join(f"p{n}=1" for n in range(100)), "limit=1;cursor=x", "limit+=1", "li%00mit=1"]
FIELDS = {"id": ["x", "0", "-1", "1.5", str(BIG), "", "%00", "1'"], "price": ["x", "-1", "1.5", str(BIG), "1" + "0" * 13, ""], "word": ["x", "", "OPEN", "%00", "x" * 3000],
          "json": ["x", "[]", "1", "null", "{", '{"a":', '{"a":"\\u0000"}', "{" * 3000, '{"a":1,"a":2', ""], "flag": ["x", "1", "TRUE", "", "yes"]}
KINDS = {"category": "id", "merchant": "id", "min_price": "price", "max_price": "price", "attributes": "json", "in_stock": "flag", "facets": "flag", "sort": "word", "state": "word", "status": "word"}


class Line:
    """A connection that is kept, and that sends whatever it is told to, be it HTTP or not."""

    def __init__(self):
        self.socket, self.rest = None, b""

    def ask(self, head, body):
        for attempt in (1, 2):
            fresh = self.socket is None
            if fresh:
                self.socket, self.rest = socket.create_connection((HOST.hostname, HOST.port), PATIENCE), b""
            try:
                self.socket.sendall(head + body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was answered before all was sent
            try:
                answer = self.read()
            except ConnectionResetError:
                answer = None
            if answer is not None or fresh:
                return answer
            self.close()
        return None

    def read(self):
        while b"\r\n\r\n" not in self.rest:
            chunk = self.socket.recv(65536)
            if not chunk:
                return None
            self.rest += chunk
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        answer = Answer(int(first.split()[1]), [line.split(": ", 1) for line in lines], b"")
        length = int(answer.headers.get("content-length", 0))
        while len(self.rest) < length:
            chunk = self.socket.recv(65536)
            if not chunk:
                return None
            self.rest += chunk
        answer.body, self.rest = self.rest[:length], self.rest[length:]
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None


def places(value, path=()):
    """Where something stands in a document, itself included."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from places(part, (*path, name))


def put(document, path, value):
    """The document with another value there; without any if that is DELETE."""
    if not path:
        return value
    document = copy.deepcopy(document)
    at = document
    for name in path[:-1]:
        at = at[name]
    if value is DELETE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return document


DELETE = object()


def junk(depth=0):
    """Something of JSON, at random."""
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return chance.choice(WRONG)
    if kind == 3:
        return chance.choice([-1, 1]) * chance.randrange(2 ** chance.randrange(1, 200))
    if kind == 4:
        return "".join(chr(chance.choice([chance.randrange(1, 128), chance.randrange(0xa0, 0xd800), chance.randrange(0x10000, 0x10ffff)])) for _ in range(chance.randrange(40)))
    if kind == 5:
        return chance.uniform(-1, 1) * 10 ** chance.randrange(-300, 300)
    if kind == 6:
        return [junk(depth + 1) for _ in range(chance.randrange(5))]
    return {chance.choice(["items", "sku_id", "price", "x", "", "a/b~c", "__proto__"]): junk(depth + 1) for _ in range(chance.randrange(5))}


def without_nulls(value):
    """The same to the shop: an optional field that is null is not there."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def spoiled(good):
    """Documents that are the good one but for something."""
    all_places = list(places(good))
    for path in all_places:
        for value in WRONG:
            yield put(good, path, value)
        if path:
            yield put(good, path, DELETE)
        at = good
        for name in path:
            at = at[name]
        if isinstance(at, dict):
            for more in ({"unknown": 1}, {"": 1}, {"a/b~c": None}, {"__proto__": {}}, {"k" * 3000: 1}):
                yield put(good, path, {**at, **more})
        if isinstance(at, list) and at:
            yield put(good, path, at * 2000)


def bad_bodies(route, good):
    """Those that the contract does not allow: so many of all, and some at random."""
    operation = contract.find_operation(*route)
    schema = contract.resolve(operation["requestBody"])["content"]["application/json"]["schema"]
    at_random = (put(good, chance.choice(list(places(good))), junk()) for _ in range(RANDOM))
    every = [body for body in spoiled(good) if any(contract.errors(schema, without_nulls(body)))]
    yield from chance.sample(every, min(MOST, len(every)))
    yield from (body for body in at_random if any(contract.errors(schema, without_nulls(body))))


def dump(value):
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace")


class Spoiler:
    """What is asked of one route."""

    def __init__(self, route, demands, good, token):
        self.route, self.demands, self.good, self.token = route, demands, good, token
        self.sent = []  # claim, head, body

    def add(self, claim, path=None, headers=None, body=None):
        sent = {"Host": "shop", "Accept": "application/json"}
        if self.token:
            sent["Authorization"] = "Bearer " + self.token
        if self.good["body"] is not None:
            sent["Content-Type"] = "application/json"
        sent.update(self.good["headers"])
        if "Idempotency-Key" in sent:
            sent.update(key())
        sent.update(headers or {})
        if body is None:
            body = json.dumps(self.good["body"]).encode() if self.good["body"] is not None else self.good.get("raw", b"")
            if "form" in self.good:
                sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
                body = urllib.parse.urlencode(self.good["form"]).encode()
        if body or self.route[0] in ("POST", "PUT", "PATCH"):
            sent["Content-Length"] = str(len(body))
        lines = [f"{self.route[0]} {path or self.good['path']} HTTP/1.1"] + [f"{name}: {value}" for name, value in sent.items() if value is not None]
        self.sent.append((claim, "\r\n".join(lines + ["", ""]).encode("utf-8"), body))

    def everything(self):
        method, pattern = self.route
        wants_json = self.good["body"] is not None
        if wants_json or method in ("POST", "PATCH") and "raw" not in self.good and "form" not in self.good:
            for body in NO_JSON:
                self.add("no JSON", headers={"Content-Type": "application/json"}, body=body)
        if wants_json:
            for body in bad_bodies(self.route, self.good["body"]):
                self.add("a spoiled body", body=dump(body))
            for value in TYPES:
                self.add("a media type", headers={"Content-Type": value})
            self.add("a coding", headers={"Content-Encoding": "gzip"})
        elif "form" in self.good:
            self.forms()
        elif method in ("POST", "PATCH", "PUT") and "raw" not in self.good:
            for value in [{"unknown": 1}, {"": 1}, [], None, 7]:
                self.add("a body where there is none", headers={"Content-Type": "application/json"}, body=dump(value))
        elif "raw" in self.good and "webhook" not in pattern:
            for value in TYPES:
                self.add("a media type", headers={"Content-Type": value})
            for body in [b"", b"x", b"\x89PNG", b"GIF89a" + bytes(60), b"\xff\xd8\xff" + bytes(60), b"<svg/>", b"{}"]:
                self.add("no picture", body=body)
        self.ids(pattern)
        if "query" in self.demands:
            self.queries(pattern)
        if "key" in self.demands:
            for value in KEYS:
                if value is not None or "skus" not in pattern:
                    self.add("a key", headers={"Idempotency-Key": value})
        if "match" in self.demands:
            for value in MATCHES:
                # Whoever does not say what he has seen may do what is not a change of fields.
                if value is not None or method == "PATCH":
                    self.add("If-Match", headers={"If-Match": value})
        if "form" not in self.good:
            for value in TOKENS:
                self.add("a token", headers={"Authorization": value})
        return self.sent

    def ids(self, pattern):
        if "{" not in pattern:
            return
        values = {"{id}": UUIDS if re.search(r"/[0-9a-f]{8}-", self.good["path"]) else NUMBERS}.get(re.search(r"\{\w+\}", pattern)[0], WORDS)
        for value in values:
            self.add("a path", path=re.sub(r"\{\w+\}", lambda _: value, pattern))
        for path in (pattern + "/x", pattern + "//", "/" + pattern + "?%00", pattern.replace("{", "../{"), pattern + "%2F"):
            self.add("a path", path=re.sub(r"\{\w+\}", lambda _: "1", path))

    def queries(self, pattern):
        parameters = [contract.resolve(p)["name"] for p in contract.find_operation("GET", pattern)["parameters"]]
        for query in QUERIES + [f"{name}={urllib.parse.quote(value, safe='%')}" for name in parameters if name in KINDS for value in FIELDS[KINDS[name]]]:
            if name_of(query) in parameters and query.startswith("merchant=") and pattern == "/v1/orders" and query == "merchant=mine":
                continue
            if pattern == "/v1/search":
                query = "q=thing&" + query
            self.add("a query", path=f"{pattern}?{query}")
        for name in ("q=", "q=%00", "q=" + "x" * 3000, "q=%ff") if pattern == "/v1/search" else ():
            self.add("a query", path=f"{pattern}?{name}")

    def forms(self):
        names = list(self.good["form"])
        for name in names:
            for value in ("", "x", "%00", "%ff", "%", "x" * 3000):
                body = "&".join(f"{n}={value if n == name else urllib.parse.quote(v)}" for n, v in self.good["form"].items())
                # A token that is none is revoked already (RFC 7009).
                if "revoke" not in self.route[1] or value in ("%", "%00"):
                    self.add("a form", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=body.encode())
            self.add("a form", body=urllib.parse.urlencode({n: v for n, v in self.good["form"].items() if n != name}).encode(), headers={"Content-Type": "application/x-www-form-urlencoded"})
        for body in (b"", b"&", b"=", b"\x00", b"\xff", b"a=1&a=2", json.dumps(self.good["form"]).encode(), b"&".join(b"p%d=1" % n for n in range(100))):
            self.add("a form", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=body)
        for value in TYPES + ["application/json"]:
            self.add("a media type", headers={"Content-Type": value})


def name_of(query):
    return query.split("=")[0]


def complaint(claim, head, body, answer):
    """What is wrong with the answer to bad input, or None."""
    if answer is None:
        what = "no answer"
    elif answer.status // 100 != 4:
        what = f"{answer}"
    elif "error" in (answer.json() if answer.headers.get("content-type") == "application/json" else {}):
        return None
    else:
        what = why_no_problem(answer)
    if what is None:
        return None
    return f"{claim}: {what[:300]} after {head.split(b'Host')[0][:120]!r}{head[head.find(b'Content-Type'):][:80]!r} {body[:160]!r} ({len(body)} bytes)"


def ask_all(sent):
    """Asks it all, over a few connections; what is wrong with the answers."""
    todo, found = queue.SimpleQueue(), []
    for one in sent:
        todo.put(one)

    def work():
        line = Line()
        while True:
            try:
                claim, head, body = todo.get_nowait()
            except queue.Empty:
                return line.close()
            try:
                answer = line.ask(head, body)
            except TimeoutError:
                answer = None
                line.close()
            if answer is not None:
                method, path = head.decode().split(" ", 1)[0], head.decode().split(" ", 1)[1].split(" HTTP/")[0]
                with lock:
                    note(method, path, answer)
            found.append(complaint(claim, head, body, answer))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [what for what in found if what]


def workers():
    """The processes of the application."""
    with open(os.environ["HF_API_PID"], encoding="ascii") as file:
        parent = file.read().strip()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    found += [entry] if file.read().rsplit(") ", 1)[1].split()[1] == parent else []
            except OSError:
                pass
    return sorted([parent, *found])


def resource(route):
    """What a route is about."""
    return "/".join(route[1].split("/")[:3])


lock = threading.Lock()
w = World()
ROUTES = routes()
made = {route: CALLS[route](w) for route in sorted(ROUTES)}
settle()
processes, began, total, before = workers(), time.monotonic(), 0, digest("uploads")
t.ok(len(processes) > 2, f"the application is {len(processes)} processes")
by_path = sorted(made, key=lambda route: (route[1], route[0]))
last_of = {resource(route): route for route in by_path}
for route in by_path:
    good = made[route]
    who, function, demands = ROUTES[route]
    owner = {"ANYONE": None, "OPERATOR": None, "USER": w.olga, "MERCHANT": w.mark, "ADMIN": w.root}[who]
    if function == "merchant_create":
        owner = w.otto
    good = with_ticket(owner, good)
    sent = Spoiler(route, demands, good, owner and owner.token).everything()
    complaints = ask_all(sent)
    if function == "order_place_batch":
        # It says of each order what is wrong with it, and keeps that answer.
        complaints = [c for c in complaints if '"problem"' not in c or '"order"' in c]
    total += len(sent)
    t.ok(not complaints, f"{route[0]} {route[1]}: {len(sent)} times wrong, refused each time", *complaints[:8], f"{len(complaints)} complaints")
    if route == last_of[resource(route)]:
        before, was = digest("uploads"), before
        kept = ("_holdfast.idempotency_0", "_holdfast.idempotency_1") if "orders" in route[1] else ()
        t.equal([table for table in changed(was, before) if table not in kept], [], f"{resource(route)}: and nothing is changed")
print(f"# {total} calls in {time.monotonic() - began:.1f} s")
t.ok(total > 5000, f"that were {total} calls")
t.equal(workers(), processes, "and the same processes are there")
with open(os.environ["HF_API_LOG"], encoding="utf-8", errors="replace") as log:
    t.equal([line for line in log if "statement_failed" in line][:5], [], "no statement failed in a way that nobody foresaw")
