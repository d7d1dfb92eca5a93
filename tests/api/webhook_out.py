#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'webhook_private = on' --conf 'poll_interval = 100ms'
"""What happens in the shop is told to the merchant's own systems: order placed, paid, shipped and cancelled, payment captured and refunded,
stock low, sale ended; each once, to whoever wants it and to nobody else, signed so that the public library of Standard Webhooks
accepts it. Runs within tools/with-worker. TAP. The library is installed once, from the npm registry; without npm it is skipped.
"""
import json
import os
import subprocess
import tempfile

from api import Tap, key, npm, product, psql, register, why_no_problem, within
from hook import Receiver

PACKAGE, VERSION = "standardwebhooks", "1.0.0"
t = Tap()
hook = Receiver()
psql("SELECT holdfast.add_provider('simulated')")
mark, mia, olga = register("mark", ["merchant"]), register("mia", ["merchant"]), register("olga")
ALL = ["order.placed", "order.paid", "order.shipped", "order.cancelled", "payment.captured", "payment.refunded", "stock.low", "sale.ended"]


def endpoint(who, path, events, **more):
    answer = who.post("/v1/webhook-endpoints", {"url": hook.url + path, "events": events, **more})
    if answer.status != 201:
        raise RuntimeError(answer)
    return answer.json()


def got(path, kind):
    return [r for r in hook.of(path) if r.json()["type"] == kind]


def one(path, kind):
    """The one event of a kind that is told at a path."""
    within(60, lambda: got(path, kind))
    found = got(path, kind)
    return found[0].json() if len(found) == 1 else {"data": None, "seen": len(found)}


everything, some = endpoint(mark, "/all/ok", ALL, low_stock_threshold=8), endpoint(mark, "/some/ok", ["order.placed"])
other, off = endpoint(mia, "/mia/ok", ALL), endpoint(mark, "/off/ok", ALL)
off_etag = mark.get(f"/v1/webhook-endpoints/{off['id']}").headers["etag"]
answer = mark.patch(f"/v1/webhook-endpoints/{off['id']}", {"enabled": False}, headers={"If-Match": off_etag})
t.equal((answer.status, answer.json()["enabled"], answer.json()["disabled_reason"]), (200, False, "its merchant has disabled it"), "an endpoint can be disabled")
thing = product(mark, 1000, 10)
sku = thing["skus"][0]["id"]

# An order, from its beginning to its end.
order = olga.post("/v1/orders", {"items": [{"sku_id": sku, "quantity": 1}]}, headers=key()).json()
told = one("/all/ok", "order.placed")
t.equal(told["data"], order, "an order that is placed is told as its merchant sees it")
t.equal(sorted(told), ["data", "timestamp", "type"], "with type, timestamp and data")
t.ok(one("/some/ok", "order.placed")["data"] == order, "to every endpoint that wants it")
payment = olga.post(f"/v1/orders/{order['id']}/payments", {"provider": "simulated", "method": "test_approve"}, headers=key()).json()
told = one("/all/ok", "order.paid")
t.equal((told["data"]["id"], told["data"]["status"]), (order["id"], "paid"), "that it is paid")
told = one("/all/ok", "payment.captured")
t.equal((told["data"]["id"], told["data"]["state"], told["data"]["amount"]), (payment["id"], "captured", 1000), "by which payment")
mark.post(f"/v1/orders/{order['id']}/ship")
told = one("/all/ok", "order.shipped")
t.equal((told["data"]["id"], told["data"]["status"]), (order["id"], "shipped"), "and that it is shipped")
for part in (300, 700):
    mark.post(f"/v1/payments/{payment['id']}/refunds", {"amount": part}, headers=key())
    within(60, lambda: mark.get(f"/v1/payments/{payment['id']}").json()["refunding"] == 0)
within(60, lambda: len(got("/all/ok", "payment.refunded")) == 2)
told = [r.json()["data"] for r in got("/all/ok", "payment.refunded")]
t.equal(({d["id"] for d in told}, len(told), max(d["refunded"] for d in told)), ({payment["id"]}, 2, 1000), "each part of its money that goes back is told")

