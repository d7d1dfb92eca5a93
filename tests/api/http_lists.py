#!/usr/bin/env python3
"""Lists are walked to their end by Link: each thing once and none missing, while others come in between; a cursor is
for the list that it is of. Products, searches, orders, sales, jobs. Runs within tools/with-api. TAP.
"""
import re
import urllib.parse
import uuid

from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
nobody = Client()
mark, olga, root = register("mark", ["merchant"]), register("olga"), register("root", ["admin"])
category = root.post("/v1/categories", {"name": f"Things {uuid.uuid4().hex}"}).json()["id"]
WORD = "qa" + uuid.uuid4().hex[:8]


def new_product(n=0):
    """Many of the same price and title, so that only the id tells which comes next."""
    return product(mark, 100 * (n % 3 + 1), 0, title=f"{WORD} 灯泡 {n % 2}", category_id=category, tags=["tag & more"])["id"]


def new_order(_=0):
    return olga.post("/v1/orders", {"items": [{"sku_id": sku, "quantity": 1}]}, headers=key()).json()["id"]


def new_sale(n=0):
    made = mark.post("/v1/sales", {"sku_id": sku, "price": 500, "quantity": 1, "starts_at": f"2099-01-0{n % 3 + 1}T00:00:00Z",
                                   "ends_at": "2099-02-01T00:00:00Z",
                                   "per_account_limit": 1}).json()["id"]
    mark.post(f"/v1/sales/{made}/preheat")
    return made


def new_job(_=0):
    return psql("SELECT shop.enqueue('order_shipped', '{\"order_id\": \"none\"}', p_due_at => '2099-01-01')")


def follow(answer):
    """Where the next page is, by Link (RFC 8288)."""
    found = re.fullmatch(r'<([^<>]+)>; rel="next"', answer.headers.get("link", ""))
    return found and found[1]


def walk(who, path, between=lambda n: None):
    """The items of all pages; what is odd about a page."""
    items, odd, n = [], [], 0
    query = dict(urllib.parse.parse_qsl(path.partition("?")[2]))
    while path:
        answer = who.get(path)
        if answer.status != 200:
            odd.append(answer)
            break
        page = answer.json()
        link = follow(answer)
        items += page["items"]
        if bool(page["next"]) != bool(link) or not page["items"] and link or len(page["items"]) > int(query["limit"]):
            odd.append((page["next"], answer.headers.get("link"), len(page["items"])))
        if link:
            parts = urllib.parse.urlsplit(link)
            if dict(urllib.parse.parse_qsl(parts.query)) != {**query, "cursor": page["next"]} or parts.path != path.split("?")[0] or parts.netloc:
                odd.append(("another list", link))
            between(n)
        n += 1
        path = link
        if n > 3000:
            odd.append("it has no end")
            break
    return items, odd


sku = product(mark, units=1000)["skus"][0]["id"]
products, orders, sales, jobs = ([make(n) for n in range(15)] for make in (new_product, new_order, new_sale, new_job))
Q = urllib.parse.quote(f"{WORD} 灯")
TAG = urllib.parse.quote("tag & more")

LISTS = [(f"products by {sort}", nobody, f"/v1/products?merchant={mark.merchant_id}&tag={TAG}&sort={urllib.parse.quote(sort)}", products, new_product)
         for sort in ("new", "price", "-price", "title")] + [
    ("products of a category", nobody, f"/v1/products?category={category}", products, new_product),
    ("products, for their owner", mark, f"/v1/products?category={category}", products, new_product),
    ("products in a range of prices", nobody, f"/v1/products?category={category}&min_price=100&max_price=300&currency=EUR", products, new_product),
    ("a search", nobody, f"/v1/search?q={Q}", products, new_product),
    ("a search with filters", nobody, f"/v1/search?q={Q}&category={category}&max_price=300&facets=true", products, new_product),
    ("orders", olga, "/v1/orders?status=pending_payment", orders, new_order),
    ("sales", nobody, f"/v1/sales?merchant={mark.merchant_id}", sales, new_sale),
    ("sales, for their owner", mark, f"/v1/sales?merchant={mark.merchant_id}", sales, new_sale),
    ("jobs", root, "/v1/admin/jobs?kind=order_shipped", jobs, new_job)]
cursors = {}


def kind(claim):
    return re.match("a search|[a-z]+", claim)[0]


for claim, who, path, wanted, make in LISTS:
    join = "&" if "?" in path else "?"
    now = len(wanted)
    items, odd = walk(who, f"{path}{join}limit=100")
    t.ok(not odd and set(wanted) <= {item["id"] for item in items}, f"{claim}: in one page", odd, set(wanted) - {item["id"] for item in items})
    at_once = [item["id"] for item in items]
    for limit in (1, 4):
        items, odd = walk(who, f"{path}{join}limit={limit}")
        t.ok(not odd and [item["id"] for item in items] == at_once, f"  the same, and in the same order, {limit} at a time", odd,
             [item["id"] for item in items], at_once)
    items, odd = walk(who, f"{path}{join}limit=4", lambda n: n < 3 and wanted.append(make(n)))
    ids = [item["id"] for item in items]
    t.ok(not odd and len(ids) == len(set(ids)) and set(wanted[:now]) <= set(ids), "  while others come in between: each once, none missing", odd,
         len(ids), len(set(ids)))
    first = who.get(f"{path}{join}limit=2").json()["next"]
    cursors[claim] = (who, path + join, first)
    t.equal(who.get(f"{path}{join}limit=2&cursor={first}").status, 200, "  a cursor may be used with another limit, and again")
    for limit, code in (("0", "out_of_range"), ("1001", "out_of_range"), ("-1", "out_of_range"), ("1.5", "wrong_type"), ("", "wrong_type"),
                        ("9" * 40, "wrong_type")):
        answer = who.get(f"{path}{join}limit={limit}")
        t.ok(why_no_problem(answer, code, 422) is None and answer.json()["pointer"] == "?limit", f"  limit={limit[:10]} is refused", answer)
    for cursor in ("x", "AAAA", first[:-4], first + "x", first[::-1], "%00", "a b"):
        answer = who.get(f"{path}{join}cursor={urllib.parse.quote(cursor, safe='%')}")
        # One that is a place in the list after all does no harm.
        t.ok(answer.status in (200, 400) and answer.code in (None, "invalid_cursor", "malformed"),
             f"  a cursor that was made up, {cursor[:10]}, does no harm", answer)
for claim, (who, path, _) in cursors.items():
    others = [cursor for other, (_, _, cursor) in cursors.items() if kind(other) != kind(claim)]
    answers = [who.get(f"{path}cursor={cursor}") for cursor in others]
    t.ok(all(answer.code == "invalid_cursor" for answer in answers), f"{claim}: the cursors of other lists are refused",
         *(a for a in answers if a.code != "invalid_cursor"))
answer = nobody.get(f"/v1/products?sort=price&cursor={cursors['products by new'][2]}")
t.ok(why_no_problem(answer, "invalid_cursor", 400) is None, "and so is one of the same list in another order", answer)
# Things that go while a list is walked.
gone = set()


def delete(n):
    gone.add(products[n])
    mark.delete(f"/v1/products/{products[n]}")


walked, odd = walk(nobody, f"/v1/products?category={category}&limit=5", delete)
ids = [item["id"] for item in walked]
t.ok(not odd and len(ids) == len(set(ids)) and set(ids) >= set(products) - gone, "what goes meanwhile takes nothing else with it", odd)
