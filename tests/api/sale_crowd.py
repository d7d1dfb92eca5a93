"""What the proofs of sales under fire share: a sale, people with tokens in any number, connections that can do everything at
once, and a note of whatever anybody was told. The mass of the people is tools/crowd, whose journal is read here too.
"""
import asyncio
import collections
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import time
import urllib.parse
import uuid

from api import Answer, product, psql, register, why_no_problem, within

TOOLS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../tools")
sys.path.append(TOOLS)
from sale_stack import Stack  # noqa: E402

os.environ.pop("HF_JOURNAL", None)  # too many answers
WINDOW = {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}

# What one request for a purchase was told; times are seconds since 1970. status: 0 if the answer was lost, or not waited for.
# digest: of the bytes of an order that was answered, if they were seen.
Told = collections.namedtuple("Told", "account sale key quantity begun ended status code order digest")


class Sale:
    """A sale that is open."""

    def __init__(self, merchant, units, limit, price=500):
        sku = product(merchant, 1000, units)["skus"][0]["id"]
        body = {"sku_id": sku, "price": price, "quantity": units, "per_account_limit": limit, **WINDOW}
        self.id, self.units, self.limit, self.price = int(merchant.post("/v1/sales", body).json()["id"]), units, limit, price
        said = []  # Redis may have been away until a moment ago
        if not within(60, lambda: said.append(merchant.post(f"/v1/sales/{self.id}/preheat")) or said[-1].status == 200 and said[-1].json()["ready"]):
            raise RuntimeError(f"the sale is not ready: {said[-1]}")
        self.path = f"/v1/sales/{self.id}"

    def paid(self):
        """Units that are paid for."""
        return int(psql(f"SELECT coalesce(sum(l.quantity), 0) FROM shop.order AS o JOIN shop.order_line AS l ON l.order_id = o.id AND l.account_id = o.account_id "
                        f"WHERE o.sale_id = {self.id} AND o.status = 'paid'"))

    def left(self):
        return int(psql(f"SELECT t.available FROM holdfast.stock AS t WHERE t.sku = {self.id}"))


class Person:
    """An account, with an access token and the tickets that it has drawn."""

    def __init__(self, account, token):
        self.account, self.token, self.tickets, self.drawn = account, token, {}, {}

    def is_late(self, sale, ttl):
        """Whether the ticket may have expired meanwhile."""
        return time.monotonic() > self.drawn.get(sale.id, 0) + ttl


class People:
    """Accounts that were opened in bulk, and have done nothing yet: next() is one more."""

    def __init__(self, n):
        self.stack, self.n, self.accounts = Stack(True), n, iter(())
        self.sign = self.stack.signer()

    def open(self):
        return iter([int(account) for account, in self.stack.sql("INSERT INTO shop.account (name) SELECT format('Buyer %s', i) FROM generate_series(1, :n) AS i RETURNING id", n=self.n)])

    def __next__(self):
        account = next(self.accounts, None)
        if account is None:  # or all have come
            self.accounts = self.open()
            account = next(self.accounts)
        return Person(account, self.sign(str(account)))

    def write(self, path, n):
        """A file of n of them for tools/crowd."""
        with open(path, "w", encoding="ascii") as file:
            file.writelines(f"{person.account} {person.token}\n" for person in itertools.islice(iter(lambda: next(self), None), n))
        return path


def build_crowd():
    """The program of tools/crowd."""
    build = os.path.join(os.environ["HF_STAGE"], "build/crowd")
    subprocess.run(["make", "-s", "--no-print-directory", "-C", os.path.join(TOOLS, "crowd"), f"BUILD={build}"], check=True)
    return os.path.join(build, "crowd")


def crowd_words(program, sale, buyers, journal, *more, url=None, mode="purchase"):
    words = [program, "--url", url or os.environ["HF_API"], "--mode", mode, "--sale", sale.id, "--buyers", buyers, "--journal", journal, "--json", *more]
    return [str(word) for word in words]


def read_journal(path, sale):
    """
    What tools/crowd was told. A request that it asked several times is one line. It does not draw a ticket anew: whose ticket
    has expired before he was answered gives up, and does not know what he has.
    """
    told = []
    with open(path, encoding="ascii") as lines:
        for line in lines:
            at, account, key, status, code, order, micros = line.split()
            ended, status = int(at) / 1e6, 0 if code == "invalid_ticket" else int(status)
            told.append(Told(int(account), sale.id, key, 1, ended - int(micros) / 1e6, ended, status, code if code != "-" else None, order if order != "-" else None, None))
    return told


class Wire:
    """A connection, opened when it is needed, on which one request is under way at a time."""

    def __init__(self, base):
        where = urllib.parse.urlsplit(base)
        self.host, self.port, self.reader, self.writer = where.hostname, where.port, None, None

    async def open(self):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)

    def close(self, hard=False):
        if self.writer is not None:
            self.writer.transport.abort() if hard else self.writer.close()
        self.reader = self.writer = None

    async def write(self, data):
        await self.open()
        self.writer.write(data)

    async def read(self):
        """The next answer; None if the connection ended, or nothing came in time."""
        try:
            async with asyncio.timeout(60):
                status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = [line.split(": ", 1) for line in lines if line]
                answer = Answer(int(status.split()[1]), headers, b"")
                answer.body = await self.reader.readexactly(int(answer.headers.get("content-length", 0)))
            if answer.headers.get("connection", "").lower() == "close":
                self.close()
            return answer
        except (OSError, EOFError, asyncio.TimeoutError):
            self.close(hard=True)
            return None

    async def ask(self, data):
        """Sends a request, and reads its answer. A connection that turns out to have ended while it was idle is opened again."""
        for _ in range(2):
            idle, begun = self.writer is not None, time.monotonic()
            try:
                await self.write(data)
            except OSError:
                self.close()
                return None
            answer = await self.read()
            if answer is not None or not idle or time.monotonic() > begun + 0.05:
                return answer
        return None


