#!/usr/bin/env python3
# with-api: --only-edge
"""Keys are changed without taking anybody's ticket away: a new one on top signs, the old one is taken until it is gone. Runs
within tools/with-api, behind nginx. TAP.
"""
import os
import secrets

from api import Tap, key, product, register, settings, use_keys

EDGE = os.environ["HF_EDGE"]
t = Tap()
with open(settings()["token_keys"]) as keys:
    OLD = keys.read()
NEW = f"key-2 {secrets.token_hex(32)}\n"


def draw(who):
    return who.post(sale + "/tickets").json()["ticket"]


def buy(who, ticket):
    answer = who.post(sale + "/purchases", {"ticket": ticket, "quantity": 1}, headers=key())
    return answer.code or answer.status


mark, olga = register("mark", ["merchant"], base=EDGE), register("olga", base=EDGE)
sku = product(mark, 1000, 100)["skus"][0]["id"]
sale = "/v1/sales/" + mark.post("/v1/sales", {"sku_id": sku, "price": 500, "quantity": 10, "per_account_limit": 10, "starts_at": "2026-01-01T00:00:00Z",
                                              "ends_at": "2099-01-01T00:00:00Z"}).json()["id"]
mark.post(sale + "/preheat")
old = draw(olga)
t.equal(buy(olga, old), 201, "a ticket is taken")
use_keys(NEW + OLD)
t.equal(buy(olga, old), 201, "one of the old key still is, once there is a new key")
new = draw(olga)
t.ok(new != old and buy(olga, new) == 201, "which signs from now on", old, new)
use_keys(NEW)
olga.token = register("other", base=EDGE).token  # an access token of the new key
mine = draw(olga)
t.equal(buy(olga, mine), 201, "the new key is enough")
t.equal(buy(olga, old), "invalid_ticket", "once the old key is gone, its tickets are none")
