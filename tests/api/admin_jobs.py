#!/usr/bin/env python3
"""An administrator looks at the queue of jobs, lets one that died run again, and cancels one. Runs within tools/with-api. TAP.
"""
import uuid

from api import Client, Tap, psql, register, why_no_problem

t = Tap()
root, mark = register("root", ["admin"]), register("mark", ["merchant"])


def enqueue(key=None):
    name = f"'{key}'" if key else "NULL"
    return psql(f"SELECT shop.enqueue('image_uploaded', '{{\"secret\": \"s3cret\"}}', p_key => {name}, p_due_at => '2099-01-01')")


def job(id_):
    found = [j for j in root.get("/v1/admin/jobs?kind=image_uploaded&limit=200").json()["items"] if j["id"] == id_]
    return found[0] if found else None


later, doomed = enqueue(), enqueue()
answer = root.get("/v1/admin/jobs?kind=image_uploaded&limit=200")
t.ok(answer.status == 200 and [j["id"] for j in answer.json()["items"]][:2] == [doomed, later], "the jobs, the youngest first", answer)
t.ok("s3cret" not in answer.body.decode(), "without what is in them")
kinds = {k["kind"]: k for k in answer.json()["monitor"]["kinds"]}
t.ok(kinds["image_uploaded"]["scheduled"] >= 2, "and the queue at a glance", kinds["image_uploaded"])
t.equal([job(later)[k] for k in ("state", "attempts", "worker", "error")], ["scheduled", 0, None, None], "one that waits for its time")

# Cancelled, and sent again.
answer = root.post(f"/v1/admin/jobs/{doomed}/cancel")
t.ok(answer.status == 200 and answer.json()["state"] == "cancelled" and answer.json()["id"] == doomed, "a job is cancelled", answer)
t.equal([j["id"] for j in root.get("/v1/admin/jobs?state=cancelled&kind=image_uploaded").json()["items"]][:1], [doomed], "and is among those")
answer = root.post(f"/v1/admin/jobs/{doomed}/retry")
t.ok(answer.status == 200 and answer.json()["state"] == "waiting", "sent again it waits to be done", answer)
answer = root.post(f"/v1/admin/jobs/{later}/retry")
t.ok(answer.status == 200 and answer.json()["state"] == "waiting", "what waits for its time is due at once", answer)

# Running, and dead.
psql("SELECT id FROM shop.claim_jobs('tester', ARRAY['image_uploaded'], 100)")
t.equal([job(later)[k] for k in ("state", "attempts", "worker")], ["running", 1, "tester"], "one that a worker is at")
answer = root.post(f"/v1/admin/jobs/{later}/retry")
t.ok(why_no_problem(answer, "job_running", 409) is None, "is not sent again", answer)
answer = root.post(f"/v1/admin/jobs/{later}/cancel")
t.ok(answer.status == 200 and answer.json()["state"] == "cancelled", "but cancelled", answer)

# A key is one job's.
name = "key-" + uuid.uuid4().hex
first = enqueue(name)
root.post(f"/v1/admin/jobs/{first}/cancel")
second = enqueue(name)
answer = root.post(f"/v1/admin/jobs/{first}/retry")
t.ok(why_no_problem(answer, "job_exists", 409) is None, "a job whose key another one has is not sent again", answer)
root.post(f"/v1/admin/jobs/{second}/cancel")
t.equal(root.post(f"/v1/admin/jobs/{first}/retry").json()["key"], name, "until that is gone")
psql("INSERT INTO shop.job_kind (kind) VALUES ('of_yesterday') ON CONFLICT DO NOTHING")
old = psql("SELECT shop.enqueue('of_yesterday', '{}')")
root.post(f"/v1/admin/jobs/{old}/cancel")
psql("DELETE FROM shop.job_lane WHERE kind = 'of_yesterday'; DELETE FROM shop.job_kind WHERE kind = 'of_yesterday'")
answer = root.post(f"/v1/admin/jobs/{old}/retry")
t.ok(why_no_problem(answer, "unknown_job_kind", 422) is None, "nor one of a kind that there is not any more", answer)

# What is refused.
for path in ("retry", "cancel"):
    for claim, id_ in [("that there is not", str(uuid.uuid4())), ("of a number", "1234567890123"), ("of a word", "last")]:
        answer = root.post(f"/v1/admin/jobs/{id_}/{path}")
        t.ok(why_no_problem(answer, "not_found", 404) is None, f"{path} of a job {claim}", answer)
    for claim, who, status, code in [("nobody", Client(), 401, "unauthenticated"), ("a merchant", mark, 403, "forbidden")]:
        answer = who.post(f"/v1/admin/jobs/{first}/{path}")
        t.ok(why_no_problem(answer, code, status) is None, f"{path} by {claim}", answer)
for query, status, code, pointer in [("state=lost", 422, "invalid_value", "?state"), ("limit=201", 422, "out_of_range", "?limit"), ("limit=x", 422, "wrong_type", "?limit"), ("kind=" + "x" * 64, 422, "invalid_length", "?kind"), ("cursor=x", 400, "invalid_cursor", "?cursor"), ("worker=x", 422, "unknown_field", "?worker")]:
    answer = root.get("/v1/admin/jobs?" + query)
    t.ok(why_no_problem(answer, code, status) is None and answer.json()["pointer"] == pointer, f"no list with {query[:20]}", answer)
t.equal(root.get("/v1/admin/jobs?kind=nothing").json()["items"], [], "of a kind that there is not there are none")

# Who works.
def worker():
    return next((w["alive"], w["running"]) for w in root.get("/v1/admin/jobs").json()["monitor"]["workers"] if w["worker"] == "tester")


psql("SELECT shop.cancel_job(id) FROM shop.job WHERE kind = 'image_uploaded'")
t.equal(worker(), (True, 0), "a worker who was heard of lately is alive")
psql("UPDATE shop.job_log SET at = at - interval '2 min' WHERE worker = 'tester'")
t.equal(worker(), (False, 0), "one who has no job, and was not, is not")
