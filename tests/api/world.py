"""The routes, a call of each that works, and a digest of all that is stored: for tests of all routes.

The routes are those of api/src/routes.c. Who may call one is written down with the functions of rest, in
tests/shop/include/route.sql, and what that comes to for whom in tests/shop/privileges.sql.
"""
import os
import re
import time
import uuid

from api import PASSWORD, Client, key, product, psql, register

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
ANY = {"If-Match": "*"}
PICTURE = {"raw": b"\x89PNG\r\n\x1a\n" + bytes(64), "headers": {"Content-Type": "image/png"}}
# What the clock and readers write, and a count that the application tells of when it has time.
NOT_CONTENT = "'shop.job_log', 'shop.job_total', 'shop.job_slot', 'shop.worker', 'shop.schedule_run', 'shop.sale_counter', '_holdfast.cache_generation'"


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def routes():
    """The table of routes: {(method, pattern): (who, function or None, its arguments)}."""
    found = re.findall(r'^\tROUTE\((\w+),\s+"([^"]+)",\s+(\w+),\s+(?:NULL|"(\w+)\(([^)]*)\)")', read("api/src/routes.c"), re.M)
    return {(method, pattern): (who, function or None, words.split(", ")) for method, pattern, who, function, words in found}


def rules():
    """Who may call which function of rest: {function: who}."""
    return dict(re.findall(r"^ {4}\('(\w+)', '(\w+)', (?:ARRAY\[|'\{\}')", read("tests/shop/include/route.sql"), re.M))


def verdicts():
    """What each may expect: {who: {actor: 2, or a status}}."""
    text = read("tests/shop/privileges.sql")
    actors = re.search(r"unnest\(ARRAY\[('nobody'[^]]*)\], w\.expected\)", text)[1].replace("'", "").split(", ")
    return {who: dict(zip(actors, map(int, statuses.split(","))))
            for who, statuses in re.findall(r"\('(\w+)', +'\{([\d,]+)\}'", text)}


def digest(*without):
    """All that the shop and the extension store, as {table: rows and a sum over them}; without some tables."""
    lines = psql(f"""SELECT c.oid::regclass::text, (xpath('//d/text()', query_to_xml(format(
            'SELECT count(*) || '' '' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS d FROM %s AS t', c.oid::regclass), true, false, '')))[1]
        FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace IN ('shop'::regnamespace, '_holdfast'::regnamespace)
          AND c.oid::regclass::text NOT IN ({NOT_CONTENT})""").splitlines()
    tables = dict(line.split("|") for line in lines)
    tables["uploads"] = sorted(os.listdir(os.environ["HF_UPLOADS"]))
    return {name: rows for name, rows in tables.items() if name not in without}


def changed(before, after):
    """The tables in which two digests differ."""
    return sorted(name for name in before if before[name] != after[name])


def settle():
    """What was due by the clock is written down, and nothing becomes due while a test looks on."""
    psql("SELECT shop.tend()")
    psql("""UPDATE _holdfast.hold SET expires_at = expires_at + interval '1 day' WHERE state = 'held';
            UPDATE shop.order SET expires_at = expires_at + interval '1 day' WHERE status = 'pending_payment'""")


def sign(body, message="evt_1", at=None, provider="simulated"):
    """Headers of a webhook, as the provider signs it: Standard Webhooks."""
    at = int(time.time()) if at is None else at
    signature = psql(f"""SELECT holdfast.sign_webhook('standard', secret, '\\x{body.hex()}', '{message}', {at})
        FROM _holdfast.webhook_secret WHERE provider = '{provider}' ORDER BY added_at DESC LIMIT 1""")
    return {"webhook-id": message, "webhook-timestamp": str(at), "webhook-signature": signature, "Content-Type": "application/json"}


