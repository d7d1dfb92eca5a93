#!/usr/bin/env python3
"""The catalogue over HTTP: categories, products and drafts, each route with all that it documents; a draft is there for
its merchant and admins alone, and what is deleted is gone for all. Runs within tools/with-api. TAP.
"""
import time
import uuid

from api import Client, Tap, login, product, psql, register, why_no_problem

t = Tap()
nobody, olga, mark, mia, root = Client(), register("olga"), register("mark", ["merchant"]), register("mia", ["merchant"]), register("root", ["admin"])
NAMES = {nobody: "nobody", olga: "a customer", mark: "its merchant", mia: "another merchant", root: "an admin"}


def refused(answer, status, code, claim, pointer=None):
    t.ok(why_no_problem(answer, code, status) is None and (pointer is None or answer.json().get("pointer") == pointer), claim, answer)


def soon(who, path, status):
    """A GET; a cache has a second to hear of what has changed."""
    end = time.monotonic() + 30
    while (answer := who.get(path)).status != status and time.monotonic() < end:
        pass
    return answer


def listed(who, thing, paths, wanted):
    """Whether all lists show a thing, or none does."""
    end = time.monotonic() + 30
    while True:
        seen = {thing["id"] in [i["id"] for i in who.get(path).json()["items"]] for path in paths}
        if seen == {wanted} or time.monotonic() > end:
            return seen == {wanted}


def unique(text):
    return f"{text} {uuid.uuid4().hex[:10]}"


# Categories.
made = root.post("/v1/categories", {"name": unique("Kitchen")})
kitchen = made.json()
t.ok(made.status == 201 and kitchen["path"] == [kitchen["id"]] and kitchen["parent_id"] is None and
     made.headers["location"] == f"/v1/categories/{kitchen['id']}", "an admin makes a category", made, made.headers)
pans = root.post("/v1/categories", {"name": "Pans 锅", "parent_id": kitchen["id"]}).json()
t.equal(pans["path"], [kitchen["id"], pans["id"]], "and one below it, whose path leads there")
while pans not in (items := nobody.get("/v1/categories").json()["items"]):
    pass
places = [i["id"] for i in items]
t.ok(places.index(kitchen["id"]) < places.index(pans["id"]) and pans in items, "everybody sees the tree, parents first")
for who, status, code in ((nobody, 401, "unauthenticated"), (olga, 403, "forbidden"), (mark, 403, "forbidden")):
    refused(who.post("/v1/categories", {"name": "Mine"}), status, code, f"{NAMES[who]} makes none")
    refused(who.patch(f"/v1/categories/{pans['id']}", {"name": "Mine"}), status, code, "  and changes none")
for claim, body, status, code, pointer in [
        ("the name of another there", {"name": kitchen["name"]}, 409, "name_taken", "/name"), ("no name", {}, 422, "missing_field", "/name"),
        ("an empty name", {"name": ""}, 422, "invalid_length", "/name"), ("too long a name", {"name": "x" * 101}, 422, "invalid_length", "/name"),
        ("a number for a name", {"name": 1}, 422, "wrong_type", "/name"), ("no such parent", {"name": "x", "parent_id": "1"}, 422, "invalid_value",
                                                                           "/parent_id"),
                                                                           ("an id that is a number", {"name": "x", "parent_id": 1}, 422,
                                                                            "wrong_type", "/parent_id"),
        ("an unknown field", {"name": "x", "colour": "red"}, 422, "unknown_field", "/colour"),
        ("a control character", {"name": "a\x07"}, 422, "invalid_characters", "/name")]:
    refused(root.post("/v1/categories", body), status, code, f"no category with {claim}", pointer)
path = f"/v1/categories/{pans['id']}"
answer = root.patch(path, {"name": "Woks"})
t.ok(answer.status == 200 and answer.json() == {**pans, "name": "Woks"}, "a category is renamed", answer)
t.equal(root.patch(path, {"parent_id": None}).json()["path"], [pans["id"]], "moved to the top by null")
t.equal(root.patch(path, {"parent_id": kitchen["id"]}).json()["path"], pans["path"], "and back")
t.equal(root.patch(path, {}).json(), {**pans, "name": "Woks"}, "no field changes nothing")
refused(root.patch(f"/v1/categories/{kitchen['id']}", {"parent_id": pans["id"]}), 409, "category_cycle", "none goes below itself", "/parent_id")
refused(root.patch("/v1/categories/1", {"name": "x"}), 404, "not_found", "none is changed that is not there")
refused(root.patch(path, {"name": None}), 422, "missing_field", "a name cannot be taken away", "/name")
deep = kitchen["id"]
for _ in range(7):
    deep = root.post("/v1/categories", {"name": "Deeper", "parent_id": deep}).json()["id"]
