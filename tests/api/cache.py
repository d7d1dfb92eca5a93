#!/usr/bin/env python3
# Usage: tests/api/cache.py [TEST...]
#
# Claims of the application's read cache (api/src/cache*.c, near_cache.c, redis*.c): a small
# application around it, cache_module/module.c, a real Redis, and a watched table whose changes the
# extension's cache worker publishes. Runs under tools/with-stack, which it starts itself.
import functools
import os
import signal
import sys
import threading
import time

if "HF_DATA" not in os.environ:
    stack = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../tools/with-stack")
    os.execv(stack, [stack, "--fast", os.path.realpath(__file__), *sys.argv[1:]])

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "cache_module"))
import harness  # noqa: E402
import peace  # noqa: E402
from harness import (TIMEOUT, PREFIX, Client, Database, Impostor, Load, Redis, Server, cache_worker,  # noqa: E402
                     equal, is_published, note, ok, percentile, redis_pid, redis_start, wait_for)

ITEMS = 2000
GRACE = 0.05  # seconds in which an announcement reaches the application
PATIENCE = 30  # seconds, on a machine that has other things to do
TRIES = 6
WATCH = "SELECT holdfast.watch('item', 'item:{id}', 'tag:shelf:{shelf}')"

in_peace = functools.partial(peace.in_peace, ok, TRIES)
database = None
server = None
fresh = iter(range(100, ITEMS))  # items that no test has asked for


def layer(path):
    return server.get(path)[0]


def ready():
    """Everything is healthy, and the worker's own memory may serve."""
    good = wait_for(lambda: is_published() and server.is_ready(), PATIENCE)
    if good is None:
        sys.exit(f"Bail out! the cache does not come up: {server.stats()}\n{server.said()}")


def settled(path):
    """Asks until the worker's own memory answers; False if it never does."""
    return wait_for(lambda: layer(path) == "near", PATIENCE) is not None


def counted(what):
    """What an act adds to the figures."""
    before = server.stats()
    what()
    after = server.stats()
    return {name: after[name] - before[name] for name in after}


def gives_back(claim, act):
    """The lease of an item has gone, soon after an act on it: by itself it would stay for 2 s."""
    redis = Redis()

    def gone():
        item = next(fresh)
        act(item)
        took = wait_for(lambda: redis.run("EXISTS", redis.name("lease", f"item:{item}")) == 0, 1)
        return took is not None, took

    in_peace(claim, gone)


def test_layers():
    item = next(fresh)
    equal(layer(f"/item?id={item}"), "load", "a cold entry is loaded")
    ok(settled(f"/item?id={item}"), "then the worker's own memory has it")
    redis = Redis()
    ok(redis.run("EXISTS", redis.name("value", f"item:{item}")) == 1, "and Redis")
    gives_back("and the lease is used up", lambda item: settled(f"/item?id={item}"))
    other = next(fresh)
    redis.run("SET", redis.name("value", f"item:{other}"), "\nplanted", "PX", 60000)
    equal(server.get(f"/item?id={other}"), ["redis", "planted"], "what Redis has is not loaded")
    ok(wait_for(lambda: server.get(f"/item?id={other}") == ["near", "planted"]), "and kept in the worker's own memory")
    item = next(fresh)
    equal([layer(f"/item?id={item}&ttl=0") for _ in range(2)], ["load", "load"],
          "a load with no TTL is not stored")
    gives_back("and gives its lease back", lambda item: layer(f"/item?id={item}&ttl=0"))
    item = next(fresh)
    equal(layer(f"/item?id={item}&fail=1"), "load", "a load fails")
    gives_back("and gives its lease back", lambda item: layer(f"/item?id={item}&fail=1"))
    redis.run("SCRIPT", "FLUSH")
    item = next(fresh)
    layer(f"/item?id={item}")
    ok(settled(f"/item?id={item}") and redis.run("EXISTS", redis.name("value", f"item:{item}")) == 1,
       "scripts that Redis has forgotten are sent again")


def test_ttl():
    redis = Redis()

    def planted():
        nonlocal item
        item = next(fresh)
        redis.run("SET", redis.name("value", f"item:{item}"), "\nplanted", "PX", 300)
        layer(f"/item?id={item}")
        seen = layer(f"/item?id={item}")
        return seen == "near", seen

    item = 0
    in_peace("a value near its end is kept", planted)
    # Otherwise it would be there for an hour.
    ok(wait_for(lambda: layer(f"/item?id={item}") != "near"), "and not for longer than Redis keeps it")
    item = next(fresh)
    ok(settled(f"/item?id={item}&ttl=300"), "what was filled here is kept")
    ok(wait_for(lambda: layer(f"/item?id={item}&ttl=300") != "near"), "and not for longer than its TTL")