class World:
    """Olga buys, Mark sells, Otto and Mia are another user and another merchant, Root is an admin."""

    def __init__(self):
        psql("SELECT holdfast.add_provider('simulated')")
        self.root = register("root", ["admin"])
        self.mark, self.mia = register("mark", ["merchant"]), register("mia", ["merchant"])
        self.olga, self.otto = register("olga"), register("otto")
        self.people = {name: getattr(self, name) for name in ("otto", "olga", "mia", "mark", "root")}
        self.product = product(self.mark, units=100000)
        self.sku = self.product["skus"][0]["id"]
        self.mia_product = product(self.mia)
        self.category = self.new_category()
        self.webhook = b'{"type": "call.succeeded", "data": {"key": "hf-nothing", "amount": 1, "currency": "EUR", "reference": "r"}}'

    def made(self, answer):
        if answer.status >= 300:
            raise RuntimeError(f"nothing was made: {answer}")
        return answer.json()

    def new_category(self):
        return self.made(self.root.post("/v1/categories", {"name": "Things " + uuid.uuid4().hex}))["id"]

    def new_draft(self):
        return product(self.mark, published=False)

    def lines(self, quantity=1, sku=None):
        return [{"sku_id": sku or self.sku, "quantity": quantity}]

    def new_order(self):
        return self.made(self.olga.post("/v1/orders", {"items": self.lines(2)}, headers=key()))["id"]

    def new_payment(self, order, method="test_approve"):
        """Pays an order; the id of the payment."""
        body = {"provider": "simulated", "method": method}
        payment = self.made(self.olga.post(f"/v1/orders/{order}/payments", body, headers=key()))["id"]
        psql("SELECT holdfast.simulate_provider()")
        return payment

    def new_paid(self):
        order = self.new_order()
        return order, self.new_payment(order)

    def new_shipped(self):
        order, _ = self.new_paid()
        self.made(self.mark.post(f"/v1/orders/{order}/ship"))
        return order

    def new_sale(self, state="open", units=10, limit=5):
        """A sale of a SKU of Mark's: draft, scheduled, open or closed."""
        body = {**self.sale(), "quantity": units, "per_account_limit": limit}
        if state == "open":
            body["starts_at"] = "2026-01-01T00:00:00Z"
        sale = self.made(self.mark.post("/v1/sales", body))["id"]
        if state != "draft":
            self.made(self.mark.post(f"/v1/sales/{sale}/preheat"))
        if state == "closed":
            self.made(self.mark.post(f"/v1/sales/{sale}/close"))
        return sale

    def sale(self):
        return {"sku_id": self.sku, "price": 500, "quantity": 20, "starts_at": "2099-01-01T00:00:00Z", "ends_at": "2099-01-02T00:00:00Z", "per_account_limit": 5}

    def new_job(self, dead=False):
        job = psql("SELECT shop.enqueue('order_shipped', '{}', p_due_at => '2099-01-01')")
        if dead:
            psql(f"SELECT shop.cancel_job('{job}')")
        return job

    def new_endpoint(self):
        """An endpoint of Mark's; of earlier ones the last are kept, for there may be ten."""
        self.few_endpoints()
        body = {"url": "https://example.org/hook", "events": ["order.placed", "sale.ended"]}
        return self.made(self.mark.post("/v1/webhook-endpoints", body))["id"]

    def few_endpoints(self):
        psql(f"""UPDATE shop.webhook_endpoint AS e SET deleted_at = clock_timestamp() WHERE e.deleted_at IS NULL AND e.merchant_id = {self.mark.merchant_id}
            AND e.id NOT IN (SELECT n.id FROM shop.webhook_endpoint AS n WHERE n.merchant_id = e.merchant_id ORDER BY n.id DESC LIMIT 8)""")

    def new_delivery(self):
        """The path of a delivery."""
        path = f"/v1/webhook-endpoints/{self.new_endpoint()}"
        return f"{path}/deliveries/{self.made(self.mark.post(path + '/test'))['id']}"

    def new_hook(self):
        self.few_endpoints()
        return {"url": "https://example.org/other", "events": ["order.paid", "stock.low"], "description": "Shelf", "low_stock_threshold": 3}

    def new_reset(self):
        """The token of a link to reset the password of somebody."""
        if not hasattr(self, "forgetful"):
            self.forgetful = register("forgetful")
        Client().post("/v1/password-resets", {"email": self.forgetful.email})
        return psql(f"SELECT payload ->> 'token' FROM shop.job WHERE kind = 'password_reset' AND payload ->> 'account_id' = '{self.forgetful.id}' ORDER BY id DESC LIMIT 1")