def request(method, path, person=None, key=None, body=None, raw=None, headers=""):
    """The bytes of a request."""
    data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{headers}"
    if person is not None:
        head += f"Authorization: Bearer {person.token}\r\n"
    if key is not None:
        head += f"Idempotency-Key: {key}\r\n"
    if data:
        head += "Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode("latin-1") + data


class Square:
    """Where they all meet: so many connections, half of them through nginx if it is told, and what was said on them."""

    def __init__(self, connections, edge=True):
        bases = [os.environ["HF_API"], os.environ["HF_EDGE"]] if edge else [os.environ["HF_API"]]
        self.idle = [Wire(bases[n % len(bases)]) for n in range(connections)]
        self.room = asyncio.Semaphore(connections)
        self.told, self.wrong, self.statuses = [], [], collections.Counter()

    async def take(self):
        await self.room.acquire()
        return self.idle.pop(random.randrange(len(self.idle)))

    def give(self, wire):
        self.idle.append(wire)
        self.room.release()

    def look(self, what, answer):
        """What must be true of any answer."""
        self.statuses[f"{what} {answer.status if answer else 0}{' ' + str(answer.code) if answer and answer.status >= 400 else ''}"] += 1
        if answer is None or answer.status < 400:
            return answer
        if answer.status >= 500 and (answer.status != 503 or not answer.headers.get("retry-after", "").isdigit()):
            self.wrong.append((what, answer))
        elif answer.code is None or why_no_problem(answer):
            self.wrong.append((what, answer))
        return answer

    async def ask(self, what, *words, **more):
        """One request on any connection; None if its answer was lost."""
        wire = await self.take()
        try:
            return self.look(what, await wire.ask(request(*words, **more)))
        finally:
            self.give(wire)

    async def draw(self, person, sale, patience=10):
        """A ticket; None if there is none, because nothing is left."""
        end = time.monotonic() + patience
        while (begun := time.monotonic()) < end:
            answer = await self.ask("ticket", "POST", sale.path + "/tickets", person)
            if answer is not None and answer.status == 201:
                person.tickets[sale.id], person.drawn[sale.id] = answer.json()["ticket"], begun
                return person.tickets[sale.id]
            if answer is not None and answer.status == 410:
                return None
            await asyncio.sleep(min(float(answer.headers.get("retry-after", 0.1)), 1) if answer is not None else 0.1)
        return None

    def note(self, person, sale, key, quantity, begun, answer):
        order = digest = None
        if answer is not None and answer.status == 201:
            order, digest = answer.json()["id"], hashlib.sha1(answer.body).hexdigest()
        self.told.append(Told(person.account, sale.id, key, quantity, begun, time.time(), answer.status if answer else 0,
                              answer.code if answer is not None and answer.status >= 400 else None, order, digest))
        return answer

    async def buy(self, person, sale, key=None, quantity=1, ticket=None, what="purchase"):
        """One purchase, asked for once."""
        key = str(uuid.uuid4()) if key is None else key
        body = {"ticket": ticket or person.tickets.get(sale.id, "none"), "quantity": quantity}
        wire = await self.take()
        begun = time.time()
        try:
            answer = self.look(what, await wire.ask(request("POST", sale.path + "/purchases", person, key, body)))
        finally:
            self.give(wire)
        return self.note(person, sale, key, quantity, begun, answer)

    async def insist(self, person, sale, key, quantity=1, patience=60):
        """The same with this key until it is answered, as a real client does: with a new ticket, if the old one has expired."""
        end = time.monotonic() + patience
        while True:
            answer = await self.buy(person, sale, key, quantity)
            if answer is not None and answer.code == "invalid_ticket" and await self.draw(person, sale):
                continue
            if answer is not None and answer.status != 503 or time.monotonic() > end:
                return answer
            await asyncio.sleep(min(float(answer.headers.get("retry-after", 0.1)), 1) if answer is not None else 0.1)

    async def pay(self, person, order):
        """Begins to pay; whether the shop takes it."""
        key = str(uuid.uuid4())
        for _ in range(50):
            answer = await self.ask("payment", "POST", f"/v1/orders/{order}/payments", person, key, {"provider": "simulated", "method": "test_approve"})
            if answer is not None and answer.status != 503:
                return answer.status == 202
            await asyncio.sleep(0.2)
        return False

    def close(self):
        for wire in self.idle:
            wire.close()


async def in_thread(function, *words):
    return await asyncio.get_running_loop().run_in_executor(None, function, *words)


async def run_crowd(words):
    """Runs tools/crowd; what it says in the end."""
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.terminate()
        raise
    return json.loads(output)


def merchant():
    return register("seller", ["merchant"])
