#!/usr/bin/env python3
"""With the same Idempotency-Key a request is done once, and answered byte for byte as the first time, also when many
come at once; with another payload it is refused. Runs within tools/with-api. TAP.
"""
import os
import threading
import uuid

from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
mark, olga, otto = register("mark", ["merchant"]), register("olga"), register("otto")
sku = product(mark, units=1000)["skus"][0]["id"]
ITEM = {"items": [{"sku_id": sku, "quantity": 1}]}


def orders(who=olga):
    return int(psql(f'SELECT count(*) FROM shop."order" WHERE account_id = {who.id}'))


def stock():
    return mark.get(f"/v1/skus/{sku}/stock").json()["available"]


# A key must be there, and be one.
order = olga.post("/v1/orders", ITEM, headers=key()).json()["id"]
PAY = {"provider": "nobody", "method": "card"}
for claim, path, body, who in [("an order", "/v1/orders", ITEM, olga), ("a batch", "/v1/orders/batch", {"policy": "valid_rows", "orders": [ITEM]},
                                                                        olga), ("a payment", f"/v1/orders/{order}/payments", PAY, olga)]:
    for how, headers in [("missing", {}), ("too short", {"Idempotency-Key": "1234567"}), ("too long", {"Idempotency-Key": "x" * 256}),
                         ("not of printable characters", {"Idempotency-Key": b"12345678\xc3\xa9"}),
                         ("with a tab", {"Idempotency-Key": "1234\t5678"})]:
        answer = who.post(path, body, headers=headers)
        t.ok(why_no_problem(answer, status=400) is None and answer.code in ("invalid_idempotency_key", "malformed"),
             f"{claim}: a key that is {how} is refused", answer)
t.equal(orders(), 1, "and nothing is ordered")
for good in ("x" * 8, "x" * 255, '"a quoted key"', str(uuid.uuid4())):
    t.equal(otto.post("/v1/orders", ITEM, headers={"Idempotency-Key": good}).status, 201, f"{good[:20]} is a key")

# The same again.
# The claim, the request, another with which the key is not good, who sends it, and what counts how often it was done.
for claim, path, body, different, who, counted in [
        ("an order", "/v1/orders", ITEM, {"expected_total": 1000}, olga, orders),
        ("a batch", "/v1/orders/batch", {"policy": "valid_rows", "orders": [ITEM, {"items": [{"sku_id": "1", "quantity": 1}]}]},
         {"policy": "all_or_nothing"}, olga, orders),
        ("a receipt", f"/v1/skus/{sku}/receipts", {"quantity": 5, "reference": "note 1"}, {"quantity": 6}, mark, stock),
        ("an adjustment", f"/v1/skus/{sku}/adjustments", {"delta": -2, "reason": "broken"}, {"delta": -3}, mark, stock)]:
    headers, before = key(), counted()
    first = who.post(path, body, headers=headers)
    after = counted()
    t.ok(first.status in (200, 201) and "idempotency-replayed" not in first.headers and before != after, f"{claim} is done", first)
    other = Client(os.environ["HF_EDGE"], who.token)
    for n, again in enumerate([who.post(path, body, headers=headers), other.post(path, body, headers=headers),
                               Client(token=who.token).request("POST", path, raw=(" " + repr(body).replace("'", '"') + "\n").encode(),
                                                               headers={**headers, "Content-Type": "application/json; charset=utf-8"})]):
        t.ok(again.status == first.status and again.body == first.body and
             all(again.headers.get(h) == first.headers.get(h) for h in ("location", "etag", "content-type")) and
             again.headers.get("idempotency-replayed") == "true",
             f"  {('again', 'through nginx', 'written differently')[n]}: the same answer, byte for byte", first, again, again.headers)
    t.equal(counted(), after, "  and nothing more is done")
    answer = who.post(path, {**body, **different}, headers=headers)
    t.ok(why_no_problem(answer, "idempotency_key_reused", 422) is None, "  with another payload the key is refused", answer)
    t.equal(counted(), after, "  and nothing is done")
shared = key()
answers = [who.post("/v1/orders", ITEM, headers=shared) for who in (olga, otto)]
t.ok([a.status for a in answers] == [201, 201] and answers[0].json()["id"] != answers[1].json()["id"] and
     "idempotency-replayed" not in answers[1].headers, "a key is its account's own", *answers)
answer = mark.post(f"/v1/skus/{sku}/receipts", {"quantity": 1}, headers=shared)
t.equal(answer.status, 201, "and of one kind of request")

# A refusal is no answer to keep: who corrects the cause may try again with the same key.
headers = key()
big = {"items": [{"sku_id": sku, "quantity": stock() + 5}]}
t.equal(olga.post("/v1/orders", big, headers=headers).code, "insufficient_stock", "an order that is refused")
mark.post(f"/v1/skus/{sku}/receipts", {"quantity": 10})
answer = olga.post("/v1/orders", big, headers=headers)
t.ok(answer.status == 201 and "idempotency-replayed" not in answer.headers, "  goes through with the same key when there is enough", answer)
mark.post(f"/v1/skus/{sku}/receipts", {"quantity": 100})
headers = key()
answers = [mark.post(f"/v1/skus/{sku}/receipts", {"quantity": 1}) for _ in range(2)]
t.ok(answers[1].json()["available"] == answers[0].json()["available"] + 1, "without a key, where none is demanded, each counts", *answers)

# Many at once.
for round_ in range(5):
    headers, before, answers = key(), orders(), []
    start = threading.Barrier(8)

    def buy():
        client = Client(token=olga.token)
        start.wait()
        answers.append(client.post("/v1/orders", ITEM, headers=headers))

    threads = [threading.Thread(target=buy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [a for a in answers if a.status == 201]
    fresh = [a for a in done if "idempotency-replayed" not in a.headers]
    t.ok(len(fresh) == 1 and len({a.body for a in done}) == 1 and all(a.code == "idempotency_key_in_flight" and
                                                                      a.status == 409 for a in answers if a not in done) and orders() == before + 1,
         "eight at once with one key: one order, one answer", *answers)
answer = olga.post("/v1/orders", ITEM, headers=headers)
t.ok(answer.body == done[0].body and answer.headers.get("idempotency-replayed") == "true", "and later that very answer", answer)
