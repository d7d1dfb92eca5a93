#!/usr/bin/env python3
# with-api: --conf 'ticket_ttl = 4s'
"""A ticket is its account's, for its sale, for a while: no forged one is taken, none of somebody else's, none that is old.
There are as many as the sale has, over all workers, whatever becomes of Redis; whoever asks again gets the same one. There
are none before the sale, none once it is sold out, none after it. TAP.
"""
import datetime
import os
import random
import re
import time

import chaos_load
from api import Client, Tap, at_once, key, product, psql, register, token_of, why_no_problem, within
from chaos_load import Frozen, metrics, processes, redis

TTL = 4
ACCOUNTS = 60
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
t = Tap()
mark, olga, otto = register("mark", ["merchant"]), register("olga"), register("otto")
SKU = product(mark, 1000, 10000)["skus"][0]["id"]
numbers = iter(range(random.randrange(1, 2 ** 61), 2 ** 62))


def at(seconds=0.0):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


def new_sale(units=10, **more):
    """The path of a sale that has three tickets for each unit."""
    sale = mark.post("/v1/sales", {"sku_id": SKU, "price": 500, "quantity": units, "per_account_limit": 2, "starts_at": "2026-01-01T00:00:00Z",
                                   "ends_at": "2099-01-01T00:00:00Z", **more}).json()["id"]
    mark.post(f"/v1/sales/{sale}/preheat")
    return f"/v1/sales/{sale}"


def strangers(n=ACCOUNTS):
    """Clients of accounts that nobody has asked with before. A ticket says nothing of who may buy."""
    return [Client(token=token_of(next(numbers), olga.token)) for _ in range(n)]


def draw(sale, who):
    return who.post(sale + "/tickets")


def buy(sale, who, ticket):
    return who.post(sale + "/purchases", {"ticket": ticket, "quantity": 1}, headers=key())


def expires_in(answer):
    return datetime.datetime.fromisoformat(answer.json()["expires_at"].replace("Z", "+00:00")).timestamp() - time.time()


def bad(answer):
    return why_no_problem(answer, "invalid_ticket", 403) is None and answer.json()["pointer"] == "/ticket"


def soon(code, sale, who=otto):
    """Whether tickets are refused so before long."""
    return within(60, lambda: draw(sale, who).code == code)


def crowd(sale, people, times=2):
    """What each of these is told, all asking at once, each a few times."""
    answers = at_once(len(people), lambda i: [draw(sale, people[i]) for _ in range(times)])
    return [[answer if hasattr(answer, "status") else repr(answer) for answer in (told if isinstance(told, list) else [told])] for told in answers]


def drawn_here():
    return metrics()["holdfast_ticket_local_checks_total"]


def quickly(play, counted=True):
    """
    What it returns, once it has taken so little time that no ticket has expired meanwhile, and all are of one window; and if they are
    counted, Redis has always answered in time. A slow machine gets other tries.
    """
    for _ in range(10):
        while time.time() % TTL > TTL / 4:
            time.sleep(0.05)
        window, before = time.time() // TTL, drawn_here()
        result = play()
        is_counted = drawn_here() == before
        if time.time() // TTL == window and (is_counted or not counted):
            break
    if counted:
        t.ok(is_counted, "(Redis has counted the tickets)")
    return result


def bought_with_new(sale, who, headers=None):
    """A ticket, and what a purchase with it is answered; another one, should it have expired in between."""
    for _ in range(10):
        drawn = draw(sale, who).json()
        answer = who.post(sale + "/purchases", {"ticket": drawn["ticket"], "quantity": 1}, headers=headers or key())
        if "expired" not in (answer.json().get("detail") or ""):
            break
    return drawn, answer


def check_crowd(name, told, most, least):
    """Those who have a ticket; each of the others is told when to ask again."""
    odd = [answer for mine in told for answer in mine if not hasattr(answer, "status") or answer.status not in (201, 429)]
    t.equal(odd, [], f"{name}: everybody gets a ticket, or hears that there are too many")
    have = [mine for mine in told if any(answer.status == 201 for answer in mine)]
    t.ok(least <= len(have) <= most, f"{name}: {least if least == most else f'{least} to {most}'} get one", len(have))
    t.ok(all(len({answer.json()["ticket"] for answer in mine if answer.status == 201}) == 1 for mine in have), f"{name}: nobody gets two")
    waits = {int(answer.headers.get("retry-after", 0)) for mine in told for answer in mine if answer.status == 429}
    t.ok(waits and min(waits) >= 1 and max(waits) <= 2 * TTL + 1 and all(answer.code == "too_many_tickets" for mine in told for answer in mine if answer.status == 429),
         f"{name}: the others hear when to ask again", waits)
    return have


