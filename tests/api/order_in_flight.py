#!/usr/bin/env python3
"""While a request is being worked on, the same one with its key is told so, whatever it asks for, and nothing is done twice.
Runs within tools/with-api. TAP.
"""
import subprocess

from api import Tap, key, psql, why_no_problem
from world import World

t = Tap()
w = World()
order, (paid, payment) = w.new_order(), w.new_paid()
REQUESTS = [
    ("order_place", w.olga, "/v1/orders", {"items": w.lines()}),
    ("order_place_batch", w.olga, "/v1/orders/batch", {"policy": "valid_rows", "orders": [{"items": w.lines()}]}),
    ("payment_create", w.olga, f"/v1/orders/{order}/payments", {"provider": "simulated", "method": "test_approve"}),
    ("payment_refund", w.mark, f"/v1/payments/{payment}/refunds", {"amount": 5}),
    ("order_return", w.mark, f"/v1/orders/{paid}/returns", {"items": [{"line": 1, "quantity": 1}]}),
    ("sku_receive", w.mark, f"/v1/skus/{w.sku}/receipts", {"quantity": 5}),
    ("sku_adjust", w.mark, f"/v1/skus/{w.sku}/adjustments", {"delta": -5, "reason": "broken"}),
]
headers = {operation: key() for operation, *_ in REQUESTS}
claims = "".join(f"SELECT claimed FROM holdfast.claim_key({who.id}, '{operation}', '{headers[operation]['Idempotency-Key']}', sha256('x'));\n" for operation, who, *_ in REQUESTS)
first = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
first.stdin.write("BEGIN;\n" + claims)
first.stdin.flush()
t.equal([first.stdout.readline().strip() for _ in REQUESTS], ["t"] * len(REQUESTS), "somebody works on each")
before = psql("SELECT count(*) FROM shop.order"), w.mark.get(f"/v1/skus/{w.sku}/stock").json()
for operation, who, path, body in REQUESTS:
    answer = who.post(path, body, headers=headers[operation])
    t.ok(why_no_problem(answer, "idempotency_key_in_flight", 409) is None, f"{operation}: the same again is told so", answer)
t.equal((psql("SELECT count(*) FROM shop.order"), w.mark.get(f"/v1/skus/{w.sku}/stock").json()), before, "and nothing is done")
first.communicate("ROLLBACK;\n")
for operation, who, path, body in REQUESTS:
    answer = who.post(path, body, headers=headers[operation])
    t.ok(answer.status // 100 == 2 and "idempotency-replayed" not in answer.headers, f"{operation}: when that has come to nothing, it is done", answer)
    again = who.post(path, body, headers=headers[operation])
    t.ok(again.body == answer.body and again.status == answer.status and again.headers["idempotency-replayed"] == "true", "  once", again)
