#!/usr/bin/env python3
"""What a buyer sends back returns to stock, and its money to him: in part or as a whole, each unit once. Runs within
tools/with-api. TAP.
"""
from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
mark, mia, olga, root = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga"), register("root", ["admin"])
LAMP, CUP = product(mark, 1000, 10)["skus"][0]["id"], product(mark, 300, 10)["skus"][0]["id"]
psql("SELECT holdfast.add_provider('simulated')")
order = olga.post("/v1/orders", {"items": [{"sku_id": LAMP, "quantity": 3}, {"sku_id": CUP, "quantity": 2}]}, headers=key()).json()["id"]
RETURNS = f"/v1/orders/{order}/returns"


def provider():
    psql("SELECT holdfast.simulate_provider()")


def stock():
    return [tuple(mark.get(f"/v1/skus/{sku}/stock").json()[k] for k in ("available", "held", "sold")) for sku in (LAMP, CUP)]


def give_back(*lines, who=mark, headers=None):
    return who.post(RETURNS, {"items": [{"line": line, "quantity": quantity} for line, quantity in lines], "reason": "too small"}, headers=headers or key())


answer = give_back((1, 1))
t.ok(why_no_problem(answer, "order_status", 409) is None and "pending_payment" in answer.json()["detail"], "what is not paid does not come back", answer)
payment = olga.post(f"/v1/orders/{order}/payments", {"provider": "simulated", "method": "test_approve"}, headers=key()).json()["id"]
provider()
t.equal(stock(), [(7, 0, 3), (8, 0, 2)], "three and two are sold")

headers = key()
answer = give_back((1, 2), headers=headers)
body = answer.json()
t.ok(answer.status == 200 and body["status"] == "paid" and [i["returned"] for i in body["items"]] == [2, 0], "two of three come back", answer)
t.ok(body["refund"]["payment_id"] == payment and body["refund"]["amount"] == 2000, "and their money is on its way", body)
t.equal(stock(), [(9, 0, 1), (8, 0, 2)], "they are in stock again")
again = give_back((1, 2), headers=headers)
t.ok(again.body == answer.body and again.headers["idempotency-replayed"] == "true", "sent again: the same answer", again)
t.equal(stock(), [(9, 0, 1), (8, 0, 2)], "and no unit more")
t.equal(give_back((1, 1), headers=headers).code, "idempotency_key_reused", "with another payload the key is refused")
provider()
t.equal([olga.get(f"/v1/payments/{payment}").json()[k] for k in ("captured", "refunded")], [3600, 2000], "the money has come back")

for claim, who, lines, status, code, pointer in [
        ("more than is left of a line", mark, [(1, 2)], 409, "exceeds_bought", "/items/0/quantity"), ("a line that there is not", mark, [(3, 1)], 422, "invalid_value", "/items/0/line"), ("more than was bought, in two parts", mark, [(2, 2), (2, 1)], 409, "exceeds_bought", None),
        ("no unit", mark, [(2, 0)], 422, "out_of_range", "/items/0/quantity"), ("no line", mark, [], 422, "invalid_length", "/items"), ("its buyer", olga, [(2, 1)], 403, "forbidden", None), ("another merchant", mia, [(2, 1)], 404, "not_found", None),
        ("nobody", Client(), [(2, 1)], 401, "unauthenticated", None)]:
    answer = give_back(*lines, who=who)
    t.ok(why_no_problem(answer, code, status) is None and pointer in (None, answer.json().get("pointer")), f"nothing comes back: {claim}", answer)
for claim, body, code in [("a reason that is too long", {"reason": "x" * 201}, "invalid_length"), ("more fields", {"refund": 5}, "unknown_field"), ("no list", {"items": 5}, "wrong_type")]:
    t.equal(mark.post(RETURNS, body, headers=key()).code, code, f"nothing comes back: {claim}")
t.equal(stock(), [(9, 0, 1), (8, 0, 2)], "nothing has moved")

# Its money was given back already, in part.
answer = mark.post(f"/v1/payments/{payment}/refunds", {"amount": 1000}, headers=key())
provider()
answer = give_back((1, 1), (2, 2))
t.ok(answer.status == 200 and answer.json()["status"] == "returned" and answer.json()["refund"]["amount"] == 600, "the goods come back, and what is left of the money", answer)
t.equal(stock(), [(10, 0, 0), (10, 0, 0)], "then all is in stock again")

# All that is left, without saying what.
order = olga.post("/v1/orders", {"items": [{"sku_id": CUP, "quantity": 2}]}, headers=key()).json()["id"]
RETURNS = f"/v1/orders/{order}/returns"
olga.post(f"/v1/orders/{order}/payments", {"provider": "simulated", "method": "test_approve"}, headers=key())
provider()
mark.post(f"/v1/orders/{order}/ship")
before = stock()[1]
answer = root.post(RETURNS, headers=key())
t.ok(answer.status == 200 and answer.json()["status"] == "returned" and answer.json()["refund"]["amount"] == 600, "without a body all comes back, for an admin too", answer)
t.equal(stock()[1], (before[0] + 2, 0, before[2] - 2), "and is in stock again")
t.equal(mark.post(RETURNS, headers=key()).code, "order_status", "once")
provider()
t.equal(root.get("/v1/admin/invariants").json(), {"holds": True, "broken": 0, "items": []}, "money and goods add up")
