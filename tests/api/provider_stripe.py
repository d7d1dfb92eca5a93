#!/usr/bin/env python3
# with-worker: --conf 'simulated = off'
"""A provider that is spoken to as Stripe is: whatever he does, each payment, its order and both ledgers end as they should; what
is unknown is looked up and resolved; events count once, in any order, if they are his; his statement is compared with ours, and
each difference is found. Runs within tools/with-api and tools/with-worker. TAP.
"""
import json
import os
import subprocess
import time
import uuid

from api import Client, Tap, key, product, psql, register, within, why_no_problem
from simulated import Provider
from worker import Worker, broken, calls

t = Tap()
NAME, HOOK, SECRET = "stripe" + uuid.uuid4().hex[:6], "whsec_" + uuid.uuid4().hex, "sk_test_" + uuid.uuid4().hex
psql(f"SELECT holdfast.add_provider('{NAME}', 'stripe', 4, '1 s', '2 s'); SELECT holdfast.set_webhook_secret('{NAME}', '{HOOK}')")
hook = f"{os.environ['HF_API']}/v1/webhooks/{NAME}"
provider = Provider(secret=SECRET, webhook_secret=HOOK, webhook_url=hook, webhook_delay=1500)
home = os.path.dirname(os.environ["HF_WORKER_CONF"])
with open(f"{home}/stripe-secret", "w") as file:
    file.write(SECRET + "\n")
os.chmod(f"{home}/stripe-secret", 0o640)
os.chown(f"{home}/stripe-secret", os.stat(home).st_uid, os.stat(home).st_gid)
settings = {"lease": "3s", "poll_interval": "100ms", "jobs": "off", **{f"provider__{NAME}__{name}": value for name, value in (
    ("url", provider.url), ("protocol", "stripe"), ("secret_file", f"{home}/stripe-secret"), ("timeout", "1s"), ("search_delay", "0ms"))}}
worker = Worker(**settings)
mark, olga, nobody = register("mark", ["merchant"]), register("olga"), Client()
SKU = product(mark, 1000, 200)["skus"][0]["id"]
account = int(time.time())


def place():
    return olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 1}]}, headers=key()).json()["id"]


def pay(method):
    """An order that is paid for: the order and its payment."""
    order = place()
    return order, olga.post(f"/v1/orders/{order}/payments", {"provider": NAME, "method": method}, headers=key()).json()["id"]


def bare(method, then="capture", payment=None):
    """A payment of no order; its id."""
    global account
    account += 1
    return psql(f"""SELECT payment FROM holdfast.create_payment({account}, 'payment-{account}', 1000, 'EUR', '{NAME}', '{method}', NULL, '{then}',
        {f"'{payment}'" if payment else 'NULL'})""")


def state(payment):
    return psql(f"SELECT state FROM holdfast.payments WHERE payment = '{payment}'")


def call(payment, n=1):
    return calls(f"c.payment = '{payment}' AND c.n = {n}")[0]


def status(order):
    return olga.get(f"/v1/orders/{order}").json()["status"]


def lines(payment):
    return [(line["kind"], line["amount"], line["state"]) for line in provider.statement() if payment in (line["key"] or "")]


def act(what, payment, more=""):
    psql(f"SELECT holdfast.{what}_payment(account_id, payment, '{what}-' || payment{more}) FROM holdfast.payments WHERE payment = '{payment}'")


# Each method: the state of the payment, of the order, and the provider's line.
PAID = ("captured", "paid", [("charge", 1000, "succeeded")])
CASES = {"test_approve": PAID, "test_timeout": PAID, "test_lost": PAID, "test_error": PAID, "test_error_kept": PAID, "test_processing": PAID,
         "test_webhook_twice": PAID, "test_webhook_late": PAID, "test_webhook_order": PAID,
         "test_decline": ("declined", "pending_payment", [("charge", 1000, "declined")]),
         "test_insufficient_funds": ("declined", "pending_payment", [("charge", 1000, "declined")]),
         "test_stolen": ("declined", "pending_payment", []),
         "test_silent": ("unknown", "pending_payment", [("charge", 1000, "pending")])}
bought = {method: pay(method) for method in CASES}
wrong_order, wrong = pay("test_webhook_amount")
t.ok(within(60, lambda: psql(f"SELECT count(*), max(verdict) FROM _holdfast.provider_event WHERE payment = '{wrong}'") == "1|mismatch"),
     "test_webhook_amount: a webhook with another amount is kept as that, and makes it unknown", call(wrong))
within(60, lambda: all(state(payment) == CASES[method][0] for method, (_, payment) in bought.items()))
for method, (order, payment) in bought.items():
    seen = call(payment)
    t.equal((state(payment), status(order), lines(payment)), CASES[method], f"{method}: {', '.join(CASES[method][:2])}, and the provider has it so ({seen['attempts']} attempts)")
    entries = psql(f"SELECT book, sum(amount) FROM holdfast.ledger WHERE payment = '{payment}' GROUP BY book ORDER BY book")
    t.equal(entries, "provider|1000\nsales|-1000" if CASES[method] is PAID else "", f"{method}: the ledger")