# Many orders in one request are one event of the queue, and one delivery each.
batch = olga.post("/v1/orders/batch", {"policy": "valid_rows", "orders": [{"items": [{"sku_id": sku, "quantity": 1}]}] * 3}, headers=key()).json()
orders = {r["order"]["id"] for r in batch["results"]}
t.ok(within(60, lambda: orders <= {r.json()["data"]["id"] for r in hook.of("/all/ok")}), "each order of a batch is told")
left, late, *_ = orders
olga.post(f"/v1/orders/{left}/cancel", headers={"If-Match": "*"})
psql(f"UPDATE shop.order SET expires_at = clock_timestamp() WHERE id = '{late}'; SELECT shop.cancel_expired_orders()")
t.ok(within(60, lambda: {(r.json()["data"]["id"], r.json()["data"]["status"]) for r in got("/all/ok", "order.cancelled")} == {(left, "cancelled"), (late, "cancelled")}),
     "and that one is cancelled, by its buyer or by the clock", got("/all/ok", "order.cancelled"))

# Stock.
t.equal(psql("SELECT shop.notice_low_stock()"), "1", "a SKU that falls below the threshold of an endpoint is noticed")
told = one("/all/ok", "stock.low")
t.equal(told["data"], {"sku_id": sku, "product_id": thing["id"], "code": thing["skus"][0]["code"], "title": thing["title"], "available": 8, "threshold": 8}, "and told")
t.equal(psql("SELECT shop.notice_low_stock()"), "0", "once")
mark.post(f"/v1/skus/{sku}/receipts", {"quantity": 10})
t.equal(psql("SELECT shop.notice_low_stock()"), "0", "until there was more again")
mark.post(f"/v1/skus/{sku}/adjustments", {"delta": -11, "reason": "broken"})
t.equal(psql("SELECT shop.notice_low_stock()"), "1", "then again")
t.ok(within(60, lambda: len(got("/all/ok", "stock.low")) == 2), "which is told as well")

# Sales: one that is closed, and one whose time is over.
ends = []
for way in ("closed", "over"):
    answer = mark.post("/v1/sales", {"sku_id": sku, "price": 500, "quantity": 2, "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z", "per_account_limit": 1})
    ends.append(answer.json()["id"])
    mark.post(f"/v1/sales/{ends[-1]}/preheat")
draft = mark.post("/v1/sales", {"sku_id": sku, "price": 500, "quantity": 2, "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z", "per_account_limit": 1}).json()["id"]
mark.post(f"/v1/sales/{draft}/close")
for _ in range(2):
    mark.post(f"/v1/sales/{ends[0]}/close")
psql(f"UPDATE shop.sale SET ends_at = clock_timestamp() WHERE id = {ends[1]}; SELECT shop.close_sales(); SELECT shop.close_sales()")
t.ok(within(60, lambda: {r.json()["data"]["id"] for r in got("/all/ok", "sale.ended")} == set(ends)), "sales that end are told, and a draft is not", got("/all/ok", "sale.ended"))
t.equal({r.json()["data"]["state"] for r in got("/all/ok", "sale.ended")}, {"closed"}, "as they are then")

# A test.
answer = mark.post(f"/v1/webhook-endpoints/{some['id']}/test")
told = one("/some/ok", "ping")
t.equal((answer.status, told["data"]), (202, {"endpoint_id": some["id"]}), "an endpoint can be tried")
ping = got("/some/ok", "ping")[0].id
t.equal((answer.json()["id"], answer.headers["location"]), (ping, f"/v1/webhook-endpoints/{some['id']}/deliveries/{ping}"), "by a delivery that can be looked at")

# All of it, and nothing else.
t.ok(within(60, lambda: psql("SELECT count(*) FROM shop.job WHERE kind IN ('webhook', 'order_placed', 'order_cancelled', 'payment_refunded', 'sale_ended', 'stock_low')") == "0"), "in the end nothing is left to do")
seen = [(r.path, r.json()["type"]) for r in hook.requests]
t.equal({kind: seen.count(("/all/ok", kind)) for kind in ALL}, {"order.placed": 4, "order.paid": 1, "order.shipped": 1, "order.cancelled": 2, "payment.captured": 1, "payment.refunded": 2, "stock.low": 2, "sale.ended": 2},
        "each is told once")
t.equal({path for path, _ in seen}, {"/all/ok", "/some/ok"}, "neither another merchant nor a disabled endpoint hears of it")
t.equal({kind for path, kind in seen if path == "/some/ok"}, {"order.placed", "ping"}, "nor one that did not ask for it")
secrets = {"/all/ok": everything["secret"], "/some/ok": some["secret"]}
t.ok(all(r.is_signed(secrets[r.path]) for r in hook.requests), "all are signed with the endpoint's secret")
t.equal(len({r.id for r in hook.requests}), len(hook.requests), "each has an id of its own")
t.equal({(r.headers["content-type"], r.headers["user-agent"]) for r in hook.requests}, {("application/json", "Holdfast-Webhooks")}, "they say what they are")

