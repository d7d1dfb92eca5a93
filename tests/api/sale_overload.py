#!/usr/bin/env python3
# with-api: --conf 'purchase_batch = 4' --conf 'database_purchase_connections = 1' --conf 'ticket_ttl = 1h'
"""Twice as many come as can be served: the others are told 503 on a connection that stays, selling goes on, and the application
does not grow. Batches are small here, so that the database is what is too slow. How long anybody waits is printed, and judged by
bench/flash. TAP.
"""
import asyncio
import tempfile

from api import Tap, psql
from chaos_load import memory, workers
from sale_crowd import People, Sale, build_crowd, crowd_words, merchant, read_journal, run_crowd
from sale_oracle import Oracle

BUYERS = 8000
CONNECTIONS = 2000
SECONDS = 3
ROUNDS = 3
MEGABYTE = 2 ** 20
GROWTH = 4 * MEGABYTE  # at most, from one round to the next
t = Tap()


def run(*more, mode="purchase"):
    """The crowd, once; what it says, and what it was told is added to told."""
    words = crowd_words(program, sale, buyers, journal, *more, mode=mode)
    if mode == "purchase":
        words += ["--tickets", tickets, "--timeout", "20"]
    said = asyncio.run(run_crowd(words))
    if mode == "purchase":
        told.extend(read_journal(journal, sale))
    return said


def tell(name, said):
    accepted, refused = said["latency_accepted_us"], said["latency_refused_us"]
    print(f"# {name}: {said['offered'] if 'offered' in said else ''} offered, {said['status']}, accepted p50 {accepted['p50'] / 1000:.1f} ms, p99 {accepted['p99'] / 1000:.1f} ms, "
          f"refused p50 {refused['p50'] / 1000:.1f} ms, p99 {refused['p99'] / 1000:.1f} ms; {[size // MEGABYTE for size in memory(workers())]} MB", flush=True)


def least_growth():
    return min(b - a for a, b in zip(grown, grown[1:]))


program, told = build_crowd(), []
with tempfile.TemporaryDirectory() as work:
    buyers, journal, tickets = f"{work}/buyers", f"{work}/journal", f"{work}/tickets"
    People(BUYERS).write(buyers, BUYERS)
    sale = Sale(merchant(), 10 ** 6, 1000)
    said = run("--once", "--connections", 64, "--write-tickets", tickets, mode="ticket")
    t.equal(said["status"], {"201": BUYERS}, "everybody has a ticket")
    answers, grown = [], []
    # What is kept for the next crowd is no growth: it comes once or twice.
    while len(grown) < ROUNDS or (len(grown) < 2 * ROUNDS and least_growth() > GROWTH):
        capacity = run("--seconds", 1.5, "--connections", 64)["status"]["201"] / 1.5
        tell(f"nine tenths of the capacity, which is {capacity:.0f}/s", run("--seconds", SECONDS, "--rate", 0.9 * capacity, "--connections", CONNECTIONS))
        said = run("--seconds", SECONDS, "--rate", 2 * capacity, "--connections", CONNECTIONS)
        tell("twice the capacity", said)
        grown.append(sum(memory(workers())))
        answers.append(set(said["status"]))
        t.ok("201" in said["status"] and answers[-1] <= {"201", "503"} and not said["connection_errors"],
             "some are served, the others are told 503, on a connection that stays", said["status"], said["errors"])
    t.ok({"201", "503"} in answers, "more came than could be served", answers)
    t.ok(least_growth() <= GROWTH, "memory does not grow from one to the next", grown)
    Oracle(t, sale, told).check()
t.equal((psql("SELECT * FROM holdfast.verify()"), psql("SELECT * FROM shop.verify()")), ("", ""), "every unit and every order is accounted for")
