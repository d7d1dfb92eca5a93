#!/usr/bin/env python3
"""In a sale each unit is bought once, each account buys what it may, each key counts once; before, after and when nothing is
left everybody is told so. Runs within tools/with-api. TAP.
"""
import threading
import uuid

from api import Client, Tap, key, product, psql, register, why_no_problem, within

t = Tap()
nobody = Client()
mark, root = register("mark", ["merchant"]), register("root", ["admin"])
buyers = [register(f"buyer{n}") for n in range(6)]
olga, otto = buyers[:2]
SKU = product(mark, 1000, 1000)["skus"][0]["id"]
WINDOW = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}


def new_sale(units=10, limit=2, **more):
    sale = mark.post("/v1/sales", {"sku_id": SKU, "price": 500, "quantity": units, "per_account_limit": limit, **WINDOW, **more}).json()["id"]
    mark.post(f"/v1/sales/{sale}/preheat")
    return f"/v1/sales/{sale}"


def ticket_for(sale, who):
    """A ticket, or what is none where none are given."""
    answer = who.post(sale + "/tickets")
    return answer.json()["ticket"] if answer.status == 201 else "none"


def buy(sale, who=olga, quantity=1, headers=None, **more):
    """A purchase; who is told that there are too many at the moment comes again, with his key."""
    body, headers, answers = {"ticket": ticket_for(sale, who), "quantity": quantity, **more}, headers or key(), []
    within(60, lambda: answers.append(who.post(sale + "/purchases", body, headers=headers)) or answers[-1].status != 503)
    return answers[-1]


def bought_soon(sale, who, quantity=1):
    """What a purchase is answered once it is known that there is something again, which may take a moment."""
    answers = []
    within(60, lambda: answers.append(buy(sale, who, quantity)) or answers[-1].code != "sold_out")
    return answers[-1]


def left(sale):
    """What its merchant sees, who sees no copy."""
    answer = mark.get(sale).json()
    return answer["state"], answer["left"]


def is_told(sale, what, who, code, status):
    """Whether tickets, or purchases without one, are refused so: that a sale is open may be news of a second ago."""
    body = {"ticket": "none", "quantity": 1} if what == "purchases" else None
    return within(60, lambda: why_no_problem(who.post(f"{sale}/{what}", body, headers=key()), code, status) is None)


# Before.
soon = new_sale(starts_at="2098-12-01T00:00:00Z")
for what in ("tickets", "purchases"):
    answer = olga.post(f"{soon}/{what}", {"ticket": "none", "quantity": 1} if what == "purchases" else None, headers=key())
    t.ok(why_no_problem(answer, "sale_not_open", 409) is None, f"there are no {what} before a sale starts", answer)

# A ticket.
sale = new_sale()
answer = olga.post(sale + "/tickets")
t.ok(answer.status == 201 and answer.json()["ticket"] and answer.json()["expires_at"], "whoever wants to buy gets a ticket", answer)
t.equal(olga.post(sale + "/tickets").json(), answer.json(), "the same as long as it is good")
ticket = answer.json()["ticket"]
t.ok(otto.post(sale + "/tickets").json()["ticket"] != ticket, "each his own")

# A purchase.
headers = key()
answer = buy(sale, headers=headers, ticket=ticket)
order = answer.json()
t.ok(answer.status == 201 and answer.headers["location"] == f"/v1/orders/{order['id']}" and answer.headers["etag"] == '"1"', "a purchase is an order", answer)
t.equal({k: order[k] for k in ("status", "total", "currency", "merchant_id", "sale_id")}, {"status": "pending_payment", "total": 500, "currency": "EUR", "merchant_id": mark.merchant_id, "sale_id": sale.split("/")[-1]}, "at the price of the sale")
t.equal(left(sale), ("open", 9), "and its unit is gone from it")
t.equal(olga.get(f"/v1/orders/{order['id']}").json()["items"], order["items"], "it is among the buyer's orders")
again = buy(sale, headers=headers, ticket=ticket)
t.ok(again.status == 201 and again.body == answer.body and again.headers["idempotency-replayed"] == "true" and left(sale) == ("open", 9), "sent again: the same answer, and no unit more", again)
answer = buy(sale, quantity=2, headers=headers)
t.ok(why_no_problem(answer, "idempotency_key_reused", 422) is None, "with another quantity the key is refused", answer)
t.equal(buy(sale, otto, headers=headers).json()["id"] != order["id"], True, "a key is its account's own")

