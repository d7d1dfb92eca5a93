#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""What an administrator sees of workers and their jobs: who is alive, though he has nothing to do, and who is not any more;
what runs, has failed and why, is tried again, is dead or cancelled; totals; and that what he does about it has its effect. TAP.
"""
import os
import re

from api import Client, Tap, psql, register, why_no_problem, within
from slow import Slow, hold_back
from worker import Worker

t = Tap()
root, mark = register("root", ["admin"]), register("mark", ["merchant"])
FAST = {"jobs": "on", "lease": "12s", "poll_interval": "100ms", "webhook_private": "on", "webhook_timeout": "100s", "drain_timeout": "50s"}
psql("DELETE FROM shop.job_periodic")
psql("UPDATE shop.job_kind SET backoff = '0', backoff_max = '0', attempts = 2")


def monitor():
    return root.get("/v1/admin/jobs").json()["monitor"]


def kind(name):
    return next(k for k in root.get("/v1/admin/job-kinds").json()["items"] if k["kind"] == name)


def seen(worker):
    """What the monitor has of the processes of a worker."""
    pids = worker.children() if worker.process.poll() is None else worker.pids
    worker.pids = pids
    return [w for w in monitor()["workers"] if w["pid"] in pids]


def ready():
    return Client().get("/ready").json()["shop"]


def figure(name, **labels):
    text = Client().get("/metrics").body.decode()
    return sum(float(m[2]) for m in re.finditer(r"^holdfast_(\w+)(?:\{.*\})? (\S+)$", text, re.M)
               if m[1] == name and all(f'{k}="{v}"' in m[0] for k, v in labels.items()))


def enqueue(name, n=1, payload="{}"):
    return psql(f"SELECT shop.enqueue('{name}', '{payload}') FROM generate_series(1, {n})").split()


def job(id_):
    return root.get(f"/v1/admin/jobs/{id_}")


def state(id_):
    return job(id_).json().get("state")


# Workers, idle and gone.
t.equal(ready()["worker"]["alive"], False, "a worker that does no jobs is none for them")
worker = Worker(workers="2", **FAST)
t.ok(within(60, lambda: len(seen(worker)) == 2 and all(w["alive"] for w in seen(worker))), "workers that have nothing to do are listed as alive, each process", monitor()["workers"])
one = seen(worker)[0]
t.equal([one["host"], one["running"], one["finished"], one["failed"], one["stopped_at"]], [os.uname().nodename, 0, 0, 0, None], "with where they are, and what they have done")
t.ok({"noop", "order_placed", "webhook"} <= set(one["kinds"]) and any(w["label"] == "noop" and w["most"] > 0 for w in one["work"]), "which kinds they do, and how many at a time", one)
t.equal(one["version"], ready()["version"]["holdfast"], "of which version they are")
t.ok(ready()["worker"]["alive"] and ready()["worker"]["workers"] >= 2, "/ready says that somebody is there", ready())
t.ok(kind("noop")["workers"] == 2 and figure("job_kind_workers", kind="noop") == 2, "and the figures by kind", kind("noop"))
status, _ = worker.stop()
t.ok(status == 0 and all(not w["alive"] and w["stopped_at"] for w in seen(worker)), "one that was told to end has said so, and is not alive at once", seen(worker))
t.equal(ready()["worker"]["alive"], False, "so nobody is there")

worker = Worker(workers="1", **FAST)
within(60, lambda: any(w["alive"] for w in seen(worker)))
psql("SELECT shop.enqueue('noop', '{}') FROM generate_series(1, 5)")
within(60, lambda: kind("noop")["finished_last_hour"] == 5)
seen(worker)
worker.freeze()  # it has no time to say goodbye
worker.kill(whole=True)
t.ok(within(60, lambda: not any(w["alive"] for w in seen(worker))), "one that was killed is not alive after some seconds", seen(worker))
t.ok(len(seen(worker)) == 1 and seen(worker)[0]["stopped_at"] is None and not ready()["worker"]["alive"], "and is remembered as one that did not say so", seen(worker))

# What is done is counted.
worker = Worker(**FAST)
enqueue("noop", 300)
t.ok(within(60, lambda: kind("noop")["finished_last_hour"] == 305), "jobs that are done are counted by kind", kind("noop"))
t.ok(kind("noop")["run_average_seconds"] is not None and kind("noop")["run_longest_seconds"] >= kind("noop")["run_average_seconds"], "with how long they took", kind("noop"))
t.ok(within(60, lambda: sum(w["finished"] for w in seen(worker)) == 300), "by worker", seen(worker))
t.ok(sum(m["finished"] for m in monitor()["minutes"]) >= 305, "and by minute")
t.ok(within(60, lambda: figure("jobs_finished_total", kind="noop") == 305), "and in all", figure("jobs_finished_total", kind="noop"))
t.ok(figure("jobs_claimed_total", kind="noop") >= 305 and figure("job_run_seconds_total", kind="noop") > 0, "with the time that they took")

# What fails.
poison = enqueue("order_placed", 3, '{"account_ids": "x", "order_ids": 7, "token": "s3cret"}')
t.ok(within(60, lambda: [state(i) for i in poison] == ["dead"] * 3), "jobs that cannot be done are dead after their attempts", [job(i) for i in poison])
answer = job(poison[0])
failures = answer.json()["failures"]
t.ok(len(failures) == 2 and [f["attempt"] for f in failures] == [1, 2] and all(f["error"] and f["worker"] for f in failures), "each attempt is known, with its worker and reason", answer)
t.ok("s3cret" not in answer.body.decode() and answer.json()["payload"]["order_ids"] == 7, "and what the job was about, but for what is secret", answer)
reasons = [f for f in monitor()["failures"] if f["kind"] == "order_placed"]
t.ok(sum(f["dead"] for f in reasons) == 3 and all(f["error"] for f in reasons), "reasons are counted", monitor()["failures"])
t.equal([kind("order_placed")[k] for k in ("dead", "retried_last_hour", "died_last_hour")], [3, 3, 3], "so are the attempts")
t.ok(within(60, lambda: [figure(f"jobs_{n}_total", kind="order_placed") for n in ("failed", "retried", "died")] == [6, 3, 3]), "in all", [figure(f"jobs_{n}_total", kind="order_placed") for n in ("failed", "retried", "died")])

# Sent again, one or all.
psql("UPDATE shop.job_dead SET payload = '{\"account_ids\": [], \"order_ids\": []}' WHERE kind = 'order_placed'")
t.equal(root.post(f"/v1/admin/jobs/{poison[0]}/retry").status, 200, "a dead job is sent again")
t.ok(within(60, lambda: job(poison[0]).status == 404), "and done, once it can be")
answer = root.post("/v1/admin/job-kinds/order_placed/retry-dead", {"limit": 100})
t.ok(answer.status == 200 and answer.json() == {"retried": 2, "passed_over": 0, "dead": 0}, "so are all of a kind", answer)
t.ok(within(60, lambda: [job(i).status for i in poison] == [404] * 3), "which are done as well")

# Paused, and for later.
answer = root.patch("/v1/admin/job-kinds/noop", {"paused": True})
t.ok(answer.status == 200 and answer.json()["paused"] and figure("job_kind_paused", kind="noop") == 1, "a kind is paused", answer)
waiting = enqueue("noop", 3)
enqueue("order_placed", 1, '{"account_ids": [], "order_ids": []}')
within(60, lambda: kind("order_placed")["waiting"] == 0)
t.equal([state(i) for i in waiting], ["waiting"] * 3, "its jobs wait, while others are done")
t.equal(root.post(f"/v1/admin/jobs/{waiting[0]}/cancel").json()["state"], "cancelled", "one is cancelled")
root.patch("/v1/admin/job-kinds/noop", {"paused": False})
t.ok(within(60, lambda: [job(i).status for i in waiting[1:]] == [404, 404]), "the others are done when it goes on")
t.equal(state(waiting[0]), "cancelled", "that one is not")
later = psql("SELECT shop.enqueue('noop', '{}', p_due_at => '2099-01-01')")
t.equal(state(later), "scheduled", "one is for later")
root.post(f"/v1/admin/jobs/{later}/retry")
t.ok(within(60, lambda: job(later).status == 404), "until it is told to be done now")


# Running.
url = hold_back()
hook = mark.post("/v1/webhook-endpoints", {"url": url, "events": ["order.paid"]}).json()["id"]


def ping():
    """A job that goes on until it is let go."""
    mark.post(f"/v1/webhook-endpoints/{hook}/test", {})
    within(60, lambda: Slow.under_way == 1)
    return psql("SELECT id FROM shop.job WHERE kind = 'webhook' AND lease IS NOT NULL")


running = ping()
listed = root.get("/v1/admin/jobs?state=running&kind=webhook").json()["items"]
t.ok([j["id"] for j in listed] == [running] and listed[0]["running_seconds"] >= 0, "a job that runs is listed, with how long", listed)
t.ok(within(60, lambda: [w["running"] for w in seen(worker)] == [1]) and listed[0]["worker"] == seen(worker)[0]["worker"], "and whose it is", seen(worker))
t.ok(within(60, lambda: any(w["running"] == 1 for w in seen(worker)[0]["work"] if "webhook" in w.get("kinds", []))), "who says so himself", seen(worker))
t.ok(why_no_problem(root.post(f"/v1/admin/jobs/{running}/retry"), "job_running", 409) is None, "it is not tried again while it runs")
t.equal(root.post(f"/v1/admin/jobs/{running}/cancel").json()["state"], "cancelled", "but cancelled")
t.ok(within(60, lambda: worker.events("job_lost")), "its worker hears of it, and gives it up", worker.log())
t.ok(within(60, lambda: all(w["running"] == 0 for w in seen(worker)[0]["work"])), "and does nothing any more", seen(worker))
Slow.gate.set()
within(60, lambda: Slow.under_way == 0)

# A worker that dies with a job in his hands.
Slow.gate.clear()
lost = ping()
psql("UPDATE shop.job_kind SET attempts = 5 WHERE kind = 'webhook'")
worker.freeze()
worker.kill(whole=True)
Slow.gate.set()
worker = Worker(**FAST)
t.ok(within(60, lambda: job(lost).status == 404), "the job of a worker that was killed is done by another", job(lost))
t.ok(within(60, lambda: figure("jobs_failed_total", kind="webhook") == 1), "and that its lease ran out is counted", figure("jobs_failed_total", kind="webhook"))

# Who may.
for path, call in [("/v1/admin/job-kinds", mark.get), (f"/v1/admin/jobs/{waiting[0]}", mark.get)]:
    t.ok(why_no_problem(call(path), "forbidden", 403) is None, f"{path} is for admins")
t.ok(why_no_problem(root.patch("/v1/admin/job-kinds/nothing", {"paused": True}), "not_found", 404) is None, "a kind that there is not is not paused")
answer = root.patch("/v1/admin/job-kinds/noop", {"attempts": 0})
t.ok(why_no_problem(answer, "out_of_range", 422) is None and answer.json()["pointer"] == "/attempts", "nor has one no attempts", answer)
t.equal(figure("jobs_finished_total", kind="noop") >= 305, True, "through all of that no count has sunk")
