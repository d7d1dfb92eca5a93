#!/usr/bin/env python3
"""tools/simulated-provider by itself: a key is done once, whatever comes of the request, whoever asks at the same time and however
often the provider is killed; it refuses what a provider refuses; its events are signed, and sent until they are taken. TAP.
"""
import base64
import collections
import hashlib
import hmac
import http.client
import json
import random
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from api import Tap, at_once, within
from peace import in_peace
from simulated import Provider

t = Tap()
SECRET, HOOK = "sk_test_a1", "whsec_of_stripe"


class Ear(BaseHTTPRequestHandler):
    """Hears events, and takes each only the second time that it comes."""

    heard, protocol_version = [], "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):  # whoever has sent it was killed
            self.close_connection = True
            return
        before = sum(b == body for _, b, _ in self.heard)
        self.heard.append((time.time(), body, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(200 if before else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()


ear = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
threading.Thread(target=ear.serve_forever, daemon=True).start()
provider = Provider(secret=SECRET, webhook_secret=HOOK, webhook_url=f"http://127.0.0.1:{ear.server_address[1]}/hook", webhook_delay=300)
count = 0


def form(method="test_approve", amount=1000, capture="automatic", **more):
    global count
    count += 1
    return {"amount": amount, "currency": "eur", "payment_method": method, "confirm": "true", "capture_method": capture, "metadata[holdfast_key]": f"key-{count}", **more}


def pay(*words, key=None, timeout=30, **more):
    asked = form(*words, **more)
    return provider.ask("POST", "/payment_intents", asked, key or asked["metadata[holdfast_key]"], timeout)


def lines(key):
    return [(line["kind"], line["amount"], line["state"]) for line in provider.statement() if line["key"] == key]


# What succeeds and what does not.
status, intent, _ = pay()
t.equal((status, intent["object"], intent["status"], intent["amount_received"], intent["currency"]), (200, "payment_intent", "succeeded", 1000, "eur"), "a payment is charged")
t.equal(lines("key-1"), [("charge", 1000, "succeeded")], "the ledger says so")
for method, code in (("test_decline", "generic_decline"), ("test_insufficient_funds", "insufficient_funds")):
    status, body, _ = pay(method)
    t.equal((status, body["error"]["type"], body["error"]["code"], body["error"]["decline_code"]), (402, "card_error", "card_declined", code), f"{method}: 402")
    t.equal(lines(f"key-{count}"), [("charge", 1000, "declined")], f"{method}: in the ledger")
status, held, _ = pay("test_approve", 900, "manual")
t.equal((status, held["status"], held["amount_capturable"], held["amount_received"]), (200, "requires_capture", 900, 0), "one is authorized")
path = "/payment_intents/" + held["id"]
t.equal(provider.ask("POST", path + "/capture", {"amount_to_capture": 901}, "c0")[1]["error"]["code"], "amount_too_large", "more than that is not captured")
status, taken, _ = provider.ask("POST", path + "/capture", {"amount_to_capture": 700, "metadata[holdfast_key]": "c1"}, "c1")
t.equal((status, taken["status"], taken["amount_received"], taken["metadata"]["holdfast_key"]), (200, "succeeded", 700, "c1"), "it is captured, in part")
for claim, again in (("captured", "/capture"), ("cancelled", "/cancel")):
    status, body, _ = provider.ask("POST", path + again, {}, "again" + again)
    t.equal((status, body["error"]["code"], body["error"]["payment_intent"]["status"]), (400, "payment_intent_unexpected_state", "succeeded"), f"what is captured cannot be {claim}")
status, back, _ = provider.ask("POST", "/refunds", {"payment_intent": held["id"], "amount": 300, "metadata[holdfast_key]": "r1"}, "r1")
t.equal((status, back["object"], back["status"], back["amount"]), (200, "refund", "succeeded", 300), "a part is refunded")
t.equal(provider.ask("POST", "/refunds", {"payment_intent": held["id"], "amount": 401}, "r2")[1]["error"]["code"], "amount_too_large", "no more than was captured")
provider.ask("POST", "/refunds", {"payment_intent": held["id"], "amount": 400}, "r3")
t.equal(provider.ask("POST", "/refunds", {"payment_intent": held["id"], "amount": 1}, "r4")[1]["error"]["code"], "charge_already_refunded", "and nothing of what is back")
t.equal([r["amount"] for r in provider.ask("GET", f"/refunds?payment_intent={held['id']}")[1]["data"]], [300, 400], "the refunds of a payment are listed")
let_go = pay("test_approve", 900, "manual")[1]["id"]
t.equal(provider.ask("POST", f"/payment_intents/{let_go}/cancel", {}, "v1")[1]["status"], "canceled", "what is authorized is let go")
t.equal(lines("v1"), [("void", 900, "succeeded")], "by its key")

# Who asks wrongly.
for claim, (status, body, _), wanted in [
        ("without the secret", provider.ask("GET", path, Authorization="Bearer nobody"), (401, "invalid_request_error")), ("of a payment that is none", provider.ask("GET", "/payment_intents/pi_none"), (404, "invalid_request_error")),
        ("of nothing", provider.ask("GET", "/nothing"), (404, "invalid_request_error")), ("by an unknown method", pay("test_stolen"), (400, "invalid_request_error")), ("of no amount", pay("test_approve", 0), (400, "invalid_request_error")),
        ("of half a cent", pay("test_approve", "1.5"), (400, "invalid_request_error")), ("with a limit that is none", provider.ask("GET", "/balance_transactions?limit=x"), (400, "invalid_request_error"))]:
    t.equal((status, body["error"]["type"]), wanted, f"a request {claim} is refused")

# Keys.
asked = form()
one, two = provider.ask("POST", "/payment_intents", asked, "k"), provider.ask("POST", "/payment_intents", asked, "k")
t.equal((one[:2], two[2].get("idempotent-replayed"), one[2].get("idempotent-replayed")), (two[:2], "true", None), "a key is answered as before")
status, body, _ = provider.ask("POST", "/payment_intents", {**asked, "amount": 999}, "k")
t.equal((status, body["error"]["type"]), (400, "idempotency_error"), "with other parameters it is refused")
t.equal(provider.ask("POST", "/refunds", {"payment_intent": one[1]["id"]}, "k")[0], 400, "and for another purpose")
t.equal(len(lines(asked["metadata[holdfast_key]"])), 1, "and is done once")
t.equal(pay("test_decline", key="d")[0], 402, "a refusal of the card is kept")
provider.change(latency=500, jitter=100)


def crowd():
    """Sixteen at once with a key. Who comes when the first is done is told what became of it."""
    asked, begun = form(), time.monotonic()
    answers = at_once(16, lambda _: provider.ask("POST", "/payment_intents", asked, "crowd-" + asked["metadata[holdfast_key]"])[:2])
    took, kinds, done = time.monotonic() - begun, collections.Counter(status for status, _ in answers), lines(asked["metadata[holdfast_key]"])
    return took >= 0.5 and kinds[200] >= 1 and kinds[409] >= 1 and set(kinds) <= {200, 409} and len(done) == 1, took, kinds, done


in_peace(t.ok, 3, "an answer takes its time; of 16 at once one does it, others are told that it is under way; and it is done once", crowd)
provider.change(latency=0, jitter=0)

# Methods that misbehave.
for method, first in (("test_timeout", TimeoutError), ("test_lost", (http.client.RemoteDisconnected, ConnectionResetError)), ("test_silent", TimeoutError)):
    asked = form(method)
    try:
        told = provider.ask("POST", "/payment_intents", asked, method, timeout=30 if method == "test_lost" else 1)
    except first:
        told = None
    t.equal(told, None, f"{method}: the first request is not answered")
    if method != "test_silent":
        within(60, lambda: lines(asked["metadata[holdfast_key]"]))
        t.equal(lines(asked["metadata[holdfast_key]"]), [("charge", 1000, "succeeded")], f"{method}: but the money has moved")
        status, body, headers = provider.ask("POST", "/payment_intents", asked, method)
        t.equal((status, body["status"], headers.get("idempotent-replayed")), (200, "succeeded", "true"), f"{method}: the second one is")
asked = form("test_error")
t.equal(provider.ask("POST", "/payment_intents", asked, "e")[0], 500, "test_error: the first request fails")
t.equal(lines(asked["metadata[holdfast_key]"]), [], "test_error: and nothing is done")
t.equal(provider.ask("POST", "/payment_intents", asked, "e")[1]["status"], "succeeded", "test_error: the second one is done")
asked = form("test_error_kept")
t.equal([provider.ask("POST", "/payment_intents", asked, "ek")[0] for _ in range(2)], [500, 500], "test_error_kept: the key stays with its error")
query = "/payment_intents/search?query=metadata%5B%27holdfast_key%27%5D%3A%27" + asked["metadata[holdfast_key]"] + "%27"
t.equal([i["status"] for i in provider.ask("GET", query)[1]["data"]], ["succeeded"], "test_error_kept: but it is done, and found by its metadata")

# Events.
def heard(key, kind=None):
    found = [(at, json.loads(body), body, headers) for at, body, headers in list(Ear.heard) if "stripe-signature" in headers]
    return [f for f in found if f[1]["data"]["object"]["metadata"].get("holdfast_key") == key and (kind is None or f[1]["type"] == kind)]


Ear.heard.clear()
seen = {}
for method in ("test_approve", "test_decline", "test_processing", "test_webhook_twice", "test_webhook_late", "test_webhook_order", "test_webhook_amount", "test_timeout"):
    asked = form(method)
    seen[method] = asked["metadata[holdfast_key]"], time.time()
    try:
        status, body, _ = provider.ask("POST", "/payment_intents", asked, timeout=1 if method == "test_timeout" else 30)
    except TimeoutError:
        continue
    if method not in ("test_approve", "test_decline"):
        t.equal((status, body["status"]), (200, "processing"), f"{method}: accepted")
DONE = "payment_intent.succeeded"
t.ok(within(60, lambda: len(heard(seen["test_webhook_order"][0], "payment_intent.processing")) >= 2), "an event that is not taken comes again")
t.ok(within(60, lambda: len(heard(seen["test_webhook_late"][0], DONE)) >= 2), "also a late one")
for method, name, n in (("test_approve", DONE, 1), ("test_decline", "payment_intent.payment_failed", 1), ("test_processing", DONE, 1), ("test_webhook_twice", DONE, 2), ("test_webhook_late", DONE, 1), ("test_webhook_amount", DONE, 1), ("test_timeout", DONE, 0)):
    within(60, lambda m=method, k=name, least=2 * min(n, 1): len(heard(seen[m][0], k)) >= least)
    told = heard(seen[method][0], name)
    t.ok(len(told) >= 2 * min(n, 1) and len({e[1]["id"] for e in told}) == min(n, 1), f"{method}: {n} events {name}", told)
at, event, body, headers = heard(seen["test_webhook_late"][0], DONE)[0]
t.ok(at - seen["test_webhook_late"][1] >= 0.3, "the late one is late", at - seen["test_webhook_late"][1])
t.ok(min(e[0] for e in heard(seen["test_webhook_order"][0], "payment_intent.processing")) > min(e[0] for e in heard(seen["test_webhook_order"][0], DONE)), "the one out of order is out of order")
t.equal(heard(seen["test_webhook_amount"][0], DONE)[0][1]["data"]["object"]["amount_received"], 1001, "the wrong amount is wrong")
stamp = dict(part.split("=") for part in headers["stripe-signature"].split(","))
t.equal(stamp["v1"], hmac.new(HOOK.encode(), f"{stamp['t']}.".encode() + body, hashlib.sha256).hexdigest(), "events are signed as Stripe's")
t.ok(abs(int(stamp["t"]) - time.time()) < 60, "lately")
t.equal([lines(seen[method][0])[0][2] for method in seen if method != "test_decline"], ["succeeded"] * 7, "and what they say is in the ledger")

# Of scheme standard.
key = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
other = Provider(webhook_secret="whsec_" + key, scheme="standard", webhook_url=f"http://127.0.0.1:{ear.server_address[1]}/hook")
Ear.heard.clear()
asked = form()
other.ask("POST", "/payment_intents", asked, "x")
t.ok(within(60, lambda: sum("webhook-id" in h for _, _, h in list(Ear.heard)) >= 2), "of scheme standard as well")
_, body, headers = next(e for e in Ear.heard if "webhook-id" in e[2])
event = json.loads(body)
t.equal((event["type"], event["data"]["key"], event["data"]["amount"], event["data"]["currency"]), ("call.succeeded", asked["metadata[holdfast_key]"], 1000, "EUR"), "it is worded as that has it")
mac = hmac.new(base64.b64decode(key), f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body, hashlib.sha256).digest()
t.equal(headers["webhook-signature"], "v1," + base64.b64encode(mac).decode(), "and signed so")
other.stop(signal.SIGTERM)

# Failures, and keys that outlive them.
provider.change(fail_rate=0.4)
paid = {}
for number in range(20):
    asked = form()
    for attempt in range(60):
        try:
            status, body, _ = provider.ask("POST", "/payment_intents", asked, f"f{number}")
        except (http.client.HTTPException, OSError):
            continue
        if status == 200:
            paid[asked["metadata[holdfast_key]"]] = attempt
            break
provider.change(fail_rate=0)
t.equal((len(paid), {len(lines(k)) for k in paid}), (20, {1}), f"20 payments in {sum(paid.values()) + 20} attempts, of which many fail: each is made once")

# Killed, over and over.
known, stop, wrong, kills = {}, threading.Event(), [], 0


def buy(number):
    turn = 0
    while not stop.is_set():
        turn += 1
        asked, name = {**form(), "metadata[holdfast_key]": f"kill-{number}-{turn}"}, f"kill-{number}-{turn}"
        while True:
            try:
                status, body, _ = provider.ask("POST", "/payment_intents", asked, name, timeout=30)
            except (http.client.HTTPException, OSError, ValueError):
                if stop.is_set():
                    return
                time.sleep(0.01)
                continue
            if status == 200:
                known[name] = asked, body
            else:
                wrong.append((status, body))
            break


buyers = [threading.Thread(target=buy, args=(number,)) for number in range(4)]
for buyer in buyers:
    buyer.start()
end = time.monotonic() + 120
while kills < 12 or len(known) <= 20 and time.monotonic() < end:
    time.sleep(random.uniform(0.05, 0.3))
    provider.stop()
    kills += 1
    provider.start()
stop.set()
for buyer in buyers:
    buyer.join()
again = [provider.ask("POST", "/payment_intents", asked, name)[1] == body for name, (asked, body) in list(known.items())[-200:]]
booked = collections.Counter(line["key"] for line in provider.statement() if (line["key"] or "").startswith("kill-"))
t.equal(wrong, [], "no request is answered wrongly")
t.ok(len(known) > 20 and all(again), f"killed {kills} times: {len(known)} answers stand as they were given")
t.ok(all(booked[name] == 1 for name in known) and set(booked.values()) == {1}, "and each key has moved its money once", [n for n in booked if booked[n] != 1])
t.ok(within(60, lambda: all(len({e[1]["id"] for e in heard(name, DONE)}) == 1 for name in list(known)[-20:])), "the events of what was killed come as well")
provider.stop(signal.SIGTERM)
t.equal(provider.process.returncode, 0, "told to end, it ends")
