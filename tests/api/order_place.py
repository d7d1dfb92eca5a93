#!/usr/bin/env python3
"""An order holds its units at the price of that moment, once for each key, whoever else asks for it at the same time; the
buyer's idea of the total counts, and what cannot be had is not there in part. Runs within tools/with-api. TAP.
"""
import subprocess
import threading
import uuid

from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
mark, mia, olga, otto = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga"), register("otto")
lamp, cup, tea = product(mark, 4900, 10), product(mark, 300, 5), product(mia, 700, 5)
dollar = product(mark, skus=[{"code": uuid.uuid4().hex[:8], "price": 100, "currency": "USD"}])
LAMP, CUP, TEA, DOLLAR = (p["skus"][0]["id"] for p in (lamp, cup, tea, dollar))


def items(*pairs):
    return [{"sku_id": sku, "quantity": quantity} for sku, quantity in pairs]


def stock(sku, who=mark):
    answer = who.get(f"/v1/skus/{sku}/stock").json()
    return answer["available"], answer["held"], answer["sold"]


def orders(who=olga):
    return int(psql(f"SELECT count(*) FROM shop.order WHERE account_id = {who.id}"))


# What it is.
answer = olga.post("/v1/orders", {"items": items((LAMP, 2), (CUP, 1)), "expected_total": 10100}, headers=key())
order = answer.json()
t.ok(answer.status == 201 and answer.headers["location"] == f"/v1/orders/{order['id']}" and answer.headers["etag"] == '"1"', "an order is placed", answer)
t.equal({name: order[name] for name in ("status", "merchant_id", "total", "currency", "sale_id", "channel")},
        {"status": "pending_payment", "merchant_id": mark.merchant_id, "total": 10100, "currency": "EUR", "sale_id": None, "channel": None}, "it waits for its payment")
t.equal([(i["line"], i["sku_id"], i["quantity"], i["unit_price"], i["amount"], i["returned"]) for i in order["items"]], [(1, LAMP, 2, 4900, 9800, 0), (2, CUP, 1, 300, 300, 0)], "at the prices of that moment")
t.ok(order["placed_at"] < order["expires_at"], "until a time that it says")
t.equal((stock(LAMP), stock(CUP)), ((8, 2, 0), (4, 1, 0)), "and holds its units")
mark.patch(f"/v1/products/{lamp['id']}", {"title": "Renamed", "skus": [{"id": LAMP, "code": "L2", "price": 9900}]}, headers={"If-Match": "*"})
seen = olga.get(f"/v1/orders/{order['id']}").json()
t.equal((seen["total"], seen["items"][0]["unit_price"], seen["items"][0]["title"]), (10100, 4900, lamp["title"]), "whatever becomes of the product")
t.equal((seen["payments"], seen["history"]), ([], []), "nothing has happened to it yet")
same = olga.post("/v1/orders", {"items": items((CUP, 1), (CUP, 1))}, headers=key())
t.ok(same.status == 201 and [(i["line"], i["quantity"]) for i in same.json()["items"]] == [(1, 2)], "a SKU that comes twice is one line", same)

# What is refused, why, and where that is.
before = orders(), stock(LAMP), stock(CUP), stock(TEA, mia)
for claim, body, status, code, pointer, word in [
        ("more than there is", {"items": items((LAMP, 9))}, 409, "insufficient_stock", "/items/0/quantity", "8"),
        ("one line of two that is more than there is", {"items": items((LAMP, 1), (CUP, 50))}, 409, "insufficient_stock", "/items/1/quantity", "2"),
        ("another total than is expected", {"items": items((LAMP, 1)), "expected_total": 4900}, 409, "total_changed", "/expected_total", "9900"),
        ("of two merchants", {"items": items((LAMP, 1), (TEA, 1))}, 422, "several_merchants", "/items", ""),
        ("in two currencies", {"items": items((LAMP, 1), (DOLLAR, 1))}, 422, "several_currencies", "/items", ""),
        ("of nothing that there is", {"items": items(("1234567890123", 1))}, 422, "not_for_sale", "/items/0/sku_id", ""),
        ("without lines", {"items": []}, 422, "invalid_length", "/items", "1 to 200"), ("of 201 lines", {"items": items(*((LAMP, 1),) * 201)}, 422, "invalid_length", "/items", "1 to 200"),
        ("of no unit", {"items": items((LAMP, 0))}, 422, "out_of_range", "/items/0/quantity", "1 to"), ("of half a unit", {"items": items((LAMP, 0.5))}, 422, "wrong_type", "/items/0/quantity", "integer"),
        ("of an id that is a number", {"items": [{"sku_id": int(LAMP), "quantity": 1}]}, 422, "wrong_type", "/items/0/sku_id", "string"), ("with a price", {"items": [{"sku_id": LAMP, "quantity": 1, "price": 1}]}, 422, "unknown_field", "/items/0/price", "")]:
    answer = olga.post("/v1/orders", body, headers=key())
    t.ok(why_no_problem(answer, code, status) is None and answer.json().get("pointer") == pointer and word in answer.json().get("detail", ""), f"an order {claim} is refused", answer)