reasons = [call(bought[m][1])["reason"] for m in ("test_decline", "test_insufficient_funds", "test_stolen")]
# An event has the code alone.
t.ok(reasons[0] in ("card_declined", "generic_decline") and reasons[1] in ("card_declined", "insufficient_funds") and reasons[2] == "resource_missing", "why one was declined is known", reasons)
t.ok(within(60, lambda: state(wrong) == "captured") and status(wrong_order) == "paid", "test_webhook_amount: unknown, it is looked up, and is what the provider has", call(wrong))
late = call(bought["test_timeout"][1])
t.ok(late["attempts"] > 1 and late["reference"].startswith("pi_"), "what was not answered is found by its key", late)
t.equal(provider.ask("GET", f"/payment_intents/{late['reference']}")[1]["metadata"],
        {"holdfast_order": bought["test_timeout"][0], "holdfast_key": f"hf_{olga.id}_{bought['test_timeout'][1]}_1"}, "its metadata names the order and the call")

# Two steps, and back; given up.
for method in ("test_approve", "test_lost", "test_timeout", "test_error", "test_webhook_twice", "test_webhook_late"):
    stepwise = bare(method, "authorize")
    t.ok(within(60, lambda p=stepwise: state(p) == "authorized"), f"{method}: authorized", call(stepwise))
    act("capture", stepwise, ", 700, 'EUR'")
    t.ok(within(60, lambda p=stepwise: state(p) == "captured"), f"{method}: captured in part", calls(f"c.payment = '{stepwise}'"))
    act("refund", stepwise, ", 300, 'EUR'")
    t.ok(within(60, lambda p=stepwise: state(p) == "partially_refunded"), f"{method}: refunded in part", calls(f"c.payment = '{stepwise}'"))
    t.equal(lines(stepwise), [("authorize", 1000, "succeeded"), ("capture", 700, "succeeded"), ("refund", 300, "succeeded")], f"{method}: each once")
given_up = bare("test_approve", "authorize")
within(60, lambda: state(given_up) == "authorized")
act("void", given_up)
t.ok(within(60, lambda: len(lines(given_up)) == 2) and within(60, lambda: call(given_up, 2)["state"] == "succeeded"), "what is given up is let go", calls(f"c.payment = '{given_up}'"))
t.equal(lines(given_up)[1], ("void", 1000, "succeeded"), "at the provider as well")

# Unknown, and given up: it is looked up, not made.
silent = bought["test_silent"][1]
act("void", silent)
t.ok(within(60, lambda: call(silent)["state"] == "declined"), "never heard of: unknown, and given up, it is declined", call(silent))
t.equal((state(silent), call(silent)["reason"]), ("voided", "never_made"), "and never made")
provider.stop()
absent, kept = bare("test_approve"), bare("test_approve", "authorize")
t.ok(within(60, lambda: call(absent)["attempts"] + call(kept)["attempts"] > 0), "nobody there: it is tried", call(absent))
act("void", kept)
time.sleep(0.5)
t.equal(state(absent), "capturing", "and nothing is decided")
provider.start()
t.ok(within(60, lambda: state(absent) == "captured" and call(kept)["state"] in ("declined", "cancelled")), "when he is back it is made, and what was given up is not", [call(absent), call(kept)])
t.equal((lines(absent), lines(kept)), ([("charge", 1000, "succeeded")], []), "the provider has it so")

# Keys that were forgotten: what is old is looked up, and not made again, for a search may miss what there is.
# A worker's connection that is closed is replaced at once: that is still the same attempt.
provider.change(key_life=0.5)


def old(method):
    return bare(method, payment=uuid.UUID(f"{int((time.time() - 30 * 3600) * 1000):012x}7{uuid.uuid4().hex[:3]}8{uuid.uuid4().hex[:15]}"))


made, lost = old("test_lost"), old("test_error")
t.ok(within(60, lambda: state(made) == "captured"), "a key is forgotten: what was made is found", call(made))
t.equal(lines(made), [("charge", 1000, "succeeded")], "and was made once")
t.ok(within(60, lambda: state(lost) == "unknown"), "what is not found is unknown: somebody has to look", call(lost))
t.equal(lines(lost), [], "and is not made")
act("void", lost)
t.ok(within(60, lambda: call(lost)["state"] == "declined"), "given up, it is looked up once more, and was never made", call(lost))
# That may have been made just now, so the search is given its time from when it was given up, however old the payment is.
worker.stop()
patient = Worker(**{**settings, f"provider__{NAME}__search_delay": "1h"})
recent = old("test_error")
within(60, lambda: state(recent) == "unknown")
act("void", recent)
looked = call(recent)["attempts"]
t.ok(within(60, lambda: call(recent)["attempts"] > looked + 1), "what was given up just now is looked up", call(recent))
t.ok(within(60, lambda: [(c["state"], c["reason"]) for c in [call(recent)]] == [("unknown", "not found")]), "and is not taken for never made, for the search may be behind", call(recent))
psql(f"UPDATE _holdfast.payment SET changed_at = changed_at - interval '1 hour' WHERE id = '{recent}'")
t.ok(within(60, lambda: call(recent)["state"] == "declined") and call(recent)["reason"] == "never_made", "but later", call(recent))
patient.stop()
worker.start()
refunded = bare("test_lost")
within(60, lambda: state(refunded) == "captured")
act("refund", refunded, ", 300, 'EUR'")
t.ok(within(60, lambda: state(refunded) == "partially_refunded"), "a key is forgotten: refunded all the same", calls(f"c.payment = '{refunded}'"))
t.equal(lines(refunded)[1:], [("refund", 300, "succeeded")], "and once")
provider.change(key_life=86400)

