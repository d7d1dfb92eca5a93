#!/usr/bin/env python3
"""Every error is a problem document: a code that stays, a pointer to what is wrong, and the id of the request,
which is the client's own if he gave one that can stand in a log. Runs within tools/with-api. TAP.
"""
import os

from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
nobody = Client()
mark, mia, olga, root = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga"), register("root", ["admin"])
gone, thing, draft = product(mark), product(mark), product(mark, published=False)
mark.delete(f"/v1/products/{gone['id']}")
THING, SKU = f"/v1/products/{thing['id']}", thing["skus"][0]["id"]
category = root.post("/v1/categories", {"name": f"Things {SKU}"}).json()
suspended = register("sue")
root.post(f"/v1/admin/accounts/{suspended.id}/suspend")
ITEM = {"items": [{"sku_id": SKU, "quantity": 1}]}

# status, code, pointer, then who asks for what.
REFUSALS = [
    (400, "malformed", None, nobody, "GET", "/v1/products?limit=%f", {}),
    (400, "invalid_body", None, mark, "POST", "/v1/products", {"raw": b"{", "headers": {"Content-Type": "application/json"}}),
    (400, "invalid_cursor", "?cursor", nobody, "GET", "/v1/products?cursor=abc", {}),
    (400, "invalid_idempotency_key", None, olga, "POST", "/v1/orders", {"body": ITEM}),
    (401, "unauthenticated", None, nobody, "GET", "/v1/me", {}),
    (401, "unauthenticated", None, nobody, "POST", "/v1/orders", {"body": ITEM, "headers": key()}),
    (401, "invalid_token", None, Client(token="a.b.c"), "GET", "/v1/me", {}),
    (401, "invalid_token", None, Client(token="a.b.c"), "GET", THING, {}),
    (401, "invalid_token", None, nobody, "GET", "/v1/me", {"headers": {"Authorization": "Basic YTpi"}}),
    (403, "account_suspended", None, suspended, "GET", "/v1/me", {}),
    (403, "forbidden", None, mia, "PATCH", THING, {"body": {"title": "Mine"}, "headers": {"If-Match": "*"}}),
    (403, "forbidden", None, olga, "POST", "/v1/products", {"body": {"title": "Mine"}}),
    (403, "forbidden", None, mark, "GET", "/v1/admin/jobs", {}),
    (404, "not_found", None, nobody, "GET", "/v1/nothing", {}),
    (404, "not_found", None, nobody, "GET", "/v1/products/1", {}),
    (404, "not_found", None, nobody, "GET", "/v1/products/abc", {}),
    (404, "not_found", None, nobody, "GET", f"/v1/products/{draft['id']}", {}),
    (404, "not_found", None, olga, "GET", "/v1/orders/1", {}),
    (404, "not_found", None, mia, "POST", f"/v1/products/{draft['id']}/publish", {}),
    (405, "method_not_allowed", None, nobody, "POST", THING, {"body": {}}),
    (409, "insufficient_stock", "/items/0/quantity", olga, "POST", "/v1/orders",
     {"body": {"items": [{"sku_id": SKU, "quantity": 100}]}, "headers": key()}),
    (409, "name_taken", "/name", root, "POST", "/v1/categories", {"body": {"name": category["name"]}}),
    (409, "code_taken", "/skus/0/code", mark, "POST", "/v1/products",
     {"body": {"title": "Twice", "skus": [{"code": thing["skus"][0]["code"], "price": 1, "currency": "EUR"}]}}),
    (410, "gone", None, nobody, "GET", f"/v1/products/{gone['id']}", {}),
    (412, "precondition_failed", None, mark, "PATCH", THING, {"body": {"title": "New"}, "headers": {"If-Match": '"77"'}}),
    (413, "payload_too_large", None, mark, "POST", "/v1/products", {"body": {"title": "x" * 70000}}),
    (415, "unsupported_media_type", None, mark, "POST", "/v1/products", {"raw": b"a=b", "headers": {"Content-Type": "text/plain"}}),
    (422, "unknown_field", "/colour", mark, "POST", "/v1/products", {"body": {"colour": "red"}}),
    (422, "missing_field", "/title", mark, "POST", "/v1/products", {"body": {"skus": [{"code": "N", "price": 1, "currency": "EUR"}]}}),
    (422, "wrong_type", "/skus/0/price", mark, "POST", "/v1/products", {"body": {"title": "a", "skus": [{"code": "N", "price": "1"}]}}),
    (422, "out_of_range", "/skus/0/price", mark, "POST", "/v1/products", {"body": {"title": "a", "skus": [{"code": "N", "price": -1}]}}),
    (422, "invalid_length", "/title", mark, "PATCH", THING, {"body": {"title": " "}, "headers": {"If-Match": "*"}}),
    (422, "invalid_characters", "/title", mark, "PATCH", THING, {"body": {"title": "a\x01"}, "headers": {"If-Match": "*"}}),
    (422, "invalid_value", "/category_id", mark, "PATCH", THING, {"body": {"category_id": "x"}, "headers": {"If-Match": "*"}}),
    (422, "unknown_field", "?colour", nobody, "GET", "/v1/products?colour=red", {}),
    (428, "precondition_required", None, mark, "PATCH", THING, {"body": {"title": "New"}}),
    (431, "headers_too_large", None, nobody, "GET", THING, {"headers": {"Accept-Language": "x" * 20000}}),
    (501, "not_implemented", None, nobody, "BREW", THING, {}),
]