def together(paths):
    """Asks for all of it at once, on a connection each; the answers."""
    clients = [Client(server.port) for _ in paths]
    answers = [None] * len(paths)

    def ask(i):
        try:
            answers[i] = clients[i].get(paths[i])
        except (OSError, ConnectionError) as error:
            answers[i] = ["error", str(error)]
        clients[i].close()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_single_flight():
    def cold():
        answers, path = [], f"/item?id={next(fresh)}&before=500"
        added = counted(lambda: answers.extend(together([path] * 100)))
        return added["loads"] == 1 and all(a[1] == "0" for a in answers) and sum(a[0] == "load" for a in answers) == 1 and \
            sum(a[0] == "database" for a in answers) > 50, added, answers

    def failing():
        answers = together([f"/item?id={next(fresh)}&before=500&fail=1"] * 20)
        return sum(a[0] == "failed" for a in answers) == 19, answers

    def left():
        item, gone = next(fresh), Client(server.port)
        gone.send(f"/item?id={item}&before=500")
        time.sleep(0.1)
        gone.close()
        answer = server.get(f"/item?id={item}")
        return answer == ["database", "0"], answer

    in_peace("100 who ask at once for a cold key make one load, and are answered with it", cold)
    in_peace("if it fails, all who waited are told", failing)
    in_peace("a load goes on when its client has left", left)


def test_busy():
    redis = Redis()

    def busy():
        nonlocal item, lease
        item = next(fresh)
        lease = redis.name("lease", f"item:{item}")
        redis.run("SET", lease, "another", "PX", 60000)
        begin = time.monotonic()
        seen, took = layer(f"/item?id={item}"), time.monotonic() - begin
        return seen == "load" and 0.15 < took < 20, seen, took

    item = lease = None
    in_peace("another's lease holds a load up for a moment, and not for ever", busy)
    equal(redis.run("GET", lease), "another", "and stays")
    equal(redis.run("EXISTS", redis.name("value", f"item:{item}")), 0, "nothing is filled without it")

    def waits():
        item = next(fresh)
        redis.run("SET", redis.name("lease", f"item:{item}"), "another", "PX", 60000)
        client = Client(server.port)
        client.send(f"/item?id={item}")
        time.sleep(0.05)
        redis.run("SET", redis.name("value", f"item:{item}"), "\nfilled", "PX", 60000)
        answer = server.get(f"/item?id={item}")
        return answer == ["redis", "filled"], answer

    in_peace("who waits gets what another has filled", waits)


def test_changes():
    item, other = next(fresh), next(fresh)
    settled(f"/item?id={item}")
    version = database.change(item)
    ok(wait_for(lambda: server.get(f"/item?id={item}")[1] == str(version)), "a change is seen")
    shelf = [f"/item?id={i}&shelf=7" for i in (item, other)]
    ok(all(settled(path) for path in shelf), "entries with a tag are kept")
    database.run("UPDATE item SET version = version WHERE shelf = 7")
    ok(all(wait_for(lambda: layer(path) == "load") for path in shelf), "a change of the tag voids all of them")
    ok(all(settled(path) for path in shelf), "which are kept again")


def test_joiners():
    """A load that has read the old value, while a change is announced."""
    for name, path in (("key", "/item?id={}"), ("tag", "/item?id={}&shelf=8")):
        item = 8 if name == "tag" else next(fresh)
        path = path.format(item)

        def joins():
            nonlocal version
            first = Client(server.port)
            first.send(path + "&after=1000")
            begin = time.monotonic()
            time.sleep(0.1)
            version = database.change(item)
            database.sync()
            time.sleep(0.01)
            answer = server.get(path)
            took = time.monotonic() - begin
            time.sleep(max(0, 1.1 - took))
            return answer[1] == str(version) and took < 1, answer, version, took

        version = 0
        in_peace(f"who asks after a change of the {name} does not join an older load, nor wait for it", joins)
        equal(server.get(path)[1], str(version), "what the older load brings is not stored")

    def old():
        item, first = next(fresh), Client(server.port)
        first.send(f"/item?id={item}&before=2000")
        begin = time.monotonic()
        time.sleep(1.1)
        answer, took = layer(f"/item?id={item}"), time.monotonic() - begin
        time.sleep(max(0, 2.1 - took))
        return answer == "load" and took < 2, answer, took

    in_peace("nobody joins a load that is a second old, or waits for it", old)


