#!/usr/bin/env python3
# with-worker:
"""The buyer's whole way by HTTP: he registers, logs in, orders or buys in a sale, and pays; the worker asks the
provider, no request waits for it, and each test card ends where it should. What nobody pays for is back on sale.
Runs within tools/with-api and tools/with-worker. TAP.
"""
import json
import os
import signal
import time
import urllib.request

from api import Tap, key, product, psql, register, within, workers
from worker import broken

PROVIDER = os.environ.get("HF_PROVIDER")
t = Tap()
psql("SELECT holdfast.add_provider('simulated', p_attempts => 2, p_backoff => '1 s', p_backoff_max => '1 s')")
mark, olga = register("mark", ["merchant"]), register("olga")
SKU = product(mark, 1000, 100)["skus"][0]["id"]
SALE = f"/v1/sales/{mark.post('/v1/sales', {'sku_id': SKU, 'price': 500, 'quantity': 3, 'per_account_limit': 3, 'starts_at': '2026-01-01T00:00:00Z', 'ends_at': '2099-01-01T00:00:00Z'}).json()['id']}"
mark.post(SALE + "/preheat")
worker = workers(int(open(os.environ["HF_WORKER_PID"]).read()))


def place():
    return olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key()).json()["id"]


def buy():
    ticket = olga.post(SALE + "/tickets").json()["ticket"]
    return olga.post(SALE + "/purchases", {"ticket": ticket, "quantity": 1}, headers=key())


def pay(order, method="test_approve"):
    return olga.post(f"/v1/orders/{order}/payments", {"provider": "simulated", "method": method}, headers=key())


def order(id_):
    return olga.get(f"/v1/orders/{id_}").json()


def ends(payment, state):
    return within(60, lambda: olga.get(f"/v1/payments/{payment}").json()["state"] == state)


def entry(payment):
    """What the provider's ledger says of a payment. Whoever is asked by HTTP for a card that is none has nothing to book."""
    if not PROVIDER:
        return psql(f"SELECT state FROM holdfast.simulated_statement WHERE key LIKE '%{payment}%'").splitlines()
    with open(os.environ["HF_PROVIDER_SECRET"]) as file:
        request = urllib.request.Request(PROVIDER + "/balance_transactions?limit=1000", headers={"Authorization": "Bearer " + file.readline().strip()})
    with urllib.request.urlopen(request) as answer:
        return [line["state"] for line in json.load(answer)["data"] if payment in (line["key"] or "")]


def stock():
    s = mark.get(f"/v1/skus/{SKU}/stock").json()
    return s["available"], s["held"], s["sold"]


# An order, and a purchase in a sale.
for what, bought in (("an order", place()), ("a purchase in a sale", buy().json()["id"])):
    begun = time.monotonic()
    answer = pay(bought)
    t.ok(answer.status == 202 and answer.json()["state"] == "capturing", f"{what}: its payment is under way", answer)
    t.ok(within(60, lambda: order(bought)["status"] == "paid"), f"{what} is paid", order(bought))
    print(f"# {what}: after {time.monotonic() - begun:.2f} s", flush=True)
    seen = olga.get(f"/v1/payments/{answer.json()['id']}").json()
    t.equal((seen["state"], seen["captured"]), ("captured", seen["amount"]), f"{what}: the money is there")
    t.equal([e["to"] for e in order(bought)["history"]], ["paid"], f"{what}: once")

# Each card.
for method, state, status in [("test_approve", "captured", "paid"), ("test_timeout", "captured", "paid"), ("test_webhook_twice", "captured", "paid"),
                              ("test_decline", "declined", "pending_payment"), ("test_insufficient_funds", "declined", "pending_payment"),
                              ("test_stolen", "declined", "pending_payment"), ("test_silent", "unknown", "pending_payment")]:
    bought = place()
    payment = pay(bought, method).json()["id"]
    t.ok(ends(payment, state), f"{method}: {state}", olga.get(f"/v1/payments/{payment}").json())
    t.equal(order(bought)["status"], status, f"{method}: the order is {status}")
    t.equal(entry(payment), [{"captured": "succeeded", "declined": "declined", "unknown": "pending"}[state]] * (method != "test_stolen" or not PROVIDER), f"{method}: so says the provider, who was asked for one thing")
    if state == "declined":
        t.ok(pay(bought).status == 202 and within(60, lambda: order(bought)["status"] == "paid"), f"{method}: another card pays it", order(bought))

# Refunded.
payment = order(bought := place()) and pay(bought).json()["id"]
ends(payment, "captured")
mark.post(f"/v1/payments/{payment}/refunds", {"amount": 400}, headers=key())
t.ok(within(60, lambda: olga.get(f"/v1/payments/{payment}").json()["refunded"] == 400), "a refund is made as well")

# Nobody pays.
psql("UPDATE shop.order_setting SET pay_within = '3 seconds'")
for _ in range(5):  # its time may be over before it is looked at
    before, begun = stock(), time.monotonic()
    unpaid, held = place(), stock()
    if time.monotonic() < begun + 2.5:
        break
    within(60, lambda: order(unpaid)["status"] == "cancelled" and stock()[:2] == before[:2])
t.equal(held[:2], (before[0] - 1, before[1] + 1), "units of an order are held")
last = buy().json()["id"]
t.ok(within(60, lambda: order(unpaid)["status"] == "cancelled"), "an order that nobody pays for is cancelled", order(unpaid))
t.ok(within(60, lambda: stock()[:2] == before[:2]), "and its unit is on sale again", stock(), before)
t.ok(within(60, lambda: order(last)["status"] == "cancelled"), "so is one of a sale", order(last))
psql("UPDATE shop.order_setting SET pay_within = '15 minutes'")
again = [answer.json()["id"] for answer in (buy(), buy()) if answer.status == 201]
t.equal(len(again), 2, "the sale has its unit again")

# No worker for a while.
def tell_worker(what):
    for pid in worker:
        os.kill(pid, what)


while True:  # who stands still in a transaction would keep others waiting
    tell_worker(signal.SIGSTOP)
    if within(1, lambda: psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_worker' AND xact_start IS NOT NULL") == "0"):
        break
    tell_worker(signal.SIGCONT)
    time.sleep(0.1)
try:
    paid = []
    for _ in range(20):
        bought = place()
        paid.append((bought, pay(bought).status))
    time.sleep(0.3)
    t.equal({status for _, status in paid}, {202}, "without a worker payments are taken all the same")
    t.equal({order(bought)["status"] for bought, _ in paid}, {"pending_payment"}, "and wait")
finally:
    tell_worker(signal.SIGCONT)
t.ok(within(60, lambda: {order(bought)["status"] for bought, _ in paid} == {"paid"}), "until there is one again")
t.equal(broken(), ("", ""), "money and goods add up")
psql("SELECT holdfast.add_provider('simulated')")
