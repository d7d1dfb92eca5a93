#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'image_source =' --conf 'image_directory ='
"""The worker and its image programs are killed in the middle of pictures, over and over: in the end each picture is ready,
every file is whole and what its name says, and a sweep leaves nothing half-made behind. HF_ROUNDS: how often. TAP.
"""
import contextlib
import hashlib
import json
import os
import random
import signal
import time

from api import Tap, product, psql, register, within
from pictures import convert, png, programs, send
from worker import Worker

ROUNDS = int(os.environ.get("HF_ROUNDS", 50))
EACH = 3  # pictures a round
UPLOADS, MEDIA = os.environ["HF_UPLOADS"], os.environ["HF_MEDIA"]
t = Tap()
psql("UPDATE shop.job_kind SET attempts = 1000, backoff = '100 ms', backoff_max = '300 ms' WHERE kind = 'image_uploaded'")
mark = register("mark", ["merchant"])
pool = [convert(png(1500 + n, 1000), "jpg", "[Q=90]") for n in range(20)]
worker = Worker(image_source=UPLOADS, image_directory=MEDIA, image_jobs="2", lease="2s", workers="2", poll_interval="50ms")
begun, sent, died, number = time.monotonic(), [], 0, 0


# A slow machine takes more rounds to have enough programs to be killed.
while number < ROUNDS or died <= ROUNDS / 4 and time.monotonic() < begun + 300:
    if number % 6 == 0:
        thing = product(mark)["id"]
    sent += [send(mark, thing, random.choice(pool), "jpg") for _ in range(EACH)]
    time.sleep(random.uniform(0, 0.4))
    if number % 3 == 0:
        worker.kill(whole=number % 6 == 0)
        if number % 6 == 0:
            worker.start()
    else:
        for pid in programs(worker)[:random.choice((1, 1, 9))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, random.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)))
                died += 1
    number += 1
print(f"# {number} rounds in {time.monotonic() - begun:.1f} s; {died} programs killed", flush=True)
all_ids = ",".join(sent)


def undone():
    return int(psql(f"SELECT count(*) FROM shop.image WHERE id IN ({all_ids}) AND state <> 'ready'"))


# As long as they become fewer it goes on, however slow.
rest, ended = undone(), time.monotonic()
while rest and within(120, lambda: undone() < rest):
    rest = undone()
print(f"# {rest} are not ready after {time.monotonic() - ended:.1f} s more", flush=True)
t.ok(rest == 0, f"each of {len(sent)} pictures is ready in the end",
     psql(f"SELECT state, reason, count(*) FROM shop.image WHERE id IN ({all_ids}) GROUP BY 1, 2"), psql("SELECT * FROM shop.job"))
t.ok(died > ROUNDS / 4, "image programs were killed in the middle", died)
t.ok(within(60, lambda: psql(f"SELECT count(*) FROM shop.job WHERE payload ->> 'image_id' = ANY ('{{{all_ids}}}')") == "0"), "no job is left")
t.equal(psql("SELECT count(*) FROM shop.job_dead WHERE kind ~ '^image'"), "0", "and none is dead")
sizes = {s["file"] for line in psql(f"SELECT DISTINCT sizes FROM shop.image WHERE id IN ({all_ids})").splitlines() for s in json.loads(line)}
wrong = []
for name in sizes:
    with open(os.path.join(MEDIA, name), "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() != name[3:67]:
            wrong.append(name)
t.ok(sizes and not wrong, f"each of {len(sizes)} files is whole", wrong)
t.ok(within(60, lambda: len(programs(worker)) <= 6), "no more programs are left than there may be", programs(worker))


def files():
    return {os.path.relpath(os.path.join(above, name), MEDIA) for above, _, names in os.walk(MEDIA) for name in names}


print(f"# half-made files: {len(files() - sizes)}", flush=True)
for name in files():
    os.utime(os.path.join(MEDIA, name), (time.time() - 90000,) * 2)
psql("SELECT shop.enqueue('image_sweep', '{\"step\": 0}')")
t.ok(within(60, lambda: psql("SELECT count(*) FROM shop.job WHERE kind = 'image_sweep'") == "0"), "a sweep comes to its end")
t.equal(files(), sizes, "and leaves what is wanted, and nothing else")
children = programs(worker)
worker.kill(whole=True)


def is_alive(pid):
    """Whether it is an image program still."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return "image" in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False


t.ok(within(60, lambda: not any(map(is_alive, children))),
     "image programs end with their worker", children)
