#!/usr/bin/env python3
"""Purchases are combined and none feels it: batches are fewer than purchases, a lone one goes at once, what is wrong with one
is its own, a batch that fails as a whole is sent again by halves, one whose connection is lost is sent again and buys
nothing twice, a full queue says so, and without a database whoever waits is told. Runs within tools/with-api. TAP.
"""
# with-api: --workers 1 --conf 'purchase_batch = 16' --conf 'purchase_queue = 40' --conf 'purchase_wait = 8s' --conf 'request_timeout = 200s' --conf 'slow_timeout = 200s'
import http.client
import json
import re
import subprocess
import threading
import time
import urllib.parse

from api import Client, Tap, at_once, key, product, psql, register, within, why_no_problem

t = Tap()
mark = register("mark", ["merchant"])
buyers = [register(f"buyer{n}") for n in range(24)]
SKU = product(mark, 1000, 100000)["skus"][0]["id"]
WINDOW = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}


class Sale:
    """A sale, and a ticket of it for each buyer."""

    def __init__(self, units, limit):
        body = {"sku_id": SKU, "price": 500, "quantity": units, "per_account_limit": limit, **WINDOW}
        self.id = mark.post("/v1/sales", body).json()["id"]
        mark.post(f"/v1/sales/{self.id}/preheat")
        self.tickets = {who: who.post(f"/v1/sales/{self.id}/tickets").json()["ticket"] for who in buyers}

    def buy(self, who, quantity=1, headers=None, client=None):
        body = {"ticket": self.tickets[who], "quantity": quantity}
        return (client or Client(token=who.token)).post(f"/v1/sales/{self.id}/purchases", body, headers=headers or key())

    def orders(self):
        return int(psql(f"SELECT count(*) FROM shop.order WHERE sale_id = {self.id}"))


def metric(name):
    found = re.search(rf"^holdfast_{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", Client().get("/metrics").body.decode(), re.M)
    return float(found[1])


def all_at_once(*calls):
    """What these calls, made in threads of their own, answer."""
    return at_once(len(calls), lambda n: calls[n]())


def no_leaks():
    t.equal(psql("SELECT count(*) FROM holdfast.verify()") + psql("SELECT count(*) FROM shop.verify()"), "00", "  and nothing is wrong with stock and shop")


# Alone.
sale = Sale(1000, 1000)
before = metric("purchase_batches_total")
t.ok(all(sale.buy(buyers[0]).status == 201 for _ in range(5)), "one after the other, each purchase")
t.equal(metric("purchase_batches_total") - before, 5, "  is a batch of its own")

# Together: the connections are held up, so that all others collect.
class Held:
    """Keeps the rows of two buyers locked, and each in a batch of his own that waits for it, until both are let go; what these are answered."""

    def __init__(self, *others):
        """others: who come after them, one by one."""
        self.answers, batches = [], metric("purchase_batches_total")
        self.locks = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.locks.stdin.write(f"BEGIN; SELECT FROM shop.sale_buyer WHERE sale_id = {sale.id} AND account_id IN ({first.id}, {second.id}) ORDER BY account_id FOR UPDATE;\n\\echo held\n")
        self.locks.stdin.flush()
        while self.locks.stdout.readline() != "held\n":
            pass
        self.threads = [threading.Thread(target=lambda who=who: self.answers.append(sale.buy(who))) for who in (first, second, *others)]
        for n, thread in enumerate(self.threads, 1):
            thread.start()
            t.ok(within(60, lambda: metric("purchases_waiting") == n and metric("purchase_batches_total") - batches == min(n, 2)), f"  (there are {n}, in two batches)")

    def let_go(self):
        self.locks.communicate("COMMIT;\n")
        for thread in self.threads:
            thread.join()


def meanwhile(held, condition, *calls):
    """What these calls answer that are made while rows are held; these are let go once the condition is fulfilled."""
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(all_at_once(*[lambda call=call: done.append(call()) or done[-1] for call in calls])))
    done = []
    thread.start()
    t.ok(within(60, lambda: condition(done)), "  (all have come)", len(done), metric("purchases_waiting"))
    held.let_go()
    thread.join()
    return answers


first, second = buyers[:2]
sale.buy(second)
before, lines = metric("purchase_batches_total"), metric("purchase_lines_total")
answers = meanwhile(Held(), lambda done: metric("purchases_waiting") == 22, *[lambda who=who: sale.buy(who) for who in buyers[2:22]])
t.ok(all(a.status == 201 for a in answers), "who comes while two batches are under way waits for them, and then buys", *[a for a in answers if a.status != 201][:2])
t.equal((metric("purchase_batches_total") - before, metric("purchase_lines_total") - lines), (4, 22), "  all of them in two batches, of which one is full")
t.equal(sale.orders(), 5 + 1 + 22, "  each once")

# What is wrong with one is its own.
small = Sale(100, 2)
for who in buyers[:3]:
    small.buy(who, 2)
suspended = buyers[3]
psql(f"UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = {suspended.id}")
again = key()
bought = small.buy(buyers[4], headers=again)
calls = [lambda who=who: small.buy(who) for who in buyers[:4]] + [lambda: small.buy(buyers[4], headers=again), lambda: small.buy(buyers[4], 2, headers=again)]
answers = all_at_once(*calls, *[lambda who=who: small.buy(who) for who in buyers[5:15]])
t.equal([a.code for a in answers[:4]], ["limit_reached"] * 3 + ["account_suspended"], "refusals are for those they are about")
t.ok(answers[4].status == 201 and answers[4].body == bought.body and answers[4].headers["idempotency-replayed"] == "true", "  a key is answered as it was", answers[4])
t.equal(answers[5].code, "idempotency_key_reused", "  or refused for another quantity")
t.ok(all(a.status == 201 for a in answers[6:]), "  and the others buy")
same = key()
answers = all_at_once(*[lambda: small.buy(buyers[20], headers=same) for _ in range(12)])
t.ok({a.status for a in answers} == {201} and len({a.body for a in answers}) == 1, "one key in one batch many times is one order", *answers[:2])
psql(f"UPDATE shop.account SET suspended_at = NULL WHERE id = {suspended.id}")

