#!/usr/bin/env python3
"""An order is paid once: the provider is asked for its total, whatever he says is told, and what comes too late or twice
goes back. Money is refunded in part or as a whole, and never more than was taken. Runs within tools/with-api. TAP.
"""
import threading
import uuid

from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
mark, mia, olga, otto, root = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga"), register("otto"), register("root", ["admin"])
SKU = product(mark, 1000, 1000)["skus"][0]["id"]
psql("SELECT holdfast.add_provider('simulated', p_backoff => '1 s')")


def place(quantity=2):
    return olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": quantity}]}, headers=key()).json()["id"]


def pay(order, method="test_approve", headers=None, who=olga):
    return who.post(f"/v1/orders/{order}/payments", {"provider": "simulated", "method": method}, headers=headers or key())


def provider():
    """The provider does what he has been asked for, also what is to be asked again later."""
    psql("UPDATE _holdfast.provider_call SET due_at = clock_timestamp() WHERE due_at > clock_timestamp()")
    psql("SELECT holdfast.simulate_provider()")


def payment(id_, who=olga):
    return who.get(f"/v1/payments/{id_}").json()


def status(order):
    return olga.get(f"/v1/orders/{order}").json()["status"]


def stock():
    s = mark.get(f"/v1/skus/{SKU}/stock").json()
    return s["available"], s["held"], s["sold"]


# Approved.
order = place()
headers = key()
answer = pay(order, headers=headers)
paid = answer.json()
t.ok(answer.status == 202 and answer.headers["location"] == f"/v1/payments/{paid['id']}", "the provider will be asked", answer)
t.equal({k: paid[k] for k in ("order_id", "state", "amount", "currency", "captured", "refunding", "refunded", "provider", "refunds")},
        {"order_id": order, "state": "capturing", "amount": 2000, "currency": "EUR", "captured": 0, "refunding": 0, "refunded": 0, "provider": "simulated", "refunds": []}, "for the total")
again = pay(order, headers=headers)
t.ok(again.body == answer.body and again.headers["idempotency-replayed"] == "true" and again.status == 202, "sent again: the same answer", again)
answer = pay(order, "test_decline", headers)
t.ok(why_no_problem(answer, "idempotency_key_reused", 422) is None, "with another payload the key is refused", answer)
answer = pay(order)
t.ok(why_no_problem(answer, "payment_exists", 409) is None, "a second payment is not begun beside the first", answer)
t.equal(status(order), "pending_payment", "nobody has paid yet")
provider()
t.equal((payment(paid["id"])["state"], payment(paid["id"])["captured"], status(order)), ("captured", 2000, "paid"), "approved: the order is paid")
t.equal(pay(order, headers=headers).body, again.body, "sent again afterwards: still the same answer")
answer = pay(order)
t.ok(why_no_problem(answer, status=409) is None and answer.code in ("payment_exists", "order_status"), f"and it is not paid again: {answer.code}", answer)
t.equal(olga.post(f"/v1/orders/{order}/cancel").code, "order_status", "nor cancelled")
bodies = [payment(paid["id"], who) for who in (olga, mark, root)]
t.ok(bodies[0] == bodies[1] == bodies[2], "its buyer, its merchant and an admin see it", *bodies)
for claim, who, wanted, code in [("nobody", Client(), 401, "unauthenticated"), ("another user", otto, 404, "not_found"), ("another merchant", mia, 404, "not_found")]:
    answer = who.get(f"/v1/payments/{paid['id']}")
    t.ok(why_no_problem(answer, code, wanted) is None, f"{claim} does not", answer)

# Two at once.
order, answers, start = place(), [], threading.Barrier(6)


def pay_at_once():
    client = Client(token=olga.token)
    start.wait()
    answers.append(pay(order, who=client))


