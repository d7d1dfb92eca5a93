#!/usr/bin/env python3
# with-api: --conf 'cors_origins = https://shop.example.com https://admin.example.com:8443'
"""Every path of the contract knows its methods: 405 with Allow, OPTIONS, HEAD as GET without a body; and pages of
the origins that are configured may call, others not. Runs within tools/with-api. TAP.
"""
import json
import os

from api import Client, Tap, announced, product, register, why_no_problem

t = Tap()
nobody, mark, root = Client(), register("mark", ["merchant"]), register("root", ["admin"])
thing = product(mark)
THING = f"/v1/products/{thing['id']}"
SHOP, ADMIN = "https://shop.example.com", "https://admin.example.com:8443"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../api/www/openapi.json"), encoding="utf-8") as file:
    PATHS = json.load(file)["paths"]

# Paths and their methods.
for template, operations in PATHS.items():
    path = template.replace("{id}", "1").replace("{name}", "x").replace("{token}", "t").replace("{provider}", "p")
    has = [method for method in METHODS if method.lower() in operations]
    allow = sorted(has + (["HEAD"] if "GET" in has else []) + ["OPTIONS"])
    wrong = []
    for method in METHODS:
        if method in has:
            continue
        answer = nobody.request(method, path)
        if why_no_problem(answer, "method_not_allowed", 405) or sorted(answer.headers.get("allow", "").split(", ")) != allow:
            wrong.append((method, answer, answer.headers))
    if "GET" not in has:
        answer = nobody.request("HEAD", path)
        if (answer.status, answer.body, sorted(answer.headers.get("allow", "").split(", "))) != (405, b"", allow):
            wrong.append(("HEAD", answer, answer.headers))
    t.ok(not wrong, f"{template} has {', '.join(has)} and refuses all else with 405 and Allow", *wrong)
    answer = nobody.request("OPTIONS", path)
    t.ok(answer.status == 204 and answer.body == b"" and sorted(answer.headers["allow"].split(", ")) == allow and
         "content-type" not in answer.headers, "  and OPTIONS tells the same", answer, answer.headers)
answer = nobody.request("OPTIONS", "/v1/nothing")
t.ok(why_no_problem(answer, "not_found", 404) is None, "OPTIONS of what is not there is 404", answer)
for method in ("TRACE", "CONNECT"):
    answer = nobody.request(method, THING)
    t.ok(answer.status in (400, 405) and answer.code and b"X-Secret" not in answer.body, f"{method} is refused", answer)

# HEAD.
VARY = {"date", "x-request-id"}
for claim, path, who, headers in [
        ("a product", THING, nobody, {}), ("a product compressed", THING, nobody, {"Accept-Encoding": "gzip"}),
        ("a product, for its owner", THING, mark, {}), ("a list with a next page", "/v1/products?limit=1", nobody, {}),
        ("a search", "/v1/search?q=thing", nobody, {}), ("categories", "/v1/categories", nobody, {}), ("an account", "/v1/me", mark, {}),
        ("nothing", "/v1/products/1", nobody, {}), ("what is not allowed", "/v1/me", nobody, {}),
        ("what has not changed", THING, nobody, {"If-None-Match": "*"}), ("the contract", "/openapi.json", nobody, {}),
        ("the contract compressed", "/openapi.json", nobody, {"Accept-Encoding": "gzip"}), ("a page", "/docs", nobody, {}),
        ("a query that is wrong", "/v1/products?limit=0", nobody, {}), ("orders", "/v1/orders", root, {}), ("health", "/health", nobody, {})]:
    if "next page" in claim:
        product(mark, units=0)
        announced()
    get = who.send("GET", path, None, {**headers, **({"Authorization": f"Bearer {who.token}"} if who.token else {})})
    head = who.send("HEAD", path, None, {**headers, **({"Authorization": f"Bearer {who.token}"} if who.token else {})})
    # An id may have another length, and nothing else.
    same = [{k: v for k, v in a.headers.items() if k not in VARY} for a in (get, head)]
    t.ok(head.status == get.status and head.body == b"" and same[0] == same[1], f"HEAD of {claim} is GET without a body", get, *same)
    t.ok(get.status == 304 or int(head.headers["content-length"]) == len(get.body) > 0, "  and says how long that would be", head.headers)
