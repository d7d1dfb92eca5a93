#!/usr/bin/python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""The worker is killed in the middle of mails, over and over, alone or with its parent: in the end each mail has arrived, and what has
arrived twice has the same Message-ID. HF_ROUNDS: how often. TAP.
"""
import os
import random
import threading
import time

from aiosmtpd.controller import Controller

from api import Tap, psql, register, within
import post
from worker import Worker

ROUNDS = int(os.environ.get("HF_ROUNDS", 50))
EACH = 4  # mails a round
IN_HAND = 2 * 8  # mails at most that are under way at once
t = Tap()


class Taker:
    """Takes all mails, now and then slowly."""

    def __init__(self):
        self.mails, self.lock = [], threading.Lock()

    async def handle_DATA(self, server, session, envelope):
        import asyncio
        with self.lock:
            self.mails.append((envelope.rcpt_tos[0], post.parse(envelope.content)))
        await asyncio.sleep(random.choice((0, 0, 0, 0.01, 0.05)))
        return "250 taken"


post.fresh()
taker = Taker()
server = Controller(taker, hostname="127.0.0.1", port=post.free_port())
server.start()
mark = register("mark", ["merchant"])
psql("UPDATE shop.job_kind SET attempts = 1000, backoff = '50 ms', backoff_max = '100 ms' WHERE kind IN ('mail', 'order_placed')")
worker = Worker(jobs="on", mail_server=f"smtp://127.0.0.1:{server.port}", mail_tls="off", mail_spool="", lease="2s", poll_interval="20ms", workers="2", mail_timeout="5s")
wanted, begun = {}, time.monotonic()
for number in range(ROUNDS):
    made = psql(f"""WITH a AS (INSERT INTO shop.account (email, name) SELECT format('kill-%s-%s-%s@example.org', {number}, n, {os.getpid()}), 'Kill' FROM generate_series(1, {EACH}) AS n
            RETURNING id, email),
        o AS (INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, pay_by, lines, status, currency)
            SELECT a.id, holdfast.uuid7(), {mark.merchant_id}, 100, now(), now(), now() + interval '1 hour', now() + interval '1 hour', 1, 'pending_payment', 'EUR' FROM a
            RETURNING id, account_id)
        SELECT a.email, o.id, shop.enqueue('order_placed', jsonb_build_object('account_ids', ARRAY[a.id::text], 'order_ids', ARRAY[o.id])) FROM a JOIN o ON o.account_id = a.id""")
    wanted.update((line.split("|")[0], f"<order_placed.{line.split('|')[1]}@localhost>") for line in made.splitlines())
    within(60, worker.children)
    time.sleep(random.uniform(0, 0.25))
    if number % 5 == 4:
        worker.kill(whole=True)
        worker.start()
    else:
        worker.kill()
print(f"# {ROUNDS} rounds in {time.monotonic() - begun:.1f} s", flush=True)
t.ok(within(180, lambda: post.left() == ""), "in the end no mail is left", post.left()[:500])
t.equal(post.dead(), {}, "none is dead")
arrived = {}
for to, mail in taker.mails:
    arrived.setdefault(to, []).append(mail["Message-ID"])
t.equal(set(wanted) - set(arrived), set(), f"each of {len(wanted)} mails has arrived")
t.equal({to: ids for to, ids in arrived.items() if set(ids) != {wanted.get(to)}}, {}, "with the Message-ID of its order, however often it came")
twice = sum(len(ids) > 1 for ids in arrived.values())
print(f"# {twice} came more than once", flush=True)
t.ok(sum(len(ids) for ids in arrived.values()) <= len(wanted) + ROUNDS * IN_HAND, "no more often than it was in the hands of one who was killed")
t.equal(worker.stop()[0], 0, "the worker still ends well")
psql("UPDATE shop.job_kind SET attempts = 10, backoff = '5 s', backoff_max = '1 h' WHERE kind = 'order_placed'; "
     "UPDATE shop.job_kind SET attempts = 10, backoff = '2 min', backoff_max = '8 h' WHERE kind = 'mail'")
server.stop()
