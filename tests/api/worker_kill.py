#!/usr/bin/env python3
# with-worker: --conf 'simulated = off'
"""The worker is killed in the middle of many payments, over and over, alone or with its parent: each order is paid
exactly once in the end, and each provider has moved its money once. HF_ROUNDS: how often. TAP.
"""
import os
import random
import time

from api import Tap, at_once, key, product, psql, register, within
from bank import Bank
from worker import Worker, broken, calls

ROUNDS = int(os.environ.get("HF_ROUNDS", 30))
EACH = 6  # orders a round
t = Tap()
bank = Bank()
psql("""SELECT holdfast.add_provider('simulated', p_attempts => 1000, p_backoff => '1 s', p_backoff_max => '1 s');
        SELECT holdfast.add_provider('bank_kill', p_attempts => 1000, p_backoff => '1 s', p_backoff_max => '1 s')""")
mark = register("mark", ["merchant"])
buyers = [register(f"buyer{n}") for n in range(EACH)]
SKU = product(mark, 1000, ROUNDS * EACH)["skus"][0]["id"]
CARDS = [("simulated", "test_approve"), ("simulated", "test_timeout"), ("simulated", "test_webhook_twice"), ("bank_kill", "approve"), ("bank_kill", "slow:0.1"),
         ("bank_kill", "slow:0.4"), ("bank_kill", "error:500 reset approve"), ("bank_kill", "slow:2 approve"), ("simulated", "test_decline"), ("bank_kill", "decline")]
worker = Worker(simulated="on", provider__bank_kill__url=bank.url, provider__bank_kill__timeout="900ms", lease="2s", workers="2", poll_interval="100ms")
paid, doomed, begun = [], [], time.monotonic()


def shop(number):
    """A buyer orders and pays."""
    who, (provider, method) = buyers[number], random.choice(CARDS)
    order = who.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key()).json()["id"]
    answer = who.post(f"/v1/orders/{order}/payments", {"provider": provider, "method": method}, headers=key())
    if answer.status != 202:
        raise RuntimeError(answer)
    (doomed if method.endswith("decline") else paid).append((who, order, provider))


for number in range(ROUNDS):
    for result in at_once(EACH, shop):
        if isinstance(result, Exception):
            raise result
    within(60, worker.children)
    time.sleep(random.uniform(0, 0.5))
    if number % 5 == 4:
        worker.kill(whole=True)
        worker.start()
    else:
        worker.kill()
print(f"# {ROUNDS} rounds in {time.monotonic() - begun:.1f} s", flush=True)


def open_calls():
    return calls(f"c.provider IN ('simulated', 'bank_kill') AND s.name IN ('pending', 'unknown') AND p.owner IN ({owners})")


owners = ", ".join(f"'{order}'" for _, order, _ in paid + doomed)
t.ok(within(180, lambda: not open_calls()), "in the end no call is open", open_calls()[:3])
t.equal({who.get(f"/v1/orders/{order}").json()["status"] for who, order, _ in paid}, {"paid"}, f"{len(paid)} orders with a good card are paid")
t.equal({who.get(f"/v1/orders/{order}").json()["status"] for who, order, _ in doomed} - {"pending_payment"}, set(), f"{len(doomed)} with a bad one are not")
money = psql(f"""SELECT count(*), count(*) FILTER (WHERE p.captured = 1000 AND p.state = 'captured'), max(p.n) FROM
    (SELECT v.*, count(*) OVER (PARTITION BY v.owner) AS n FROM holdfast.payments AS v WHERE v.owner IN ({owners})) AS p""")
t.equal(money, f"{len(paid) + len(doomed)}|{len(paid)}|1", "each by one payment, for all of the money")
charges = psql(f"""SELECT count(*), count(DISTINCT c.payment) FROM holdfast.simulated_statement AS s
    JOIN _holdfast.provider_call AS c ON s.key = 'hf_' || c.account_id || '_' || c.payment || '_' || c.n JOIN _holdfast.payment AS p ON p.account_id = c.account_id AND p.id = c.payment
    WHERE s.kind IN ('charge', 'capture') AND s.state = 'succeeded' AND p.owner IN ({owners})""")
wanted = sum(provider == "simulated" for _, _, provider in paid)
t.equal(charges, f"{wanted}|{wanted}", "the simulated provider has charged each once")
t.equal(bank.taken(), {order: 1 for _, order, provider in paid if provider == "bank_kill"}, "and so has the bank")
again = sum(len(requests) > 1 for requests in bank.asked.values())
t.ok(again > 0, f"though {again} of its {len(bank.asked)} keys were asked for more than once")
t.equal(bank.conflicts, [], "always for the same")
s = mark.get(f"/v1/skus/{SKU}/stock").json()
t.equal(s["sold"], len(paid), "the units are sold")
t.equal(broken(), ("", ""), "money and goods add up")
t.equal(worker.stop()[0], 0, "and the worker still ends well")
psql("SELECT holdfast.add_provider('simulated')")