def test_staleness():
    in_peace("nobody who asked after the announcement got what was before, while the worker's own memory was in use", lambda: stale(500))


def stale(changes):
    """Whether anybody was told what an announcement had made void, while changes are made and announced."""
    items = [next(fresh) for _ in range(4)]
    known = {item: [] for item in items}  # when each version was known to be committed
    announced = {item: [] for item in items}  # and to be announced
    for item in items:
        database.run(f"UPDATE item SET version = 0 WHERE id = {item}")
    database.sync()
    time.sleep(0.05)
    before = server.stats()
    load = Load(server.port, 4, lambda turn: f"/item?id={items[turn % len(items)]}")
    for turn in range(changes):
        item = items[turn % len(items)]
        database.change(item)
        known[item].append(time.monotonic())
        database.sync()
        announced[item].append(time.monotonic())
        time.sleep(0.002)
    time.sleep(0.1)
    seen = load.stop()
    after = server.stats()

    behind, broken, errors = [], 0, 0
    for asked, _, words, path in seen:
        item, version = int(path.split("=")[1]), int(words[1]) if words[1].isdigit() else -1
        if version < 0:
            errors += 1
        elif version < len(known[item]):
            # Void since version + 1 was committed, and since it was announced.
            behind.append(max(0.0, asked - known[item][version]))
            broken += asked > announced[item][version] + GRACE
        else:
            behind.append(0.0)
    equal(errors, 0, f"{len(seen)} reads while {changes} changes are made: none fails")
    note(f"p99 of staleness is {percentile(behind, 0.99) * 1000:.1f} ms, the most {max(behind) * 1000:.1f} ms")
    # Otherwise it proves nothing.
    in_use = after["near"] - before["near"] > len(seen) / 4
    return broken == 0 and in_use, broken, len(seen), {name: after[name] - before[name] for name in after}


def storm(what, during, limit=PATIENCE / 2):
    """Load while something is broken; what the clients saw."""
    load = Load(server.port, 8, lambda turn: f"/item?id={1 + turn * 7919 % 90}&before=5")
    time.sleep(0.5)
    during()
    seen = load.stop()
    errors = [words for _, _, words, _ in seen if words[0] in ("error", "failed")]
    slowest = max(took for _, took, _, _ in seen)
    equal(errors[:3], [], f"{what}: none of {len(seen)} requests fails")
    note(f"{what}: the slowest took {slowest:.3f} s")
    ok(slowest < limit, f"{what}: none is left waiting", f"{slowest:.3f} s")
    stats = server.stats()
    equal(stats["gets"], stats["answers"], f"{what}: each was answered once")
    return seen


def near_is_empty():
    return server.stats()["entries"] == 0


def recovers(what):
    """Redis and the worker are there again: how long until entries are kept in memory?"""
    published = wait_for(is_published, PATIENCE)
    took = wait_for(server.is_ready, PATIENCE)
    if ok(published is not None and took is not None, f"{what}: it is used again", published, took):
        note(f"{what}: back {took:.2f} s after the heartbeat")


def test_redis_killed():
    ready()

    def kill():
        os.kill(redis_pid(), signal.SIGKILL)
        ok(wait_for(near_is_empty) is not None, "Redis killed: the worker's own memory is emptied")
        ok(wait_for(lambda: server.stats()["up"] == 0) is not None, "and Redis is known to be down")
        time.sleep(1.5)
        redis_start()
        wait_for(is_published, PATIENCE)
        time.sleep(0.5)

    storm("Redis killed", kill)
    recovers("Redis killed")


def test_redis_frozen():
    ready()

    def freeze():
        pid = redis_pid()
        os.kill(pid, signal.SIGSTOP)
        ok(wait_for(near_is_empty) is not None, "Redis frozen: the worker's own memory is emptied")
        time.sleep(1.5)
        added = counted(lambda: time.sleep(1))
        ok(added["off"] > 0 and added["near"] == added["redis"] == 0,
           "Redis frozen: all goes to the database", added)
        took = []
        for _ in range(10):
            begin = time.monotonic()
            layer(f"/item?id={next(fresh)}")
            took.append(time.monotonic() - begin)
        ok(min(took) < TIMEOUT / 2, "Redis frozen: after the first time-out nobody waits for it", took)
        os.kill(pid, signal.SIGCONT)
        wait_for(is_published, PATIENCE)
        time.sleep(0.5)

    storm("Redis frozen", freeze)
    recovers("Redis frozen")


