"""What must be true after a sale, computed from what the buyers were told and from the bare tables alone: no view, no function of the
shop or the extension has a say in it. Time is part of it: each hold is an interval, and at no moment of the whole sale may
there be more units out than it has, nor more with one account than its limit.
"""
import bisect
import collections
import csv
import io
import subprocess
import types

# Times are seconds since 1970. ended: when a hold's units were free again, whoever noticed; empty for never.
TABLES = {
    "sale": "SELECT quantity, per_account_limit, price FROM shop.sale WHERE id = :sale",
    "orders": "SELECT account_id, id, status, total, extract(epoch FROM placed_at) FROM shop.order WHERE sale_id = :sale",
    "lines": "SELECT l.account_id, l.order_id, l.quantity, l.unit_price FROM shop.order_line AS l WHERE l.stock_id = :sale",
    "keys": "SELECT b.account_id, u.key, u.id, u.quantity FROM shop.sale_buyer AS b, unnest(b.keys, b.order_ids, b.quantities) AS u (key, id, quantity) WHERE b.sale_id = :sale",
    "bought": "SELECT account_id, bought, cardinality(keys), cardinality(order_ids), cardinality(quantities) FROM shop.sale_buyer WHERE sale_id = :sale",
    "holds": "SELECT owner, quantity, returned, state, extract(epoch FROM held_at), "
             "extract(epoch FROM CASE WHEN state = 'c' THEN NULL ELSE nullif(least(expires_at, ended_at), 'infinity') END) FROM _holdfast.hold WHERE sku = :sale",
    "available": "SELECT coalesce(sum(available), 0), coalesce(min(available), 0), extract(epoch FROM clock_timestamp()) FROM _holdfast.stock_lane WHERE sku = :sale",
    "movements": "SELECT kind, quantity, owner FROM _holdfast.stock_movement WHERE sku = :sale",
    "payments": "SELECT id, owner FROM _holdfast.payment",
    "money": "SELECT payment, sum(amount) FROM _holdfast.ledger_entry WHERE book = 'p' GROUP BY payment",
}
PAID = ("paid", "shipped", "completed")


def read_tables(sale):
    """All rows of a sale, as of one moment."""
    script = "BEGIN ISOLATION LEVEL REPEATABLE READ;\n" + "".join(
        f"\\echo ==={name}\nCOPY ({text.replace(':sale', str(sale))}) TO STDOUT WITH (FORMAT csv);\n" for name, text in TABLES.items()) + "ROLLBACK;\n"
    output = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input=script, capture_output=True, text=True, check=True).stdout
    found = {}
    for part in output.split("===")[1:]:
        name, _, text = part.partition("\n")
        found[name] = list(csv.reader(io.StringIO(text)))
    return types.SimpleNamespace(**found)


class Steps:
    """A number that changes in time."""

    def __init__(self, changes):
        """changes: pairs of time and difference. At one time what comes back comes first."""
        self.times, self.values, value = [], [], 0
        for when, by in sorted(changes):
            value += by
            if self.times and self.times[-1] == when:
                self.values[-1] = value
            else:
                self.times.append(when)
                self.values.append(value)
        self.since, since = [], None  # when it has become positive
        for when, value in zip(self.times, self.values):
            since = None if value <= 0 else when if since is None else since
            self.since.append(since)

    def most(self):
        return max(self.values, default=0)

    def positive_since(self, when):
        """Since when the number has been positive at this time; None if it is not."""
        at = bisect.bisect_right(self.times, when) - 1
        return self.since[at] if at >= 0 else None


def short(wrong):
    return sorted(wrong, key=str)[:3]


