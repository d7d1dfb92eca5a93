#!/usr/bin/env python3
"""Who is suspended is out at once, whatever tokens he has, and who loses a role can do no more with it: what an access
token says is only who somebody is. Only admins do that, and none to himself. Runs within tools/with-api. TAP.
"""
from api import PASSWORD, Client, Tap, at_once, key, login, product, psql, register, why_no_problem

t = Tap()
nobody = Client()
root, other, mark, sue, olga = (register("root", ["admin"]), register("other", ["admin"]), register("mark", ["merchant"]),
                                register("sue", ["merchant"]), register("olga"))
ACCOUNT = "/v1/admin/accounts/"
thing = product(sue)
order = olga.post("/v1/orders", {"items": [{"sku_id": thing["skus"][0]["id"], "quantity": 1}]}, headers=key()).json()
own = product(mark)
bought = sue.post("/v1/orders", {"items": [{"sku_id": own["skus"][0]["id"], "quantity": 1}]}, headers=key()).json()


def grant(**form):
    """What the token endpoint answers."""
    return nobody.post("/v1/oauth/token", form=form)


# Who may.
answer = root.get(ACCOUNT + sue.id)
t.equal({**answer.json(), "created_at": None},
        {"id": sue.id, "email": sue.email, "name": "sue", "roles": ["user", "merchant"], "merchant_id": sue.merchant_id, "created_at": None,
         "suspended_at": None}, "an admin sees an account")
t.ok(answer.headers["cache-control"] == "private, no-cache" and answer.headers["etag"], "with an ETag, for himself", answer.headers)
WAYS = (("GET", "", None), ("POST", "/suspend", None), ("POST", "/reinstate", None), ("PUT", "/roles", {"roles": ["user", "admin"]}))
for method, way, sent in WAYS:
    for who, name, code in ((nobody, "nobody", "unauthenticated"), (olga, "a user", "forbidden"), (mark, "a merchant", "forbidden")):
        answer = who.request(method, ACCOUNT + sue.id + way, sent)
        t.ok(why_no_problem(answer, code) is None, f"{name} does not {method} {way or 'an account'}", answer)
    t.ok(why_no_problem(root.request(method, ACCOUNT + "1" + way, sent), "not_found", 404) is None, "and nobody one that there is not")
    if method != "GET":
        t.ok(why_no_problem(root.request(method, ACCOUNT + root.id + way, sent), "own_account", 409) is None, "nor an admin his own")
for code, pointer, sent in (
        ("missing_field", "/roles", {}), ("wrong_type", "/roles", {"roles": "admin"}), ("invalid_value", "/roles/1", {"roles": ["user", "king"]}),
        ("invalid_value", "/roles", {"roles": []}), ("invalid_value", "/roles", {"roles": ["admin"]}),
        ("invalid_value", "/roles", {"roles": ["user", "merchant"]}), ("unknown_field", "/name", {"roles": ["user"], "name": "a"})):
    answer = root.put(ACCOUNT + olga.id + "/roles", sent)
    wrong = why_no_problem(answer, code, 422)
    t.ok(wrong is None and answer.json()["pointer"] == pointer, f"{code}: roles {sent}", wrong, answer)
for method, way, sent in WAYS:
    answer = Client(token="junk").request(method, ACCOUNT + olga.id + way, sent)
    t.ok(why_no_problem(answer, "invalid_token", 401) is None, f"invalid_token: {method} {way}", answer)
    if method != "GET":
        for status, code, more in ((400, "invalid_body", {"raw": b"[]", "headers": {"Content-Type": "application/json"}}),
                                   (415, "unsupported_media_type", {"raw": b"roles=admin"}), (422, "unknown_field", {"body": {"reason": "spam"}})):
            answer = root.request(method, ACCOUNT + olga.id + way, **more)
            t.ok(why_no_problem(answer, code, status) is None, f"{code}: {method} {way}", answer)
etag = root.get(ACCOUNT + olga.id).headers["etag"]
t.equal(root.get(ACCOUNT + olga.id, headers={"If-None-Match": etag}).status, 304, "what an admin has is not sent again")
seen = root.get(ACCOUNT + olga.id).json()
t.equal((seen["roles"], seen["suspended_at"]), (["user"], None), "what was refused has changed nothing")