refused(root.post("/v1/categories", {"name": "Too deep", "parent_id": deep}), 409, "category_too_deep", "and eight is as deep as it goes",
        "/parent_id")

# Products: made.
CODE = uuid.uuid4().hex
BODY = {"title": "Iron pan 铁锅", "description": "Heavy.", "category_id": pans["id"],
        "attributes": {"material": "iron", "sizes": [24, 28], "care": {"dishwasher": False}}, "tags": ["Cast Iron", "cast iron", "新品"],
        "published": True,
        "skus": [{"code": CODE + "-24", "price": 3999, "currency": "EUR"}, {"code": CODE + "-28", "price": 4999, "currency": "EUR"}]}
made = mark.post("/v1/products", BODY)
pan = made.json()
PAN = f"/v1/products/{pan['id']}"
t.ok(made.status == 201 and made.headers["location"] == PAN and made.headers["etag"] == '"1"', "a merchant makes a product", made, made.headers)
t.ok(all(pan[f] == BODY[f] for f in ("title", "description", "category_id", "attributes", "published")) and pan["tags"] == ["cast iron", "新品"] and
     pan["price"] == 3999 and pan["merchant_id"] == mark.merchant_id and
     [(s["code"], s["price"]) for s in pan["skus"]] == [(CODE + "-24", 3999), (CODE + "-28", 4999)],
     "  with all that was given; tags folded, each once; the lowest price", pan)
for who in (nobody, olga, mia):
    got = who.get(PAN)
    t.ok(got.status == 200 and got.json() == pan, f"  {NAMES[who]} sees it", got)
t.equal(mark.get(PAN).body, made.body, "  its merchant as it was answered")
refused(nobody.post("/v1/products", BODY), 401, "unauthenticated", "nobody makes none")
refused(olga.post("/v1/products", BODY), 403, "forbidden", "nor does a customer")
SKU = {"code": "x", "price": 1, "currency": "EUR"}
for claim, body, status, code, pointer in [
        ("a code that is taken", {**BODY}, 409, "code_taken", "/skus/0/code"), ("one code twice",
                                                                                {"title": "x",
                                                                                 "skus": [{**SKU, "code": CODE}, {**SKU, "code": CODE}]}, 422,
                                                                                 "invalid_value", "/skus/1/code"),
                                                                                 ("no SKUs", {"title": "x", "skus": []}, 422, "invalid_length",
                                                                                  "/skus"),
        ("101 SKUs", {"title": "x", "skus": [{**SKU, "code": str(n)} for n in range(101)]}, 422, "invalid_length", "/skus"),
        ("two currencies", {"title": "x", "skus": [SKU, {**SKU, "code": "y", "currency": "USD"}]}, 422, "invalid_value", "/skus/1/currency"),
        ("no currency of the world", {"title": "x", "skus": [{**SKU, "currency": "XXQ"}]}, 422, "unknown_currency", None),
        ("no price", {"title": "x", "skus": [{"code": "x", "currency": "EUR"}]}, 422, "missing_field", "/skus/0/price"),
        ("a price of 0", {"title": "x", "skus": [{**SKU, "price": 0}]}, 422, "out_of_range", "/skus/0/price"),
        ("a price beyond all", {"title": "x", "skus": [{**SKU, "price": 10 ** 12 + 1}]}, 422, "out_of_range", "/skus/0/price"),
        ("a price with cents", {"title": "x", "skus": [{**SKU, "price": 1.5}]}, 422, "wrong_type", "/skus/0/price"),
        ("a price of text", {"title": "x", "skus": [{**SKU, "price": "1"}]}, 422, "wrong_type", "/skus/0/price"),
        ("an id for a new SKU", {"title": "x", "skus": [{**SKU, "id": "5"}]}, 422, "unknown_field", "/skus/0/id"),
        ("too long a title", {"title": "x" * 301, "skus": [SKU]}, 422, "invalid_length", "/title"),
        ("too long a description", {"title": "x", "description": "y" * 20001, "skus": [SKU]}, 422, "invalid_length", "/description"),
        ("51 tags", {"title": "x", "tags": [str(n) for n in range(51)], "skus": [SKU]}, 422, "invalid_length", "/tags"),
        ("a tag that is a number", {"title": "x", "tags": [1], "skus": [SKU]}, 422, "wrong_type", "/tags/0"),
        ("tags that are a text", {"title": "x", "tags": "a", "skus": [SKU]}, 422, "wrong_type", "/tags"),
        ("attributes that are a list", {"title": "x", "attributes": [], "skus": [SKU]}, 422, "wrong_type", "/attributes"),
        ("no such category", {"title": "x", "category_id": "1", "skus": [SKU]}, 422, "invalid_value", "/category_id"),
        ("published as a text", {"title": "x", "published": "true", "skus": [SKU]}, 422, "wrong_type", "/published"),
        ("another's id", {"title": "x", "merchant_id": mia.merchant_id, "skus": [SKU]}, 422, "unknown_field", "/merchant_id"),
        ("an id of one's own", {"title": "x", "id": "5", "skus": [SKU]}, 422, "unknown_field", "/id")]:
    refused(mark.post("/v1/products", body), status, code, f"no product with {claim}", pointer)
