#!/usr/bin/env python3
"""A merchant makes a sale, changes it while it is a draft, and preheats it, which moves its units and makes it public; closed,
what is left goes back. Runs within tools/with-api. TAP.
"""
from api import Client, Tap, product, psql, register, why_no_problem

t = Tap()
nobody = Client()
mark, mia, olga, root = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga"), register("root", ["admin"])
thing = product(mark, 1000, 100)
SKU, TEA = thing["skus"][0]["id"], product(mia)["skus"][0]["id"]
GOOD = {"sku_id": SKU, "price": 700, "quantity": 30, "starts_at": "2099-01-01T20:00:00Z", "ends_at": "2099-01-01T22:00:00+00:00", "per_account_limit": 2}


def available():
    return mark.get(f"/v1/skus/{SKU}/stock").json()["available"]


def listed(who, query=""):
    return [s["id"] for s in who.get(f"/v1/sales?merchant={mark.merchant_id}{query}").json()["items"]]


# Making one.
answer = mark.post("/v1/sales", GOOD)
sale = answer.json()
PATH = f"/v1/sales/{sale['id']}"
t.ok(answer.status == 201 and answer.headers["location"] == PATH, "a merchant makes a sale", answer)
t.equal({k: sale[k] for k in ("state", "merchant_id", "sku_id", "product_id", "code", "title", "price", "regular_price", "currency", "quantity", "left", "per_account_limit", "starts_at", "ends_at", "version")},
        {"state": "draft", "merchant_id": mark.merchant_id, "sku_id": SKU, "product_id": thing["id"], "code": thing["skus"][0]["code"], "title": thing["title"], "price": 700, "regular_price": 1000, "currency": "EUR", "quantity": 30, "left": 0,
         "per_account_limit": 2, "starts_at": "2099-01-01T20:00:00.000000Z", "ends_at": "2099-01-01T22:00:00.000000Z", "version": 1}, "which is a draft")
