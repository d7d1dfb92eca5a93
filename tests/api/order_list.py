#!/usr/bin/env python3
"""A buyer lists his orders and a merchant his, by status, the youngest first; each order is seen by its buyer, its merchant
and administrators. Runs within tools/with-api. TAP.
"""
from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
mark, mia, olga, otto, root = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga"), register("otto"), register("root", ["admin"])
SKU, TEA = product(mark, 100, 100)["skus"][0]["id"], product(mia, 100, 100)["skus"][0]["id"]
psql("SELECT holdfast.add_provider('simulated')")


def place(who=olga, sku=SKU):
    return who.post("/v1/orders", {"items": [{"sku_id": sku, "quantity": 1}]}, headers=key()).json()["id"]


def to(order, status):
    """Brings an order to a status."""
    if status == "cancelled":
        olga.post(f"/v1/orders/{order}/cancel")
    if status in ("paid", "shipped", "completed", "returned"):
        olga.post(f"/v1/orders/{order}/payments", {"provider": "simulated", "method": "test_approve"}, headers=key())
        psql("SELECT holdfast.simulate_provider()")
    for action in {"shipped": ["ship"], "completed": ["ship", "complete"]}.get(status, []):
        mark.post(f"/v1/orders/{order}/{action}")
    if status == "returned":
        mark.post(f"/v1/orders/{order}/returns", headers=key())
    return order


def listed(who, query=""):
    return [o["id"] for o in who.get("/v1/orders" + query).json()["items"]]


STATUSES = ("pending_payment", "paid", "shipped", "completed", "returned", "cancelled")
of = {status: to(place(), status) for status in STATUSES}
tea, others = place(olga, TEA), place(otto)
t.equal(listed(olga), [tea, *reversed(of.values())], "a buyer sees his orders, the youngest first")
t.equal(listed(otto), [others], "and nobody else's")
t.equal(listed(mark), [], "a merchant who buys nothing has no orders of his own")
t.equal(listed(mark, "?merchant=mine"), [others, *reversed(of.values())], "but those that are bought of him")
t.equal(listed(mia, "?merchant=mine"), [tea], "each merchant his")
for status in STATUSES:
    wanted = ([tea] if status == "pending_payment" else []) + [of[status]]
    t.equal(listed(olga, f"?status={status}"), wanted, f"a buyer's that are {status}")
    t.equal(listed(mark, f"?status={status}&merchant=mine"), ([others] if status == "pending_payment" else []) + [of[status]], "  and a merchant's")
one = olga.get("/v1/orders?status=paid").json()["items"][0]
t.equal({k: one[k] for k in ("id", "status", "merchant_id", "lines", "total", "currency")},
        {"id": of["paid"], "status": "paid", "merchant_id": mark.merchant_id, "lines": 1, "total": 100, "currency": "EUR"}, "a line of it says what it is")
page = olga.get("/v1/orders?limit=2").json()
rest = olga.get(f"/v1/orders?limit=100&cursor={page['next']}").json()
t.equal([o["id"] for o in page["items"] + rest["items"]], listed(olga), "a page goes on where the one before has ended")
t.equal(rest["next"], None, "until there are no more")
for claim, who, query, status, code, pointer in [
        ("nobody", Client(), "", 401, "unauthenticated", None), ("who is no merchant", olga, "?merchant=mine", 403, "forbidden", None), ("an admin who is none", root, "?merchant=mine", 403, "forbidden", None),
        ("a status that is none", olga, "?status=lost", 422, "invalid_value", "?status"), ("another merchant by name", mark, f"?merchant={mia.merchant_id}", 422, "invalid_value", "?merchant"),
        ("a page of none", olga, "?limit=0", 422, "out_of_range", "?limit"), ("a page of 101", olga, "?limit=101", 422, "out_of_range", "?limit"), ("many", olga, "?limit=many", 422, "wrong_type", "?limit"),
        ("a filter that there is not", olga, "?total=5", 422, "unknown_field", "?total"), ("a cursor of another list", mark, f"?merchant=mine&cursor={page['next']}", 400, "invalid_cursor", "?cursor")]:
    answer = who.get("/v1/orders" + query)
    t.ok(why_no_problem(answer, code, status) is None and answer.json().get("pointer") == pointer, f"no list: {claim}", answer)

# One order, as each sees it.
PATH = f"/v1/orders/{of['completed']}"
bodies = [who.get(PATH).json() for who in (olga, mark, root)]
t.ok(bodies[0] == bodies[1] == bodies[2], "buyer, merchant and admin see the same", *bodies)
t.equal([(e["action"], e["from"], e["to"]) for e in bodies[0]["history"]], [("pay", "pending_payment", "paid"), ("ship", "paid", "shipped"), ("complete", "shipped", "completed")], "with what has happened to it")
t.equal(olga.get("/v1/payments/" + bodies[0]["payments"][0]).json()["order_id"], of["completed"], "and its payment")
for claim, who, status, code in [("nobody", Client(), 401, "unauthenticated"), ("another user", otto, 404, "not_found"), ("another merchant", mia, 404, "not_found")]:
    answer = who.get(PATH)
    t.ok(why_no_problem(answer, code, status) is None, f"{claim} does not see it", answer)
etag = olga.get(PATH).headers["etag"]
t.equal(olga.get(PATH, headers={"If-None-Match": etag}).status, 304, "what has not changed is not sent again")

# What its merchant does with it, and in which order.
for action, code_of in [("ship", {"pending_payment": "order_status", "shipped": "order_status", "completed": "order_status", "returned": "order_status", "cancelled": "order_status"}),
                        ("complete", {"pending_payment": "order_status", "paid": "order_status", "completed": "order_status", "returned": "order_status", "cancelled": "order_status"})]:
    for status, code in code_of.items():
        answer = mark.post(f"/v1/orders/{of[status]}/{action}")
        t.ok(why_no_problem(answer, code, 409) is None and status in answer.json()["detail"], f"{action} is nothing for an order that is {status}", answer)
answer = mark.post(f"/v1/orders/{of['paid']}/ship", headers={"If-Match": '"1"'})
t.ok(why_no_problem(answer, "precondition_failed", 412) is None, "nor for who has seen another version", answer)
answer = root.post(f"/v1/orders/{of['paid']}/ship", headers={"If-Match": olga.get(f"/v1/orders/{of['paid']}").headers["etag"]})
t.ok(answer.status == 200 and answer.json()["status"] == "shipped", "an admin may do it as well", answer)
answer = olga.post(f"/v1/orders/{of['paid']}/complete")
t.ok(why_no_problem(answer, "forbidden", 403) is None and "merchant" in answer.json()["detail"], "its buyer may not", answer)
t.equal(mark.post(f"/v1/orders/{of['paid']}/complete").json()["status"], "completed", "and then it is done")