t.equal(psql(f"SELECT count(*) FROM shop.product WHERE merchant_id = {mark.merchant_id}"), "1", "and none of these is there")

# Changed.
ANY = {"If-Match": "*"}
answer = mark.patch(PAN, {"title": "Steel pan", "tags": None, "description": None}, headers={"If-Match": '"1"'})
t.ok(answer.status == 200 and answer.headers["etag"] == '"2"' and answer.json() == {**pan, "title": "Steel pan", "tags": [], "description": "",
                                                                                    "version": 2, "changed_at": answer.json()["changed_at"]},
     "PATCH changes what is given, null empties, and all else stays", answer)
answer = mark.patch(PAN, {"skus": [{"id": pan["skus"][1]["id"], "code": CODE + "-28", "price": 2999}, {"code": CODE + "-32", "price": 5999}]},
                    headers=ANY)
t.ok([(s["id"] == pan["skus"][1]["id"], s["code"], s["price"],
       s["currency"]) for s in answer.json()["skus"]] == [(True, CODE + "-28", 2999, "EUR"), (False, CODE + "-32", 5999, "EUR")] and
       answer.json()["price"] == 2999,
     "skus are the list as it shall be", answer)
for claim, body, status, code, pointer in [("an unknown field", {"colour": 1}, 422, "unknown_field", "/colour"),
                                           ("no title", {"title": None}, 422, "missing_field", "/title"),
                                           ("no SKUs", {"skus": None}, 422, "missing_field", "/skus"),
                                           ("the version", {"version": 7}, 422, "unknown_field", "/version"),
                                           ("another's SKU", {"skus": [{"id": product(mia)["skus"][0]["id"], "code": "x", "price": 1}]}, 422,
                                            "invalid_value", None), ("a category that is no id", {"category_id": "abc"}, 422, "invalid_value",
                                                                     "/category_id")]:
    refused(mark.patch(PAN, body, headers=ANY), status, code, f"PATCH with {claim} is refused", pointer)
for who, status, code in ((nobody, 401, "unauthenticated"), (olga, 403, "forbidden"), (mia, 403, "forbidden")):
    for method, path, more in (("PATCH", PAN, {"body": {"title": "Mine"}, "headers": ANY}), ("DELETE", PAN, {}), ("POST", PAN + "/publish", {}),
                               ("POST", PAN + "/unpublish", {})):
        refused(who.request(method, path, **more), status, code, f"{NAMES[who]} does not {method} {path.replace(pan['id'], '{id}')}")
answer = root.patch(PAN, {"title": "As the admin says"}, headers=ANY)
t.ok(answer.status == 200 and answer.json()["merchant_id"] == mark.merchant_id, "an admin may", answer)

# Drafts.
draft = mark.post("/v1/products", {"title": unique("Draft"), "category_id": pans["id"],
                                   "skus": [{"code": uuid.uuid4().hex, "price": 1, "currency": "EUR"}]}).json()
DRAFT = f"/v1/products/{draft['id']}"
t.ok(draft["published"] is False and draft["published_at"] is None, "a product is a draft unless it is published", draft)
LISTS = ["/v1/products?limit=100", f"/v1/products?merchant={mark.merchant_id}", f"/v1/products?category={pans['id']}",
         f"/v1/search?q={draft['title'].split()[1]}"]