def new_product(**more):
    return {"title": "New", "description": "A new thing", "attributes": {"sizes": [1]}, "tags": ["x"], "published": True,
            "skus": [{"code": uuid.uuid4().hex[:12], "price": 100, "currency": "EUR"}], **more}


def call(path, body=None, headers=None, **more):
    return {"path": path, "body": body, "headers": headers or {}, **more}


def with_ticket(client, c):
    """The call; a purchase with a ticket of who makes it, or with none that is good if he gets none."""
    if not c["path"].endswith("/purchases"):
        return c
    drawn = client.post(c["path"].removesuffix("purchases") + "tickets").json()
    return {**c, "body": {**c["body"], "ticket": drawn.get("ticket", "none")}}


# A call of each route that works, once, a purchase with_ticket(): path, and what api.Client.request() takes.
CALLS = {
    ("POST", "/v1/accounts"): lambda w: call("/v1/accounts", {"email": f"new-{uuid.uuid4().hex}@example.org", "password": PASSWORD, "name": "New", "locale": "en"}),
    ("POST", "/v1/oauth/token"): lambda w: call("/v1/oauth/token", form={"grant_type": "password", "username": w.otto.email, "password": PASSWORD}),
    ("POST", "/v1/oauth/revoke"): lambda w: call("/v1/oauth/revoke", form={"token": w.otto.refresh}),
    ("POST", "/v1/password-resets"): lambda w: call("/v1/password-resets", {"email": w.otto.email}),
    ("PUT", "/v1/password-resets/{token}"): lambda w: call("/v1/password-resets/" + w.new_reset(), {"password": PASSWORD}),
    ("GET", "/v1/me"): lambda w: call("/v1/me"),
    ("PATCH", "/v1/me"): lambda w: call("/v1/me", {"name": "Renamed", "locale": "de"}, ANY),
    ("PUT", "/v1/me/password"): lambda w: call("/v1/me/password", {"current_password": PASSWORD, "password": PASSWORD}),
    ("DELETE", "/v1/me/tokens"): lambda w: call("/v1/me/tokens"),
    ("PUT", "/v1/me/avatar"): lambda w: call("/v1/me/avatar", **PICTURE),
    ("POST", "/v1/merchants"): lambda w: call("/v1/merchants", {"name": "New & Co"}),
    ("GET", "/v1/merchants/{id}"): lambda w: call(f"/v1/merchants/{w.mark.merchant_id}"),
    ("PATCH", "/v1/merchants/{id}"): lambda w: call(f"/v1/merchants/{w.mark.merchant_id}", {"name": "Renamed"}, ANY),
    ("GET", "/v1/categories"): lambda w: call("/v1/categories"),
    ("POST", "/v1/categories"): lambda w: call("/v1/categories", {"name": uuid.uuid4().hex, "parent_id": w.category}),
    ("PATCH", "/v1/categories/{id}"): lambda w: call(f"/v1/categories/{w.new_category()}", {"name": uuid.uuid4().hex, "parent_id": w.category}),
    ("GET", "/v1/products"): lambda w: call(f"/v1/products?merchant={w.mark.merchant_id}&min_price=1&currency=EUR&sort=-price&limit=10"),
    ("POST", "/v1/products"): lambda w: call("/v1/products", new_product(category_id=w.category)),
    ("GET", "/v1/products/{id}"): lambda w: call(f"/v1/products/{w.product['id']}"),
    ("PATCH", "/v1/products/{id}"): lambda w: call(f"/v1/products/{product(w.mark)['id']}", new_product(category_id=w.category), ANY),
    ("DELETE", "/v1/products/{id}"): lambda w: call(f"/v1/products/{product(w.mark)['id']}", None, ANY),
    ("POST", "/v1/products/{id}/publish"): lambda w: call(f"/v1/products/{product(w.mark)['id']}/publish"),
    ("POST", "/v1/products/{id}/unpublish"): lambda w: call(f"/v1/products/{product(w.mark)['id']}/unpublish"),
    ("GET", "/v1/products/{id}/related"): lambda w: call(f"/v1/products/{w.product['id']}/related"),
    ("POST", "/v1/products/{id}/images"): lambda w: call(f"/v1/products/{product(w.mark)['id']}/images", **PICTURE),
    ("GET", "/v1/search"): lambda w: call("/v1/search?q=thing&facets=true&limit=10"),
    ("GET", "/v1/skus/{id}/stock"): lambda w: call(f"/v1/skus/{w.sku}/stock"),
    ("POST", "/v1/skus/{id}/receipts"): lambda w: call(f"/v1/skus/{w.sku}/receipts", {"quantity": 10, "reference": "delivery note 1"}, key()),
    ("POST", "/v1/skus/{id}/adjustments"): lambda w: call(f"/v1/skus/{w.sku}/adjustments", {"delta": -1, "reason": "broken"}, key()),
    ("POST", "/v1/orders"): lambda w: call("/v1/orders", {"items": w.lines(), "expected_total": 1000}, key()),
    ("POST", "/v1/orders/batch"): lambda w: call("/v1/orders/batch", {"policy": "all_or_nothing", "orders": [{"items": w.lines(2), "expected_total": 2000}]}, key()),
    ("GET", "/v1/orders"): lambda w: call("/v1/orders?status=paid&limit=10"),
    ("GET", "/v1/orders/{id}"): lambda w: call(f"/v1/orders/{w.new_order()}"),
    ("POST", "/v1/orders/{id}/cancel"): lambda w: call(f"/v1/orders/{w.new_order()}/cancel", None, ANY),
    ("POST", "/v1/orders/{id}/ship"): lambda w: call(f"/v1/orders/{w.new_paid()[0]}/ship", None, ANY),
    ("POST", "/v1/orders/{id}/complete"): lambda w: call(f"/v1/orders/{w.new_shipped()}/complete", None, ANY),
    ("POST", "/v1/orders/{id}/returns"): lambda w: call(f"/v1/orders/{w.new_paid()[0]}/returns", {"items": [{"line": 1, "quantity": 1}], "reason": "too small"}, key()),
    ("POST", "/v1/orders/{id}/payments"): lambda w: call(f"/v1/orders/{w.new_order()}/payments", {"provider": "simulated", "method": "test_approve"}, key()),
    ("GET", "/v1/payments/{id}"): lambda w: call(f"/v1/payments/{w.new_paid()[1]}"),
    ("POST", "/v1/payments/{id}/refunds"): lambda w: call(f"/v1/payments/{w.new_paid()[1]}/refunds", {"amount": 5, "reason": "scratched"}, key()),
    ("POST", "/v1/webhooks/{provider}"): lambda w: call("/v1/webhooks/simulated", None, sign(w.webhook), raw=w.webhook),
    ("POST", "/v1/sales"): lambda w: call("/v1/sales", w.sale()),
    ("GET", "/v1/sales"): lambda w: call(f"/v1/sales?state=open&merchant={w.mark.merchant_id}&limit=10"),
    ("GET", "/v1/sales/{id}"): lambda w: call(f"/v1/sales/{w.new_sale()}"),
    ("PATCH", "/v1/sales/{id}"): lambda w: call(f"/v1/sales/{w.new_sale('draft')}", {"price": 400, "quantity": 10, "per_account_limit": 4}, ANY),
    ("POST", "/v1/sales/{id}/preheat"): lambda w: call(f"/v1/sales/{w.new_sale('draft')}/preheat"),
    ("POST", "/v1/sales/{id}/close"): lambda w: call(f"/v1/sales/{w.new_sale()}/close"),
    # What is over: its stream is one event, and ends.
    ("GET", "/v1/sales/{id}/events"): lambda w: call(f"/v1/sales/{w.new_sale('closed')}/events"),
    ("POST", "/v1/sales/{id}/tickets"): lambda w: call(f"/v1/sales/{w.new_sale()}/tickets"),
    ("POST", "/v1/sales/{id}/purchases"): lambda w: call(f"/v1/sales/{w.new_sale()}/purchases", {"ticket": "x", "quantity": 1}, key()),
    ("POST", "/v1/webhook-endpoints"): lambda w: call("/v1/webhook-endpoints", w.new_hook()),
    ("GET", "/v1/webhook-endpoints"): lambda w: call("/v1/webhook-endpoints?limit=10"),
    ("GET", "/v1/webhook-endpoints/{id}"): lambda w: call(f"/v1/webhook-endpoints/{w.new_endpoint()}"),
    ("PATCH", "/v1/webhook-endpoints/{id}"): lambda w: call(f"/v1/webhook-endpoints/{w.new_endpoint()}", {"events": ["sale.ended"], "enabled": False}, ANY),
    ("DELETE", "/v1/webhook-endpoints/{id}"): lambda w: call(f"/v1/webhook-endpoints/{w.new_endpoint()}", None, ANY),
    ("POST", "/v1/webhook-endpoints/{id}/rotate-secret"): lambda w: call(f"/v1/webhook-endpoints/{w.new_endpoint()}/rotate-secret"),
    ("POST", "/v1/webhook-endpoints/{id}/test"): lambda w: call(f"/v1/webhook-endpoints/{w.new_endpoint()}/test"),
    ("GET", "/v1/webhook-endpoints/{id}/deliveries"): lambda w: call(f"/v1/webhook-endpoints/{w.new_endpoint()}/deliveries?state=pending&limit=10"),
    ("GET", "/v1/webhook-endpoints/{id}/deliveries/{delivery}"): lambda w: call(w.new_delivery()),
    ("POST", "/v1/webhook-endpoints/{id}/deliveries/{delivery}/redeliver"): lambda w: call(w.new_delivery() + "/redeliver"),
    ("GET", "/v1/admin/jobs"): lambda w: call("/v1/admin/jobs?state=dead&kind=order_shipped&limit=10"),
    ("GET", "/v1/admin/jobs/{id}"): lambda w: call(f"/v1/admin/jobs/{w.new_job()}"),
    ("GET", "/v1/admin/job-kinds"): lambda w: call("/v1/admin/job-kinds"),
    ("PATCH", "/v1/admin/job-kinds/{kind}"): lambda w: call("/v1/admin/job-kinds/noop", {"attempts": 4}),
    ("POST", "/v1/admin/job-kinds/{kind}/retry-dead"): lambda w: call("/v1/admin/job-kinds/noop/retry-dead", {"limit": 10}),
    ("GET", "/v1/admin/schedules"): lambda w: call("/v1/admin/schedules"),
    ("PATCH", "/v1/admin/schedules/{name}"): lambda w: call("/v1/admin/schedules/sales", {"active": True}),
    ("POST", "/v1/admin/schedules/{name}/run"): lambda w: call("/v1/admin/schedules/sales/run"),
    ("POST", "/v1/admin/jobs/{id}/retry"): lambda w: call(f"/v1/admin/jobs/{w.new_job(dead=True)}/retry"),
    ("POST", "/v1/admin/jobs/{id}/cancel"): lambda w: call(f"/v1/admin/jobs/{w.new_job()}/cancel"),
    ("GET", "/v1/admin/locks"): lambda w: call("/v1/admin/locks"),
    ("GET", "/v1/admin/cache"): lambda w: call("/v1/admin/cache"),
    ("GET", "/v1/admin/invariants"): lambda w: call("/v1/admin/invariants"),
    ("GET", "/v1/admin/accounts/{id}"): lambda w: call(f"/v1/admin/accounts/{w.otto.id}"),
    ("POST", "/v1/admin/accounts/{id}/suspend"): lambda w: call(f"/v1/admin/accounts/{register('spare').id}/suspend"),
    ("POST", "/v1/admin/accounts/{id}/reinstate"): lambda w: call(f"/v1/admin/accounts/{w.otto.id}/reinstate"),
    ("PUT", "/v1/admin/accounts/{id}/roles"): lambda w: call(f"/v1/admin/accounts/{register('spare').id}/roles", {"roles": ["user", "admin"]}),
    ("GET", "/health"): lambda w: call("/health"),
    ("GET", "/ready"): lambda w: call("/ready"),
    ("GET", "/metrics"): lambda w: call("/metrics"),
    ("GET", "/openapi.json"): lambda w: call("/openapi.json"),
    ("GET", "/docs"): lambda w: call("/docs"),
    ("GET", "/docs/{name}"): lambda w: call("/docs/docs.js"),
    ("GET", "/problems/{name}"): lambda w: call("/problems/sold_out"),
}