# What an account may.
answer = buy(sale, quantity=2)
t.ok(why_no_problem(answer, "limit_reached") is None and answer.json()["pointer"] == "/quantity" and answer.status in (409, 422), "no account buys more than it may", answer)
t.equal(buy(sale).status, 201, "but up to that")
t.equal((buy(sale).code, left(sale)), ("limit_reached", ("open", 7)), "and then no more")
olga.post(f"/v1/orders/{order['id']}/cancel")
t.equal((buy(sale).status, left(sale)), (201, ("open", 7)), "what is cancelled may be bought again")
t.equal(buy(sale, headers=headers).body, again.body, "which the first key still answers as it was")
good = {"ticket": ticket_for(sale, otto)}
for claim, who, body, headers, status, code, pointer in [
        ("no quantity", otto, good, key(), 422, "missing_field", "/quantity"), ("none", otto, {**good, "quantity": 0}, key(), 422, "out_of_range", "/quantity"), ("half a unit", otto, {**good, "quantity": 0.5}, key(), 422, "wrong_type", "/quantity"), ("a text", otto, {**good, "quantity": "1"}, key(), 422, "wrong_type", "/quantity"),
        ("a price", otto, {**good, "quantity": 1, "price": 1}, key(), 422, "unknown_field", "/price"), ("a ticket that is none", otto, {"quantity": 1, "ticket": "x" * 4097}, key(), 403, "invalid_ticket", "/ticket"), ("another's ticket", otto, {"quantity": 1, "ticket": ticket}, key(), 403, "invalid_ticket", "/ticket"),
        ("no ticket", otto, {"quantity": 1}, key(), 422, "missing_field", "/ticket"), ("nothing as a ticket", otto, {"ticket": None, "quantity": 1}, key(), 422, "missing_field", "/ticket"), ("too many", otto, {**good, "quantity": 1000001}, key(), 422, "out_of_range", "/quantity"),
        ("more than anybody may", otto, {**good, "quantity": 1000000}, key(), 409, "limit_reached", "/quantity"), ("no key", otto, {**good, "quantity": 1}, {}, 400, "invalid_idempotency_key", None),
        ("a short key", otto, {**good, "quantity": 1}, {"Idempotency-Key": "1234567"}, 400, "invalid_idempotency_key", None), ("nobody", nobody, {"quantity": 1}, key(), 401, "unauthenticated", None)]:
    answer = who.post(sale + "/purchases", body, headers=headers)
    t.ok(why_no_problem(answer, code, status) is None and answer.json().get("pointer") == pointer, f"nothing is bought: {claim}", answer)
answer = buy("/v1/sales/1234567890123")
t.ok(why_no_problem(answer, "not_found", 404) is None, "nor in a sale that there is not", answer)
t.equal(left(sale), ("open", 7), "all these have bought nothing")

# A crowd: each unit once, and somebody gets the last one.
crowd = new_sale(7, 3)
answers, start = [], threading.Barrier(12)


def rush(who):
    client = Client(token=who.token)
    start.wait()
    for _ in range(4):
        answers.append(buy(crowd, client))


threads = [threading.Thread(target=rush, args=(who,)) for who in buyers for _ in (1, 2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
won = [a for a in answers if a.status == 201]
t.equal(len({a.json()["id"] for a in won}), 7, "48 tries for 7 units: seven are bought")
t.ok({a.code for a in answers if a.status != 201} <= {"sold_out", "limit_reached"}, "the others hear why not", *[a for a in answers if a.status != 201][:3])
t.equal(psql(f"SELECT max(n) <= 3 FROM (SELECT count(*) AS n FROM shop.order WHERE sale_id = {crowd.split('/')[-1]} GROUP BY account_id) AS x"), "t", "nobody has more than he may")
t.equal(left(crowd), ("sold_out", 0), "then the sale is sold out")

# Sold out.
late = register("late")
for what in ("tickets", "purchases"):
    t.ok(is_told(crowd, what, late, "sold_out", 410), f"sold out: no {what}")
one = won[0].json()["id"]
owner = next(who for who in buyers if who.get(f"/v1/orders/{one}").status == 200)
owner.post(f"/v1/orders/{one}/cancel")
t.equal(left(crowd), ("open", 1), "what is given back can be bought")
answer = bought_soon(crowd, late, 2)
t.ok(why_no_problem(answer, "insufficient_stock", 409) is None and answer.json()["detail"] == "left: 1" and answer.json()["pointer"] == "/quantity", "fewer than wanted: he hears how many", answer)
t.equal((bought_soon(crowd, late).status, left(crowd)), (201, ("sold_out", 0)), "and the last one is bought")

# A time that is over sets free what was not paid.
psql(f"""UPDATE _holdfast.hold SET held_at = held_at - interval '1 hour', expires_at = clock_timestamp() - interval '1 second' WHERE owner IN (SELECT id FROM shop.order WHERE account_id = {late.id});
         UPDATE shop.order SET expires_at = clock_timestamp() - interval '1 second' WHERE account_id = {late.id}""")
t.equal((bought_soon(crowd, late).status, left(crowd)), (201, ("sold_out", 0)), "who did not pay in time may try again")

# Few tickets.
for _ in range(3):  # a worker to which Redis does not answer in time has a share of its own
    few = new_sale(1, 1)
    tickets = [who.post(few + "/tickets") for who in buyers[:4]]
    if [a.status for a in tickets] == [201, 201, 201, 429]:
        break
t.ok([a.status for a in tickets] == [201, 201, 201, 429] and tickets[3].code == "too_many_tickets", "there are three tickets for each unit", *tickets)
t.ok(int(tickets[3].headers.get("retry-after", 0)) > 0, "and who gets none hears when to try again", tickets[3].headers)

# Not for sale, and over.
hidden = product(mark, 1000, 10)
sale = new_sale(2, 1, sku_id=hidden["skus"][0]["id"])
mark.post(f"/v1/products/{hidden['id']}/unpublish")
answer = buy(sale)
t.ok(why_no_problem(answer, "not_for_sale", 422) is None, "what is not published is not sold", answer)
mark.post(f"/v1/products/{hidden['id']}/publish")
t.equal(buy(sale).status, 201, "until it is again")
mark.post(sale + "/close")
for what in ("tickets", "purchases"):
    t.ok(is_told(sale, what, otto, "sale_closed", 410), f"closed: no {what}")
late_sale = new_sale(2, 1)
psql(f"UPDATE shop.sale SET ends_at = clock_timestamp() - interval '1 second' WHERE id = {late_sale.split('/')[-1]}")
t.equal((buy(late_sale).code, left(late_sale)), ("sale_closed", ("closed", 0)), "a sale ends by the clock")
psql("SELECT shop.tend()")
t.equal(root.get("/v1/admin/invariants").json(), {"holds": True, "broken": 0, "items": []}, "all units are where they belong")