for who in (nobody, olga, mia):
    for method, path, more in (("GET", DRAFT, {}), ("GET", DRAFT + "/related", {}), ("GET", f"/v1/skus/{draft['skus'][0]['id']}/stock", {})):
        refused(who.request(method, path, **more), 404, "not_found",
                f"{NAMES[who]} sees nothing of a draft: {path.replace(draft['id'], '{id}')[:24]}")
    if who is mia:
        for method, path, more in (("PATCH", DRAFT, {"body": {"title": "x"}, "headers": ANY}), ("DELETE", DRAFT, {}),
                                   ("POST", DRAFT + "/publish", {}), ("POST", DRAFT + "/images",
                                                                      {"raw": b"\x89PNG\r\n\x1a\n0", "headers": {"Content-Type": "image/png"}})):
            refused(who.request(method, path, **more), 404, "not_found", f"  nor does {method} tell of it")
    t.ok(listed(who, draft, LISTS, False), "  nor is it in any list")
for who in (mark, root):
    t.ok(who.get(DRAFT).json() == draft and who.get(DRAFT + "/related").status == 200, f"{NAMES[who]} sees it")
fresh = register("newcomer")
t.equal(fresh.post("/v1/merchants", {"name": unique("New & Co")}).status, 201, "who has just become a merchant, with the token that he had before,")
own = fresh.post("/v1/products", {"title": "First draft", "skus": [{"code": "1", "price": 1, "currency": "EUR"}]})
t.equal(fresh.get(own.headers["location"]).status, 200, "  sees his own draft")
answer = mark.post(DRAFT + "/publish")
t.ok(answer.status == 200 and answer.json()["published"] is True and answer.json()["published_at"], "it is published", answer)
t.equal(mark.post(DRAFT + "/publish").body, answer.body, "  again changes nothing")
t.ok(soon(nobody, DRAFT, 200).status == 200 and listed(nobody, draft, LISTS, True), "  everybody sees it, everywhere")
answer = mark.post(DRAFT + "/unpublish")
t.ok(answer.status == 200 and answer.json()["published"] is False, "and is a draft again", answer)
refused(soon(nobody, DRAFT, 404), 404, "not_found", "  which nobody sees")

# Deleted.
mark.post(DRAFT + "/publish")
for path, status, code in ((DRAFT, 410, "gone"), (PAN, 410, "gone")):
    t.equal((mark.delete(path).status, mark.delete(path).status), (204, 410), "a product is deleted, once")
    for who in (nobody, olga, mark, mia, root):
        refused(soon(who, path, status), status, code, f"  to {NAMES[who]} it is gone")
    refused(soon(nobody, path + "/related", status), status, code, "  and with it what is related")
    for method, more in (("PATCH", {"body": {"title": "x"}, "headers": ANY}), ("DELETE", {}), ("POST", {})):
        refused(mark.request(method, path + ("/publish" if method == "POST" else ""), **more), status, code, f"  {method} finds it gone")
    t.ok(listed(nobody, {"id": path.split("/")[-1]}, LISTS, False), "  nor is it in any list")
secret = product(mark, published=False)
mark.delete(f"/v1/products/{secret['id']}")
refused(nobody.get(f"/v1/products/{secret['id']}"), 404, "not_found", "a draft that was deleted was never there")
refused(mark.get(f"/v1/products/{secret['id']}"), 410, "gone", "  but for its merchant")
refused(mark.post("/v1/products", {"title": "Its code again", "skus": [{"code": secret["skus"][0]["code"], "price": 1, "currency": "EUR"}]}), 409,
        "code_taken", "  its codes stay taken: orders speak of them", "/skus/0/code")

# What any route can run into.
sue, bad = register("sue", ["merchant"]), Client(token="a.b.c")
kept = product(sue)
psql(f"UPDATE shop.account SET roles = roles || '{{admin}}' WHERE id = {sue.id}")
root.post(f"/v1/admin/accounts/{sue.id}/suspend")
KEPT, STOCK = f"/v1/products/{kept['id']}", f"/v1/skus/{kept['skus'][0]['id']}"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
for method, path in (("GET", "/v1/categories"), ("GET", "/v1/products"), ("GET", KEPT), ("GET", KEPT + "/related"), ("GET", "/v1/search?q=a"),
                     ("GET", STOCK + "/stock"), ("GET", f"/v1/merchants/{mark.merchant_id}")):
    refused(bad.get(path), 401, "invalid_token", f"{method} {path.replace(kept['id'], '{id}')[:24]} with a bad token is refused, though anybody may ask")
    t.equal(sue.get(path).status, 200, "  who is suspended may ask what anybody may")