class Oracle:
    """The verdict on a sale. told: a list of sale_crowd.Told; every request for a purchase is in it."""

    def __init__(self, t, sale, told):
        self.t, self.sale, self.tables = t, sale, read_tables(sale.id)
        self.told = [each for each in told if each.sale == sale.id]
        self.by_key = collections.defaultdict(list)
        for each in self.told:
            self.by_key[each.account, each.key].append(each)
        self.orders = {row[1]: types.SimpleNamespace(account=int(row[0]), status=row[2], total=int(row[3]), placed=float(row[4])) for row in self.tables.orders}
        self.quantity = {row[1]: int(row[2]) for row in self.tables.lines}
        self.order_of = {(int(row[0]), row[1]): row[2] for row in self.tables.keys}
        self.holds = {row[0]: types.SimpleNamespace(quantity=int(row[1]), returned=int(row[2]), state=row[3], begun=float(row[4]),
                                                    ended=float(row[5]) if row[5] else None) for row in self.tables.holds}
        self.now = float(self.tables.available[0][2])
        for hold in self.holds.values():
            if hold.ended is not None and hold.ended > self.now:
                hold.ended = None

    def check(self, late=10.0):
        """late: seconds that somebody may be told so that it is sold out, after a unit has come back."""
        self.check_acknowledged()
        self.check_keys()
        self.check_refused()
        self.check_orders()
        self.check_units()
        self.check_limits()
        self.check_money()
        self.check_sold_out(late)

    def equal_none(self, wrong, claim):
        wrong = list(wrong)
        self.t.ok(not wrong, claim, len(wrong), *short(wrong))

    def check_acknowledged(self):
        there = [each for each in self.told if each.status == 201]
        self.equal_none((each for each in there if self.order_of.get((each.account, each.key)) != each.order or each.order not in self.orders
                         or self.orders[each.order].account != each.account), f"{len(there)} purchases were acknowledged, and all of them are there")
        self.equal_none((each for each in there if self.quantity.get(each.order) != each.quantity), "  with as many units as were told")

    def check_keys(self):
        several = {key: {(each.order, each.digest) for each in all_ if each.status == 201 and each.digest} for key, all_ in self.by_key.items()}
        again = sum(len([each for each in all_ if each.status == 201]) > 1 for all_ in self.by_key.values())
        self.equal_none((item for item in several.items() if len(item[1]) > 1), f"one order a key, in the same bytes each time: {again} keys were acknowledged more than once")
        rows = [(int(row[0]), row[1]) for row in self.tables.keys]
        self.equal_none((key for key, n in collections.Counter(rows).items() if n > 1), "  no key is there twice")
        self.equal_none((order for order, n in collections.Counter(self.order_of.values()).items() if n > 1), "  nor an order for two keys")
        self.equal_none(((key, order) for key, order in self.order_of.items() if key not in self.by_key), "  nor one for a key that nobody has sent")

    def check_refused(self):
        """Who was refused each time has nothing; who never got an answer may have it or not."""
        lost = {key for key, all_ in self.by_key.items() if any(each.status in (0, 503) or each.code == "idempotency_key_reused" for each in all_)}
        told = {key for key, all_ in self.by_key.items() if any(each.status == 201 for each in all_)}
        self.equal_none((key for key in self.order_of if key not in told and key not in lost), "who was refused has no order")
        unknown = len([key for key in self.order_of if key not in told])
        print(f"# {len(lost - told)} keys were never answered; {unknown} of them have an order", flush=True)

    def check_orders(self):
        known = set(self.order_of.values())
        self.equal_none((known ^ set(self.orders)) | (set(self.orders) ^ set(self.holds)) | (set(self.orders) ^ set(self.quantity)), f"{len(self.orders)} orders have each a key, a line and a hold")
        self.equal_none(((order, it.account) for (account, _), order in self.order_of.items() if (it := self.orders.get(order)) and it.account != account), "  of their own account")
        self.equal_none((order for order, it in self.orders.items() if order in self.holds and self.holds[order].quantity != self.quantity.get(order)), "  with as many units held")
        self.equal_none((order for order, it in self.orders.items() if it.total != self.quantity.get(order, 0) * self.sale.price), "  at the price of the sale")
        self.equal_none(((order, it.status, hold.state) for order, it in self.orders.items() if (hold := self.holds.get(order))
                         and (it.status in PAID) != (hold.state == "c") or it.status == "cancelled" and hold.ended is None),
                        "  sold if paid, and free if cancelled")

    def live(self):
        return {order: hold for order, hold in self.holds.items() if hold.state == "c" or hold.state == "h" and hold.ended is None}

    def check_units(self):
        (available, least, _), quantity = map(int, map(float, self.tables.available[0])), int(self.tables.sale[0][0])
        out = sum(hold.quantity - hold.returned for hold in self.live().values())
        # Units whose time is over, and that nobody has swept yet.
        due = sum(hold.quantity for hold in self.holds.values() if hold.state == "h" and hold.ended is not None)
        self.t.ok(available + due + out == quantity == self.sale.units and least >= 0, f"{out} units are out, {available + due} left", available, due, out, quantity)
        came = sum(int(row[1]) for row in self.tables.movements if row[0] in "ra")
        sold = sum(int(row[1]) for row in self.tables.movements if row[0] in "sb")
        self.t.equal((came, -sold), (quantity, sum(hold.quantity - hold.returned for hold in self.holds.values() if hold.state == "c")), "  and the books say the same")
        self.out = Steps([(hold.begun, hold.quantity) for hold in self.holds.values()] + [(hold.ended, -hold.quantity) for hold in self.holds.values() if hold.ended is not None])
        self.t.ok(self.out.most() <= quantity, f"  at no moment were more out than there are: {self.out.most()}", quantity)

    def check_limits(self):
        changes, limit = collections.defaultdict(list), int(self.tables.sale[0][1])
        for order, hold in self.holds.items():
            if order in self.orders:
                changes[self.orders[order].account] += [(hold.begun, hold.quantity)] + ([(hold.ended, -hold.quantity)] if hold.ended is not None else [])
        self.equal_none(((account, most) for account, of in changes.items() if (most := Steps(of).most()) > limit), f"  and at no moment had anybody more than {limit}")
        bought = collections.Counter()
        for order, hold in self.live().items():
            bought[self.orders[order].account] += hold.quantity
        self.equal_none((row for row in self.tables.bought if int(row[1]) < bought[int(row[0])] or len(set(row[2:])) > 1), "  which is what is remembered of each")

    def check_money(self):
        owners, money = dict(self.tables.payments), collections.Counter()
        for payment, amount in self.tables.money:
            money[owners[payment]] += int(amount)
        self.equal_none(((order, it.status, money[order]) for order, it in self.orders.items() if money[order] != (it.total if it.status in PAID else 0)),
                        f"{sum(it.status in PAID for it in self.orders.values())} orders are paid, each once")

    def check_sold_out(self, late):
        """Nobody is told so while a unit has been there for longer than this."""
        refused = [each for each in self.told if each.code == "sold_out"]
        free = Steps([(0.0, self.sale.units)] + [(when, -by) for when, by in zip(self.out.times, [a - b for a, b in zip(self.out.values, [0] + self.out.values)])])
        wrong, worst = [], 0.0
        for each in refused:
            since = free.positive_since(each.ended)
            if since is not None and since < each.begun:
                worst = max(worst, each.begun - since)
                if each.begun - since > late:
                    wrong.append((each.begun - since, each))
        self.equal_none(wrong, f"{len(refused)} were told that it is sold out, none of them while units had been back for {late:g} s")
        print(f"# units were back for {worst * 1000:.0f} ms at most when somebody was told that it is sold out", flush=True)
