#!/usr/bin/env python3
"""What cannot be bought is refused from the worker's memory: before the start, once sold out, after closing. The database is asked
about once a second then; a unit that comes back is sold within some milliseconds, also if its hold has just expired, without a
word; a buyer who asks again with his key gets his order, always; without Redis all of that still holds, a little slower; and
the reports know how many were refused. Runs within tools/with-api. TAP.
"""
# with-api: --workers 1 --conf 'request_timeout = 20s' --conf 'ticket_ttl = 1h'
import re
import time

import chaos_load
from api import Client, Tap, key, product, psql, register, why_no_problem, within

SOON = 20  # seconds; some milliseconds are meant, and printed, but the machine may have other things to do
EARLY = 1  # seconds

t = Tap()
mark = register("mark", ["merchant"])
people = [register(f"person{n}") for n in range(9)]
buyers, crowd = people[:3], people[3:]
SKU = product(mark, 1000, 100000)["skus"][0]["id"]
operator = Client()


def metric(name):
    return float(re.search(rf"^holdfast_{name} (\S+)$", operator.get("/metrics").body.decode(), re.M)[1])


class Sale:
    """A sale of three units, and whoever was refused in it for lack of them."""

    def __init__(self, starts_in=-60, tickets=True):
        body = {"sku_id": SKU, "price": 500, "quantity": 3, "per_account_limit": 1, "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}
        self.id = mark.post("/v1/sales", body).json()["id"]
        psql(f"UPDATE shop.sale SET starts_at = clock_timestamp() + {starts_in} * interval '1 s' WHERE id = {self.id}")
        mark.post(f"/v1/sales/{self.id}/preheat")
        self.tickets = {who: who.post(f"/v1/sales/{self.id}/tickets").json()["ticket"] for who in people if tickets}
        self.orders, self.sold_out = {}, 0

    def buy(self, who, keys=None):
        answer = who.post(f"/v1/sales/{self.id}/purchases", {"ticket": self.tickets.get(who, "x"), "quantity": 1}, headers=keys or key())
        self.sold_out += answer.code == "sold_out"
        return answer

    def sell_out(self):
        for who in buyers:
            keys = key()
            self.orders[who] = keys, self.buy(who, keys)
        t.ok(all(a.status == 201 for _, a in self.orders.values()), "  (three have bought)", *self.orders.values())

    def refuse_for(self, seconds, code, status, until=None):
        """What the crowd hears meanwhile, but what it should; and of how many requests. From `until` on it may be otherwise."""
        end, n, wrong = time.monotonic() + seconds, 0, []
        while time.monotonic() < end:
            for who in list(crowd):
                keys = key()
                answer = self.buy(who, keys)
                n += 1
                if answer.status == 201:
                    crowd.remove(who)
                    self.orders[who] = keys, answer
                if why_no_problem(answer, code, status) and (until is None or time.monotonic() < until):
                    wrong.append(answer)
        return n, wrong

    def refused_from_memory(self, code, status, part=1.0, patience=30):
        """Whether a crowd is refused so, sooner or later this part of it from memory; of how many, and what else it hears."""
        end, wrong = time.monotonic() + patience, []
        while True:
            before = metric("purchases_refused_from_memory_total")
            n, more = self.refuse_for(0.5, code, status)
            good, wrong = metric("purchases_refused_from_memory_total") - before >= part * n, wrong + more
            if good or time.monotonic() > end:
                return good and not wrong, n, wrong

    def keeps_buyers(self, claim):
        answers = [(was, self.buy(who, keys)) for who, (keys, was) in self.orders.items()]
        t.ok(all(a.status == 201 and a.body == was.body for was, a in answers), claim, *answers)

    def back_to_life(self, since):
        """Seconds from a moment until one of the crowd has bought; he is one of the buyers then."""
        while time.monotonic() < since + 2 * SOON:
            for who in list(crowd):
                keys = key()
                answer = self.buy(who, keys)
                if answer.status == 201:
                    crowd.remove(who)
                    self.orders[who] = keys, answer
                    return time.monotonic() - since
        return 99.0


def moment(sql):
    """When it will be, by the monotonic clock or a little sooner, what this says in seconds from now."""
    now = time.monotonic()
    return now + float(psql(f"SELECT extract(epoch FROM {sql.replace(' FROM', ' - clock_timestamp()) FROM', 1)}"))


# Sold out.
sale = Sale()
sale.sell_out()
sale.refuse_for(0.3, "sold_out", 410)
for _ in range(3):
    begun, memory, lines, reads = time.monotonic(), metric("purchases_refused_from_memory_total"), metric("purchase_lines_total"), metric("sale_live_reads_total")
    n, wrong = sale.refuse_for(3, "sold_out", 410)
    memory, lines, reads, begun = metric("purchases_refused_from_memory_total") - memory, metric("purchase_lines_total") - lines, metric("sale_live_reads_total") - reads, time.monotonic() - begun
    # What is known for too long, because the machine stood still, counts no more, and a channel that was silent for a moment is not relied on.
    if wrong or lines <= n / 5 and reads <= 2 * begun + 1:
        break
t.ok(not wrong, "a crowd before a sale that is sold out is refused", *wrong[:2])
t.ok(memory + lines == n and lines <= n / 5, f"  {memory:.0f} of {n} from memory", memory, lines, n)
t.ok(1 <= reads <= 2 * begun + 1, f"  while the database is asked about once a second ({reads:.0f} times in {begun:.1f} s)")
sale.keeps_buyers("who has bought gets his order again with his key")
answer = crowd[0].post(f"/v1/sales/{sale.id}/tickets")
t.ok(why_no_problem(answer, "sold_out", 410) is None or answer.status == 201, "and there are no new tickets", answer)

# Back to life: a cancelled order, by psql.
took = []
for who in buyers:
    order = sale.orders[who][1].json()["id"]
    psql(f"SELECT shop.cancel_order({who.id}, '{order}', {who.id})")
    took.append(sale.back_to_life(time.monotonic()))
    sale.refuse_for(0.4, "sold_out", 410)
t.ok(max(took) < SOON, f"a unit of an order that was cancelled by psql is sold at once (after {', '.join(f'{1000 * s:.0f}' for s in took)} ms)")
sale.keeps_buyers("  and all who have ever bought get their orders")
psql(f"SELECT holdfast.receive({sale.id}, 1, 'test')")
took = sale.back_to_life(time.monotonic())
t.ok(took < SOON, f"one that somebody puts into the sale's stock by psql soon ({1000 * took:.0f} ms)")
t.equal(psql(f"SELECT count(*) FROM shop.order WHERE sale_id = {sale.id} AND status <> 'cancelled'"), "4", "  each unit once")

# A hold that expires.
crowd[:] = people[3:]
for within_seconds in (5, 20, 60):  # a slow machine is too late for the first
    psql(f"UPDATE shop.order_setting SET pay_within = '{within_seconds} s'")
    brief = Sale()
    brief.sell_out()
    deadline = moment(f"min(expires_at) FROM shop.order WHERE sale_id = {brief.id}")
    if deadline > time.monotonic() + 2:
        break
psql("UPDATE shop.order_setting SET pay_within = '15 min'")
n, wrong = brief.refuse_for(deadline - time.monotonic() - 0.15, "sold_out", 410, deadline)
t.ok(n > 0 and not wrong, f"until a hold expires all are refused ({n})", *wrong[:2])
took = brief.back_to_life(deadline)
t.ok(0 <= took < SOON, f"then its unit is sold, without a word by anybody ({1000 * took:.0f} ms after the deadline)")
brief.keeps_buyers("  and buyers get their orders, though these have expired")

# Before the start.
crowd[:] = people[3:]
for ahead in (5, 20, 60):
    early = Sale(ahead, tickets=False)
    start = moment(f"starts_at FROM shop.sale WHERE id = {early.id}")
    if start > time.monotonic() + 3:
        break
memory = metric("purchases_refused_from_memory_total")
# When it starts is known by as much too early as the database was slow to say it.
n, wrong = early.refuse_for(start - time.monotonic() - EARLY - 0.2, "sale_not_open", 409, start - EARLY)
t.ok(n > 0 and not wrong and metric("purchases_refused_from_memory_total") - memory > 0.5 * n, f"before the start all are refused from memory ({n})", *wrong[:2])
while (answer := early.buy(crowd[0])).code == "sale_not_open" and time.monotonic() < start + SOON:
    pass
t.ok(answer.code == "invalid_ticket" and time.monotonic() >= start - EARLY, f"and from the start on they are not ({1000 * (time.monotonic() - start):.0f} ms after it)", answer)

# Closing.
closing = Sale()
closing.orders[buyers[0]] = keys, answer = key(), None
closing.orders[buyers[0]] = keys, closing.buy(buyers[0], keys)
mark.post(f"/v1/sales/{closing.id}/close")
n, wrong = closing.refuse_for(0.5, "sale_closed", 410)
t.ok(not wrong, "once it is closed nobody buys", *wrong[:2])
good, n, wrong = closing.refused_from_memory("sale_closed", 410)
t.ok(good, f"  and soon all are told so from memory ({n})", *wrong[:2])
closing.keeps_buyers("  but a buyer, who gets his order")

# Without Redis.
deaf = Sale()
deaf.sell_out()
deaf.refuse_for(0.3, "sold_out", 410)
chaos_load.kill_redis()
n, wrong = deaf.refuse_for(0.5, "sold_out", 410)
good, n, more = deaf.refused_from_memory("sold_out", 410, 0.4)
t.ok(good and not wrong, "without Redis a crowd is refused too, much of it from memory", *(wrong + more)[:2])
deaf.keeps_buyers("  but not buyers")
order = deaf.orders[buyers[0]][1].json()["id"]
psql(f"SELECT shop.cancel_order({buyers[0].id}, '{order}', {buyers[0].id})")
took = deaf.back_to_life(time.monotonic())
t.ok(took < SOON, f"  and a unit that comes back is sold soon ({1000 * took:.0f} ms)")
chaos_load.start_redis()
t.ok(within(60, lambda: metric("workers_with_cache") == 1), "  (Redis is back)")
n, wrong = deaf.refuse_for(1, "sold_out", 410)
t.ok(not wrong, "  and with it all is as before", *wrong[:2])
deaf.keeps_buyers("  for buyers too")

# The reports.
for s in (sale, brief, early, closing, deaf):
    counted = f"SELECT coalesce(sum(refusals), 0) FROM shop.refusal WHERE stock_id = {s.id}"
    t.ok(within(60, lambda: int(psql(counted)) == s.sold_out), f"the reports know of {s.sold_out} who were refused for lack of units", psql(counted))
t.equal(psql("SELECT count(*) FROM holdfast.verify()") + psql("SELECT count(*) FROM shop.verify()"), "00", "and nothing is wrong with stock and shop")