for method, path, form in (("POST", "/v1/categories", "json"), ("PATCH", f"/v1/categories/{pans['id']}", "json"), ("POST", "/v1/products", "json"),
                           ("PATCH", KEPT, "json"), ("DELETE", KEPT, None), ("POST", KEPT + "/publish", "empty"),
                           ("POST", KEPT + "/unpublish", "empty"), ("POST", KEPT + "/images", "picture"), ("POST", STOCK + "/receipts", "json"),
                           ("POST", STOCK + "/adjustments", "json"), ("POST", "/v1/merchants", "json"),
                           ("PATCH", f"/v1/merchants/{sue.merchant_id}", "json")):
    claim = f"{method} {path.replace(kept['id'], '{id}').replace(kept['skus'][0]['id'], '{id}')[:30]}"
    more = {"raw": PNG, "headers": {"Content-Type": "image/png"}} if form == "picture" else {"body": {}, "headers": ANY} if form == "json" else {}
    refused(bad.request(method, path, **more), 401, "invalid_token", f"{claim} with a bad token is refused")
    refused(nobody.request(method, path, **more), 401, "unauthenticated", "  and without one")
    refused(sue.request(method, path, **more), 403, "account_suspended", "  and to who is suspended, whatever she was")
    if form in ("json", "empty"):
        refused(root.request(method, path, raw=b"[1]", headers={"Content-Type": "application/json", **ANY}), 400, "invalid_body",
                "  and with a body that is no object")
        refused(root.request(method, path, raw=b"a=b", headers={"Content-Type": "text/plain", **ANY}), 415, "unsupported_media_type",
                "  or of another type")
        if form == "empty":
            refused(root.request(method, path, {"a": 1}), 422, "unknown_field", "  or with a field")
refused(root.patch(f"/v1/categories/{kitchen['id']}", {"name": 5}), 422, "wrong_type", "a category's name is a text", "/name")
other = root.post("/v1/categories", {"name": unique("Other")}).json()
refused(root.patch(f"/v1/categories/{other['id']}", {"name": kitchen["name"]}), 409, "name_taken", "and no other's there", "/name")
refused(root.patch(f"/v1/categories/{other['id']}", {"parent_id": deep}), 409, "category_too_deep", "nor does it go too deep", "/parent_id")
refused(root.patch(f"/v1/categories/{other['id']}", {"parent_id": "1"}), 422, "invalid_value", "nor below what is not there", "/parent_id")
two = [product(mark) for _ in range(2)]
refused(mark.patch(f"/v1/products/{two[0]['id']}", {"skus": [{"code": two[1]["skus"][0]["code"], "price": 1}]}, headers=ANY), 409, "code_taken",
        "PATCH takes no code of another product", "/skus/0/code")
refused(mark.patch(f"/v1/products/{two[0]['id']}", {"skus": [{"code": "x", "price": 0}]}, headers=ANY), 422, "out_of_range", "nor a price of 0",
        "/skus/0/price")
refused(mark.patch(f"/v1/products/{two[0]['id']}", {"title": 7}, headers=ANY), 422, "wrong_type", "nor a number as a title", "/title")
refused(nobody.post(f"/v1/skus/{two[0]['skus'][0]['id']}/stock", {}), 405, "method_not_allowed", "stock is not written where it is read")
for kind, body in (("receipts", {"quantity": 1, "reference": "a\x07"}), ("adjustments", {"delta": 1, "reason": "a\x07"})):
    path = f"/v1/skus/{two[0]['skus'][0]['id']}/{kind}"
    refused(mark.post(path, body), 422, "invalid_characters", f"{kind}: no control characters")
    refused(mark.post(path, {**body, "reference" if kind == "receipts" else "reason": "x"}, headers={"Idempotency-Key": "short"}), 400,
            "invalid_idempotency_key", f"{kind}: a key that is none is refused")
refused(nobody.get("/v1/search?q=a%01"), 422, "invalid_characters", "no control characters in a search", "?q")
refused(nobody.get("/v1/search?q=a&category=x"), 422, "invalid_value", "no category that is no id", "?category")

# Merchants.
answer = nobody.get(f"/v1/merchants/{mark.merchant_id}")
t.ok(answer.status == 200 and answer.json()["id"] == mark.merchant_id and set(answer.json()) == {"id", "name", "created_at"},
     "a merchant is shown to all", answer)
refused(nobody.get("/v1/merchants/1"), 404, "not_found", "one that is not there is not")
refused(mark.post("/v1/merchants", {"name": unique("Second")}), 409, mark.post("/v1/merchants", {"name": unique("Second")}).code,
        "nobody is two of them")
refused(mia.patch(f"/v1/merchants/{mark.merchant_id}", {"name": "Mine"}, headers=ANY), 403, "forbidden", "nor changes another's name")
t.equal(login(mark.email).get(f"/v1/merchants/{mark.merchant_id}").status, 200, "and all is well in the end")
