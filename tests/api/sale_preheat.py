#!/usr/bin/env python3
# with-api: --workers 1
"""Preheating takes a sale's units out of stock and spreads them, once, however often and by however many it is asked for;
it leaves the product in the cache, and its answer says of everything that has to be
right whether it is, also when it is not: a product that nobody sees, a price that is no bargain, Redis away. TAP.
"""
from api import Client, Tap, at_once, key, product, psql, register, why_no_problem, within
from chaos_load import Frozen, metrics, processes, redis
from peace import in_peace

CHECKS = ["stock", "lanes", "window", "product", "price", "cache", "tickets"]
WINDOW = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}
LATER = {"starts_at": "2098-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}
t = Tap()
mark, root, olga = register("mark", ["merchant"]), register("root", ["admin"]), register("olga")


def draft(thing, units=20, **more):
    body = {"sku_id": thing["skus"][0]["id"], "price": 500, "quantity": units, "per_account_limit": 2, **WINDOW, **more}
    return f"/v1/sales/{mark.post('/v1/sales', body).json()['id']}"


def preheat(sale, who=mark):
    return who.post(sale + "/preheat")


def preheat_again(sale, who=mark):
    """The same, once more if Redis was too slow for it."""
    answers = []
    within(5, lambda: answers.append(preheat(sale, who)) or answers[-1].status != 200 or "Redis is away" not in detail(answers[-1], "tickets") and "off" not in detail(answers[-1], "cache"))
    return answers[-1]


def wrong(answer):
    """The checks that are not well: {name: detail}."""
    return {check["name"]: check["detail"] for check in answer.json()["checks"] if not check["ok"]}


def detail(answer, name):
    return next(check["detail"] for check in answer.json()["checks"] if check["name"] == name)


def units(sale):
    """Units of the sale in the database, and lanes."""
    return psql(f"SELECT available, held, sold, lanes FROM holdfast.stock WHERE sku = {sale.split('/')[-1]}")


def entries(thing):
    """Entries of a product's page in Redis."""
    return [name for name in redis("--scan", "--pattern", f"*product:{thing['id']}*").splitlines() if "lease" not in name]


def stock(thing):
    return mark.get(f"/v1/skus/{thing['skus'][0]['id']}/stock").json()["available"]


# The first time.
for _ in range(3):  # Redis may be too slow once, or the news that it is no draft any more
    thing = product(mark, 1000, 5000)
    sale = draft(thing, 2000, **LATER)
    nothing, ticket = (entries(thing), units(sale)), mark.post(sale + "/tickets")
    before = metrics()
    answer = preheat(sale)
    if answer.json()["ready"]:
        break
t.equal(nothing, ([], ""), "before, nothing of a draft is anywhere")
t.equal(ticket.code, "not_found", "nor are there tickets")
t.ok(answer.status == 200 and answer.json()["ready"] is True and wrong(answer) == {}, "a sale is preheated", answer)
t.equal([check["name"] for check in answer.json()["checks"]], CHECKS, "and it is said of all that has to be right that it is")
t.equal((units(sale), stock(thing)), ("2000|0|0|31", 3000), "its units are out of the SKU's stock, and spread over lanes")
t.equal((detail(answer, "stock"), detail(answer, "lanes"), detail(answer, "tickets")),
        ("2000 of 2000 units", "31 lanes", "6000 at a time, counted over all workers"), "which is what the answer says")
t.ok(answer.headers["etag"].startswith('"') and answer.json()["sale"]["state"] == "scheduled", "with the sale, and its ETag", answer.headers)
t.ok(within(60, lambda: len(entries(thing)) == 1), "the product's page is in the cache, which nobody has asked for", entries(thing))
read = metrics()


def is_read_from_cache():
    other = product(mark, 1000, 50)
    preheat(draft(other))
    if not within(10, lambda: len(entries(other)) == 1):
        return False, entries(other)
    begun = metrics()
    shown = Client().get(f"/v1/products/{other['id']}")
    from_database = metrics()['holdfast_cache_reads_total{layer="database"}'] - begun['holdfast_cache_reads_total{layer="database"}']
    return (shown.status, from_database) == (200, 0), shown, from_database


in_peace(t.ok, 3, "so whoever asks for it does not go to the database", is_read_from_cache)
name = "holdfast_sale_live_reads_total"
t.ok(read[name] > before[name], "and the sale was read again, as it is now", before[name], read[name])

# Again, and by many.
before = stock(thing)
for who in (mark, root):
    again = preheat_again(sale, who)
    t.ok(again.json()["ready"] is True and (units(sale), stock(thing)) == ("2000|0|0|31", before), "preheating it again moves nothing", again)
crowd = draft(thing, 100)
answers = at_once(8, lambda i: preheat_again(crowd, Client(token=mark.token)))
t.ok(all(getattr(a, "status", a) == 200 and a.json()["ready"] is True for a in answers), "eight at once are all told that it is ready", *answers)
t.equal((units(crowd).split("|")[0], stock(thing)), ("100", before - 100), "and its units were moved once")
ticket = olga.post(crowd + "/tickets").json()["ticket"]
t.equal(olga.post(crowd + "/purchases", {"ticket": ticket, "quantity": 1}, headers=key()).status, 201, "then it sells")
answer = preheat_again(crowd)
t.ok(answer.json()["ready"] is True and units(crowd).startswith("99|1|0|"), "and is preheated while it sells: nothing is lost of what is held", answer, units(crowd))

# What is not well.
hidden = product(mark, 1000, 50)
mark.post(f"/v1/products/{hidden['id']}/unpublish")
answer = preheat_again(draft(hidden))
t.equal((answer.status, answer.json()["ready"], wrong(answer)), (200, False, {"product": "not published", "cache": "the product cannot be read"}),
        "a product that nobody sees: it is said, and so is that it is in no cache")
mark.post(f"/v1/products/{hidden['id']}/publish")
answer = preheat_again(f"/v1/sales/{answer.json()['sale']['id']}")
t.equal((answer.json()["ready"], wrong(answer)), (True, {}), "once it is published all is well")
answer = preheat_again(draft(thing, 1, price=1000))
t.equal((answer.json()["ready"], list(wrong(answer))), (False, ["price"]), "a price that is none of a sale")
for claim, who, path, status, code in [
        ("a user", olga, draft(thing, 1), 404, "not_found"), ("nobody", Client(), sale, 401, "unauthenticated"), ("another's", register("mia", ["merchant"]), sale, 403, "forbidden"),
        ("what is none", mark, "/v1/sales/x", 404, "not_found"), ("more than there is", mark, draft(thing, 10 ** 6), 409, None)]:
    answer = preheat(path, who)
    t.ok(why_no_problem(answer, code, status) is None, f"refused: {claim}", answer)

# Without Redis.
alone = draft(product(mark, 1000, 50))
with Frozen(processes("redis-server")):
    answer = preheat(alone)
    t.ok(answer.status == 200 and answer.json()["ready"] is False and set(wrong(answer)) == {"cache", "tickets"}, "Redis hangs: the units are moved, and it is said what is missing", answer)
    t.ok("by each worker alone" in detail(answer, "tickets"), "and who counts the tickets", answer)
t.ok(within(60, lambda: wrong(preheat(alone)) == {}), "once it is back all is well", preheat(alone))
t.equal(units(alone).split("|")[0], "20", "and its units were moved once")
t.equal(root.get("/v1/admin/invariants").json(), {"holds": True, "broken": 0, "items": []}, "all units are where they belong")