# A batch that fails as a whole.
poisoned = Sale(1000, 1000)
victim = buyers[7]
psql(f"""CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.account_id = {victim.id} THEN RAISE 'poison' USING ERRCODE = 'XX001'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER poison BEFORE INSERT ON shop.sale_buyer FOR EACH ROW EXECUTE FUNCTION public.poison()""")
splits, rounds, answers = metric("purchase_splits_total"), 0, []
while rounds < 3 or (rounds < 30 and metric("purchase_splits_total") == splits):  # who comes late comes alone
    answers += all_at_once(*[lambda who=who: poisoned.buy(who) for who in buyers[:16]])
    rounds += 1
wrong = [a for n, a in enumerate(answers) if n % 16 != 7 and a.status != 201]
t.ok(not wrong, "one line that breaks its whole batch breaks nobody else's", *wrong[:2])
t.ok(all(why_no_problem(a, "internal_error", 500) is None for a in answers[7::16]), "  but its own", *answers[7::16])
t.ok(metric("purchase_splits_total") > splits, "  because the batch was sent again by halves")
t.equal(poisoned.orders(), 15 * rounds, "  and each bought once")
psql("DROP FUNCTION public.poison() CASCADE")

# A batch whose connection is lost.
sale = Sale(10000, 1000)
stop, shoppers = threading.Event(), {who: [] for who in buyers[:12]}


def shop(who):
    client = Client(token=who.token)
    while not stop.is_set():
        shoppers[who].append(sale.buy(who, client=client))


threads = [threading.Thread(target=shop, args=(who,)) for who in shoppers]
for thread in threads:
    thread.start()
killed, end = 0, time.monotonic() + 120
while killed < 5 and time.monotonic() < end:
    had = {who: len(answers) for who, answers in shoppers.items()}
    if not within(60, lambda: all(len(answers) > had[who] + 2 for who, answers in shoppers.items()) and metric('database_connections{lane="purchase"}') == 2):
        break  # nobody's batch may be lost twice
    killed += psql("SELECT state FROM (SELECT state, pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_api' AND query LIKE '%purchase_batch%' OFFSET 0) AS k").count("active")
stop.set()
for thread in threads:
    thread.join()
answers = [each for those in shoppers.values() for each in those]
t.ok(killed > 0, f"{killed} connections were killed in the middle of a batch, and all others with them")
t.ok(all(a.status == 201 for a in answers), f"  which none of {len(answers)} buyers noticed", *[a for a in answers if a.status != 201][:3])
t.equal((sale.orders(), len({a.json()["id"] for a in answers if a.status == 201})), (len(answers), len(answers)), "  each has one order, and there is no other")
no_leaks()

# A full queue.
t.ok(within(60, lambda: metric("purchases_waiting") == 0), "  (nobody waits any more)")
sale.buy(first)
sale.buy(second)
answers = meanwhile(Held(), lambda done: metric("purchases_waiting") == 40 and len(done) == 28, *[lambda who=who: sale.buy(who) for who in buyers[2:] for _ in range(3)])
refused = [a for a in answers if a.status == 503]
t.equal(len(refused), len(answers) + 2 - 40, "beyond the queue's room purchases are refused")
t.ok(all(why_no_problem(a, "unavailable", 503) is None and int(a.headers["retry-after"]) > 0 for a in refused), "  at once, with a time to come again", *refused[:2])
t.ok(all(a.status == 201 for a in answers if a.status != 503), "  and the others are bought")

# A queue that does not move.
held = Held(buyers[2])
time.sleep(8.2)
began = time.monotonic()
answer = sale.buy(buyers[3])
t.ok(why_no_problem(answer, "unavailable", 503) is None and int(answer.headers["retry-after"]) > 0, "behind somebody who has waited for long nobody is let in", answer)
t.ok(time.monotonic() - began < 10, "  and knows it before they are served", time.monotonic() - began)
held.let_go()
t.equal([a.status for a in held.answers], [201] * 3, "  those who were let in buy")

# A client that leaves before its line is sent buys nothing; one that leaves later has bought.
count, left = sale.orders(), metric("http_clients_left_total")
held, impatient = Held(), http.client.HTTPConnection(urllib.parse.urlsplit(Client().base).netloc, timeout=60)
impatient.request("POST", f"/v1/sales/{sale.id}/purchases", json.dumps({"ticket": sale.tickets[buyers[2]], "quantity": 1}),
                  {"Authorization": "Bearer " + buyers[2].token, "Content-Type": "application/json", **key()})
t.ok(within(60, lambda: metric("purchases_waiting") == 3), "  (he waits)")
impatient.close()
t.ok(within(60, lambda: metric("http_clients_left_total") > left), "  (it is noticed that he has left)")
held.let_go()
t.ok(within(60, lambda: metric("purchases_waiting") == 0), "  (nobody waits any more)")
t.equal(sale.orders() - count, 2, "who has left before his line is sent buys nothing")

# No database.
psql("ALTER ROLE shop_api NOLOGIN")
psql("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = 'shop_api'")
answer = sale.buy(first)
t.ok(why_no_problem(answer, "unavailable", 503) is None and answer.headers.get("retry-after"), "without the database a purchase is refused", answer)
psql("ALTER ROLE shop_api LOGIN")
t.ok(within(60, lambda: sale.buy(first).status == 201), "and once it is back they go on")
no_leaks()
