#!/usr/bin/env python3
# with-worker:
"""What a provider answers by HTTP decides what becomes of a payment: what he has said ends it, anything else is
asked again with the same key, and money moves once. Runs within tools/with-worker. TAP.
"""
import os
import ssl
import tempfile
import time

from api import Tap, psql, within
from bank import Bank, certificate
from worker import Worker, broken, calls

t = Tap()
bank = Bank()
SECRET = "sk_test_4f9a"
home = os.path.dirname(os.environ["HF_WORKER_CONF"])
with open(f"{home}/secret", "w") as file:
    file.write(SECRET + "\n")
os.chmod(f"{home}/secret", 0o640)
os.chown(f"{home}/secret", os.stat(home).st_uid, os.stat(home).st_gid)
psql("""SELECT holdfast.add_provider('bank_word', p_attempts => 4, p_backoff => '1 s', p_backoff_max => '2 s'),
        holdfast.add_provider('bank_hasty', p_attempts => 8, p_backoff => '1 s', p_backoff_max => '2 s')""")
# Only the hasty one is given up: how often the other is asked does not depend on how quick he is.
worker = Worker(jobs="off", provider__bank_word__url=bank.url, provider__bank_word__secret_file=f"{home}/secret", provider__bank_word__timeout="25s",
                provider__bank_hasty__url=bank.url, provider__bank_hasty__timeout="1s", lease="60s")
account = int(time.time())


def pay(method, then="capture", amount=1000, provider="bank_word"):
    """A payment without an order; its id."""
    global account
    account += 1
    return psql(f"SELECT payment FROM holdfast.create_payment({account}, 'payment-{account}', {amount}, 'EUR', '{provider}', '{method}', NULL, '{then}')")


def key(payment, n=1):
    return next((k for k in bank.asked if payment in k and k.endswith(f"_{n}")), None)


def state(payment):
    return psql(f"SELECT state FROM holdfast.payments WHERE payment = '{payment}'")


def call(payment, n=1):
    return calls(f"c.payment = '{payment}' AND c.n = {n}")[0]


# All at once: method, state in the end, attempts, and the reason that is kept.
CASES = [
    ("approve", "captured", 1, None),
    ("decline", "declined", 1, "card_declined"),
    ("refuse", "declined", 1, "card_declined"),
    ("error:500 approve", "captured", 2, None),
    ("error:502 error:503 approve", "captured", 3, None),
    ("reset reset reset approve", "captured", None, None),
    ("half approve", "captured", 2, None),
    ("slow:0.2", "captured", 1, None),
    ("garbage approve", "captured", 2, None),
    ("nonsense approve", "captured", 2, None),
    ("mute approve", "captured", 2, None),
    ("list approve", "captured", 2, None),
    ("huge approve", "captured", 2, None),
    ("redirect approve", "captured", 2, None),
    ("error:400 approve", "captured", 2, None),
    ("error:409 approve", "captured", 2, None),
    ("error:422 decline", "captured", 2, None),
    ("error:500 error:500 error:500 error:500", "unknown", 4, "HTTP 500"),
    ("reset", "unknown", 4, None),
    ("cheap", "unknown", 1, "mismatch"),
    ("foreign", "unknown", 1, "mismatch"),
]
payments = {method: pay(method) for method, *_ in CASES}
reached = within(60, lambda: all(state(p) == wanted for p, (_, wanted, *_) in zip(payments.values(), CASES)))
for method, wanted, attempts, reason in CASES:
    seen, asked = call(payments[method]), bank.asked[key(payments[method])]
    # A connection that had been used before, and ends, is replaced by another at once.
    attempts = attempts or seen["attempts"]
    good = (seen["payment_state"], seen["attempts"]) == (wanted, attempts) and (reason is None or seen["reason"] == reason)
    # What is unknown is asked again now and then, and an attempt is counted before it is made.
    t.ok(good or wanted == "unknown" == seen["payment_state"] and seen["attempts"] >= attempts, f"{method}: {wanted} after {attempts}", seen)
    t.ok(within(60, lambda a=asked, n=attempts: len(a) >= n) and len({r.raw for r in asked}) == 1, f"{method}: asked with the same key and body", [r.raw for r in asked])
