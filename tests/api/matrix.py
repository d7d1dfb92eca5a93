#!/usr/bin/env python3
"""Nobody sees or touches what is another's: every route of the table is called by nobody, with a bad token, by its owner,
by another user, by the merchant it belongs to, by another merchant, by an admin, and by who is suspended but has a token
that is good still. What each may expect is derived from the rules that the tests of the shop are made of. What is refused
changes no row, and of what is private a stranger hears the same as of what never was. Runs within tools/with-api. TAP.
"""
import re
import uuid

from api import Client, Tap, key, psql, why_no_problem
from world import ANY, CALLS, PICTURE, World, call, changed, digest, new_product, routes, rules, settle, verdicts, with_ticket

t = Tap()
ROUTES, RULES, VERDICTS = routes(), rules(), verdicts()
# Over HTTP the application calls as nobody in particular: for what concerns nobody, and for what the cache may answer.
VERDICTS["anyone"] = VERDICTS["application"] = VERDICTS["visitor"] = {**VERDICTS["anyone"], "stranger": 401}
# Things of which others may not know: drafts.
VERDICTS["drafter, reading"] = {**VERDICTS["shipper"], "nobody": 404, "olga": 404}
VERDICTS["drafter"] = {**VERDICTS["shipper"], "olga": 404}
VERDICTS["nobody yet"] = {**VERDICTS["drafter"], "mark": 404, "root": 404}
# Tickets, which the application gives by itself: only buying is not for who is suspended.
VERDICTS["somebody"] = {**VERDICTS["user"], "suspended": 2}
VERDICTS["nobody yet, not even who is suspended"] = {**VERDICTS["nobody yet"], "suspended": 404}
VERDICTS["nobody at all"] = {actor: 401 if actor == "stranger" else 404 for actor in VERDICTS["anyone"]}
# What a function demands, the table must demand as well.
DEMANDS = {"ANYONE": {"anyone", "visitor"}, "OPERATOR": {"anyone"}, "USER": {"user", "newcomer", "party", "buyer", "somebody"},
           "MERCHANT": {"merchant", "seller", "maker", "shipper", "drafter", "keeper"}, "ADMIN": {"admin"}}
STRANGER = "stranger"  # to the tests of the shop: an account that is none; here: a token that is none
ID = re.compile(r"(?<=/)(\d{10,}|[0-9a-f]{8}-[0-9a-f-]{27})(?=/|$)")

# Every route has a call, and every call a route.
t.equal(sorted(set(ROUTES) - set(CALLS)), [], "every route of the table is called here")
t.equal(sorted(set(CALLS) - set(ROUTES)), [], "and nothing else is")
t.equal(sorted(f for _, f, _ in ROUTES.values() if f and f not in RULES), [], "of every function it is said who may call it")
who_of = {route: RULES[function] if function else "somebody" if who == "USER" else "anyone" for route, (who, function, _) in ROUTES.items()}
t.equal([route for route, (who, _, _) in ROUTES.items() if who_of[route] not in DEMANDS[who]], [], "the table demands what the functions do")
if t.failed:
    raise SystemExit(1)

w = World()
header, payload, signature = w.olga.token.split(".")
people = {"nobody": Client(), STRANGER: Client(token=f"{header}.{payload}.{signature[::-1]}"), **w.people}


def ask(actor, method, c):
    person = people[actor]
    c = with_ticket(person, c)
    more = {name: value for name, value in c.items() if name not in ("path", "headers")}
    # Each is to be asked for itself, and not for its key.
    headers = {**c["headers"], **(key() if "Idempotency-Key" in c["headers"] else {})}
    return person.request(method, c["path"], headers=headers, **more)


def missing(c):
    """The same call of a thing that is not there."""
    body = c["body"]
    if not ID.search(c["path"]):
        body = {**body, "sku_id": "1234567890123"}
    made_up = lambda m: str(uuid.uuid4()) if "-" in m[0] else str(int(m[0]) - 7)
    return {**c, "path": ID.sub(made_up, c["path"]), "body": body}


def without_id(answer):
    return {name: value for name, value in answer.json().items() if name != "request_id"}


def resource(name):
    """What a route is about."""
    return "a draft" if "of a draft" in name else "/".join(name.split(" ")[1].split("/")[:3])


def is_as_wanted(answer, status):
    return answer.status // 100 == 2 if status == 2 else answer.status == status and why_no_problem(answer) is None


everything = [(f"{method} {pattern}", who_of[method, pattern], method, CALLS[method, pattern]) for method, pattern in sorted(ROUTES, key=lambda r: r[::-1])]
draft = w.new_draft()
DRAFT, SKU, SALE = f"/v1/products/{draft['id']}", draft["skus"][0]["id"], w.new_sale("draft")
for method, path, who, body, headers in [
        ("GET", DRAFT, "drafter, reading", None, {}), ("GET", DRAFT + "/related", "drafter, reading", None, {}), ("PATCH", DRAFT, "drafter", {"title": "Mine"}, ANY),
        ("POST", DRAFT + "/unpublish", "drafter", None, {}), ("GET", f"/v1/skus/{SKU}/stock", "drafter, reading", None, {}),
        ("POST", f"/v1/skus/{SKU}/receipts", "drafter", {"quantity": 3}, key()), ("POST", f"/v1/skus/{SKU}/adjustments", "drafter", {"delta": 1, "reason": "found"}, key()),
        ("GET", f"/v1/sales/{SALE}", "drafter, reading", None, {}), ("PATCH", f"/v1/sales/{SALE}", "drafter", {"price": 450}, ANY),
        ("GET", f"/v1/sales/{SALE}/events", "nobody at all", None, {}),
        ("POST", f"/v1/sales/{SALE}/tickets", "nobody yet, not even who is suspended", None, {}), ("POST", f"/v1/sales/{SALE}/purchases", "nobody yet, not even who is suspended", {"quantity": 1}, key())]:
    everything.append((f"{method} of a draft, {ID.sub('{id}', path)}", who, method, lambda _, c=call(path, body, headers): c))