seen = {}
for status, code, pointer, who, method, path, more in REFUSALS:
    answer = who.request(method, path, **more)
    t.equal((answer.status, answer.code), (status, code), f"{method} {path.split('?')[0]} can be refused with {code}")
    # What never became a request has no id.
    wrong = why_no_problem(answer, code, status)
    t.ok(wrong is None, "  which is a whole problem document", wrong)
    body = answer.json()
    t.equal(body.get("pointer"), pointer, f"  which points to {pointer or 'nothing'}")
    t.ok("retry-after" not in answer.headers, "  and it is not for the client to wait")
    seen[code] = body
t.equal(seen["precondition_failed"]["detail"], f"its ETag is \"{mark.get(THING).json()['version']}\"", "412 says what the ETag is now")

# What a problem's type links to.
for code, body in seen.items():
    answer = nobody.get(body["type"])
    t.ok(answer.status == 200 and answer.json()["code"] == code and answer.json()["status"] == body["status"] and answer.json()["title"],
         f"{body['type']} says what that is", answer)
t.equal(nobody.get("/problems/nothing").code, "not_found", "and of what is no problem, that there is no such thing")

# Ids of requests.
ids = [nobody.get("/v1/categories").headers["x-request-id"] for _ in range(50)]
t.ok(len(set(ids)) == 50 and all(10 <= len(i) <= 64 for i in ids), "each request gets an id of its own")
for sane in ("a", "0af7651916cd43dd8448eb211c80319c", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "Web_1.2~x", "x" * 128):
    answer = nobody.get("/v1/products/1", headers={"X-Request-Id": sane})
    t.ok(answer.headers["x-request-id"] == sane == answer.json()["request_id"], f"a client's own id is taken over: {sane[:40]}", answer)
for odd in ("x" * 129, "a b", 'a"b', "a,b", "a;b", "{}", "é", "a<script>"):
    answer = nobody.get("/v1/products/1", headers={"X-Request-Id": odd.encode()})
    given = answer.headers["x-request-id"]
    t.ok(given != odd and len(given) <= 64 and given == answer.json()["request_id"], f"but not one that cannot stand in a log: {odd[:20]}", answer)
edge = Client(os.environ["HF_EDGE"])
answer = edge.get("/v1/products/1", headers={"X-Request-Id": "from-the-browser-1"})
t.ok(answer.headers["x-request-id"] == "from-the-browser-1" == answer.json()["request_id"], "and through nginx too", answer)
answer = edge.get("/v1/products/1", headers={"X-Request-Id": "a b"})
t.ok(answer.headers["x-request-id"] == answer.json()["request_id"] != "a b", "where an odd one is replaced as well", answer)

# Nothing that was refused has left anything behind.
t.equal(psql(f"SELECT count(*) FROM shop.product WHERE merchant_id = {mark.merchant_id}"), "3", "what was refused has changed nothing")
t.equal(mark.get(THING).json()["version"], thing["version"], "not the version either")