# Suspended.
phone = login(sue.email)
t.equal(phone.get("/v1/me").status, 200, "an account is in")
answer = root.post(ACCOUNT + sue.id + "/suspend")
t.ok(answer.status == 200 and answer.json()["suspended_at"], "and is suspended", answer)
again = root.post(ACCOUNT + sue.id + "/suspend")
t.equal((again.status, again.json()), (200, answer.json()), "a second time changes nothing")
sale = mark.post("/v1/sales", {"sku_id": own["skus"][0]["id"], "price": 500, "quantity": 1, "starts_at": "2026-01-01T00:00:00Z",
                               "ends_at": "2099-01-01T00:00:00Z", "per_account_limit": 1}).json()["id"]
mark.post(f"/v1/sales/{sale}/preheat")
ticket = phone.post(f"/v1/sales/{sale}/tickets")
t.equal(ticket.status, 201, "a ticket says nothing of who may buy")
ANY = {"If-Match": "*"}
PNG = {"Content-Type": "image/png"}
REFUSED = (
    ("GET", "/v1/me", {}), ("PATCH", "/v1/me", {"body": {"name": "Sue"}, "headers": ANY}),
    ("PUT", "/v1/me/password", {"body": {"current_password": PASSWORD, "password": PASSWORD + "!"}}),
    ("DELETE", "/v1/me/tokens", {}), ("PUT", "/v1/me/avatar", {"raw": b"\x89PNG\r\n\x1a\n....", "headers": PNG}),
    ("POST", "/v1/merchants", {"body": {"name": "Sue"}}), ("PATCH", f"/v1/merchants/{sue.merchant_id}", {"body": {"name": "Sue"}, "headers": ANY}),
    ("POST", "/v1/products", {"body": {"title": "Thing"}}), ("PATCH", f"/v1/products/{thing['id']}", {"body": {"title": "New"}, "headers": ANY}),
    ("DELETE", f"/v1/products/{thing['id']}", {"headers": ANY}), ("POST", f"/v1/products/{thing['id']}/publish", {}),
    ("POST", f"/v1/products/{thing['id']}/unpublish", {}),
    ("POST", f"/v1/products/{thing['id']}/images", {"raw": b"\x89PNG\r\n\x1a\n....", "headers": PNG}),
    ("POST", f"/v1/skus/{thing['skus'][0]['id']}/receipts", {"body": {"quantity": 1, "reference": "r"}, "headers": key()}),
    ("POST", f"/v1/skus/{thing['skus'][0]['id']}/adjustments", {"body": {"quantity": -1, "reason": "r"}, "headers": key()}),
    ("POST", "/v1/orders", {"body": {"items": [{"sku_id": own["skus"][0]["id"], "quantity": 1}]}, "headers": key()}),
    ("POST", "/v1/orders/batch", {"body": {"orders": []}, "headers": key()}), ("GET", "/v1/orders", {}),
    ("GET", f"/v1/orders/{bought['id']}", {}), ("POST", f"/v1/orders/{bought['id']}/cancel", {"headers": ANY}),
    ("POST", f"/v1/orders/{order['id']}/ship", {"headers": ANY}), ("POST", f"/v1/orders/{order['id']}/complete", {"headers": ANY}),
    ("POST", f"/v1/orders/{order['id']}/returns", {"headers": key()}),
    ("POST", f"/v1/orders/{bought['id']}/payments", {"body": {"method": "card", "provider": "simulated"}, "headers": key()}),
    ("GET", f"/v1/payments/{order['id']}", {}), ("POST", f"/v1/payments/{order['id']}/refunds", {"headers": key()}),
    ("POST", "/v1/sales", {"body": {}}), ("PATCH", "/v1/sales/1", {"body": {}, "headers": ANY}), ("POST", "/v1/sales/1/preheat", {}),
    ("POST", "/v1/sales/1/close", {}),
    ("POST", f"/v1/sales/{sale}/purchases", {"body": {"ticket": ticket.json()["ticket"], "quantity": 1}, "headers": key()}),
    ("GET", "/v1/admin/jobs", {}), ("GET", ACCOUNT + sue.id, {}), ("POST", ACCOUNT + sue.id + "/suspend", {}),
    ("POST", ACCOUNT + sue.id + "/reinstate", {}), ("PUT", ACCOUNT + sue.id + "/roles", {"body": {"roles": ["user", "admin"]}}))
