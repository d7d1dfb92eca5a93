#!/usr/bin/env python3
"""Usage: HF_KEEPALIVE=3 tests/api/frame_module/with-frame tests/api/frame_module/guard.py

What the framing guard promises to those behind it and before it, and no client can see from
framing.py: what Kore is given, the order of answers that take time, bounds of memory and time. TAP.
"""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from framing import Broken, Wire, address_of, get, post, probe  # noqa: E402

BODIES = 256      # bodies of 1 MB that the guard lets in at a time
REQUESTS = 600    # Kore's http_request_limit
UNREAD = 400      # pipelined requests whose answers nobody reads
LARGE = 200_000   # bytes of such an answer

api = address_of(os.environ.get("HF_API") or sys.exit(__doc__))
keepalive = int(os.environ.get("HF_KEEPALIVE") or sys.exit(__doc__))


def ask(data, method="GET"):
    wire = Wire(api)
    wire.send(data)
    answer = wire.answer(method)
    wire.close()
    return answer


def echo(*headers, **more):
    """What Kore understood: the lines before the empty one, and what stands behind it."""
    answer = ask(get(*headers, **{"path": "/echo", **more}))
    if answer.status != 200:
        raise Broken(f"status {answer.status}, {answer.body!r}")
    head, body = answer.body.decode("latin-1").split("\n\n", 1)
    return head.split("\n"), body


def same(got, wanted):
    if got != wanted:
        raise Broken(f"{got!r} instead of {wanted!r}")


def count():
    return json.loads(ask(get(path="/count")).body)


def resident():
    """Bytes of memory that the worker has."""
    with open(os.environ["HF_FRAME_LOG"], encoding="utf-8") as log:
        pid = re.findall(r"worker 1 started .*pid#([0-9]+)", log.read())[-1]
    with open(f"/proc/{pid}/statm", encoding="utf-8") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def before_long(condition, otherwise="it is still refused"):
    """It takes the guard a moment to see that a client is gone, or there, and a machine that has other things to do more."""
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise Broken(otherwise)
        time.sleep(0.1)


def is_given_as_sent():
    head, body = echo("X-One: a:b", "Authorization: Bearer x.y", "Content-Length: 4",
                      method="POST", path="/echo?q=1&r", rest=b"\0\r\n\xff")
    same(head, ["POST", "/echo", "?q=1&r", "host: a", "X-One: a:b", "Authorization: Bearer x.y",
                "Content-Length: 4"])
    same(body, "\0\r\n\xff")


def is_repaired():
    head, _ = echo("A:", "B: \t", "C: a\tb", "D:\t\u00fc \t", "E:e", "F:   f", "Content-Length: 0  ",
                   method="POST")
    same(head[3:], ["host: a", "C: a b", "D: ??", "E: e", "F: f", "Content-Length: 0"])


def is_the_right_host():
    for first in ("Hostile: b", "Host-Name: b", "HOSTS: b", "hostx:b"):
        head, _ = echo("X: y", host=first + "\r\nHost: right")
        same(head[3:], ["host: right", "X: y"])
        head, _ = echo(first, host="Host: right:80")
        same(head[3:], ["host: right:80"])


def keeps_the_last_header():
    head, _ = echo(*(f"X{i}:" for i in range(40)), *(f"Y{i}: y" for i in range(22)))
    same(head[4:], [f"Y{i}: y" for i in range(22)])


def body_at_its_limit():
    for path, limit in (("/echo", 64 * 1024), ("/v1/batch", 1024 * 1024)):
        same(ask(post(b"x" * limit, path=path)).status, 200 if path == "/echo" else 400)
        wire = Wire(api)
        wire.send(post(b"", path=path, length=limit + 1))
        same(wire.answer().status, 413)
        wire.close()


def slow_answers_in_order():
    wire = Wire(api)
    wire.send(get(path="/slow?200") + get() + get(path="/slow?100") + get())
    same([wire.answer().body for _ in range(4)], [b'{"slept":true}', b'{"status":"ok"}'] * 2)
    wire.send(get(path="/slow?200"))
    time.sleep(0.1)
    wire.send(get())
    same([wire.answer().body for _ in range(2)], [b'{"slept":true}', b'{"status":"ok"}'])
    probe(wire)
    wire.close()


def slow_answer_to_a_late_body():
    wire = Wire(api)
    wire.send(post(b"a", path="/slow?300", length=3))
    time.sleep(0.1)
    wire.send(b"bc" + get())
    time.sleep(0.1)
    wire.send(get())
    same([wire.answer().body for _ in range(3)], [b'{"slept":true}'] + [b'{"status":"ok"}'] * 2)
    probe(wire)
    wire.close()


def no_waiting_between_pipelined_requests():
    wire = Wire(api)
    start = time.monotonic()
    wire.send((get() + get(path="/echo")) * 100)
    for _ in range(200):
        wire.answer()
    took = time.monotonic() - start
    if took > 8:
        raise Broken(f"{took:.1f} s for 200 requests")
    wire.close()


def a_client_that_left_is_noticed():
    before = resident()
    for _ in range(3000):
        wire = Wire(api)
        wire.send(get(path="/slow?60000"))
        wire.close()
    # More than REQUESTS of them: they cannot all be there still.
    before_long(lambda: ask(get()).status == 200)
    if resident() - before > 64 * 1024 * 1024:
        raise Broken("memory was not freed")