threads = [threading.Thread(target=pay_at_once) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
t.equal(sorted(a.code or "begun" for a in answers), ["begun"] + ["payment_exists"] * 5, "six payments at once: one is begun")
provider()
t.equal(status(order), "paid", "which pays it")

# Declined, and tried again.
order = place()
declined = pay(order, "test_decline").json()["id"]
provider()
t.equal((payment(declined)["state"], status(order)), ("declined", "pending_payment"), "declined: the order waits for another payment")
second = pay(order, "test_insufficient_funds").json()["id"]
provider()
third = pay(order, "test_webhook_twice").json()["id"]
provider()
t.equal((payment(second)["state"], payment(third)["state"], status(order)), ("declined", "captured", "paid"), "until one goes through")
t.equal(sorted(olga.get(f"/v1/orders/{order}").json()["payments"]), sorted([declined, second, third]), "all are the order's")
order = place()
for _ in range(5):
    pay(order, "test_decline")
    provider()
answer = pay(order)
t.ok(why_no_problem(answer, "too_many_payments", 409) is None, "after five that were declined there is no sixth", answer)

# No answer: it is asked again, and the money is taken once.
TAKEN = "SELECT coalesce(sum(amount), 0) FROM holdfast.simulated_statement WHERE state = 'succeeded' AND kind IN ('charge', 'capture')"
order, taken = place(), int(psql(TAKEN))
slow = pay(order, "test_timeout").json()["id"]
provider()
t.equal((payment(slow)["state"], status(order)), ("capturing", "pending_payment"), "no answer: nobody knows yet")
provider()
t.equal((payment(slow)["state"], payment(slow)["captured"], status(order)), ("captured", 2000, "paid"), "asked again: it went through")
t.equal(int(psql(TAKEN)) - taken, 2000, "and the provider has taken the money once")

# What is refused.
order = place()
PAYMENTS = f"/v1/orders/{order}/payments"
for claim, who, path, body, wanted, code, pointer in [
        ("a provider that is none", olga, PAYMENTS, {"provider": "nobody", "method": "card"}, 422, "unknown_provider", None), ("that of imports", olga, PAYMENTS, {"provider": "external", "method": "card"}, 422, "unknown_provider", "/provider"),
        ("no method", olga, PAYMENTS, {"provider": "simulated"}, 422, "missing_field", "/method"), ("an empty one", olga, PAYMENTS, {"provider": "simulated", "method": ""}, 422, "invalid_length", "/method"),
        ("an amount", olga, PAYMENTS, {"provider": "simulated", "method": "card", "amount": 1}, 422, "unknown_field", "/amount"), ("another's order", otto, PAYMENTS, {"provider": "simulated", "method": "card"}, 404, "not_found", None),
        ("a merchant for his buyer", mark, PAYMENTS, {"provider": "simulated", "method": "card"}, 403, "forbidden", None), ("an order that is none", olga, f"/v1/orders/{uuid.uuid4()}/payments", {"provider": "simulated", "method": "card"}, 404, "not_found", None),
        ("more bytes than a method has", olga, PAYMENTS, {"provider": "simulated", "method": "é" * 200}, 422, "invalid_method", None)]:
    answer = who.post(path, body, headers=key())
    t.ok(why_no_problem(answer, code, wanted) is None and answer.json().get("pointer") == pointer, f"no payment: {claim}", answer)
t.equal(olga.get(f"/v1/orders/{order}").json()["payments"], [], "nothing of it is begun")
olga.post(f"/v1/orders/{order}/cancel")
answer = pay(order)
t.ok(why_no_problem(answer, status=409) is None and answer.code in ("hold_ended", "order_status"), f"nor for an order that is cancelled: {answer.code}", answer)

# Refunds.
order = place()
paid = pay(order).json()["id"]
REFUNDS = f"/v1/payments/{paid}/refunds"
answer = mark.post(REFUNDS, {"amount": 1}, headers=key())
t.ok(why_no_problem(answer, "illegal_transition", 409) is None, "what was not taken cannot be given back", answer)
provider()
before, headers = stock(), key()
answer = mark.post(REFUNDS, {"amount": 500, "reason": "scratched"}, headers=headers)
t.ok(answer.status == 202 and (answer.json()["refunding"], answer.json()["refunded"], [(r["refund"], r["state"], r["amount"]) for r in answer.json()["refunds"]]) == (500, 0, [(r["refund"], "pending", 500) for r in answer.json()["refunds"]]),
     "a part is on its way back", answer)
again = mark.post(REFUNDS, {"amount": 500, "reason": "scratched"}, headers=headers)
t.ok(again.body == answer.body and again.headers["idempotency-replayed"] == "true", "sent again: the same answer", again)
t.equal(mark.post(REFUNDS, {"amount": 501}, headers=headers).code, "idempotency_key_reused", "with another amount the key is refused")
provider()
t.equal([payment(paid)[k] for k in ("state", "captured", "refunding", "refunded")], ["partially_refunded", 2000, 0, 500], "and has come back")
for claim, who, body, wanted, code in [("more than is left", mark, {"amount": 1501}, 409, "exceeds_captured"), ("nothing", mark, {"amount": 0}, 422, "out_of_range"), ("less", mark, {"amount": -5}, 422, "out_of_range"), ("half a cent", mark, {"amount": 0.5}, 422, "wrong_type"),
                                       ("a currency", mark, {"amount": 1, "currency": "EUR"}, 422, "unknown_field"), ("its buyer", olga, {"amount": 1}, 403, "forbidden"), ("another merchant", mia, {"amount": 1}, 404, "not_found"), ("nobody", Client(), {"amount": 1}, 401, "unauthenticated")]:
    answer = who.post(REFUNDS, body, headers=key())
    t.ok(why_no_problem(answer, code, wanted) is None, f"no refund: {claim}", answer)
answer = root.post(REFUNDS, headers=key())
t.ok(answer.status == 202 and answer.json()["refunding"] == 1500, "without an amount it is all that is left, for an admin too", answer)
provider()
t.equal([payment(paid)[k] for k in ("state", "captured", "refunding", "refunded")], ["refunded", 2000, 0, 2000], "then all has come back")
t.equal(mark.post(REFUNDS, {"amount": 1}, headers=key()).status, 409, "and there is nothing more")
t.equal((stock(), status(order)), (before, "paid"), "the goods stay sold")
t.equal(root.get("/v1/admin/invariants").json(), {"holds": True, "broken": 0, "items": []}, "money and goods add up")
