"""People who misbehave in a sale, in every way that was thought of. What they are told that they may not be told they keep."""
import asyncio
import json
import random
import string
import sys
import time
import uuid

from sale_crowd import request

TICKET = 32           # characters
ODD = {"quantity": [0, -1, 1.5, 1e30, -1e30, 2 ** 63, 2 ** 64 + 1, "1", "one", None, True, [], [1], {}, {"quantity": 1}, 1000001],
       "ticket": [None, 1, "", "x", [], {}, "\0" * TICKET, "é" * 16, "x" * 60000]}
ODD_RAW = [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b'{"ticket":"\xff","quantity":1}', b"{}", b'{"ticket":"x"}', b'{"quantity":1}', b"[" * 30000,
           b'{"ticket":"x","quantity":1,"price":0}', b'{"ticket":"x","ticket":"y","quantity":1}', b"{" + b" " * 70000 + b"}", b'{"quantity":1e400,"ticket":"x"}']
ODD_KEYS = ['{"a","b"}', 'a"b\\"c\\\\', "NULLNULL", "null,null", "'; DROP TABLE shop.order; --", "$1 $2 $3 $4", "x       x", "x" * 255, "{}{}{}{}", ",,,,,,,,", "\\\\\\\\\\\\\\\\"]
BAD_KEYS = ["", "short", "x" * 256, "k\xe9y with latin-1", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", "tab\tinside"]


class Mob:
    """All who misbehave. Each act is a visit of people who have not been there before; what it finds broken it says."""

    def __init__(self, square, people, sale, small, ttl, held):
        """ttl: seconds that a ticket is good for at least; held: that there are to pay in."""
        self.square, self.people, self.sale, self.small, self.ttl, self.held = square, people, sale, small, ttl, held
        self.ended, self.broken, self.acts, self.done = False, [], {}, 0

    def claim(self, good, *what):
        if not good:
            self.broken.append((sys._getframe(1).f_code.co_name, *what))

    async def enter(self, sale=None):
        """Somebody new with a ticket; None if there is none any more."""
        person = next(self.people)
        return person if await self.square.draw(person, sale or self.sale) else None

    async def buy(self, person, sale, *words, **more):
        """None also for who was too slow for his ticket."""
        answer = await self.square.buy(person, sale, *words, **more)
        return None if answer is not None and answer.code == "invalid_ticket" and "ticket" not in more and person.is_late(sale, self.ttl) else answer

    async def finish(self, person, sale, answer):
        """Most pay what they have got."""
        if answer is not None and answer.status == 201 and random.random() < 0.8:
            await self.square.pay(person, answer.json()["id"])

    def one_order(self, answers, *allowed):
        """Answers to one key: one order in the same bytes, or a refusal of these."""
        bodies = {answer.body for answer in answers if answer is not None and answer.status == 201}
        odd = [answer for answer in answers if answer is not None and answer.status not in (201, 503) and answer.code not in allowed]
        if len(bodies) > 1 or odd:
            self.broken.append((sys._getframe(1).f_code.co_name, bodies, odd))

    # Keys.

    async def retry_under_way(self):
        person, key = await self.enter(), str(uuid.uuid4())
        if person:
            answers = await asyncio.gather(*(self.buy(person, self.sale, key) for _ in range(4)))
            answers += [await self.buy(person, self.sale, key) for _ in range(2)]
            self.one_order(answers, "sold_out")
            await self.finish(person, self.sale, answers[-1])

    async def retry_later(self):
        person, key = await self.enter(), str(uuid.uuid4())
        if person:
            answers = [await self.square.insist(person, self.sale, key)]
            await self.finish(person, self.sale, answers[0])
            await asyncio.sleep(random.uniform(0, 1.5))
            # Once paid, sold out, or without a good ticket: the same.
            answers += [await self.square.insist(person, self.sale, key) for _ in range(2)]
            self.one_order(answers, "sold_out", "invalid_ticket")

    async def other_quantity(self):
        sale = random.choice((self.sale, self.small))
        person, key = await self.enter(sale), str(uuid.uuid4())
        if person:
            answers = await asyncio.gather(*(self.buy(person, sale, key, 1 + n % 2) for n in range(4)))
            ones, twos = answers[::2], answers[1::2]
            self.one_order(ones, "idempotency_key_reused", "sold_out", "insufficient_stock")
            self.one_order(twos, "idempotency_key_reused", "sold_out", "insufficient_stock", "limit_reached")
            self.claim(not (any(a and a.status == 201 for a in ones) and any(a and a.status == 201 for a in twos)), answers)
            answer = next((a for a in answers if a is not None and a.status == 201), None)
            await self.finish(person, sale, answer)

    async def one_key_two_sales(self):
        person, key = next(self.people), "the same key everywhere"
        if await self.square.draw(person, self.sale) and await self.square.draw(person, self.small):
            answers = await asyncio.gather(*(self.buy(person, sale, key) for sale in (self.sale, self.small)))
            self.one_order(answers[:1], "sold_out")
            self.one_order(answers[1:], "sold_out")
            await self.finish(person, self.sale, answers[0])
            await self.finish(person, self.small, answers[1])

    async def odd_key(self):
        person = await self.enter()
        if person:
            answers = [await self.buy(person, self.sale, random.choice(ODD_KEYS)) for _ in range(2)]
            self.claim(all(a is None or a.status in (201, 503) or a.code in ("sold_out", "limit_reached") for a in answers), answers)
            await self.finish(person, self.sale, next((a for a in answers if a is not None and a.status == 201), None))
            answer = await self.buy(person, self.sale, random.choice(BAD_KEYS))
            self.claim(answer is None or 400 <= answer.status < 500 or answer.status == 503, answer)

    async def bad_key_in_company(self):
        """A key that cannot be, while others buy with good ones: they do not feel it."""
        people = [person for person in await asyncio.gather(*(self.enter() for _ in range(4))) if person]
        answers = await asyncio.gather(*(self.buy(person, self.sale, random.choice(BAD_KEYS) if n == 0 else None) for n, person in enumerate(people)))
        self.claim(all(a is None or a.status in (201, 503) or a.code == "sold_out" for a in answers[1:]), answers)
        for person, answer in zip(people[1:], answers[1:]):
            await self.finish(person, self.sale, answer)

    # Limits.

    async def two_at_once(self):
        person = await self.enter()
        if person:
            begun = time.monotonic()
            answers = await asyncio.gather(*(self.buy(person, self.sale) for _ in range(3)))
            bought = [a for a in answers if a is not None and a.status == 201]
            self.claim(len(bought) <= 1 or time.monotonic() > begun + self.held - 0.5, answers)
            self.claim(all(a is None or a.status in (201, 503) or a.code in ("limit_reached", "sold_out") for a in answers), answers)
            await self.finish(person, self.sale, bought[0] if bought else None)

    async def more_than_allowed(self):
        person = await self.enter(self.small)
        if person:
            answers = await asyncio.gather(*(self.buy(person, self.small, quantity=random.randint(1, 4)) for _ in range(4)))
            self.claim(all(a is None or a.status in (201, 503) or a.code in ("limit_reached", "sold_out", "insufficient_stock") for a in answers), answers)
            await self.finish(person, self.small, next((a for a in answers if a is not None and a.status == 201), None))

    # Tickets.

    async def stolen_ticket(self):
        victim, thief = await self.enter(), next(self.people)
        if victim:
            answer = await self.buy(thief, self.sale, ticket=victim.tickets[self.sale.id], what="stolen")
            self.claim(answer is None or answer.status == 503 or answer.code in ("invalid_ticket", "sold_out"), answer)
            await self.square.draw(thief, self.small)
            answer = await self.buy(thief, self.sale, ticket=thief.tickets.get(self.small.id), what="stolen")
            self.claim(answer is None or answer.status == 503 or answer.code in ("invalid_ticket", "sold_out"), answer)
            await self.finish(victim, self.sale, await self.buy(victim, self.sale))

    async def stale_ticket(self):
        person = await self.enter()
        if person:
            await asyncio.sleep(2 * self.ttl + 0.2)
            answer = await self.square.buy(person, self.sale, what="stale")
            # With an old ticket whoever has bought may ask for his order once tickets are not given any more, so he is
            # not turned away before the database is asked, which may have a unit again.
            self.claim(answer is None or answer.status in (201, 503) or answer.code in ("invalid_ticket", "sold_out"), answer)

    async def forged_ticket(self):
        person = await self.enter()
        if person:
            good = person.tickets[self.sale.id]
            at = random.randrange(TICKET)
            forged = random.choice((good[:at] + random.choice([c for c in string.ascii_letters + string.digits + "-_" if c != good[at]]) + good[at + 1:],
                                    "".join(random.choices(string.ascii_letters, k=TICKET)), good[:-1], good + "A", good.swapcase(), good[::-1]))
            answer = await self.buy(person, self.sale, ticket=forged, what="forged")
            self.claim(answer is None or answer.status == 503 or answer.code in ("invalid_ticket", "sold_out"), forged, answer)

    # Connections and bodies.

    def purchase(self, person, key, sale=None):
        sale = sale or self.sale
        return request("POST", sale.path + "/purchases", person, key, {"ticket": person.tickets[sale.id], "quantity": 1})

    async def hang_up(self, data, part, hard, pause):
        """Sends so much of a request, and is gone."""
        wire = await self.square.take()
        begun = time.time()
        try:
            await wire.write(data[:int(len(data) * part)])
            await asyncio.sleep(pause)
        except OSError:
            pass
        finally:
            wire.close(hard)
            self.square.give(wire)
        return begun

    async def hang_up_before(self):
        person, key = await self.enter(), str(uuid.uuid4())
        if person:
            await self.hang_up(self.purchase(person, key), random.uniform(0.1, 0.98), random.random() < 0.5, random.choice((0, 0.02)))
            if random.random() < 0.5:
                await self.finish(person, self.sale, await self.square.insist(person, self.sale, key))

    async def hang_up_after(self):
        person, key = await self.enter(), str(uuid.uuid4())
        if person:
            for _ in range(random.randint(1, 3)):
                begun = await self.hang_up(self.purchase(person, key), 1, random.random() < 0.5, random.choice((0, 0.001, 0.005, 0.02, 0.1)))
                self.square.note(person, self.sale, key, 1, begun, None)
            if random.random() < 0.6:
                await self.finish(person, self.sale, await self.square.insist(person, self.sale, key))

    async def slow_body(self):
        person, key = await self.enter(), str(uuid.uuid4())
        if person:
            data = self.purchase(person, key)
            wire = await self.square.take()
            begun, at = time.time(), 0
            try:
                while at < len(data):
                    step = random.randint(1, 60) if at else len(data) - random.randint(2, 80)
                    await wire.write(data[at:at + step])
                    at += step
                    await asyncio.sleep(random.uniform(0, 0.3))
                answer = self.square.look("slow", await wire.read())
            except OSError:
                answer = None
            finally:
                self.square.give(wire)
            self.square.note(person, self.sale, key, 1, begun, answer)
            self.claim(answer is None or answer.status in (201, 503) or answer.code == "sold_out" or answer.code == "invalid_ticket" and person.is_late(self.sale, self.ttl)
                       or answer.code == "request_timeout" and time.time() > begun + 9, answer)  # ten seconds are given
            await self.finish(person, self.sale, answer)

    async def two_in_one_write(self):
        """Pipelined: as good as one after the other, or refused."""
        person, key = await self.enter(), str(uuid.uuid4())
        if person:
            wire, data, begun = await self.square.take(), self.purchase(person, key), time.time()
            try:
                await wire.write(data + data)
                answers = [self.square.look("pipelined", await wire.read())]
                answers.append(self.square.look("pipelined", await wire.read()) if wire.writer is not None else None)
            except OSError:
                answers = [None]
            finally:
                wire.close()
                self.square.give(wire)
            for answer in answers:
                self.square.note(person, self.sale, key, 1, begun, answer)
            self.one_order(answers, "sold_out", *(["invalid_ticket"] if person.is_late(self.sale, self.ttl) else []))

    async def odd_body(self):
        person, key, sale = await self.enter(), str(uuid.uuid4()), self.sale
        if person:
            body, raw = {"ticket": person.tickets[sale.id], "quantity": 1}, None
            which = random.choice(("quantity", "ticket", "raw", "type"))
            if which in ODD:
                body[which] = random.choice(ODD[which])
            elif which == "raw":
                raw = random.choice(ODD_RAW)
            headers = "Content-Type: text/plain\r\n" if which == "type" else ""
            raw = raw if raw is not None else json.dumps(body).encode()
            wire = await self.square.take()
            try:
                data = request("POST", sale.path + "/purchases", person, key, raw=raw, headers=headers)
                answer = self.square.look("odd", await wire.ask(data if which != "type" else data.replace(b"Content-Type: application/json\r\n", b"")))
            finally:
                self.square.give(wire)
            self.claim(answer is None or 400 <= answer.status < 500 or answer.status == 503, raw[:100], answer)

    # Payments.

    async def never_pays(self):
        person = await self.enter()
        if person:
            await self.square.insist(person, self.sale, str(uuid.uuid4()))

    async def pays_twice(self):
        person = await self.enter()
        if person:
            answer = await self.square.insist(person, self.sale, str(uuid.uuid4()))
            if answer is not None and answer.status == 201:
                await asyncio.gather(*(self.square.pay(person, answer.json()["id"]) for _ in range(3)))

    async def cancels(self):
        person, key = await self.enter(), str(uuid.uuid4())
        if person:
            first = await self.square.insist(person, self.sale, key)
            if first is not None and first.status == 201:
                order = first.json()["id"]
                await asyncio.gather(*(self.square.ask("cancel", "POST", f"/v1/orders/{order}/cancel", person) for _ in range(2)))
                second = await self.square.insist(person, self.sale, str(uuid.uuid4()))
                self.one_order([first, await self.square.insist(person, self.sale, key)], "sold_out", "invalid_ticket")
                await self.finish(person, self.sale, second)

    async def pays_late(self):
        """After the time is over, or at that very moment."""
        person = await self.enter()
        if person:
            answer = await self.square.insist(person, self.sale, str(uuid.uuid4()))
            if answer is not None and answer.status == 201:
                await asyncio.sleep(self.held + random.choice((-0.2, -0.05, 0, 0.05, 0.5)))
                await self.square.pay(person, answer.json()["id"])

    ACTS = (retry_under_way, retry_later, other_quantity, one_key_two_sales, odd_key, bad_key_in_company, two_at_once, more_than_allowed, stolen_ticket, stale_ticket, forged_ticket,
            hang_up_before, hang_up_after, slow_body, two_in_one_write, odd_body, never_pays, pays_twice, cancels, pays_late)

    async def misbehave(self, acts=ACTS):
        while not self.ended:
            self.done += 1
            act = acts[self.done % len(acts)]
            await act(self)
            self.acts[act.__name__] = self.acts.get(act.__name__, 0) + 1
            # Once nothing is left this would only turn in circles.
            await asyncio.sleep(0.1)

    async def wait(self):
        """A patient person, who wants a unit, waits until there is one, and pays."""
        while not self.ended:
            person = next(self.people)
            while not self.ended and not await self.square.draw(person, self.sale):
                await asyncio.sleep(0.2)
            answer = await self.square.insist(person, self.sale, str(uuid.uuid4())) if not self.ended else None
            if answer is not None and answer.status == 201:
                await self.square.pay(person, answer.json()["id"])
            elif answer is not None:
                await asyncio.sleep(0.2)