mark.post(f"/v1/products/{dollar['id']}/unpublish")
t.equal(olga.post("/v1/orders", {"items": items((DOLLAR, 1))}, headers=key()).code, "not_for_sale", "so is one of what is not published")
mark.delete(f"/v1/products/{dollar['id']}")
t.equal(olga.post("/v1/orders", {"items": items((DOLLAR, 1))}, headers=key()).code, "not_for_sale", "or not there any more")
t.equal((orders(), stock(LAMP), stock(CUP), stock(TEA, mia)), before, "and nothing is ordered or held")

# The same key, while the first is being worked on.
headers, body = key(), {"items": items((CUP, 1))}
first = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
text = f'{{"items": [{{"sku_id": "{CUP}", "quantity": 1}}]}}'
first.stdin.write(f"BEGIN; SELECT body ->> 'id' FROM rest.order_place({olga.id}, '{headers['Idempotency-Key']}', '{text}');\n")
first.stdin.flush()
placed = first.stdout.readline().strip()
answer = olga.post("/v1/orders", body, headers=headers)
t.ok(why_no_problem(answer, "idempotency_key_in_flight", 409) is None, "while a request with the key is being worked on, the same is told so", answer)
t.equal(otto.post("/v1/orders", {"items": items((TEA, 1))}, headers=headers).status, 201, "which does not concern another account")
first.communicate("COMMIT;\n")
answer = olga.post("/v1/orders", body, headers=headers)
t.ok(answer.status == 201 and answer.json()["id"] == placed and answer.headers["idempotency-replayed"] == "true", "and gets that order afterwards", answer)

# Two and more at once: one order, and no more units than there are.
for claim, same_key in (("with one key", True), ("with a key each", False)):
    units = stock(CUP)[0]
    headers, answers, start = key(), [], threading.Barrier(8)

    def buy():
        client = Client(token=olga.token)
        start.wait()
        answers.append(client.post("/v1/orders", body, headers=headers if same_key else key()))

    threads = [threading.Thread(target=buy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = {a.json()["id"] for a in answers if a.status == 201}
    others = {a.code for a in answers if a.status != 201}
    t.ok(len(done) == (1 if same_key else units) and others <= ({"idempotency_key_in_flight"} if same_key else {"insufficient_stock"}) and stock(CUP)[0] == units - len(done),
         f"eight at once {claim}: {len(done)} of {units} units", *answers)
t.equal(stock(CUP)[0], 0, "all is ordered, and no more")

# Giving it back.
PATH = f"/v1/orders/{order['id']}"
for claim, who, status, code in [("who is not logged in", Client(), 401, "unauthenticated"), ("another user", otto, 404, "not_found"), ("another merchant", mia, 404, "not_found"), ("its merchant", mark, 403, "forbidden")]:
    answer = who.post(PATH + "/cancel")
    t.ok(why_no_problem(answer, code, status) is None, f"{claim} does not cancel it", answer)
answer = olga.post(PATH + "/cancel", headers={"If-Match": '"7"'})
t.ok(why_no_problem(answer, "precondition_failed", 412) is None and '"1"' in answer.json()["detail"], "nor does who has seen another version", answer)
answer = olga.post(PATH + "/cancel", headers={"If-Match": '"1"'})
t.ok(answer.status == 200 and answer.json()["status"] == "cancelled" and answer.json()["expires_at"] is None and answer.headers["etag"] == '"2"', "its buyer does", answer)
t.equal((stock(LAMP), stock(CUP)[0]), ((10, 0, 0), 1), "and its units are free at once")
history = olga.get(PATH).json()["history"]
t.equal([(e["action"], e["from"], e["to"]) for e in history], [("cancel", "pending_payment", "cancelled")], "which its history tells")
answer = olga.post(PATH + "/cancel")
t.ok(why_no_problem(answer, "order_status", 409) is None and "cancelled" in answer.json()["detail"], "twice it is not cancelled", answer)