# Who may ask, and for what.
sale = new_sale()
begun = metrics()
for who, path, body, status, code, claim in (
        (Client(), sale, None, 401, "unauthenticated", "nobody gets none"), (olga, "/v1/sales/7", None, 404, "not_found", "there is none of no sale"),
        (olga, "/v1/sales/x", None, 404, "not_found", "nor of what is none"), (olga, sale, {"account": "1"}, 422, "unknown_field", "nothing is asked but the account"),
        (mark, new_sale(starts_at=at(3600)), None, 409, "sale_not_open", "there is none before the sale, nor for its merchant")):
    answer = who.post(path + "/tickets", body)
    t.ok(why_no_problem(answer, code, status) is None, claim, answer)
draft = mark.post("/v1/sales", {"sku_id": SKU, "price": 500, "quantity": 1, "per_account_limit": 1, "starts_at": at(), "ends_at": at(3600)}).json()["id"]
t.ok(why_no_problem(draw(f"/v1/sales/{draft}", mark), "not_found", 404) is None, "nor of a draft")
for ahead in (1.5, 6, 24):  # a slow machine is too late for the first
    starting = new_sale(starts_at=at(ahead))
    if (answer := draw(starting, olga)).status != 201:
        break
t.equal(answer.code, "sale_not_open", "a second before there is none")
t.ok(within(60, lambda: draw(starting, olga).status == 201) and within(60, lambda: mark.get(starting).json()["state"] == "open"), "and once it has started there is")

# A good one.
before = time.time()
first = draw(sale, olga)
t.ok(first.status == 201 and re.fullmatch(r"[A-Za-z0-9_-]{32}", first.json()["ticket"]), "whoever wants to buy gets a ticket", first)
t.ok(TTL - 1 < expires_in(first) + time.time() - before and expires_in(first) <= 2 * TTL, "which is good for a while, and not for long", first, expires_in(first))


def come_at_once():
    who = strangers(1)[0]
    return at_once(8, lambda i: draw(sale, Client(token=who.token)))


told = quickly(come_at_once)
t.ok(len({answer.json()["ticket"] for answer in told}) == 1, "whoever asks at once, of whichever worker, gets one", *told)
mine, his = draw(sale, olga).json()["ticket"], draw(sale, otto).json()["ticket"]
t.ok(mine != his, "each his own")

# Stolen and forged ones.
other = new_sale()
t.ok(bad(buy(sale, otto, mine)), "a stolen one is none", buy(sale, otto, mine))
t.ok(bad(buy(other, olga, mine)), "nor is one of another sale")
changed = [mine[:i] + random.choice(CHARACTERS.replace(mine[i], "")) + mine[i + 1:] for i in range(len(mine))]
t.ok(all(bad(buy(sale, olga, text)) for text in changed), "none with any character changed is taken", *[text for text in changed if not bad(buy(sale, olga, text))])
wrong = [mine[:-1], mine[1:], mine + "A", mine * 2, mine[:16], "", "=" * 32, " " + mine, mine + "\n", "é" * 16, "A" * 32, mine.swapcase(), mine[::-1]]
t.ok(all(bad(buy(sale, olga, text)) for text in wrong), "nor a part of one, nor more than one", *[(text, buy(sale, olga, text)) for text in wrong if not bad(buy(sale, olga, text))])
drawn, answer = bought_with_new(sale, olga)
mine = drawn["ticket"]
t.equal(answer.status, 201, "a good one is")

# So many.
def come_twice():
    sale, people = new_sale(10), strangers()
    return sale, people, crowd(sale, people), [draw(sale, who) for who in people]


small, people, first, told = quickly(come_twice)
have = check_crowd("two workers", first, 30, 30)
t.ok(sum(answer.status == 201 for answer in told) == 30, "as long as these are good there are no more")
refused = [(who, answer) for who, answer in zip(people, told) if answer.status == 429]
time.sleep(max(int(answer.headers["retry-after"]) for _, answer in refused))
later = [draw(small, who) for who, _ in refused[:30]]
t.equal([answer.status for answer in later], [201] * 30, "whoever waited as long as he was told gets one")
later.append(draw(small, refused[0][0]))
t.equal(later[-1].status, 201, "and keeps it")
count = len({answer.json()["ticket"] for answer in [*told, *later, *(answer for mine in first for answer in mine)] if answer.status == 201})
t.ok(count >= 60 and within(60, lambda: psql(f"SELECT tickets FROM shop.report_sale_conversion WHERE sale_id = {small.split('/')[-1]}") == str(count)), "reports count them", count,
     psql(f"SELECT sale_id, tickets FROM shop.report_sale_conversion"))