late = pay("slow:3 approve", provider="bank_hasty")
t.ok(within(60, lambda: state(late) == "captured"), "slow:3 approve: captured, when the time limit is shorter", call(late))
t.ok(call(late)["attempts"] >= 2 and len({r.raw for r in bank.asked[key(late)]}) == 1, "slow:3 approve: asked again with the same key and body", call(late))
t.equal(bank.conflicts, [], "no key was used for two things")
t.ok(all("/elsewhere" not in r.path for requests in bank.asked.values() for r in requests), "a redirection is not followed")

first = bank.asked[key(payments["approve"])][0]
t.equal((first.method, first.path, first.headers["content-type"], first.headers["authorization"]),
        ("POST", "/calls", "application/json", "Bearer " + SECRET), "a call is a POST of JSON, with the secret")
t.equal({**first.body, "key": None}, {"key": None, "kind": "charge", "amount": 1000, "currency": "EUR", "method": "approve", "order": None, "original": None}, "it says what is wanted")
t.equal(first.body["key"], first.headers["idempotency-key"], "its key is the Idempotency-Key")
t.equal(call(payments["approve"])["reference"], "ch_" + first.key[3:], "the provider's reference is kept")

# What providers write.
odd = pay("odd")
t.ok(within(60, lambda: state(odd) == "captured"), "a reference may be any text", call(odd))
t.equal((call(odd)["reference"], call(odd)["reason"]), ('r"\\{},NULL\n é \U0001F600 ' + key(odd)[-8:], "ü" * 255), "and is kept as it was said, a long reason in part")

# Two steps, with what belongs together; money back.
stepwise = pay("approve", "authorize")
t.ok(within(60, lambda: state(stepwise) == "authorized"), "authorized", call(stepwise))
psql(f"SELECT holdfast.capture_payment(account_id, payment, 'capture-{account}') FROM holdfast.payments WHERE payment = '{stepwise}'")
t.ok(within(60, lambda: state(stepwise) == "captured"), "then captured", call(stepwise, 2))
psql(f"SELECT holdfast.refund_payment(account_id, payment, 'refund-{account}', 400, 'EUR', 'scratched') FROM holdfast.payments WHERE payment = '{stepwise}'")
t.ok(within(60, lambda: state(stepwise) == "partially_refunded"), "then a part refunded", call(stepwise, 3))
bodies = [bank.asked[key(stepwise, n)][0].body for n in (1, 2, 3)]
t.equal([(b["kind"], b["amount"], b["original"]) for b in bodies],
        [("authorize", 1000, None), ("capture", 1000, "ch_" + key(stepwise, 1)[3:]), ("refund", 400, "ch_" + key(stepwise, 2)[3:])], "each names what it is about")
given_up = pay("approve", "authorize")
within(60, lambda: state(given_up) == "authorized")
psql(f"SELECT holdfast.void_payment(account_id, payment, 'void-{account}') FROM holdfast.payments WHERE payment = '{given_up}'")
t.ok(within(60, lambda: key(given_up, 2) is not None and call(given_up, 2)["state"] == "succeeded"), "what was given up is let go", calls(f"c.payment = '{given_up}'"))
t.equal(bank.asked[key(given_up, 2)][0].body["kind"], "void", "by a void")

# Accepted, and told by webhook: the worker waits for it.
later = pay("pending")
t.ok(within(60, lambda: key(later) and call(later)["reference"] is not None), "accepted: its reference is known", call(later))
t.equal((state(later), call(later)["state"]), ("capturing", "pending"), "and nothing is decided")
psql(f"SELECT holdfast.record_event('bank_word', 'evt-{account}', '{key(later)}', 'succeeded', 1000, 'EUR')")
t.equal(state(later), "captured", "until the provider tells")

