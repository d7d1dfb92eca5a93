#!/usr/bin/env python3
"""A batch places up to 1,000 orders at once and says of each what became of it: all or nothing, or those that can be.
Sent again with its key it is answered again. Runs within tools/with-api. TAP.
"""
import time

from api import Tap, key, product, psql, register, why_no_problem

t = Tap()
mark, mia, olga = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga")
SKU, FEW, TEA = product(mark, 100, 5000)["skus"][0]["id"], product(mark, 100, 3)["skus"][0]["id"], product(mia)["skus"][0]["id"]
PATH = "/v1/orders/batch"


def order(quantity=1, sku=SKU, **more):
    return {"items": [{"sku_id": sku, "quantity": quantity}], **more}


def send(orders, policy="valid_rows", headers=None):
    return olga.post(PATH, {"policy": policy, "orders": orders}, headers=headers or key())


def available(sku):
    return mark.get(f"/v1/skus/{sku}/stock").json()["available"]


def orders():
    return int(psql(f"SELECT count(*) FROM shop.order WHERE account_id = {olga.id}"))


# Each for itself.
answer = send([order(2), order(9, FEW), order(1, FEW, expected_total=100), order(1, FEW, expected_total=99), {"items": []}, order(0), {"items": [{"sku_id": "x", "quantity": 1}]}, order(1, "1234567890123"),
               {"items": [*order()["items"], *order(1, TEA)["items"]]}, {"items": "no"}, order(more=1)])
results = answer.json()["results"]
t.equal([r["index"] for r in results], list(range(11)), "each order has its verdict, in order")
t.equal([r["status"] for r in results], [201, 409, 201, 409, 422, 422, 422, 422, 422, 422, 422], "those that can be placed are")
t.equal([r.get("problem", {}).get("code") for r in results], [None, "insufficient_stock", None, "total_changed", "invalid_length", "out_of_range", "invalid_value", "not_for_sale", "several_merchants", "wrong_type", "unknown_field"],
        "the others are not, each for its own reason")
t.equal([r.get("problem", {}).get("pointer") for r in results], [None, "/orders/1/items/0/quantity", None, "/orders/3/expected_total", "/orders/4/items", "/orders/5/items/0/quantity", "/orders/6/items/0/sku_id", "/orders/7/items/0/sku_id",
                                                                 "/orders/8/items", "/orders/9/items", "/orders/10/more"], "with a pointer into the batch")
t.equal((orders(), available(SKU), available(FEW)), (2, 4998, 2), "and no units are held for them")
t.equal(olga.get(f"/v1/orders/{results[0]['order']['id']}").json()["total"], 200, "what was placed is an order like any other")

# All or nothing.
answer = send([order(), order(3, FEW), order()], "all_or_nothing")
t.equal([r.get("problem", {}).get("code") for r in answer.json()["results"]], ["refused_with_batch", "insufficient_stock", "refused_with_batch"], "all or nothing: nothing, and which one was the reason")
t.equal((orders(), available(SKU)), (2, 4998), "nothing is placed")
answer = send([order(), order(1, FEW)], "all_or_nothing")
t.equal([r["status"] for r in answer.json()["results"]], [201, 201], "all or nothing: all")

# Sent again.
headers, batch = key(), [order(), order(50, FEW)]
first = send(batch, headers=headers)
mark.post(f"/v1/skus/{FEW}/receipts", {"quantity": 100})
again = send(batch, headers=headers)
t.ok(again.body == first.body and again.headers["idempotency-replayed"] == "true", "sent again, it is answered as before, also for what was refused", first, again)
answer = send(batch[:1], headers=headers)
t.ok(why_no_problem(answer, "idempotency_key_reused", 422) is None, "the key is for that batch alone", answer)

# The limits.
before = orders()
began = time.monotonic()
answer = send([order() for _ in range(1000)])
took = time.monotonic() - began
t.ok(answer.status == 200 and all(r["status"] == 201 for r in answer.json()["results"]) and orders() == before + 1000, f"1,000 orders are placed, in {took:.1f} s")
t.equal(available(SKU), 4998 - 2 - 1000, "each with its unit")
for claim, body, code, pointer in [
        ("1,001 orders", {"policy": "valid_rows", "orders": [order()] * 1001}, "invalid_length", "/orders"), ("none", {"policy": "valid_rows", "orders": []}, "invalid_length", "/orders"),
        ("10,001 lines", {"policy": "valid_rows", "orders": [{"items": order()["items"] * 73}] * 137}, "invalid_length", "/orders"), ("another policy", {"policy": "some", "orders": [order()]}, "invalid_value", "/policy"),
        ("no policy", {"orders": [order()]}, "missing_field", "/policy"), ("no list", {"policy": "valid_rows", "orders": {}}, "wrong_type", "/orders"), ("more fields", {"policy": "valid_rows", "orders": [order()], "x": 1}, "unknown_field", "/x")]:
    answer = olga.post(PATH, body, headers=key())
    t.ok(why_no_problem(answer, code, 422) is None and answer.json()["pointer"] == pointer, f"{claim}: no batch", answer)
t.equal(orders(), before + 1000, "and nothing of them is placed")