t.equal(nobody.get(THING).status, 200, "after all these the connection is still in step")

# Pages of other origins.


def preflight(origin, path=THING, method="PATCH", headers="authorization,content-type,if-match"):
    return nobody.request("OPTIONS", path, headers={"Origin": origin, "Access-Control-Request-Method": method,
                                                    "Access-Control-Request-Headers": headers})


def words(answer, name):
    return {word.strip().lower() for word in answer.headers.get(name, "").split(",")}


for origin in (SHOP, ADMIN):
    answer = preflight(origin)
    t.ok(answer.status == 204 and answer.headers.get("access-control-allow-origin") == origin, f"a page of {origin} may ask", answer.headers)
    t.equal(words(answer, "access-control-allow-methods"), {"get", "head", "patch", "delete", "options"}, "  with the methods of the path")
    t.ok(words(answer, "access-control-allow-headers") >= {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match",
                                                           "x-request-id"}, "  with the headers that are read here", answer.headers)
    t.ok("origin" in words(answer, "vary") and int(answer.headers["access-control-max-age"]) > 0, "  and remember that", answer.headers)
    t.ok("access-control-allow-credentials" not in answer.headers, "  without cookies, which are not used")
    for claim, answer in [("a product", nobody.get(THING, headers={"Origin": origin})), ("nothing",
                                                                                         nobody.get("/v1/products/1", headers={"Origin": origin})),
                          ("that nobody is logged in", nobody.get("/v1/me", headers={"Origin": origin})),
                          ("a product that is made", mark.post("/v1/products", {"title": "From a page",
                                                                                "skus": [{"code": origin, "price": 1, "currency": "EUR"}]},
                                                                                headers={"Origin": origin})),
                          ("that no method is such", nobody.put(THING, {}, headers={"Origin": origin})),
                          ("nothing new", nobody.get(THING, headers={"Origin": origin, "If-None-Match": "*"}))]:
        t.ok(answer.headers.get("access-control-allow-origin") == origin and "origin" in words(answer, "vary"), f"  it may read {claim}", answer,
             answer.headers)
        t.ok(words(answer, "access-control-expose-headers") >= {"etag", "link", "location", "retry-after", "x-request-id", "idempotency-replayed"},
             "    and its headers", answer.headers)
for origin in ("https://shop.example.com.evil.org", "http://shop.example.com", "https://shop.example.com:444", "https://evil.org", "null",
               "https://shop.example.co",
               "https://SHOP.example.com.", "https://admin.example.com", "https://shop.example.com https://admin.example.com:8443"):
    answers = [preflight(origin), nobody.get(THING, headers={"Origin": origin})]
    t.ok(not any(name.startswith("access-control") for a in answers for name in a.headers), f"a page of {origin} may not",
         *(a.headers for a in answers))
    t.ok(all("origin" in words(a, "vary") for a in answers), "  and caches keep them apart")
answer = nobody.get(THING)
t.ok("origin" in words(answer, "vary") and "access-control-allow-origin" not in answer.headers, "who sends no Origin gets Vary alone", answer.headers)
t.ok(words(answer, "vary") >= {"authorization", "accept-encoding"}, "which names whatever an answer depends on", answer.headers)
answer = Client(os.environ["HF_EDGE"]).request("OPTIONS", THING, headers={"Origin": SHOP, "Access-Control-Request-Method": "PATCH"})
t.ok(answer.status == 204 and answer.headers.get("access-control-allow-origin") == SHOP and "patch" in words(answer, "access-control-allow-methods"),
     "through nginx they may, too", answer, answer.headers)
