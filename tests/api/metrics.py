#!/usr/bin/env python3
# with-api: --workers 2 --expect-crash --conf 'access_log = on'
"""GET /metrics: what Prometheus gets, counts rise by exactly what was requested, over all workers and the
death of one; and the log has a line for each request. Runs within tools/with-api. TAP.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import time
import uuid

from api import Client, Tap, key, product, psql, register, workers

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
REQUESTS, DURATIONS = "holdfast_http_requests_total", "holdfast_http_request_duration_seconds"
PRODUCT = ("GET", "/v1/products/{id}")
LANES = ("read", "write", "slow", "purchase", "live")

# What the application counts itself, by type. What the shop does is in shop.metric_families().
OWN = {
    "counter": """cache_off_reads cache_reads database_batches database_reconnects database_refused database_statements
        database_statements_lost http_clients_left http_framing_refused http_requests http_requests_timed_out live_events
        live_watchers_dropped log_lines_lost password_hashes password_hashes_refused purchase_batches purchase_lines
        purchase_splits purchases_refused purchases_refused_from_memory rate_limit_local_checks rate_limited redis_commands
        redis_commands_lost redis_reconnects sale_live_reads ticket_local_checks tickets tickets_refused""",
    "gauge": """cache_near_bytes cache_near_entries database_connections database_statements_waiting http_connections
        http_requests_open live_watchers password_hashes_waiting purchases_waiting sales_known workers workers_with_cache
        workers_with_redis""",
    "histogram": "http_request_duration_seconds",
}
t = Tap()


class Figures:
    """The figures at a moment: types by family, values by name and labels, and the text."""

    def __init__(self, client=None):
        answer = (client or Client()).get("/metrics")
        assert answer.status == 200, answer
        self.content_type, self.text = answer.headers.get("content-type"), answer.body.decode()
        self.types, self.helps, self.values = {}, [], {}
        for line in self.text.splitlines():
            comment = re.fullmatch(r"# (HELP|TYPE) (\w+) (.*)", line)
            if comment and comment[1] == "TYPE":
                self.types[comment[2]] = comment[3]
            elif comment:
                self.helps.append(comment[2])
            else:
                name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
                at = (name, tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))))
                assert at not in self.values, f"{line}: twice"
                self.values[at] = float(value)

    def sum(self, name, **labels):
        """The sum of the samples of this name that have these labels, 0 if there are none."""
        return sum(value for (n, l), value in self.values.items() if n == name and set(labels.items()) <= set(l))

    def requests(self, method, route, status):
        return self.sum(REQUESTS, method=method, route=route, status=str(status))


def settled(condition):
    """The figures as soon as a condition holds, or after a while: an answer is out before it is counted."""
    end = time.monotonic() + 30
    while not condition(figures := Figures()) and time.monotonic() < end:
        time.sleep(0.05)
    return figures


def log_lines():
    """The whole lines of JSON in the log; Kore's own are none."""
    return [json.loads(line) for line in open(os.environ["HF_API_LOG"], errors="strict") if line.startswith("{") and line.endswith("\n")]


def logged(n):
    """Waits for the lines of n requests of those that are counted here. Each worker writes his when he has time, and there are others between them."""
    routes, end = (PRODUCT[1], "/v1/me", "/v1/orders", None), time.monotonic() + 60
    while sum(line["event"] == "request" and line.get("route") in routes for line in log_lines()) < n and time.monotonic() < end:
        time.sleep(0.1)


# What there is.
seller = register("seller", ["merchant"])
thing = product(seller)
figures = settled(lambda f: f.sum("holdfast_workers") == 2 and all(f.sum("process_resident_memory_bytes", worker=w) > 0 for w in "12")
                  and all(f.sum("holdfast_database_connections", lane=lane) > 0 for lane in LANES))
t.equal(figures.content_type, "text/plain; version=0.0.4; charset=utf-8", "the text says what it is")
if shutil.which("promtool") is None:
    t.ok(True, "promtool # SKIP there is none: tools/install-packages metrics")
else:
    said = subprocess.run(["promtool", "check", "metrics"], input=figures.text, text=True, capture_output=True)
    t.ok(said.returncode == 0 and not said.stdout + said.stderr, "promtool has nothing to say about it", said.stdout + said.stderr)