def a_client_that_leaves_is_gone_at_once():
    for _ in range(2):
        wires = []
        for _ in range(REQUESTS - 50):
            wires.append(Wire(api))
            wires[-1].send(get(path="/slow?60000"))
        before_long(lambda: ask(get()).status == 200)
        for wire in wires:
            wire.close()


def unread_answers_are_bounded():
    for tries in (2, 1, 0):
        wire = Wire(api)
        before = resident()
        wire.send(get(path=f"/large?{LARGE}") * UNREAD)
        time.sleep(1)
        grown = resident() - before
        if grown > 16 * 1024 * 1024:
            raise Broken(f"{grown} bytes more for answers that nobody reads")
        try:
            for _ in range(UNREAD):
                same(len(wire.answer().body), LARGE)
            probe(wire)
            break
        except (Broken, AttributeError):
            # We are closed if the machine lets us take nothing for so long.
            if not tries:
                raise
        finally:
            wire.close()


def who_takes_nothing_is_closed():
    wire = Wire(api)
    wire.send(get(path="/large?4000000") * 3)
    time.sleep(keepalive + 6)
    try:
        while wire.more(1):
            pass
    except Broken:
        pass
    if len(wire.bytes) > 4_000_000 * 3:
        raise Broken("the connection was kept for somebody who does not read")
    wire.close()


def bodies_are_bounded():
    wires = []
    for _ in range(BODIES):
        wires.append(Wire(api))
        wires[-1].send(post(b"x", path="/v1/batch", length=1024 * 1024))
    for wire in wires:
        wire.socket.setblocking(True)
    probe(Wire(api))
    before_long(lambda: ask(post(b"abc", path="/echo")).status == 503, "bodies are not bounded")
    answer = ask(post(b"abc", path="/echo"))
    same((answer.status, answer.headers.get("retry-after")), (503, "1"))
    same(ask(get()).status, 200)
    for wire in wires:
        wire.close()
    before_long(lambda: ask(post(b"x" * 1024 * 1024, path="/v1/batch")).status == 400)


def requests_are_bounded():
    wires = []
    for _ in range(REQUESTS):
        wires.append(Wire(api))
        wires[-1].send(get(path="/slow?8000"))
    before_long(lambda: ask(get()).status == 503, "requests are not bounded")
    answer = ask(get())
    same((answer.status, answer.headers.get("retry-after")), (503, "1"))
    same(json.loads(answer.body)["status"], 503)
    for wire in wires:
        same(wire.answer().status, 200)
        wire.close()
    same(ask(get()).status, 200)


def idle_is_closed_silently():
    fresh, used = Wire(api), Wire(api)
    used.send(get())
    same(used.answer().status, 200)
    for wire in (fresh, used):
        if wire.more(keepalive + 30) is not False:
            raise Broken(f"{wire.bytes!r}")
        wire.close()


def a_slow_answer_is_no_idleness():
    wire = Wire(api)
    wire.send(get(path=f"/slow?{keepalive * 1000 + 2000}"))
    same(wire.answer(timeout=keepalive + 30).status, 200)
    probe(wire)
    wire.close()


def refused_are_counted():
    before = count()
    for _ in range(5):
        ask(get("X : y"))
    after = count()
    same(after["refused"] - before["refused"], 5)
    same(after["handled"], before["handled"])


def smuggled_are_not_handled():
    before = count()
    inner = get(path="/smuggled")
    ask(get(f"Content-Length: {len(inner)}", rest=inner))
    ask(get("X : y", rest=inner * 3))
    wire = Wire(api)
    wire.send(get("Transfer-Encoding: chunked", method="POST", rest=b"0\r\n\r\n" + inner))
    wire.answer()
    wire.send(inner)
    wire.close()
    ask(get("Content-Length: 3", method="POST", rest=b"abc") + b"\0" + inner)
    same(count()["handled"] - before["handled"], 1)


CLAIMS = [
    ("Kore is given a request as it was sent", is_given_as_sent),
    ("what Kore cannot read is repaired", is_repaired),
    ("no other field is taken for the host", is_the_right_host),
    ("the last header is there", keeps_the_last_header),
    ("a body may be as large as its route says and no larger", body_at_its_limit),
    ("answers that take time come in order", slow_answers_in_order),
    ("a request waits behind one whose body came late", slow_answer_to_a_late_body),
    ("pipelined requests do not wait for a timer", no_waiting_between_pipelined_requests),
    ("a client that left while its request slept is noticed", a_client_that_left_is_noticed),
    ("a client that leaves while its request sleeps is gone at once",
     a_client_that_leaves_is_gone_at_once),
    ("answers that nobody reads keep later requests waiting", unread_answers_are_bounded),
    ("who takes nothing of his answers is closed", who_takes_nothing_is_closed),
    ("all bodies together are bounded, and freed", bodies_are_bounded),
    ("all requests together are bounded", requests_are_bounded),
    ("idle connections are closed without a word", idle_is_closed_silently),
    ("a connection that waits for its answer is not idle", a_slow_answer_is_no_idleness),
    ("refused requests are counted and never handled", refused_are_counted),
    ("nothing that is smuggled reaches a handler", smuggled_are_not_handled),
]


def main():
    failed = 0
    for number, (claim, function) in enumerate(CLAIMS, 1):
        try:
            function()
            print(f"ok {number} - {claim}", flush=True)
        except (Broken, OSError, ValueError, AttributeError) as trouble:
            failed += 1
            print(f"not ok {number} - {claim}\n#   {type(trouble).__name__}: {trouble}", flush=True)
    print(f"1..{len(CLAIMS)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