def test_redis_flushed():
    ready()

    def flush():
        redis = Redis()
        for _ in range(20):
            redis.run("FLUSHALL")
            time.sleep(0.05)
        redis.run("SCRIPT", "FLUSH")
        redis.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        redis.run("CLIENT", "KILL", "TYPE", "pubsub")
        ok(wait_for(near_is_empty) is not None or server.stats()["alive"] == 1,
           "connections killed: the worker's own memory is emptied")
        time.sleep(0.5)

    storm("Redis flushed, connections killed", flush)
    recovers("Redis flushed, connections killed")


def test_worker_frozen():
    pid = cache_worker()

    def at_first():
        nonlocal item
        os.kill(pid, signal.SIGCONT)
        ready()
        item = next(fresh)
        settled(f"/item?id={item}")
        os.kill(pid, signal.SIGSTOP)
        seen = layer(f"/item?id={item}")
        return seen == "near", seen

    item = None
    in_peace("cache worker frozen: entries are served at first", at_first)
    database.change(item)
    took = wait_for(lambda: layer(f"/item?id={item}") != "near", PATIENCE)
    if ok(took is not None, "cache worker frozen: but not for long"):
        note(f"cache worker frozen: for {took:.2f} s")
    ok(wait_for(near_is_empty) is not None, "cache worker frozen: the worker's own memory is emptied")
    ok(wait_for(lambda: layer(f"/item?id={item}") == "load") is not None, "cache worker frozen: the cache is off")
    os.kill(pid, signal.SIGCONT)
    recovers("cache worker frozen")


def test_frozen_reader():
    """The application is frozen while the cache worker dies: old messages must not count."""
    ready()
    item = next(fresh)
    settled(f"/item?id={item}")
    os.kill(server.worker, signal.SIGSTOP)
    time.sleep(0.7)  # messages come, and lie in the socket
    pid = cache_worker()
    os.kill(pid, signal.SIGSTOP)
    version = database.change(item)
    time.sleep(2.0)
    os.kill(server.worker, signal.SIGCONT)
    answers = [server.get(f"/item?id={item}") for _ in range(50)]
    os.kill(pid, signal.SIGCONT)
    equal([a for a in answers if a[1] != str(version)][:3], [],
          "application frozen: it does not take messages that lay in its queue for new ones")
    recovers("application frozen")


def test_old_message():
    in_peace("a message that lay in a queue does not make the worker's own memory new", old_message)
    recovers("application frozen for a moment")


def old_message():
    """A message that lay in the application's queue is as old as it is, not as new as it is read: then it would count for another 1.5 s."""
    ready()
    item = next(fresh)
    settled(f"/item?id={item}")
    channel = Redis()
    channel.send("SUBSCRIBE", PREFIX + "invalidations")
    channel.read()
    channel.read()
    time.sleep(0.05)
    os.kill(server.worker, signal.SIGSTOP)
    frozen = time.monotonic()
    channel.read()
    pid = cache_worker()
    os.kill(pid, signal.SIGSTOP)
    database.change(item)
    changed = time.monotonic()
    time.sleep(max(0.0, frozen + 1.2 - time.monotonic()))
    os.kill(server.worker, signal.SIGCONT)
    while layer(f"/item?id={item}") == "near" and time.monotonic() - changed < 4:
        time.sleep(0.005)
    took = time.monotonic() - changed
    os.kill(pid, signal.SIGCONT)
    return took < 2, took


def test_generation():
    ready()
    redis = Redis()
    server.get("/flood?from=2000000&n=1&pad=5")
    redis.run("SET", redis.name("value", "flood:2000001"), "\nold of another generation", "PX", 60000)
    old = redis.run("GET", PREFIX + "heartbeat")
    database.run(WATCH)
    ok(wait_for(lambda: redis.run("GET", PREFIX + "heartbeat") not in (old, None), PATIENCE) is not None,
       "the generation is raised")
    equal(server.get("/flood?from=2000000&n=2&pad=5"), ["0", "0"],
          "of two who ask in the old generation neither takes what stands there")
    ok(settled(f"/item?id={next(fresh)}"), "and the cache goes on in the new one")


