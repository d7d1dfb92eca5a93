#!/usr/bin/env python3
"""An order that is not paid in time is cancelled from that instant, whoever looks at it, and its units are free again;
a payment that has begun in time is waited for. Runs within tools/with-api. TAP.
"""
from api import Tap, key, product, psql, register, why_no_problem

t = Tap()
mark, olga = register("mark", ["merchant"]), register("olga")
SKU = product(mark, units=3)["skus"][0]["id"]
PAY = {"provider": "simulated", "method": "test_silent"}
psql("SELECT holdfast.add_provider('simulated')")


def place():
    return olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key()).json()["id"]


def run_out(order):
    """The time of the order is over, by the clock, and nobody has swept."""
    psql(f"""UPDATE _holdfast.hold SET held_at = held_at - interval '1 hour', expires_at = clock_timestamp() - interval '1 second' WHERE owner = '{order}';
             UPDATE shop.order SET expires_at = clock_timestamp() - interval '1 second' WHERE account_id = {olga.id} AND id = '{order}'""")


def listed(status, who=olga, query=""):
    return [o["id"] for o in who.get(f"/v1/orders?status={status}{query}").json()["items"]]


late, early, paying = place(), place(), place()
t.equal(olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key()).code, "insufficient_stock", "all units are held")
etag = olga.get(f"/v1/orders/{late}").headers["etag"]
answer = olga.post(f"/v1/orders/{paying}/payments", PAY, headers=key())
t.ok(answer.status == 202 and answer.json()["state"] == "capturing", "one order is being paid", answer)
psql("SELECT holdfast.simulate_provider()")
run_out(late)
answer = olga.get(f"/v1/orders/{late}")
t.ok(answer.json()["status"] == "cancelled" and answer.json()["expires_at"] is None and answer.headers["etag"] != etag, "an order whose time is over is cancelled", answer)
t.equal((listed("cancelled"), listed("cancelled", mark, "&merchant=mine")), ([late], [late]), "for its buyer and its merchant")
t.equal(listed("pending_payment"), [paying, early], "and none of those that wait")
for claim, answer, code in [("paid", olga.post(f"/v1/orders/{late}/payments", PAY, headers=key()), ("hold_ended", "order_status")), ("cancelled", olga.post(f"/v1/orders/{late}/cancel"), ("order_status",))]:
    t.ok(why_no_problem(answer, status=409) is None and answer.code in code, f"it is not {claim} any more: {answer.code}", answer)
again = olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key())
t.equal(again.status, 201, "its unit is bought by the next one, though nobody has swept")
psql("SELECT shop.tend()")
answer = olga.get(f"/v1/orders/{late}").json()
t.equal([(e["action"], e["to"]) for e in answer["history"]], [("expire", "cancelled")], "the sweep writes down what the clock has done")

# A payment that is under way.
seen = olga.get(f"/v1/orders/{paying}").json()
t.equal(seen["status"], "pending_payment", "an order that is being paid has all the time that it takes")
answer = olga.post(f"/v1/orders/{paying}/cancel")
t.ok(why_no_problem(answer, "payment_under_way", 409) is None, "and is not cancelled meanwhile", answer)
