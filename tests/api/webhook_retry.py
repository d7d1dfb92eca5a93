#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""Whatever an endpoint does, its delivery is tried again by the schedule of Standard Webhooks, and nobody else's waits for it. One that is
gone or has failed for days is disabled, and says why. Runs within tools/with-worker. TAP.
"""
import time
from datetime import datetime

from api import Tap, key, product, psql, register, within
from hook import Receiver, due_now, settings_of
from peace import in_peace
from worker import Worker

t = Tap()
hook = Receiver()
FAST = {"jobs": "on", "webhook_private": "on", "poll_interval": "50ms", "webhook_timeout": "3s"}
worker = Worker(webhook_jobs="16", **{**FAST, "webhook_timeout": "8s"})
people = []


def endpoint(path, events=("order.placed",)):
    """An endpoint of a merchant with room for it: who, id."""
    if not people or people[-1][1] == 10:
        people.append([register("mark", ["merchant"]), 0])
    people[-1][1] += 1
    who = people[-1][0]
    answer = who.post("/v1/webhook-endpoints", {"url": hook.url + path, "events": list(events)})
    if answer.status != 201:
        raise RuntimeError(answer)
    return who, answer.json()


def deliver(who, made, n=1):
    """Deliveries that are tried by the whole schedule; their ids."""
    keys = ", ".join(f"'test:{time.monotonic_ns()}:{i}'" for i in range(n))
    return psql(f"""SELECT unnest(shop.make_deliveries(array_fill({who.merchant_id}::bigint, ARRAY[{n}]), array_fill({made['id']}::bigint, ARRAY[{n}]),
        array_fill('order.placed'::text, ARRAY[{n}]), ARRAY[{keys}], array_fill('{{"type": "order.placed", "timestamp": "2026-01-01T00:00:00Z", "data": {{"ü": 1}}}}'::text, ARRAY[{n}])))""").split()


def details(who, made, delivery):
    return who.get(f"/v1/webhook-endpoints/{made['id']}/deliveries/{delivery}").json()


def attempted(n):
    return lambda case: details(*case)["attempts"] >= n


def after(delivery):
    """Seconds until the job of a delivery is due, or None if it has none."""
    said = psql(f"SELECT extract(epoch FROM j.due_at - d.attempted_at) FROM shop.job AS j, shop.webhook_delivery AS d WHERE d.id = '{delivery}' AND j.key = 'webhook:{delivery}'")
    return float(said) if said else None


# All at once: what the endpoint does, the status, and what is said of it.
CASES = {
    "status:500": (500, "answered 500"), "status:400": (400, "answered 400"), "status:401": (401, "answered 401"), "redirect": (307, "redirections are not followed"),
    "hang": (None, "imeout"), "slow:20": (None, "imeout"), "garbage": (None, ""), "half": (200, ""), "endless": (500, "answered 500"), "status:304": (304, "answered 304"),
    "retry:503:3600": (503, "answered 503"), "retry:429:60": (429, "answered 429"), "retry:500:3600": (500, "answered 500"),
}
cases = {word: endpoint(f"/{n}/{word}") for n, word in enumerate(CASES)}
nobody = endpoint("/x")
psql(f"UPDATE shop.webhook_endpoint SET url = 'http://127.0.0.1:9/' WHERE id = {nobody[1]['id']}")
cases = {word: (*case, deliver(*case)[0]) for word, case in {**cases, "nobody listens": nobody}.items()}
CASES["nobody listens"] = (None, "connect")
t.ok(within(60, lambda: all(map(attempted(1), cases.values()))), "each is tried")
for word, (status, error) in CASES.items():
    seen = details(*cases[word])
    wait = (datetime.fromisoformat(seen["next_at"]) - datetime.fromisoformat(seen["attempted_at"])).total_seconds()
    # It may have been tried again meanwhile.
    low, high = {"retry:503:3600": (3600, 3660), "retry:429:60": (60, 66)}.get(word, (5, 6) if seen["attempts"] == 1 else (300, 331))
    t.ok((seen["state"], seen["status"]) == ("pending", status) and error in seen["error"] and low <= wait <= high, f"{word}: it is tried again after {low} s", seen, wait)
answer = details(*cases["status:500"])["history"][0]["answer"]
t.equal(answer, "Grund: \u00fcberlastet ", "the beginning of an answer is kept")
t.equal(hook.of("/target/ok"), [], "no redirection is followed")
huge = endpoint("/h/huge")
huge = (*huge, deliver(*huge)[0])
t.ok(within(60, lambda: details(*huge)["state"] == "delivered") and len(details(*huge)["history"][0]["answer"]) <= 200, "of a huge answer only the beginning is read", details(*huge))

# From here on nobody is given up because he is slow; and those from before are tried no more.
worker.stop()
psql("DELETE FROM shop.job; DELETE FROM shop.job_key")
worker = Worker(webhook_jobs="16", **{**FAST, "webhook_timeout": "30s"})

# The schedule, without waiting for it.
SCHEDULE = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
case, path = None, None


def by_schedule():
    """A delivery that fails ten times. Its second attempt comes by itself after five seconds: then it was not seen how long it had to wait."""
    global case, path
    path = f"/s{time.monotonic_ns()}/status:500"
    case = endpoint(path)
    case = (*case, deliver(*case)[0])
    waits = []
    for n in range(1, 11):
        within(60, lambda: details(*case)["attempts"] >= n and psql(f"SELECT count(*) FROM shop.job WHERE key = 'webhook:{case[2]}' AND lease IS NOT NULL") == "0")
        waits.append(after(case[2]))
        due_now(f"j.key = 'webhook:{case[2]}'")
    return all(w is not None and s <= w <= s * 1.1 + 0.1 for s, w in zip(SCHEDULE, waits[:-1])) and waits[-1] is None, waits


in_peace(t.ok, 3, "it is tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h", by_schedule)
seen = details(*case)
t.equal((seen["state"], seen["attempts"], seen["next_at"], len(hook.of(path))), ("failed", 10, None, 10), "and has failed after the tenth attempt")
t.equal(({r.id for r in hook.of(path)}, len({r.body for r in hook.of(path)})), ({case[2]}, 1), "each attempt had the same id and body")
t.ok(all(r.is_signed(case[1]["secret"]) for r in hook.of(path)), "and a signature of its own time")
t.equal([h["n"] for h in seen["history"]], list(range(1, 11)), "the log has all of them")
answer = case[0].post(f"/v1/webhook-endpoints/{case[1]['id']}/deliveries/{case[2]}/redeliver")
t.ok(answer.status == 202 and within(60, lambda: details(*case)["attempts"] >= 11), "it can be sent again all the same", answer)
tries = psql(f"SELECT state, attempts + tries_left, extract(epoch FROM next_at - attempted_at) < CASE attempts WHEN 11 THEN 6 ELSE 331 END FROM shop.webhook_delivery WHERE id = '{case[2]}'")
t.equal(tries, "pending|20|t", "by the whole schedule, from its beginning")
case = endpoint("/r/status:500/status:500/ok")
case = (*case, deliver(*case)[0])
within(60, lambda: attempted(1)(case))
for _ in range(2):
    n = len(hook.of("/r/status:500/status:500/ok"))
    case[0].post(f"/v1/webhook-endpoints/{case[1]['id']}/deliveries/{case[2]}/redeliver")
    within(60, lambda: len(hook.of("/r/status:500/status:500/ok")) > n and after(case[2]) is None or after(case[2]) is not None and details(*case)["attempts"] == n + 1)
t.ok(within(60, lambda: details(*case)["state"] == "delivered"), "one that waits can be sent at once, and is delivered in the end", details(*case))
t.equal(settings_of(case[0].merchant_id, case[1]["id"]), "|f", "then nothing is held against the endpoint")

# Endpoints that are given up.
case = endpoint("/g/status:410")
more = deliver(*case)
t.ok(within(60, lambda: settings_of(case[0].merchant_id, case[1]["id"]) == "it has answered 410 Gone|t"
            or settings_of(case[0].merchant_id, case[1]["id"]) == "it has answered 410 Gone|f"), "an endpoint that is gone is disabled", settings_of(case[0].merchant_id, case[1]["id"]))
t.equal(details(*case, more[0])["state"], "cancelled", "and nothing is sent to it any more")
case = endpoint("/d/status:500")
first = deliver(*case, 2)
within(60, lambda: all(attempted(1)((*case, d)) for d in first))
mine = f"key IN ('webhook:{first[0]}', 'webhook:{first[1]}')"


def put_off():
    """Neither is tried again by itself; whether none is under way."""
    psql(f"UPDATE shop.job SET due_at = due_at + interval '1 hour' WHERE {mine} AND lease IS NULL AND due_at < clock_timestamp() + interval '30 min'")
    return psql(f"SELECT count(*) FROM shop.job WHERE {mine} AND lease IS NULL AND due_at > clock_timestamp() + interval '20 min'") == "2"


within(60, put_off)
tried = len(hook.of("/d/status:500"))
t.equal(settings_of(case[0].merchant_id, case[1]["id"]), "|t", "an endpoint that fails is not given up at once")
psql(f"UPDATE shop.webhook_endpoint SET failing_since = clock_timestamp() - interval '5 days 1 s' WHERE id = {case[1]['id']}")
due_now(f"j.key = 'webhook:{first[0]}'")
t.ok(within(60, lambda: settings_of(case[0].merchant_id, case[1]["id"]).startswith("every delivery has failed for 5 days")), "but after five days")
t.equal({details(*case, d)["state"] for d in first}, {"cancelled"}, "what waits for it is cancelled")
due_now()
within(60, lambda: psql(f"SELECT count(*) FROM shop.job WHERE {mine}") == "0")
t.equal(len(hook.of("/d/status:500")), tried + 1, "and not sent")
shown = case[0].get(f"/v1/webhook-endpoints/{case[1]['id']}")
t.equal(shown.json()["enabled"], False, "its merchant sees that")
t.equal(case[0].post(f"/v1/webhook-endpoints/{case[1]['id']}/test").code, "endpoint_disabled", "and can try it only once it is enabled")
answer = case[0].patch(f"/v1/webhook-endpoints/{case[1]['id']}", {"enabled": True, "url": hook.url + "/d/ok"}, headers={"If-Match": shown.headers["etag"]}).json()
t.equal((answer["enabled"], answer["disabled_reason"], answer["failing_since"]), (True, None, None), "again")
case[0].post(f"/v1/webhook-endpoints/{case[1]['id']}/deliveries/{first[1]}/redeliver")
t.ok(within(60, lambda: details(*case, first[1])["state"] == "delivered"), "then what was cancelled can be sent again", details(*case, first[1]))

# Rotation.
case = endpoint("/k/ok")
new = case[0].post(f"/v1/webhook-endpoints/{case[1]['id']}/rotate-secret").json()["secret"]
deliver(*case)
within(60, lambda: hook.of("/k/ok"))
r = hook.of("/k/ok")[0]
t.equal((new != case[1]["secret"], r.is_signed(new), r.is_signed(case[1]["secret"])), (True, True, True), "after a rotation both secrets sign")
psql(f"UPDATE shop.webhook_endpoint SET old_until = clock_timestamp() WHERE id = {case[1]['id']}")
deliver(*case)
within(60, lambda: len(hook.of("/k/ok")) == 2)
r = hook.of("/k/ok")[1]
t.equal((r.is_signed(new), r.is_signed(case[1]["secret"])), (True, False), "and a day later only the new one")

# One that hangs, and one of another merchant that is quick. (Other hosts: 127.0.0.2.)
worker.stop()
worker = Worker(webhook_jobs="16", **FAST)
slow = endpoint("/hanging/hang")
people.append([register("mark", ["merchant"]), 0])
quick = endpoint("/quick/ok")
other = Receiver("127.0.0.2")
psql(f"UPDATE shop.webhook_endpoint SET url = '{other.url}/hanging/hang' WHERE id = {slow[1]['id']}")
deliver(*slow, 60)
within(60, lambda: len(other.of("/hanging/hang")) >= 4)
begun = time.monotonic()
ids = deliver(*quick, 60)
t.ok(within(60, lambda: len(hook.of("/quick/ok")) >= 60), "60 others are sent")
t.ok(len({r.id for r in other.of("/hanging/hang")}) < 60, "who hangs keeps them waiting no longer", len(other.requests))
print(f"# in {time.monotonic() - begun:.1f} s", flush=True)
# Those that were given up may still be held there for a moment.
t.ok(other.most["/hanging/hang"] <= 12, "and gets no more than its share", other.most)
t.equal({r.id for r in hook.of("/quick/ok")}, set(ids), "each once")
t.equal(psql(f"SELECT count(*) FROM shop.webhook_delivery WHERE endpoint_id = {slow[1]['id']} AND state = 'pending'"), "60", "what waits for it is not lost")

# The end of an endpoint.
answer = slow[0].delete(f"/v1/webhook-endpoints/{slow[1]['id']}")
t.equal((answer.status, slow[0].get(f"/v1/webhook-endpoints/{slow[1]['id']}").status), (204, 404), "an endpoint can be deleted")
due_now()
t.ok(within(60, lambda: psql(f"SELECT count(*) FROM shop.job WHERE payload ->> 'endpoint_id' = '{slow[1]['id']}'") == "0"), "nothing more is sent to it")
psql(f"UPDATE shop.webhook_endpoint SET deleted_at = deleted_at - interval '2 hours' WHERE id = {slow[1]['id']}; SELECT shop.purge_deliveries()")
t.equal(psql(f"SELECT count(*) FROM shop.webhook_endpoint WHERE id = {slow[1]['id']}"), "0", "and it is forgotten")
t.equal(worker.stop()[0], 0, "the worker ends well")
t.equal(psql("SELECT count(*) FROM shop.verify()"), "0", "and all is well")

# A merchant with many names, all of which hang: 127.0.0.3 to 127.0.0.5.
psql("DELETE FROM shop.job; DELETE FROM shop.job_key")
worker = Worker(webhook_jobs="16", **{**FAST, "webhook_timeout": "30s"})
people.append([register("mark", ["merchant"]), 0])
names = [Receiver(f"127.0.0.{n}") for n in (3, 4, 5)]
for name in names:
    case = endpoint("/many/hang")
    psql(f"UPDATE shop.webhook_endpoint SET url = '{name.url}/many/hang' WHERE id = {case[1]['id']}")
    deliver(*case, 4)
t.ok(within(60, lambda: psql("SELECT count(*) FROM shop.job WHERE payload ? 'held'") == "8"), "a merchant with many names has most of his deliveries put off", worker.log())
t.equal(sum(len(name.requests) for name in names), 4, "and gets one share with all of them")
t.equal(worker.stop()[0], 0, "the worker ends well")

# One that hangs, of a merchant whose share has room for more; and one that has failed before.
psql("DELETE FROM shop.job; DELETE FROM shop.job_key; DELETE FROM shop.job_log")
worker = Worker(webhook_jobs="16", **{**FAST, "webhook_timeout": "60s"})
people.append([register("mark", ["merchant"]), 0])
deliver(*endpoint("/room/hang"))
t.ok(within(60, lambda: hook.of("/room/hang")), "one is sent")
time.sleep(1.5)  # it is slow by now
deliver(*endpoint("/room/ok"), 3)
t.ok(within(60, lambda: len(hook.of("/room/ok")) == 3), "others of the same merchant are sent meanwhile")
t.ok(within(60, lambda: psql("SELECT count(*) FROM shop.job WHERE kind = 'webhook'") == "1"), "all but the first are done")
t.equal(psql("SELECT sum(jobs) FROM shop.job_log WHERE kind = 'webhook' AND event = 'finish'"), "3", "none of which was put off")
people.append([register("mark", ["merchant"]), 0])
case = endpoint("/again/hang")
psql(f"UPDATE shop.webhook_endpoint SET failing_since = clock_timestamp(), url = '{names[0].url}/again/hang' WHERE id = {case[1]['id']}")
deliver(*case, 8)
t.ok(within(60, lambda: psql("SELECT count(*) FROM shop.job WHERE payload ? 'held'") == "7"), "of an endpoint that fails all but one are put off", worker.log())
t.equal(len(names[0].of("/again/hang")), 1, "and one is sent")
t.equal(worker.stop()[0], 0, "the worker ends well")

# One that is taken away, before it is slow, while another waits for it.
psql("DELETE FROM shop.job; DELETE FROM shop.job_key")
worker = Worker(webhook_jobs="3", **{**FAST, "lease": "2s", "webhook_timeout": "60s"})
case = endpoint("/taken/hang/ok")
first, second = deliver(*case, 2)
within(60, lambda: hook.of("/taken/hang/ok"))
psql(f"DELETE FROM shop.job WHERE key = 'webhook:{hook.of('/taken/hang/ok')[0].id}'")
t.ok(within(60, lambda: {r.id for r in hook.of("/taken/hang/ok")} == {first, second}), "what waits for a delivery that is taken away is sent then", len(hook.of("/taken/hang/ok")))
t.equal(worker.stop()[0], 0, "the worker ends well")
for name in names:
    name.stop()
other.stop()
hook.stop()