t.equal(available(), 100, "and takes nothing from stock")
for claim, more, status, code, pointer in [
        ("for nothing", {"price": 0}, 422, "out_of_range", "/price"), ("of no unit", {"quantity": 0}, 422, "out_of_range", "/quantity"), ("without a limit", {"per_account_limit": None}, 422, "missing_field", "/per_account_limit"),
        ("with too high a limit", {"per_account_limit": 1001}, 422, "out_of_range", "/per_account_limit"), ("that ends before it starts", {"ends_at": "2098-01-01T00:00:00Z"}, 422, "invalid_value", "/ends_at"), ("that is over", {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2020-01-02T00:00:00Z"}, 422, "invalid_value", "/ends_at"),
        ("at a time that is none", {"starts_at": "tomorrow"}, 422, "invalid_value", "/starts_at"), ("at a time without zone", {"starts_at": "2099-01-01T20:00:00"}, 422, "invalid_value", "/starts_at"), ("of another's SKU", {"sku_id": TEA}, 403, "forbidden", "/sku_id"),
        ("of a SKU that is none", {"sku_id": "1234567890123"}, 404, "not_found", "/sku_id"), ("with a state", {"state": "open"}, 422, "unknown_field", "/state")]:
    answer = mark.post("/v1/sales", {**GOOD, **more})
    t.ok(why_no_problem(answer, code, status) is None and answer.json().get("pointer") == pointer, f"there is no sale {claim}", answer)
gone = product(mark)
mark.delete(f"/v1/products/{gone['id']}")
t.equal(mark.post("/v1/sales", {**GOOD, "sku_id": gone["skus"][0]["id"]}).code, "gone", "nor of what is not there any more")

# Changing it.
t.equal(mark.patch(PATH, {"price": 650}).code, "precondition_required", "a change wants the version that was seen")
answer = mark.patch(PATH, {"price": 650, "quantity": 40}, headers={"If-Match": mark.get(PATH).headers["etag"]})
t.ok(answer.status == 200 and (answer.json()["price"], answer.json()["quantity"], answer.json()["per_account_limit"], answer.json()["version"]) == (650, 40, 2, 2), "a draft is changed, the rest stays", answer)
answer = mark.patch(PATH, {"price": 600}, headers={"If-Match": '"1"'})
t.ok(why_no_problem(answer, "precondition_failed", 412) is None and '"2"' in answer.json()["detail"], "but not a version that is past", answer)
for claim, more, code, pointer in [("its SKU", {"sku_id": SKU}, "unknown_field", "/sku_id"), ("its end before its start", {"ends_at": "2098-01-01T00:00:00Z"}, "invalid_value", "/ends_at"), ("its price to nothing", {"price": None}, "missing_field", "/price")]:
    answer = mark.patch(PATH, more, headers={"If-Match": "*"})
    t.ok(why_no_problem(answer, code, 422) is None and answer.json()["pointer"] == pointer, f"nobody changes {claim}", answer)
t.equal((listed(nobody), listed(olga), listed(mia), listed(mark), listed(mark, "&state=draft")), ([], [], [], [sale["id"]], [sale["id"]]), "only its merchant sees the draft")

# Preheating.
t.equal(olga.post(PATH + "/preheat").code, "not_found", "who does not know of it does not preheat it")
answer = mark.post(PATH + "/preheat")
t.ok(answer.status == 200 and answer.json()["ready"] and all(c["ok"] and c["detail"] for c in answer.json()["checks"]) and answer.json()["sale"]["state"] == "scheduled", "preheating", answer)
t.equal((available(), nobody.get(PATH).json()["left"]), (60, 40), "moves the units from the SKU to the sale")
again = mark.post(PATH + "/preheat")
t.ok(again.status == 200 and again.json()["ready"] and (available(), nobody.get(PATH).json()["left"]) == (60, 40), "again, it moves nothing", again)
seen = nobody.get(PATH)
t.ok(seen.json()["state"] == "scheduled" and seen.json()["starts_in"] > 10 ** 9 < seen.json()["ends_in"] and seen.headers["etag"], "then anybody sees it coming", seen)
t.equal((listed(nobody), listed(nobody, "&state=scheduled"), listed(nobody, "&state=open")), ([sale["id"]], [sale["id"]], []), "in lists as well")
answer = mark.patch(PATH, {"price": 1}, headers={"If-Match": "*"})
t.ok(why_no_problem(answer, "sale_not_draft", 409) is None, "a promise is not changed", answer)
t.equal(mia.post(PATH + "/preheat").code, "forbidden", "nor another's")
more = mark.post("/v1/sales", {**GOOD, "quantity": 61}).json()["id"]
answer = mark.post(f"/v1/sales/{more}/preheat")
t.ok(why_no_problem(answer, status=409) is None and answer.code in ("insufficient_stock", "stock_below_zero") and available() == 60, f"more than the SKU has is not preheated: {answer.code}", answer)
lost = product(mark, 1000, 10)
draft = mark.post("/v1/sales", {**GOOD, "sku_id": lost["skus"][0]["id"], "quantity": 5}).json()["id"]
mark.delete(f"/v1/products/{lost['id']}")
t.equal(mark.post(f"/v1/sales/{draft}/preheat").code, "gone", "nor what is not there any more")

# Closing.
for claim, who, status, code in [("nobody", nobody, 401, "unauthenticated"), ("a user", olga, 403, "forbidden"), ("another merchant", mia, 403, "forbidden")]:
    answer = who.post(PATH + "/close")
    t.ok(why_no_problem(answer, code, status) is None, f"{claim} does not close it", answer)
answer = root.post(PATH + "/close")
t.ok(answer.status == 200 and answer.json()["state"] == "closed" and answer.json()["left"] == 0, "its merchant does, or an admin", answer)
t.equal(available(), 100, "what is left is back at the SKU")
t.equal((mark.post(PATH + "/close").status, available()), (200, 100), "again, it moves nothing")
answer = mark.post(PATH + "/preheat")
t.ok(why_no_problem(answer, "sale_closed", 410) is None, "and it is not opened again", answer)
psql("SELECT shop.tend()")
t.equal(root.get("/v1/admin/invariants").json(), {"holds": True, "broken": 0, "items": []}, "all units are where they belong")