# What is kept.
path = f"/v1/webhook-endpoints/{everything['id']}/deliveries"
found, page = [], path + "?limit=3"
while page:
    answer = mark.get(page).json()
    found += answer["items"]
    page = answer["next"] and f"{path}?limit=3&cursor={answer['next']}"
t.equal([d["id"] for d in found], sorted((r.id for r in hook.of("/all/ok")), reverse=True), "the deliveries of an endpoint are listed, the youngest first")
t.equal({(d["state"], d["attempts"], d["status"], d["next_at"], d["error"]) for d in found}, {("delivered", 1, 204, None, None)}, "as delivered")
t.equal(mark.get(path + "?state=failed").json()["items"], [], "none has failed")
details = mark.get(f"{path}/{found[0]['id']}").json()
t.ok(details["payload"] in [r.json() for r in hook.of("/all/ok")] and [h["status"] for h in details["history"]] == [204], "with what was sent, and each attempt", details)
t.ok(why_no_problem(mia.get(f"{path}/{found[0]['id']}"), "not_found", 404) is None, "of which another merchant knows nothing")
before = len(hook.requests)
answer = mark.post(f"{path}/{found[0]['id']}/redeliver")
t.ok(within(60, lambda: len(hook.requests) == before + 1), "what was delivered can be sent again", answer)
first = next(r for r in hook.requests if r.id == found[0]["id"])
t.equal((hook.requests[-1].id, hook.requests[-1].body), (first.id, first.body), "with the same id and the same bytes")

# A merchant who is suspended.
root, before = register("root", ["admin"]), len(hook.requests)
root.post(f"/v1/admin/accounts/{mark.id}/suspend")
olga.post(f"/v1/orders/{(orders - {left, late}).pop()}/cancel", headers={"If-Match": "*"})


def missed():
    """The delivery that was cancelled."""
    return psql(f"SELECT id FROM shop.webhook_delivery WHERE endpoint_id = {everything['id']} AND state = 'cancelled'")


t.ok(within(60, missed), "of a merchant who is suspended a delivery is cancelled")
t.equal(len(hook.requests), before, "and nothing is sent")
root.post(f"/v1/admin/accounts/{mark.id}/reinstate")
t.equal(mark.post(f"{path}/{missed()}/redeliver").status, 202, "when he is back he can have it sent")
t.ok(within(60, lambda: len(got("/all/ok", "order.cancelled")) == 3), "and is told")

# Secrets and limits.
t.ok("secret" not in mark.get(f"/v1/webhook-endpoints/{some['id']}").json() and "secret" not in str(mark.get("/v1/webhook-endpoints").json()), "the secret is not shown again")
answers = [mark.post("/v1/webhook-endpoints", {"url": "https://example.org/x", "events": ["order.paid"]}) for _ in range(8)]
t.equal(([a.status for a in answers], answers[-1].code), ([201] * 7 + [409], "too_many_endpoints"), "a merchant has ten endpoints, and no more")
for url, pointer in [("http://example.org/", "/url"), ("https://user:secret@example.org/", "/url"), ("https://example.org/#part", "/url"), ("ftp://example.org/", "/url"),
                     ("https://exa mple.org/", "/url"), ("https://example.org:99999/", "/url"), ("https:///path", "/url"), ("https://example.org\\@127.0.0.1/", "/url"), ("javascript:alert(1)", "/url")]:
    answer = mia.post("/v1/webhook-endpoints", {"url": url, "events": ["order.paid"]})
    t.ok(answer.status == 422 and answer.json()["pointer"] == pointer, f"{url} is no URL for it", answer)

# The public library.
modules = npm(f"{PACKAGE}-{VERSION}", f"{PACKAGE}@{VERSION}")
if modules is None:
    t.ok(True, f"{PACKAGE} from npm # SKIP npm is not there, or the package cannot be had")
else:
    with tempfile.TemporaryDirectory() as home:
        os.symlink(modules, f"{home}/node_modules")
        script = f"{home}/webhook_verify.mjs"
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "webhook_verify.mjs")) as source, open(script, "w") as copy:
            copy.write(source.read())
        cases = [{"secret": secrets[r.path], "headers": r.headers, "body": r.body.decode()} for r in hook.requests]
        said = subprocess.run(["node", script], input=json.dumps(cases), capture_output=True, text=True, check=False)
    t.equal(said.stdout.split(), ["good"] * len(cases) + ["bad"] * 4, f"{PACKAGE} accepts all {len(cases)}, and none that was changed{said.stderr[:300]}")
hook.stop()