everything += [("POST of a picture of a draft", "drafter", "POST", lambda _: call(DRAFT + "/images", **PICTURE)),
                       ("DELETE of a draft", "drafter", "DELETE", lambda w: call(f"/v1/products/{w.new_draft()['id']}", None, ANY)),
                       ("POST of a sale of a draft", "draft's merchant", "POST", lambda w: call("/v1/sales", {**w.sale(), "sku_id": w.new_draft()["skus"][0]["id"]}))]
# Who makes himself a merchant is another one from then on.
everything.sort(key=lambda e: e[0] == "POST /v1/merchants")
VERDICTS["draft's merchant"] = {**VERDICTS["maker"], "mia": 404, "root": 403}
made = {name: f(w) for name, _, _, f in everything}
settle()

# Who is suspended, with a token from before: all at once, each as the owner that the thing has.
OWNERS = {"admin": "root", "merchant": "mark", "seller": "mark", "maker": "mark", "shipper": "mark", "drafter": "mark", "keeper": "mark", "drafter, reading": "mark", "draft's merchant": "mark"}
ids = ", ".join(str(w.people[name].id) for name in ("olga", "mark", "root"))
psql(f"UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id IN ({ids})")
before = digest("uploads")
answers = {}
for name, who, method, _ in everything:
    if VERDICTS[who]["suspended"] == 403:
        answers[name] = ask(OWNERS.get(who, "olga"), method, made[name])
t.equal(changed(before, digest("uploads")), [], "who is suspended changes no row")
for name, answer in answers.items():
    t.ok(answer.status == 404 if "reading" in name or answer.status == 404 and name.startswith("GET of a draft") else
         answer.status == 403 and answer.code == "account_suspended", f"{name}: not for who is suspended", answer)
psql(f"UPDATE shop.account SET suspended_at = NULL WHERE id IN ({ids})")

# All others: first those who are refused, then those who are not, each of whom gets a thing of its own.
last_of = {resource(name): name for name, *_ in everything}
complaints, before = {name: [] for name in made}, digest("uploads")
for name, who, method, _ in everything:
    for actor, status in VERDICTS[who].items():
        if status == 2 or actor == "suspended" or "form" in made[name] and actor == STRANGER:
            continue
        answer = ask(actor, method, made[name])
        if not is_as_wanted(answer, status):
            complaints[name].append(f"{actor}: wanted {status}, got {answer}")
        elif status == 404:
            other = ask(actor, method, missing(made[name]))
            if without_id(other) != without_id(answer) or other.status != 404:
                complaints[name].append(f"{actor}: {answer}; if there were none: {other}")
    if name == last_of[resource(name)]:
        before, was = digest("uploads"), before
        t.equal(changed(was, before), [], f"{resource(name)}: whoever is refused changes no row")
for name, who, method, make in everything:
    verdict = {actor: status for actor, status in VERDICTS[who].items() if actor != "suspended"}
    for actor, status in verdict.items():
        if status == 2:
            answer = ask(actor, method, make(w))
            if not is_as_wanted(answer, 2):
                complaints[name].append(f"{actor}: wanted success, got {answer}")
    t.ok(not complaints[name], f"{name} is for {who}: " + ", ".join(f"{a} {'2xx' if s == 2 else s}" for a, s in verdict.items()), *complaints[name])

# Lists show what is one's own.
order, payment = w.new_paid()
draft, sale = w.new_draft()["id"], w.new_sale("draft")
for path, thing, who in [("/v1/orders?limit=100", order, ["olga"]), ("/v1/orders?limit=100&merchant=mine", order, ["mark"]),
                         (f"/v1/products?limit=100&merchant={w.mark.merchant_id}", draft, []), ("/v1/search?q=thing&limit=100", draft, []),
                         (f"/v1/sales?limit=100&merchant={w.mark.merchant_id}", sale, ["mark", "root"]),
                         (f"/v1/sales?limit=100&state=draft", sale, ["mark", "root"])]:
    seen = [name for name, client in people.items() if thing in client.get(path).body.decode()]
    t.equal(sorted(seen), sorted(who), f"{path.replace(str(w.mark.merchant_id), '{id}')} shows it to {' and '.join(who) or 'nobody'}")

# What is ordered of a draft, and of nothing at all.
answers = [w.otto.post("/v1/orders", {"items": w.lines(1, sku)}, headers=key()) for sku in (SKU, "1234567890123")]
t.ok(answers[0].status // 100 == 4 and without_id(answers[0]) == without_id(answers[1]), "a SKU of a draft is ordered like one that is not there", *answers)
answer = w.mia.post("/v1/products", new_product(category_id=w.category, skus=[{"id": SKU, "code": "x", "price": 1, "currency": "EUR"}]))
t.ok(answer.status // 100 == 4, "nor does it become another product's", answer)
t.equal(w.root.get("/v1/admin/invariants").json(), {"holds": True, "broken": 0, "items": []}, "and all is well afterwards")
