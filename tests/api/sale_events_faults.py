#!/usr/bin/env python3
# with-stack: --expect-crash
# with-api: --only-edge --conf 'live_heartbeat = 1s' --conf 'request_timeout = 3s' --conf 'drain_timeout = 25s'
"""A stream outlives PostgreSQL and Redis: while they are away its watcher hears that it is alive, and afterwards what has
changed. When the application is told to end, or another takes its place, streams end at once, and whoever comes back
with the last id goes on where he was. TAP.
"""
import os
import signal
import subprocess
import time

os.environ.setdefault("HF_API", os.environ["HF_EDGE"])  # which is what chaos_load needs
import chaos_load  # noqa: E402
from api import Client, Tap, key, product, register, reload, why_no_problem, within  # noqa: E402
from chaos_load import Frozen, pg_ctl, processes  # noqa: E402
from events import Stream, listen  # noqa: E402

EDGE, SOCKET = os.environ["HF_EDGE"], os.environ["HF_API_SOCKET"]
SOON, RECOVERY = 20, 60  # seconds; a moment and 5 s are meant
AT_ONCE = 15             # seconds, which is less than drain_timeout
t = Tap()
nobody = Client(EDGE)
mark, olga = register("mark", ["merchant"], base=EDGE), register("olga", base=EDGE)
sku = product(mark, 1000, 1000)["skus"][0]["id"]
sale = mark.post("/v1/sales", {"sku_id": sku, "price": 500, "quantity": 100, "per_account_limit": 100,
                               "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}).json()["id"]
sale = f"/v1/sales/{sale}"
mark.post(sale + "/preheat")
path = sale + "/events"
left = 100


def buy():
    """Whether a unit was bought: whoever is told to come again does so with his key. Meanwhile the streams are read."""
    global left
    keys = key()

    def bought():
        listen(streams, 0.02)
        ticket = olga.post(sale + "/tickets")
        return ticket.status == 201 and olga.post(sale + "/purchases", {"ticket": ticket.json()["ticket"], "quantity": 1}, headers=keys).status == 201

    good = within(60, bought)
    left -= good
    return good


def is_left(stream):
    return stream.last and stream.last.left == left


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def hears(seconds, begun):
    """Listens for so long, and until something has come on each stream, twice."""
    listen(streams, seconds)
    for stream, before in zip(streams, begun):
        stream.until(SOON, lambda s: s.comments > before + 1)


def goes_on(name, begun=None):
    """After a fault of what is behind, the streams are there, and are told of what happens then."""
    t.ok(not any(s.ended for s in streams), f"{name}: no stream has ended")
    if begun is not None:
        t.ok(all(s.comments > before + 1 for s, before in zip(streams, begun)), f"{name}: something came meanwhile", begun, *[s.comments for s in streams])
    t.ok(buy(), f"{name}: people buy again")
    t.ok(listen(streams, RECOVERY, is_left), f"{name}: and watchers hear of it", left, *[s.last for s in streams])
    buy()
    t.ok(listen(streams, SOON, is_left), f"{name}: as soon as ever", left, *[s.last for s in streams])


streams = [Stream(SOCKET, path) for _ in range(6)] + [Stream(EDGE, path) for _ in range(2)]
t.ok(listen(streams, SOON, is_left), "some watch a sale, on both workers")
goes_on("at peace")

before = [s.comments for s in streams]
pg_ctl("stop", "-m", "fast")
hears(3.5, before)
answer = nobody.get(path)
t.ok(why_no_problem(answer, "unavailable", 503) is None and "retry-after" in answer.headers, "without PostgreSQL nobody can begin to watch, and is told so", answer)
pg_ctl("start")
goes_on("PostgreSQL was away", before)

before = [s.comments for s in streams]
with Frozen(processes("postgres")):
    hears(3.5, before)
goes_on("PostgreSQL was frozen", before)

before = [s.comments for s in streams]
chaos_load.kill_redis()
hears(2.5, before)
t.ok(buy() and listen(streams, SOON, is_left), "without Redis watchers are told, too", left, *[s.last for s in streams])
chaos_load.start_redis()
goes_on("Redis was away", before)

with Frozen(processes("redis-server")):
    listen(streams, 2.5)
goes_on("Redis was frozen")

# Another application takes the place of this one.
old, ids = int(open(os.environ["HF_API_PID"]).read()), [s.last.id for s in streams]
reload(live_heartbeat="1100ms")
t.ok(listen(streams, AT_ONCE, lambda s: s.ended), "a reload ends streams", *[s.ended for s in streams])
t.ok(within(60, lambda: not alive(old)), "and the old application is gone")
streams = [Stream(SOCKET, path, last_id=ids[0]) for _ in range(4)] + [Stream(EDGE, path, last_id=ids[0])]
listen(streams, SOON, lambda s: s.retries)
listen(streams, 0.5)
t.ok(all(s.status == 200 and s.retries and not s.events for s in streams), "who comes back to the new one has missed nothing", *[s.raw for s in streams])
buy()
t.ok(listen(streams, SOON, is_left), "and hears what comes", *[s.last for s in streams])

# The end.
old = int(open(os.environ["HF_API_PID"]).read())
os.kill(old, signal.SIGTERM)
begun = time.monotonic()
t.ok(listen(streams, AT_ONCE, lambda s: s.ended), "told to end, the application ends all streams at once", *[s.ended for s in streams])
print(f"# {(time.monotonic() - begun) * 1000:.0f} ms", flush=True)
t.ok(within(60, lambda: not alive(old)), "and itself")
with open(os.environ["HF_API_LOG"], "a") as log:
    subprocess.Popen([*os.environ["HF_RUNAS"].split(), os.environ["HF_API_DIR"] + "/serve", os.environ["HF_API_CONF"]],
                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
t.ok(within(60, lambda: nobody.get("/health").status == 200), "another is started")
stream = None


def comes_back():
    global stream
    stream = Stream(EDGE, path, last_id=ids[0])
    return stream.status == 200


t.ok(within(60, comes_back), "takes whoever comes back")
t.ok(stream.until(SOON, is_left), "and tells whoever comes back what he has missed", stream.raw)
