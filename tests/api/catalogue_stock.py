#!/usr/bin/env python3
"""Stock over HTTP: receipts and adjustments by its merchant alone, told to all at once, never below zero. Runs within
tools/with-api. TAP.
"""
import threading

from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
nobody, olga, mark, mia, root = Client(), register("olga"), register("mark", ["merchant"]), register("mia", ["merchant"]), register("root", ["admin"])
thing = product(mark, units=0)
SKU = thing["skus"][0]["id"]
PATH = f"/v1/skus/{SKU}"


def refused(answer, status, code, claim, pointer=None):
    t.ok(why_no_problem(answer, code, status) is None and (pointer is None or answer.json().get("pointer") == pointer), claim, answer)


t.equal(nobody.get(PATH + "/stock").json(), {"sku_id": SKU, "available": 0}, "what was never received is not there")
refused(mark.post(PATH + "/adjustments", {"delta": -1, "reason": "x"}), 409, "insufficient_stock", "and cannot become less")
answer = mark.post(PATH + "/receipts", {"quantity": 10, "reference": "delivery note 1"})
t.ok(answer.status == 201 and answer.json() == {"sku_id": SKU, "available": 10}, "a delivery comes in", answer)
for who in (nobody, olga, mia):
    t.equal(who.get(PATH + "/stock").json(), {"sku_id": SKU, "available": 10}, "all see what is available, at once")
t.equal(mark.post(PATH + "/receipts", {"quantity": 5}).json()["available"], 15, "a reference may be missing")
answer = mark.post(PATH + "/adjustments", {"delta": -3, "reason": "broken"})
t.ok(answer.status == 201 and answer.json()["available"] == 12, "some are broken", answer)
t.equal(mark.post(PATH + "/adjustments", {"delta": 1, "reason": "found"}).json()["available"], 13, "one is found")
olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 4}]}, headers=key())
for who in (mark, root):
    t.equal(who.get(PATH + "/stock").json(), {"sku_id": SKU, "available": 9, "held": 4, "sold": 0},
            "its merchant, or an admin, sees what is held and sold, too")
t.equal(nobody.get(PATH + "/stock").json(), {"sku_id": SKU, "available": 9}, "others see less")
refused(mark.post(PATH + "/adjustments", {"delta": -10, "reason": "all gone"}), 409, "stock_below_zero", "what is held for others is not taken away")
first, second = nobody.get(PATH + "/stock"), nobody.get(PATH + "/stock")
t.ok(first.headers["etag"] == second.headers["etag"] and nobody.get(PATH + "/stock", headers={"If-None-Match": first.headers["etag"]}).status == 304,
     "stock that has not changed has not changed")
mark.post(PATH + "/adjustments", {"delta": 1, "reason": "found"})
t.equal(nobody.get(PATH + "/stock", headers={"If-None-Match": first.headers["etag"]}).status, 200, "and what has, has")
psql(f"SELECT holdfast.receive({SKU}, 5, 'by hand')")
t.equal(nobody.get(PATH + "/stock").json()["available"], 15, "what comes in by psql shows at once, too")
for kind, good in (("receipts", {"quantity": 1}), ("adjustments", {"delta": 1, "reason": "x"})):
    for who, status, code in ((nobody, 401, "unauthenticated"), (olga, 403, "forbidden"), (mia, 403, "forbidden")):
        refused(who.post(f"{PATH}/{kind}", good), status, code, f"{kind}: refused to who is not its merchant: {code}")
    refused(mark.post(f"/v1/skus/1/{kind}", good), 404, "not_found", f"{kind}: none of what is not there")
    refused(mark.post(f"/v1/skus/{thing['id']}/{kind}", good), 404, "not_found", f"{kind}: a product is no SKU")
    refused(mark.post(f"{PATH}/{kind}", {**good, "sku_id": SKU}), 422, "unknown_field", f"{kind}: no unknown field", "/sku_id")
    refused(mark.post(f"{PATH}/{kind}", {}), 422, "missing_field", f"{kind}: something must be said")
    t.equal(root.post(f"{PATH}/{kind}", good).status, 201, f"{kind}: an admin may")
for kind, body, status, code, pointer in [
        ("receipts", {"quantity": 0}, 422, "out_of_range", "/quantity"), ("receipts", {"quantity": -1}, 422, "out_of_range", "/quantity"),
        ("receipts", {"quantity": 10 ** 9 + 1}, 422, "out_of_range", "/quantity"), ("receipts", {"quantity": 1.5}, 422, "wrong_type", "/quantity"),
        ("receipts", {"quantity": "1"}, 422, "wrong_type", "/quantity"), ("receipts", {"quantity": 1e308}, 422, "out_of_range", "/quantity"),
        ("receipts", {"quantity": True}, 422, "wrong_type", "/quantity"), ("receipts", {"quantity": 1, "reference": ""}, 422, "invalid_length",
                                                                           "/reference"),
        ("receipts", {"quantity": 1, "reference": "x" * 201}, 422, "invalid_length", "/reference"),
        ("adjustments", {"delta": 0, "reason": "x"}, 422, "invalid_quantity", None), ("adjustments", {"delta": 1}, 422, "missing_field", "/reason"),
        ("adjustments", {"reason": "x"}, 422, "missing_field", "/delta"),
        ("adjustments", {"delta": -10 ** 10, "reason": "x"}, 422, "out_of_range", "/delta"),
        ("adjustments", {"delta": -10 ** 9, "reason": "x"}, 409, "stock_below_zero", None)]:
    refused(mark.post(f"{PATH}/{kind}", body), status, code, f"{kind} with {str(body)[:50]}: {code}", pointer)
for word in ("1", "abc", "0", "-1", "1" * 20):
    refused(nobody.get(f"/v1/skus/{word}/stock"), 404, "not_found", f"there is no SKU {word}")
before = mark.get(PATH + "/stock").json()["available"]
answers = []
threads = [threading.Thread(target=lambda: answers.extend(Client(token=mark.token).post(PATH + "/adjustments",
                                                                                        {"delta": -1, "reason": "x"}) for _ in range(5))) for _
                                                                                        in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
good = [a for a in answers if a.status == 201]
t.ok(len(good) == min(before, 30) and mark.get(PATH + "/stock").json()["available"] == before - len(good) and
     all(a.code == "stock_below_zero" for a in answers if a not in good), "thirty at once take what is there and no more", before, *answers[:3])
mark.delete(f"/v1/products/{thing['id']}")
refused(nobody.get(PATH + "/stock"), 404, "not_found", "the stock of what is deleted is nobody's to see")
t.equal(mark.get(PATH + "/stock").status, 200, "but its merchant's")
