#!/usr/bin/env python3
"""Refusals say what is wrong and nothing else: what a client has made up does not spoil the document, who waits for
the same is refused alike, a trouble of the database's shows nothing of the server, and a body that is dense costs no
memory. Runs within tools/with-api. TAP.
"""
# with-api: --workers 1
import os
import urllib.parse

from api import Client, Tap, at_once, key, psql, register, why_no_problem

t = Tap()
user = register("refused")


def peak():
    """The most memory that a worker has ever had, in MB."""
    parent = open(os.environ["HF_API_PID"]).read().strip()
    most = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines = dict(line.split(":", 1) for line in open(f"/proc/{process}/status"))
        except OSError:
            continue
        if lines["PPid"].strip() == parent:
            most = max(most, int(lines["VmHWM"].split()[0]) // 1024)
    return most


# Names of fields that do not fit into a pointer.
for name in ("x" * 59 + "é", "x" * 58 + "日本", "é" * 40, "x" * 62, "x" * 63, "x" * 5000, "a/b", "a~b", '"', "\\", "\x7f"):
    answer = user.put("/v1/me/password", {name: 1, "current_password": "x" * 9, "password": "y" * 9})
    t.equal(why_no_problem(answer, "unknown_field", 422), None, f"the unknown field {name[:70]!r} is refused, in UTF-8")

# Those who ask for the same at once wait for one load, and so hear of one refusal.
for claim, name, pointer in (("with a tab", "a\tb", True), ("of 1500 characters", "x" * 1500, False), ("of 300 letters beyond ASCII", "é" * 300, False)):
    path = "/v1/products?" + urllib.parse.urlencode({name: 1})
    answers = [answer for _ in range(3) for answer in at_once(16, lambda i: Client().get(path))]
    wrong = [why_no_problem(answer, "unknown_field", 422) for answer in answers]
    t.ok(not any(wrong), f"an unknown parameter {claim} is refused alike for all who ask at once", next(filter(None, wrong), None))
    if pointer:
        t.equal({(answer.json().get("pointer"), answer.json().get("detail")) for answer in answers}, {("?" + name, None)}, "and named to all of them")

# What the database says of itself.
psql("""CREATE FUNCTION shop.test_deadlock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE 'deadlock detected' USING ERRCODE = '40P01', DETAIL = 'Process 4711 waits for ShareLock on transaction 42.'; END $$;
    CREATE TRIGGER test_deadlock BEFORE INSERT ON shop.merchant FOR EACH ROW EXECUTE FUNCTION shop.test_deadlock()""")
try:
    answer = user.post("/v1/merchants", {"name": "Nobody"})
finally:
    psql("DROP TRIGGER test_deadlock ON shop.merchant; DROP FUNCTION shop.test_deadlock()")
t.equal(why_no_problem(answer, "try_again", 503), None, "of two who lock each other out one is told to try again")
t.ok("detail" not in answer.json() and answer.headers.get("retry-after") == "1", "and nothing of the server's processes", answer, answer.headers)

# Bodies of few bytes and many values.
before = peak()
for unit in ("[]", "{}", "1", '{"":0}'):
    body = ('{"policy":"valid_rows","orders":[' + ",".join([unit] * (3_900_000 // (len(unit) + 1))) + "]}").encode()
    answers = at_once(4, lambda i: Client(token=user.token).post("/v1/orders/batch", raw=body, headers={**key(), "Content-Type": "application/json"}))
    t.equal({why_no_problem(answer, "invalid_body", 400) for answer in answers}, {None}, f"a batch of millions of {unit} is refused")
t.ok(peak() < before + 100, "and costs no more than its bytes", before, peak())

lines = [{"sku_id": "9223372036854775807", "quantity": 1}] * 10
answer = user.post("/v1/orders/batch", {"policy": "valid_rows", "orders": [{"items": lines}] * 1000}, headers=key())
t.equal(answer.status, 200, "a batch of as many lines as it may have is read")