# Events that are not his, or not as they should be.
order, payment = pay("test_webhook_late")
t.ok(within(60, lambda: call(payment)["reference"] is not None), "one is accepted", call(payment))
named = f"hf_{olga.id}_{payment}_1"


def event(amount=1000, name="payment_intent.succeeded", of=named):
    return json.dumps({"id": "evt_" + uuid.uuid4().hex, "type": name, "data": {"object": {"id": call(payment)["reference"], "amount_received": amount, "currency": "eur", "metadata": {"holdfast_key": of}}}}).encode()


def send(body, secret=HOOK, at=None):
    at = at or int(time.time())
    signature = psql(f"SELECT holdfast.sign_webhook('stripe', '{secret}', '\\x{body.hex()}', '', {at})")
    return nobody.post(f"/v1/webhooks/{NAME}", raw=body, headers={"Stripe-Signature": signature, "Content-Type": "application/json"})


for claim, answer in (("by somebody else", send(event(), "whsec_" + uuid.uuid4().hex)), ("an hour ago", send(event(), at=int(time.time()) - 3600))):
    t.ok(why_no_problem(answer, "invalid_signature", 401) is None, f"an event that was signed {claim} is refused", answer)
t.equal(send(event(of="order-7")).json(), {"result": "ignored"}, "one of another system is none of ours")
t.ok(within(60, lambda: status(order) == "paid"), "his own is believed, though it is late", call(payment))
t.equal(send(event(name="payment_intent.processing")).json()["result"], "stale", "one that comes after it changes nothing")
t.equal(state(payment), "captured", "of the payment")

# Both ledgers.
t.ok(within(60, lambda: not calls(f"c.provider = '{NAME}' AND c.state IN ('d', 'u')")), "no call is open", calls(f"c.provider = '{NAME}' AND c.state IN ('d', 'u')"))


def reconcile(source=None, text=None, provider_name=NAME):
    done = subprocess.run(["tools/reconcile", "--secret-file", f"{home}/stripe-secret", provider_name, "-infinity", "infinity", source or provider.url],
                          input=text, capture_output=True, text=True, check=False)
    return done.returncode, sorted(line.split("\t") for line in done.stdout.splitlines()), done.stderr


# What was never heard of and given up is declined here, and still undecided there.
silent_key = f"hf_{olga.id}_{silent}_1"
excused = ["state differs", silent_key, "1000", "1000", "declined", "pending"]
t.equal(reconcile(), (1, [excused], ""), "his statement is ours, but for the one that he never decided")
whole = [f"{line['key']}\t{line['amount']}\t{line['state']}" for line in provider.statement() if line["key"] not in (None, silent_key)]
t.equal(reconcile("-", "".join(line + "\n" for line in whole)), (0, [], ""), "without that one there is no difference")
good = [line for line in whole if line.endswith("succeeded")]
gone, cheap, bad = good[0].split("\t"), good[1].split("\t"), good[2].split("\t")
planted = [line for line in whole if line.split("\t")[0] not in (gone[0], cheap[0], bad[0])]
planted += [f"{cheap[0]}\t{int(cheap[1]) - 1}\t{cheap[2]}", f"{bad[0]}\t{bad[1]}\tdeclined", f"hf_1_{uuid.uuid4()}_1\t5\tsucceeded", good[3]]
code, found, _ = reconcile("-", "".join(line + "\n" for line in planted))
t.equal((code, [line[0] for line in found]), (1, ["amount differs", "listed twice", "missing here", "missing there", "state differs"]), "each difference is found")
t.equal([line[1] for line in found if line[0] in ("amount differs", "missing there", "state differs", "listed twice")], [cheap[0], good[3].split("\t")[0], gone[0], bad[0]], "and named")
t.equal(reconcile(provider_name="nobody")[0], 2, "a provider that is none is an error")

charged = {}
for line in provider.statement():
    if line["kind"] in ("charge", "capture") and line["state"] == "succeeded":
        charged.setdefault(line["key"].split("_")[2], []).append(line["amount"])
t.equal({p: c for p, c in charged.items() if len(c) > 1}, {}, "no payment was charged twice")
t.equal(broken(), ("", ""), "money and goods add up")
t.equal(worker.stop()[0], 0, "the worker ends well")
t.ok(SECRET not in worker.log() and HOOK not in worker.log() and "declined" not in worker.log(), "no secret and no answer is in the log")
t.equal([e for e in worker.events() if e["level"] == "error"], [], "and no error")