for method, path, more in REFUSED:
    answer = phone.request(method, path, **more)
    t.ok(why_no_problem(answer, "account_suspended", 403) is None, f"who is suspended is refused at once: {method} {path[:40]}", answer)
t.equal(phone.get("/v1/categories").status, 200, "what anybody may see, he may see")
refused = grant(grant_type="refresh_token", refresh_token=phone.refresh)
t.equal((refused.status, refused.code), (400, "invalid_grant"), "his token is not refreshed")
refused = grant(grant_type="password", username=sue.email, password=PASSWORD)
t.equal((refused.status, refused.json()), (400, {"error": "invalid_grant", "error_description": "the account is suspended"}),
        "he cannot log in, and is told why")
wrong = grant(grant_type="password", username=sue.email, password=PASSWORD + "!")
stranger = grant(grant_type="password", username="nobody@example.org", password=PASSWORD)
t.equal((wrong.status, wrong.body), (stranger.status, stranger.body), "which nobody learns without his password")
t.equal(olga.post("/v1/orders", {"items": [{"sku_id": thing["skus"][0]["id"], "quantity": 1}]}, headers=key()).status // 100, 4,
        "what he sells cannot be bought")

# Reinstated.
answer = root.post(ACCOUNT + sue.id + "/reinstate")
t.equal((answer.status, answer.json()["suspended_at"]), (200, None), "a suspension ends")
t.equal(root.post(ACCOUNT + sue.id + "/reinstate").json(), answer.json(), "once")
t.equal(grant(grant_type="refresh_token", refresh_token=phone.refresh).code, "invalid_grant", "what was logged in stays logged out")
t.equal((phone.get("/v1/me").status, login(sue.email).get("/v1/me").status), (200, 200), "but he is in again, and can log in")

# Roles.
t.equal(mark.patch(f"/v1/products/{own['id']}", {"title": "Before"}, headers=ANY).status, 200, "a merchant sells")
answer = root.put(ACCOUNT + mark.id + "/roles", {"roles": ["user"]})
t.equal((answer.status, answer.json()["roles"]), (200, ["user"]), "and loses the role")
for method, path, more in (("POST", "/v1/products", {"body": {"title": "After"}}),
                           ("PATCH", f"/v1/products/{own['id']}", {"body": {"title": "After"}, "headers": ANY}),
                           ("POST", f"/v1/products/{own['id']}/unpublish", {}),
                           ("PATCH", f"/v1/merchants/{mark.merchant_id}", {"body": {"name": "After"}, "headers": ANY})):
    answer = mark.request(method, path, **more)
    t.ok(why_no_problem(answer, "forbidden", 403) is None, f"which counts at once, with the token that he has: {method} {path[:20]}", answer)
t.equal(mark.post(f"/v1/orders/{bought['id']}/ship", headers=ANY).status, 404, "and orders of others are not his to see")
t.equal(mark.get("/v1/me").json()["roles"], ["user"], "what a user may do, he may do")
root.put(ACCOUNT + mark.id + "/roles", {"roles": ["merchant", "user"]})
t.equal(mark.post(f"/v1/products/{own['id']}/unpublish").status, 200, "given back, it counts at once too")
t.equal(olga.get("/v1/admin/jobs").code, "forbidden", "who is no admin")
root.put(ACCOUNT + olga.id + "/roles", {"roles": ["user", "admin"]})
t.equal(olga.get("/v1/admin/jobs").status, 200, "can become one, with the token that he has")
root.put(ACCOUNT + other.id + "/roles", {"roles": ["user"]})
t.equal([other.request(m, ACCOUNT + sue.id + w, s).code for m, w, s in WAYS], ["forbidden"] * 4, "an admin who was demoted is none any more")
t.equal(root.get(ACCOUNT + sue.id).json()["suspended_at"], None, "and has done nothing")
pair = (root, olga)
answers = at_once(2, lambda i: Client(token=pair[i].token).put(ACCOUNT + pair[1 - i].id + "/roles", {"roles": ["user"]}))
t.equal(sorted(str(getattr(a, "status", a)) for a in answers), ["200", "403"], "of two admins who demote each other at once, one stays")