figures = metrics()
t.ok(figures["holdfast_tickets_total"] - begun["holdfast_tickets_total"] >= 62 and figures["holdfast_tickets_refused_total"] - begun["holdfast_tickets_refused_total"] >= 30, "and so do the figures")

# An old one.
answer = buy(sale, olga, mine)
t.ok(bad(answer) and "expired" in answer.json()["detail"], "one that has expired is none", answer)
again = {"Idempotency-Key": "before-it-expired"}
dear, bought = bought_with_new(sale, anna := register("anna"), again)
ends_at = datetime.datetime.fromisoformat(dear["expires_at"].replace("Z", "+00:00")).timestamp()
time.sleep(max(ends_at - time.time(), 0) + 0.05)
answer = anna.post(sale + "/purchases", {"ticket": dear["ticket"], "quantity": 1}, headers=again)
t.ok(bought.status == 201 and answer.status == 201 and answer.body == bought.body and answer.headers["idempotency-replayed"] == "true", "but who has bought with it asks with his key for his order", answer)
answer = anna.post(sale + "/purchases", {"ticket": dear["ticket"], "quantity": 2}, headers=again)
t.equal(answer.code, "idempotency_key_reused", "the key stays what it was for")
t.equal(len(anna.get("/v1/orders").json()["items"]), 1, "and buys no more")
t.ok(bad(buy(sale, otto, mine)) and "detail" not in buy(sale, otto, mine).json(), "and nobody else hears that it was one")
drawn, answer = bought_with_new(sale, olga)
t.ok(drawn["ticket"] != mine and answer.status == 201, "a new one is good")

# The end.
for ahead in (6, 20, 60):  # a slow machine is too late for the first
    ends = at(ahead)
    ending = new_sale(ends_at=ends)
    if within(ahead, lambda: time.time() % TTL >= 0.5) and (answer := draw(ending, olga)).status == 201:
        break
last = datetime.datetime.fromisoformat(answer.json()["expires_at"].replace("Z", "+00:00"))
t.ok(last <= datetime.datetime.fromisoformat(ends), "no ticket is good for longer than its sale", answer, ends)
gone = new_sale(1)
t.equal(bought_with_new(gone, olga)[1].status, 201, "the last unit is bought")
t.ok(soon("sold_out", gone), "once all is sold there are no tickets", draw(gone, otto))
closed = new_sale()
draw(closed, olga)
mark.post(closed + "/close")
t.ok(soon("sale_closed", closed), "nor once the sale is closed", draw(closed, otto))
t.ok(within(60, lambda: draw(ending, olga).code == "sale_closed") and datetime.datetime.now(datetime.timezone.utc) >= datetime.datetime.fromisoformat(ends) - datetime.timedelta(seconds=3), "nor once it has ended", draw(ending, olga))


# Redis forgets, dies, and stands still.
def come():
    sale, people = new_sale(10), strangers()
    return sale, people, crowd(sale, people)


flushed, people, told = quickly(come)
check_crowd("before Redis forgets", told, 30, 30)
redis("FLUSHALL")
told = crowd(flushed, people)
t.ok(sum(any(answer.status == 201 for answer in mine) for mine in told) <= 60 and all(answer.status in (201, 429) for mine in told for answer in mine), "once Redis has forgotten them there are no more than as many again")


def come_when_dead():
    killed, people = new_sale(10), strangers()
    before = {who: draw(killed, who).json() for who in people[:10]}
    chaos_load.kill_redis()
    try:
        told = crowd(killed, people)
        return told, [(draw(killed, who), old) for who, old in before.items()], drawn_here()
    finally:
        chaos_load.start_redis()


told, answers, here = quickly(come_when_dead, counted=False)
check_crowd("Redis is dead", told, 30, 15)
t.ok(all(answer.json()["ticket"] == old["ticket"] or answer.json()["expires_at"] > old["expires_at"] for answer, old in answers if answer.status == 201), "Redis is dead: whoever has one gets the same")
t.ok(here > 0, "Redis is dead: the figures say so")
t.ok(within(60, lambda: metrics()["holdfast_workers_with_redis"] == 2), "Redis is back")


def is_counted():
    """Whether both workers count in Redis again."""
    before = drawn_here()
    crowd(new_sale(10), strangers(20), 1)
    return drawn_here() == before


t.ok(within(60, is_counted), "and used")
check_crowd("Redis is back", quickly(come)[2], 30, 30)

with Frozen(processes("redis-server")):
    begun = time.monotonic()
    check_crowd("Redis stands still", quickly(come, counted=False)[2], 30, 15)
    print(f"# Redis stands still: that took {time.monotonic() - begun:.1f} s", flush=True)
t.ok(within(60, lambda: metrics()["holdfast_workers_with_redis"] == 2), "Redis goes on")
