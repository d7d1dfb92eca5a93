#!/usr/bin/env python3
# with-worker: --conf 'simulated = off'
"""The worker and the provider are killed in the middle of payments, over and over, each alone or both at once: in the end each order
is charged once, and both ledgers are equal. HF_ROUNDS: how often. Runs within tools/with-api and tools/with-worker. TAP.
"""
import collections
import os
import random
import subprocess
import time
import uuid

from api import Tap, at_once, key, product, psql, register, within
from simulated import Provider
from worker import Worker, broken, calls

ROUNDS = int(os.environ.get("HF_ROUNDS", 50))
EACH = 4  # orders a round
CARDS = ["test_approve", "test_approve", "test_timeout", "test_lost", "test_error", "test_error_kept", "test_processing", "test_webhook_twice", "test_webhook_late", "test_webhook_order"]
BAD = ["test_decline", "test_insufficient_funds"]
t = Tap()
NAME, HOOK = "kill" + uuid.uuid4().hex[:6], "whsec_" + uuid.uuid4().hex
psql(f"SELECT holdfast.add_provider('{NAME}', 'stripe', 1000, '1 s', '1 s'); SELECT holdfast.set_webhook_secret('{NAME}', '{HOOK}')")
provider = Provider(webhook_secret=HOOK, webhook_url=f"{os.environ['HF_API']}/v1/webhooks/{NAME}", webhook_delay=300, latency=5, jitter=40)
worker = Worker(lease="2s", workers="2", poll_interval="100ms", jobs="off", **{f"provider__{NAME}__{name}": value for name, value in (
    ("url", provider.url), ("protocol", "stripe"), ("timeout", "600ms"), ("search_delay", "0ms"))})
mark = register("mark", ["merchant"])
buyers = [register(f"buyer{n}") for n in range(EACH)]
SKU = product(mark, 1000, ROUNDS * EACH)["skus"][0]["id"]
paid, doomed, begun, killed = [], [], time.monotonic(), collections.Counter()


def shop(number):
    """A buyer orders and pays."""
    who, method = buyers[number], random.choice(CARDS * 2 + BAD)
    order = who.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key()).json()["id"]
    answer = who.post(f"/v1/orders/{order}/payments", {"provider": NAME, "method": method}, headers=key())
    if answer.status != 202:
        raise RuntimeError(answer)
    (doomed if method in BAD else paid).append((who, order))


for number in range(ROUNDS):
    for result in at_once(EACH, shop):
        if isinstance(result, Exception):
            raise result
    within(60, worker.children)
    time.sleep(random.uniform(0, 0.3))
    what = random.choice(("worker", "provider", "both"))
    killed[what] += 1
    if what != "worker":
        provider.stop()
    if what != "provider":
        worker.kill(whole=number % 5 == 4)
        if number % 5 == 4:
            worker.start()
    if what != "worker":
        provider.start()
print(f"# {ROUNDS} rounds in {time.monotonic() - begun:.1f} s, killed: {dict(killed)}", flush=True)

owners = ", ".join(f"'{order}'" for _, order in paid + doomed)
t.ok(within(180, lambda: not calls(f"c.provider = '{NAME}' AND s.name IN ('pending', 'unknown')")), "in the end no call is open", calls(f"c.provider = '{NAME}' AND s.name IN ('pending', 'unknown')")[:3])
t.equal({who.get(f"/v1/orders/{order}").json()["status"] for who, order in paid}, {"paid"}, f"{len(paid)} orders with a good card are paid")
t.equal({who.get(f"/v1/orders/{order}").json()["status"] for who, order in doomed} - {"pending_payment"}, set(), f"{len(doomed)} with a bad one are not")
money = psql(f"""SELECT count(*), count(*) FILTER (WHERE p.captured = 1000 AND p.state = 'captured'), max(p.n) FROM
    (SELECT v.*, count(*) OVER (PARTITION BY v.owner) AS n FROM holdfast.payments AS v WHERE v.owner IN ({owners})) AS p""")
t.equal(money, f"{len(paid) + len(doomed)}|{len(paid)}|1", "each by one payment, for all of the money")
statement = provider.statement()
charges = collections.Counter(line["order"] for line in statement if line["kind"] == "charge" and line["state"] == "succeeded")
t.equal(charges, {order: 1 for _, order in paid}, "the provider has charged each of them once, and nobody else")
t.equal(max(collections.Counter(line["key"] for line in statement).values()), 1, "and no key has been done twice")
again = calls(f"c.provider = '{NAME}' AND c.attempts > 1")
t.ok(len(again) > ROUNDS / 5, f"though {len(again)} of {len(paid) + len(doomed)} calls were made more than once")
done = subprocess.run(["tools/reconcile", NAME, "-infinity", "infinity", provider.url], capture_output=True, text=True, check=False)
t.equal((done.returncode, done.stdout), (0, ""), "both ledgers are equal")
t.equal(psql(f"SELECT coalesce(sum(l.amount), 0) FROM holdfast.ledger AS l JOIN holdfast.payments AS p USING (account_id, payment) WHERE p.provider = '{NAME}' AND l.book = 'provider'"),
        str(sum(line["amount"] for line in statement if line["state"] == "succeeded")), "to the cent")
t.equal(mark.get(f"/v1/skus/{SKU}/stock").json()["sold"], len(paid), "the units are sold")
t.equal(broken(), ("", ""), "money and goods add up")
t.equal(worker.stop()[0], 0, "and the worker still ends well")
