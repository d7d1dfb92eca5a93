#!/usr/bin/env python3
"""A provider tells by webhook how a payment went, and is believed if the bytes are signed, lately, with his secret: each
event counts once, however often and in whatever order it comes. Runs within tools/with-api. TAP.
"""
import json
import time
import uuid

from api import Client, Tap, key, product, psql, register, why_no_problem
from world import changed, digest, settle, sign

t = Tap()
nobody, mark, olga = Client(), register("mark", ["merchant"]), register("olga")
SKU = product(mark, 1000, 100)["skus"][0]["id"]
BANK = "bank" + uuid.uuid4().hex[:8]
psql(f"SELECT holdfast.add_provider('{BANK}'); SELECT holdfast.add_provider('simulated');"
     f"SELECT holdfast.set_webhook_secret('{BANK}', 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=')")
BIG = 70000


def begin(method="card"):
    """An order whose payment is under way: the order, the payment and the key that the provider knows it by."""
    order = olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 2}]}, headers=key()).json()["id"]
    payment = olga.post(f"/v1/orders/{order}/payments", {"provider": BANK, "method": method}, headers=key()).json()["id"]
    return order, payment, psql(f"SELECT key FROM holdfast.open_calls WHERE payment = '{payment}'")


def event(call, kind="call.succeeded", **more):
    return json.dumps({"type": kind, "data": {"key": call, "amount": 2000, "currency": "EUR", "reference": "ch_" + call[-8:], **more}}).encode()


def send(body, headers, provider=BANK, client=nobody):
    return client.post(f"/v1/webhooks/{provider}", raw=body, headers=headers)


def status(order):
    return olga.get(f"/v1/orders/{order}").json()["status"]


# What is signed.
order, payment, call = begin()
body = event(call)
good = sign(body, "evt_" + call[-8:], provider=BANK)
answer = send(body, good)
t.ok(answer.status == 200 and answer.json() == {"result": "applied"}, "an event that is signed is taken", answer)
t.equal((status(order), olga.get(f"/v1/payments/{payment}").json()["state"]), ("paid", "captured"), "and the order is paid")
settle()
before = digest()
answer = send(body, good)
t.ok(answer.status == 200 and answer.json() == {"result": "duplicate"}, "the same again is told apart", answer)
t.equal(changed(before, digest()), [], "and changes nothing")
answer = send(body, sign(body, "evt_2" + call[-8:], provider=BANK))
t.ok(answer.status == 200 and status(order) == "paid", f"the same under another id changes nothing of the order: {answer.json()}", answer)

# What is not, or not as it should be.
order, payment, call = begin()
body = event(call)
good, now = sign(body, "evt_" + call[-8:], provider=BANK), int(time.time())
flipped = good["webhook-signature"][:-6] + ("A" if good["webhook-signature"][-6] != "A" else "B") + good["webhook-signature"][-5:]
settle()
before = digest()
for claim, sent, headers, provider in [
        ("without any header", body, {"Content-Type": "application/json"}, BANK), ("without a signature", body, {**good, "webhook-signature": None}, BANK), ("without an id", body, {**good, "webhook-id": None}, BANK),
        ("without a time", body, {**good, "webhook-timestamp": None}, BANK), ("with another's signature", body, sign(body, "evt_" + call[-8:], provider="simulated"), BANK), ("with a signature that was changed", body, {**good, "webhook-signature": flipped}, BANK),
        ("with an empty signature", body, {**good, "webhook-signature": ""}, BANK), ("with a signature of another version", body, {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}, BANK),
        ("with a signature that is long", body, {**good, "webhook-signature": "v1," + "A" * 3000}, BANK), ("of another body", body.replace(b"2000", b"2001"), good, BANK), ("with a blank more", body + b" ", good, BANK), ("with another id", body, {**good, "webhook-id": "evt_x"}, BANK),
        ("with another time", body, {**good, "webhook-timestamp": str(now + 1)}, BANK), ("with a time that is none", body, {**good, "webhook-timestamp": "now"}, BANK), ("with a time of 400 digits", body, {**good, "webhook-timestamp": "9" * 400}, BANK),
        ("that is old", body, sign(body, "evt_o", now - 3600, BANK), BANK), ("from the future", body, sign(body, "evt_f", now + 3600, BANK), BANK), ("signed for another provider", body, good, "simulated"),
        ("with the header of another scheme", body, {"Stripe-Signature": f"t={now},v1=" + "a" * 64}, BANK), ("without a body", b"", good, BANK)]:
    answer = send(sent, headers, provider)
    t.ok(why_no_problem(answer, "invalid_signature", 401) is None, f"an event {claim} is refused", answer)
answer = send(body, good, "nobody")
t.ok(why_no_problem(answer, "unknown_provider", 422) is None, "so is one of a provider that is none", answer)
answer = send(b"x" * BIG, good)
t.ok(why_no_problem(answer, "payload_too_large", 413) is None, "and one that is too large", answer)
for claim, sent in [("no JSON", b"{"), ("an array", b"[]"), ("nothing of ours", b"{}"), ("without its key", b'{"type": "call.succeeded", "data": {}}'), ("without data", b'{"type": "call.succeeded"}'), ("no UTF-8", b'{"type": "\xff"}'), ("a NUL", b'{"type": "\\u0000"}'),
                    ("an amount that is none", event(call, amount="x")), ("more money than there is", event(call, amount=10 ** 30))]:
    answer = send(sent, sign(sent, "evt_" + uuid.uuid4().hex, provider=BANK))
    t.ok(answer.status == 200 and answer.json()["result"] in ("ignored", "unknown") or why_no_problem(answer, "malformed_event", 422) is None, f"signed, but {claim}: {answer.code or answer.json()}", answer)
t.equal((status(order), olga.get(f"/v1/payments/{payment}").json()["state"]), ("pending_payment", "capturing"), "the payment is where it was")
t.equal([table for table in changed(before, digest()) if table != "_holdfast.provider_event"], [], "and nothing else has changed")

# Of what is not known, declined, and out of order.
other = event("hf-" + uuid.uuid4().hex)
answer = send(other, sign(other, "evt_" + uuid.uuid4().hex, provider=BANK))
t.ok(answer.status == 200, f"of a call that we do not know there is nothing to do: {answer.json()}", answer)
declined = event(call, "call.declined", reason="card_declined")
answer = send(declined, sign(declined, "evt_d" + call[-8:], provider=BANK))
t.ok(answer.json() == {"result": "applied"} and olga.get(f"/v1/payments/{payment}").json()["state"] == "declined" and status(order) == "pending_payment", "declined: the order waits on", answer)
answer = send(body, good)
t.ok(answer.status == 200, f"that it went through comes after that: {answer.json()}", answer)
state = olga.get(f"/v1/payments/{payment}").json()
t.ok(status(order) == "paid" or state["refunding"] + state["refunded"] == state["captured"], f"then it is paid, or the money goes back: {state['state']}", state)
answer = send(body, good, client=Client(token=olga.token))
t.equal(answer.json(), {"result": "duplicate"}, "a token makes no difference")
root = register("root", ["admin"])
t.equal(root.get("/v1/admin/invariants").json(), {"holds": True, "broken": 0, "items": []}, "money and goods add up")
