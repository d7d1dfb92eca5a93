#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""What the clock does is listed, switched and run by an administrator; a worker that is the clock runs what is due, once, beside
another one that is, and nobody runs what is switched off. TAP.
"""
import subprocess
import threading

from api import Client, Tap, psql, register, why_no_problem, within
from worker import Worker

t = Tap()
root, eve = register("root", ["admin"]), register("eve")
NAMES = ["expiry_mail", "low_stock", "partitions", "purge", "reports", "sales", "tend"]


def schedules():
    return {s["name"]: s for s in root.get("/v1/admin/schedules").json()["items"]}


def metric(name, schedule):
    line = f'holdfast_schedule_{name}{{schedule="{schedule}"}} '
    return next((float(l[len(line):]) for l in Client().get("/metrics").body.decode().splitlines() if l.startswith(line)), None)


first = schedules()
t.equal(sorted(first), NAMES, "what the clock has to do")
t.ok(all(s["active"] and s["runs"] == 0 and s["next_at"] and not s["pg_cron"] and s["does"] for s in first.values()), "nothing of which was done yet", first)
t.equal([first[n]["cron"] for n in ("tend", "purge", "reports")], ["* * * * *", "7-59/10 * * * *", "17 3 * * *"], "and when")

# By hand.
for name in NAMES:
    answer = root.post(f"/v1/admin/schedules/{name}/run")
    t.ok(answer.status == 200 and answer.json()["last_error"] is None and answer.json()["runs"] == 1 and answer.json()["last_ok_at"], f"{name} is run", answer)
t.equal([metric("runs_total", "tend"), metric("failures_total", "tend"), metric("period_seconds", "tend")], [1, 0, 60], "the metrics say so")
psql("INSERT INTO shop.schedule (name, every, command, does) VALUES ('broken', '1 h', 'shop.no_such_function()', 'fails')")
answer = root.post("/v1/admin/schedules/broken/run")
t.ok(answer.status == 200 and "does not exist" in answer.json()["last_error"] and answer.json()["failures"] == 1, "one that fails says why", answer)

# Switched off.
answer = root.patch("/v1/admin/schedules/sales", {"active": False})
t.ok(answer.status == 200 and answer.json()["active"] is False and answer.json()["next_at"] is None, "one is switched off", answer)
t.equal(metric("active", "sales"), 0, "which is seen")

# Running: somebody else is at it for as long as his transaction is open, which is until a lock is released.
psql("CREATE FUNCTION shop.slow() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN WHILE NOT pg_try_advisory_xact_lock(4711) LOOP PERFORM pg_sleep(0.1); END LOOP; END $$; ALTER FUNCTION shop.slow() OWNER TO shop_owner;"
     "INSERT INTO shop.schedule (name, every, command, does) VALUES ('slow', '1 h', 'shop.slow()', 'takes its time')")
holder = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
holder.stdin.write("SELECT pg_advisory_lock(4711);\n")
holder.stdin.flush()
holder.stdout.readline()
other = threading.Thread(target=lambda: psql("SELECT shop.run_schedule('slow')"))
other.start()
within(60, lambda: psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1")
answer = root.post("/v1/admin/schedules/slow/run")
t.ok(why_no_problem(answer, "schedule_running", 409) is None, "one that runs is not run a second time", answer)
t.equal(root.patch("/v1/admin/schedules/slow", {"active": False}).status, 200, "it can be switched off meanwhile")
holder.communicate()
other.join()
t.equal(schedules()["slow"]["runs"], 1, "it was run once")

# Two workers are the clock. What is done once is due again in half a day.
psql("UPDATE shop.schedule_run SET next_at = clock_timestamp() - interval '1 min', runs = 0, failures = 0;"
     "UPDATE shop.schedule SET every = '1 day', at = date_trunc('minute', (clock_timestamp() AT TIME ZONE 'UTC')::time + interval '12 h')::time::interval")
clocks = [Worker(clock="on", jobs="off") for _ in range(2)]
due = [n for n in NAMES if n != "sales"]
t.ok(within(60, lambda: all(schedules()[n]["runs"] >= 1 for n in [*due, "broken"])), "a worker runs what is due", schedules())
t.equal([schedules()[n]["runs"] for n in due], [1] * len(due), "each once, though there are two")
t.equal([schedules()[n]["last_by"] for n in due], ["holdfast worker"] * len(due), "it is known who has")
t.equal([schedules()[n]["runs"] for n in ("sales", "slow")], [0, 0], "what is switched off is not run")
t.ok(schedules()["broken"]["failures"] >= 1, "one that fails is in nobody's way")
root.patch("/v1/admin/schedules/sales", {"active": True})
t.ok(within(60, lambda: schedules()["sales"]["runs"] == 1), "until it is switched on")
t.equal([c.stop()[0] for c in clocks], [0, 0], "both end well")

# Refused.
for body, code, pointer in [({}, "missing_field", "/active"), ({"active": "no"}, "wrong_type", "/active"), ({"active": True, "every": "1 h"}, "unknown_field", "/every")]:
    answer = root.patch("/v1/admin/schedules/tend", body)
    t.ok(why_no_problem(answer, code, 422) is None and answer.json()["pointer"] == pointer, f"{body} is refused", answer)
t.ok(why_no_problem(root.patch("/v1/admin/schedules/nothing", {"active": True}), "not_found", 404) is None, "there must be such a schedule")
t.ok(why_no_problem(root.post("/v1/admin/schedules/nothing/run"), "not_found", 404) is None, "to be run as well")
t.ok(why_no_problem(eve.get("/v1/admin/schedules"), "forbidden", 403) is None and why_no_problem(eve.post("/v1/admin/schedules/tend/run"), "forbidden", 403) is None, "it is for admins")
