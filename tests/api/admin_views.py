#!/usr/bin/env python3
"""An administrator sees who waits for which units, how the cache does, and whether all that must hold does hold; what is
broken is shown. Runs within tools/with-api. TAP.
"""
import subprocess

from api import Client, Tap, key, product, psql, register, why_no_problem, within

t = Tap()
root, mark, olga = register("root", ["admin"]), register("mark", ["merchant"]), register("olga")
SKU = product(mark, 1000, 10)["skus"][0]["id"]
order = olga.post("/v1/orders", {"items": [{"sku_id": SKU, "quantity": 2}]}, headers=key()).json()["id"]
PATHS = ("/v1/admin/locks", "/v1/admin/cache", "/v1/admin/invariants")
for path in PATHS:
    for claim, who, status, code in [("nobody", Client(), 401, "unauthenticated"), ("a user", olga, 403, "forbidden"), ("a merchant", mark, 403, "forbidden")]:
        answer = who.get(path)
        t.ok(why_no_problem(answer, code, status) is None and "admin" in answer.json().get("detail", "admin"), f"{path} is not for {claim}", answer)

# The cache.
within(60, lambda: root.get("/v1/admin/cache").json()["state"] == "on")  # it may be behind for a moment
answer = root.get("/v1/admin/cache")
t.ok(answer.status == 200 and answer.json()["state"] == "on" and answer.json()["last_error"] is None, "the cache is on", answer)
t.ok({"shop.product", "shop.category"} <= {w["table"] for w in answer.json()["watched"]}, "and watches the catalogue", answer)

# Locks.
t.equal(root.get("/v1/admin/locks").json(), {"items": []}, "nobody waits for units")


class Session:
    """A psql that is kept."""

    def __init__(self):
        self.process = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, sql):
        self.process.stdin.write(sql + "\n")
        self.process.stdin.flush()

    def close(self):
        self.process.communicate()


holder, waiter = Session(), Session()
holder.send(f"BEGIN; SELECT holdfast.adjust({SKU}, -1, 'broken');")
holder.process.stdout.readline()
waiter.send(f"SELECT holdfast.adjust({SKU}, -1, 'broken');")
found = []


def is_seen():
    found[:] = root.get("/v1/admin/locks").json()["items"]
    return found


t.ok(within(60, is_seen) and found[0]["stock_id"] == SKU and found[0]["blocked_by_user"] == "postgres", "who waits for units is seen, and for whom", found)
holder.send("ROLLBACK;")
holder.close()
waiter.close()
t.equal(root.get("/v1/admin/locks").json(), {"items": []}, "until he has them")

# Invariants.
GOOD = {"holds": True, "broken": 0, "items": []}
t.equal(root.get("/v1/admin/invariants").json(), GOOD, "all is well")
psql(f"UPDATE shop.order SET total = total + 1 WHERE id = '{order}'")
answer = root.get("/v1/admin/invariants").json()
t.ok(not answer["holds"] and answer["broken"] == len(answer["items"]) == 1 and order in answer["items"][0]["detail"], "what is broken is shown", answer)
psql(f"UPDATE shop.order SET total = total - 1 WHERE id = '{order}'")
t.equal(root.get("/v1/admin/invariants").json(), GOOD, "until it is put right")
