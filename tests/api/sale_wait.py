#!/usr/bin/env python3
# with-api: --workers 1 --conf 'ticket_ttl = 2s' --conf 'request_timeout = 20s'
"""What somebody keeps waiting makes nobody else wait for ever: who has a buyer, or an expired order of his, in hand lets the
strangers in his batch buy; slow reads keep no ticket back. A ticket that has expired buys nothing, though units come back
while its purchase waits. TAP.
"""
import datetime
import subprocess
import threading
import time

from api import Client, Tap, at_once, key, product, psql, register, within

t = Tap()
mark = register("mark", ["merchant"])
buyers = [register(f"buyer{n}") for n in range(16)]
ann, bob, *others = buyers
SKU = product(mark, 1000, 100000)["skus"][0]["id"]


class Sale:
    def __init__(self, units, limit):
        self.id = mark.post("/v1/sales", {"sku_id": SKU, "price": 500, "quantity": units, "per_account_limit": limit, "starts_at": "2026-01-01T00:00:00Z",
                                          "ends_at": "2099-01-01T00:00:00Z"}).json()["id"]
        mark.post(f"/v1/sales/{self.id}/preheat")

    def ticket(self, who):
        return Client(token=who.token).post(f"/v1/sales/{self.id}/tickets")

    def buy(self, who, ticket=None):
        """With a ticket, or one that is drawn for it: again if it has expired on the way."""
        for _ in range(1 if ticket else 20):
            shown = ticket or self.ticket(who).json()["ticket"]
            answer = Client(token=who.token).post(f"/v1/sales/{self.id}/purchases", {"ticket": shown, "quantity": 1}, headers=key())
            if answer.code != "invalid_ticket":
                break
        return answer


class Held:
    """What a statement locks, for as long as it is wanted."""

    def __init__(self, statement):
        self.statement = statement

    def __enter__(self):
        self.name = key()["Idempotency-Key"]
        self.session = subprocess.Popen(["psql", "-XqAt", "-c", f"SET application_name = '{self.name}'; BEGIN; {self.statement}; SELECT pg_sleep(120)"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        within(60, lambda: psql(f"SELECT wait_event FROM pg_stat_activity WHERE application_name = '{self.name}'") == "PgSleep")

    def __exit__(self, *_):
        psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{self.name}'")
        self.session.wait()


def waiting():
    """Sessions of the application that wait for a lock."""
    return int(psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_api' AND wait_event_type = 'Lock'"))


def told(answer):
    return answer.status, answer.code, "retry-after" in answer.headers


sale = Sale(1000, 100)
t.equal({each.status for each in at_once(len(buyers), lambda i: sale.buy(buyers[i]))}, {201}, "everybody buys")
with Held(f"SELECT FROM shop.sale_buyer WHERE sale_id = {sale.id} AND account_id = {ann.id} FOR UPDATE"):
    for _ in range(10):  # a ticket may expire before all of them come
        tickets = [sale.ticket(who).json()["ticket"] for who in buyers]
        answers = at_once(len(buyers), lambda i: sale.buy(buyers[i], tickets[i]))
        if not any(each.code == "invalid_ticket" for each in answers):
            break
t.equal({each.status for each in answers[1:]}, {201}, "while one buyer's row is locked the strangers beside him buy")
t.equal(told(answers[0]), (503, "try_again", True), "and he is told to try again")
t.equal(sale.buy(ann).status, 201, "which he does")

sale = Sale(1000, 1)
order = sale.buy(ann).json()["id"]
psql(f"""UPDATE _holdfast.hold SET held_at = held_at - interval '1 hour', expires_at = clock_timestamp() - interval '1 second' WHERE owner = '{order}';
         UPDATE shop.order SET expires_at = clock_timestamp() - interval '1 second' WHERE id = '{order}'""")
with Held(f"SELECT FROM shop.order WHERE id = '{order}' FOR NO KEY UPDATE"):
    t.equal(told(sale.buy(ann)), (503, "try_again", True), "who is at his limit with an order that has expired, which somebody has in hand, is told to try again")
t.equal(sale.buy(ann).status, 201, "and may buy then")
t.equal(told(sale.buy(ann)), (409, "limit_reached", False), "but no more")

with Held("LOCK TABLE shop.order IN ACCESS EXCLUSIVE MODE"):
    slow = [threading.Thread(target=Client(token=who.token).get, args=("/v1/orders",)) for who in others[:2]]
    for thread in slow:
        thread.start()
    t.ok(within(60, lambda: waiting() == 2), "all connections for reading wait")
    time.sleep(1.5)  # what is known of the sale is older than it may be then
    t.equal(sale.ticket(bob).status, 201, "a ticket does not")
for thread in slow:
    thread.join()

sale = Sale(2, 10)
ticket = sale.ticket(ann).json()
old, expires = ticket["ticket"], datetime.datetime.fromisoformat(ticket["expires_at"].replace("Z", "+00:00")).timestamp()
first = [sale.buy(who) for who in (bob, ann)]
t.equal([each.status for each in first], [201, 201], "two units are sold")
time.sleep(max(expires - time.time(), 0) + 0.05)
t.ok(within(60, lambda: sale.buy(ann, old).code == "sold_out"), "whose ticket has expired is told that nothing is left")
with Held(f"SELECT FROM shop.sale_buyer WHERE sale_id = {sale.id} AND account_id = {ann.id} FOR UPDATE"):
    late = []
    thread = threading.Thread(target=lambda: late.append(sale.buy(ann, old)))
    thread.start()
    t.equal(Client(token=bob.token).post(f"/v1/orders/{first[0].json()['id']}/cancel").status, 200, "a unit comes back while he asks again")
thread.join()
t.ok(late[0].status != 201, "he does not get it", told(late[0]))
t.equal(psql(f"SELECT available FROM holdfast.stock WHERE sku = {sale.id}"), "1", "it is there for who has a ticket")
t.equal((psql("SELECT * FROM holdfast.verify()"), psql("SELECT * FROM shop.verify()")), ("", ""), "every unit and every order is accounted for")