def give_up(payment):
    psql(f"SELECT holdfast.void_payment(account_id, payment, 'void-' || payment) FROM holdfast.payments WHERE payment = '{payment}'")


# Nobody there: calls keep their attempts, and go through when somebody is. What was given up meanwhile is looked up, and not made.
made = payments["error:500 error:500 error:500 error:500"]
bank.close()
never = pay("approve", "authorize")
t.ok(within(60, lambda: call(never)["attempts"] > 0), "a call is made, and nobody is there", call(never))
give_up(never), give_up(made)
waiting = [pay("approve") for _ in range(20)]
time.sleep(1.5)
used = [call(p)["attempts"] for p in waiting]
t.ok(sum(used) <= 8, "a provider who is not there is asked for one call at a time", used)
t.equal({state(p) for p in waiting}, {"capturing"}, "and nothing is decided")
asked = len(bank.asked[key(made)])
bank.open()
t.ok(within(60, lambda: {state(p) for p in waiting} == {"captured"}), "when he is back they are made", [call(p) for p in waiting][:3])
t.ok(worker.events("provider_away") and worker.events("provider_back"), "the log says so", worker.log()[-1500:])
t.ok(within(60, lambda: call(never)["state"] == "declined"), "given up, and never made: it is declined", call(never))
t.equal((key(never), state(never), call(never)["reason"]), (None, "voided", "never_made"), "and not made any more")
t.ok(within(60, lambda: state(made) == "refunded"), "given up, but made: it is found, and its money goes back", calls(f"c.payment = '{made}'"))
t.equal(len(bank.asked[key(made)]), asked, "and it is not made again")
t.ok(all(r.path == "/calls/" + r.key for r in bank.looked_up) and len(bank.looked_up) >= 2, "that is looked up by GET of the URL and the key", [r.path for r in bank.looked_up])

# Whoever does not know us, or has too much to do, has said nothing about a card.
for status in (401, 429):
    bank.refuses = status
    refused = [pay("approve") for _ in range(10)]
    t.ok(within(60, lambda: any(call(p)["reason"] == f"HTTP {status}" for p in refused)), f"{status} to everything: calls are tried", [call(p) for p in refused][:2])
    t.equal({state(p) for p in refused}, {"capturing"}, f"{status}: and nobody is declined")
    bank.refuses = None
    t.ok(within(60, lambda: {state(p) for p in refused} == {"captured"}), f"{status}: when it is over they are made", [call(p) for p in refused][:2])

# A certificate that nobody vouches for.
with tempfile.TemporaryDirectory() as directory:
    crt, pem = certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, pem)
    false = Bank(context=context)
    psql("SELECT holdfast.add_provider('false', p_attempts => 4, p_backoff => '1 s', p_backoff_max => '2 s')")
    other = Worker(provider__false__url=false.url, provider__false__timeout="10s", lease="30s")
    tls = pay("approve", provider="false")
    t.ok(within(60, lambda: other.events("provider_away")), "TLS: a certificate that is not trusted ends the call")
    t.ok("certificate" in other.events("provider_away")[0]["message"] and not false.asked, "TLS: and nothing is sent", other.log())
    t.equal(state(tls), "capturing", "TLS: and nothing is decided")
    other.stop()
    false.close()

charged = {}
for k, entry in bank.ledger.items():
    charged.setdefault(k.split("_")[2], []).append((bank.asked[k][0].body["kind"], entry["status"]))
twice = {p: c for p, c in charged.items() if sum(kind in ("charge", "capture") and status == "succeeded" for kind, status in c) > 1}
t.equal(twice, {}, "no payment was charged twice")
t.equal(broken(), ("", ""), "money and goods add up")
status, seconds = worker.stop()
t.equal(status, 0, "the worker ends well")
t.ok(SECRET not in worker.log() and "card_declined" not in worker.log(), "no secret and no answer is in the log")
t.equal([e for e in worker.events() if e["level"] == "error"], [], "and no error")