for kind, names in OWN.items():
    for name in names.split():
        name = f"holdfast_{name}" + ("_total" if kind == "counter" else "")
        t.equal(figures.types.get(name), kind, f"{name} is a {kind}")
shop = dict(line.split("|") for line in psql("SELECT 'holdfast_' || name, type FROM shop.metric_families()").splitlines())
t.equal({n: figures.types.get(n) for n in shop}, shop, "all families of the shop are there")
t.equal(sorted(figures.helps), sorted(figures.types), "each family is explained, once")
known = set(shop) | {f"holdfast_{n}{'_total' if k == 'counter' else ''}" for k, names in OWN.items() for n in names.split()}
t.equal({n for n in figures.types if not n.startswith("process_")} - known, set(), "and there is none that this test does not know")
used = {re.sub(r"_(bucket|sum|count)$", "", n) for n in re.findall(r"\bholdfast_\w+", open(f"{ROOT}/conf/alerts.yml").read())}
t.equal(used - known, set(), "no alert speaks of a family that is not there")
t.equal(figures.sum("holdfast_workers"), 2, "both workers are there")
for name in ("process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"):
    t.ok(all(figures.sum(name, worker=w) > 0 for w in "12"), f"with {name} of each", figures.text)
t.ok(all(figures.sum("holdfast_database_connections", lane=lane) > 0 for lane in LANES), "connections to the database are up")
t.equal(figures.sum("holdfast_invalidation_state"), 1, "invalidation is in one state")

manual = open(f"{ROOT}/docs/operations.md", encoding="utf-8").read()
t.equal({n for n in figures.types if re.match("holdfast_(purchase|ticket|live|sale)", n) and f"`{n}" not in manual}, set(), "of each that is about sales the manual says what it means")


def others(f):
    """Requests but for scrapes."""
    return f.sum(REQUESTS) - f.sum(REQUESTS, route="/metrics")


# Counts rise by what was requested, over many connections and so both workers.
# Those that have made the seller and his product were six.
before, begun = settled(lambda f: f.sum(REQUESTS, method="POST") >= 6), time.monotonic()
lines = len(log_lines())
clients, visitors = [Client(token=seller.token) for _ in range(20)], [Client() for _ in range(20)]
for client, visitor in zip(clients, visitors):
    assert visitor.get(f"/v1/products/{thing['id']}").status == 200
    assert client.get("/v1/products/1").status == 404
    assert client.get(f"/nowhere/{thing['id']}").status == 404
    assert client.get("/v1/me").status == 200
    assert client.post("/v1/orders", {}).status in (400, 422)
passed = time.monotonic() - begun
wanted = {PRODUCT + (200,): 20, PRODUCT + (404,): 20, ("none", "none", 404): 20, ("GET", "/v1/me", 200): 20}
after = settled(lambda f: all(f.requests(*at) - before.requests(*at) >= n for at, n in wanted.items()) and others(f) - others(before) >= 100
                and f.sum(DURATIONS + "_count") == f.sum(REQUESTS))
t.equal({at: after.requests(*at) - before.requests(*at) for at in wanted}, wanted, "requests are counted by route and status, each once")
t.equal(sum(after.sum(REQUESTS, method="POST", route="/v1/orders", status=s) - before.sum(REQUESTS, method="POST", route="/v1/orders", status=s)
            for s in ("400", "422")), 20, "whatever becomes of them")
scrapes = after.requests("GET", "/metrics", 200)
t.ok(scrapes > before.requests("GET", "/metrics", 200), "that of the metrics as well")
t.equal(others(after) - others(before), 100, "and nothing else has changed")
routes = {(dict(l)["method"], dict(l)["route"]) for n, l in after.values if n == REQUESTS}
t.equal({r: after.sum(DURATIONS + "_count", method=r[0], route=r[1]) for r in routes},
        {r: after.sum(REQUESTS, method=r[0], route=r[1]) for r in routes}, "each request has taken its time")
