#!/usr/bin/env python3
# with-stack: --conf max_wal_size=4GB
# with-api: --conf 'ticket_ttl = 2s' --conf 'request_timeout = 10s'
# with-worker:
"""Ten thousand units, and five hundred connections of people who misbehave in every way at once: they retry while the first try is
under way and after it, use a key for another quantity, buy twice at once, steal, forge and keep tickets, hang up in the midst
of a request, send slowly, send nonsense, do not pay, cancel. In the end exactly ten thousand are sold, to nobody more than he
may have, each key has one order, and nobody saw an error but an announced 503. HF_UNITS: another number. TAP.
"""
import asyncio
import os
import tempfile
import time

from api import Tap, psql, within
from sale_crowd import People, Sale, Square, build_crowd, crowd_words, in_thread, merchant, read_journal, run_crowd
from sale_mob import Mob
from sale_oracle import Oracle

UNITS = int(os.environ.get("HF_UNITS", 10000))
SECONDS = 400         # for all of it, or longer while it goes on
TTL = 2               # of a ticket
HELD = 3              # seconds to begin to pay in
STILL = 20            # seconds in which something is sold if there is anything, whatever the machine does
CONNECTIONS = 500
OURS = 200            # of them; the others are tools/crowd's

t = Tap()


async def sell_out(mob, words):
    """Lets them all in until everything is paid; what tools/crowd says, how long it took, and for how long units lay there in the end."""
    begun = time.monotonic()
    crowd = asyncio.create_task(run_crowd(words))
    tasks = [asyncio.create_task(mob.misbehave()) for _ in range(100)] + [asyncio.create_task(mob.wait()) for _ in range(70)]
    paid, lying = 0, []
    while paid < UNITS and (time.monotonic() < begun + SECONDS or lying[-1][1:] != lying[-min(len(lying), 4 * STILL)][1:]):
        await asyncio.sleep(0.25)
        for task in tasks:
            if task.done():
                task.result()
        paid, left = await in_thread(mob.sale.paid), await in_thread(mob.sale.left)
        lying.append((time.monotonic() - begun, left, paid))
    took = time.monotonic() - begun
    mob.ended = True
    await asyncio.gather(*tasks)
    said = await crowd
    mob.square.close()
    return said, took, lying


def main():
    psql(f"UPDATE shop.order_setting SET pay_within = '{HELD} seconds'; SELECT holdfast.add_provider('simulated') WHERE NOT EXISTS (SELECT FROM _holdfast.provider WHERE name = 'simulated')")
    people, seller = People(4 * UNITS + 20000), merchant()
    sale, small = Sale(seller, UNITS, 1), Sale(seller, max(UNITS // 10, 100), 3)
    with tempfile.TemporaryDirectory() as work:
        buyers, journal = people.write(f"{work}/buyers", UNITS * 7 // 10), f"{work}/journal"
        words = crowd_words(build_crowd(), sale, buyers, journal, "--once", "--connections", CONNECTIONS - OURS, "--abandon", 0.15, "--leave", 0.05, "--twice", 0.05,
                            "--retry", 100, mode="whole")
        square = None

        async def play():
            nonlocal square
            square = Square(OURS)
            mob = Mob(square, people, sale, small, TTL, HELD)
            return mob, *await sell_out(mob, words)

        mob, said, took, lying = asyncio.run(play())
        told = square.told + read_journal(journal, sale)
    print(f"# {took:.1f} s; {mob.done} misbehaved: {mob.acts}", flush=True)
    print(f"# {dict(sorted(square.statuses.items()))}", flush=True)
    print(f"# the crowd: {said['kinds']}", flush=True)
    t.equal(sale.paid(), UNITS, f"exactly {UNITS} are sold")
    stuck = [at for at, left, paid in lying if left > 0 and paid < UNITS and not any(at < later <= at + STILL and (p, l) != (paid, left) for later, l, p in lying) and at < lying[-1][0] - STILL]
    t.equal(stuck[:3], [], "  and nothing lay there while others waited")
    t.ok(not mob.broken, "whoever misbehaves is told what he may be told", len(mob.broken), *mob.broken[:5])
    t.ok(not square.wrong, "nobody saw an error but an announced 503", len(square.wrong), *square.wrong[:5])
    odd = [(kind, status) for kind, of in said["kinds"].items() for status in of["status"] if status == "0" or int(status) >= 500]
    t.equal(odd, [], "  nor did the crowd")
    t.equal((said["different"], said["same"] > 0), (0, True), "  whose keys had the same order each time")
    t.ok(min(mob.acts.get(act.__name__, 0) for act in mob.ACTS) >= 10, "everybody has misbehaved often enough", mob.acts)
    t.ok(within(60, lambda: psql("SELECT count(*) FROM holdfast.open_calls") == "0"), "(all payments are done)")
    for which in (sale, small):
        Oracle(t, which, told).check(late=10)
    t.equal((psql("SELECT * FROM holdfast.verify()"), psql("SELECT * FROM shop.verify()")), ("", ""), "and every unit and every order is accounted for")


main()
