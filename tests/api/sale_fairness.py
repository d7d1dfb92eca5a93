#!/usr/bin/env python3
# with-api: --conf 'purchase_batch = 16' --conf 'purchase_wait = 30s' --conf 'request_timeout = 30s' --conf 'ticket_ttl = 1h'
"""Who comes first is served first, but for a batch or two; no connection of five hundred starves; and whoever comes alone beside
them, on a connection of his own, waits no longer than they. Batches are small here, so that there is a queue to be jumped. TAP.
"""
import asyncio
import collections
import json
import os
import statistics
import subprocess
import time
import uuid

from api import Tap, psql
from sale_crowd import People, Sale, Square, Wire, in_thread, merchant, request

BATCH = 16
BURSTS = 12
WAITING = 400        # in a burst
CONNECTIONS = 500
LEAST = 12           # purchases that each connection has made in the end
PATIENCE = 120       # seconds for that
LONE = 30
t = Tap()


def worker_of(answer):
    """Its ids of requests begin with what is its own; what follows is a number."""
    return answer.headers["x-request-id"][:12]


async def with_tickets(square, people, sale, n):
    """So many people with tickets."""
    found = [next(people) for _ in range(n)]
    for first in range(0, n, 50):
        await asyncio.gather(*(square.draw(person, sale) for person in found[first:first + 50]))
    return found


def purchase(person, sale):
    return request("POST", sale.path + "/purchases", person, str(uuid.uuid4()), {"ticket": person.tickets[sale.id], "quantity": 1})


def distances(arrived):
    """arrived: orders in the order in which they were asked for. How many places each is away from there, by its id, which is a time."""
    place = {order: n for n, order in enumerate(sorted(arrived))}
    return [abs(place[order] - n) for n, order in enumerate(arrived)]


async def burst(wires, people, sale):
    """All ask, one after the other, and nobody waits for an answer: the orders by worker, as they were asked for."""
    for wire, person in zip(wires, people):
        await wire.write(purchase(person, sale))
    answers = await asyncio.gather(*(wire.read() for wire in wires))
    orders = collections.defaultdict(list)
    for answer in answers:
        if answer is None or answer.status != 201:
            raise RuntimeError(f"a burst is not served: {answer}")
        orders[worker_of(answer)].append(answer.json()["id"])
    return orders


async def check_order(people, sale):
    wires = [Wire(os.environ["HF_API"]) for _ in range(WAITING)]
    square, far, most = Square(50, edge=False), [], 0
    buyers = await with_tickets(square, people, sale, WAITING)
    for wire in wires:
        await wire.open()
    for number in range(BURSTS):
        for orders in (await burst(wires, buyers, sale)).values():
            far += distances(orders)
            most = max(most, len(orders))
        await asyncio.sleep(0.05)
    far.sort()
    print(f"# of up to {most} who came to a worker at once, half were served within {far[len(far) // 2]} places of theirs, 99 % within {far[len(far) * 99 // 100]}, all within {far[-1]}", flush=True)
    # Two batches are under way at a time, each on a connection of its own, and either may be kept waiting for a processor while the other goes on.
    t.ok(most > 8 * BATCH, "there was a queue", most)
    t.ok(far[len(far) // 2] <= 2 * BATCH and far[len(far) * 8 // 10] <= most * 6 // 10, "who comes first is served first, but for the batches that are under way", far[::len(far) // 20])
    for each in (square, *wires):
        each.close()


class Loop(asyncio.Protocol):
    """A connection that asks again as soon as it is answered."""

    def __init__(self, person, sale):
        self.person, self.sale, self.data, self.begun, self.took, self.worker, self.odd = person, sale, b"", 0.0, [], None, []
        self.ended = False

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        self.begun = time.monotonic()
        self.transport.write(purchase(self.person, self.sale))

    def data_received(self, data):
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return
        self.took.append(time.monotonic() - self.begun)
        if not head.startswith(b"HTTP/1.1 201 "):
            self.odd.append(self.data)
        self.worker = head.lower().partition(b"x-request-id: ")[2][:12]
        self.data = b""
        if self.ended:
            self.transport.close()
        else:
            self.ask()


def come_alone(person, sale):
    """The times of purchases by a process of its own, each on a connection of its own."""
    took = []
    for _ in range(LONE):
        body = json.dumps({"ticket": person.tickets[sale.id], "quantity": 1})
        words = ["curl", "-s", "-m", "60", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {person.token}",
                 "-H", f"Idempotency-Key: {uuid.uuid4()}", "-d", body, f"{os.environ['HF_API']}{sale.path}/purchases"]
        status, seconds = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        took.append(float(seconds) if status == "201" else 99)
        time.sleep(0.05)
    return took


async def check_starvation(people, sale):
    square = Square(50, edge=False)
    buyers = await with_tickets(square, people, sale, CONNECTIONS + 1)
    host, port = square.idle[0].host, square.idle[0].port
    loops = [Loop(person, sale) for person in buyers[1:]]
    for loop in loops:
        await asyncio.get_running_loop().create_connection(lambda loop=loop: loop, host, port)
    begun, before = time.monotonic(), [len(loop.took) for loop in loops]
    lone = await in_thread(come_alone, buyers[0], sale)
    while min(len(loop.took) - n for loop, n in zip(loops, before)) < LEAST and time.monotonic() < begun + PATIENCE:
        await asyncio.sleep(0.05)
    counts, seconds = [len(loop.took) - n for loop, n in zip(loops, before)], time.monotonic() - begun
    for loop in loops:
        loop.ended = True
    await asyncio.sleep(1)
    square.close()
    t.equal([odd for loop in loops for odd in loop.odd][:2], [], f"{sum(counts)} purchases on {CONNECTIONS} connections in {seconds:.1f} s, all of them succeed")
    by_worker = collections.defaultdict(list)
    for loop, count in zip(loops, counts):
        by_worker[loop.worker].append(count)
    for mine in by_worker.values():
        middle = statistics.median(mine)
        t.ok(min(mine) >= max(LEAST, middle / 3), f"of a worker's {len(mine)} connections none gets less than a third of what those in the middle get: {min(mine)} to {max(mine)}, {middle:g}", sorted(mine)[:20])
    took = sorted(each for loop in loops for each in loop.took[1:])
    half, alone = took[len(took) // 2], statistics.median(lone)
    print(f"# the crowd waits for {1000 * half:.1f} ms, 99 % of it for {1000 * took[len(took) * 99 // 100]:.1f}, at most for {1000 * took[-1]:.1f}; who comes alone for {1000 * alone:.1f}, at most for {1000 * max(lone):.1f}", flush=True)
    t.ok(alone <= 3 * half + 0.5, "who comes alone beside a crowd is served like the others", alone, half, lone)


async def main():
    people, seller = await in_thread(People, WAITING + CONNECTIONS + 1), await in_thread(merchant)
    sale = await in_thread(Sale, seller, 1000000, 1000)
    await check_order(people, sale)
    await check_starvation(people, sale)


asyncio.run(main())
t.equal((psql("SELECT * FROM holdfast.verify()"), psql("SELECT * FROM shop.verify()")), ("", ""), "every unit and every order is accounted for")
