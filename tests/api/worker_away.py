#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""The worker is away: orders are placed and paid for, accounts registered and passwords asked for all the same; the jobs wait,
and /ready, which stays 200, says so. When a worker is there it does all of them. TAP.
"""
from api import Client, Tap, key, product, psql, register, within
from worker import Worker, broken

t = Tap()
psql("DELETE FROM shop.job_periodic; SELECT holdfast.add_provider('simulated')")
N = 20


def ready():
    answer = Client().get("/ready")
    return answer.status, answer.json()["shop"]


mark, ann = register("mark", ["merchant"]), register("ann")
sku = product(mark, units=100)["skus"][0]["id"]
t.ok(ready()[0] == 200 and ready()[1]["worker"]["alive"] is False, "nobody does jobs", ready())
orders = [ann.post("/v1/orders", {"items": [{"sku_id": sku, "quantity": 1}]}, headers=key()) for _ in range(N)]
t.equal([o.status for o in orders], [201] * N, "orders are placed")
payments = [ann.post(f"/v1/orders/{o.json()['id']}/payments", {"provider": "simulated", "method": "test_approve"}, headers=key()) for o in orders]
t.ok(all(p.status in (201, 202) for p in payments), "payments are begun", payments)
t.ok(within(60, lambda: all(ann.get(f"/v1/orders/{o.json()['id']}").json()["status"] == "paid" for o in orders)), "and made, by a worker that does nothing else")
t.equal([mark.post(f"/v1/orders/{o.json()['id']}/ship").status for o in orders], [200] * N, "orders are shipped")
t.equal(Client().post("/v1/password-resets", {"email": ann.email}).status, 202, "a password is asked for")

waiting = int(psql("SELECT count(*) FROM shop.job"))
t.ok(waiting >= 3 * N + 1, "of each a job is kept", waiting)
psql("UPDATE shop.job SET due_at = due_at - interval '5 min'")
status, shop = ready()
t.equal(status, 200, "the shop is ready")
t.ok(shop["jobs"]["waiting"] == waiting and shop["jobs"]["running"] == 0 and shop["jobs"]["oldest_waiting_seconds"] >= 300, "and says how many jobs wait, and for how long", shop)
t.ok(shop["worker"]["alive"] is False and shop["worker"]["workers"] >= 1, "and that nobody is there for them", shop)

worker = Worker(jobs="on", poll_interval="100ms", mail_spool=None)
t.ok(within(60, lambda: ready()[1]["worker"]["alive"]), "a worker comes back", ready())
done = ("order_placed", "payment_received", "order_shipped", "password_reset")
left = lambda: int(psql(f"SELECT count(*) FROM shop.job WHERE kind IN {done}"))
t.ok(within(60, lambda: left() == 0), "and does all that has waited", psql("SELECT kind, error, count(*) FROM shop.job GROUP BY 1, 2"))
t.equal(psql("SELECT count(*) FROM shop.job_dead"), "0", "nothing was lost on the way")
mails = psql("SELECT count(*), count(DISTINCT key) FROM shop.job WHERE kind = 'mail'").split("|")
t.ok(mails[0] == mails[1] and int(mails[0]) == waiting, "each has become a mail, which waits for a server", mails)
t.equal(broken(), ("", ""), "and all is well")
