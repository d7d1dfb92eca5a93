#!/usr/bin/env python3
# with-api: --workers 1 --conf 'live_heartbeat = 1s' --conf 'live_watchers = 2000'
"""Whoever watches a sale is told at once how it is, and then of every change, but no more than a few times
a second; what he has had is not told again; who takes nothing holds up nobody and is dropped; two thousand at once all
hear the end; and one more is refused. Directly, on the Unix socket, and through nginx. TAP.
"""
import datetime
import os
import signal
import subprocess
import time

from api import Client, Tap, key, product, psql, register, why_no_problem, within
from events import Stream, ask, connect, listen

API, EDGE, SOCKET = (os.environ[name] for name in ("HF_API", "HF_EDGE", "HF_API_SOCKET"))
WATCHERS, HEARTBEAT = 2000, 1
SOON = 20          # seconds from a change to its event; a fraction of one is meant, and printed
A_SECOND = 5       # events, at most: four are meant
t = Tap()
nobody = Client()
mark = register("mark", ["merchant"])
buyers = [register(f"buyer{n}") for n in range(5)]
olga = buyers[0]
SKU = product(mark, 1000, 10 ** 6)["skus"][0]["id"]


def at(seconds):
    """A time so many seconds from now."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


def new_sale(units=10, limit=1000, **more):
    body = {"sku_id": SKU, "price": 500, "quantity": units, "per_account_limit": limit,
            "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z", **more}
    sale = mark.post("/v1/sales", body).json()["id"]
    mark.post(f"/v1/sales/{sale}/preheat")
    return f"/v1/sales/{sale}"


def buy(sale, who=olga):
    """An order that was bought in the API."""
    ticket = who.post(sale + "/tickets").json()["ticket"]
    return who.post(sale + "/purchases", {"ticket": ticket, "quantity": 1}, headers=key())


def sell(sale, units):
    """Sells in the database, a commit a purchase, hundreds a second. The process that does it, until SIGINT."""
    accounts = psql(f"INSERT INTO shop.account (name) SELECT 'Buyer' FROM generate_series(1, {units // 500}) RETURNING id").split()
    sql = f"""DO $$ DECLARE a bigint[] := ARRAY[{",".join(accounts)}]; BEGIN FOR i IN 1..{units} LOOP
        PERFORM shop.purchase(a[1 + i % {len(accounts)}], 'events-' || i, {sale.split("/")[-1]}, 1); COMMIT; PERFORM pg_sleep(0.001); END LOOP; END $$"""
    return subprocess.Popen(["psql", "-Xqc", sql], stderr=subprocess.DEVNULL)


def metric(name):
    lines = nobody.send("GET", "/metrics", None, {}).body.decode().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"holdfast_{name} ")))


def is_left(left, state="open"):
    return lambda stream: stream.last and (stream.last.left, stream.last.state) == (left, state)


# The first event.
sale = new_sale(100)
path = sale + "/events"
begun = time.monotonic()
streams = {"directly": Stream(API, path), "on the socket": Stream(SOCKET, path), "through nginx": Stream(EDGE, path)}
for way, stream in streams.items():
    t.ok(stream.until(SOON, lambda s: s.events), f"{way}: a watcher is told how the sale is", stream.raw)
first = streams["directly"]
shown = nobody.get(sale).json()
t.equal((first.status, first.headers.get("content-type"), first.headers.get("cache-control"), first.headers.get("connection")),
        (200, "text/event-stream", "no-store", "close"), "a stream is not to be stored, and ends with its connection")
t.ok("x-request-id" in first.headers and "content-length" not in first.headers, "it has an id and no length", first.headers)
event = first.last
t.equal((event.name, sorted(event.data)), ("sale", ["ends_in", "left", "starts_in", "state", "version"]), "the event is the sale as it is")
t.ok(all(event.data[name] == shown[name] for name in ("state", "left", "starts_in", "version"))
     and -2 <= event.data["ends_in"] - shown["ends_in"] <= 2 + time.monotonic() - begun, "in the words of GET of the sale", event, shown)
t.equal(streams["through nginx"].last.id, event.id, "with an id that is the same everywhere")
first.note()
more = [Stream(API, path) for _ in range(8)]
listen(more, SOON, lambda s: s.events and s.retries)
retries = [s.retries[0] for s in more]
t.ok(all(1000 <= retry <= 5000 for retry in retries) and len(set(retries)) > 4, "clients are told to come back, not all at once", retries)

# A change.
bought = buy(sale)
t.equal(bought.status, 201, "somebody buys")
done = time.monotonic()
for way, stream in streams.items():
    t.ok(stream.until(SOON, is_left(99)), f"{way}: its watchers are told", stream.events)
    print(f"# {way}: after {1000 * (stream.last.at - done):.0f} ms", flush=True)
t.ok(len({stream.last.id for stream in streams.values()}) == 1 and first.last.id != event.id, "it has another id")
olga.post(f"/v1/orders/{bought.json()['id']}/cancel")
t.ok(listen(list(streams.values()), SOON, is_left(100)), "a unit that comes back is told, too", *[s.last for s in streams.values()])
before = [(len(s.events), s.comments) for s in streams.values()]
for stream, (_, comments) in zip(streams.values(), before):
    t.ok(stream.until(SOON, lambda s: s.comments >= comments + 2), "as long as nothing happens there is a comment now and then, through nginx too", stream.comments)
t.equal([len(s.events) for s in streams.values()], [events for events, _ in before], "but no event")

# Who comes again.
has = first.last.id
again = Stream(API, path, last_id=has)
again.until(SOON, lambda s: s.retries)
again.listen(0.5)
t.ok(not again.events and again.retries, "who comes back with the last id is not told again", again.raw)
again.note()
buy(sale)
t.ok(again.until(SOON, is_left(99)), "but of what comes then", again.raw)
for wrong in (has, "1.open.3", "nonsense", "x" * 300):
    stream = Stream(API, path, last_id=wrong)
    t.ok(stream.until(SOON, lambda s: s.events) and stream.last.id == first.last.id.replace("100", "99"), f"with another id he is told: {wrong[:12]}", stream.raw)
    stream.close()

# What is no stream.
head = nobody.request("HEAD", path)
t.ok(head.status == 200 and head.headers.get("content-type") == "text/event-stream" and head.body == b"", "HEAD has the headers only", head.headers)
draft = mark.post("/v1/sales", {"sku_id": SKU, "price": 500, "quantity": 1, "per_account_limit": 1, "starts_at": at(60), "ends_at": at(120)}).json()["id"]
for what, name in (("no sale", "1234567890123"), ("a draft", draft), ("no id", "x"), ("a number that is too large", "9" * 25)):
    answer = nobody.get(f"/v1/sales/{name}/events")
    t.ok(why_no_problem(answer, "not_found", 404) is None, f"there is nothing to watch: {what}", answer)
answer = Client(token="x.y.z").get(path)
t.ok(why_no_problem(answer, "invalid_token", 401) is None, "a bad token is refused as everywhere", answer)

# What a client sends into a stream.
rude = Stream(API, path)
rude.until(SOON, lambda s: s.events)
rude.sock.sendall(ask("/v1/categories") * 3)
buy(sale)
t.ok(rude.until(SOON, is_left(98)) and "HTTP/1.1" not in rude.raw and len(rude.events) == 2, "what comes on a stream's connection is no request", rude.raw)
try:
    for _ in range(200):
        rude.sock.send(b"x" * 8192)
        time.sleep(0.002)
except OSError:
    pass
t.ok(rude.until(SOON, lambda s: s.ended) or rude.ended, "and too much of it ends the stream")
for stream in more + [again, rude]:
    stream.close()
t.ok(within(60, lambda: metric("live_watchers") == 3), "who has left is counted no more", metric("live_watchers"))
for stream in streams.values():
    stream.close()

# Many purchases, few events. One takes nothing for a while, and one nothing at all.
UNITS = 200000
sale = new_sale(UNITS)
path = sale + "/events"
fast = [Stream(API, path), Stream(SOCKET, path), Stream(EDGE, path)]
late, deaf = Stream(SOCKET, path), [Stream(SOCKET, path), Stream(API, path, room=2304)]
listen(fast, SOON, lambda s: s.events)
dropped = metric("live_watchers_dropped_total")
begun = time.monotonic()
seller = sell(sale, UNITS)
listen(fast, 60, lambda s: len([e for e in s.events if e.at > begun]) >= 5)  # for so many there is room
late.listen(0)
missed = fast[0].last.left
listen(fast + [late], 60, lambda s: s.last and s.last.left <= UNITS - 1000 and (s is late or len([e for e in s.events if e.at > begun]) >= 8))
for stream in fast:
    times = [e.at for e in stream.events if e.at > begun]
    # Of several that are read at once it is not known when they came.
    t.ok(8 <= len(times) <= A_SECOND * (times[-1] - begun) + 1, "however fast it sells, a watcher is told a few times a second", len(times), times[-1] - begun)
sold = UNITS - fast[0].last.left
print(f"# {sold} sold while {len(times)} events came", flush=True)
t.ok(sold > 5 * len(times), "though many more purchases were made", sold, len(times))
t.ok(late.until(SOON, lambda s: s.last and s.last.left <= missed), "who did not take events for a while has the newest in the end", late.last, missed)
t.ok(within(60, lambda: listen(fast + [late], 0.1) and metric("live_watchers_dropped_total") == dropped + 2), "who takes none at all is dropped", metric("live_watchers_dropped_total"))
seller.send_signal(signal.SIGINT)
seller.wait()
truth = mark.get(sale).json()["left"]
t.ok(listen(fast + [late], SOON, is_left(truth)), "all others have the truth in the end", truth, *[s.last for s in fast + [late]])
lefts = [e.left for e in fast[0].events]
t.equal(lefts, sorted(set(lefts), reverse=True), "no event is told twice, and none goes back")
listen(deaf, SOON, lambda s: s.ended)
t.ok(all(s.ended and 1 <= len(s.events) < len(fast[0].events) for s in deaf), "and has missed the rest", *[len(s.events) for s in deaf])
for stream in fast + deaf + [late]:
    stream.close()

# By the clock.
for ahead in (2.5, 10, 40):  # a slow machine is too late for the first
    sale = new_sale(5, starts_at=at(ahead), ends_at=at(ahead + 4))
    begun = time.monotonic()
    stream = Stream(EDGE, sale + "/events")
    if stream.until(SOON, lambda s: s.events) and stream.last.state == "scheduled" and stream.last.data["starts_in"] >= 1:
        break
    stream.close()
t.ok(stream.last.state == "scheduled" and 1 <= stream.last.data["starts_in"] <= ahead + 0.5, "before a sale a watcher hears when it starts", stream.raw)
starts = begun + stream.last.data["starts_in"]
t.ok(stream.until(ahead + SOON, is_left(5)) and stream.last.at > starts - 1.5, "and when it does, though nobody does anything", stream.events, starts)
t.ok(stream.until(4 + SOON, lambda s: s.last.state == "closed"), "and when it is over", stream.events)
t.ok(stream.until(SOON, lambda s: s.ended), "which ends the stream", stream.raw)

# Sold out, and closed.
sale = new_sale(2)
path = sale + "/events"
streams = [Stream(API, path), Stream(EDGE, path)]
one, two = buy(sale), buy(sale)
t.ok(listen(streams, SOON, is_left(0, "sold_out")), "watchers hear that nothing is left", *[s.last for s in streams])
olga.post(f"/v1/orders/{two.json()['id']}/cancel")
t.ok(listen(streams, SOON, is_left(1)), "and that something is again", *[s.last for s in streams])
mark.post(sale + "/close")
t.ok(listen(streams, SOON, is_left(0, "closed")), "and that it was closed", *[s.last for s in streams])
t.ok(listen(streams, SOON, lambda s: s.ended), "after which nothing comes, and the stream ends", *[s.raw for s in streams])
last = streams[0].last.id
for base in (API, EDGE):
    answer = Client(base).get(path, headers={"Last-Event-ID": last})
    t.equal((answer.status, answer.body), (204, b""), "who comes back is told to stay away (204)")
    answer = Client(base).get(path)
    t.ok(answer.status == 200 and f"id: {last}\n" in answer.body.decode() and answer.headers["content-type"] == "text/event-stream",
         "who comes anew is told how it ended, once", answer)

# A crowd.
sale = new_sale(50)
path = sale + "/events"
t.ok(within(60, lambda: metric("live_watchers") == 0), "nobody watches any more", metric("live_watchers"))
crowd = []
for n in range(WATCHERS):
    crowd.append(Stream(SOCKET if n % 2 else API, path))
    if n % 100 == 99:
        listen(crowd, 0.1)  # or those who came first would be dropped on a slow machine
t.equal({s.status for s in crowd}, {200}, f"{WATCHERS} watch")
extra = nobody.get(path)
t.ok(why_no_problem(extra, "unavailable", 503) is None and int(extra.headers["retry-after"]) > 1, "one more is refused, and told when to come again", extra.headers)
t.equal(nobody.get(sale).status, 200, "everything else goes on")
begun = time.monotonic()
for n in range(20):
    buy(sale, buyers[n % len(buyers)])
    listen(crowd, 0.02)
done = time.monotonic()
t.ok(listen(crowd, 60, is_left(30)), "all of them hear the end of twenty purchases", sum(1 for s in crowd if not is_left(30)(s)))
slowest = max(s.last.at for s in crowd) - done
print(f"# the last of {len(crowd)} watchers after {slowest * 1000:.0f} ms", flush=True)
crowd.pop().close()
t.ok(within(60, lambda: metric("live_watchers") == WATCHERS - 1), "one leaves")
other = Stream(API, path)
t.equal(other.status, 200, "and another takes his place")
for stream in crowd + [other]:
    stream.close()
t.ok(within(60, lambda: metric("live_watchers") == 0), "and when all leave, none is left", metric("live_watchers"))