def test_memory():
    ready()
    limit = 16 << 20
    before = server.memory()
    most, twice = 0, 0
    for begin in range(0, 100000, 1000):
        words = server.get(f"/flood?from={begin}&n=1000&pad={(begin // 1000 * 97) % 3000}")
        twice += int(words[0])
        most = max(most, server.stats()["bytes"])
    time.sleep(0.1)
    grown = server.memory() - before
    stats = server.stats()
    equal((twice, stats["gets"]), (0, stats["answers"]), "10^5 keys: each was answered once")

    def kept():
        ready()  # a silence would have emptied it
        server.get("/flood?from=100000&n=2000&pad=100")
        time.sleep(0.1)
        stats = server.stats()
        return stats["entries"] > 1000 and max(most, stats["bytes"]) <= limit, most, stats

    in_peace("10^5 keys: the worker's own memory keeps to its size", kept)
    ok(grown < limit + (32 << 20), f"10^5 keys: the process grows by {grown >> 20} MB")


def test_bounds():
    ready()
    answers = server.get("/flood?from=1000000&n=20000&pad=10")
    stats = server.stats()
    equal((answers[0], stats["gets"]), ("0", stats["answers"]),
          "20000 keys at once: each is answered once")
    equal(layer("/item?id=1") in ("near", "redis", "load"), True, "and the cache goes on")


def test_large():
    ready()
    for pad in (300000, 5000000):
        item = next(fresh)
        layer(f"/item?id={item}&pad={pad}")
        ok(wait_for(lambda: layer(f"/item?id={item}") in ("redis", "near")) is not None,
           f"a payload of {pad} bytes is stored and found")
    item = next(fresh)
    equal([layer(f"/item?id={item}&pad=17000000") for _ in range(2)], ["load", "load"],
          "one that is too large is handed out and not stored")


def test_impostor():
    """What only looks like a Redis. The module is another one, which lives through all of it."""
    global server
    real = server
    path = os.path.join(real.directory, "impostor")
    impostor = Impostor(path)
    server = Server(redis=path)
    item, was_up = 1, True
    try:
        for what in (b"", None, b":1\r\n", b"+OK\r\n", b"-ERR no\r\n", b"-NOSCRIPT no\r\n", b"$-1\r\n",
                     b"garbage\r\n", b"*0\r\n", b"*-1\r\n", b"*2\r\n$-1\r\n$-1\r\n", b"*2\r\n:5\r\n:5\r\n",
                     b"*2\r\n$1\r\n5\r\n$4\r\nevil\r\n", b"*2\r\n$1\r\n5\r\n$5\r\n\nevil\r\n", b"*1000000000\r\n",
                     b"*-5\r\n", b"$99999999999999999999\r\n", b"*1\r\n*1\r\n*1\r\n:1\r\n", b":1\r\n" * 50,
                     b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\n5\r\n",
                     b"*3\r\n$9\r\nsubscribe\r\n:1\r\n:1\r\n", b"*1\r\n$4\r\npong\r\n", b"x" * 100000):
            impostor.answer = what
            was_up &= wait_for(lambda: server.stats()["up"] == 1, PATIENCE) is not None
            item += 1
            words = server.get(f"/item?id={item}")
            ok(words[0] in ("load", "redis"), f"Redis says {str(what)[:40]}: the request is answered", words)
        impostor.answer = b"$16000000\r\n" + b"x" * 17000000
        wait_for(lambda: server.stats()["up"] == 1, PATIENCE)
        before = server.memory()
        layer("/item?id=99")
        time.sleep(0.5)
        ok(server.memory() - before < 40 << 20, "Redis floods us: memory is bounded", server.memory() - before)
        ok(was_up, "and it was taken for a Redis each time")
        stats = server.stats()
        equal((stats["gets"], stats["pid"]), (stats["answers"], server.worker), "each was answered once, by the same process")
        equal(stats["near"], 0, "and nothing was kept")
    finally:
        if harness.failed:
            note(server.said()[-3000:])
        server.stop()
        impostor.close()
        server = real


def main():
    global database, server
    every = [value for name, value in globals().items() if name.startswith("test_")]
    wanted = [globals()["test_" + name] for name in sys.argv[1:]] or every
    database = Database()
    database.run("CREATE TABLE item (id bigint PRIMARY KEY, shelf bigint NOT NULL, version bigint NOT NULL)")
    database.run(f"INSERT INTO item SELECT i, i, 0 FROM generate_series(1, {ITEMS}) i")
    database.run("UPDATE item SET shelf = 7 WHERE id BETWEEN 50 AND 60")
    database.run(WATCH)
    server = Server()
    try:
        ready()
        for test in wanted:
            test()
        equal(server.stats()["pid"], server.worker, "the process has lived through all of it")
    finally:
        if harness.failed:
            note(server.said()[-3000:])
        server.stop()
    print(f"1..{harness.tests}")
    sys.exit(harness.failed > 0)


main()