buckets = {r: [v for (n, l), v in after.values.items() if n == DURATIONS + "_bucket" and set(zip(("method", "route"), r)) <= set(l)] for r in routes}
t.ok(all(b == sorted(b) and b[-1] == after.sum(DURATIONS + "_count", method=r[0], route=r[1]) for r, b in buckets.items()),
     "which belongs to its bucket and all above", buckets)
spent = after.sum(DURATIONS + "_sum", route=PRODUCT[1]) - before.sum(DURATIONS + "_sum", route=PRODUCT[1])
t.ok(0 < spent < passed, "in seconds", spent, passed)
reads = {layer: after.sum("holdfast_cache_reads_total", layer=layer) - before.sum("holdfast_cache_reads_total", layer=layer) for layer in ("near", "redis", "database")}
t.ok(sum(reads.values()) >= 20 and reads["database"] >= 1 and reads["near"] >= 1, "reads are counted by the layer that answered", reads)
t.ok(thing["id"] not in after.text and "nowhere" not in after.text and seller.id not in after.text, "no path and no account is a label")

# A worker that dies takes nothing along, once it has written its lines.
logged(100)
started = {w: after.sum("process_start_time_seconds", worker=w) for w in "12"}
old = workers()
os.kill(old[0], signal.SIGKILL)
for client in clients + visitors:
    client.close()
end = time.monotonic() + 60
while (len(set(workers()) - set(old)) == 0 or sum(Figures().sum("process_start_time_seconds", worker=w) != s for w, s in started.items()) == 0) and time.monotonic() < end:
    time.sleep(0.1)
reborn = Figures()
t.equal(sum(reborn.sum("process_start_time_seconds", worker=w) != s for w, s in started.items()), 1, "a worker that was killed is started again")
t.ok(all(reborn.values.get(at, -1) >= value for at, value in after.values.items()
         if at[0].startswith("holdfast_http_request") and not at[0].endswith("_open")), "and goes on with its counters",
     [at for at, value in after.values.items() if at[0].startswith("holdfast_http_request") and reborn.values.get(at, -1) < value])

# The log.
marked = Client(token=seller.token)
name = uuid.uuid4().hex
assert marked.get(f"/v1/products/{thing['id']}?x={name}").status == 200
logged(101)
time.sleep(0.5)  # a line too many would be there as well
written = [line for line in log_lines()[lines:] if line["event"] == "request"]
t.equal(sum(line.get("route") == PRODUCT[1] and line["method"] == "GET" for line in written), 41, "each request is a line of the log")
t.ok(all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"]) and line["duration_ms"] >= 0 and line["id"] for line in written), "with time, duration and id")
t.equal(len({line["id"] for line in written}), len(written), "each with an id of its own")
t.ok(all(line["account"] == seller.id for line in written if line.get("route") == "/v1/me"), "and whose it was")
log = open(os.environ["HF_API_LOG"], errors="replace").read()
t.ok(seller.token not in log and seller.refresh not in log and name not in log and "correct horse" not in log, "no token, no query, no password is in it")

# A sale.
buyer = register("buyer")
body = {"sku_id": thing["skus"][0]["id"], "price": 500, "quantity": 1, "per_account_limit": 1, "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}
sale = f"/v1/sales/{seller.post('/v1/sales', body).json()['id']}"
seller.post(sale + "/preheat")
before = Figures()
tickets = [who.post(sale + "/tickets") for who in (buyer, buyer, seller)]
bought = [buyer.post(sale + "/purchases", {"ticket": tickets[0].json()["ticket"], "quantity": 1}, headers=key()).status for _ in range(2)]
names = ("tickets_total", "tickets_refused_total", "purchase_batches_total", "purchase_lines_total", "purchase_splits_total", "purchases_refused_total", "purchases_waiting")
wanted = [2, 0, 2, 2, 0, 0, 0]
after = settled(lambda f: [f.sum("holdfast_" + n) - before.sum("holdfast_" + n) for n in names] == wanted)
t.equal((bought[0], [after.sum("holdfast_" + n) - before.sum("holdfast_" + n) for n in names]), (201, wanted), "tickets that are given, and purchases, are counted once each")
t.ok(after.sum("holdfast_sales_known") >= 1 and after.sum("holdfast_sale_live_reads_total") > 0, "and so is what is known of the sale")
